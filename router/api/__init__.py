"""The sessions API: the same sessions for programs, over REST and server-sent events.

No Slack and no SQL here. A request passes, in this order:

1. the route is found in the one table from which the documentation is made too;
2. `auth` says who asks: a Supabase session or an API key, and the role that the agent's workspace
   gives them; a foreign agent is as good as none;
3. `limits` says whether they ask too often;
4. the body is read, no longer than allowed, and becomes a model that refuses what it does not know;
5. a transaction is opened as that tenant, so that row level security is the second wall;
6. the work is done, through the store and the doors that Slack uses as well;
7. the answer is written from a model; whatever went wrong becomes one of `problems`.
"""

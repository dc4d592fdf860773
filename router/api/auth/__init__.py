"""Who asks: a person with a Supabase session, or a program with an API key of one agent.

A token is proof of a person and of nothing else: which workspace and which role follow from the
agent in the path and from our own table, never from the token. Tokens stand in no log line, no
problem and no `repr`.
"""

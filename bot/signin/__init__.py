"""How the people of a demo sign in to its API: by a press, on a page that only a demo has.

There is no password, so the page is served only where everything behind it is the demo's own: on
loopback, over the demo's own database. Its sessions look like Supabase's and are signed with a
secret that lives in the memory of this run; the API verifies them as it verifies any other.
"""

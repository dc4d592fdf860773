"""The agent runtime: calls, and a session's events. The only place that knows anthropic."""

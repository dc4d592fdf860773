"""What was said before the agent was called, quoted for it."""

-- The home tab of a person reads their newest sessions.
CREATE INDEX agent_sessions_person ON agent_sessions (slack_install_id, created_by, created_at)
    WHERE slack_install_id IS NOT NULL;

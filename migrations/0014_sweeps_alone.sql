-- Of what is at rest for months and awake for moments PostgreSQL often knows no row that is awake: none was
-- when it last counted, or none was among those that it looked at. An index of such rows then seems
-- empty, and cheaper than any other: for a single row, too, whose key is known, and all that are awake
-- are read for each. So what sweeps and lists read is for them alone: they say `> '-infinity'` of a time
-- that each row has and none ever changes, and nobody else does.

DROP INDEX agent_sessions_ready;
CREATE INDEX agent_sessions_ready ON agent_sessions (ready_at)
    WHERE ready_at IS NOT NULL AND created_at > '-infinity';

DROP INDEX agent_sessions_live;
CREATE INDEX agent_sessions_live ON agent_sessions (deployed_agent_id)
    WHERE status = 'running' AND created_at > '-infinity';

DROP INDEX agent_turns_awaiting;
CREATE INDEX agent_turns_awaiting ON agent_turns (looked_at)
    WHERE state = 'awaiting_human' AND started_at > '-infinity';

DROP INDEX slack_outbox_open;
CREATE INDEX slack_outbox_open ON slack_outbox (not_before)
    WHERE ended_at IS NULL AND created_at > '-infinity';

DROP INDEX agent_approvals_open;
CREATE INDEX agent_approvals_open ON agent_approvals (workspace_id, asked_at)
    WHERE state IN ('pending', 'expired') AND asked_at > '-infinity';

DROP INDEX agent_escalations_open;
CREATE INDEX agent_escalations_open ON agent_escalations (workspace_id, asked_at)
    WHERE state = 'pending' AND asked_at > '-infinity';

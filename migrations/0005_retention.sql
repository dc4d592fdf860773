-- What is over and old loses its text; what is looked at all the time stays small.

-- A body that is null was cleared: what the row stood for, its keys and its times stay for ever.
ALTER TABLE session_inputs ALTER COLUMN body DROP NOT NULL;
ALTER TABLE session_inputs ADD CONSTRAINT cleared_only_when_over
    CHECK (body IS NOT NULL OR state IN ('done', 'withdrawn', 'refused'));
ALTER TABLE slack_outbox ALTER COLUMN body DROP NOT NULL;
ALTER TABLE slack_outbox ADD CONSTRAINT cleared_only_when_delivered
    CHECK (body IS NOT NULL OR state IN ('sent', 'dead'));

-- What a batch is taken from: per agent, the oldest first, without what was cleared before.
CREATE INDEX session_inputs_kept ON session_inputs (deployed_agent_id, ended_at)
    WHERE ended_at IS NOT NULL AND body IS NOT NULL;
CREATE INDEX slack_outbox_kept ON slack_outbox (deployed_agent_id, ended_at)
    WHERE ended_at IS NOT NULL AND body IS NOT NULL;
CREATE INDEX slack_previews_age ON slack_previews (deployed_agent_id, started_at);

-- Every change of a state leaves dead entries in the indexes of what is open. Autovacuum comes after
-- so many of them, not after a share of a table that only grows: these indexes stay as large as what
-- is open needs. Each visit is short, since it reads only pages that changed, and it leaves the
-- indexes alone while few pages have dead rows.
ALTER TABLE session_inputs SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
ALTER TABLE slack_outbox SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
ALTER TABLE agent_sessions SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
ALTER TABLE agent_turns SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

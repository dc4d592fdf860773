-- What is written on the way of every turn, at less cost: what has not ended is what has no end, which
-- the CHECKs hold. So a row that only changes its state on the way is rewritten in its place, and no
-- index has to be written for it.

DROP INDEX session_inputs_open;
CREATE INDEX session_inputs_open ON session_inputs (deployed_agent_id, session_id, order_key)
    WHERE ended_at IS NULL;

DROP INDEX slack_outbox_open;
CREATE INDEX slack_outbox_open ON slack_outbox (not_before) WHERE ended_at IS NULL;

DROP INDEX slack_outbox_line;
CREATE INDEX slack_outbox_line ON slack_outbox (deployed_agent_id, session_id, lane, position)
    WHERE lane <> 'side' AND ended_at IS NULL;

DROP INDEX slack_outbox_dead;
CREATE INDEX slack_outbox_dead ON slack_outbox (ended_at)
    WHERE error IS NOT NULL AND ended_at IS NOT NULL;

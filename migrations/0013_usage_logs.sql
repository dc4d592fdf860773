-- Calls of the tools that Threadline serves itself: what each asked for, what came of it, how long it
-- took. No text of anybody's is in here, so it is kept, as agent_compute_usage is.

CREATE TABLE usage_logs (
    id                 uuid NOT NULL,
    deployed_agent_id  uuid NOT NULL,
    workspace_id       uuid NOT NULL,
    session_id         uuid NOT NULL,
    turn_id            uuid NOT NULL,
    runtime_event_id   text NOT NULL CHECK (runtime_event_id <> ''),
    tool               text NOT NULL CHECK (tool <> ''),
    provider           text NOT NULL CHECK (provider IN ('slack')),
    status             text NOT NULL CHECK (status IN ('done', 'queued', 'refused')),
    reason             text,                                -- of a refusal, in a word
    channel_id         text,                                -- where it led, as far as that is known
    requesters         text[] NOT NULL,                     -- whom the turn answers
    latency_ms         integer NOT NULL CHECK (latency_ms >= 0),
    cost_cents         numeric NOT NULL DEFAULT 0 CHECK (cost_cents >= 0),
    at                 timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (deployed_agent_id, id),
    UNIQUE (deployed_agent_id, session_id, runtime_event_id),
    FOREIGN KEY (deployed_agent_id, session_id, workspace_id)
        REFERENCES agent_sessions (deployed_agent_id, id, workspace_id),
    FOREIGN KEY (deployed_agent_id, turn_id) REFERENCES agent_turns (deployed_agent_id, id),
    CONSTRAINT refused_has_a_reason CHECK ((status = 'refused') = (reason IS NOT NULL))
);

ALTER TABLE audit_entries DROP CONSTRAINT audit_entries_subject_check;
ALTER TABLE audit_entries ADD CONSTRAINT audit_entries_subject_check
    CHECK (subject IN ('approval', 'escalation', 'tool'));

-- The second wall, as in 0009_api.sql; the sessions API does not read this table.
ALTER TABLE usage_logs ENABLE ROW LEVEL SECURITY;
ALTER TABLE usage_logs FORCE ROW LEVEL SECURITY;
CREATE POLICY ours ON usage_logs USING (current_user <> 'threadline_tenant');
CREATE POLICY tenant ON usage_logs USING (
    workspace_id = (SELECT NULLIF(current_setting('threadline.workspace', true), '')::uuid));

-- What agents write to their outputs, offered in the thread (router/outputs.py).

ALTER TABLE slack_outbox DROP CONSTRAINT slack_outbox_kind_check;
ALTER TABLE slack_outbox ADD CONSTRAINT slack_outbox_kind_check
    CHECK (kind IN ('reply', 'notice', 'private', 'reaction', 'card', 'update', 'file'));

-- Every file of the runtime's that was seen, and what became of it: none is offered twice. What it is
-- called stands in the outbox alone, and goes from there.
CREATE TABLE session_outputs (
    deployed_agent_id  uuid NOT NULL,
    workspace_id       uuid NOT NULL,
    session_id         uuid NOT NULL,
    runtime_file_id    text NOT NULL CHECK (runtime_file_id <> ''),
    turn_id            uuid NOT NULL,                    -- behind which it was found
    fate               text NOT NULL CHECK (fate IN ('offered', 'too_large', 'too_many', 'empty')),
    created_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (deployed_agent_id, session_id, runtime_file_id),
    FOREIGN KEY (deployed_agent_id, session_id, workspace_id)
        REFERENCES agent_sessions (deployed_agent_id, id, workspace_id),
    FOREIGN KEY (deployed_agent_id, turn_id) REFERENCES agent_turns (deployed_agent_id, id)
);

-- The sessions whose outputs are to be looked at, and how often; no row where none are expected.
CREATE TABLE output_looks (
    deployed_agent_id  uuid NOT NULL,
    workspace_id       uuid NOT NULL,
    session_id         uuid NOT NULL,
    turn_id            uuid NOT NULL,                    -- the last that ended
    runtime_session    text NOT NULL CHECK (runtime_session <> ''),
    looks_left         smallint NOT NULL CHECK (looks_left BETWEEN 1 AND 3),
    due_at             timestamptz,                      -- null: not before the next turn's end
    failures           smallint NOT NULL DEFAULT 0,      -- of the look that is due
    asked_at           timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (deployed_agent_id, session_id),
    FOREIGN KEY (deployed_agent_id, session_id, workspace_id)
        REFERENCES agent_sessions (deployed_agent_id, id, workspace_id),
    FOREIGN KEY (deployed_agent_id, turn_id) REFERENCES agent_turns (deployed_agent_id, id)
);
CREATE INDEX output_looks_due ON output_looks (due_at) WHERE due_at IS NOT NULL;

-- The second wall, as in 0009_api.sql; the sessions API does not read these tables.
ALTER TABLE session_outputs ENABLE ROW LEVEL SECURITY;
ALTER TABLE session_outputs FORCE ROW LEVEL SECURITY;
CREATE POLICY ours ON session_outputs USING (current_user <> 'threadline_tenant');
CREATE POLICY tenant ON session_outputs USING (
    workspace_id = (SELECT NULLIF(current_setting('threadline.workspace', true), '')::uuid));
ALTER TABLE output_looks ENABLE ROW LEVEL SECURITY;
ALTER TABLE output_looks FORCE ROW LEVEL SECURITY;
CREATE POLICY ours ON output_looks USING (current_user <> 'threadline_tenant');
CREATE POLICY tenant ON output_looks USING (
    workspace_id = (SELECT NULLIF(current_setting('threadline.workspace', true), '')::uuid));

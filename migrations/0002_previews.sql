-- Live previews of a turn's answer, the pace of Slack's methods, what shows that a message waits, new titles.
--
-- Of a preview only its place is kept, never its text: the durable reply is the outbox's.

CREATE TABLE slack_previews (
    deployed_agent_id  uuid NOT NULL,
    workspace_id       uuid NOT NULL,
    session_id         uuid NOT NULL,
    turn_id            uuid NOT NULL,
    part               integer NOT NULL CHECK (part >= 0),
    text_from          integer NOT NULL CHECK (text_from >= 0), -- where in the turn's text it begins
    state              text NOT NULL DEFAULT 'starting'
        CHECK (state IN ('starting', 'open', 'closed', 'lost')),
    slack_ts           text,
    started_at         timestamptz NOT NULL,       -- its message, if there is one, is not older
    PRIMARY KEY (deployed_agent_id, turn_id, part),
    FOREIGN KEY (deployed_agent_id, turn_id) REFERENCES agent_turns (deployed_agent_id, id),
    FOREIGN KEY (deployed_agent_id, session_id, workspace_id)
        REFERENCES agent_sessions (deployed_agent_id, id, workspace_id),
    CONSTRAINT shown_has_its_ts
        CHECK ((state IN ('open', 'closed')) = (slack_ts IS NOT NULL))
);

-- How far into the future an install has spent its permits for a method, over all replicas.
CREATE TABLE slack_budgets (
    install_id   uuid NOT NULL REFERENCES oauth_installs,
    method       text NOT NULL,
    spent_until  timestamptz NOT NULL,
    PRIMARY KEY (install_id, method)
);

ALTER TABLE slack_outbox DROP CONSTRAINT slack_outbox_kind_check;
ALTER TABLE slack_outbox ADD CONSTRAINT slack_outbox_kind_check
    CHECK (kind IN ('reply', 'notice', 'private', 'reaction'));

-- A lane is a line of a session's writes that keep their order; 'side' is none. Besides the replies,
-- the reactions of one message are such a line: a removal must not overtake its addition.
ALTER TABLE slack_outbox DROP CONSTRAINT slack_outbox_lane_check;
ALTER TABLE slack_outbox ADD CONSTRAINT slack_outbox_lane_check CHECK (lane <> '');
DROP INDEX slack_outbox_line;
CREATE INDEX slack_outbox_line ON slack_outbox (deployed_agent_id, session_id, lane, position)
    WHERE lane <> 'side' AND state IN ('pending', 'sending');

-- A session that people renamed in Slack: when, by Slack's clock, and whether the runtime is to hear of it.
ALTER TABLE agent_sessions ADD COLUMN titled_at numeric(20, 6),
    ADD COLUMN retitled boolean NOT NULL DEFAULT false;

-- A message that came while a turn was in flight shows a reaction until its own turn starts.
ALTER TABLE session_inputs ADD COLUMN shown_waiting boolean NOT NULL DEFAULT false;
CREATE INDEX session_inputs_shown ON session_inputs (deployed_agent_id, session_id)
    WHERE shown_waiting;

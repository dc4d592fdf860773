-- Humans in the loop: tool calls that the runtime holds, questions to a person, and who decided what.

-- ------------------------------------------------------------------ approvals

-- One row per held call. What is shown has its secrets taken out; the hash is of the whole arguments,
-- as they were when it was shown, so that nothing else is ever confirmed.
CREATE TABLE agent_approvals (
    id                 uuid NOT NULL,
    deployed_agent_id  uuid NOT NULL,
    workspace_id       uuid NOT NULL,
    session_id         uuid NOT NULL,
    turn_id            uuid NOT NULL,
    runtime_event_id   text NOT NULL,
    card_no            integer NOT NULL DEFAULT 1 CHECK (card_no > 0),
    revision           integer NOT NULL DEFAULT 0,          -- orders what is written on its cards
    tool               text NOT NULL,
    server             text,
    arguments          jsonb NOT NULL,
    arguments_hash     bytea NOT NULL,
    policy             jsonb NOT NULL,
    requesters         text[] NOT NULL,
    state              text NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'allowed', 'denied', 'confirmed', 'void', 'closed', 'expired')),
    verdict            text CHECK (verdict IN ('allow', 'deny')),
    decided_by         jsonb,
    decided_at         timestamptz,
    reason             text,
    asked_at           timestamptz NOT NULL DEFAULT now(),
    remind_at          timestamptz,
    expires_at         timestamptz,
    PRIMARY KEY (deployed_agent_id, id),
    UNIQUE (deployed_agent_id, session_id, runtime_event_id),
    FOREIGN KEY (deployed_agent_id, session_id, workspace_id)
        REFERENCES agent_sessions (deployed_agent_id, id, workspace_id),
    FOREIGN KEY (deployed_agent_id, turn_id) REFERENCES agent_turns (deployed_agent_id, id),
    CONSTRAINT open_is_undecided
        CHECK ((state IN ('pending', 'expired')) = (decided_at IS NULL)),
    CONSTRAINT decided_says_how
        CHECK (state NOT IN ('allowed', 'denied', 'confirmed') OR verdict IS NOT NULL),
    CONSTRAINT verdict_is_the_state
        CHECK ((state <> 'allowed' OR verdict = 'allow') AND (state <> 'denied' OR verdict = 'deny')),
    CONSTRAINT only_open_ones_run_out
        CHECK (state = 'pending' OR (remind_at IS NULL AND expires_at IS NULL))
);
CREATE INDEX agent_approvals_turn ON agent_approvals (deployed_agent_id, turn_id);
CREATE INDEX agent_approvals_open ON agent_approvals (workspace_id, asked_at)
    WHERE state IN ('pending', 'expired');
CREATE INDEX agent_approvals_due ON agent_approvals (LEAST(remind_at, expires_at))
    WHERE remind_at IS NOT NULL OR expires_at IS NOT NULL;

CREATE TABLE approval_votes (
    deployed_agent_id  uuid NOT NULL,
    approval_id        uuid NOT NULL,
    card_no            integer NOT NULL,
    person             text NOT NULL,
    voter              jsonb NOT NULL,
    at                 timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (deployed_agent_id, approval_id, card_no, person),
    FOREIGN KEY (deployed_agent_id, approval_id) REFERENCES agent_approvals (deployed_agent_id, id)
);

-- "Approve for this thread": later calls of the tool, or only those with the same arguments.
CREATE TABLE approval_grants (
    deployed_agent_id  uuid NOT NULL,
    session_id         uuid NOT NULL,
    approval_id        uuid NOT NULL,                       -- the one that it was given with
    tool               text NOT NULL,
    server             text NOT NULL DEFAULT '',
    arguments_hash     bytea NOT NULL DEFAULT '',           -- empty: whatever they are
    granted_by         jsonb NOT NULL,
    at                 timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (deployed_agent_id, session_id, tool, server, arguments_hash),
    FOREIGN KEY (deployed_agent_id, session_id) REFERENCES agent_sessions (deployed_agent_id, id),
    FOREIGN KEY (deployed_agent_id, approval_id) REFERENCES agent_approvals (deployed_agent_id, id)
);

-- ------------------------------------------------------------------ escalations

CREATE TABLE agent_escalations (
    id                 uuid NOT NULL,
    deployed_agent_id  uuid NOT NULL,
    workspace_id       uuid NOT NULL,
    session_id         uuid NOT NULL,
    turn_id            uuid NOT NULL,
    runtime_event_id   text NOT NULL,
    revision           integer NOT NULL DEFAULT 0,
    question           text NOT NULL,
    context            text NOT NULL DEFAULT '',
    choices            text[] NOT NULL DEFAULT '{}',
    arguments_hash     bytea NOT NULL,
    policy             jsonb NOT NULL,
    requesters         text[] NOT NULL,
    state              text NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'answered', 'cancelled')),
    answer             text,
    decided_by         jsonb,
    decided_at         timestamptz,
    asked_at           timestamptz NOT NULL DEFAULT now(),
    pings              integer NOT NULL DEFAULT 0,
    ping_at            timestamptz,
    channel_install_id uuid REFERENCES oauth_installs,      -- where else it was asked
    channel_id         text,
    PRIMARY KEY (deployed_agent_id, id),
    UNIQUE (deployed_agent_id, session_id, runtime_event_id),
    FOREIGN KEY (deployed_agent_id, session_id, workspace_id)
        REFERENCES agent_sessions (deployed_agent_id, id, workspace_id),
    FOREIGN KEY (deployed_agent_id, turn_id) REFERENCES agent_turns (deployed_agent_id, id),
    CONSTRAINT pending_is_unanswered CHECK ((state = 'pending') = (decided_at IS NULL)),
    CONSTRAINT answered_has_an_answer CHECK (state <> 'answered' OR answer IS NOT NULL),
    CONSTRAINT only_pending_ones_ping CHECK (state = 'pending' OR ping_at IS NULL)
);
CREATE INDEX agent_escalations_turn ON agent_escalations (deployed_agent_id, turn_id);
CREATE INDEX agent_escalations_open ON agent_escalations (workspace_id, asked_at)
    WHERE state = 'pending';
CREATE INDEX agent_escalations_due ON agent_escalations (ping_at) WHERE ping_at IS NOT NULL;

-- ------------------------------------------------------------------ who did what

-- Everything that was asked, seen, refused, decided and delivered; never changed.
CREATE TABLE audit_entries (
    id                 uuid NOT NULL,
    deployed_agent_id  uuid NOT NULL,
    workspace_id       uuid NOT NULL,
    session_id         uuid NOT NULL,
    subject            text NOT NULL CHECK (subject IN ('approval', 'escalation')),
    subject_id         uuid NOT NULL,
    card_no            integer NOT NULL DEFAULT 1,
    action             text NOT NULL CHECK (action <> ''),
    origin             text NOT NULL
        CHECK (origin IN ('slack', 'rest', 'dashboard', 'runtime', 'threadline')),
    actor              jsonb,                               -- null: nobody, it came about by itself
    arguments_hash     bytea NOT NULL,
    detail             text NOT NULL DEFAULT '',
    at                 timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (deployed_agent_id, id),
    FOREIGN KEY (deployed_agent_id, session_id, workspace_id)
        REFERENCES agent_sessions (deployed_agent_id, id, workspace_id)
);
CREATE INDEX audit_entries_subject ON audit_entries (deployed_agent_id, subject_id, id);

-- ------------------------------------------------------------------ what was there before

-- A card is a message of ours that is written anew from its row; its writes leave in order.
ALTER TABLE slack_outbox DROP CONSTRAINT slack_outbox_kind_check;
ALTER TABLE slack_outbox ADD CONSTRAINT slack_outbox_kind_check
    CHECK (kind IN ('reply', 'notice', 'private', 'reaction', 'card', 'update'));

-- When an awaiting turn was last read from the runtime, where a call may be decided too.
ALTER TABLE agent_turns ADD COLUMN looked_at timestamptz;
ALTER TABLE agent_turns ADD CONSTRAINT awaiting_was_looked_at
    CHECK (state <> 'awaiting_human' OR looked_at IS NOT NULL);
CREATE INDEX agent_turns_awaiting ON agent_turns (looked_at) WHERE state = 'awaiting_human';

-- A turn that pauses says what it has to say so far: that part of its preview is done with.
ALTER TABLE slack_previews ADD COLUMN settled boolean NOT NULL DEFAULT false;

-- The thread below an escalation's card in another channel: what is said there answers the question.
ALTER TABLE slack_threads ADD COLUMN escalation_id uuid;

ALTER TABLE runtime_budgets DROP CONSTRAINT runtime_budgets_kind_check;
ALTER TABLE runtime_budgets ADD CONSTRAINT runtime_budgets_kind_check
    CHECK (kind IN ('read', 'create', 'look'));

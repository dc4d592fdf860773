-- The ground: tenancy, routing, sessions, their inbox, their turns, the outbox to Slack, usage.
--
-- Rules (design.md, section 4): guarantees are unique indexes and CHECKs; every table below an agent
-- carries deployed_agent_id in its keys and workspace_id by composite foreign key.

-- ------------------------------------------------------------------ tenancy and routing

CREATE TABLE workspaces (
    id          uuid PRIMARY KEY,
    name        text NOT NULL UNIQUE CHECK (name <> ''),
    default_agent_id  uuid,                       -- answers on installs that come later
    created_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE workspace_members (
    workspace_id  uuid NOT NULL REFERENCES workspaces,
    user_id       text NOT NULL CHECK (user_id <> ''),
    role          text NOT NULL CHECK (role IN ('viewer', 'member', 'admin', 'owner')),
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, user_id)
);

CREATE TABLE deployed_agents (
    id                        uuid PRIMARY KEY,
    workspace_id              uuid NOT NULL REFERENCES workspaces,
    name                      text NOT NULL CHECK (name <> ''),
    anthropic_agent_id        text NOT NULL,
    anthropic_environment_id  text NOT NULL,
    status                    text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'paused')),
    settings                  jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(settings) = 'object'),
    created_at                timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace_id, name),
    UNIQUE (id, workspace_id)
);

ALTER TABLE workspaces ADD FOREIGN KEY (default_agent_id, id)
    REFERENCES deployed_agents (id, workspace_id);

CREATE TABLE oauth_installs (
    id                     uuid PRIMARY KEY,
    workspace_id           uuid NOT NULL REFERENCES workspaces,
    api_app_id             text NOT NULL,
    tenant_id              text NOT NULL,              -- enterprise id of an org-wide install, else team id
    team_id                text,
    enterprise_id          text,
    bot_user_id            text NOT NULL,
    bot_id                 text,
    bot_token              bytea,                      -- sealed; null once revoked
    scopes                 text[] NOT NULL DEFAULT '{}',
    default_agent_id       uuid,
    escalation_channel_id  text,
    external_policy        text NOT NULL DEFAULT 'reject'
        CHECK (external_policy IN ('reject', 'allow_list', 'allow_all')),
    allowed_external       text[] NOT NULL DEFAULT '{}',
    allow_guests           boolean NOT NULL DEFAULT true,
    status                 text NOT NULL DEFAULT 'active'
        CHECK (status IN ('active', 'revoked', 'uninstalled')),
    created_at             timestamptz NOT NULL DEFAULT now(),
    updated_at             timestamptz NOT NULL DEFAULT now(),
    UNIQUE (api_app_id, tenant_id),
    UNIQUE (id, workspace_id),
    FOREIGN KEY (default_agent_id, workspace_id) REFERENCES deployed_agents (id, workspace_id),
    CONSTRAINT active_install_has_a_token CHECK ((status = 'active') = (bot_token IS NOT NULL))
);

CREATE TABLE slack_routes (
    install_id         uuid NOT NULL,
    channel_id         text NOT NULL,
    workspace_id       uuid NOT NULL,
    deployed_agent_id  uuid NOT NULL,
    PRIMARY KEY (install_id, channel_id),
    FOREIGN KEY (install_id, workspace_id) REFERENCES oauth_installs (id, workspace_id),
    FOREIGN KEY (deployed_agent_id, workspace_id) REFERENCES deployed_agents (id, workspace_id)
);

-- ------------------------------------------------------------------ threads and sessions

-- Pins a thread to its agent. The one table keyed by conversation: it is read before the agent is known.
CREATE TABLE slack_threads (
    slack_conversation_key  text PRIMARY KEY,
    deployed_agent_id       uuid NOT NULL,
    workspace_id            uuid NOT NULL,
    session_id              uuid NOT NULL,
    api_app_id              text NOT NULL,
    channel_id              text NOT NULL,
    root_ts                 text NOT NULL,
    first_ts                numeric(20, 6) NOT NULL,   -- earliest message that addressed the agent here
    muted                   boolean NOT NULL DEFAULT false,
    created_at              timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (deployed_agent_id, workspace_id) REFERENCES deployed_agents (id, workspace_id)
);
CREATE INDEX slack_threads_place ON slack_threads (api_app_id, channel_id, root_ts);

-- Events that came before what they belong to: replies that overtook their mention, deletes that
-- overtook their message. Taken in by the accept that creates the session, or moved by the sweep.
CREATE TABLE slack_unclaimed (
    slack_conversation_key  text NOT NULL,
    dedupe_key              text NOT NULL,
    install_id              uuid NOT NULL REFERENCES oauth_installs,
    deleted                 boolean NOT NULL,
    revision                numeric(20, 6) NOT NULL,
    event                   jsonb NOT NULL,
    created_at              timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (slack_conversation_key, dedupe_key)
);
CREATE INDEX slack_unclaimed_age ON slack_unclaimed (created_at);

CREATE TABLE agent_sessions (
    id                      uuid NOT NULL,
    deployed_agent_id       uuid NOT NULL,
    workspace_id            uuid NOT NULL,
    anthropic_session_id    text,
    status                  text NOT NULL DEFAULT 'idle' CHECK (status IN ('idle', 'running', 'archived')),
    source                  text NOT NULL CHECK (source IN ('dashboard', 'slack', 'schedule', 'webhook')),
    title                   text,
    created_by              text,
    slack_install_id        uuid REFERENCES oauth_installs,
    slack_team_id           text,
    slack_channel_id        text,
    slack_thread_ts         text,
    slack_conversation_key  text,
    -- the worker's columns: when to look, who holds it, what it last saw
    ready_at                timestamptz,               -- null: nothing to do
    wake_seq                bigint NOT NULL DEFAULT 0, -- grows with every input: a hint to the holder
    lease_owner             text,
    lease_expires_at        timestamptz,
    lease_epoch             bigint NOT NULL DEFAULT 0, -- fencing token, grows with every claim
    barren_claims           integer NOT NULL DEFAULT 0,-- claims since the last append
    failures                integer NOT NULL DEFAULT 0,-- for the backoff while the runtime is away
    create_started_at       timestamptz,               -- a runtime create is, or was, on its way
    place_at                timestamptz,               -- runtime time of the last event of the last turn
    usage_snapshot          jsonb,                     -- the runtime's cumulative usage at that place
    next_position           bigint NOT NULL DEFAULT 0, -- order of this session's replies
    archive_requested_at    timestamptz,
    archived_at             timestamptz,
    created_at              timestamptz NOT NULL DEFAULT now(),
    updated_at              timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (deployed_agent_id, id),
    UNIQUE (deployed_agent_id, id, workspace_id),
    FOREIGN KEY (deployed_agent_id, workspace_id) REFERENCES deployed_agents (id, workspace_id),
    CONSTRAINT lease_is_whole CHECK ((lease_owner IS NULL) = (lease_expires_at IS NULL)),
    CONSTRAINT archived_is_at_rest
        CHECK (status <> 'archived' OR (ready_at IS NULL AND lease_owner IS NULL)),
    CONSTRAINT archived_has_its_time CHECK ((status = 'archived') = (archived_at IS NOT NULL)),
    CONSTRAINT slack_thread_is_whole CHECK (
        num_nonnulls(slack_install_id, slack_channel_id, slack_thread_ts, slack_conversation_key) IN (0, 4)
    ),
    CONSTRAINT slack_source_has_a_thread CHECK (source <> 'slack' OR slack_conversation_key IS NOT NULL)
);
-- The promise: one session per Slack thread.
CREATE UNIQUE INDEX agent_sessions_one_per_thread
    ON agent_sessions (deployed_agent_id, slack_conversation_key)
    WHERE slack_conversation_key IS NOT NULL;
CREATE INDEX agent_sessions_ready ON agent_sessions (ready_at) WHERE ready_at IS NOT NULL;
CREATE INDEX agent_sessions_live ON agent_sessions (deployed_agent_id) WHERE status = 'running';

-- ------------------------------------------------------------------ turns and inputs

CREATE TABLE agent_turns (
    id                 uuid NOT NULL,
    deployed_agent_id  uuid NOT NULL,
    workspace_id       uuid NOT NULL,
    session_id         uuid NOT NULL,
    number             integer NOT NULL CHECK (number > 0),
    state              text NOT NULL DEFAULT 'running'
        CHECK (state IN ('running', 'awaiting_human', 'completed', 'interrupted', 'failed')),
    stop_reason        text,
    digest             tsvector,
    started_at         timestamptz NOT NULL DEFAULT now(),
    ended_at           timestamptz,
    PRIMARY KEY (deployed_agent_id, id),
    UNIQUE (deployed_agent_id, session_id, number),
    FOREIGN KEY (deployed_agent_id, session_id, workspace_id)
        REFERENCES agent_sessions (deployed_agent_id, id, workspace_id),
    CONSTRAINT ended_has_time_and_reason CHECK (
        (state IN ('running', 'awaiting_human')) = (ended_at IS NULL)
        AND (ended_at IS NULL) = (stop_reason IS NULL)
    )
);
CREATE UNIQUE INDEX agent_turns_one_live ON agent_turns (deployed_agent_id, session_id)
    WHERE ended_at IS NULL;

CREATE TABLE session_inputs (
    id                 uuid NOT NULL,
    deployed_agent_id  uuid NOT NULL,
    workspace_id       uuid NOT NULL,
    session_id         uuid NOT NULL,
    kind               text NOT NULL
        CHECK (kind IN ('message', 'correction', 'decision', 'interrupt')),
    body               jsonb NOT NULL,
    order_key          numeric(20, 6) NOT NULL,         -- Slack ts, else the time of acceptance
    revision           numeric(20, 6) NOT NULL DEFAULT 0, -- edited ts of the newest text seen
    deleted            boolean NOT NULL DEFAULT false,
    dedupe_key         text NOT NULL,
    client_key         text,                            -- Slack's client_msg_id, per channel
    state              text NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'sending', 'sent', 'done', 'withdrawn', 'refused')),
    turn_id            uuid,
    sending_deadline   timestamptz,                     -- until when the request may still take effect
    runtime_event_id   text,
    flushes            smallint NOT NULL DEFAULT 0,     -- how often the runtime threw it away
    slack_event_id     text,
    accepted_at        timestamptz NOT NULL DEFAULT now(),
    sent_at            timestamptz,
    ended_at           timestamptz,
    PRIMARY KEY (deployed_agent_id, id),
    UNIQUE (deployed_agent_id, dedupe_key),
    FOREIGN KEY (deployed_agent_id, session_id, workspace_id)
        REFERENCES agent_sessions (deployed_agent_id, id, workspace_id),
    FOREIGN KEY (deployed_agent_id, turn_id) REFERENCES agent_turns (deployed_agent_id, id),
    CONSTRAINT sending_has_a_deadline CHECK ((state = 'sending') = (sending_deadline IS NOT NULL)),
    CONSTRAINT sent_belongs_to_a_turn
        CHECK (state NOT IN ('sending', 'sent', 'done') OR turn_id IS NOT NULL),
    CONSTRAINT ended_has_its_time
        CHECK ((state IN ('done', 'withdrawn', 'refused')) = (ended_at IS NOT NULL))
);
CREATE UNIQUE INDEX session_inputs_client_key ON session_inputs (deployed_agent_id, client_key)
    WHERE client_key IS NOT NULL;
CREATE INDEX session_inputs_open ON session_inputs (deployed_agent_id, session_id, order_key)
    WHERE state IN ('queued', 'sending', 'sent');
CREATE INDEX session_inputs_turn ON session_inputs (deployed_agent_id, turn_id);

-- ------------------------------------------------------------------ what is said in Slack

-- A row without a session speaks to somebody who has none (a stranger, a workspace without an
-- agent); its deployed_agent_id is then the agent that would have answered, or the install's id.
CREATE TABLE slack_outbox (
    delivery_id             uuid NOT NULL,
    deployed_agent_id       uuid NOT NULL,
    workspace_id            uuid NOT NULL REFERENCES workspaces,
    session_id              uuid,
    turn_id                 uuid,
    install_id              uuid NOT NULL REFERENCES oauth_installs,
    slack_conversation_key  text NOT NULL,
    channel_id              text NOT NULL,
    thread_ts               text,
    effect_key              text NOT NULL,
    lane                    text NOT NULL CHECK (lane IN ('reply', 'side')),
    position                bigint NOT NULL DEFAULT 0,
    kind                    text NOT NULL CHECK (kind IN ('reply', 'notice', 'private')),
    body                    jsonb NOT NULL,
    state                   text NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'sending', 'sent', 'dead')),
    not_before              timestamptz NOT NULL DEFAULT now(),
    claimed_by              text,
    claim_epoch             bigint NOT NULL DEFAULT 0,
    deadline                timestamptz,
    attempts                integer NOT NULL DEFAULT 0,
    unclear                 boolean NOT NULL DEFAULT false, -- an attempt may have taken effect
    slack_ts                text,
    error                   text,
    created_at              timestamptz NOT NULL DEFAULT now(),
    ended_at                timestamptz,
    PRIMARY KEY (deployed_agent_id, delivery_id),
    FOREIGN KEY (deployed_agent_id, session_id, workspace_id)
        REFERENCES agent_sessions (deployed_agent_id, id, workspace_id),
    CONSTRAINT replies_belong_to_a_session CHECK (lane = 'side' OR session_id IS NOT NULL),
    CONSTRAINT sending_is_claimed
        CHECK ((state = 'sending') = (deadline IS NOT NULL) AND (deadline IS NULL) = (claimed_by IS NULL)),
    CONSTRAINT delivered_has_its_time CHECK ((state IN ('sent', 'dead')) = (ended_at IS NOT NULL)),
    CONSTRAINT dead_has_a_reason CHECK (state <> 'dead' OR error IS NOT NULL)
);
CREATE UNIQUE INDEX slack_outbox_effect ON slack_outbox (deployed_agent_id, session_id, effect_key)
    WHERE session_id IS NOT NULL;
CREATE UNIQUE INDEX slack_outbox_stranger_effect
    ON slack_outbox (deployed_agent_id, slack_conversation_key, effect_key) WHERE session_id IS NULL;
CREATE INDEX slack_outbox_open ON slack_outbox (not_before) WHERE state IN ('pending', 'sending');
CREATE INDEX slack_outbox_line ON slack_outbox (deployed_agent_id, session_id, position)
    WHERE lane = 'reply' AND state IN ('pending', 'sending');
CREATE INDEX slack_outbox_dead ON slack_outbox (ended_at) WHERE state = 'dead';

-- ------------------------------------------------------------------ usage

CREATE TABLE agent_compute_usage (
    turn_id             uuid NOT NULL,
    deployed_agent_id   uuid NOT NULL,
    workspace_id        uuid NOT NULL,
    session_id          uuid NOT NULL,
    state               text NOT NULL CHECK (state IN ('final', 'pending')),
    input_tokens        bigint NOT NULL DEFAULT 0 CHECK (input_tokens >= 0),
    output_tokens       bigint NOT NULL DEFAULT 0 CHECK (output_tokens >= 0),
    cache_read_tokens   bigint NOT NULL DEFAULT 0 CHECK (cache_read_tokens >= 0),
    cache_write_tokens  bigint NOT NULL DEFAULT 0 CHECK (cache_write_tokens >= 0),
    runtime_ms          bigint NOT NULL DEFAULT 0 CHECK (runtime_ms >= 0),
    cost_cents          numeric(20, 6) NOT NULL DEFAULT 0 CHECK (cost_cents >= 0),
    created_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (deployed_agent_id, turn_id),
    FOREIGN KEY (deployed_agent_id, turn_id) REFERENCES agent_turns (deployed_agent_id, id),
    FOREIGN KEY (deployed_agent_id, session_id, workspace_id)
        REFERENCES agent_sessions (deployed_agent_id, id, workspace_id)
);
CREATE INDEX agent_compute_usage_pending ON agent_compute_usage (deployed_agent_id, session_id)
    WHERE state = 'pending';

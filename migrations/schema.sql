-- What the migrations add up to; `make schema` writes it.

CREATE FUNCTION public.threadline_enter(agent uuid, person text, workspace uuid, OUT theirs uuid, OUT standing text) RETURNS record
    LANGUAGE plpgsql
    AS $$
DECLARE
    narrowed text; -- assigned, since PERFORM would be a query
BEGIN
    theirs := workspace;
    IF person IS NOT NULL THEN
        SELECT m.workspace_id, m.role INTO theirs, standing
        FROM deployed_agents a JOIN workspace_members m ON m.workspace_id = a.workspace_id
        WHERE a.id = agent AND m.user_id = person;
    END IF;
    IF theirs IS NOT NULL THEN
        narrowed := set_config('role', 'threadline_tenant', true);
        narrowed := set_config('threadline.workspace', theirs::text, true);
    END IF;
END $$;

CREATE TABLE public.agent_sessions (
    id uuid NOT NULL,
    deployed_agent_id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    anthropic_session_id text,
    status text DEFAULT 'idle'::text NOT NULL,
    source text NOT NULL,
    title text,
    created_by text,
    slack_install_id uuid,
    slack_team_id text,
    slack_channel_id text,
    slack_thread_ts text,
    slack_conversation_key text,
    ready_at timestamp with time zone,
    wake_seq bigint DEFAULT 0 NOT NULL,
    lease_owner text,
    lease_expires_at timestamp with time zone,
    lease_epoch bigint DEFAULT 0 NOT NULL,
    barren_claims integer DEFAULT 0 NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    create_started_at timestamp with time zone,
    place_at timestamp with time zone,
    usage_snapshot jsonb,
    next_position bigint DEFAULT 0 NOT NULL,
    archive_requested_at timestamp with time zone,
    archived_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    titled_at numeric(20,6),
    retitled boolean DEFAULT false NOT NULL,
    CONSTRAINT agent_sessions_source_check CHECK ((source = ANY (ARRAY['dashboard'::text, 'slack'::text, 'schedule'::text, 'webhook'::text]))),
    CONSTRAINT agent_sessions_status_check CHECK ((status = ANY (ARRAY['idle'::text, 'running'::text, 'archived'::text]))),
    CONSTRAINT archived_has_its_time CHECK (((status = 'archived'::text) = (archived_at IS NOT NULL))),
    CONSTRAINT archived_is_at_rest CHECK (((status <> 'archived'::text) OR ((ready_at IS NULL) AND (lease_owner IS NULL)))),
    CONSTRAINT lease_is_whole CHECK (((lease_owner IS NULL) = (lease_expires_at IS NULL))),
    CONSTRAINT slack_source_has_a_thread CHECK (((source <> 'slack'::text) OR (slack_conversation_key IS NOT NULL))),
    CONSTRAINT slack_thread_is_whole CHECK ((num_nonnulls(slack_install_id, slack_channel_id, slack_thread_ts, slack_conversation_key) = ANY (ARRAY[0, 4])))
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='2000');

ALTER TABLE ONLY public.agent_sessions FORCE ROW LEVEL SECURITY;

CREATE FUNCTION public.threadline_new_session(agent uuid, session uuid, person text, workspace uuid, roles text[], title text, maker text) RETURNS TABLE(workspace_id uuid, role text, found public.agent_sessions)
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
DECLARE
    entered record;
BEGIN
    entered := threadline_enter(agent, person, workspace);
    IF entered.theirs IS NULL THEN
        RETURN;
    ELSIF person IS NOT NULL AND entered.standing <> ALL (roles) THEN
        RETURN QUERY SELECT entered.theirs, entered.standing, NULL::agent_sessions;
        RETURN;
    END IF;
    RETURN QUERY
        INSERT INTO agent_sessions AS s
            (id, deployed_agent_id, workspace_id, title, created_by, source)
        VALUES (session, agent, entered.theirs, title, maker, 'dashboard')
        RETURNING entered.theirs, entered.standing, s;
END $$;

CREATE FUNCTION public.threadline_session(agent uuid, session uuid, person text, workspace uuid) RETURNS TABLE(workspace_id uuid, role text, found public.agent_sessions)
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
DECLARE
    entered record;
BEGIN
    entered := threadline_enter(agent, person, workspace);
    IF entered.theirs IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT entered.theirs, entered.standing, s FROM (VALUES (1)) AS one (row)
        LEFT JOIN agent_sessions s
        ON s.workspace_id = entered.theirs AND s.deployed_agent_id = agent AND s.id = session;
END $$;

CREATE TABLE public.agent_approvals (
    id uuid NOT NULL,
    deployed_agent_id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    session_id uuid NOT NULL,
    turn_id uuid NOT NULL,
    runtime_event_id text NOT NULL,
    card_no integer DEFAULT 1 NOT NULL,
    revision integer DEFAULT 0 NOT NULL,
    tool text NOT NULL,
    server text,
    arguments jsonb NOT NULL,
    arguments_hash bytea NOT NULL,
    policy jsonb NOT NULL,
    requesters text[] NOT NULL,
    state text DEFAULT 'pending'::text NOT NULL,
    verdict text,
    decided_by jsonb,
    decided_at timestamp with time zone,
    reason text,
    asked_at timestamp with time zone DEFAULT now() NOT NULL,
    remind_at timestamp with time zone,
    expires_at timestamp with time zone,
    CONSTRAINT agent_approvals_card_no_check CHECK ((card_no > 0)),
    CONSTRAINT agent_approvals_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'allowed'::text, 'denied'::text, 'confirmed'::text, 'void'::text, 'closed'::text, 'expired'::text]))),
    CONSTRAINT agent_approvals_verdict_check CHECK ((verdict = ANY (ARRAY['allow'::text, 'deny'::text]))),
    CONSTRAINT decided_says_how CHECK (((state <> ALL (ARRAY['allowed'::text, 'denied'::text, 'confirmed'::text])) OR (verdict IS NOT NULL))),
    CONSTRAINT only_open_ones_run_out CHECK (((state = 'pending'::text) OR ((remind_at IS NULL) AND (expires_at IS NULL)))),
    CONSTRAINT open_is_undecided CHECK (((state = ANY (ARRAY['pending'::text, 'expired'::text])) = (decided_at IS NULL))),
    CONSTRAINT verdict_is_the_state CHECK ((((state <> 'allowed'::text) OR (verdict = 'allow'::text)) AND ((state <> 'denied'::text) OR (verdict = 'deny'::text))))
);

ALTER TABLE ONLY public.agent_approvals FORCE ROW LEVEL SECURITY;

CREATE TABLE public.agent_compute_usage (
    turn_id uuid NOT NULL,
    deployed_agent_id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    session_id uuid NOT NULL,
    state text NOT NULL,
    input_tokens bigint DEFAULT 0 NOT NULL,
    output_tokens bigint DEFAULT 0 NOT NULL,
    cache_read_tokens bigint DEFAULT 0 NOT NULL,
    cache_write_tokens bigint DEFAULT 0 NOT NULL,
    runtime_ms bigint DEFAULT 0 NOT NULL,
    cost_cents numeric(20,6) DEFAULT 0 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT agent_compute_usage_cache_read_tokens_check CHECK ((cache_read_tokens >= 0)),
    CONSTRAINT agent_compute_usage_cache_write_tokens_check CHECK ((cache_write_tokens >= 0)),
    CONSTRAINT agent_compute_usage_cost_cents_check CHECK ((cost_cents >= (0)::numeric)),
    CONSTRAINT agent_compute_usage_input_tokens_check CHECK ((input_tokens >= 0)),
    CONSTRAINT agent_compute_usage_output_tokens_check CHECK ((output_tokens >= 0)),
    CONSTRAINT agent_compute_usage_runtime_ms_check CHECK ((runtime_ms >= 0)),
    CONSTRAINT agent_compute_usage_state_check CHECK ((state = ANY (ARRAY['final'::text, 'pending'::text])))
);

ALTER TABLE ONLY public.agent_compute_usage FORCE ROW LEVEL SECURITY;

CREATE TABLE public.agent_escalations (
    id uuid NOT NULL,
    deployed_agent_id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    session_id uuid NOT NULL,
    turn_id uuid NOT NULL,
    runtime_event_id text NOT NULL,
    revision integer DEFAULT 0 NOT NULL,
    question text NOT NULL,
    context text DEFAULT ''::text NOT NULL,
    choices text[] DEFAULT '{}'::text[] NOT NULL,
    arguments_hash bytea NOT NULL,
    policy jsonb NOT NULL,
    requesters text[] NOT NULL,
    state text DEFAULT 'pending'::text NOT NULL,
    answer text,
    decided_by jsonb,
    decided_at timestamp with time zone,
    asked_at timestamp with time zone DEFAULT now() NOT NULL,
    pings integer DEFAULT 0 NOT NULL,
    ping_at timestamp with time zone,
    channel_install_id uuid,
    channel_id text,
    CONSTRAINT agent_escalations_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'answered'::text, 'cancelled'::text]))),
    CONSTRAINT answered_has_an_answer CHECK (((state <> 'answered'::text) OR (answer IS NOT NULL))),
    CONSTRAINT only_pending_ones_ping CHECK (((state = 'pending'::text) OR (ping_at IS NULL))),
    CONSTRAINT pending_is_unanswered CHECK (((state = 'pending'::text) = (decided_at IS NULL)))
);

ALTER TABLE ONLY public.agent_escalations FORCE ROW LEVEL SECURITY;

CREATE TABLE public.agent_turns (
    id uuid NOT NULL,
    deployed_agent_id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    session_id uuid NOT NULL,
    number integer NOT NULL,
    state text DEFAULT 'running'::text NOT NULL,
    stop_reason text,
    digest tsvector,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    ended_at timestamp with time zone,
    looked_at timestamp with time zone,
    CONSTRAINT agent_turns_number_check CHECK ((number > 0)),
    CONSTRAINT agent_turns_state_check CHECK ((state = ANY (ARRAY['running'::text, 'awaiting_human'::text, 'completed'::text, 'interrupted'::text, 'failed'::text]))),
    CONSTRAINT awaiting_was_looked_at CHECK (((state <> 'awaiting_human'::text) OR (looked_at IS NOT NULL))),
    CONSTRAINT ended_has_time_and_reason CHECK ((((state = ANY (ARRAY['running'::text, 'awaiting_human'::text])) = (ended_at IS NULL)) AND ((ended_at IS NULL) = (stop_reason IS NULL))))
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='1000');

ALTER TABLE ONLY public.agent_turns FORCE ROW LEVEL SECURITY;

CREATE TABLE public.api_keys (
    id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    deployed_agent_id uuid NOT NULL,
    name text NOT NULL,
    prefix text NOT NULL,
    secret_hash bytea NOT NULL,
    role text NOT NULL,
    created_by text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    last_used_at timestamp with time zone,
    revoked_at timestamp with time zone,
    CONSTRAINT api_keys_name_check CHECK ((name <> ''::text)),
    CONSTRAINT api_keys_role_check CHECK ((role = ANY (ARRAY['viewer'::text, 'member'::text, 'admin'::text]))),
    CONSTRAINT api_keys_secret_hash_check CHECK ((length(secret_hash) = 32))
);

ALTER TABLE ONLY public.api_keys FORCE ROW LEVEL SECURITY;

CREATE TABLE public.approval_grants (
    deployed_agent_id uuid NOT NULL,
    session_id uuid NOT NULL,
    approval_id uuid NOT NULL,
    tool text NOT NULL,
    server text DEFAULT ''::text NOT NULL,
    arguments_hash bytea DEFAULT '\x'::bytea NOT NULL,
    granted_by jsonb NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE ONLY public.approval_grants FORCE ROW LEVEL SECURITY;

CREATE TABLE public.approval_votes (
    deployed_agent_id uuid NOT NULL,
    approval_id uuid NOT NULL,
    card_no integer NOT NULL,
    person text NOT NULL,
    voter jsonb NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE ONLY public.approval_votes FORCE ROW LEVEL SECURITY;

CREATE TABLE public.audit_entries (
    id uuid NOT NULL,
    deployed_agent_id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    session_id uuid NOT NULL,
    subject text NOT NULL,
    subject_id uuid NOT NULL,
    card_no integer DEFAULT 1 NOT NULL,
    action text NOT NULL,
    origin text NOT NULL,
    actor jsonb,
    arguments_hash bytea NOT NULL,
    detail text DEFAULT ''::text NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT audit_entries_action_check CHECK ((action <> ''::text)),
    CONSTRAINT audit_entries_origin_check CHECK ((origin = ANY (ARRAY['slack'::text, 'rest'::text, 'dashboard'::text, 'runtime'::text, 'threadline'::text]))),
    CONSTRAINT audit_entries_subject_check CHECK ((subject = ANY (ARRAY['approval'::text, 'escalation'::text, 'tool'::text])))
);

ALTER TABLE ONLY public.audit_entries FORCE ROW LEVEL SECURITY;

CREATE TABLE public.deployed_agents (
    id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    name text NOT NULL,
    anthropic_agent_id text NOT NULL,
    anthropic_environment_id text NOT NULL,
    status text DEFAULT 'active'::text NOT NULL,
    settings jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT deployed_agents_name_check CHECK ((name <> ''::text)),
    CONSTRAINT deployed_agents_settings_check CHECK ((jsonb_typeof(settings) = 'object'::text)),
    CONSTRAINT deployed_agents_status_check CHECK ((status = ANY (ARRAY['active'::text, 'paused'::text])))
);

ALTER TABLE ONLY public.deployed_agents FORCE ROW LEVEL SECURITY;

CREATE TABLE public.idempotency_keys (
    deployed_agent_id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    principal text NOT NULL,
    route text NOT NULL,
    key text NOT NULL,
    body_hash bytea NOT NULL,
    work_id uuid NOT NULL,
    claim integer DEFAULT 1 NOT NULL,
    claimed_until timestamp with time zone,
    status smallint,
    answer jsonb,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT either_claimed_or_answered CHECK (((status IS NULL) = (claimed_until IS NOT NULL))),
    CONSTRAINT no_answer_without_a_status CHECK (((status IS NOT NULL) OR (answer IS NULL)))
);

ALTER TABLE ONLY public.idempotency_keys FORCE ROW LEVEL SECURITY;

CREATE TABLE public.input_files (
    deployed_agent_id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    session_id uuid NOT NULL,
    input_id uuid NOT NULL,
    slack_file_id text NOT NULL,
    "position" smallint NOT NULL,
    state text DEFAULT 'pending'::text NOT NULL,
    attempts smallint DEFAULT 0 NOT NULL,
    name text NOT NULL,
    kind text,
    media_type text,
    size bigint,
    content text,
    runtime_file_id text,
    mount_path text,
    mounted_in text,
    reason text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT input_files_kind_check CHECK ((kind = ANY (ARRAY['image'::text, 'document'::text, 'text'::text, 'resource'::text]))),
    CONSTRAINT input_files_size_check CHECK ((size >= 0)),
    CONSTRAINT input_files_slack_file_id_check CHECK ((slack_file_id <> ''::text)),
    CONSTRAINT input_files_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'uploaded'::text, 'ready'::text, 'refused'::text]))),
    CONSTRAINT only_resources_are_mounted CHECK ((((mount_path IS NULL) = (mounted_in IS NULL)) AND ((mount_path IS NULL) OR (kind = 'resource'::text)))),
    CONSTRAINT read_has_kind_and_size CHECK (((state <> ALL (ARRAY['uploaded'::text, 'ready'::text])) OR (num_nonnulls(kind, media_type, size) = 3))),
    CONSTRAINT ready_is_to_be_had CHECK (((state <> 'ready'::text) OR
CASE kind
    WHEN 'text'::text THEN (content IS NOT NULL)
    WHEN 'resource'::text THEN ((runtime_file_id IS NOT NULL) AND (mount_path IS NOT NULL))
    ELSE (runtime_file_id IS NOT NULL)
END)),
    CONSTRAINT refused_has_a_reason CHECK (((state = 'refused'::text) = (reason IS NOT NULL)))
);

ALTER TABLE ONLY public.input_files FORCE ROW LEVEL SECURITY;

CREATE TABLE public.oauth_installs (
    id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    api_app_id text NOT NULL,
    tenant_id text NOT NULL,
    team_id text,
    enterprise_id text,
    bot_user_id text NOT NULL,
    bot_id text,
    bot_token bytea,
    scopes text[] DEFAULT '{}'::text[] NOT NULL,
    default_agent_id uuid,
    escalation_channel_id text,
    external_policy text DEFAULT 'reject'::text NOT NULL,
    allowed_external text[] DEFAULT '{}'::text[] NOT NULL,
    allow_guests boolean DEFAULT true NOT NULL,
    status text DEFAULT 'active'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT active_install_has_a_token CHECK (((status = 'active'::text) = (bot_token IS NOT NULL))),
    CONSTRAINT oauth_installs_external_policy_check CHECK ((external_policy = ANY (ARRAY['reject'::text, 'allow_list'::text, 'allow_all'::text]))),
    CONSTRAINT oauth_installs_status_check CHECK ((status = ANY (ARRAY['active'::text, 'revoked'::text, 'uninstalled'::text])))
);

ALTER TABLE ONLY public.oauth_installs FORCE ROW LEVEL SECURITY;

CREATE TABLE public.output_looks (
    deployed_agent_id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    session_id uuid NOT NULL,
    turn_id uuid NOT NULL,
    runtime_session text NOT NULL,
    looks_left smallint NOT NULL,
    due_at timestamp with time zone,
    failures smallint DEFAULT 0 NOT NULL,
    asked_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT output_looks_looks_left_check CHECK (((looks_left >= 1) AND (looks_left <= 3))),
    CONSTRAINT output_looks_runtime_session_check CHECK ((runtime_session <> ''::text))
);

ALTER TABLE ONLY public.output_looks FORCE ROW LEVEL SECURITY;

CREATE TABLE public.runtime_budgets (
    key_hash bytea NOT NULL,
    kind text NOT NULL,
    spent_until timestamp with time zone NOT NULL,
    CONSTRAINT runtime_budgets_kind_check CHECK ((kind = ANY (ARRAY['read'::text, 'create'::text, 'look'::text])))
);

CREATE TABLE public.schema_migrations (
    version integer NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.session_inputs (
    id uuid NOT NULL,
    deployed_agent_id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    session_id uuid NOT NULL,
    kind text NOT NULL,
    body jsonb,
    order_key numeric(20,6) NOT NULL,
    revision numeric(20,6) DEFAULT 0 NOT NULL,
    deleted boolean DEFAULT false NOT NULL,
    dedupe_key text NOT NULL,
    client_key text,
    state text DEFAULT 'queued'::text NOT NULL,
    turn_id uuid,
    sending_deadline timestamp with time zone,
    runtime_event_id text,
    flushes smallint DEFAULT 0 NOT NULL,
    slack_event_id text,
    accepted_at timestamp with time zone DEFAULT now() NOT NULL,
    sent_at timestamp with time zone,
    ended_at timestamp with time zone,
    shown_waiting boolean DEFAULT false NOT NULL,
    CONSTRAINT cleared_only_when_over CHECK (((body IS NOT NULL) OR (state = ANY (ARRAY['done'::text, 'withdrawn'::text, 'refused'::text])))),
    CONSTRAINT ended_has_its_time CHECK (((state = ANY (ARRAY['done'::text, 'withdrawn'::text, 'refused'::text])) = (ended_at IS NOT NULL))),
    CONSTRAINT sending_has_a_deadline CHECK (((state = 'sending'::text) = (sending_deadline IS NOT NULL))),
    CONSTRAINT sent_belongs_to_a_turn CHECK (((state <> ALL (ARRAY['sending'::text, 'sent'::text, 'done'::text])) OR (turn_id IS NOT NULL))),
    CONSTRAINT session_inputs_kind_check CHECK ((kind = ANY (ARRAY['message'::text, 'correction'::text, 'decision'::text, 'interrupt'::text]))),
    CONSTRAINT session_inputs_state_check CHECK ((state = ANY (ARRAY['queued'::text, 'sending'::text, 'sent'::text, 'done'::text, 'withdrawn'::text, 'refused'::text])))
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='5000');

ALTER TABLE ONLY public.session_inputs FORCE ROW LEVEL SECURITY;

CREATE TABLE public.session_outputs (
    deployed_agent_id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    session_id uuid NOT NULL,
    runtime_file_id text NOT NULL,
    turn_id uuid NOT NULL,
    fate text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT session_outputs_fate_check CHECK ((fate = ANY (ARRAY['offered'::text, 'too_large'::text, 'too_many'::text, 'empty'::text]))),
    CONSTRAINT session_outputs_runtime_file_id_check CHECK ((runtime_file_id <> ''::text))
);

ALTER TABLE ONLY public.session_outputs FORCE ROW LEVEL SECURITY;

CREATE TABLE public.slack_budgets (
    install_id uuid NOT NULL,
    method text NOT NULL,
    spent_until timestamp with time zone NOT NULL
);

ALTER TABLE ONLY public.slack_budgets FORCE ROW LEVEL SECURITY;

CREATE TABLE public.slack_outbox (
    delivery_id uuid NOT NULL,
    deployed_agent_id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    session_id uuid,
    turn_id uuid,
    install_id uuid NOT NULL,
    slack_conversation_key text NOT NULL,
    channel_id text NOT NULL,
    thread_ts text,
    effect_key text NOT NULL,
    lane text NOT NULL,
    "position" bigint DEFAULT 0 NOT NULL,
    kind text NOT NULL,
    body jsonb,
    state text DEFAULT 'pending'::text NOT NULL,
    not_before timestamp with time zone DEFAULT now() NOT NULL,
    claimed_by text,
    claim_epoch bigint DEFAULT 0 NOT NULL,
    deadline timestamp with time zone,
    attempts integer DEFAULT 0 NOT NULL,
    unclear boolean DEFAULT false NOT NULL,
    slack_ts text,
    error text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    ended_at timestamp with time zone,
    look_again_at timestamp with time zone,
    CONSTRAINT cleared_only_when_delivered CHECK (((body IS NOT NULL) OR (state = ANY (ARRAY['sent'::text, 'dead'::text])))),
    CONSTRAINT dead_has_a_reason CHECK (((state <> 'dead'::text) OR (error IS NOT NULL))),
    CONSTRAINT delivered_has_its_time CHECK (((state = ANY (ARRAY['sent'::text, 'dead'::text])) = (ended_at IS NOT NULL))),
    CONSTRAINT replies_belong_to_a_session CHECK (((lane = 'side'::text) OR (session_id IS NOT NULL))),
    CONSTRAINT sending_is_claimed CHECK ((((state = 'sending'::text) = (deadline IS NOT NULL)) AND ((deadline IS NULL) = (claimed_by IS NULL)))),
    CONSTRAINT slack_outbox_kind_check CHECK ((kind = ANY (ARRAY['reply'::text, 'notice'::text, 'private'::text, 'reaction'::text, 'card'::text, 'update'::text, 'file'::text]))),
    CONSTRAINT slack_outbox_lane_check CHECK ((lane <> ''::text)),
    CONSTRAINT slack_outbox_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'sending'::text, 'sent'::text, 'dead'::text])))
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='1000');

ALTER TABLE ONLY public.slack_outbox FORCE ROW LEVEL SECURITY;

CREATE TABLE public.slack_previews (
    deployed_agent_id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    session_id uuid NOT NULL,
    turn_id uuid NOT NULL,
    part integer NOT NULL,
    text_from integer NOT NULL,
    state text DEFAULT 'starting'::text NOT NULL,
    slack_ts text,
    started_at timestamp with time zone NOT NULL,
    edited boolean DEFAULT false NOT NULL,
    settled boolean DEFAULT false NOT NULL,
    CONSTRAINT shown_has_its_ts CHECK (((state = ANY (ARRAY['open'::text, 'closed'::text])) = (slack_ts IS NOT NULL))),
    CONSTRAINT slack_previews_part_check CHECK ((part >= 0)),
    CONSTRAINT slack_previews_state_check CHECK ((state = ANY (ARRAY['starting'::text, 'open'::text, 'closed'::text, 'lost'::text]))),
    CONSTRAINT slack_previews_text_from_check CHECK ((text_from >= 0))
);

ALTER TABLE ONLY public.slack_previews FORCE ROW LEVEL SECURITY;

CREATE TABLE public.slack_routes (
    install_id uuid NOT NULL,
    channel_id text NOT NULL,
    workspace_id uuid NOT NULL,
    deployed_agent_id uuid NOT NULL
);

ALTER TABLE ONLY public.slack_routes FORCE ROW LEVEL SECURITY;

CREATE TABLE public.slack_threads (
    slack_conversation_key text NOT NULL,
    deployed_agent_id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    session_id uuid NOT NULL,
    api_app_id text NOT NULL,
    channel_id text NOT NULL,
    root_ts text NOT NULL,
    first_ts numeric(20,6) NOT NULL,
    muted boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    escalation_id uuid
);

ALTER TABLE ONLY public.slack_threads FORCE ROW LEVEL SECURITY;

CREATE TABLE public.slack_unclaimed (
    slack_conversation_key text NOT NULL,
    dedupe_key text NOT NULL,
    install_id uuid NOT NULL,
    deleted boolean NOT NULL,
    revision numeric(20,6) NOT NULL,
    event jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE ONLY public.slack_unclaimed FORCE ROW LEVEL SECURITY;

CREATE TABLE public.usage_logs (
    id uuid NOT NULL,
    deployed_agent_id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    session_id uuid NOT NULL,
    turn_id uuid NOT NULL,
    runtime_event_id text NOT NULL,
    tool text NOT NULL,
    provider text NOT NULL,
    status text NOT NULL,
    reason text,
    channel_id text,
    requesters text[] NOT NULL,
    latency_ms integer NOT NULL,
    cost_cents numeric DEFAULT 0 NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT refused_has_a_reason CHECK (((status = 'refused'::text) = (reason IS NOT NULL))),
    CONSTRAINT usage_logs_cost_cents_check CHECK ((cost_cents >= (0)::numeric)),
    CONSTRAINT usage_logs_latency_ms_check CHECK ((latency_ms >= 0)),
    CONSTRAINT usage_logs_provider_check CHECK ((provider = 'slack'::text)),
    CONSTRAINT usage_logs_runtime_event_id_check CHECK ((runtime_event_id <> ''::text)),
    CONSTRAINT usage_logs_status_check CHECK ((status = ANY (ARRAY['done'::text, 'queued'::text, 'refused'::text]))),
    CONSTRAINT usage_logs_tool_check CHECK ((tool <> ''::text))
);

ALTER TABLE ONLY public.usage_logs FORCE ROW LEVEL SECURITY;

CREATE TABLE public.workspace_members (
    workspace_id uuid NOT NULL,
    user_id text NOT NULL,
    role text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT workspace_members_role_check CHECK ((role = ANY (ARRAY['viewer'::text, 'member'::text, 'admin'::text, 'owner'::text]))),
    CONSTRAINT workspace_members_user_id_check CHECK ((user_id <> ''::text))
);

ALTER TABLE ONLY public.workspace_members FORCE ROW LEVEL SECURITY;

CREATE TABLE public.workspaces (
    id uuid NOT NULL,
    name text NOT NULL,
    default_agent_id uuid,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT workspaces_name_check CHECK ((name <> ''::text))
);

ALTER TABLE ONLY public.workspaces FORCE ROW LEVEL SECURITY;

ALTER TABLE ONLY public.agent_approvals
    ADD CONSTRAINT agent_approvals_deployed_agent_id_session_id_runtime_event__key UNIQUE (deployed_agent_id, session_id, runtime_event_id);

ALTER TABLE ONLY public.agent_approvals
    ADD CONSTRAINT agent_approvals_pkey PRIMARY KEY (deployed_agent_id, id);

ALTER TABLE ONLY public.agent_compute_usage
    ADD CONSTRAINT agent_compute_usage_pkey PRIMARY KEY (deployed_agent_id, turn_id);

ALTER TABLE ONLY public.agent_escalations
    ADD CONSTRAINT agent_escalations_deployed_agent_id_session_id_runtime_even_key UNIQUE (deployed_agent_id, session_id, runtime_event_id);

ALTER TABLE ONLY public.agent_escalations
    ADD CONSTRAINT agent_escalations_pkey PRIMARY KEY (deployed_agent_id, id);

ALTER TABLE ONLY public.agent_sessions
    ADD CONSTRAINT agent_sessions_deployed_agent_id_id_workspace_id_key UNIQUE (deployed_agent_id, id, workspace_id);

ALTER TABLE ONLY public.agent_sessions
    ADD CONSTRAINT agent_sessions_pkey PRIMARY KEY (deployed_agent_id, id);

ALTER TABLE ONLY public.agent_turns
    ADD CONSTRAINT agent_turns_deployed_agent_id_session_id_number_key UNIQUE (deployed_agent_id, session_id, number);

ALTER TABLE ONLY public.agent_turns
    ADD CONSTRAINT agent_turns_pkey PRIMARY KEY (deployed_agent_id, id);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_prefix_key UNIQUE (prefix);

ALTER TABLE ONLY public.approval_grants
    ADD CONSTRAINT approval_grants_pkey PRIMARY KEY (deployed_agent_id, session_id, tool, server, arguments_hash);

ALTER TABLE ONLY public.approval_votes
    ADD CONSTRAINT approval_votes_pkey PRIMARY KEY (deployed_agent_id, approval_id, card_no, person);

ALTER TABLE ONLY public.audit_entries
    ADD CONSTRAINT audit_entries_pkey PRIMARY KEY (deployed_agent_id, id);

ALTER TABLE ONLY public.deployed_agents
    ADD CONSTRAINT deployed_agents_id_workspace_id_key UNIQUE (id, workspace_id);

ALTER TABLE ONLY public.deployed_agents
    ADD CONSTRAINT deployed_agents_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.deployed_agents
    ADD CONSTRAINT deployed_agents_workspace_id_name_key UNIQUE (workspace_id, name);

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (deployed_agent_id, principal, route, key);

ALTER TABLE ONLY public.input_files
    ADD CONSTRAINT input_files_pkey PRIMARY KEY (deployed_agent_id, input_id, slack_file_id);

ALTER TABLE ONLY public.oauth_installs
    ADD CONSTRAINT oauth_installs_api_app_id_tenant_id_key UNIQUE (api_app_id, tenant_id);

ALTER TABLE ONLY public.oauth_installs
    ADD CONSTRAINT oauth_installs_id_workspace_id_key UNIQUE (id, workspace_id);

ALTER TABLE ONLY public.oauth_installs
    ADD CONSTRAINT oauth_installs_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.output_looks
    ADD CONSTRAINT output_looks_pkey PRIMARY KEY (deployed_agent_id, session_id);

ALTER TABLE ONLY public.runtime_budgets
    ADD CONSTRAINT runtime_budgets_pkey PRIMARY KEY (key_hash, kind);

ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (version);

ALTER TABLE ONLY public.session_inputs
    ADD CONSTRAINT session_inputs_deployed_agent_id_dedupe_key_key UNIQUE (deployed_agent_id, dedupe_key);

ALTER TABLE ONLY public.session_inputs
    ADD CONSTRAINT session_inputs_pkey PRIMARY KEY (deployed_agent_id, id);

ALTER TABLE ONLY public.session_outputs
    ADD CONSTRAINT session_outputs_pkey PRIMARY KEY (deployed_agent_id, session_id, runtime_file_id);

ALTER TABLE ONLY public.slack_budgets
    ADD CONSTRAINT slack_budgets_pkey PRIMARY KEY (install_id, method);

ALTER TABLE ONLY public.slack_outbox
    ADD CONSTRAINT slack_outbox_pkey PRIMARY KEY (deployed_agent_id, delivery_id);

ALTER TABLE ONLY public.slack_previews
    ADD CONSTRAINT slack_previews_pkey PRIMARY KEY (deployed_agent_id, turn_id, part);

ALTER TABLE ONLY public.slack_routes
    ADD CONSTRAINT slack_routes_pkey PRIMARY KEY (install_id, channel_id);

ALTER TABLE ONLY public.slack_threads
    ADD CONSTRAINT slack_threads_pkey PRIMARY KEY (slack_conversation_key);

ALTER TABLE ONLY public.slack_unclaimed
    ADD CONSTRAINT slack_unclaimed_pkey PRIMARY KEY (slack_conversation_key, dedupe_key);

ALTER TABLE ONLY public.usage_logs
    ADD CONSTRAINT usage_logs_deployed_agent_id_session_id_runtime_event_id_key UNIQUE (deployed_agent_id, session_id, runtime_event_id);

ALTER TABLE ONLY public.usage_logs
    ADD CONSTRAINT usage_logs_pkey PRIMARY KEY (deployed_agent_id, id);

ALTER TABLE ONLY public.workspace_members
    ADD CONSTRAINT workspace_members_pkey PRIMARY KEY (workspace_id, user_id);

ALTER TABLE ONLY public.workspaces
    ADD CONSTRAINT workspaces_name_key UNIQUE (name);

ALTER TABLE ONLY public.workspaces
    ADD CONSTRAINT workspaces_pkey PRIMARY KEY (id);

CREATE INDEX agent_approvals_due ON public.agent_approvals USING btree (LEAST(remind_at, expires_at)) WHERE ((remind_at IS NOT NULL) OR (expires_at IS NOT NULL));

CREATE INDEX agent_approvals_newest ON public.agent_approvals USING btree (workspace_id, deployed_agent_id, state, asked_at, id);

CREATE INDEX agent_approvals_open ON public.agent_approvals USING btree (workspace_id, asked_at) WHERE ((state = ANY (ARRAY['pending'::text, 'expired'::text])) AND (asked_at > '-infinity'::timestamp with time zone));

CREATE INDEX agent_approvals_turn ON public.agent_approvals USING btree (deployed_agent_id, turn_id);

CREATE INDEX agent_compute_usage_pending ON public.agent_compute_usage USING btree (deployed_agent_id, session_id) WHERE (state = 'pending'::text);

CREATE INDEX agent_escalations_due ON public.agent_escalations USING btree (ping_at) WHERE (ping_at IS NOT NULL);

CREATE INDEX agent_escalations_newest ON public.agent_escalations USING btree (workspace_id, deployed_agent_id, state, asked_at, id);

CREATE INDEX agent_escalations_open ON public.agent_escalations USING btree (workspace_id, asked_at) WHERE ((state = 'pending'::text) AND (asked_at > '-infinity'::timestamp with time zone));

CREATE INDEX agent_escalations_turn ON public.agent_escalations USING btree (deployed_agent_id, turn_id);

CREATE INDEX agent_sessions_live ON public.agent_sessions USING btree (deployed_agent_id) WHERE ((status = 'running'::text) AND (created_at > '-infinity'::timestamp with time zone));

CREATE INDEX agent_sessions_newest ON public.agent_sessions USING btree (workspace_id, deployed_agent_id, source, status, created_at, id);

CREATE UNIQUE INDEX agent_sessions_one_per_thread ON public.agent_sessions USING btree (deployed_agent_id, slack_conversation_key) WHERE (slack_conversation_key IS NOT NULL);

CREATE INDEX agent_sessions_person ON public.agent_sessions USING btree (slack_install_id, created_by, created_at) WHERE (slack_install_id IS NOT NULL);

CREATE INDEX agent_sessions_ready ON public.agent_sessions USING btree (ready_at) WHERE ((ready_at IS NOT NULL) AND (created_at > '-infinity'::timestamp with time zone));

CREATE INDEX agent_turns_awaiting ON public.agent_turns USING btree (looked_at) WHERE ((state = 'awaiting_human'::text) AND (started_at > '-infinity'::timestamp with time zone));

CREATE UNIQUE INDEX agent_turns_one_live ON public.agent_turns USING btree (deployed_agent_id, session_id) WHERE (ended_at IS NULL);

CREATE INDEX api_keys_agent ON public.api_keys USING btree (workspace_id, deployed_agent_id, created_at);

CREATE INDEX audit_entries_session ON public.audit_entries USING btree (workspace_id, deployed_agent_id, session_id, at);

CREATE INDEX audit_entries_subject ON public.audit_entries USING btree (deployed_agent_id, subject_id, id);

CREATE INDEX idempotency_keys_age ON public.idempotency_keys USING btree (created_at);

CREATE INDEX input_files_age ON public.input_files USING btree (deployed_agent_id, created_at);

CREATE INDEX output_looks_due ON public.output_looks USING btree (due_at) WHERE (due_at IS NOT NULL);

CREATE INDEX session_inputs_arrived ON public.session_inputs USING btree (workspace_id, deployed_agent_id, session_id, accepted_at);

CREATE UNIQUE INDEX session_inputs_client_key ON public.session_inputs USING btree (deployed_agent_id, client_key) WHERE (client_key IS NOT NULL);

CREATE INDEX session_inputs_kept ON public.session_inputs USING btree (deployed_agent_id, ended_at) WHERE ((ended_at IS NOT NULL) AND (body IS NOT NULL));

CREATE INDEX session_inputs_open ON public.session_inputs USING btree (deployed_agent_id, session_id, order_key) WHERE (ended_at IS NULL);

CREATE INDEX session_inputs_shown ON public.session_inputs USING btree (deployed_agent_id, session_id) WHERE shown_waiting;

CREATE INDEX session_inputs_turn ON public.session_inputs USING btree (deployed_agent_id, turn_id);

CREATE INDEX slack_outbox_dead ON public.slack_outbox USING btree (ended_at) WHERE ((error IS NOT NULL) AND (ended_at IS NOT NULL));

CREATE UNIQUE INDEX slack_outbox_effect ON public.slack_outbox USING btree (deployed_agent_id, session_id, effect_key) WHERE (session_id IS NOT NULL);

CREATE INDEX slack_outbox_kept ON public.slack_outbox USING btree (deployed_agent_id, ended_at) WHERE ((ended_at IS NOT NULL) AND (body IS NOT NULL));

CREATE INDEX slack_outbox_line ON public.slack_outbox USING btree (deployed_agent_id, session_id, lane, "position") WHERE ((lane <> 'side'::text) AND (ended_at IS NULL));

CREATE INDEX slack_outbox_look_again ON public.slack_outbox USING btree (look_again_at) WHERE (look_again_at IS NOT NULL);

CREATE INDEX slack_outbox_open ON public.slack_outbox USING btree (not_before) WHERE ((ended_at IS NULL) AND (created_at > '-infinity'::timestamp with time zone));

CREATE UNIQUE INDEX slack_outbox_stranger_effect ON public.slack_outbox USING btree (deployed_agent_id, slack_conversation_key, effect_key) WHERE (session_id IS NULL);

CREATE INDEX slack_previews_age ON public.slack_previews USING btree (deployed_agent_id, started_at);

CREATE INDEX slack_threads_place ON public.slack_threads USING btree (api_app_id, channel_id, root_ts);

CREATE INDEX slack_unclaimed_age ON public.slack_unclaimed USING btree (created_at);

CREATE INDEX workspace_members_user ON public.workspace_members USING btree (user_id);

ALTER TABLE ONLY public.agent_approvals
    ADD CONSTRAINT agent_approvals_deployed_agent_id_session_id_workspace_id_fkey FOREIGN KEY (deployed_agent_id, session_id, workspace_id) REFERENCES public.agent_sessions(deployed_agent_id, id, workspace_id);

ALTER TABLE ONLY public.agent_approvals
    ADD CONSTRAINT agent_approvals_deployed_agent_id_turn_id_fkey FOREIGN KEY (deployed_agent_id, turn_id) REFERENCES public.agent_turns(deployed_agent_id, id);

ALTER TABLE ONLY public.agent_compute_usage
    ADD CONSTRAINT agent_compute_usage_deployed_agent_id_session_id_workspace_fkey FOREIGN KEY (deployed_agent_id, session_id, workspace_id) REFERENCES public.agent_sessions(deployed_agent_id, id, workspace_id);

ALTER TABLE ONLY public.agent_compute_usage
    ADD CONSTRAINT agent_compute_usage_deployed_agent_id_turn_id_fkey FOREIGN KEY (deployed_agent_id, turn_id) REFERENCES public.agent_turns(deployed_agent_id, id);

ALTER TABLE ONLY public.agent_escalations
    ADD CONSTRAINT agent_escalations_channel_install_id_fkey FOREIGN KEY (channel_install_id) REFERENCES public.oauth_installs(id);

ALTER TABLE ONLY public.agent_escalations
    ADD CONSTRAINT agent_escalations_deployed_agent_id_session_id_workspace_i_fkey FOREIGN KEY (deployed_agent_id, session_id, workspace_id) REFERENCES public.agent_sessions(deployed_agent_id, id, workspace_id);

ALTER TABLE ONLY public.agent_escalations
    ADD CONSTRAINT agent_escalations_deployed_agent_id_turn_id_fkey FOREIGN KEY (deployed_agent_id, turn_id) REFERENCES public.agent_turns(deployed_agent_id, id);

ALTER TABLE ONLY public.agent_sessions
    ADD CONSTRAINT agent_sessions_deployed_agent_id_workspace_id_fkey FOREIGN KEY (deployed_agent_id, workspace_id) REFERENCES public.deployed_agents(id, workspace_id);

ALTER TABLE ONLY public.agent_sessions
    ADD CONSTRAINT agent_sessions_slack_install_id_fkey FOREIGN KEY (slack_install_id) REFERENCES public.oauth_installs(id);

ALTER TABLE ONLY public.agent_turns
    ADD CONSTRAINT agent_turns_deployed_agent_id_session_id_workspace_id_fkey FOREIGN KEY (deployed_agent_id, session_id, workspace_id) REFERENCES public.agent_sessions(deployed_agent_id, id, workspace_id);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_deployed_agent_id_workspace_id_fkey FOREIGN KEY (deployed_agent_id, workspace_id) REFERENCES public.deployed_agents(id, workspace_id);

ALTER TABLE ONLY public.approval_grants
    ADD CONSTRAINT approval_grants_deployed_agent_id_approval_id_fkey FOREIGN KEY (deployed_agent_id, approval_id) REFERENCES public.agent_approvals(deployed_agent_id, id);

ALTER TABLE ONLY public.approval_grants
    ADD CONSTRAINT approval_grants_deployed_agent_id_session_id_fkey FOREIGN KEY (deployed_agent_id, session_id) REFERENCES public.agent_sessions(deployed_agent_id, id);

ALTER TABLE ONLY public.approval_votes
    ADD CONSTRAINT approval_votes_deployed_agent_id_approval_id_fkey FOREIGN KEY (deployed_agent_id, approval_id) REFERENCES public.agent_approvals(deployed_agent_id, id);

ALTER TABLE ONLY public.audit_entries
    ADD CONSTRAINT audit_entries_deployed_agent_id_session_id_workspace_id_fkey FOREIGN KEY (deployed_agent_id, session_id, workspace_id) REFERENCES public.agent_sessions(deployed_agent_id, id, workspace_id);

ALTER TABLE ONLY public.deployed_agents
    ADD CONSTRAINT deployed_agents_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id);

ALTER TABLE ONLY public.idempotency_keys
    ADD CONSTRAINT idempotency_keys_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id);

ALTER TABLE ONLY public.input_files
    ADD CONSTRAINT input_files_deployed_agent_id_input_id_fkey FOREIGN KEY (deployed_agent_id, input_id) REFERENCES public.session_inputs(deployed_agent_id, id);

ALTER TABLE ONLY public.input_files
    ADD CONSTRAINT input_files_deployed_agent_id_session_id_workspace_id_fkey FOREIGN KEY (deployed_agent_id, session_id, workspace_id) REFERENCES public.agent_sessions(deployed_agent_id, id, workspace_id);

ALTER TABLE ONLY public.oauth_installs
    ADD CONSTRAINT oauth_installs_default_agent_id_workspace_id_fkey FOREIGN KEY (default_agent_id, workspace_id) REFERENCES public.deployed_agents(id, workspace_id);

ALTER TABLE ONLY public.oauth_installs
    ADD CONSTRAINT oauth_installs_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id);

ALTER TABLE ONLY public.output_looks
    ADD CONSTRAINT output_looks_deployed_agent_id_session_id_workspace_id_fkey FOREIGN KEY (deployed_agent_id, session_id, workspace_id) REFERENCES public.agent_sessions(deployed_agent_id, id, workspace_id);

ALTER TABLE ONLY public.output_looks
    ADD CONSTRAINT output_looks_deployed_agent_id_turn_id_fkey FOREIGN KEY (deployed_agent_id, turn_id) REFERENCES public.agent_turns(deployed_agent_id, id);

ALTER TABLE ONLY public.session_inputs
    ADD CONSTRAINT session_inputs_deployed_agent_id_session_id_workspace_id_fkey FOREIGN KEY (deployed_agent_id, session_id, workspace_id) REFERENCES public.agent_sessions(deployed_agent_id, id, workspace_id);

ALTER TABLE ONLY public.session_inputs
    ADD CONSTRAINT session_inputs_deployed_agent_id_turn_id_fkey FOREIGN KEY (deployed_agent_id, turn_id) REFERENCES public.agent_turns(deployed_agent_id, id);

ALTER TABLE ONLY public.session_outputs
    ADD CONSTRAINT session_outputs_deployed_agent_id_session_id_workspace_id_fkey FOREIGN KEY (deployed_agent_id, session_id, workspace_id) REFERENCES public.agent_sessions(deployed_agent_id, id, workspace_id);

ALTER TABLE ONLY public.session_outputs
    ADD CONSTRAINT session_outputs_deployed_agent_id_turn_id_fkey FOREIGN KEY (deployed_agent_id, turn_id) REFERENCES public.agent_turns(deployed_agent_id, id);

ALTER TABLE ONLY public.slack_budgets
    ADD CONSTRAINT slack_budgets_install_id_fkey FOREIGN KEY (install_id) REFERENCES public.oauth_installs(id);

ALTER TABLE ONLY public.slack_outbox
    ADD CONSTRAINT slack_outbox_deployed_agent_id_session_id_workspace_id_fkey FOREIGN KEY (deployed_agent_id, session_id, workspace_id) REFERENCES public.agent_sessions(deployed_agent_id, id, workspace_id);

ALTER TABLE ONLY public.slack_outbox
    ADD CONSTRAINT slack_outbox_install_id_fkey FOREIGN KEY (install_id) REFERENCES public.oauth_installs(id);

ALTER TABLE ONLY public.slack_outbox
    ADD CONSTRAINT slack_outbox_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id);

ALTER TABLE ONLY public.slack_previews
    ADD CONSTRAINT slack_previews_deployed_agent_id_session_id_workspace_id_fkey FOREIGN KEY (deployed_agent_id, session_id, workspace_id) REFERENCES public.agent_sessions(deployed_agent_id, id, workspace_id);

ALTER TABLE ONLY public.slack_previews
    ADD CONSTRAINT slack_previews_deployed_agent_id_turn_id_fkey FOREIGN KEY (deployed_agent_id, turn_id) REFERENCES public.agent_turns(deployed_agent_id, id);

ALTER TABLE ONLY public.slack_routes
    ADD CONSTRAINT slack_routes_deployed_agent_id_workspace_id_fkey FOREIGN KEY (deployed_agent_id, workspace_id) REFERENCES public.deployed_agents(id, workspace_id);

ALTER TABLE ONLY public.slack_routes
    ADD CONSTRAINT slack_routes_install_id_workspace_id_fkey FOREIGN KEY (install_id, workspace_id) REFERENCES public.oauth_installs(id, workspace_id);

ALTER TABLE ONLY public.slack_threads
    ADD CONSTRAINT slack_threads_deployed_agent_id_workspace_id_fkey FOREIGN KEY (deployed_agent_id, workspace_id) REFERENCES public.deployed_agents(id, workspace_id);

ALTER TABLE ONLY public.slack_unclaimed
    ADD CONSTRAINT slack_unclaimed_install_id_fkey FOREIGN KEY (install_id) REFERENCES public.oauth_installs(id);

ALTER TABLE ONLY public.usage_logs
    ADD CONSTRAINT usage_logs_deployed_agent_id_session_id_workspace_id_fkey FOREIGN KEY (deployed_agent_id, session_id, workspace_id) REFERENCES public.agent_sessions(deployed_agent_id, id, workspace_id);

ALTER TABLE ONLY public.usage_logs
    ADD CONSTRAINT usage_logs_deployed_agent_id_turn_id_fkey FOREIGN KEY (deployed_agent_id, turn_id) REFERENCES public.agent_turns(deployed_agent_id, id);

ALTER TABLE ONLY public.workspace_members
    ADD CONSTRAINT workspace_members_workspace_id_fkey FOREIGN KEY (workspace_id) REFERENCES public.workspaces(id);

ALTER TABLE ONLY public.workspaces
    ADD CONSTRAINT workspaces_default_agent_id_id_fkey FOREIGN KEY (default_agent_id, id) REFERENCES public.deployed_agents(id, workspace_id);

ALTER TABLE public.agent_approvals ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.agent_compute_usage ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.agent_escalations ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.agent_sessions ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.agent_turns ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.api_keys ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.approval_grants ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.approval_votes ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.audit_entries ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.deployed_agents ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.idempotency_keys ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.input_files ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.oauth_installs ENABLE ROW LEVEL SECURITY;

CREATE POLICY ours ON public.agent_approvals USING ((CURRENT_USER <> 'threadline_tenant'::name));

CREATE POLICY ours ON public.agent_compute_usage USING ((CURRENT_USER <> 'threadline_tenant'::name));

CREATE POLICY ours ON public.agent_escalations USING ((CURRENT_USER <> 'threadline_tenant'::name));

CREATE POLICY ours ON public.agent_sessions USING ((CURRENT_USER <> 'threadline_tenant'::name));

CREATE POLICY ours ON public.agent_turns USING ((CURRENT_USER <> 'threadline_tenant'::name));

CREATE POLICY ours ON public.api_keys USING ((CURRENT_USER <> 'threadline_tenant'::name));

CREATE POLICY ours ON public.approval_grants USING ((CURRENT_USER <> 'threadline_tenant'::name));

CREATE POLICY ours ON public.approval_votes USING ((CURRENT_USER <> 'threadline_tenant'::name));

CREATE POLICY ours ON public.audit_entries USING ((CURRENT_USER <> 'threadline_tenant'::name));

CREATE POLICY ours ON public.deployed_agents USING ((CURRENT_USER <> 'threadline_tenant'::name));

CREATE POLICY ours ON public.idempotency_keys USING ((CURRENT_USER <> 'threadline_tenant'::name));

CREATE POLICY ours ON public.input_files USING ((CURRENT_USER <> 'threadline_tenant'::name));

CREATE POLICY ours ON public.oauth_installs USING ((CURRENT_USER <> 'threadline_tenant'::name));

CREATE POLICY ours ON public.output_looks USING ((CURRENT_USER <> 'threadline_tenant'::name));

CREATE POLICY ours ON public.session_inputs USING ((CURRENT_USER <> 'threadline_tenant'::name));

CREATE POLICY ours ON public.session_outputs USING ((CURRENT_USER <> 'threadline_tenant'::name));

CREATE POLICY ours ON public.slack_budgets USING ((CURRENT_USER <> 'threadline_tenant'::name));

CREATE POLICY ours ON public.slack_outbox USING ((CURRENT_USER <> 'threadline_tenant'::name));

CREATE POLICY ours ON public.slack_previews USING ((CURRENT_USER <> 'threadline_tenant'::name));

CREATE POLICY ours ON public.slack_routes USING ((CURRENT_USER <> 'threadline_tenant'::name));

CREATE POLICY ours ON public.slack_threads USING ((CURRENT_USER <> 'threadline_tenant'::name));

CREATE POLICY ours ON public.slack_unclaimed USING ((CURRENT_USER <> 'threadline_tenant'::name));

CREATE POLICY ours ON public.usage_logs USING ((CURRENT_USER <> 'threadline_tenant'::name));

CREATE POLICY ours ON public.workspace_members USING ((CURRENT_USER <> 'threadline_tenant'::name));

CREATE POLICY ours ON public.workspaces USING ((CURRENT_USER <> 'threadline_tenant'::name));

ALTER TABLE public.output_looks ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.session_inputs ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.session_outputs ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.slack_budgets ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.slack_outbox ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.slack_previews ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.slack_routes ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.slack_threads ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.slack_unclaimed ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant ON public.agent_approvals USING ((workspace_id = ( SELECT (NULLIF(current_setting('threadline.workspace'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY tenant ON public.agent_compute_usage USING ((workspace_id = ( SELECT (NULLIF(current_setting('threadline.workspace'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY tenant ON public.agent_escalations USING ((workspace_id = ( SELECT (NULLIF(current_setting('threadline.workspace'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY tenant ON public.agent_sessions USING ((workspace_id = ( SELECT (NULLIF(current_setting('threadline.workspace'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY tenant ON public.agent_turns USING ((workspace_id = ( SELECT (NULLIF(current_setting('threadline.workspace'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY tenant ON public.api_keys USING ((workspace_id = ( SELECT (NULLIF(current_setting('threadline.workspace'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY tenant ON public.approval_grants USING ((EXISTS ( SELECT
   FROM public.deployed_agents a
  WHERE ((a.id = approval_grants.deployed_agent_id) AND (a.workspace_id = ( SELECT (NULLIF(current_setting('threadline.workspace'::text, true), ''::text))::uuid AS "nullif"))))));

CREATE POLICY tenant ON public.approval_votes USING ((EXISTS ( SELECT
   FROM public.deployed_agents a
  WHERE ((a.id = approval_votes.deployed_agent_id) AND (a.workspace_id = ( SELECT (NULLIF(current_setting('threadline.workspace'::text, true), ''::text))::uuid AS "nullif"))))));

CREATE POLICY tenant ON public.audit_entries USING ((workspace_id = ( SELECT (NULLIF(current_setting('threadline.workspace'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY tenant ON public.deployed_agents USING ((workspace_id = ( SELECT (NULLIF(current_setting('threadline.workspace'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY tenant ON public.idempotency_keys USING ((workspace_id = ( SELECT (NULLIF(current_setting('threadline.workspace'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY tenant ON public.input_files USING ((workspace_id = ( SELECT (NULLIF(current_setting('threadline.workspace'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY tenant ON public.oauth_installs USING ((workspace_id = ( SELECT (NULLIF(current_setting('threadline.workspace'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY tenant ON public.output_looks USING ((workspace_id = ( SELECT (NULLIF(current_setting('threadline.workspace'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY tenant ON public.session_inputs USING ((workspace_id = ( SELECT (NULLIF(current_setting('threadline.workspace'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY tenant ON public.session_outputs USING ((workspace_id = ( SELECT (NULLIF(current_setting('threadline.workspace'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY tenant ON public.slack_budgets USING ((EXISTS ( SELECT
   FROM public.oauth_installs i
  WHERE ((i.id = slack_budgets.install_id) AND (i.workspace_id = ( SELECT (NULLIF(current_setting('threadline.workspace'::text, true), ''::text))::uuid AS "nullif"))))));

CREATE POLICY tenant ON public.slack_outbox USING ((workspace_id = ( SELECT (NULLIF(current_setting('threadline.workspace'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY tenant ON public.slack_previews USING ((workspace_id = ( SELECT (NULLIF(current_setting('threadline.workspace'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY tenant ON public.slack_routes USING ((workspace_id = ( SELECT (NULLIF(current_setting('threadline.workspace'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY tenant ON public.slack_threads USING ((workspace_id = ( SELECT (NULLIF(current_setting('threadline.workspace'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY tenant ON public.slack_unclaimed USING ((EXISTS ( SELECT
   FROM public.oauth_installs i
  WHERE ((i.id = slack_unclaimed.install_id) AND (i.workspace_id = ( SELECT (NULLIF(current_setting('threadline.workspace'::text, true), ''::text))::uuid AS "nullif"))))));

CREATE POLICY tenant ON public.usage_logs USING ((workspace_id = ( SELECT (NULLIF(current_setting('threadline.workspace'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY tenant ON public.workspace_members USING ((workspace_id = ( SELECT (NULLIF(current_setting('threadline.workspace'::text, true), ''::text))::uuid AS "nullif")));

CREATE POLICY tenant ON public.workspaces USING ((id = ( SELECT (NULLIF(current_setting('threadline.workspace'::text, true), ''::text))::uuid AS "nullif")));

ALTER TABLE public.usage_logs ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.workspace_members ENABLE ROW LEVEL SECURITY;

ALTER TABLE public.workspaces ENABLE ROW LEVEL SECURITY;

-- The sessions API: keys of programs, answers kept for a request that comes twice, lists that stay
-- flat, and a second wall between tenants.

-- ------------------------------------------------------------------ who may call

-- Keys of programs, each for one agent. Looked up by prefix before the agent is known, and few:
-- unlike what is below an agent, they are not kept apart by it.
CREATE TABLE api_keys (
    id                 uuid PRIMARY KEY,
    workspace_id       uuid NOT NULL,
    deployed_agent_id  uuid NOT NULL,
    name               text NOT NULL CHECK (name <> ''),
    prefix             text NOT NULL UNIQUE,
    secret_hash        bytea NOT NULL CHECK (length(secret_hash) = 32), -- SHA-256 of the whole key
    role               text NOT NULL CHECK (role IN ('viewer', 'member', 'admin')),
    created_by         text,                             -- null: made at the command line
    created_at         timestamptz NOT NULL DEFAULT now(),
    last_used_at       timestamptz,                      -- to the minute
    revoked_at         timestamptz,
    FOREIGN KEY (deployed_agent_id, workspace_id) REFERENCES deployed_agents (id, workspace_id)
);
CREATE INDEX api_keys_agent ON api_keys (workspace_id, deployed_agent_id, created_at);

CREATE INDEX workspace_members_user ON workspace_members (user_id);

-- ------------------------------------------------------------------ requests that come twice

-- One row per request that named an Idempotency-Key; store/idempotency.py draws its states. What
-- names no agent is kept under the workspace's own id.
CREATE TABLE idempotency_keys (
    deployed_agent_id  uuid NOT NULL,
    workspace_id       uuid NOT NULL REFERENCES workspaces,
    principal          text NOT NULL,
    route              text NOT NULL,
    key                text NOT NULL,
    body_hash          bytea NOT NULL,
    work_id            uuid NOT NULL,                    -- what the work names its rows by, each time
    claim              integer NOT NULL DEFAULT 1,       -- fencing token, grows with every taker
    claimed_until      timestamptz,
    status             smallint,
    answer             jsonb,
    created_at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (deployed_agent_id, principal, route, key),
    CONSTRAINT either_claimed_or_answered CHECK ((status IS NULL) = (claimed_until IS NOT NULL)),
    CONSTRAINT no_answer_without_a_status CHECK (status IS NOT NULL OR answer IS NULL)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

-- ------------------------------------------------------------------ lists

-- Pages are merged from one short run per source and status, so every filter finds its rows at once.
-- The workspace stands in front, though the agent implies it: only what is asked for a tenant names it,
-- and so no statement of the hot paths is ever planned on one of these.
CREATE INDEX agent_sessions_newest
    ON agent_sessions (workspace_id, deployed_agent_id, source, status, created_at, id);
CREATE INDEX agent_approvals_newest
    ON agent_approvals (workspace_id, deployed_agent_id, state, asked_at, id);
CREATE INDEX agent_escalations_newest
    ON agent_escalations (workspace_id, deployed_agent_id, state, asked_at, id);

-- What happened to a session since then, for those who watch it.
CREATE INDEX session_inputs_arrived
    ON session_inputs (workspace_id, deployed_agent_id, session_id, accepted_at);
CREATE INDEX audit_entries_session
    ON audit_entries (workspace_id, deployed_agent_id, session_id, at);

-- ------------------------------------------------------------------ the second wall

-- Two policies on each table that holds what is a tenant's: `tenant` shows the rows of the workspace
-- that the transaction has named, and none where it named none; `ours` lets through whoever is not
-- threadline_tenant, since FORCE holds for the tables' owner too. Left out: schema_migrations and
-- runtime_budgets, which are nobody's.
DO $$
DECLARE
    here constant text :=
        '(SELECT NULLIF(current_setting(''threadline.workspace'', true), '''')::uuid)';
    of_an_agent constant text :=
        'EXISTS (SELECT FROM deployed_agents a WHERE a.id = deployed_agent_id AND a.workspace_id = %s)';
    of_an_install constant text :=
        'EXISTS (SELECT FROM oauth_installs i WHERE i.id = install_id AND i.workspace_id = %s)';
    walled record;
BEGIN
    FOR walled IN SELECT name, rows FROM (VALUES
        ('workspaces', 'id = %s'),
        ('workspace_members', 'workspace_id = %s'),
        ('deployed_agents', 'workspace_id = %s'),
        ('oauth_installs', 'workspace_id = %s'),
        ('slack_routes', 'workspace_id = %s'),
        ('slack_threads', 'workspace_id = %s'),
        ('slack_unclaimed', of_an_install),
        ('slack_budgets', of_an_install),
        ('agent_sessions', 'workspace_id = %s'),
        ('agent_turns', 'workspace_id = %s'),
        ('session_inputs', 'workspace_id = %s'),
        ('slack_outbox', 'workspace_id = %s'),
        ('slack_previews', 'workspace_id = %s'),
        ('agent_compute_usage', 'workspace_id = %s'),
        ('agent_approvals', 'workspace_id = %s'),
        ('approval_votes', of_an_agent),
        ('approval_grants', of_an_agent),
        ('agent_escalations', 'workspace_id = %s'),
        ('audit_entries', 'workspace_id = %s'),
        ('api_keys', 'workspace_id = %s'),
        ('idempotency_keys', 'workspace_id = %s')
    ) AS w (name, rows)
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', walled.name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', walled.name);
        EXECUTE format('CREATE POLICY ours ON %I USING (current_user <> ''threadline_tenant'')',
            walled.name);
        EXECUTE format('CREATE POLICY tenant ON %I USING (%s)', walled.name,
            format(walled.rows, here));
    END LOOP;
END $$;

-- Lets somebody in at an agent: their workspace, and their role there. From there to the end of the
-- transaction all is the tenant's. `workspace` says whose a key is; a person has their role from our
-- rows. Null: no such agent, or not theirs, and nothing is narrowed.
CREATE FUNCTION threadline_enter(
    agent uuid, person text, workspace uuid, OUT theirs uuid, OUT standing text
)
LANGUAGE plpgsql AS $$
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

-- A session for somebody, in one statement, which is a transaction of its own: their role at the agent,
-- and the session, which is null where the agent has none of that id. No row: no such agent, or not
-- theirs.
CREATE FUNCTION threadline_session(agent uuid, session uuid, person text, workspace uuid)
RETURNS TABLE (workspace_id uuid, role text, found agent_sessions)
LANGUAGE plpgsql AS $$
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

-- The same for a new session, which is made for who has one of these roles: for others it is null.
-- A key's role was read with the key, and is judged by who asks.
CREATE FUNCTION threadline_new_session(
    agent uuid, session uuid, person text, workspace uuid, roles text[], title text, maker text
)
RETURNS TABLE (workspace_id uuid, role text, found agent_sessions)
LANGUAGE plpgsql AS $$
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

-- Where this login may make no roles, the API stays shut and `threadline doctor` prints what is to be
-- run; each step stands alone, so that what another database of this server did is no hindrance.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'threadline_tenant') THEN
        CREATE ROLE threadline_tenant NOLOGIN;
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE NOTICE 'the role threadline_tenant is missing: see threadline doctor';
    WHEN duplicate_object OR unique_violation THEN NULL; -- made by another at this moment
END $$;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'threadline_tenant')
        AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
    THEN
        EXECUTE format('GRANT threadline_tenant TO %I', current_user);
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE NOTICE 'this login may not become threadline_tenant: see threadline doctor';
END $$;

-- Only what the API does: no token, no hash of a key, and nothing is ever deleted. The same list is in
-- store/tenancy.py for `threadline doctor`; a test compares the two.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'threadline_tenant') THEN
        RETURN;
    END IF;
    GRANT SELECT ON workspaces, workspace_members, deployed_agents, slack_routes, slack_threads,
        agent_sessions, agent_turns, session_inputs, slack_outbox, slack_previews,
        agent_compute_usage, agent_approvals, approval_votes, approval_grants, agent_escalations,
        audit_entries, idempotency_keys TO threadline_tenant;
    GRANT SELECT (id, workspace_id, api_app_id, tenant_id, team_id, enterprise_id, bot_user_id,
        bot_id, scopes, default_agent_id, escalation_channel_id, external_policy, allowed_external,
        allow_guests, status, created_at, updated_at) ON oauth_installs TO threadline_tenant;
    GRANT SELECT (id, workspace_id, deployed_agent_id, name, prefix, role, created_by, created_at,
        last_used_at, revoked_at) ON api_keys TO threadline_tenant;
    GRANT INSERT ON deployed_agents, agent_sessions, session_inputs, slack_outbox, approval_votes,
        approval_grants, audit_entries, api_keys, idempotency_keys TO threadline_tenant;
    GRANT UPDATE ON agent_sessions, session_inputs, slack_outbox, agent_approvals,
        agent_escalations, idempotency_keys TO threadline_tenant;
    GRANT UPDATE (name, settings, status) ON deployed_agents TO threadline_tenant;
    GRANT UPDATE (revoked_at) ON api_keys TO threadline_tenant;
END $$;

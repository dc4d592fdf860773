"""The second wall between tenants: transactions that see one workspace alone.

Every table of a tenant's has row level security, forced (migrations/0009_api.sql). A transaction that
became `threadline_tenant` reads and writes the rows of the workspace that it named, and none where it
named none. Role and workspace end with the transaction, so that a pooled connection keeps neither.
Whoever did not become that role sees everything, as the ack and worker paths do.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg

from store import database
from store.database import Connection, Pool

# What the tables' owner runs where `migrate` found no role: the same list as at the end of 0009_api.sql.
GRANTS = """\
-- as the owner of Threadline's tables:
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
"""


class TenancyMissing(Exception):
    """This login may not become threadline_tenant; `threadline doctor` says how to mend it."""


_REFUSED = (asyncpg.InvalidParameterValueError, asyncpg.InsufficientPrivilegeError)


class becoming:  # noqa: N801  # read as a function, as contextlib's own are
    """Around a statement that becomes the tenant: TenancyMissing where it may not."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, _REFUSED):
            raise TenancyMissing(str(error)) from error


# $1 workspace
_AS_TENANT = """
SELECT set_config('role', 'threadline_tenant', true), set_config('threadline.workspace', $1, true)
"""


async def as_tenant(connection: Connection, workspace_id: UUID) -> None:
    """Narrows the open transaction to one workspace, until it ends; in one round trip.

    Raises TenancyMissing where the role is not there or not granted. Inside a savepoint it ends with
    the savepoint's rollback: call it where the transaction begins.
    """
    if not connection.is_in_transaction():
        raise RuntimeError("a tenant's statements run inside a transaction")
    with becoming():
        await connection.execute(_AS_TENANT, str(workspace_id))


# The rows are found before the role is taken, since each is shown after it was found.
# $1 agent, $2 user
_AS_MEMBER = """
SELECT m.workspace_id, m.role, set_config('role', 'threadline_tenant', true),
    set_config('threadline.workspace', m.workspace_id::text, true)
FROM deployed_agents a JOIN workspace_members m ON m.workspace_id = a.workspace_id
WHERE a.id = $1 AND m.user_id = $2
"""


async def as_member(
    connection: Connection, agent_id: UUID, user_id: str
) -> tuple[UUID, str] | None:
    """The same for the workspace of an agent, and the person's role there, in one round trip.

    None for no such agent or no member of its workspace: then nothing is narrowed, and nothing may be
    asked. Raises what `as_tenant` raises.
    """
    if not connection.is_in_transaction():
        raise RuntimeError("a tenant's statements run inside a transaction")
    with becoming():
        row = await connection.fetchrow(_AS_MEMBER, agent_id, user_id)
    return (row["workspace_id"], row["role"]) if row else None


@asynccontextmanager
async def tenant(pool: Pool, workspace_id: UUID) -> AsyncIterator[Connection]:
    """A connection inside a transaction that sees one workspace alone; commits at the end."""
    async with database.borrow(pool) as connection, connection.transaction():
        await as_tenant(connection, workspace_id)
        yield connection


# ------------------------------------------------------------------ whether the doors may open

_POWERS = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = 'threadline_tenant'"
_MAY_READ = """
SELECT bool_and(has_table_privilege('threadline_tenant', name, 'SELECT'))
FROM unnest('{workspaces,deployed_agents,agent_sessions,idempotency_keys}'::text[]) AS t (name)
"""


async def trouble(connection: Connection) -> str | None:
    """What keeps the tenants' doors shut, None where they may open."""
    trial = connection.transaction()
    await trial.start()
    try:
        await as_tenant(connection, UUID(int=0))
    except TenancyMissing as missing:
        return str(missing)
    finally:
        await trial.rollback()
    if await connection.fetchval(_POWERS):
        return "threadline_tenant passes every policy: it is a superuser, or has BYPASSRLS"
    if not await connection.fetchval(_MAY_READ):
        return "threadline_tenant may not read Threadline's tables"
    return None


_LOGIN = "SELECT quote_ident(session_user)"


async def mending(connection: Connection) -> str:
    """The SQL that an administrator runs, so that this connection's login may become the tenant."""
    login: str = await connection.fetchval(_LOGIN)
    powers: bool | None = await connection.fetchval(_POWERS)
    lines = ["-- as a role that may make roles:"]
    if powers is None:
        lines.append("CREATE ROLE threadline_tenant NOLOGIN;")
    if powers:
        lines.append("ALTER ROLE threadline_tenant NOSUPERUSER NOBYPASSRLS;")
    lines.append(f"GRANT threadline_tenant TO {login};")
    return "\n".join(lines) + "\n" + GRANTS

"""The second wall as the login meets it: an ordinary owner, and where roles may not be made."""

import re
from contextlib import AsyncExitStack

import asyncpg
import pytest

from store import database, holding, inputs, leases, retention, sessions, sessions_read, tenancy
from store.database import Connection
from store.embedded import embedded_postgres, temporary_data_dir
from store.migrate import migrate
from store.sessions_read import Filters
from store.tenancy import TenancyMissing
from tests.databases import database_named
from tests.store import factories, tenants
from tests.store.factories import LEASE
from tests.store.test_tenancy import _as, _counts


@pytest.fixture
async def owner(db: Connection, connect):
    """A connection of an ordinary login that owns the tables, as a managed PostgreSQL gives one."""
    async with tenants.ordinary_owner(db) as role:
        connection = await connect()
        await connection.execute(f"SET SESSION AUTHORIZATION {role}")
        assert not await connection.fetchval(
            "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
        )
        yield connection
        await connection.close()


@pytest.fixture
async def connect_to():
    """Opens connections to any address, closed at the end."""
    async with AsyncExitStack() as stack:

        async def opened(dsn: str) -> Connection:
            connection = await database.connect(dsn)
            stack.push_async_callback(connection.close)
            return connection

        yield opened


async def test_an_ordinary_owner_sees_and_writes_everything(owner):
    first, second = await tenants.furnished(owner), await tenants.furnished(owner)
    assert min((await _counts(owner)).values()) >= 2
    assert first.workspace_id != second.workspace_id


async def test_the_ack_and_worker_paths_work_for_an_ordinary_owner(owner, db):
    on = await factories.ground(owner)
    wanted = on.new_session("key")
    for _ in range(2):  # created, then found again
        woken = await sessions.wake_or_create(owner, [wanted])
        assert woken["key"].id == wanted.id
    await inputs.add(owner, [on.new_input(wanted.id)])
    held = await leases.claim(owner, leases.Ready(on.agent_id, wanted.id), "me", LEASE)
    assert held is not None
    async with owner.transaction():
        await leases.fence(owner, held.lease)
    assert await holding.begin_turn(owner, held, ["message"], LEASE, held.wake_seq)
    assert await db.fetchval("SELECT status FROM agent_sessions") == "running"
    assert await retention.clear_inputs(owner, on.agent_id, LEASE, 10) == 0


async def test_an_ordinary_owner_becomes_a_tenant_once_it_may(owner, db):
    ours, theirs = await tenants.furnished(owner), await tenants.furnished(owner)
    assert "permission denied to set role" in str(await tenancy.trouble(owner))
    async with owner.transaction():
        with pytest.raises(TenancyMissing):
            await tenancy.as_tenant(owner, ours.workspace_id)
    await db.execute(await tenancy.mending(owner))
    assert await tenancy.trouble(owner) is None
    everything = Filters()
    for on, count in ((ours, 1), (theirs, 0)):
        async with _as(owner, ours):
            found = await sessions_read.page(
                owner, on.workspace_id, on.agent_id, everything, after=None, limit=9
            )
            assert len(found) == count


async def test_without_the_policy_for_owners_even_they_see_nothing(owner, db):
    await tenants.furnished(owner)
    await db.execute("DROP POLICY ours ON agent_sessions")
    assert await owner.fetchval("SELECT count(*) FROM agent_sessions") == 0


# ------------------------------------------------------------------ where roles may not be made


@pytest.fixture
async def server():
    """The superuser's address of a server of its own, where nobody has made the role yet."""
    with temporary_data_dir() as folder:
        async with embedded_postgres(folder, durable=False) as postgres:
            yield postgres.dsn


async def _migrated_by(server: str, role: str, power: str) -> str:
    """The address of a login of that power and a database of its own, which it has migrated."""
    superuser = await asyncpg.connect(server)
    await superuser.execute(f"CREATE ROLE {role} LOGIN {power}")
    await superuser.execute(f"CREATE DATABASE {role} OWNER {role}")
    await superuser.close()
    dsn = re.sub(r"user=\w+", f"user={role}", database_named(server, role))
    assert "0009_api" in await migrate(dsn)
    return dsn


async def test_a_login_that_may_make_roles_migrates_and_may_open_the_doors(server, connect_to):
    connection = await connect_to(await _migrated_by(server, "maker", "CREATEROLE"))
    assert await tenancy.trouble(connection) is None
    on = await tenants.furnished(connection)
    async with _as(connection, on):
        assert await connection.fetchval("SELECT count(*) FROM agent_sessions") == 1


async def test_a_login_that_may_not_migrates_all_the_same_and_is_told_what_to_run(
    server, connect_to
):
    dsn = await _migrated_by(server, "plain", "NOCREATEROLE")
    connection = await connect_to(dsn)
    assert "does not exist" in str(await tenancy.trouble(connection))
    on = await tenants.furnished(connection)
    superuser = await connect_to(database_named(server, "plain"))
    sql = await tenancy.mending(connection)
    assert "CREATE ROLE threadline_tenant NOLOGIN;\nGRANT threadline_tenant TO plain;" in sql
    await superuser.execute(sql)
    assert await tenancy.trouble(connection) is None
    async with _as(connection, on):
        assert await connection.fetchval("SELECT count(*) FROM agent_sessions") == 1
    # the next one finds the role made by somebody else, and may not enter it
    later = await connect_to(await _migrated_by(server, "later", "NOCREATEROLE"))
    assert "permission denied to set role" in str(await tenancy.trouble(later))
    assert "CREATE ROLE" not in await tenancy.mending(later)


_PRIVILEGES = """
SELECT table_name::text, column_name::text, privilege_type::text
FROM information_schema.column_privileges WHERE grantee = 'threadline_tenant'
UNION SELECT table_name, '', privilege_type FROM information_schema.table_privileges
WHERE grantee = 'threadline_tenant'
ORDER BY 1, 2, 3
"""


async def test_the_sql_that_mends_grants_what_the_migration_does(db):
    granted = await db.fetch(_PRIVILEGES)
    assert len(granted) > 100
    names = ", ".join(row["name"] for row in await tenants.tables(db))
    await db.execute(f"REVOKE ALL ON {names} FROM threadline_tenant")
    for table in ("oauth_installs", "api_keys", "deployed_agents"):
        columns = await db.fetchval(
            "SELECT string_agg(attname, ', ') FROM pg_attribute"
            " WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped",
            table,
        )
        await db.execute(f"REVOKE ALL ({columns}) ON {table} FROM threadline_tenant")
    assert await db.fetch(_PRIVILEGES) == []
    assert await tenancy.trouble(db) == "threadline_tenant may not read Threadline's tables"
    await db.execute(await tenancy.mending(db))
    assert await db.fetch(_PRIVILEGES) == granted
    assert await tenancy.trouble(db) is None


async def test_a_tenant_that_passes_every_policy_is_told_of(db):
    async with db.transaction():
        await db.execute("ALTER ROLE threadline_tenant BYPASSRLS")
        assert "passes every policy" in str(await tenancy.trouble(db))
        await db.execute(await tenancy.mending(db))
        assert await tenancy.trouble(db) is None

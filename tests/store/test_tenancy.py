"""The second wall: what a tenant's transaction can see and write, table by table."""

import asyncio
import re
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import pytest

from store import database, inputs, leases, members, retention, sessions, sessions_read, tenancy
from store.database import Connection, Pool
from store.embedded import embedded_postgres, temporary_data_dir
from store.ids import new_id
from store.migrate import migrate
from store.sessions import Wanted
from store.sessions_read import Filters, Seen
from store.tenancy import TenancyMissing
from tests.databases import database_named
from tests.store import factories, tenants
from tests.store.factories import LEASE, Ground


@pytest.fixture
async def ours(db: Connection) -> Ground:
    return await tenants.furnished(db)


@pytest.fixture
async def theirs(db: Connection) -> Ground:
    return await tenants.furnished(db)


@pytest.fixture
async def pool(dsn: str):
    opened = await database.open_pool(dsn, size=1)
    yield opened
    await database.close_pool(opened)


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


@asynccontextmanager
async def _as(db: Connection, on: Ground):
    async with db.transaction():
        await tenancy.as_tenant(db, on.workspace_id)
        yield


async def _readable(db: Connection) -> None:
    """Grants what is kept from tenants too: the policies alone are to hold."""
    await db.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO threadline_tenant")


async def _counts(db: Connection) -> dict[str, int]:
    names = [row["name"] for row in await tenants.tables(db)]
    return {name: await db.fetchval(f"SELECT count(*) FROM {name}") for name in names}


@pytest.fixture
async def connect_to():
    """Opens connections to any address, closed at the end."""
    async with AsyncExitStack() as stack:

        async def opened(dsn: str) -> Connection:
            connection = await database.connect(dsn)
            stack.push_async_callback(connection.close)
            return connection

        yield opened


# ------------------------------------------------------------------ reading


async def test_every_table_but_nobodys_has_both_policies_and_force(db):
    found = await tenants.tables(db)
    assert len(found) > 20
    wrong = {row["name"]: row["policies"] for row in found if not row["walled"]}
    assert wrong == {}, "a table of a tenant's needs a wall: see migrations/0009_api.sql"
    assert {tuple(row["policies"]) for row in found} == {("ours", "tenant")}


async def test_nobodys_tables_are_closed_to_tenants(db):
    for name in tenants.NOBODYS:
        assert not await db.fetchval(
            "SELECT has_any_column_privilege('threadline_tenant', $1, 'SELECT')", name
        )


@pytest.mark.usefixtures("theirs")
async def test_a_tenant_that_named_no_workspace_sees_nothing(db, ours):
    await _readable(db)
    assert min((await _counts(db)).values()) >= 2, "furnish the new table in tests/store/tenants.py"
    async with db.transaction():
        await db.execute("SET LOCAL ROLE threadline_tenant")
        assert set((await _counts(db)).values()) == {0}
    async with _as(db, ours):
        pass
    async with db.transaction():  # where the setting was used once, it is empty from then on
        await db.execute("SET LOCAL ROLE threadline_tenant")
        assert set((await _counts(db)).values()) == {0}


async def test_a_tenant_sees_its_own_rows_and_none_of_another(db, ours, theirs):
    await _readable(db)
    everything = await _rows(db)
    seen = {}
    for on in (ours, theirs):
        async with _as(db, on):
            seen[on.workspace_id] = await _rows(db)
    for name, rows in everything.items():
        first, second = (seen[on.workspace_id][name] for on in (ours, theirs))
        assert first, name
        assert second, name
        assert not first & second, name
        assert first | second == rows, name


async def _rows(db: Connection) -> dict[str, set[str]]:
    """Every row there is for this role, as text, by table."""
    names = [row["name"] for row in await tenants.tables(db)]
    return {
        name: {row[0] for row in await db.fetch(f"SELECT t::text FROM {name} t")} for name in names
    }


@pytest.mark.usefixtures("theirs")
async def test_a_statement_prepared_by_the_owner_shows_a_tenant_its_own_rows(db, ours):
    statement = await db.prepare("SELECT workspace_id FROM agent_sessions")
    for _ in range(6):  # more often than a plan is made anew
        assert len(await statement.fetch()) == 2
        async with _as(db, ours):
            assert {row[0] for row in await statement.fetch()} == {ours.workspace_id}


@pytest.mark.parametrize(
    "secret",
    ["bot_token FROM oauth_installs", "secret_hash FROM api_keys", "event FROM slack_unclaimed"],
)
async def test_a_tenant_reads_no_secret_even_of_its_own(db, ours, secret):
    async with _as(db, ours):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await db.fetch(f"SELECT {secret}")


# ------------------------------------------------------------------ writing


@pytest.mark.parametrize("agents", ["their own", "ours"])
async def test_a_row_of_another_workspace_is_refused(db, ours, theirs, agents):
    agent_id = theirs.agent_id if agents == "their own" else ours.agent_id
    values = {"id": new_id(), "deployed_agent_id": agent_id, "workspace_id": theirs.workspace_id}
    async with _as(db, ours):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await factories.insert(db, "agent_sessions", **values, source="dashboard")


async def test_a_row_below_another_workspaces_agent_is_refused(db, ours, theirs):
    asked = await db.fetchval(
        "SELECT id FROM agent_approvals WHERE workspace_id = $1", theirs.workspace_id
    )
    vote = {"deployed_agent_id": theirs.agent_id, "approval_id": asked, "card_no": 1}
    async with _as(db, ours):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await factories.insert(db, "approval_votes", **vote, person="T1/U9", voter={})


async def test_a_row_cannot_be_changed_in_another_workspace_nor_moved_there(db, ours, theirs):
    async with _as(db, ours):
        assert await db.execute("UPDATE agent_sessions SET title = 'mine'") == "UPDATE 1"
    move = "UPDATE agent_sessions SET workspace_id = $1, deployed_agent_id = $2"
    async with _as(db, ours):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await db.execute(move, theirs.workspace_id, theirs.agent_id)


@pytest.mark.parametrize("statement", ["DELETE FROM agent_sessions", "TRUNCATE agent_sessions"])
async def test_a_tenant_deletes_nothing(db, ours, statement):
    async with _as(db, ours):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await db.execute(statement)


@pytest.mark.parametrize(
    ("roles", "is_made"), [(("member", "admin"), True), (("admin", "owner"), False)]
)
async def test_a_session_is_made_in_one_statement_for_the_roles_that_may(db, ours, roles, is_made):
    await members.put_member(db, ours.workspace_id, "ada", "member")
    wanted = Wanted(new_id(), ours.agent_id, roles, "A title", "ada")
    made = await sessions.create_for(db, wanted, "ada")
    assert made is not None
    assert (made.workspace_id, made.role) == (ours.workspace_id, "member")
    assert (made.session is not None) == is_made
    found = await sessions_read.get(db, ours.workspace_id, ours.agent_id, wanted.id)
    assert found == made.session
    assert await sessions.create_for(db, wanted, "nobody") is None


async def test_a_session_is_made_in_one_statement_by_the_tenant(db, ours, theirs):
    wanted = Wanted(new_id(), ours.agent_id, (), None, "key:1")
    trial = db.transaction()
    await trial.start()
    await db.execute("REVOKE INSERT ON agent_sessions FROM threadline_tenant")
    with pytest.raises(TenancyMissing, match="agent_sessions"):
        await sessions.create_for(db, wanted, ours.workspace_id)
    await trial.rollback()
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await sessions.create_for(db, wanted, theirs.workspace_id)
    assert await db.fetchval("SELECT current_user") != "threadline_tenant"


# ------------------------------------------------------------------ how long it lasts


async def _who(connection: Connection) -> tuple[str, str | None]:
    row = await connection.fetchrow(
        "SELECT current_user::text, current_setting('threadline.workspace', true)"
    )
    assert row is not None
    return (row[0], row[1])


async def test_role_and_workspace_end_with_the_transaction_on_a_pooled_connection(pool, ours):
    async with database.borrow(pool) as connection:
        before, server = (await _who(connection))[0], connection.get_server_pid()
    async with tenancy.tenant(pool, ours.workspace_id) as connection:
        assert await _who(connection) == ("threadline_tenant", str(ours.workspace_id))
    with pytest.raises(asyncpg.DivisionByZeroError):
        async with tenancy.tenant(pool, ours.workspace_id) as connection:
            await connection.execute("SELECT 1 / 0")
    async with database.borrow(pool) as connection:
        assert connection.get_server_pid() == server
        assert await _who(connection) == (before, "")


async def test_a_cancelled_tenant_leaves_nothing_behind(pool, ours):
    inside = asyncio.Event()

    async def hold() -> None:
        async with tenancy.tenant(pool, ours.workspace_id):
            inside.set()
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as tasks:
        held = tasks.create_task(hold())
        await inside.wait()
        held.cancel()
    async with database.borrow(pool) as connection:
        assert (await _who(connection))[0] != "threadline_tenant"


async def test_a_savepoint_that_is_undone_leaves_the_tenant_in_place(pool: Pool, ours):
    async with tenancy.tenant(pool, ours.workspace_id) as connection:
        with pytest.raises(asyncpg.DivisionByZeroError):
            async with connection.transaction():
                await connection.execute("SELECT 1 / 0")
        assert await _who(connection) == ("threadline_tenant", str(ours.workspace_id))


async def test_a_tenant_without_a_transaction_is_refused(db):
    with pytest.raises(RuntimeError, match="inside a transaction"):
        await tenancy.as_tenant(db, new_id())
    with pytest.raises(RuntimeError, match="inside a transaction"):
        await tenancy.as_member(db, new_id(), "person")


async def test_a_member_enters_the_workspace_of_the_agent_and_no_other(pool, db, ours, theirs):
    await members.put_member(db, theirs.workspace_id, "somebody else", "owner")
    async with database.borrow(pool) as connection:
        for _ in range(2):  # the statement is prepared once, for whoever the login is
            async with connection.transaction():
                found = await tenancy.as_member(connection, ours.agent_id, "person")
                assert found == (ours.workspace_id, "member")
                assert await _who(connection) == ("threadline_tenant", str(ours.workspace_id))
                count = "SELECT count(*) FROM agent_sessions"
                assert await connection.fetchval(count) == 1
        assert (await _who(connection))[0] != "threadline_tenant"


async def test_a_session_is_seen_as_the_tenant_and_no_longer(db, ours, theirs):
    await members.put_member(db, ours.workspace_id, "person", "admin")
    mine, other = [
        await db.fetchval("SELECT id FROM agent_sessions WHERE workspace_id = $1", on.workspace_id)
        for on in (ours, theirs)
    ]
    before = await _who(db)
    for who, role in (("person", "admin"), (ours.workspace_id, None)):
        seen = await sessions_read.seen(db, ours.agent_id, mine, who)
        assert seen is not None
        assert (seen.workspace_id, seen.role) == (ours.workspace_id, role)
        assert seen.session == await sessions_read.get(db, ours.workspace_id, ours.agent_id, mine)
        assert (await _who(db))[0] == before[0]
        for nowhere in (other, new_id()):
            nothing = await sessions_read.seen(db, ours.agent_id, nowhere, who)
            assert nothing == Seen(ours.workspace_id, role, None)
        async with db.transaction():
            await sessions_read.seen(db, ours.agent_id, mine, who)
            assert await _who(db) == ("threadline_tenant", str(ours.workspace_id))


async def test_a_session_is_not_seen_by_strangers(db, ours, theirs):
    await members.put_member(db, theirs.workspace_id, "somebody else", "owner")
    mine, other = [
        await db.fetchval("SELECT id FROM agent_sessions WHERE workspace_id = $1", on.workspace_id)
        for on in (ours, theirs)
    ]
    for who in ("somebody else", "nobody"):
        assert await sessions_read.seen(db, ours.agent_id, mine, who) is None
    # the wall holds where the statement would not: the row is the agent's, the workspace another's
    seen = await sessions_read.seen(db, theirs.agent_id, other, ours.workspace_id)
    assert seen == Seen(ours.workspace_id, None, None)


async def test_who_is_no_member_enters_nothing(pool, db, ours, theirs):
    await members.put_member(db, theirs.workspace_id, "somebody else", "owner")
    async with database.borrow(pool) as connection:
        before = await _who(connection)
        for agent_id, user_id in (
            (ours.agent_id, "somebody else"),
            (ours.agent_id, "nobody"),
            (new_id(), "person"),
        ):
            async with connection.transaction():
                assert await tenancy.as_member(connection, agent_id, user_id) is None
                assert await _who(connection) == before


async def test_work_commits_at_the_end(pool, ours):
    async with tenancy.tenant(pool, ours.workspace_id) as connection:
        await connection.execute("UPDATE agent_sessions SET title = 'kept'")
    async with tenancy.tenant(pool, ours.workspace_id) as connection:
        assert await connection.fetchval("SELECT title FROM agent_sessions") == "kept"


# ------------------------------------------------------------------ the owner


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
        await sessions.turn_began(owner, held.lease)
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

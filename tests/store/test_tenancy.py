"""The second wall: what a tenant's transaction can see and write, table by table."""

import asyncio
from contextlib import asynccontextmanager

import asyncpg
import pytest

from store import database, members, sessions, sessions_read, tenancy
from store.database import Connection, Pool
from store.ids import new_id
from store.sessions import Wanted
from store.sessions_read import Seen
from store.tenancy import TenancyMissing
from tests.store import factories, tenants
from tests.store.factories import Ground


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

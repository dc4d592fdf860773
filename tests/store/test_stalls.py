"""A database that goes silent: nobody waits longer than they said, and all goes on afterwards."""

import asyncio

import asyncpg
import pytest

from router.errors import AcceptUnavailable
from store import database
from tests.store.doors import arrival, intake, new_thread, texts
from tests.store.lines import line_to
from tests.support import eventually


async def test_an_accept_answers_in_time_and_the_next_one_has_a_fresh_connection(
    dsn, db, on, monkeypatch
):
    roots = [new_thread() for _ in range(3)]
    async with line_to(dsn) as line, intake(line.dsn) as door:
        await door.accept(arrival(on, roots[0]))
        line.go_dead()
        with monkeypatch.context() as soon:
            soon.setattr("router.intake.ACCEPT_SECONDS", 0.5)
            with pytest.raises(AcceptUnavailable):
                await asyncio.wait_for(door.accept(arrival(on, roots[1])), 30)
        outcome = await door.accept(arrival(on, roots[2]))
        assert outcome.kind == "accepted"
        assert (await door.accept(arrival(on, roots[1]))).kind == "accepted"
    assert [len(await texts(db, root)) for root in roots] == [1, 1, 1]


async def test_the_time_that_was_said_is_kept_within_a_transaction(dsn):
    async with line_to(dsn) as line:
        pool = await database.open_pool(line.dsn, size=1)

        async def ask() -> int:
            async with database.within(pool, 0.5) as connection, connection.transaction():
                number: int = await connection.fetchval("SELECT 1")
                line.go_dead()
                return number + int(await connection.fetchval("SELECT 1"))

        # were it not for the time that was said, nothing would end it so soon
        with pytest.raises(database.ERRORS):
            async with asyncio.timeout(30) as long:
                await ask()
        assert not long.expired()
        async with database.within(pool, 60) as connection:
            assert await connection.fetchval("SELECT 2") == 2
        await database.close_pool(pool)


async def test_who_is_cancelled_while_the_connection_breaks_hears_of_it(dsn):
    async with line_to(dsn) as line:
        pool = await database.open_pool(line.dsn, size=1)
        begun = asyncio.Event()

        async def ask() -> None:
            async with database.within(pool, 60) as connection, connection.transaction():
                begun.set()
                await connection.execute("SELECT pg_sleep(60)")

        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(ask())
            await begun.wait()
            asking.cancel()
            line.cut()
            await asyncio.wait([asking], timeout=30)
            assert asking.cancelled()
        await database.close_pool(pool)


@pytest.mark.parametrize("how", ["one", "pool"])
async def test_nobody_waits_for_a_row_for_ever(dsn, db, on, monkeypatch, how):
    monkeypatch.setitem(database._SERVER_SETTINGS, "lock_timeout", "100")
    pool = await database.open_pool(dsn, size=1)
    waits = await database.connect(dsn) if how == "one" else await pool.acquire()
    async with db.transaction():
        await db.execute("SELECT FROM workspaces WHERE id = $1 FOR UPDATE", on.workspace_id)
        with pytest.raises(asyncpg.LockNotAvailableError):
            await waits.execute("UPDATE workspaces SET name = name")
    waits.terminate()
    await database.close_pool(pool)


async def test_a_pool_is_closed_though_its_connections_do_not_answer(dsn):
    async with line_to(dsn) as line:
        pool = await database.open_pool(line.dsn, size=1)
        async with pool.acquire() as connection:
            await connection.execute("SELECT 1")
        line.go_dead()
        await asyncio.wait_for(database.close_pool(pool, 0.2), 30)


async def test_a_listener_that_could_not_be_made_ready_is_not_left_open(dsn, monkeypatch):
    monkeypatch.setattr(database, "_NOTIFY_SECONDS", 0.5)
    async with line_to(dsn) as line:
        line.swallowed = b"LISTEN"
        with pytest.raises(TimeoutError):
            await database.listen(line.dsn, lambda _: None, asyncio.Event())
        await eventually(lambda: line.connections == 0)

"""What a process remembers of installs: never that there is none, and never what others have changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from bot.install import InstallBook, KnownInstall
from bot.sealing import Keyring
from router.loops import Stop
from router.turns.worker import Wakes
from store import database
from store.database import Connection, Pool
from store.installs import NewInstall
from tests.store import factories
from tests.store.lines import line_to
from tests.store.locks import together
from tests.support import eventually

_KEYS = Keyring({"test": b"k" * 32})


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked or remembered has time enough."""
    monkeypatch.setattr("bot.install._LOOKUP_SECONDS", 60.0)
    monkeypatch.setattr("bot.install._REMEMBERED_SECONDS", 3600.0)


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    opened = await database.open_pool(dsn, size=1)
    yield opened
    await database.close_pool(opened)


async def _put(db: Connection, pool: Pool, bot_user: str = "UBOT") -> InstallBook:
    workspace = await db.fetchval("SELECT id FROM workspaces") or await factories.workspace(db)
    book = InstallBook(pool, _KEYS)
    new = NewInstall(UUID(str(workspace)), "A1", "T1", "T1", None, bot_user, "B1", [])
    await book.put(new, "xoxb-of-a-test")
    return book


async def _looks(pool: Pool) -> list[str]:
    """The statements that go over the pool's one connection from now on."""
    found: list[str] = []
    async with pool.acquire() as connection:
        connection.add_query_logger(lambda query: found.append(query.query))
    return found


async def test_those_who_ask_at_a_time_ask_once(db, pool):
    await _put(db, pool)
    looks = await _looks(pool)
    book = InstallBook(pool, _KEYS)
    found = await together(*(book.find("A1", "T1") for _ in range(50)))
    assert {getattr(f, "token", f) for f in found} == {"xoxb-of-a-test"}
    assert len(looks) == 1
    await book.find("A1", "T1")
    assert len(looks) == 1


async def test_that_there_is_none_is_not_remembered(db, pool):
    book = InstallBook(pool, _KEYS)
    assert await together(*(book.find("A1", "T1") for _ in range(3))) == [None] * 3
    await _put(db, pool)
    assert await book.find("A1", "T1")


async def test_all_who_asked_hear_that_the_database_is_silent(db, dsn, monkeypatch):
    async with line_to(dsn) as line:
        pool = await database.open_pool(line.dsn, size=1)
        book = await _put(db, pool)
        book.forget()
        line.go_dead()
        with monkeypatch.context() as soon:
            soon.setattr("bot.install._LOOKUP_SECONDS", 0.2)
            found = await asyncio.wait_for(
                together(*(book.find("A1", "T1") for _ in range(20))), 30
            )
        assert all(isinstance(one, database.ERRORS) for one in found)
        again = await book.find("A1", "T1")
        assert isinstance(again, KnownInstall)
        await database.close_pool(pool)


async def test_who_asks_first_and_leaves_leaves_nobody_waiting(db, pool):
    book = await _put(db, pool)
    book.forget()
    # nobody gets a connection meanwhile
    async with pool.acquire(), asyncio.TaskGroup() as tasks:
        first = tasks.create_task(book.find("A1", "T1"))
        await eventually(lambda: book._asked)
        second = tasks.create_task(together(book.find("A1", "T1")))
        await asyncio.sleep(0)
        first.cancel()
        (heard,) = await asyncio.wait_for(second, 30)
    assert isinstance(heard, TimeoutError)
    assert await book.find("A1", "T1")


async def test_a_change_is_heard_of_by_every_process(db, dsn, pool):
    book = await _put(db, pool)
    stop = Stop()
    other = InstallBook(pool, _KEYS)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(Wakes(dsn, lambda _: None, other.forget).run(stop))
        await eventually(lambda: other._changes)  # it listens

        async def knows(bot_user: str | None) -> bool:
            known = await other.find("A1", "T1")
            return (known.row.bot_user_id if known else None) == bot_user

        assert await knows("UBOT")
        await _put(db, pool, "UNEW")
        await eventually(lambda: knows("UNEW"))
        assert await book.end("A1", "T1", "revoked")
        await eventually(lambda: knows(None))
        stop.say()


async def test_what_was_read_before_a_change_is_not_remembered(db, pool):
    """It may have been read before the change was committed."""
    book = await _put(db, pool)
    book.forget()
    async with asyncio.TaskGroup() as tasks, pool.acquire():
        asking = tasks.create_task(book.find("A1", "T1"))
        await eventually(lambda: book._asked)
        book.forget()
    assert asking.result()
    assert not book._by_tenant

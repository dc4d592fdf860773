"""New words go by one statement, everything else the longer way: nobody can tell which it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from router.errors import AcceptUnavailable
from router.intake import Intake
from router.loops import Stop
from router.routing import Arrival, Outcome
from store import database, sessions, threads
from store.database import Connection
from tests.store import factories
from tests.store.doors import arrival, in_order, intake, new_thread, rows, texts
from tests.store.factories import Ground
from tests.store.locks import together
from tests.support import eventually

_OLD = 600


@asynccontextmanager
async def watched(dsn: str) -> AsyncIterator[tuple[Intake, list[str]]]:
    """A door on a single connection, and the statements that have gone over it."""
    pool = await database.open_pool(dsn, size=1)
    said: list[str] = []
    async with pool.acquire() as connection:
        # the pool lends the same connection each time, and takes nothing from it
        connection.add_query_logger(lambda query: said.append(query.query))
    door, stop = Intake(pool, lambda _: None, lambda: None), Stop()
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(door.run(stop))
            yield door, said
            stop.say()
    finally:
        await database.close_pool(pool)


# ------------------------------------------------------------------ the same either way


async def _archived(db: Connection, on: Ground, root: str) -> None:
    session = await _session(db, root)
    await sessions.request_archive(db, on.agent_id, session["id"])


async def _busy(db: Connection, _on: Ground, root: str) -> None:
    session = await _session(db, root)
    await db.execute("UPDATE agent_sessions SET status = 'running' WHERE id = $1", session["id"])
    await factories.turn(db, session)


async def _muted(db: Connection, _on: Ground, _root: str) -> None:
    await db.execute("UPDATE slack_threads SET muted = true")


async def _no_agent(db: Connection, _on: Ground, _root: str) -> None:
    await db.execute("UPDATE oauth_installs SET default_agent_id = NULL")


async def _nothing(_db: Connection, _on: Ground, _root: str) -> None:
    pass


async def _session(db: Connection, root: str) -> database.Record:
    found = await db.fetchrow("SELECT * FROM agent_sessions WHERE slack_thread_ts = $1", root)
    assert found
    return found


Change = Callable[[Connection, Ground, str], Awaitable[None]]
# what was said (seconds after the root, mention or not) before something changes, and afterwards
_CASES: dict[str, tuple[list[tuple[int, bool]], Change, list[tuple[int, bool]]]] = {
    "a thread and its replies": ([], _nothing, [(0, True), (1, False), (2, True), (2, True)]),
    "the first again, later": ([(0, True), (3, False)], _nothing, [(0, True), (3, False)]),
    "a reply that nobody follows": ([], _nothing, [(1, False)]),
    "a reply before the mention": ([], _nothing, [(1, False), (2, True), (3, False)]),
    "a reply from before": ([(5, True)], _nothing, [(3, False), (6, False)]),
    "an earlier mention": ([(5, True)], _nothing, [(2, True), (3, False)]),
    "muted": ([(0, True)], _muted, [(1, False), (2, True)]),
    "archived": ([(0, True)], _archived, [(1, False), (2, True)]),
    "busy": ([(0, True)], _busy, [(1, False), (2, True), (2, True)]),
    "nobody answers": ([], _no_agent, [(0, True), (1, False)]),
}
_SEEN = """
SELECT i.kind, i.state, i.body, i.order_key - s.slack_thread_ts::numeric AS after, i.shown_waiting,
       i.revision, s.title, s.created_by, s.wake_seq > 0 AS woken, s.ready_at IS NOT NULL AS ready
FROM session_inputs i JOIN agent_sessions s ON s.id = i.session_id ORDER BY i.order_key
"""
_SPOKEN = "SELECT kind, lane <> 'side' AS lane FROM slack_outbox ORDER BY kind"


@pytest.mark.parametrize("age", [0, _OLD], ids=["young", "old"])
@pytest.mark.parametrize("case", _CASES)
async def test_both_ways_give_the_same(dsn, db, on, case, age):
    before, change, after = _CASES[case]
    found = []
    for short in (True, False):
        root = new_thread(age=age)
        async with intake(dsn) as door:
            door._in_one_statement = short
            await in_order(door, [_said(on, root, *one) for one in before])
            await change(db, on, root)
            outcomes = await in_order(door, [_said(on, root, *one) for one in after])
            await door.move_unclaimed()
        found.append((_plain(outcomes), await _left(db, on)))
    assert found[0] == found[1]


def _said(on: Ground, root: str, seconds: int, addressed: bool) -> Arrival:  # noqa: FBT001  # a case
    return arrival(on, root, seconds, addressed=addressed, text=f"after {seconds}")


def _plain(outcomes: list[Outcome]) -> list[tuple[Any, ...]]:
    return [(o.kind, o.reason, o.session is not None, o.spoke) for o in outcomes]


async def _left(db: Connection, on: Ground) -> list[Any]:
    """What is in the tables, which are then empty again."""
    seen: list[Any] = [[dict(row) for row in await db.fetch(q)] for q in (_SEEN, _SPOKEN)]
    await db.execute(
        "TRUNCATE agent_sessions, slack_threads, slack_unclaimed, slack_outbox, session_inputs CASCADE"
    )
    await db.execute("UPDATE oauth_installs SET default_agent_id = $1", on.agent_id)
    return seen


# ------------------------------------------------------------------ what it costs


async def test_new_words_of_many_threads_are_one_statement(dsn, db, on):
    roots = [new_thread(age=_OLD) for _ in range(20)]
    async with watched(dsn) as (door, said):
        await door.accept(arrival(on, new_thread()))
        said.clear()
        first = await together(*(door.accept(arrival(on, root)) for root in roots))
        assert len(said) == 1
        replies = [arrival(on, root, 5, addressed=False) for root in roots]
        strange = [arrival(on, new_thread(age=_OLD), 5, addressed=False) for _ in roots]
        then = await together(*(door.accept(one) for one in replies + strange))
        assert len(said) == 2
    assert {getattr(o, "kind", o) for o in first} == {"accepted"}
    assert [getattr(o, "kind", o) for o in then] == ["accepted"] * 20 + ["ignored"] * 20
    assert await db.fetchval("SELECT count(*) FROM session_inputs") == 41


async def test_twins_that_come_together_are_written_once(dsn, db, on):
    roots = [new_thread() for _ in range(3)]
    each = [
        arrival(on, root, slack_event_id=f"{name}{root}")
        for root in roots
        for name in ("Ev1", "Ev2")
    ]
    async with watched(dsn) as (door, said):
        await door.accept(arrival(on, new_thread()))
        said.clear()
        outcomes = await together(*(door.accept(one) for one in each))
        assert len(said) == 1
    assert [getattr(o, "kind", o) for o in outcomes] == ["accepted", "duplicate"] * 3
    assert [[r["slack_event_id"] for r in await rows(db, root)] for root in roots] == [
        [f"Ev1{root}"] for root in roots
    ]


async def test_a_twin_hears_at_once_of_its_twins_failure(dsn, on, monkeypatch):
    """And comes again, as its twin does."""
    monkeypatch.setattr("router.intake.ACCEPT_SECONDS", 50)
    message = arrival(on, new_thread(), install_id=on.agent_id)  # no such install: nobody is pinned
    bad = arrival(on, new_thread(), text="\0")
    async with intake(dsn) as door:
        outcomes = await together(
            *(door.accept(one) for one in (message, message, bad, bad, arrival(on, new_thread())))
        )
    assert [getattr(o, "kind", type(o)) for o in outcomes] == [
        "ignored",
        "ignored",
        AcceptUnavailable,
        AcceptUnavailable,
        "accepted",
    ]


async def test_what_was_taken_back_before_it_came_is_not_taken(dsn, db, on):
    message = arrival(on, new_thread())
    taken_back = Arrival.from_json(message.to_json() | {"deleted": True, "text": ""})
    async with intake(dsn) as door:
        outcomes = await in_order(door, [taken_back, message])
    assert [o.kind for o in outcomes] == ["kept", "ignored"]
    assert await db.fetchval("SELECT count(*) FROM session_inputs") == 0


# ------------------------------------------------------------------ who is gone, what cannot


async def test_what_nobody_waits_for_any_more_is_not_taken(dsn, db, on):
    """Slack was told 503, or hung up: it comes again."""
    gone, stays = arrival(on, new_thread()), arrival(on, new_thread())
    pool = await database.open_pool(dsn, size=1)
    door, stop = Intake(pool, lambda _: None, lambda: None), Stop()
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(door.accept(gone))
        second = tasks.create_task(door.accept(stays))
        await eventually(lambda: len(door._queue) == 2)
        first.cancel()
        await asyncio.wait([first])
        tasks.create_task(door.run(stop))
        assert (await second).kind == "accepted"
        stop.say()
    await database.close_pool(pool)
    assert [r["dedupe_key"] for r in await db.fetch("SELECT dedupe_key FROM session_inputs")] == [
        stays.dedupe_key
    ]


async def test_who_waits_for_a_door_that_does_not_open_hears_in_time(on, monkeypatch):
    monkeypatch.setattr("router.intake.ACCEPT_SECONDS", 0.05)
    pool = await database.open_pool("postgresql://127.0.0.1:1/none", size=1)
    door = Intake(pool, lambda _: None, lambda: None)
    outcomes = await together(*(door.accept(arrival(on, new_thread())) for _ in range(3)))
    assert {type(o) for o in outcomes} == {AcceptUnavailable}
    assert not door._queue
    assert not door._unanswered
    await database.close_pool(pool)


# A cluster of several nodes refuses statements of which one node could not do all.
_REFUSES = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_query() LIKE '%WITH given%' THEN
        RAISE feature_not_supported;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER refuse AFTER INSERT ON slack_threads FOR EACH STATEMENT EXECUTE FUNCTION refuse();
"""


async def test_where_one_statement_cannot_do_all_several_do(dsn, db, on):
    await db.execute(_REFUSES)
    try:
        root = new_thread()
        async with intake(dsn) as door:
            outcomes = await in_order(door, [arrival(on, root), arrival(on, root, 1)])
        assert [o.kind for o in outcomes] == ["accepted"] * 2
        assert len(await texts(db, root)) == 2
    finally:
        await db.execute("DROP TRIGGER refuse ON slack_threads; DROP FUNCTION refuse")


async def test_a_thread_that_others_pin_just_now_is_taken_in_behind_them(dsn, connect, db, on):
    """By then it may belong to another agent than the one that answers here now."""
    other = await connect()
    late = await factories.agent(db, on.workspace_id)
    message = arrival(on, new_thread())
    async with intake(dsn) as door, asyncio.TaskGroup() as tasks:
        async with other.transaction():
            pin = threads.Pin(
                threads.Thread(
                    slack_conversation_key=message.conversation_key,
                    deployed_agent_id=late,
                    workspace_id=on.workspace_id,
                    session_id=on.agent_id,
                    muted=False,
                    first_ts=Decimal(0),
                ),
                "A1",
                "C1",
                message.root_ts,
            )
            await threads.pin(other, [pin])
            taken = tasks.create_task(door.accept(message))
            await eventually(
                lambda: db.fetchval(
                    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid)))",
                    other.get_server_pid(),
                )
            )
        outcome = await taken
    assert outcome.kind == "accepted"
    assert outcome.session
    assert outcome.session.deployed_agent_id == late


def test_the_one_that_a_database_may_refuse_is_no_error_of_a_row():
    assert not issubclass(asyncpg.FeatureNotSupportedError, database.ROW_ERRORS)


# ------------------------------------------------------------------ batches side by side


async def test_a_batch_that_waits_keeps_back_only_its_own_threads(dsn, connect, on):
    locked, free = new_thread(), new_thread()
    holder = await connect()
    async with intake(dsn) as door:
        await door.accept(arrival(on, locked))
        async with asyncio.TaskGroup() as tasks, holder.transaction():
            await holder.execute("UPDATE agent_sessions SET title = title")
            stuck = tasks.create_task(together(door.accept(arrival(on, locked, 1))))
            await eventually(lambda: door._under_way)
            behind = tasks.create_task(together(door.accept(arrival(on, locked, 2))))
            assert (await door.accept(arrival(on, free))).kind == "accepted"
            # what is for the same thread waits here, and holds no second connection
            assert not stuck.done()
            assert len(door._queue) == 1
        await eventually(lambda: not door._under_way)
    outcomes = [*stuck.result(), *behind.result()]
    assert [getattr(o, "kind", o) for o in outcomes] == ["accepted"] * 2

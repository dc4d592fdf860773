"""Accepts that meet: each other, renewals, twins of themselves, other processes, bad neighbours."""

from __future__ import annotations

import asyncio
from collections import Counter
from decimal import Decimal

import asyncpg
import pytest

from router import routing
from router.errors import AcceptUnavailable
from router.intake import Intake
from router.loops import Stop
from store import agents, database, leases, sessions, threads
from store.database import Connection
from store.ids import new_id
from store.leases import Lease
from store.threads import Pin, Thread
from tests.store import factories
from tests.store.conftest import Connect
from tests.store.doors import arrival, intake, new_thread
from tests.store.factories import LEASE, Ground
from tests.store.locks import blocked, together

# ------------------------------------------------------------------ renewals against accepts

# $1 agent, $2 sessions, $3 for how long
_NAIVE_RENEWAL = """
UPDATE agent_sessions SET lease_expires_at = now() + $3::interval
WHERE deployed_agent_id = $1 AND id = ANY($2::uuid[]) AND lease_owner IS NOT NULL
"""


@pytest.fixture
async def taken(db: Connection, on: Ground) -> dict[str, Lease]:
    """Three held sessions; the order of their ids is the reverse of the order of their keys."""
    ids = sorted((new_id() for _ in range(3)), reverse=True)
    made = [
        await factories.session(db, on, id=id_, slack_conversation_key=key)
        for id_, key in zip(ids, ("a", "b", "c"), strict=True)
    ]
    return {s["slack_conversation_key"]: (await factories.held(db, s)).lease for s in made}


async def test_a_renewal_leaves_out_the_row_that_an_accept_holds(connect, db, on, taken):
    accepting = await connect()
    ids = [lease.session_id for lease in taken.values()]
    async with accepting.transaction():
        await sessions.wake_or_create(accepting, [on.new_session("b")])
        await db.execute("SET lock_timeout = '100ms'")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await db.execute(_NAIVE_RENEWAL, on.agent_id, ids, LEASE)
        renewed = await leases.renew(db, on.agent_id, list(taken.values()), LEASE)
    assert renewed == {taken["a"].session_id, taken["c"].session_id}
    assert await leases.renew(db, on.agent_id, list(taken.values()), LEASE) == set(ids)


async def _accept_around(
    accepting: Connection, renewing: Connection, on: Ground, renewal, *, waits: Connection | None
) -> list[object]:
    """A batch that has its first row when a renewal comes, and then wants its last."""

    async def accept(begun: asyncio.Event, go_on: asyncio.Event) -> None:
        async with accepting.transaction():
            await sessions.wake_or_create(accepting, [on.new_session("a")])
            begun.set()
            await go_on.wait()
            await sessions.wake_or_create(accepting, [on.new_session("c")])

    async def renew(begun: asyncio.Event, go_on: asyncio.Event) -> None:
        await begun.wait()
        async with asyncio.TaskGroup() as tasks:
            renewed = tasks.create_task(renewal(renewing))
            if waits:
                await blocked(waits, renewing)
            else:
                await renewed
            go_on.set()

    events = asyncio.Event(), asyncio.Event()
    return list(await together(accept(*events), renew(*events)))


async def test_a_plain_renewal_and_an_accept_deadlock(connect_patiently, db, on, taken):
    ids = [lease.session_id for lease in taken.values()]

    async def naive(renewing: Connection) -> None:
        # an index gives the order of the ids
        await renewing.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
        await renewing.execute(_NAIVE_RENEWAL, on.agent_id, ids, LEASE)

    accepting, renewing = await connect_patiently(), await connect_patiently()
    ends = await _accept_around(accepting, renewing, on, naive, waits=db)
    assert _deadlocks(ends) == 1


async def test_our_renewal_and_an_accept_do_not(connect_patiently, db, on, taken):
    async def ours(renewing: Connection) -> None:
        renewed = await leases.renew(renewing, on.agent_id, list(taken.values()), LEASE)
        assert renewed == {taken["b"].session_id, taken["c"].session_id}

    accepting, renewing = await connect_patiently(), await connect_patiently()
    assert await _accept_around(accepting, renewing, on, ours, waits=None) == [None, None]
    assert await db.fetchval("SELECT sum(wake_seq) FROM agent_sessions") == 3 + 2


def _deadlocks(ends: list[object]) -> int:
    errors = [e for end in ends for e in (getattr(end, "exceptions", None) or [end])]
    return sum(isinstance(e, asyncpg.DeadlockDetectedError) for e in errors)


# ------------------------------------------------------------------ batches against batches


async def _cross(
    connect_patiently: Connect, db: Connection, statement, *, rolls_back: bool = False
) -> list[object]:
    """Two batches, one of a, b, c and one of c, b, a, both begun while somebody holds b."""
    holder, first, second = [await connect_patiently() for _ in range(3)]
    holding = holder.transaction()
    await holding.start()
    await statement(holder, ["b"])

    async def batch(connection: Connection, keys: list[str]) -> None:
        async with connection.transaction():
            await statement(connection, keys)

    async with asyncio.TaskGroup() as tasks:
        ends = tasks.create_task(
            together(batch(first, ["a", "b", "c"]), batch(second, ["c", "b", "a"]))
        )
        await blocked(db, first, second)
        await (holding.rollback() if rolls_back else holding.commit())
    return list(ends.result())


@pytest.mark.usefixtures("taken")
async def test_batches_that_wake_sessions_in_any_order_do_not_deadlock(connect_patiently, db, on):
    async def wake(connection: Connection, keys: list[str]) -> None:
        await sessions.wake_or_create(connection, [on.new_session(key) for key in keys])

    assert await _cross(connect_patiently, db, wake) == [None, None]
    assert await db.fetchval("SELECT array_agg(wake_seq ORDER BY id DESC) FROM agent_sessions") == [
        3,
        4,
        3,
    ]


@pytest.mark.usefixtures("taken")
async def test_unsorted_they_would(connect_patiently, db, on, monkeypatch):
    _unsort(monkeypatch, sessions, "_WAKE", "ORDER BY s.key\n")

    async def wake(connection: Connection, keys: list[str]) -> None:
        await sessions.wake_or_create(connection, [on.new_session(key) for key in keys])

    assert _deadlocks(await _cross(connect_patiently, db, wake)) == 1


@pytest.mark.parametrize("rolls_back", [False, True])
async def test_batches_that_pin_threads_in_any_order_do_not_deadlock(
    connect_patiently, db, on, rolls_back
):
    async def pin(connection: Connection, keys: list[str]) -> None:
        await threads.pin(connection, [_pin(on, key) for key in keys])

    assert await _cross(connect_patiently, db, pin, rolls_back=rolls_back) == [None, None]
    assert await db.fetchval("SELECT count(*) FROM slack_threads") == 3


async def test_pins_unsorted_would(connect_patiently, db, on, monkeypatch):
    _unsort(monkeypatch, threads, "_PIN", "ORDER BY p.key\n")

    async def pin(connection: Connection, keys: list[str]) -> None:
        await threads.pin(connection, [_pin(on, key) for key in keys])

    assert _deadlocks(await _cross(connect_patiently, db, pin)) == 1


def _unsort(monkeypatch: pytest.MonkeyPatch, module, name: str, order: str) -> None:
    sorted_ = getattr(module, name)
    assert order in sorted_
    monkeypatch.setattr(module, name, sorted_.replace(order, ""))


def _pin(on: Ground, key: str) -> Pin:
    thread = Thread(key, on.agent_id, on.workspace_id, new_id(), muted=False, first_ts=Decimal(1))
    return Pin(thread, "A1", "C1", "1.000000")


# ------------------------------------------------------------------ twins


async def test_one_statement_cannot_take_twins(db, on):
    """Why a batch has at most one arrival per conversation."""
    twins = [on.new_session("thread"), on.new_session("thread")]
    with pytest.raises(asyncpg.CardinalityViolationError):
        await sessions.wake_or_create(db, twins)


async def test_two_hundred_at_once_with_twins_give_one_row_per_message(dsn, db, on):
    roots = [new_thread() for _ in range(10)]
    messages = [arrival(on, root, n) for root in roots for n in range(4)]
    async with intake(dsn) as door:
        outcomes = await asyncio.gather(*(door.accept(one) for one in messages * 5))
    assert Counter(o.kind for o in outcomes) == {"accepted": 40, "duplicate": 160}
    keys = await db.fetch("SELECT dedupe_key FROM session_inputs")
    assert sorted(k["dedupe_key"] for k in keys) == sorted(m.dedupe_key for m in messages)
    assert await db.fetchval("SELECT count(*) FROM agent_sessions") == 10
    assert await db.fetchval("SELECT count(*) FROM slack_threads") == 10


async def test_one_gesture_under_two_timestamps_is_one_message(dsn, db, on):
    first, second = new_thread(), new_thread()
    async with intake(dsn) as door, intake(dsn) as other:
        twins = [arrival(on, root, client_key="client") for root in (first, second)]
        outcomes = await together(door.accept(twins[0]), other.accept(twins[1]))
    assert sorted(getattr(o, "kind", "") for o in outcomes) == ["accepted", "duplicate"]
    assert await db.fetchval("SELECT count(*) FROM session_inputs") == 1


@pytest.mark.parametrize("poison", ["a lone \ud800 surrogate", "a \0 byte"])
async def test_a_poisoned_row_does_not_take_its_neighbours_with_it(dsn, db, on, poison):
    pool = await database.open_pool(dsn, size=2)
    door, stop = Intake(pool, lambda _: None, lambda: None), Stop()
    sound = [arrival(on, new_thread()) for _ in range(20)]
    async with asyncio.TaskGroup() as tasks:
        # all of them wait before the first batch is taken
        ends = tasks.create_task(
            together(
                *(door.accept(one) for one in sound[:10]),
                door.accept(arrival(on, new_thread(), text=poison)),
                *(door.accept(one) for one in sound[10:]),
            )
        )
        tasks.create_task(door.run(stop))
        outcomes = await ends
        stop.say()
    await database.close_pool(pool)
    assert isinstance(outcomes.pop(10), AcceptUnavailable)
    assert {getattr(o, "kind", o) for o in outcomes} == {"accepted"}
    keys = await db.fetch("SELECT dedupe_key FROM session_inputs")
    assert {k["dedupe_key"] for k in keys} == {a.dedupe_key for a in sound}


# ------------------------------------------------------------------ several processes


async def test_fifty_first_messages_in_three_processes_make_one_session(dsn, db, on):
    """While the default agent changes: the first pin decides for all of them."""
    others = [await factories.agent(db, on.workspace_id) for _ in range(2)]
    root = new_thread()
    messages = [arrival(on, root, n, text=f"message {n}") for n in range(50)]

    async def change_default() -> None:
        for n in range(30):
            await agents.make_default(db, on.workspace_id, others[n % 2])

    async with intake(dsn) as one, intake(dsn) as two, intake(dsn) as three:
        doors = [one, two, three]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(change_default())
            accepts = [
                tasks.create_task(doors[n % 3].accept(message))
                for n, message in enumerate(messages)
            ]
    outcomes = [task.result() for task in accepts]
    assert {o.kind for o in outcomes} == {"accepted"}
    assert len({o.session for o in outcomes}) == 1
    (session,) = await db.fetch("SELECT * FROM agent_sessions")
    (pin,) = await db.fetch("SELECT * FROM slack_threads")
    assert pin["session_id"] == session["id"]
    assert pin["deployed_agent_id"] == session["deployed_agent_id"]
    assert pin["first_ts"] == Decimal(root)
    of_session = await db.fetch(
        "SELECT body->>'text' AS text FROM session_inputs"
        " WHERE deployed_agent_id = $1 AND session_id = $2 ORDER BY order_key",
        session["deployed_agent_id"],
        session["id"],
    )
    assert [row["text"] for row in of_session] == [f"message {n}" for n in range(50)]
    assert session["wake_seq"] == 50


async def test_racing_pins_are_read_back_and_everybody_follows_the_winner(connect, db, on):
    late = await factories.agent(db, on.workspace_id)
    first, second = await connect(), await connect()
    root = new_thread()
    async with asyncio.TaskGroup() as tasks:
        async with first.transaction():
            winner = await routing.follow(first, [arrival(on, root)])
            await agents.make_default(db, on.workspace_id, late)
            loser = tasks.create_task(routing.follow(second, [arrival(on, root, 1)]))
            await blocked(db, second)
        follows = (await loser).verdicts[0]
    assert isinstance(follows, routing.Followed)
    assert follows.thread == winner.verdicts[0].thread  # type: ignore[union-attr]  # shown above
    assert follows.thread.deployed_agent_id == on.agent_id

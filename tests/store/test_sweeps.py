"""Sweeps over all agents: found together, taken agent by agent, and never waited for."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from store import idempotency, outbox, sessions, turns
from store.database import Connection
from tests.store import factories
from tests.store.factories import Ground
from tests.store.locks import impatient

_LONG_AGO = datetime.now(UTC) - timedelta(days=2)
_AGE = timedelta(minutes=1)


async def _doubted(db: Connection, on: Ground) -> UUID:
    session = await factories.session(db, on)
    sent = {"state": "sent", "ended_at": _LONG_AGO, "slack_ts": "1.0"}
    row = await factories.delivery(db, session, **sent, look_again_at=_LONG_AGO)
    made: UUID = row["delivery_id"]
    return made


async def _awaiting(db: Connection, on: Ground) -> UUID:
    session = await factories.session(db, on, anthropic_session_id=f"sesn_{on.agent_id}")
    row = await factories.turn(db, session, state="awaiting_human", looked_at=_LONG_AGO)
    made: UUID = row["id"]
    return made


async def _deaf(db: Connection, on: Ground) -> UUID:
    running = {"status": "running", "ready_at": None, "updated_at": _LONG_AGO}
    row = await factories.session(db, on, **running, anthropic_session_id=f"sesn_{on.agent_id}")
    made: UUID = row["id"]
    return made


async def _asked(db: Connection, on: Ground) -> UUID:
    asked = idempotency.Asked(on.agent_id, on.workspace_id, "key:1", "POST /", "k", b"hash")
    begun = await idempotency.begin(db, asked, factories.LEASE)
    assert isinstance(begun, idempotency.Begun)
    await idempotency.let_go(db, begun)
    await db.execute("UPDATE idempotency_keys SET created_at = $1", _LONG_AGO)
    return begun.work_id


@dataclass(frozen=True, slots=True)
class Sweep:
    """One of them: what makes a row for it, what it does, and where the row is."""

    make: Callable[[Connection, Ground], Awaitable[UUID]]
    take: Callable[[Connection, int], Awaitable[Any]]
    table: str
    column: str


async def _looks(db: Connection, limit: int) -> int:
    return len(await turns.take_a_look(db, _AGE, limit))


async def _doubtful(db: Connection, limit: int) -> int:
    return len(await outbox.doubtful(db, limit, _AGE))


_SWEEPS = {
    "doubtful": Sweep(_doubted, _doubtful, "slack_outbox", "delivery_id"),
    "looks": Sweep(_awaiting, _looks, "agent_turns", "id"),
    "deaf": Sweep(
        _deaf, lambda db, _: sessions.wake_disagreeing(db, [], _AGE), "agent_sessions", "id"
    ),
    "requests": Sweep(
        _asked,
        lambda db, limit: idempotency.cleanup(db, timedelta(days=1), limit),
        "idempotency_keys",
        "work_id",
    ),
}


@pytest.mark.parametrize("name", _SWEEPS)
async def test_rows_of_every_agent_are_taken_once(db, name):
    sweep = _SWEEPS[name]
    for _ in range(3):
        await sweep.make(db, await factories.ground(db))
    assert await sweep.take(db, 10) == 3
    if name != "deaf":  # it stays deaf until somebody has held it
        assert await sweep.take(db, 10) == 0


@pytest.mark.parametrize("name", sorted(set(_SWEEPS) - {"deaf"}))
async def test_no_more_are_taken_than_asked_for(db, name):
    sweep = _SWEEPS[name]
    for _ in range(3):
        await sweep.make(db, await factories.ground(db))
    assert [await sweep.take(db, 2) for _ in range(2)] == [2, 1]


@pytest.mark.parametrize("name", _SWEEPS)
async def test_a_row_that_is_held_is_left_and_keeps_nobody_waiting(db, connect, name):
    sweep = _SWEEPS[name]
    held, free = [await sweep.make(db, await factories.ground(db)) for _ in range(2)]
    assert held != free
    holder = await connect()
    async with holder.transaction():
        lock = f"SELECT FROM {sweep.table} WHERE {sweep.column} = $1 FOR UPDATE"
        await holder.execute(lock, held)
        assert await sweep.take(await impatient(db), 10) == 1


@pytest.mark.parametrize("name", sorted(set(_SWEEPS) - {"deaf"}))
async def test_what_another_has_taken_in_between_is_not_taken(db, connect, name):
    """Found before, taken after: the condition is asked again under the lock."""
    sweep = _SWEEPS[name]
    for _ in range(4):
        await sweep.make(db, await factories.ground(db))
    others = [await connect() for _ in range(4)]
    taken = await asyncio.gather(*(sweep.take(each, 10) for each in others))
    assert sum(taken) == 4

"""Usage: each turn's row is the difference of two totals, so that the turns add up to the total."""

from decimal import Decimal
from typing import Any

import pytest

from store import holding, turns, usage
from store.database import Connection
from store.leases import Held
from store.usage import Usage
from tests.store import factories


@pytest.fixture
async def session(db, on):
    return await factories.session(db, on, anthropic_session_id="runtime session")


async def _turn(db: Connection, row: Any, used: Usage | None, total: int | None) -> Held:
    """A whole turn that ends with what was used, or without knowing it."""
    await factories.message(db, row)
    await db.execute("UPDATE agent_sessions SET ready_at = now() WHERE id = $1", row["id"])
    held = await factories.held(db, row)
    seq = held.wake_seq
    begun = await holding.begin_turn(db, held, ["message"], factories.LEASE, seq)
    assert begun is not None
    snapshot = {"input_tokens": total} if total is not None else None
    ending = turns.Ending("completed", "end_turn", "some words", used, snapshot=snapshot)
    assert await turns.complete(db, held, begun[0].id, ending, seq) is False
    return held


async def _rows(db: Connection) -> list[tuple[str, int]]:
    rows = await db.fetch("SELECT state, input_tokens FROM agent_compute_usage ORDER BY created_at")
    return [(row["state"], row["input_tokens"]) for row in rows]


async def _settle(db: Connection, total: int) -> list[bool]:
    """As the loop does: the difference between the stored total and the runtime's."""
    done = []
    for row in await usage.pending(db, 20):
        before = (row.usage_snapshot or {}).get("input_tokens", 0)
        async with db.transaction():
            used = Usage(input_tokens=total - before, cost_cents=Decimal("0.5"))
            done.append(await usage.settle(db, row, {"input_tokens": total}, used))
    return done


async def test_a_turn_whose_usage_is_known_has_nothing_to_settle(db, session):
    await _turn(db, session, Usage(input_tokens=10), 10)
    assert await usage.pending(db, 20) == []
    assert await _rows(db) == [("final", 10)]


async def test_what_is_pending_is_settled_from_the_runtimes_total(db, session):
    await _turn(db, session, Usage(input_tokens=10), 10)
    await _turn(db, session, None, None)
    await _turn(db, session, None, None)
    assert await _settle(db, 45) == [True]
    assert await _rows(db) == [("final", 10), ("final", 0), ("final", 35)]
    assert await db.fetchval("SELECT sum(cost_cents) FROM agent_compute_usage") == Decimal("0.5")
    assert await db.fetchval("SELECT usage_snapshot FROM agent_sessions") == {"input_tokens": 45}
    assert await usage.pending(db, 20) == []


async def test_a_later_turn_that_knows_takes_what_was_pending_with_it(db, session):
    await _turn(db, session, None, None)
    await _turn(db, session, Usage(input_tokens=30), 30)
    assert await usage.pending(db, 20) == []
    assert await _rows(db) == [("final", 0), ("final", 30)]


async def test_nothing_is_settled_while_a_turn_runs_or_after_another_has_ended(db, session):
    held = await _turn(db, session, None, None)
    (row,) = await usage.pending(db, 20)
    await db.execute("UPDATE agent_sessions SET status = 'running'")
    assert await usage.pending(db, 20) == []
    assert not await usage.settle(db, row, {"input_tokens": 20}, Usage(input_tokens=20))
    await db.execute("UPDATE agent_sessions SET status = 'idle'")
    await _turn(db, session, None, None)
    assert not await usage.settle(db, row, {"input_tokens": 20}, Usage(input_tokens=20))
    assert await _rows(db) == [("pending", 0), ("pending", 0)]
    assert held.usage_snapshot is None
    assert await _settle(db, 50) == [True]
    assert await _rows(db) == [("final", 0), ("final", 50)]


async def test_nothing_is_settled_behind_the_back_of_a_holder(db, session):
    """Its turn will count from the total that it found at its claim."""
    await _turn(db, session, None, None)
    (row,) = await usage.pending(db, 20)
    await db.execute("UPDATE agent_sessions SET ready_at = now()")
    await factories.held(db, session)
    assert await usage.pending(db, 20) == []
    assert not await usage.settle(db, row, {"input_tokens": 20}, Usage(input_tokens=20))


async def test_the_first_word_about_a_turn_stands(db, session):
    held = await _turn(db, session, Usage(input_tokens=10), 10)
    turn_id = await db.fetchval("SELECT turn_id FROM agent_compute_usage")
    await usage.add(db, held, turn_id, Usage(input_tokens=99))
    await usage.add(db, held, turn_id, None)
    assert await _rows(db) == [("final", 10)]

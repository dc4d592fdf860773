"""A request that comes twice: each state of its row, and two at once."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest

from store import idempotency, tenancy
from store.database import Connection
from store.idempotency import Answered, Asked, Begun, Busy, Mismatch, TakenOver
from tests.store import factories, locks

_WITHIN = timedelta(seconds=30)
_AT_ONCE = timedelta()
_DAY = timedelta(days=1)


@pytest.fixture
def asked(on) -> Asked:
    return Asked(on.agent_id, on.workspace_id, "member:1", "POST /sessions", "key 1", b"body")


async def _begun(db: Connection, asked: Asked, within: timedelta = _WITHIN) -> Begun:
    begun = await idempotency.begin(db, asked, within)
    assert isinstance(begun, Begun), begun
    return begun


async def test_the_first_begins_and_the_next_gets_its_answer(db, asked):
    begun = await _begun(db, asked)
    assert (begun.claim, begun.again) == (1, False)
    await idempotency.finish(db, begun, 201, {"id": "s", "more": [1, None]})
    for _ in range(2):
        again = await idempotency.begin(db, asked, _WITHIN)
        assert again == Answered(201, {"id": "s", "more": [1, None]})


async def test_an_answer_may_be_empty(db, asked):
    await idempotency.finish(db, await _begun(db, asked), 204, None)
    assert await idempotency.begin(db, asked, _WITHIN) == Answered(204, None)


async def test_while_it_is_worked_on_the_next_is_told_how_long(db, asked):
    await _begun(db, asked)
    told = await idempotency.begin(db, asked, _WITHIN)
    assert isinstance(told, Busy)
    assert timedelta(seconds=20) < told.retry_after <= _WITHIN


@pytest.mark.parametrize("state", ["claimed", "free", "answered"])
async def test_another_body_is_a_mismatch_in_every_state(db, asked, state):
    begun = await _begun(db, asked, _AT_ONCE if state == "free" else _WITHIN)
    if state == "answered":
        await idempotency.finish(db, begun, 201, {})
    other = replace(asked, body_hash=b"another")
    assert await idempotency.begin(db, other, _WITHIN) == Mismatch()


@pytest.mark.parametrize(
    "change", [{"principal": "member:2"}, {"route": "POST /messages"}, {"key": "key 2"}]
)
async def test_a_key_belongs_to_who_asks_and_to_the_route(db, asked, change):
    first = await _begun(db, asked)
    other = await _begun(db, replace(asked, **change))
    assert (other.claim, other.work_id != first.work_id) == (1, True)


async def test_of_two_workspaces_each_has_its_own(db, asked):
    await _begun(db, asked)
    theirs = await factories.ground(db)
    other = replace(asked, deployed_agent_id=theirs.agent_id, workspace_id=theirs.workspace_id)
    assert (await _begun(db, other)).claim == 1


async def test_what_names_no_agent_goes_by_the_workspace(db, on, asked):
    await _begun(db, replace(asked, deployed_agent_id=on.workspace_id))


# ------------------------------------------------------------------ a death half-way


async def test_a_dead_worker_blocks_the_key_only_until_its_time_is_over(db, asked):
    dead = await _begun(db, asked)
    await db.execute("UPDATE idempotency_keys SET claimed_until = now() - interval '1 ms'")
    taken = await _begun(db, asked)
    assert (taken.claim, taken.again, taken.work_id) == (2, True, dead.work_id)
    assert isinstance(await idempotency.begin(db, asked, _WITHIN), Busy)


async def test_a_worker_that_was_taken_over_undoes_what_it_did(db, on, asked):
    late = await _begun(db, asked, _AT_ONCE)
    taken = await _begun(db, asked)

    async def work() -> None:
        async with db.transaction():
            await factories.session(db, on, id=late.work_id)
            await idempotency.finish(db, late, 201, {"by": "the late one"})

    with pytest.raises(TakenOver):
        await work()
    assert await db.fetchval("SELECT count(*) FROM agent_sessions") == 0
    await idempotency.finish(db, taken, 201, {"by": "the taker"})
    with pytest.raises(TakenOver):
        await work()
    assert await idempotency.begin(db, asked, _WITHIN) == Answered(201, {"by": "the taker"})


async def test_what_is_let_go_may_be_taken_at_once_under_the_same_work(db, asked):
    begun = await _begun(db, asked)
    await idempotency.let_go(db, begun)
    taken = await _begun(db, asked)
    assert (taken.claim, taken.work_id) == (2, begun.work_id)
    await idempotency.let_go(db, begun)  # by one who has it no more: nothing
    assert isinstance(await idempotency.begin(db, asked, _WITHIN), Busy)
    await idempotency.finish(db, taken, 201, {})
    await idempotency.let_go(db, taken)
    assert await idempotency.begin(db, asked, _WITHIN) == Answered(201, {})


# ------------------------------------------------------------------ two at once


async def test_of_many_at_once_one_works_and_the_rest_are_told(connect, asked):
    connections = [await connect() for _ in range(8)]
    told = await asyncio.gather(*(idempotency.begin(c, asked, _WITHIN) for c in connections))
    assert sorted(type(one).__name__ for one in told) == ["Begun", *["Busy"] * 7]


async def test_of_many_takers_at_once_one_wins(db, connect, asked):
    await _begun(db, asked, _AT_ONCE)
    connections = [await connect() for _ in range(8)]
    told = await asyncio.gather(*(idempotency.begin(c, asked, _WITHIN) for c in connections))
    assert [one.claim for one in told if isinstance(one, Begun)] == [2]


@pytest.mark.parametrize("ends", ["commit", "rollback"])
async def test_work_in_one_transaction_makes_the_other_wait_for_its_end(db, connect, asked, ends):
    other = await connect()
    transaction = db.transaction()
    await transaction.start()
    begun = await _begun(db, asked)
    async with asyncio.TaskGroup() as tasks:
        second = tasks.create_task(idempotency.begin(other, asked, _WITHIN))
        await locks.blocked(db, other)
        await idempotency.finish(db, begun, 201, {})
        await (transaction.commit() if ends == "commit" else transaction.rollback())
    told = second.result()
    if ends == "commit":
        assert told == Answered(201, {})
    else:  # as if it had never been
        assert isinstance(told, Begun)
        assert (told.claim, told.again) == (1, False)


# ------------------------------------------------------------------ rows and tenants


async def test_a_tenant_does_all_of_it_and_meets_no_other(db, asked):
    theirs = await factories.ground(db)
    other = replace(asked, deployed_agent_id=theirs.agent_id, workspace_id=theirs.workspace_id)
    async with db.transaction():
        await tenancy.as_tenant(db, asked.workspace_id)
        await idempotency.let_go(db, await _begun(db, asked))
        await idempotency.finish(db, await _begun(db, asked), 201, {})
        assert await idempotency.begin(db, asked, _WITHIN) == Answered(201, {})
    async with db.transaction():
        await tenancy.as_tenant(db, asked.workspace_id)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await idempotency.begin(db, other, _WITHIN)


@pytest.mark.parametrize(
    "wrong", ["status = 201", "claimed_until = NULL", "answer = '{}'"], ids=lambda w: w.split()[0]
)
async def test_a_row_is_either_claimed_or_answered(db, asked, wrong):
    await _begun(db, asked)
    with pytest.raises(asyncpg.CheckViolationError):
        await db.execute(f"UPDATE idempotency_keys SET {wrong}")


async def test_old_answers_go_in_batches_and_what_is_worked_on_stays(db, asked):
    for number in range(5):
        begun = await _begun(db, replace(asked, key=f"old {number}"))
        if number < 3:
            await idempotency.finish(db, begun, 201, {})
        elif number == 3:
            await idempotency.let_go(db, begun)
    await db.execute("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'")
    await _begun(db, replace(asked, key="young"))
    assert [await idempotency.cleanup(db, _DAY, 3) for _ in range(3)] == [3, 1, 0]
    rows = await db.fetch("SELECT key FROM idempotency_keys ORDER BY key")
    assert [row["key"] for row in rows] == ["old 4", "young"]
    assert (await _begun(db, replace(asked, key="old 0"))).claim == 1

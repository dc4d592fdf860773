"""One holder at a time, told apart by the epoch; a released session is looked at again if need be."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from store import inputs, leases, sessions, turns
from store.database import Connection
from store.ids import new_id
from store.leases import Held, Lease, LeaseLost
from tests.store import factories
from tests.store.conftest import Connect
from tests.store.factories import LEASE, Ground
from tests.store.locks import blocked, impatient, together

_MESSAGES = ["message", "correction"]


@pytest.fixture
async def session(db, on):
    return await factories.session(db, on)


async def _release(db: Connection, lease: Lease, **how) -> bool:
    async with db.transaction():
        await leases.fence(db, lease)
        return await leases.release(db, lease, **how)


async def _column(db: Connection, session, name: str):
    return await db.fetchval(f"SELECT {name} FROM agent_sessions WHERE id = $1", session["id"])


# ------------------------------------------------------------------ claiming


async def test_of_twenty_claimers_one_wins(connect, db, session):
    claimers = [await connect() for _ in range(20)]
    found = await asyncio.gather(
        *(
            leases.claim(c, factories.ready(session), f"claimer {n}", LEASE)
            for n, c in enumerate(claimers)
        )
    )
    (winner,) = [held for held in found if held]
    assert winner.lease_epoch == 1
    assert await _column(db, session, "lease_owner") == f"claimer {found.index(winner)}"


async def test_of_several_those_are_claimed_that_are_to_be_had_without_a_wait(connect, db, on):
    rows = [await factories.session(db, on) for _ in range(4)]
    free, held, locked, late = rows
    await factories.held(db, held)
    await db.execute(
        "UPDATE agent_sessions SET ready_at = now() + interval '1 hour' WHERE id = $1", late["id"]
    )
    other = await connect()
    async with other.transaction():
        await other.execute("SELECT FROM agent_sessions WHERE id = $1 FOR UPDATE", locked["id"])
        ids = [row["id"] for row in rows]
        (found,) = await leases.claim_some(db, on.agent_id, ids, "several", LEASE)
    assert (found.id, found.lease_epoch, found.barren_claims) == (free["id"], 1, 1)
    assert await leases.ready(db, new_id(), 10) == [factories.ready(locked)]


async def test_a_claim_needs_a_ready_session_whose_lease_is_free_or_over(db, on, session):
    first = await factories.held(db, session)
    assert await leases.claim(db, factories.ready(session), "second", LEASE) is None
    assert await leases.ready(db, new_id(), 10) == []
    await factories.expire(db, session)
    assert await leases.ready(db, new_id(), 10) == [factories.ready(session)]
    second = await factories.held(db, session, "second")
    assert (first.lease_epoch, second.lease_epoch) == (1, 2)
    later = await factories.session(db, on, ready_at=datetime.now(UTC) + timedelta(minutes=1))
    never = await factories.session(db, on, ready_at=None)
    for unready in (later, never):
        assert await leases.claim(db, factories.ready(unready), "eager", LEASE) is None
    assert await leases.ready(db, new_id(), 10) == []


async def test_the_sweep_begins_at_a_random_place_and_goes_round(db, on):
    all_of_them = sorted([(await factories.session(db, on))["id"] for _ in range(5)])
    found = await leases.ready(db, all_of_them[3], 4)
    assert [r.session_id for r in found] == [*all_of_them[3:], *all_of_them[:2]]


async def test_claims_without_progress_are_counted_and_progress_starts_the_count_anew(db, session):
    for n in (1, 2):
        held = await factories.held(db, session)
        assert held.barren_claims == n
        await factories.expire(db, session)
        await db.execute("UPDATE agent_sessions SET ready_at = now()")  # the wait is over too
    held = await factories.held(db, session)
    async with db.transaction():
        await leases.fence_quietly(db, held.lease)
    assert await _column(db, session, "barren_claims") == 3
    await leases.fence(db, held.lease)
    assert await _column(db, session, "barren_claims") == 0


_LOCKING_CLAIM = """
SELECT id FROM agent_sessions WHERE id = $1 FOR UPDATE SKIP LOCKED
"""


async def test_a_claim_does_not_wait_for_an_input_that_is_being_added(connect, db, session):
    adder = await connect()
    async with adder.transaction():
        await factories.message(adder, session)
        # the natural claim passes over the session: the input's foreign key holds FOR KEY SHARE
        assert await db.fetchval(_LOCKING_CLAIM, session["id"]) is None
        held = await factories.held(await impatient(db), session)
        assert await leases.renew(db, held.deployed_agent_id, [held.lease], LEASE) == {held.id}


# ------------------------------------------------------------------ the fence


async def test_a_late_holder_writes_nothing(db, session):
    late = await factories.held(db, session)
    await factories.expire(db, session)
    successor = await factories.held(db, session, "successor")

    async def append(held: Held) -> None:
        async with db.transaction():
            await leases.fence(db, held.lease)
            await factories.turn(db, session)

    for proof in (leases.fence, leases.fence_quietly):
        with pytest.raises(LeaseLost):
            await proof(db, late.lease)
    with pytest.raises(LeaseLost):
        await append(late)
    with pytest.raises(LeaseLost):
        await _release(db, late.lease)
    assert await db.fetchval("SELECT count(*) FROM agent_turns") == 0
    assert await _column(db, session, "lease_owner") == "successor"
    await append(successor)
    assert await db.fetchval("SELECT count(*) FROM agent_turns") == 1


async def test_a_released_lease_is_over_though_its_epoch_is_the_newest(db, session):
    held = await factories.held(db, session)
    await _release(db, held.lease)
    with pytest.raises(LeaseLost):
        await leases.fence(db, held.lease)
    assert await leases.renew(db, held.deployed_agent_id, [held.lease], LEASE) == set()


async def test_while_a_holder_appends_nobody_claims_behind_its_back(connect, db, session):
    appender, claimer = await connect(), await connect()
    held = await factories.held(db, session)
    await factories.expire(db, session)
    async with asyncio.TaskGroup() as tasks:
        async with appender.transaction():
            await leases.fence(appender, held.lease)
            await factories.turn(appender, session)
            claim = tasks.create_task(
                leases.claim(claimer, factories.ready(session), "second", LEASE)
            )
            await blocked(db, claimer)
        successor = await claim
    assert successor
    assert successor.lease_epoch == 2
    assert await turns.live(db, successor.deployed_agent_id, successor.id)


_GUARD = "SELECT FROM agent_sessions WHERE id = $1 AND lease_epoch = $2 FOR SHARE"


async def test_two_appends_of_one_epoch_follow_each_other(connect, db, session):
    first, second = await connect(), await connect()
    held = await factories.held(db, session)
    async with asyncio.TaskGroup() as tasks:
        async with first.transaction():
            await leases.fence(first, held.lease)
            waits = tasks.create_task(leases.fence(second, held.lease))
            await blocked(db, second)
            await sessions.take_positions(first, held.lease, 1)
        await waits


async def test_with_a_guard_that_shares_the_row_they_would_deadlock(connect_patiently, db, session):
    held = await factories.held(db, session)

    async def append(connection: Connection, guarded: asyncio.Barrier) -> int:
        async with connection.transaction():
            await connection.execute(_GUARD, held.id, held.lease_epoch)
            await guarded.wait()
            return await sessions.take_positions(connection, held.lease, 1)

    both = asyncio.Barrier(2)
    done = await together(*[append(await connect_patiently(), both) for _ in range(2)])
    assert [d for d in done if isinstance(d, asyncpg.DeadlockDetectedError)]


# ------------------------------------------------------------------ renewing


async def test_a_renewal_tells_which_leases_are_still_held(db, on, session):
    held = await factories.held(db, session)
    other = await factories.held(db, await factories.session(db, on))
    stale = replace(other.lease, epoch=other.lease_epoch - 1)
    foreign = (await factories.ground(db)).agent_id
    assert await leases.renew(db, on.agent_id, [held.lease, stale], LEASE) == {held.id}
    assert await leases.renew(db, foreign, [held.lease], LEASE) == set()
    await factories.expire(db, session)
    assert await leases.renew(db, on.agent_id, [held.lease], LEASE) == {held.id}
    assert await _column(db, session, "lease_expires_at > now() + interval '10 seconds'")


# ------------------------------------------------------------------ releasing, and two lost wake-ups


@pytest.mark.parametrize(
    ("kind", "state", "again"),
    [
        ("message", None, True),
        ("message", "awaiting_human", False),
        ("correction", "awaiting_human", False),
        ("decision", "awaiting_human", True),
        ("interrupt", "awaiting_human", True),
        (None, "running", True),
        (None, "awaiting_human", False),
        (None, None, False),
    ],
)
async def test_a_released_session_is_ready_if_something_can_be_sent_now(
    db, session, kind, state, again
):
    held = await factories.held(db, session)
    if state:
        await factories.turn(db, session, state=state, looked_at=datetime.now(UTC))
    if kind:
        await factories.message(db, session, kind=kind)
    assert await _release(db, held.lease) is again
    assert (await _column(db, session, "ready_at") is not None) is again
    assert await leases.ready(db, new_id(), 10) == ([factories.ready(session)] if again else [])


async def test_a_release_may_ask_for_a_pause_and_counts_failures(db, session):
    await factories.message(db, session)
    for failures in (1, 2):
        held = await factories.held(db, session)
        assert await _release(db, held.lease, wait=timedelta(minutes=1), failed=True)
        assert await _column(db, session, "failures") == failures
        assert await leases.ready(db, new_id(), 10) == []
        await db.execute("UPDATE agent_sessions SET ready_at = now()")
    held = await factories.held(db, session)
    await _release(db, held.lease)
    assert await _column(db, session, "failures") == 0


async def test_what_arrives_does_not_wait_behind_a_pause(db, on, session):
    await factories.message(db, session)
    held = await factories.held(db, session)
    await _release(db, held.lease, wait=timedelta(minutes=5))
    key = session["slack_conversation_key"]
    await sessions.wake_or_create(db, [on.new_session(key)])
    assert await leases.ready(db, new_id(), 10) == [factories.ready(session)]


# One statement that both waits for the row and looks for inputs.
_NAIVE_RELEASE = """
UPDATE agent_sessions SET lease_owner = NULL, lease_expires_at = NULL,
    ready_at = CASE WHEN EXISTS (SELECT FROM session_inputs
                                 WHERE session_id = $1 AND state = 'queued') THEN now() END
WHERE id = $1 AND lease_epoch = $2
"""
# Trusts the hint: nothing came since the claim, so nothing waits. $3 is the claim's wake_seq
_NAIVE_COMPARISON = """
UPDATE agent_sessions SET lease_owner = NULL, lease_expires_at = NULL,
    ready_at = CASE WHEN wake_seq <> $3 THEN now() END
WHERE id = $1 AND lease_epoch = $2
"""


async def _ours(db: Connection, held: Held) -> None:
    await _release(db, held.lease)


async def _looking_at_once(db: Connection, held: Held) -> None:
    await db.execute(_NAIVE_RELEASE, held.id, held.lease_epoch)


async def _comparing(db: Connection, held: Held) -> None:
    await db.execute(_NAIVE_COMPARISON, held.id, held.lease_epoch, held.wake_seq)


async def _is_stranded(db: Connection) -> bool:
    """True when a message waits and nobody will ever look."""
    waits = await db.fetchval("SELECT count(*) FROM session_inputs WHERE state = 'queued'")
    return waits > 0 and await leases.ready(db, new_id(), 10) == []


@pytest.mark.parametrize(
    ("release", "stranded"), [(_ours, False), (_comparing, False), (_looking_at_once, True)]
)
async def test_a_message_that_commits_while_the_release_waits_is_seen(
    connect: Connect, db: Connection, on: Ground, session, release, stranded
):
    accepting, releasing = await connect(), await connect()
    held = await factories.held(db, session)
    key = session["slack_conversation_key"]
    async with asyncio.TaskGroup() as tasks:
        async with accepting.transaction():
            await sessions.wake_or_create(accepting, [on.new_session(key)])
            await inputs.add(accepting, [on.new_input(held.id)])
            released = tasks.create_task(release(releasing, held))
            await blocked(db, releasing)
        await released
    assert await _is_stranded(db) is stranded


@pytest.mark.parametrize(("release", "stranded"), [(_ours, False), (_comparing, True)])
async def test_a_message_that_was_queued_while_a_human_was_asked_is_seen(
    db: Connection, on: Ground, session, release, stranded
):
    key = session["slack_conversation_key"]
    turn = await factories.turn(db, session, state="awaiting_human", looked_at=datetime.now(UTC))

    async def arrive(**what) -> None:
        async with db.transaction():
            await sessions.wake_or_create(db, [on.new_session(key)])
            await inputs.add(db, [on.new_input(session["id"], **what)])

    await arrive()
    held = await factories.held(db, session)
    await _release(db, held.lease)
    assert await leases.ready(db, new_id(), 10) == []
    await arrive(kind="decision", body={"turn": str(turn["id"])})
    held = await factories.held(db, session)
    async with db.transaction():
        await leases.fence(db, held.lease)
        batch = await inputs.start_sending(db, held.lease, turn["id"], ["decision"], LEASE)
        await inputs.use(db, held.lease, [i.id for i in batch], turn["id"])
        assert await turns.end(db, held.lease, turn["id"], "completed", "end_turn", "")
    await release(db, held)
    assert await _is_stranded(db) is stranded


# ------------------------------------------------------------------ archive, the deaf


async def test_an_archived_session_takes_nothing_and_is_claimed_by_nobody(db, on, session):
    key = session["slack_conversation_key"]
    assert await sessions.request_archive(db, on.agent_id, session["id"])
    assert not await sessions.request_archive(db, on.agent_id, session["id"])
    assert await sessions.wake_or_create(db, [on.new_session(key)]) == {}
    held = await factories.held(db, session)
    assert await sessions.archive_requested(db, held.lease)
    assert await _release(db, held.lease), "the wish waits for a holder"
    held = await factories.held(db, session)
    async with db.transaction():
        await leases.fence(db, held.lease)
        await sessions.archive(db, held.lease)
    assert await _column(db, session, "status") == "archived"
    assert await sessions.wake_or_create(db, [on.new_session(key)]) == {}
    assert not await sessions.request_archive(db, on.agent_id, session["id"])
    assert await leases.ready(db, new_id(), 10) == []


async def test_sessions_that_run_here_but_rest_at_the_runtime_are_woken(db, on):
    quiet = timedelta(seconds=45)
    long_ago = datetime.now(UTC) - timedelta(minutes=1)
    running = {"status": "running", "ready_at": None, "updated_at": long_ago}
    deaf = await factories.session(db, on, **running, anthropic_session_id="deaf")
    await factories.session(db, on, **running, anthropic_session_id="busy")
    await factories.session(db, on, ready_at=None, anthropic_session_id="idle")
    fresh = {"status": "running", "ready_at": None, "anthropic_session_id": "fresh"}
    await factories.session(db, on, **fresh)
    assert await sessions.any_running(db, quiet)
    assert not await sessions.any_running(db, timedelta(hours=1))
    assert await sessions.wake_disagreeing(db, ["busy", "unknown"], quiet) == 1
    assert await leases.ready(db, new_id(), 10) == [factories.ready(deaf)]


async def test_waking_the_deaf_waits_for_no_row(connect, db, on):
    """It would hold some rows while it waits for another, against accepts that do the same."""
    long_ago = datetime.now(UTC) - timedelta(minutes=1)
    running = {"status": "running", "ready_at": None, "updated_at": long_ago}
    for name in ("one", "two"):
        await factories.session(db, on, **running, anthropic_session_id=name)
    accepting = await connect()
    async with accepting.transaction():
        await accepting.execute(
            "UPDATE agent_sessions SET wake_seq = wake_seq + 1 WHERE anthropic_session_id = 'one'"
        )
        woken = sessions.wake_disagreeing(await impatient(db), [], timedelta(seconds=45))
        assert await woken == 1

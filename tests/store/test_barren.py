"""Claims that come to nothing leave a wait behind; progress, and whatever is new, take it away."""

from datetime import timedelta

import pytest

from store import leases, sessions
from store.database import Connection
from store.ids import new_id
from store.leases import Held
from tests.store import factories
from tests.store.factories import LEASE, Ground


@pytest.fixture
async def session(db: Connection, on: Ground):
    return await factories.session(db, on)


async def _dies(db: Connection, session) -> Held:
    """A claim whose holder dies at once; the lease is over."""
    held = await factories.held(db, session)
    await factories.expire(db, session)
    return held


async def _dies_and_waits(db: Connection, session) -> timedelta:
    """As above; how long after the lease's own end the session is to be had again."""
    await factories.held(db, session)
    wait: timedelta = await db.fetchval("SELECT ready_at - lease_expires_at FROM agent_sessions")
    await factories.expire(db, session)
    return wait


async def _time_passes(db: Connection) -> None:
    await db.execute("UPDATE agent_sessions SET ready_at = now()")


async def _is_to_be_had(db: Connection, session) -> bool:
    found = await leases.ready(db, new_id(), 10)
    held = await leases.claim(db, factories.ready(session), "next", LEASE)
    assert bool(found) == (held is not None)
    return held is not None


async def test_after_one_death_the_session_is_taken_over_as_soon_as_the_lease_is_over(db, session):
    await _dies(db, session)
    assert await _is_to_be_had(db, session)


async def test_after_each_further_death_it_waits_twice_as_long_up_to_a_minute(db, session):
    await _dies(db, session)
    for seconds in (1, 2, 4, 8, 16, 32, 64, 64):
        wait = (await _dies_and_waits(db, session)).total_seconds()
        assert seconds * 0.5 <= wait <= seconds * 1.5, seconds
        assert not await _is_to_be_had(db, session)
        await _time_passes(db)


async def test_those_who_died_together_do_not_wait_equally_long(db, on):
    many = [await factories.session(db, on) for _ in range(20)]
    async with db.transaction():  # one time for all
        for _ in range(2):
            for one in many:
                await factories.held(db, one)
                await factories.expire(db, one)
        waits = await db.fetch("SELECT DISTINCT ready_at FROM agent_sessions")
    assert len(waits) >= 18  # of a million microseconds two may be the same


async def test_progress_takes_the_wait_away_and_giving_up_does_not(db, session):
    await _dies(db, session)
    held = await factories.held(db, session)
    await leases.fence_quietly(db, held.lease)
    await factories.expire(db, session)
    assert not await _is_to_be_had(db, session)
    await leases.fence(db, held.lease)
    assert await _is_to_be_had(db, session)


async def test_a_message_or_a_stop_does_not_wait(db, on: Ground, session):
    await _dies(db, session)
    await _dies(db, session)
    assert not await _is_to_be_had(db, session)
    await sessions.wake_or_create(db, [on.new_session(session["slack_conversation_key"])])
    assert await _is_to_be_had(db, session)


async def test_what_is_handed_back_is_ready_when_it_says(db, session):
    await _dies(db, session)
    held = await factories.held(db, session)
    await factories.message(db, session)
    async with db.transaction():
        await leases.fence_quietly(db, held.lease)
        assert await leases.release(db, held.lease)
    assert await _is_to_be_had(db, session)

"""Permits: in no minute more than the tier, whoever takes them, and none after a 429."""

import asyncio
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

import pytest

from store import budgets
from store.database import Connection
from tests.store.conftest import Connect
from tests.store.factories import Ground
from tests.store.locks import blocked

_START = datetime(2026, 9, 1, 12, tzinfo=UTC)
_METHOD = "chat.startStream"
_MINUTE = timedelta(seconds=60)


async def take(  # what is asked of the row, by name
    db: Connection,
    install_id: UUID,
    now: datetime,
    *,
    tier: tuple[int, int] = (20, 8),
    count: int = 1,
    method: str = _METHOD,
) -> bool:
    per_minute, burst = tier
    each = timedelta(seconds=60 / (per_minute - burst))
    return await budgets.take(db, install_id, method, now, each * count, each * burst)


def most_in_a_minute(taken: list[datetime]) -> int:
    """The most that any minute held, its end excluded as Slack's windows slide."""
    return max(sum(start <= t < start + _MINUTE for t in taken) for start in taken)


@pytest.mark.parametrize("tier", [(20, 8), (19, 8), (47, 17), (94, 34)])
async def test_those_who_always_ask_get_no_more_than_the_tier_in_any_minute(db, on, tier):
    taken = []
    for tenth in range(2_000):
        now = _START + timedelta(seconds=tenth / 10)
        if await take(db, on.install_id, now, tier=tier):
            taken.append(now)
    per_minute, burst = tier
    assert most_in_a_minute(taken) <= per_minute
    # and no less than it may have: three minutes and a third at the steady rate
    assert len(taken) >= burst + (per_minute - burst) * 3


async def test_any_pattern_of_asking_stays_within_the_tier(db, on):
    dice, now, taken = Random(7), _START, []
    for _ in range(1_500):
        now += timedelta(seconds=dice.choice([0, 0, 0.05, 0.5, 1, 4, 45]))
        if await take(db, on.install_id, now):
            taken.append(now)
    assert most_in_a_minute(taken) <= 20


async def test_blocks_count_as_that_many(db, on):
    taken = []
    for tenth in range(1_300):
        now = _START + timedelta(seconds=tenth / 10)
        if await take(db, on.install_id, now, tier=(94, 34), count=4):
            taken += [now] * 4
    assert 90 < most_in_a_minute(taken) <= 94


async def test_a_block_that_is_not_to_be_had_whole_leaves_single_permits(db, on):
    for _ in range(6):
        assert await take(db, on.install_id, _START)
    assert not await take(db, on.install_id, _START, count=4)
    assert await take(db, on.install_id, _START)
    assert await take(db, on.install_id, _START)
    assert not await take(db, on.install_id, _START)


async def test_replicas_share_one_row(on: Ground, connect: Connect):
    takers = [await connect() for _ in range(6)]

    async def grab(taker: Connection) -> int:
        return sum([await take(taker, on.install_id, _START) for _ in range(5)])

    got = await asyncio.gather(*(grab(taker) for taker in takers))
    assert sum(got) == 8


async def test_a_taker_that_waited_for_the_row_sees_what_the_other_left(db, on, connect: Connect):
    first, second = await connect(), await connect()
    async with asyncio.TaskGroup() as tasks:
        async with first.transaction():
            for _ in range(8):
                assert await take(first, on.install_id, _START)
            late = tasks.create_task(take(second, on.install_id, _START))
            await blocked(db, second)
        assert not await late


async def test_a_clock_that_trails_gives_nothing_away(db, on):
    for _ in range(8):
        assert await take(db, on.install_id, _START)
    assert not await take(db, on.install_id, _START - timedelta(seconds=30))


async def test_each_install_and_method_has_its_own(db, on):
    for _ in range(8):
        assert await take(db, on.install_id, _START)
    assert await take(db, on.install_id, _START, method="chat.stopStream")
    assert not await take(db, on.install_id, _START)


async def test_after_a_429_nobody_gets_a_permit_before_its_time(db, on):
    each = timedelta(seconds=5)
    assert await take(db, on.install_id, _START)
    allowed = _START + timedelta(seconds=30)
    await budgets.empty(db, on.install_id, _METHOD, allowed + each * 7)
    assert not await take(db, on.install_id, allowed - timedelta(milliseconds=1))
    assert await take(db, on.install_id, allowed)
    assert not await take(db, on.install_id, allowed)


async def test_a_429_for_a_method_without_a_row_counts_too_and_never_shortens_a_wait(db, on):
    until = _START + timedelta(seconds=90)
    await budgets.empty(db, on.install_id, _METHOD, until)
    await budgets.empty(db, on.install_id, _METHOD, _START)
    assert await db.fetchval("SELECT spent_until FROM slack_budgets") == until

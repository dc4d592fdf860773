"""Permits for the runtime: never more than a key may have, the most urgent first, for all replicas."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta
from functools import partial
from random import Random

import asyncpg
import pytest

from router.runtime import budget
from router.runtime.budget import Budget, Limit, Need
from store import budgets, database
from store.budgets import Taken
from store.database import Connection, Pool
from tests.store.conftest import Connect
from tests.store.locks import blocked
from tests.support import eventually

_KEY = b"key"
Moment = tuple[float, float]
_EACH = timedelta(seconds=0.5)
_LONG = timedelta(hours=1)  # no test takes long enough for another permit
_LIMIT = Limit(per_minute=140, burst=20)
_ONE_A_MINUTE = Limit(per_minute=21, burst=20)


async def take(
    db: Connection, wanted: int = 1, *, ahead: int = 20, each: timedelta = _LONG
) -> Taken:
    return await budgets.take_some(db, _KEY, "read", wanted, each, each * ahead)


class Minutes:
    """Time that passes as fast as the test wants: the row is moved back instead."""

    def __init__(self, db: Connection) -> None:
        self._db, self._moved = db, 0.0

    def now(self) -> float:
        return time.monotonic() + self._moved

    async def given(self, taking: Awaitable[Taken]) -> list[Moment]:
        """When each of the permits was taken: not before the first time, nor after the second."""
        asked = self.now()
        some = await taking
        return [(asked, self.now())] * some.count

    async def pass_by(self, seconds: float) -> None:
        self._moved += seconds
        await self._db.execute(
            "UPDATE runtime_budgets SET spent_until = spent_until - $1::interval",
            timedelta(seconds=seconds),
        )


def most_in_a_minute(taken: list[Moment]) -> int:
    """Of those in order; only those that surely were in one minute, however long each took."""
    return max(
        sum(ended < begun + 60 for _, ended in taken[n:]) for n, (begun, _) in enumerate(taken)
    )


# ------------------------------------------------------------------ the row


@pytest.mark.parametrize("kind", ["read", "create"])
async def test_those_who_always_ask_get_all_that_there_is_and_no_more(db, kind):
    limit, minutes, taken = budget._LIMITS[kind], Minutes(db), list[Moment]()
    for _ in range(150):
        taken += await minutes.given(take(db, 60, ahead=limit.burst, each=limit.each))
        await minutes.pass_by(1)
    allowed = {"read": 1200, "create": 300}[kind]
    assert most_in_a_minute(taken) <= allowed
    assert len(taken) >= 2.4 * 0.85 * allowed


async def test_any_pattern_of_asking_stays_within_the_limit(db):
    dice, minutes, taken = Random(7), Minutes(db), list[Moment]()
    for _ in range(600):
        await minutes.pass_by(dice.choice([0, 0.05, 0.5, 1, 4, 45]))
        wanted, ahead = dice.choice([1, 2, 7, 30]), dice.choice([6, 12, 20])
        taken += await minutes.given(take(db, wanted, ahead=ahead, each=_EACH))
    assert most_in_a_minute(taken) <= _LIMIT.per_minute


async def test_as_many_are_given_as_there_are_and_the_wait_for_the_next_is_said(db):
    assert await take(db, 12) == Taken(12, 0)
    some = await take(db, 12)
    assert some.count == 8
    assert 0 < some.wait <= _LONG.total_seconds()
    assert (await take(db)).count == 0
    await Minutes(db).pass_by(some.wait + 0.001)
    assert (await take(db, 3)).count >= 1


async def test_who_may_go_less_far_ahead_leaves_the_rest_to_others(db):
    assert (await take(db, 50, ahead=12)).count == 12
    refused = await take(db, ahead=12)
    assert refused.count == 0
    assert 0 < refused.wait <= _LONG.total_seconds()
    assert (await take(db, 50, ahead=20)).count == 8


async def test_replicas_share_one_row(db: Connection, connect: Connect):
    assert (await take(db, 1)).count == 1
    takers = [await connect() for _ in range(6)]
    got = await asyncio.gather(*(take(taker, 5) for taker in takers))
    assert sum(some.count for some in got) == 19


async def test_replicas_that_come_first_at_once_share_one_row(connect: Connect):
    takers = [await connect() for _ in range(6)]
    got = await asyncio.gather(*(take(taker, 5) for taker in takers))
    assert sum(some.count for some in got) == 20


async def test_a_taker_that_waited_for_the_row_sees_what_the_other_left(db, connect: Connect):
    first, second = await connect(), await connect()
    await take(db, 1)
    async with asyncio.TaskGroup() as tasks:
        async with first.transaction():
            assert (await take(first, 15)).count == 15
            late = tasks.create_task(take(second, 15))
            await blocked(db, second)
        assert (await late).count == 4


async def test_each_key_and_kind_has_its_own(db):
    assert (await take(db, 20)).count == 20
    one = _LONG, _LONG * 20
    assert (await budgets.take_some(db, _KEY, "create", 1, *one)).count == 1
    assert (await budgets.take_some(db, b"other", "read", 1, *one)).count == 1
    with pytest.raises(asyncpg.CheckViolationError):
        await budgets.take_some(db, _KEY, "other", 1, *one)  # type: ignore[arg-type]  # on purpose


async def test_what_was_asked_to_wait_never_waits_less(db):
    await budgets.empty_for(db, _KEY, "read", timedelta(seconds=90))
    before = await db.fetchval("SELECT spent_until FROM runtime_budgets")
    await budgets.empty_for(db, _KEY, "read", timedelta(seconds=5))
    assert await db.fetchval("SELECT spent_until FROM runtime_budgets") == before
    assert (await take(db, each=_EACH)).count == 0


# ------------------------------------------------------------------ the line


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    made = await database.open_pool(dsn, size=4)
    yield made
    await database.close_pool(made)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> Limit:
    """Twenty at once, then one each half second."""
    monkeypatch.setitem(budget._LIMITS, "read", _LIMIT)
    return _LIMIT


def replica(pool: Pool, api_key: str = "sk-secret") -> Budget:
    return Budget(pool, api_key=api_key, base_url="http://runtime")


async def spend(db: Connection, here: Budget, ahead: float) -> None:
    """Leaves permits for nobody who may go less than that many ahead."""
    await here.take("read", Need.DOUBT)
    await db.execute(
        "UPDATE runtime_budgets SET spent_until = clock_timestamp() + $1::interval", _EACH * ahead
    )


async def in_line(here: Budget, count: int) -> None:
    """Returns when that many wait."""
    line = here._lines["read"]
    await eventually(lambda: sum(map(len, line._waiting.values())) == count)


async def test_a_permit_that_is_there_is_given_at_once(pool, monkeypatch):
    monkeypatch.setitem(budget._LIMITS, "read", _ONE_A_MINUTE)
    here = replica(pool)
    async with asyncio.timeout(30):
        await asyncio.gather(*(here.take("read", Need.DOUBT) for _ in range(_ONE_A_MINUTE.burst)))


@pytest.mark.usefixtures("few")
async def test_the_most_urgent_comes_first_and_among_them_who_came_first(db, pool):
    here, served = replica(pool), list[str]()
    await spend(db, here, 60)

    async def one(need: Need, name: str) -> None:
        await here.take("read", need)
        served.append(name)

    wanted = [(Need.VIEW, "v1"), (Need.LIVE, "l1"), (Need.RECOVERY, "r1"), (Need.VIEW, "v2")]
    wanted += [(Need.RECOVERY, "r2"), (Need.DOUBT, "d1"), (Need.LIVE, "l2")]
    async with asyncio.TaskGroup() as tasks:
        for n, (need, name) in enumerate(wanted, start=1):
            tasks.create_task(one(need, name))
            await in_line(here, n)
        await Minutes(db).pass_by(40)
    assert served == ["d1", "r1", "r2", "l1", "l2", "v1", "v2"]


async def test_the_less_urgent_leave_some_for_the_more_urgent_of_every_replica(pool, monkeypatch):
    monkeypatch.setitem(budget._LIMITS, "read", _ONE_A_MINUTE)
    first, second = replica(pool), replica(pool)
    line = first._lines["read"]
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        waiting = []
        for need, had in ((Need.VIEW, 6), (Need.LIVE, 6), (Need.RECOVERY, 6)):
            for _ in range(had):
                await second.take("read", need)
            waiting.append(tasks.create_task(first.take("read", need)))
            await eventually(partial(is_resting_for, line, need))
        for _ in range(2):
            await second.take("read", Need.DOUBT)
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()


def is_resting_for(line: budget._Line, need: Need) -> bool:
    return line._resting_for is need


async def test_an_urgent_one_is_not_kept_by_the_rest_of_who_came_before(db, pool, monkeypatch):
    monkeypatch.setitem(budget._LIMITS, "read", _LIMIT)
    monkeypatch.setattr(budget, "_MOST_REST_SECONDS", 3600.0)
    here = replica(pool)
    await here.take("read", Need.LIVE)
    ahead = timedelta(seconds=3600)
    await budgets.empty_for(db, here._key_hash, "read", ahead)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(here.take("read", Need.LIVE))
        await eventually(lambda: here._lines["read"]._resting_for is Need.LIVE)
        await db.execute("UPDATE runtime_budgets SET spent_until = now()")
        async with asyncio.timeout(30):
            await here.take("read", Need.RECOVERY)
            await waiting


@pytest.mark.usefixtures("few")
async def test_who_leaves_the_line_holds_nobody_up(db, pool):
    here = replica(pool)
    await spend(db, here, 60)
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(here.take("read", Need.LIVE)) for _ in range(5)]
        await in_line(here, 5)
        for gone in waiting[:4]:
            gone.cancel()
        await in_line(here, 1)
        await Minutes(db).pass_by(40)
        async with asyncio.timeout(30):
            await waiting[4]
    await in_line(here, 0)


@pytest.mark.usefixtures("few")
async def test_without_a_database_its_error_is_what_the_caller_gets(dsn: str):
    gone = await database.open_pool(
        dsn.replace(dsn.rpartition("/")[2].split("?")[0], "gone"), size=2
    )
    here = replica(gone)
    failed = await asyncio.gather(
        *(here.take("read", Need.LIVE) for _ in range(10)), return_exceptions=True
    )
    assert [type(error) for error in failed] == [asyncpg.InvalidCatalogNameError] * 10
    await in_line(here, 0)
    await database.close_pool(gone)


@pytest.mark.usefixtures("few")
async def test_one_error_of_the_database_is_one_callers(db, pool, connect: Connect):
    """A statement is ended that waits for the row; who asked is told, the others go on."""
    here, other = replica(pool), await connect()
    await here.take("read", Need.LIVE)
    async with asyncio.TaskGroup() as tasks, other.transaction():
        await other.execute("SELECT FROM runtime_budgets FOR UPDATE")
        first = tasks.create_task(outcome(here))
        await in_line(here, 1)
        others = [tasks.create_task(outcome(here)) for _ in range(3)]
        await in_line(here, 4)
        await eventually(lambda: db.fetchval(_CANCEL, other.get_server_pid()))
        failed = await first
    assert isinstance(failed, asyncpg.QueryCanceledError)
    assert [task.result() for task in others] == [None] * 3


# $1 whom it waits for
_CANCEL = """
SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid))
"""


async def outcome(here: Budget) -> BaseException | None:
    (found,) = await asyncio.gather(here.take("read", Need.LIVE), return_exceptions=True)
    return found


@pytest.mark.usefixtures("few")
async def test_after_a_429_no_replica_gets_a_permit_before_its_time(db, pool):
    first, second, minutes = replica(pool), replica(pool), Minutes(db)
    await first.take("read", Need.LIVE)
    await first.empty("read", 300)
    await minutes.pass_by(200)
    line = second._lines["read"]
    async with asyncio.TaskGroup() as tasks:
        for need in Need:
            waits = tasks.create_task(second.take("read", need))
            await eventually(partial(is_resting_for, line, need))
            assert not waits.done(), "a permit before its time"
            waits.cancel()
            await asyncio.wait([waits])
    await second.take("create", Need.LIVE)
    await minutes.pass_by(100)
    async with asyncio.timeout(30):
        await second.take("read", Need.DOUBT)


async def test_the_key_is_not_to_be_found_in_the_database(db, pool):
    await replica(pool, "sk-ant-one").take("read", Need.LIVE)
    await replica(pool, "sk-ant-two").take("read", Need.LIVE)
    await replica(pool, "sk-ant-two").take("read", Need.LIVE)
    rows = await db.fetch("SELECT key_hash FROM runtime_budgets")
    assert len(rows) == 2
    assert all(b"sk-ant" not in row["key_hash"] and len(row["key_hash"]) == 32 for row in rows)

"""Who is given the permits that there are: deliveries first, then who has waited longest."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import pytest

from bot import budget
from bot.budget import Budgets, Tier
from router import clock
from store import database
from store.ids import new_id
from tests.store import factories

UPDATE, APPEND = "chat.update", "chat.appendStream"
_EACH = 10.0


@pytest.fixture
async def install(dsn: str) -> AsyncIterator[UUID]:
    connection = await database.connect(dsn)
    yield (await factories.ground(connection)).install_id
    await connection.close()


@pytest.fixture
async def budgets(dsn: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Budgets]:
    """Four permits at once of each kind, and none after that while a test runs.

    However busy the machine is: nobody takes so long that they pass for having given up.
    """
    monkeypatch.setattr(budget, "_KEPT_SECONDS", 600.0)
    monkeypatch.setattr(budget, "_COMES_BACK_SECONDS", 600.0)
    for method in (UPDATE, APPEND):
        block = 4 if method == APPEND else 1
        monkeypatch.setitem(budget._TIERS, method, Tier(10, 4, block))
    pool = await database.open_pool(dsn, size=4)
    yield Budgets(pool)
    await pool.close()


@pytest.fixture
async def come(dsn: str) -> AsyncIterator[Callable[[str, int], Awaitable[None]]]:
    """There are so many permits now, as time would bring them."""
    connection = await database.connect(dsn)

    async def made(method: str, count: int) -> None:
        spent = clock.now() + timedelta(seconds=_EACH * (4 - count) - 1)
        await connection.execute(
            "UPDATE slack_budgets SET spent_until = $1 WHERE method = $2", spent, method
        )

    yield made
    await connection.close()


class Asker:
    """A task that asks whenever it is told to: a stream, or a post that is edited."""

    def __init__(self, ask: Callable[[], Awaitable[bool]]) -> None:
        self._ask = ask
        self._orders: asyncio.Queue[asyncio.Future[bool]] = asyncio.Queue()

    async def run(self) -> None:
        while True:
            order = await self._orders.get()
            order.set_result(await self._ask())

    async def asks(self) -> bool:
        order: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        await self._orders.put(order)
        return await order


@pytest.fixture
async def asker() -> AsyncIterator[Callable[[Callable[[], Awaitable[bool]]], Asker]]:
    tasks: list[asyncio.Task[None]] = []
    async with asyncio.TaskGroup() as group:

        def made(ask: Callable[[], Awaitable[bool]]) -> Asker:
            one = Asker(ask)
            tasks.append(group.create_task(one.run()))
            return one

        yield made
        for task in tasks:
            task.cancel()


async def test_who_has_waited_longest_is_next(budgets: Budgets, install: UUID, come, asker):
    streams = [asker(lambda: budgets.take(install, APPEND)) for _ in range(3)]
    assert [await budgets.take(install, APPEND) for _ in range(4)] == [True] * 4
    assert [await one.asks() for one in streams] == [False] * 3
    await come(APPEND, 2)
    newcomer = asker(lambda: budgets.take(install, APPEND))
    assert not await newcomer.asks()
    # one for each of the first two, whoever of them comes first
    assert [await one.asks() for one in reversed(streams)] == [False, True, True]


async def test_who_has_given_up_holds_nobody_back(
    budgets: Budgets, install: UUID, come, asker, monkeypatch: pytest.MonkeyPatch
):
    first, second = (asker(lambda: budgets.take(install, APPEND)) for _ in range(2))
    for _ in range(4):
        assert await second.asks()
    assert not await first.asks()
    assert not await second.asks()
    await come(APPEND, 1)
    assert not await second.asks()
    monkeypatch.setattr(budget, "_COMES_BACK_SECONDS", 0.0)
    assert await second.asks()


async def test_a_delivery_goes_before_an_edit_that_waited_longer(
    budgets: Budgets, install: UUID, come, asker
):
    edit, answers = asker(lambda: budgets.take_spare(install, UPDATE)), [new_id(), new_id()]
    for _ in range(4):
        assert await budgets.take(install, UPDATE, delivery=new_id())
    assert not await edit.asks()
    for answer in answers:
        assert not await budgets.take(install, UPDATE, delivery=answer)
    await come(UPDATE, 4)  # of which an edit may have two
    assert not await edit.asks()
    assert await budgets.take(install, UPDATE, delivery=answers[1])
    assert await budgets.take(install, UPDATE, delivery=answers[0])
    await come(UPDATE, 4)
    assert await edit.asks()


async def test_edits_leave_what_will_finish_the_messages_that_grow(
    budgets: Budgets, install: UUID, asker
):
    edit = asker(lambda: budgets.take_spare(install, UPDATE))
    with budgets.growing(install), budgets.growing(install), budgets.growing(install):
        assert [await edit.asks() for _ in range(2)] == [True, False]
        assert [await budgets.take(install, UPDATE, delivery=new_id()) for _ in range(3)] == (
            [True] * 3
        )

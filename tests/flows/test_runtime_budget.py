"""Replicas share what the runtime allows their key: nothing fails for it, and no Stop waits for it."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bot.app import App
from bot.local.model import Message
from router import clock
from router.runtime import budget, client, feed
from router.runtime.budget import Limit
from router.runtime.client import Event, Runtime
from router.runtime.feed import Item, Source, follow
from router.runtime.local import LocalRuntime, gateway
from store import database
from store.budgets import Kind
from store.database import Pool
from tests.harness import TIMING, World, world
from tests.support import eventually

# Three processes in one share its processor: leases as long as in earnest.
_PATIENT = replace(TIMING, lease=15.0, quiet=30.0)
_WORKER = frozenset({"worker", "delivery"})
_TURNS = 60
_WINDOW_SECONDS, _READS = 6.0, 100
# In a window: the burst and 78 more. The rest is for requests that come later than their permits.
_FEW_READS = Limit(per_minute=790, burst=10)
_NO_READS = """
INSERT INTO runtime_budgets SELECT key_hash, 'read', now() + interval '1 hour' FROM runtime_budgets
WHERE kind = 'create'
ON CONFLICT (key_hash, kind) DO UPDATE SET spent_until = excluded.spent_until
"""


@pytest.fixture
async def paced(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    """A world whose runtime enforces its limit of reads, in a minute of six seconds."""
    monkeypatch.setattr(gateway, "_MINUTE", _WINDOW_SECONDS)
    monkeypatch.setattr(gateway, "_READS_A_MINUTE", _READS)
    monkeypatch.setitem(budget._LIMITS, "read", _FEW_READS)
    monkeypatch.setitem(budget._LIMITS, "create", Limit(per_minute=6000, burst=100))
    data = tmp_path / "runtime.sqlite"
    async with world(dsn, runtime_data=data) as here:
        await here.runtime.__aexit__(None, None, None)
        here.runtime = await LocalRuntime(data=data, limits=True).__aenter__()
        yield here


async def ask(here: World, text: str) -> Message:
    return await here.slack.say("ada", here.slack.dm("ada"), text)


async def leased(here: World) -> int:
    row = await here.row("SELECT count(*) FROM agent_sessions WHERE lease_owner IS NOT NULL")
    return int(row["count"])


@pytest.mark.long
async def test_turns_of_a_lost_replica_are_attached_again_as_fast_as_the_budget_allows(
    paced: World,
):
    here = paced
    here.runtime.hold()
    async with AsyncExitStack() as stack, AsyncExitStack() as first:
        for _ in range(2):
            await stack.enter_async_context(here.app(roles=_WORKER, timing=_PATIENT))
        await first.enter_async_context(here.app(timing=_PATIENT))
        asked = [await ask(here, f"message {n}") for n in range(_TURNS)]
        await eventually(lambda: len(here.runtime.held()) == _TURNS, 40)
        ours = here.apps[-1].worker.live_turns
        assert ours > 0
        lists = here.runtime.requests("events.list")

        lost_at = time.monotonic()
        await first.aclose()
        await eventually(lambda: here.runtime.requests("events.list") - lists >= ours, 40)
        await eventually(lambda: here.runtime.streams() == _TURNS, 40)
        took = time.monotonic() - lost_at

        assert await leased(here) == _TURNS
        at_best = (2 * ours - _FEW_READS.burst) * _FEW_READS.each.total_seconds()
        assert at_best * 0.9 < took < at_best * 1.5 + 5
        here.runtime.release()
        await here.at_rest(40)
    assert here.runtime.limited() == 0
    for n, one in enumerate(asked):
        assert here.bot_posts(one.channel, one.ts) == [f'You said: "message {n}"']
    assert {turn["state"] for turn in await here.turns()} == {"completed"}


@dataclass
class Takers:
    """Why permits are asked for, from now on."""

    waiting: list[budget.Need] = field(default_factory=list)
    taken: list[budget.Need] = field(default_factory=list)


def takers(monkeypatch: pytest.MonkeyPatch) -> Takers:
    seen = Takers()
    take = budget.Budget.take

    async def noted(self: budget.Budget, kind: Kind, need: budget.Need) -> None:
        seen.waiting.append(need)
        await take(self, kind, need)
        seen.waiting.remove(need)
        seen.taken.append(need)

    monkeypatch.setattr(budget.Budget, "take", noted)
    return seen


async def interrupted(here: World, asked: Message) -> None:
    """A Stop is said, and reaches the runtime although nothing can be read there."""
    reads = here.runtime.requests("events.list") + here.runtime.requests("events.stream")
    await here.slack.say("ada", asked.channel, "stop", thread_ts=asked.ts)
    (session,) = here.runtime.sessions()
    await eventually(
        lambda: [e["type"] for e in here.runtime.received(session["id"])][1:] == ["user.interrupt"]
    )
    assert here.runtime.requests("events.list") + here.runtime.requests("events.stream") == reads


async def test_a_stop_does_not_wait_behind_an_attach(here: World, monkeypatch):
    here.runtime.hold()
    async with here.app():
        asked = await ask(here, "hello")
        await eventually(here.runtime.held)
    await here.connection.execute(_NO_READS)
    seen = takers(monkeypatch)
    async with here.app():
        await eventually(lambda: seen.waiting == [budget.Need.RECOVERY])
        await interrupted(here, asked)


async def test_a_stop_does_not_wait_behind_a_listing_after_a_silence(here: World, monkeypatch):
    seen = takers(monkeypatch)
    here.runtime.hold()
    async with here.app(timing=replace(TIMING, disagree=600.0)):
        asked = await ask(here, "hello")
        await eventually(here.runtime.held)
        await here.connection.execute(_NO_READS)
        await eventually(lambda: seen.waiting == [budget.Need.LIVE])
        await interrupted(here, asked)


async def test_what_was_refused_for_its_rate_is_spent_for_every_replica(here: World):
    here.runtime.fault("rate_limit", route="events.stream", retry_after=2)
    async with here.app():
        before = await here.connection.fetchval("SELECT now()")
        asked = await ask(here, "hello")
        found = await eventually(lambda: spent(here, before))
        assert found is not None
        until, now = found
        assert before + timedelta(seconds=2) <= until <= now + timedelta(seconds=2.1)
        assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "hello"']
    (turn,) = await here.turns()
    assert turn["state"] == "completed"
    assert here.runtime.requests("events.stream") == 2


async def spent(here: World, before: datetime) -> tuple[datetime, datetime] | None:
    """Until when nobody may read, and the time it is; None while that is as it was before."""
    burst = budget._LIMITS["read"].each * (budget._LIMITS["read"].burst - 1)
    rows = await here.rows(
        "SELECT spent_until - $1::interval AS until, now() AS now FROM runtime_budgets"
        " WHERE kind = 'read' AND spent_until - $1::interval > $2::timestamptz + interval '1 s'",
        burst,
        before,
    )
    return (rows[0]["until"], rows[0]["now"]) if rows else None


# ------------------------------------------------------------------ a long line


_MAY_READ = "UPDATE runtime_budgets SET spent_until = now() WHERE kind = 'read'"
_CROWD = 25


async def begun(here: World) -> Message:
    """A first turn, so that there is a budget to spend; then nothing can be read any more."""
    async with here.app():
        asked = await ask(here, "hello")
        await here.answers(asked.channel, asked.ts, 1)
    await here.connection.execute(_NO_READS)
    return asked


async def crowd(here: World, app: App) -> None:
    """So many people speak, each in a thread of their own, that the line for reads is long."""
    for n in range(_CROWD):
        await ask(here, f"message {n}")
    await eventually(lambda: app.worker._engine.runtime.room("read") == 0)


async def looked_at(here: World, ts: str) -> dict[str, Any] | None:
    """The session once it was claimed and given back."""
    rows = await here.rows("SELECT * FROM agent_sessions WHERE slack_thread_ts = $1", ts)
    return next((dict(r) for r in rows if r["lease_epoch"] and r["lease_owner"] is None), None)


async def test_no_lease_waits_where_too_many_wait_already(here: World):
    await begun(here)
    async with here.app() as app:
        await crowd(here, app)
        for n in range(_CROWD):
            late = await ask(here, f"late {n}")
            session = await eventually(partial(looked_at, here, late.ts))
            # given back and not lost, so that it never passes for poison
            assert session["barren_claims"] == 0
        await here.connection.execute(_MAY_READ)
        await eventually(lambda: completed(here), 40)


async def completed(here: World) -> bool:
    states = [turn["state"] for turn in await here.turns()]
    return states == ["completed"] * (2 * _CROWD + 1)


async def test_who_was_sent_away_from_a_long_line_sees_that_there_is_work(here: World, monkeypatch):
    async with here.app():
        with monkeypatch.context() as patch:
            patch.setattr(budget, "_LONG_LINE", 0)
            asked = await ask(here, "hello")
            await eventually(
                lambda: here.slack.shown_status(asked.channel, asked.ts) == "processing"
            )
            assert not here.runtime.sessions()
        assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "hello"']
        await eventually(lambda: here.slack.shown_status(asked.channel, asked.ts) == "active")


async def test_a_stop_goes_past_a_long_line(here: World, monkeypatch):
    """Also where nobody holds the turn: it is claimed, and what it reads has permits of its own."""
    await begun(here)
    here.runtime.hold()
    await here.connection.execute(_MAY_READ)
    async with here.app():
        asked = await ask(here, "a long answer")
        await eventually(here.runtime.held)
    await here.connection.execute(_NO_READS)
    await here.connection.execute("UPDATE agent_sessions SET ready_at = now() + interval '1 hour'")
    async with here.app() as app:
        await crowd(here, app)
        monkeypatch.setitem(budget._SHARES, budget.Need.RECOVERY, 2000.0)
        await here.slack.say("ada", asked.channel, "stop", thread_ts=asked.ts)
        await eventually(lambda: "user.interrupt" in told(here))


def told(here: World) -> list[str]:
    ids = [session["id"] for session in here.runtime.sessions()]
    return [event["type"] for one in ids for event in here.runtime.received(one)]


# ------------------------------------------------------------------ what is read


_DEADLINE_SECONDS = 10.0  # no listing takes so long by itself


class Ahead:
    """A clock that is ahead of ours."""

    seconds = 0.0
    sleep = staticmethod(clock.sleep)

    def monotonic(self) -> float:
        return clock.monotonic() + self.seconds


@dataclass
class Feeds:
    """Sessions of the runtime, followed at once, and what each reader got."""

    here: World
    tasks: asyncio.TaskGroup
    runtime: Runtime
    settle: float = 0.3

    async def follow(self, *, in_flight: bool) -> list[str]:
        row = await self.here.row("SELECT * FROM deployed_agents")
        session_id = await self.runtime.create_session(
            agent_id=row["anthropic_agent_id"],
            environment_id=row["anthropic_environment_id"],
            title="",
            metadata={},
        )
        inbox: asyncio.Queue[Item] = asyncio.Queue()
        source = Source(session_id, None, in_flight)
        options = {"settle": self.settle, "quiet": 600.0}
        self.tasks.create_task(follow(self.runtime, source, inbox, self.tasks, **options))
        got: list[str] = []
        self.tasks.create_task(_note(inbox, got))
        return got


async def _note(inbox: asyncio.Queue[Item], got: list[str]) -> None:
    while True:
        got.append(type(await inbox.get()).__name__)


def second_look(got: list[str]) -> bool:
    return got == ["Attached", "Listed"]


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    made = await database.open_pool(dsn, size=2)
    yield made
    await database.close_pool(made)


@asynccontextmanager
async def feeds(here: World, paced_by: Pool) -> AsyncIterator[Feeds]:
    url = here.runtime.url
    runtime = Runtime(
        api_key="local",
        base_url=url,
        max_streams=10,
        deadline=_DEADLINE_SECONDS,
        budget=budget.Budget(paced_by, api_key="local", base_url=url),
    )
    async with asyncio.TaskGroup() as tasks:
        yield Feeds(here, tasks, runtime)
        for task in tasks._tasks:
            task.cancel()
    await runtime.close()


async def test_only_a_turn_in_flight_needs_a_second_look_at_what_the_history_was_late_to_show(
    here: World, pool: Pool
):
    async with feeds(here, pool) as several:
        begins = await several.follow(in_flight=False)
        await eventually(lambda: begins)
        for _ in range(2):
            taken_over = await several.follow(in_flight=True)
            await eventually(partial(second_look, taken_over))
        assert begins == ["Attached"]


async def test_a_listing_that_had_to_wait_for_its_permit_needs_no_second_look(
    here: World, pool: Pool, monkeypatch: pytest.MonkeyPatch
):
    may_list, ahead = asyncio.Event(), Ahead()
    history = Runtime.history
    monkeypatch.setattr(feed, "clock", ahead)

    async def late(self: Runtime, *args: Any) -> list[Event]:
        await may_list.wait()
        ahead.seconds += 2 * _DEADLINE_SECONDS
        return await history(self, *args)

    async with feeds(here, pool) as several:
        with monkeypatch.context() as patch:
            patch.setattr(Runtime, "history", late)
            waited = await several.follow(in_flight=True)
            await eventually(lambda: here.runtime.streams() == 1)
        may_list.set()
        await eventually(lambda: waited == ["Attached"])
        other = await several.follow(in_flight=True)
        await eventually(partial(second_look, other))
        assert waited == ["Attached"]


async def test_each_page_of_a_list_has_a_permit_of_its_own(
    here: World, pool: Pool, monkeypatch: pytest.MonkeyPatch
):
    async with here.app():
        asked = await ask(here, "hello")
        await here.answers(asked.channel, asked.ts, 1)
    (session,) = here.runtime.sessions()
    async with feeds(here, pool) as several:
        whole = await several.runtime.history(budget.Need.VIEW, session["id"], None)
        monkeypatch.setattr(client, "_PAGE", 2)
        before = here.runtime.requests("events.list")
        seen = takers(monkeypatch)
        in_pages = await several.runtime.history(budget.Need.VIEW, session["id"], None)
    assert in_pages == whole
    pages = here.runtime.requests("events.list") - before
    assert pages == len(seen.taken) == (len(whole) + 1) // 2

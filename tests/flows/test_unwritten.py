"""What became of a delivery is written down though the database was lost in the middle of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from bot import delivery
from bot.local.model import Message
from store import budgets, outbox
from tests.flows.streams import LIST, POST, ask, calls
from tests.harness import World
from tests.store.lines import Line, line_to
from tests.support import eventually


@pytest.fixture(autouse=True)
def _no_time_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waited for an attempt's time to be over would wait longer than a test does."""
    monkeypatch.setattr(delivery, "_ATTEMPT", timedelta(minutes=10))


@pytest.fixture
async def line(here: World) -> AsyncIterator[Line]:
    """What leads the app to the database."""
    async with line_to(here.dsn) as made:
        here.dsn = made.dsn
        yield made


def cut_at(
    monkeypatch: pytest.MonkeyPatch, line: Line, statement: str, of: Any = outbox, times: int = 3
) -> list[int]:
    """Each connection is lost at the first calls of that statement; grows with them."""
    real: Callable[..., Awaitable[Any]] = getattr(of, statement)
    cuts: list[int] = []

    async def called(*given: Any, **named: Any) -> Any:
        if len(cuts) < times:
            cuts.append(len(cuts))
            line.cut()
        return await real(*given, **named)

    monkeypatch.setattr(of, statement, called)
    return cuts


async def answered_soon(here: World, asked: Message, cuts: list[int]) -> None:
    await eventually(lambda: len(cuts) == 3)
    await eventually(lambda: is_sent(here))
    assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "hello"']
    row = await here.row("SELECT attempts, unclear FROM slack_outbox WHERE lane = 'reply'")
    assert not row["unclear"]


async def is_sent(here: World) -> bool:
    return bool(await here.rows("SELECT FROM slack_outbox WHERE lane = 'reply' AND state = 'sent'"))


async def test_a_post_is_marked_by_who_made_it(
    here: World, line: Line, monkeypatch: pytest.MonkeyPatch
):
    cuts = cut_at(monkeypatch, line, "mark_sent")
    async with here.app():
        asked = await ask(here, "hello")
        await answered_soon(here, asked, cuts)
        again = await here.slack.say("ada", asked.channel, "again", thread_ts=asked.ts)
        await here.answers(again.channel, asked.ts, 2)
    assert (calls(here)[POST], calls(here)[LIST]) == (2, 0)
    assert {r["attempts"] for r in await here.rows("SELECT attempts FROM slack_outbox")} == {1}


async def test_a_post_that_slack_put_off_is_given_back(
    here: World, line: Line, monkeypatch: pytest.MonkeyPatch
):
    cuts = cut_at(monkeypatch, line, "retry")
    here.slack.fault("ratelimit", method=POST, retry_after=1)
    async with here.app():
        await answered_soon(here, await ask(here, "hello"), cuts)
    assert (calls(here)[POST], calls(here)[LIST]) == (2, 0)


async def test_a_post_that_can_never_succeed_is_buried(
    here: World, line: Line, monkeypatch: pytest.MonkeyPatch
):
    cuts = cut_at(monkeypatch, line, "bury")
    here.slack.fault("api_error", method=POST, error="is_archived")
    async with here.app():
        await ask(here, "hello")
        await eventually(lambda: len(cuts) == 3)
        await here.at_rest()
    assert (await here.row("SELECT state FROM slack_outbox"))["state"] == "dead"


async def test_an_attempt_that_loses_the_database_before_its_post_is_made_again_without_a_look(
    here: World, line: Line, monkeypatch: pytest.MonkeyPatch
):
    """Nothing was asked of Slack, so nothing is unclear."""
    async with here.app():
        here.runtime.hold()
        asked = await ask(here, "hello")
        await eventually(here.runtime.held)
        cuts = cut_at(monkeypatch, line, "take", budgets)
        here.runtime.release()
        await answered_soon(here, asked, cuts)
    assert (calls(here)[POST], calls(here)[LIST]) == (1, 0)


async def test_whoever_stops_does_not_wait_for_the_database(
    here: World, line: Line, monkeypatch: pytest.MonkeyPatch
):
    cuts = cut_at(monkeypatch, line, "mark_sent", times=10_000)
    async with asyncio.timeout(60):
        async with here.app():
            await ask(here, "hello")
            await eventually(lambda: len(cuts) > 2)
    assert calls(here)[POST] == 1
    assert (await here.row("SELECT state FROM slack_outbox"))["state"] == "sending"


async def test_whoever_stops_does_so_in_peace_though_a_status_finds_no_database(
    here: World, line: Line, monkeypatch: pytest.MonkeyPatch
):
    async with here.app(roles=frozenset({"ingress", "worker"})):
        here.runtime.hold()
        asked = await ask(here, "hello")
        await eventually(lambda: here.slack.shown_status(asked.channel, asked.ts) == "processing")
        await eventually(here.runtime.held)
        cuts = cut_at(monkeypatch, line, "take", budgets, times=10_000)
        here.runtime.release()
        await eventually(lambda: cuts, says="a status that finds no database")
        await eventually(lambda: is_over(here), says="the turn's end")
    # nor was it shown without a permit
    assert here.slack.shown_status(asked.channel, asked.ts) == "processing"


async def is_over(here: World) -> bool:
    return [turn["state"] for turn in await here.turns()] == ["completed"]

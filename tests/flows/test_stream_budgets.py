"""Many answers at once: Slack never has to say 429, and every answer is whole."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta

import pytest

from bot import edits
from bot.local.model import Message
from tests.flows.streams import (
    APPEND,
    POST,
    START,
    STOP,
    UPDATE,
    answered,
    ask,
    calls,
    go_on,
    messages,
    quicken,
    said,
    words_come,
)
from tests.harness import TIMING, World, world
from tests.support import eventually

SLOW = said("!slow")
# Three processes in one share its processor: leases as long as in earnest.
_PATIENT = replace(TIMING, lease=15.0)
STATUS = "agents.sessions.setStatus"
ADD, REMOVE = "reactions.add", "reactions.remove"
TIERS = {START: 20, STOP: 20, UPDATE: 50, APPEND: 100, STATUS: 50, "conversations.replies": 50}
TIERS |= {ADD: 50, REMOVE: 20}


@pytest.fixture
async def limited(dsn: str) -> AsyncIterator[World]:
    """A world whose Slack enforces its limits."""
    async with world(dsn, limits=True) as made:
        yield made


def channels(here: World, count: int) -> list[str]:
    return [here.slack.add_channel(f"team-{n}", ["ada", "grace"]) for n in range(count)]


def no_429(here: World) -> None:
    """Not one call was refused for its rate; in no minute were there more than the tier has."""
    assert not [call.method for call in here.slack.calls if call.status == 429]
    times: defaultdict[str, list[float]] = defaultdict(list)
    for call in here.slack.calls:
        times[call.method].append(call.at)
    for method, most in TIERS.items():
        found = times[method]
        assert all(sum(t <= at < t + 60 for at in found) <= most for t in found), method


@pytest.mark.long
async def test_forty_answers_at_once_in_one_workspace(limited: World):
    async with limited.app(timing=_PATIENT):
        limited.runtime.hold()
        places = channels(limited, 8)
        asked = [await ask(limited, "!slow 3", places[n % 8]) for n in range(40)]
        await eventually(lambda: len(limited.runtime.held()) == 40, 40)
        limited.runtime.release()
        await eventually(lambda: calls(limited)[POST] + calls(limited)[UPDATE] >= 40, 40)
        for one in asked:
            await answered(limited, one, SLOW, 40)
    no_429(limited)
    streamed = Counter(m.streaming_state for one in asked for m in messages(limited, one))
    assert streamed["completed"] >= 8
    assert streamed["completed"] + streamed[None] == 40


async def test_three_processes_and_sixty_replies_in_a_minute(limited: World):
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(limited.app(timing=_PATIENT))
        places = channels(limited, 12)
        asked: list[tuple[Message, str]] = []
        for n in range(60):
            limited.slack.request_url = f"{limited.apps[n % 3].url}/slack/events"
            text = "!slow 2" if n % 3 == 0 else f"!echo answer {n}"
            asked.append((await ask(limited, text, places[n % 12]), said(text)))
        for one, answer in asked:
            await answered(limited, one, answer, 40)
    no_429(limited)
    assert calls(limited)[START] >= 8


async def test_three_processes_without_a_stream_to_give_post_and_edit_within_their_tiers(
    limited: World, monkeypatch: pytest.MonkeyPatch
):
    """Edits take what finals leave; where nothing is left the answer is posted whole."""
    monkeypatch.setattr(edits, "_EDIT_GAP_SECONDS", 0.2)
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(limited.app(timing=_PATIENT))
        await limited.connection.execute(_NO_PERMIT_FOR, START, timedelta(hours=1))
        limited.runtime.hold()
        places = channels(limited, 8)
        asked = [await ask(limited, "!slow 6", places[n % 8]) for n in range(24)]
        await eventually(lambda: len(limited.runtime.held()) == 24, 40)
        limited.runtime.release()
        for one in asked:
            await answered(limited, one, SLOW, 60)
    no_429(limited)
    parts = await limited.rows("SELECT state FROM slack_previews WHERE edited")
    assert 3 <= len(parts) < 24
    assert {part["state"] for part in parts} == {"open"}
    made = calls(limited)
    assert (made[START], made[POST]) == (0, 24)
    assert made[UPDATE] > len(parts)


async def test_a_429_on_one_method_stops_nothing_else(here: World, monkeypatch: pytest.MonkeyPatch):
    quicken(monkeypatch)
    here.slack.fault("ratelimit", method=APPEND, retry_after=600)
    async with here.app():
        await streamed(here)
        await streamed(here)
    made = calls(here)
    assert (made[APPEND], made[START], made[STOP], made[UPDATE]) == (1, 2, 2, 2)


async def streamed(here: World) -> None:
    """An answer that goes on once it is a stream that somebody has tried to add to."""
    here.runtime.world.pace.set_rate(0)
    before = calls(here)[START]
    asked = await ask(here, "!slow 24")
    await words_come(here, 1)
    await eventually(lambda: calls(here)[START] > before)
    await words_come(here, 2)
    await eventually(lambda: calls(here)[APPEND])
    go_on(here)
    await answered(here, asked, SLOW)


async def test_posts_in_one_channel_keep_the_pace_of_one_a_second(limited: World):
    async with limited.app():
        asked = await asyncio.gather(*(ask(limited, f"!echo {n}") for n in range(9)))
        for n, one in enumerate(asked):
            await answered(limited, one, str(n), 30)
    no_429(limited)


_NO_PERMIT_FOR = "INSERT INTO slack_budgets SELECT id, $1, now() + $2 FROM oauth_installs"


async def test_a_status_without_a_permit_is_shown_later_and_only_the_newest(here: World):
    async with here.app():
        await here.connection.execute(_NO_PERMIT_FOR, STATUS, timedelta(hours=1))
        asked = await ask(here, "!echo hello")
        await answered(here, asked, "hello")
        assert here.slack.shown_status(asked.channel, asked.ts) is None
        await here.connection.execute("DELETE FROM slack_budgets WHERE method = $1", STATUS)
        await eventually(lambda: here.slack.shown_status(asked.channel, asked.ts) == "active")
    assert calls(here)[STATUS] == 1


async def waiting(here: World, channel: str) -> Message:
    """A message behind a turn that stands still: it shows a reaction, as far as it may."""
    busy = len(here.runtime.held())
    asked = await ask(here, "hello", channel)
    await eventually(lambda: len(here.runtime.held()) > busy)
    return await here.slack.say("ada", asked.channel, "and more", thread_ts=asked.ts)


@pytest.mark.parametrize(("method", "burst", "each"), [(ADD, 8, 60 / 11), (REMOVE, 8, 60 / 11)])
async def test_a_reaction_without_a_permit_waits_for_one(
    here: World, method: str, burst: int, each: float
):
    async with here.app():
        here.runtime.hold()
        spent = here.slack.workspace.clock.now()
        if method == ADD:
            await no_reaction(here, method, burst, each)
        message = await waiting(here, "general")
        await eventually(lambda: calls(here)[ADD])
        if method == REMOVE:
            spent = here.slack.workspace.clock.now()
            await no_reaction(here, method, burst, each)
        here.runtime.release()
        await here.answers(message.channel, str(message.thread_ts), 2)
    times = [call.at for call in here.slack.calls if call.method == method]
    assert len(times) == 1
    assert times[0] - spent > 2.4


async def no_reaction(here: World, method: str, burst: int, each: float) -> None:
    """For two seconds and a half there is no permit."""
    spent = timedelta(seconds=each * (burst - 1) + 2.5)
    await here.connection.execute(_NO_PERMIT_FOR, method, spent)


@pytest.mark.long
async def test_after_a_429_no_reaction_is_tried_before_slack_allows_it(here: World):
    here.slack.fault("ratelimit", method=ADD, retry_after=2)
    async with here.app():
        here.runtime.hold()
        asked = [await waiting(here, here.slack.add_channel(f"team-{n}", ["ada"])) for n in "abc"]
        await eventually(lambda: calls(here)[ADD] == 4)
        here.runtime.release()
        for one in asked:
            await here.answers(one.channel, str(one.thread_ts), 2)
    refused, *others = [call.at for call in here.slack.calls if call.method == ADD]
    assert min(others) - refused > 1.9

"""The runtime misbehaves: one turn, one runtime session, nothing sent twice, one answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bot.local.model import Message
from router import notices
from router.clock import Backoff
from router.notices import Trouble
from router.runtime.client import Runtime
from router.turns import ending, finishing
from tests.cases import long
from tests.flows.people import approvals_in, awaits_people, clicker, doors, ref
from tests.harness import TIMING, World, world
from tests.support import eventually

# A send's deadline is half the lease, and what became of it is looked up only after that.
QUICK = replace(TIMING, lease=1.6)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime is tried again at once."""
    monkeypatch.setattr(ending, "_RUNTIME_BACKOFF", Backoff(first=0.05, most=0.1))


async def ask(here: World, text: str = "hello") -> Message:
    return await here.slack.say("ada", here.slack.dm("ada"), text)


def messages(here: World) -> list[Any]:
    """Every user message that any runtime session has."""
    return [
        event
        for session in here.runtime.sessions()
        for event in here.runtime.received(session["id"])
        if event["type"] == "user.message"
    ]


async def answered_once(here: World, asked: Message) -> None:
    """The answer is there, alone; the runtime has one session and one message."""
    assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "hello"']
    assert len(here.runtime.sessions()) == 1
    assert len(messages(here)) == 1
    (turn,) = await here.turns()
    assert turn["state"] == "completed"


@pytest.mark.parametrize("route", ["sessions.create", "events.send"])
@pytest.mark.parametrize(
    "kind",
    ["drop_after", "drop_before", "rate_limit", *long("overloaded", "server_error", "unavailable")],
)
async def test_a_call_that_fails_is_made_up_for_once(here: World, kind: Any, route: str):
    fault = here.runtime.fault(kind, route=route)
    async with here.app(timing=QUICK):
        asked = await ask(here)
        await answered_once(here, asked)
    assert fault.hits == 1


@pytest.mark.parametrize("route", ["events.list", "events.stream"])
@pytest.mark.parametrize("kind", ["drop_before", "rate_limit", "server_error"])
async def test_a_reading_that_fails_is_repeated(here: World, kind: Any, route: str):
    async with here.app(timing=QUICK):
        asked = await ask(here)
        await answered_once(here, asked)
        fault = here.runtime.fault(kind, route=route, times=2)
        await here.slack.say("ada", asked.channel, "again", thread_ts=asked.ts)
        answers = await here.answers(asked.channel, asked.ts, 2)
    assert answers == ['You said: "hello"', 'You said: "again"']
    assert (fault.hits, here.sent_texts()) == (2, ["hello", "again"])


@pytest.mark.parametrize("route", ["sessions.create", "events.send"])
@pytest.mark.parametrize("kind", ["stall", "silence"])
async def test_an_answer_that_never_comes_is_looked_for(here: World, kind: Any, route: str):
    fault = here.runtime.fault(kind, route=route, seconds=600)
    async with here.app(timing=QUICK):
        asked = await ask(here)
        await answered_once(here, asked)
    assert fault.hits == 1


async def test_a_silent_stream_is_made_up_for_by_listing(here: World):
    async with here.app(timing=QUICK):
        here.runtime.hold()
        asked = await ask(here)
        await eventually(here.runtime.held)
        # The stream breaks off, and the next one is opened and says nothing, not even its headers.
        here.runtime.fault("silence", route="events.stream")
        here.runtime.fault("cut_stream", event_type="agent.message")
        here.runtime.release()
        await answered_once(here, asked)


@pytest.mark.parametrize("event", ["session.status_running", "agent.message", "session.usage"])
@pytest.mark.parametrize("how", ["ended", "reset"])
async def test_a_stream_that_breaks_in_the_middle_of_a_turn_loses_nothing(
    here: World, event: str, how: str
):
    fault = here.runtime.fault("cut_stream", event_type=event, clean=how == "ended")
    async with here.app(timing=QUICK):
        asked = await ask(here)
        await answered_once(here, asked)
    assert fault.hits == 1


async def test_a_stream_that_breaks_at_every_event_loses_nothing(here: World):
    for event in ("session.status_running", "agent.thinking", "agent.message", "session.usage"):
        here.runtime.fault("cut_stream", event_type=event)
    async with here.app(timing=QUICK):
        asked = await ask(here)
        await answered_once(here, asked)


async def test_history_that_trails_behind_costs_nothing(here: World):
    here.runtime.fault("history_lag", events=3, times=3)
    here.runtime.fault("cut_stream", event_type="agent.message")
    async with here.app(timing=QUICK):
        asked = await ask(here)
        await answered_once(here, asked)


async def test_a_lost_send_whose_message_the_history_does_not_show_yet_is_found(here: World):
    here.runtime.fault("drop_after", route="events.send")
    here.runtime.fault("history_lag", events=5, times=2)
    async with here.app(timing=QUICK):
        asked = await ask(here)
        await answered_once(here, asked)


async def test_a_status_that_trails_behind_costs_nothing(here: World):
    here.runtime.fault("status_lag", times=None)
    async with here.app(timing=QUICK):
        asked = await ask(here)
        await answered_once(here, asked)


async def test_an_event_of_an_unknown_type_is_passed_over(here: World):
    here.runtime.fault("unknown_event")
    async with here.app(timing=QUICK):
        asked = await ask(here)
        await answered_once(here, asked)


async def test_a_runtime_that_asks_to_wait_is_given_the_time(here: World):
    here.runtime.fault("rate_limit", route="events.send", retry_after=600.0, times=1)
    async with here.app(timing=QUICK):
        asked = await ask(here)
        row = await eventually(lambda: waits(here))
        assert 540 < row["seconds"] <= 600
        await here.connection.execute("UPDATE agent_sessions SET ready_at = now()")
        await answered_once(here, asked)


async def waits(here: World) -> dict[str, Any] | None:
    found = await here.rows(
        "SELECT extract(epoch FROM ready_at - now())::float AS seconds FROM agent_sessions"
        " WHERE lease_owner IS NULL AND ready_at > now() AND failures = 1"
    )
    return found[0] if found else None


@pytest.mark.parametrize("kind", ["drop_after", "drop_before", "unavailable"])
async def test_a_confirmation_that_fails_is_made_up_for_once(here: World, kind: Any):
    async with here.app(timing=QUICK), doors(here) as door:
        asked = await ask(here, "!ask")
        (row,) = await approvals_in(here, "pending", 1)
        await awaits_people(here)
        here.runtime.fault(kind, route="events.send")
        await door.approvals.decide(ref(row), "allow", clicker(row.requesters[0]))
        posts = await here.answers(asked.channel, asked.ts, 3)
    assert posts[-1] == "bash was allowed and ran."
    (session,) = here.runtime.sessions()
    kinds = [event["type"] for event in here.runtime.received(session["id"])]
    assert kinds == ["user.message", "user.tool_confirmation"]


# ------------------------------------------------------------------ it throws messages away


@asynccontextmanager
async def console(here: World) -> AsyncIterator[Runtime]:
    """Somebody else who speaks to the runtime's sessions."""
    client = Runtime(api_key="local", base_url=here.runtime.url, max_streams=1)
    try:
        yield client
    finally:
        await client.close()


async def test_a_message_that_is_thrown_away_time_after_time_is_refused_at_last(
    here: World, monkeypatch: pytest.MonkeyPatch
):
    """Each time a turn from elsewhere breaks off before it; it is sent three times in all."""
    monkeypatch.setattr(finishing, "_AFTER_FLUSH_SECONDS", 600.0)  # until it is behind a turn again
    async with here.app(timing=QUICK), console(here) as elsewhere:
        first = await ask(here)
        await here.answers(first.channel, first.ts, 1)
        (session,) = here.runtime.sessions()
        for times in range(1, 4):
            here.runtime.hold()
            broken = {"type": "user.message", "content": [{"type": "text", "text": "!error"}]}
            await elsewhere.send(session["id"], [broken])
            await eventually(here.runtime.held)
            if times == 1:
                await here.slack.say("ada", first.channel, "keep me", thread_ts=first.ts)
            else:
                await here.connection.execute("UPDATE agent_sessions SET ready_at = now()")
            await eventually(partial(sent_so_often, here, "keep me", times))
            here.runtime.release()
            await eventually(partial(ended, here, 1 + times))
        posts = await here.answers(first.channel, first.ts, 4)
    again, refused = notices.words(Trouble.RETRYING), notices.words(Trouble.FLUSHED)
    assert posts == ['You said: "hello"', again, again, refused]
    assert here.sent_texts().count("keep me") == 3
    row = await here.row("SELECT state, flushes FROM session_inputs WHERE flushes > 0")
    assert (row["state"], row["flushes"]) == ("refused", 2)
    assert [turn["state"] for turn in await here.turns()] == ["completed", *["failed"] * 3]


def sent_so_often(here: World, text: str, times: int) -> bool:
    return here.sent_texts().count(text) == times


async def ended(here: World, turns: int) -> bool:
    return sum(turn["ended_at"] is not None for turn in await here.turns()) == turns


# ------------------------------------------------------------------ the runtime is away


async def test_while_the_runtime_is_away_a_message_waits_and_the_thread_says_so_once(
    dsn: str, tmp_path: Path
):
    away = [notices.words(Trouble.RUNTIME_AWAY)]
    async with world(dsn, runtime_data=tmp_path / "runtime.sqlite") as here, here.app():
        first = await ask(here)
        await here.answers(first.channel, first.ts, 1)
        async with here.runtime_away():
            await here.slack.say("ada", first.channel, "again", thread_ts=first.ts)
            other = await ask(here, "and here?")
            await eventually(lambda: here.bot_posts(first.channel, first.ts)[1:] == away)
            await eventually(lambda: here.bot_posts(other.channel, other.ts) == away)
            await eventually(lambda: tried(here, 5))
        assert await here.answers(first.channel, first.ts, 3) == [
            'You said: "hello"',
            notices.words(Trouble.RUNTIME_AWAY),
            'You said: "again"',
        ]
        assert await here.answers(other.channel, other.ts, 2) == [
            notices.words(Trouble.RUNTIME_AWAY),
            'You said: "and here?"',
        ]
        assert sorted(here.sent_texts()) == ["again", "and here?", "hello"]


async def test_a_turn_in_flight_goes_on_when_the_runtime_is_back(dsn: str, tmp_path: Path):
    async with world(dsn, runtime_data=tmp_path / "runtime.sqlite") as here, here.app():
        here.runtime.hold()
        asked = await ask(here)
        await eventually(here.runtime.held)
        async with here.runtime_away():
            await eventually(lambda: here.bot_posts(asked.channel, asked.ts))
        assert await here.answers(asked.channel, asked.ts, 2) == [
            notices.words(Trouble.RUNTIME_AWAY),
            'You said: "hello"',
        ]
        assert len(messages(here)) == 1
        (turn,) = await here.turns()
        assert turn["state"] == "completed"


async def tried(here: World, times: int) -> bool:
    """True once every session was tried that often in vain."""
    return all(
        row["failures"] >= times for row in await here.rows("SELECT failures FROM agent_sessions")
    )

"""While a file is on its way the session listens: to a stop, an edit, a deletion, other messages."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.local.model import Message
from router.notices import Trouble, words
from tests.flows.gate import Gate, Slow, gate, share
from tests.harness import TIMING, World
from tests.images import PNG, PNG_END
from tests.support import eventually

STEER = """UPDATE deployed_agents SET settings = '{"busy": "steer"}'"""


@pytest.fixture
async def door(here: World) -> AsyncIterator[Gate]:
    async with gate(here) as made:
        yield made


@pytest.fixture
def slow(door: Gate) -> Slow:
    made = Slow(PNG + b"\0" * 1000 + PNG_END)
    door.at("/slow", made.answer)
    return made


async def ask(here: World, door: Gate, text: str = "@threadline look", **place: str) -> Message:
    return await share(here, text, f"{door.url}/slow", **place)


async def fetches(here: World) -> list[int]:
    """How many fetches of each file count."""
    return [row["attempts"] for row in await here.rows("SELECT attempts FROM input_files")]


@pytest.mark.parametrize("how", ["button", "word", "archive"])
async def test_a_stop_ends_what_has_not_left(here: World, door: Gate, slow: Slow, how: str):
    async with here.app(slack_api_url=door.api_url) as app:
        asked = await ask(here, door)
        await slow.begun.wait()
        assert [t["state"] for t in await here.turns()] == ["running"]
        if how == "button":
            await here.slack.stop("grace", asked.channel, asked.ts)
        elif how == "word":
            await here.slack.say("grace", asked.channel, "stop", thread_ts=asked.ts)
        else:
            session = await here.session()
            ids = session["deployed_agent_id"], session["id"]
            assert await app.intake.stop(*ids, "Grace (dashboard)")
        who = "Grace (dashboard)" if how == "archive" else "grace"
        stopped = f"Stopped by {who}. No step had finished."
        assert await here.answers(asked.channel, asked.ts, 1) == [stopped]
        slow.go.set()
        assert here.sent_texts() == []
        assert [t["state"] for t in await here.turns()] == ["interrupted"]
        await eventually(lambda: [s.status for s in here.slack.statuses][-1:] == ["active"])
        # The agent has read nothing of the thread yet, and is not given what was stopped.
        others = "@grace is it?"
        await here.slack.say("linus", asked.channel, others, thread_ts=asked.ts, deliver=False)
        await here.slack.say("ada", asked.channel, "!echo well", thread_ts=asked.ts)
        assert (await here.answers(asked.channel, asked.ts, 2))[-1].endswith("well")
        record, text = here.sent_texts()
        assert "> @grace is it?" in record
        assert "look" not in record
        assert text == "!echo well"
    assert slow.times == 1


async def test_an_archived_session_sends_nothing_of_it(here: World, door: Gate, slow: Slow):
    async with here.app(slack_api_url=door.api_url):
        asked = await ask(here, door)
        await slow.begun.wait()
        await here.connection.execute(
            "UPDATE agent_sessions SET archive_requested_at = now(), wake_seq = wake_seq + 1"
        )
        (said,) = await here.answers(asked.channel, asked.ts, 1)
        assert said.startswith(words(Trouble.ARCHIVED_UNSENT))
        assert (await here.session())["status"] == "archived"
    assert here.sent_texts() == []


async def test_a_message_that_is_deleted_meanwhile_is_not_sent(here: World, door: Gate, slow: Slow):
    async with here.app(slack_api_url=door.api_url):
        asked = await ask(here, door)
        await slow.begun.wait()
        await here.slack.delete(asked.channel, asked.ts)
        await here.at_rest()
        assert [t["state"] for t in await here.turns()] == ["interrupted"]
    assert here.sent_texts() == []
    assert here.bot_posts(asked.channel, asked.ts) == []


async def test_other_sessions_go_on_and_the_thread_is_one_turn(here: World, door: Gate, slow: Slow):
    """What is said meanwhile, or changed, goes along; the lease is kept for as long as it takes."""

    async def session() -> dict[str, Any]:
        return await here.row("SELECT * FROM agent_sessions WHERE slack_thread_ts = $1", asked.ts)

    async with here.app(slack_api_url=door.api_url, timing=replace(TIMING, lease=9.0)):
        asked = await ask(here, door)
        await slow.begun.wait()
        await here.slack.say("grace", asked.channel, "and mine?", thread_ts=asked.ts)
        await here.slack.edit(asked.channel, asked.ts, "@threadline look closely")
        other = await here.slack.say("linus", "general", "@threadline hello")
        await eventually(lambda: here.bot_posts(other.channel, other.ts))
        first = (await session())["lease_expires_at"]

        async def renewed() -> bool:
            return bool((await session())["lease_expires_at"] > first + timedelta(seconds=2.0))

        await eventually(renewed)
        slow.go.set()
        await here.answers(asked.channel, asked.ts, 1)
    assert (await session())["lease_epoch"] == 1
    assert [t for t in here.sent_texts() if t != "hello"] == [
        "look closely",
        "[attached image: file0.bin]",
        "and mine?",
    ]
    assert slow.times == 1
    assert await fetches(here) == [1]


# ------------------------------------------------------------------ into a turn in flight


async def working(here: World) -> Message:
    """A turn that stands still at the runtime, of an agent whose turns are steered."""
    await here.connection.execute(STEER)
    here.runtime.hold()
    asked = await here.slack.say("ada", "general", "@threadline first")
    await eventually(here.runtime.held)
    return asked


async def test_a_steered_message_joins_with_its_file(here: World, door: Gate, slow: Slow):
    async with here.app(slack_api_url=door.api_url):
        asked = await working(here)
        await ask(here, door, "second", thread_ts=asked.ts)
        await slow.begun.wait()
        slow.go.set()
        await eventually(lambda: "second" in here.sent_texts())
        (runtime,) = here.runtime.sessions()
        sent = here.runtime.received(runtime["id"])
        assert [e["type"] for e in sent] == ["user.message", "user.interrupt", "user.message"]
        assert sent[-1]["content"][-1]["type"] == "image"
        here.runtime.release()
        await here.answers(asked.channel, asked.ts, 1)
    assert len(await here.turns()) == 1


async def test_where_the_turn_ends_first_its_file_goes_with_the_next(
    here: World, door: Gate, slow: Slow
):
    """A fetch that the turn's end broke off is not held against the file."""
    async with here.app(slack_api_url=door.api_url):
        asked = await working(here)
        await ask(here, door, "second", thread_ts=asked.ts)
        await slow.begun.wait()
        here.runtime.release()
        await eventually(lambda: slow.times == 2)
        slow.go.set()
        await here.answers(asked.channel, asked.ts, 2)
    assert len(await here.turns()) == 2
    assert await fetches(here) == [1]


async def test_a_stop_of_the_process_hands_the_rest_to_another(here: World, door: Gate, slow: Slow):
    async with here.app(slack_api_url=door.api_url):
        asked = await ask(here, door)
        await slow.begun.wait()
    assert await fetches(here) == [0]
    async with here.app(slack_api_url=door.api_url):
        slow.go.set()
        await here.answers(asked.channel, asked.ts, 1)
    assert slow.times == 2
    assert here.sent_texts() == ["look", "[attached image: file0.bin]"]
    assert len(await here.turns()) == 1

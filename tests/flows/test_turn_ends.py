"""How turns end: each end is an answer or a plain sentence whose reference stands in the logs."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from bot.local.model import Message
from router import notices
from router.runtime.client import Runtime
from router.runtime.local.brain import script
from router.turns import ending
from tests.harness import World
from tests.support import eventually

REFERENCE = re.compile(r"Reference: (\w+)")


async def ask(here: World, text: str) -> Message:
    return await here.slack.say("ada", here.slack.dm("ada"), text)


async def follow_up(here: World, asked: Message, text: str) -> None:
    await here.slack.say("ada", asked.channel, text, thread_ts=asked.ts)


def reference_in(post: str) -> str:
    """The reference that a notice shows."""
    found = REFERENCE.search(post)
    assert found, post
    return found[1]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("!refuse", "refusal"),
        ("!budget", "budget_reached"),
        ("!error", "retries_exhausted"),
        ("!error terminal", "terminated"),
    ],
)
async def test_an_end_in_trouble_is_said_with_a_reference_that_finds_it_in_the_logs(
    here: World, word: str, reason: str
):
    with capture_logs() as logged:
        async with here.app():
            asked = await ask(here, word)
            await here.answers(asked.channel, asked.ts, 1)
            (post,) = here.shown(asked.channel, asked.ts)
            assert here.slack.shown_status(asked.channel, asked.ts) == "active"
    reference = reference_in(post)
    assert post == f"{notices.end_of_turn(reason, '').text}\nReference: {reference}"
    (line,) = [entry for entry in logged if entry.get("reference") == reference]
    assert (line["event"], line["reason"]) == ("turn.ended", reason)
    (turn,) = await here.turns()
    assert (turn["state"], turn["stop_reason"]) == ("failed", reason)


@pytest.mark.parametrize("word", ["!refuse", "!error", "!error terminal"])
async def test_after_trouble_the_thread_goes_on(here: World, word: str):
    async with here.app():
        asked = await ask(here, word)
        await here.answers(asked.channel, asked.ts, 1)
        await follow_up(here, asked, "again")
        assert (await here.answers(asked.channel, asked.ts, 2))[1] == 'You said: "again"'
    assert len(here.runtime.sessions()) == (2 if word.endswith("terminal") else 1)
    await here.session()


async def test_at_the_budgets_cap_each_message_is_told_so(here: World):
    async with here.app():
        asked = await ask(here, "!budget")
        await here.answers(asked.channel, asked.ts, 1)
        await follow_up(here, asked, "more")
        posts = await here.answers(asked.channel, asked.ts, 2)
    assert set(posts) == {notices.end_of_turn("budget_reached", "").text}
    assert here.slack.shown_status(asked.channel, asked.ts) == "active"


async def test_a_passing_error_of_the_runtime_is_waited_for(here: World):
    async with here.app():
        asked = await ask(here, "!error retrying")
        assert await here.answers(asked.channel, asked.ts, 1) == [
            "It worked at the second attempt."
        ]
    assert [t["state"] for t in await here.turns()] == ["completed"]


async def test_a_slow_answer_comes_whole(here: World):
    async with here.app():
        asked = await ask(here, "!slow 60")
        await eventually(lambda: here.slack.shown_status(asked.channel, asked.ts) == "processing")
        await eventually(lambda: here.runtime.streams() == 1)
        await eventually(lambda: moved_on(here, asked))
        (answer,) = await here.answers(asked.channel, asked.ts, 1)
    assert answer.count("This is sentence") == 12


async def moved_on(here: World, asked: Message) -> bool:
    """Moves the runtime's time on; True once the answer is there."""
    here.runtime.advance(10)
    return bool(here.bot_posts(asked.channel, asked.ts))


async def test_texts_around_a_tool_call_are_one_answer(here: World):
    async with here.app():
        asked = await ask(here, "!tool")
        (answer,) = await here.answers(asked.channel, asked.ts, 1)
    assert answer == "Let me use bash.\n\nbash is done, and this is what it gave."


async def test_a_long_answer_comes_in_parts_in_order_and_nothing_is_lost(here: World):
    async with here.app():
        asked = await ask(here, "!long 40")
        await eventually(lambda: "That is all." in "".join(here.shown(asked.channel, asked.ts)))
        await here.at_rest()
    (whole,) = [step.text for step in script(["!long 40"])]  # type: ignore[union-attr]  # an Answer
    parts = here.shown(asked.channel, asked.ts)
    assert len(parts) >= 4
    assert all(len(part) <= 12_000 for part in parts)
    joined = "\n".join(parts)
    for pattern in (
        r"^## Section \d+",
        r"^def section_\d+",
        r"^Paragraph \d+ .*",
        r"^\| apples .*",
    ):
        found = re.findall(pattern, joined, re.MULTILINE)
        assert found == re.findall(pattern, whole, re.MULTILINE)
    (turn,) = await here.turns()
    sent = await here.rows("SELECT state, effect_key FROM slack_outbox ORDER BY position")
    expected = [f"reply:{turn['id']}:{n}" for n in range(len(parts))]
    assert [(s["state"], s["effect_key"]) for s in sent] == [("sent", e) for e in expected]


# ------------------------------------------------------------------ calls that wait for somebody


@pytest.mark.parametrize(
    ("word", "sentence", "closing"),
    [
        ("!ask", notices.held_call("bash"), "bash was denied: "),
        ("!ask linear.create_issue", notices.held_call("linear.create_issue"), "was denied: "),
        ("!custom", notices.unserved_tool("lookup_order"), "lookup_order failed: "),
        ("!escalate May I?", notices.unserved_tool("escalate_to_human"), "escalate_to_human fail"),
    ],
)
async def test_a_held_call_is_declined_and_the_thread_names_the_tool(
    here: World, word: str, sentence: str, closing: str
):
    async with here.app():
        asked = await ask(here, word)
        posts = await here.answers(asked.channel, asked.ts, 2)
        assert posts[0] == sentence
        assert closing in posts[1]
        await follow_up(here, asked, "and now?")
        assert (await here.answers(asked.channel, asked.ts, 3))[2] == 'You said: "and now?"'
    assert [t["state"] for t in await here.turns()] == ["completed", "completed"]


async def test_seven_held_calls_are_each_declined_once(here: World):
    async with here.app():
        asked = await ask(here, "!ask7")
        posts = await here.answers(asked.channel, asked.ts, 8)
        assert posts.count(notices.held_call("bash")) == 7
        (reply,) = [post for post in posts if post.count("bash was denied") == 7]
        assert reply.startswith("These need a confirmation each.")
    (session,) = here.runtime.sessions()
    kinds = [event["type"] for event in here.runtime.received(session["id"])]
    assert kinds == ["user.message"] + ["user.tool_confirmation"] * 7
    decisions = await here.rows("SELECT state FROM session_inputs WHERE kind = 'decision'")
    assert [d["state"] for d in decisions] == ["done"] * 7


async def test_a_message_sent_while_a_call_is_held_waits_for_its_turn(here: World):
    async with here.app():
        here.runtime.hold()
        asked = await ask(here, "!ask7")
        await eventually(here.runtime.held)
        await follow_up(here, asked, "meanwhile")
        await here.slack.settle()
        here.runtime.release()
        posts = await here.answers(asked.channel, asked.ts, 9)
        assert posts[8] == 'You said: "meanwhile"'
    assert here.sent_texts() == ["!ask7", "meanwhile"]


# ------------------------------------------------------------------ what the runtime threw away


@asynccontextmanager
async def console(here: World) -> AsyncIterator[Runtime]:
    """Somebody else who speaks to the runtime's sessions."""
    client = Runtime(api_key="local", base_url=here.runtime.url, max_streams=1)
    try:
        yield client
    finally:
        await client.close()


def foreign(text: str) -> dict[str, Any]:
    return {"type": "user.message", "content": [{"type": "text", "text": text}]}


async def flush_one(here: World, client: Runtime, asked: Message, session_id: str) -> None:
    """Our next message is queued behind a turn from elsewhere, which breaks off."""
    here.runtime.hold(session_id)
    await client.send(session_id, [foreign("!error")])
    await eventually(here.runtime.held)
    sent = here.runtime.requests("events.send")
    await follow_up(here, asked, "keep me")
    await eventually(lambda: here.runtime.requests("events.send") > sent)
    here.runtime.release(session_id)


async def test_a_message_that_the_runtime_threw_away_is_sent_again(
    here: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ending, "_AFTER_FLUSH_SECONDS", 0.05)
    async with here.app(), console(here) as client:
        asked = await ask(here, "one")
        await here.answers(asked.channel, asked.ts, 1)
        (session,) = here.runtime.sessions()
        await flush_one(here, client, asked, session["id"])
        posts = await here.answers(asked.channel, asked.ts, 3)
    assert posts[1:] == [
        notices.RETRYING,
        'You said: "keep me"',
    ]
    assert here.sent_texts() == ["one", "!error", "keep me", "keep me"]
    flushes = await here.rows("SELECT flushes, state FROM session_inputs ORDER BY order_key")
    assert [(f["flushes"], f["state"]) for f in flushes] == [(0, "done"), (1, "done")]

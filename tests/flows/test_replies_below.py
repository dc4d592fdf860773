"""What people write below a question's card in the escalation channel, from Slack to the row."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from bot.local.model import Message
from router.humans import CHANNEL
from tests.flows.asked import Asking, asking
from tests.harness import World
from tests.support import eventually


@pytest.fixture
async def at(here: World) -> AsyncIterator[Asking]:
    async with asking(here) as made:
        yield made


async def card_elsewhere(at: Asking) -> tuple[str, Message]:
    """A question's id, and its card in #random once the thread below it is pinned."""
    row = await at.escalation(channel="C0RANDOM")
    card = await at.card(row, CHANNEL)
    await at.here.slack.settle()
    await eventually(
        lambda: at.here.rows("SELECT 1 FROM slack_threads WHERE escalation_id = $1", row.id),
        says="a pin below the card",
    )
    return str(row.id), card


async def replies(here: World) -> list[dict[str, Any]]:
    await here.slack.settle()
    return await here.rows(
        "SELECT session_id, state, body FROM session_inputs WHERE kind = 'decision'"
        " ORDER BY order_key"
    )


async def test_a_reply_below_the_card_comes_to_the_asking_session(here: World, at: Asking):
    question, card = await card_elsewhere(at)
    await here.slack.say("grace", "random", "the second", thread_ts=card.ts)
    await here.slack.say("grace", "random", "@threadline the third", thread_ts=card.ts)
    await here.slack.say("deploybot", "random", "deployed", thread_ts=card.ts)
    await here.slack.say("grace", "random", "something else")
    found = await replies(here)
    assert [r["session_id"] for r in found] == [at.session["id"]] * 2
    said = [r["body"]["reply"] for r in found]
    assert [(r["text"], r["user"], r["escalation"]) for r in said] == [
        ("the second", "U0GRACE", question),
        ("the third", "U0GRACE", question),
    ]
    assert {r["body"]["turn"] for r in found} == {str(at.turn_id)}
    assert {r["root_ts"] for r in said} == {card.ts}
    assert len(await here.rows("SELECT 1 FROM agent_sessions")) == 1


async def test_a_reply_may_be_edited_or_taken_back_and_says_stop_without_stopping(
    here: World, at: Asking
):
    _, card = await card_elsewhere(at)
    edited = await here.slack.say("grace", "random", "the secnd", thread_ts=card.ts)
    await here.slack.settle()
    await here.slack.edit("random", edited.ts, "the second")
    deleted = await here.slack.say("grace", "random", "never mind", thread_ts=card.ts)
    await here.slack.settle()
    await here.slack.delete("random", deleted.ts)
    await here.slack.say("grace", "random", "stop", thread_ts=card.ts)
    found = await replies(here)
    assert [(r["state"], r["body"]["reply"]["text"]) for r in found] == [
        ("queued", "the second"),
        ("withdrawn", "never mind"),
        ("queued", "stop"),
    ]
    assert not await here.rows("SELECT 1 FROM session_inputs WHERE kind = 'interrupt'")

"""Slack shows messages in the order of their beginnings: no answer begins above an earlier one."""

from typing import Any

from bot.local.model import Message
from tests.flows.streams import POST, START, ask, calls, said
from tests.harness import World
from tests.support import eventually

SLOW = said("!slow")


async def asked_twice(here: World, seconds: int) -> Message:
    """Two questions in a thread, both known before the first is answered; the second takes long."""
    here.runtime.hold()
    first = await ask(here, "first")
    await eventually(here.runtime.held)
    await here.slack.say("ada", first.channel, f"!slow {seconds}", thread_ts=first.ts)
    await here.slack.settle()
    here.runtime.release()
    return first


def begun(here: World) -> list[str]:
    """What made a message visible, in order."""
    return [c.method for c in here.slack.calls if c.method in (POST, START) and c.answer.get("ok")]


async def test_a_preview_waits_for_the_answer_before_it(here: World):
    here.slack.fault("ratelimit", method=POST, retry_after=2)
    async with here.app():
        first = await asked_twice(here, 5)
        posts = await here.answers(first.channel, first.ts, 2)
    assert posts[0] == 'You said: "first"'
    assert begun(here) == [POST, START]


async def test_a_preview_that_waits_is_closed_by_the_end_of_its_turn(here: World):
    """The answer is whole before the one above it is there: then it is posted below."""
    here.slack.fault("ratelimit", method=POST, retry_after=4)
    async with here.app():
        first = await asked_twice(here, 2)
        await eventually(lambda: completed(here))
        assert calls(here)[POST] == 1
        posts = await here.answers(first.channel, first.ts, 2)
    assert posts[0] == 'You said: "first"'
    assert begun(here) == [POST, POST]


async def completed(here: World) -> bool:
    return [turn["state"] for turn in await here.turns()] == ["completed", "completed"]


async def test_a_preview_does_not_wait_for_an_answer_that_can_never_come(here: World):
    here.slack.fault("api_error", method=POST, error="restricted_action")
    async with here.app():
        first = await asked_twice(here, 3)
        await here.answers(first.channel, first.ts, 1)
    assert begun(here) == [START]
    assert [r["state"] for r in await lane(here)] == ["dead", "sent"]


async def lane(here: World) -> list[dict[str, Any]]:
    return await here.rows("SELECT state FROM slack_outbox WHERE lane = 'reply' ORDER BY position")

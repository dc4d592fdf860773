"""Slack shows messages in the order of their beginnings: no answer begins above an earlier one."""

from dataclasses import replace
from typing import Any

import pytest

from bot import previewing
from bot.local.model import Message
from router.clock import Backoff
from store import outbox
from store.database import Connection
from tests.flows.streams import POST, START, ask, calls, go_on, said, words_come
from tests.harness import TIMING, World
from tests.support import eventually

SLOW = said("!slow")
# While time stands still, words that a lost lease kept from being shown would be waited for in vain.
UNHURRIED = replace(TIMING, lease=30.0, quiet=60.0)


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


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What each preview found that looked whether an answer before it is still to come."""
    real, found = outbox.any_reply_open, list[bool]()

    async def look(connection: Connection, of: Any) -> bool:
        found.append(await real(connection, of))
        return found[-1]

    monkeypatch.setattr(outbox, "any_reply_open", look)
    monkeypatch.setattr(previewing, "_LOOK_BEFORE", Backoff(first=0.05, most=0.1))
    return found


async def let_post(here: World) -> None:
    """What Slack put off may go out now."""
    await here.connection.execute("DELETE FROM slack_budgets WHERE method LIKE $1", f"{POST}%")
    await here.connection.execute("UPDATE slack_outbox SET not_before = now()")


async def test_a_preview_waits_for_the_answer_before_it(here: World, looks: list[bool]):
    here.slack.fault("ratelimit", method=POST, retry_after=600)
    here.runtime.world.pace.set_rate(0)
    async with here.app(timing=UNHURRIED):
        first = await asked_twice(here, 24)
        await words_come(here, 2)
        await eventually(lambda: len(looks) > 1)
        assert all(looks)
        assert begun(here) == []
        await let_post(here)
        await eventually(lambda: START in begun(here))
        go_on(here)
        posts = await here.answers(first.channel, first.ts, 2)
    assert posts[0] == 'You said: "first"'
    assert begun(here) == [POST, START]


async def test_a_preview_that_waits_is_closed_by_the_end_of_its_turn(
    here: World, looks: list[bool]
):
    """The answer is whole before the one above it is there: then it is posted below."""
    here.slack.fault("ratelimit", method=POST, retry_after=600)
    here.runtime.world.pace.set_rate(0)
    async with here.app(timing=UNHURRIED):
        first = await asked_twice(here, 24)
        await words_come(here, 2)
        await eventually(lambda: looks)
        go_on(here)
        await eventually(lambda: completed(here))
        assert calls(here)[POST] == 1
        await let_post(here)
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

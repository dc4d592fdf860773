"""A stop that Slack delivers late is for what had been said before it."""

import pytest

from bot.local.model import Json, Message
from tests.flows.test_stop import interrupts, working
from tests.harness import World
from tests.support import eventually


async def stop_of(here: World, asked: Message, how: str) -> Json:
    """The event of a stop, and Slack keeps trying: nobody was there to take it."""
    slack = here.slack
    if how == "button":
        await slack.stop("ada", asked.channel, asked.ts)
        return slack.envelopes(asked.ts)[-1]
    said = await slack.say("ada", asked.channel, "stop", thread_ts=asked.ts, deliver=False)
    return slack.envelopes(said.ts)[-1]


@pytest.mark.parametrize("how", ["button", "word"])
async def test_a_stop_that_comes_late_does_not_stop_what_was_asked_after_it(here: World, how: str):
    async with here.app():
        asked = await here.slack.say("ada", "general", "@threadline hello")
        await here.answers(asked.channel, asked.ts, 1)
        event = await stop_of(here, asked, how)
        await here.answers(asked.channel, asked.ts, 1)
        here.runtime.hold()
        await here.slack.say("ada", asked.channel, "and now?", thread_ts=asked.ts)
        await eventually(here.runtime.held)
        assert await here.slack.deliver(event, retry_num=1) == 200
        here.runtime.release()
        posts = await here.answers(asked.channel, asked.ts, 2)
    assert posts[1] == 'You said: "and now?"'
    assert interrupts(here) == 0


async def test_a_stop_that_comes_late_stops_what_it_was_meant_for(here: World):
    async with here.app():
        asked = await working(here)
        event = await stop_of(here, asked, "word")
        await here.slack.say("ada", asked.channel, "!echo next", thread_ts=asked.ts)
        assert await here.slack.deliver(event, retry_num=1) == 200
        _, notice, after = await here.answers(asked.channel, asked.ts, 3)
    assert notice.startswith("Stopped by ada.")
    assert after == "next"

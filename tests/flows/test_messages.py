"""Messages reach their agent and the answers come back, one session per thread."""

import gc

from router.turns.messages import Messages
from tests.harness import World
from tests.support import eventually


async def test_a_direct_message_is_answered_in_its_thread(here: World):
    async with here.app():
        asked = await here.slack.say("ada", here.slack.dm("ada"), "Hello there")
        assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "Hello there"']
    session = await here.session()
    assert (session["status"], session["title"], session["source"]) == (
        "idle",
        "Hello there",
        "slack",
    )
    (turn,) = await here.turns()
    assert (turn["state"], turn["stop_reason"], turn["number"]) == ("completed", "end_turn", 1)


async def test_follow_ups_in_the_thread_continue_its_session(here: World):
    async with here.app():
        asked = await here.slack.say("ada", here.slack.dm("ada"), "one")
        await here.answers(asked.channel, asked.ts, 1)
        for number, text in enumerate(("two", "three"), start=2):
            await here.slack.say("ada", asked.channel, text, thread_ts=asked.ts)
            await here.answers(asked.channel, asked.ts, number)
    assert [t["number"] for t in await here.turns()] == [1, 2, 3]
    assert len(here.runtime.sessions()) == 1


async def test_a_reply_without_mention_continues_a_followed_thread(here: World):
    async with here.app():
        asked = await here.slack.say("ada", "general", "@threadline what is up?")
        assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "what is up?"']
        await here.slack.say("grace", "general", "and for me?", thread_ts=asked.ts)
        await here.answers(asked.channel, asked.ts, 2)
    await here.session()


async def test_channel_talk_that_does_not_address_the_bot_is_ignored(here: World):
    async with here.app():
        talk = await here.slack.say("ada", "general", "good morning everyone")
        await here.slack.say("grace", "general", "morning!", thread_ts=talk.ts)
        await here.at_rest()
        assert here.bot_posts(talk.channel, talk.ts) == []
    assert await here.rows("SELECT * FROM agent_sessions") == []


async def test_the_status_shows_that_the_agent_works_and_then_rests(here: World):
    async with here.app():
        asked = await here.slack.say("ada", here.slack.dm("ada"), "hi")
        await here.answers(asked.channel, asked.ts, 1)
        await eventually(
            lambda: [s.status for s in here.slack.statuses] == ["processing", "active"]
        )
    assert here.slack.statuses[0].title == "hi"


async def test_one_usage_row_per_turn_adds_up_to_the_runtimes_total(here: World):
    async with here.app():
        asked = await here.slack.say("ada", here.slack.dm("ada"), "one")
        await here.answers(asked.channel, asked.ts, 1)
        await here.slack.say("ada", asked.channel, "two", thread_ts=asked.ts)
        await here.answers(asked.channel, asked.ts, 2)
    used = await here.rows("SELECT * FROM agent_compute_usage ORDER BY created_at")
    assert [u["state"] for u in used] == ["final", "final"]
    (session,) = here.runtime.sessions()
    assert sum(u["input_tokens"] for u in used) == session["usage"]["input_tokens"]
    assert sum(u["cost_cents"] for u in used) > 0


async def test_a_turn_that_has_ended_is_no_garbage_to_be_looked_for(here: World):
    async with here.app():
        gc.collect()  # what other tests have left
        gc.disable()
        try:
            asked = await here.slack.say("ada", here.slack.dm("ada"), "one")
            await here.answers(asked.channel, asked.ts, 1)
            await here.slack.say("ada", asked.channel, "two", thread_ts=asked.ts)
            await here.answers(asked.channel, asked.ts, 2)
            await eventually(lambda: not any(type(o) is Messages for o in gc.get_objects()))
        finally:
            gc.enable()

"""What counts against a session as a claim that came to nothing, and what does not."""

from tests.harness import World
from tests.support import eventually

_MORE_THAN_MAY_FAIL = 7


async def test_a_turn_outlives_any_number_of_clean_stops(here: World):
    here.runtime.hold()
    async with here.app():
        asked = await here.slack.say("ada", here.slack.dm("ada"), "hello")
        await eventually(here.runtime.held)
    for _ in range(_MORE_THAN_MAY_FAIL):
        async with here.app():
            await eventually(here.runtime.streams)
    async with here.app():
        here.runtime.release()
        assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "hello"']
    assert [turn["state"] for turn in await here.turns()] == ["completed"]


async def test_messages_that_are_turned_away_do_not_count_as_failures(here: World):
    async with here.app():
        await here.connection.execute("UPDATE oauth_installs SET allow_guests = false")
        asked = await here.slack.say("ada", "general", "@threadline hello")
        await here.answers(asked.channel, asked.ts, 1)
        for _ in range(_MORE_THAN_MAY_FAIL):
            await here.slack.say("guest", "general", "@threadline me too", thread_ts=asked.ts)
            await here.at_rest()
        assert (await here.session())["barren_claims"] == 0
        await here.slack.say("ada", "general", "@threadline again", thread_ts=asked.ts)
        assert (await here.answers(asked.channel, asked.ts, 2))[1] == 'You said: "again"'

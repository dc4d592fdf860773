"""What happens around a thread: the bot comes into a channel, a person renames a session."""

import pytest

from bot.local.faults import ApiFault
from bot.local.model import Message
from router import notices
from tests.harness import World
from tests.support import eventually


def invite(here: World, channel: str) -> None:
    here.slack.fault("invite_bot", channel=channel)


def greetings(here: World, channel: str) -> list[str]:
    return [m.text for m in here.slack.history(channel) if m.user == here.slack.bot_user_id]


async def greeted(here: World, channel: str) -> None:
    await eventually(lambda: greetings(here, channel), says="a greeting")
    await here.at_rest()


async def test_a_channel_that_invites_the_bot_hears_once_how_to_call_it(here: World):
    async with here.app():
        invite(here, "nobot")
        await greeted(here, "nobot")
        here.slack.fault("kick_bot", channel="nobot")
        invite(here, "nobot")
        await here.at_rest()
    assert greetings(here, "nobot") == [notices.HELLO]
    (message,) = [m for m in here.slack.history("nobot") if m.user == here.slack.bot_user_id]
    assert message.thread_ts is None
    assert await here.turns() == []


async def test_each_channel_is_greeted_by_itself(here: World):
    async with here.app():
        channels = [here.slack.add_channel(name, ["ada"]) for name in ("one", "two")]
        for channel in channels:
            here.slack.fault("kick_bot", channel=channel)
            invite(here, channel)
        for channel in channels:
            await greeted(here, channel)


async def test_the_coming_of_other_people_is_nothing_to_us(here: World):
    async with here.app():
        invite(here, "nobot")
        await greeted(here, "nobot")
        # once, also where Slack had to try twice
        (joined,) = {d.event_id for d in here.slack.deliveries if d.type == "member_joined_channel"}
        (envelope,) = here.slack.envelopes(joined)
        event = envelope["event"] | {"user": here.slack.users["ada"], "channel": "C0GENERAL"}
        assert await here.slack.deliver(envelope | {"event": event, "event_id": "Ev2"}) == 200
        await here.at_rest()
    assert greetings(here, "general") == []


@pytest.mark.parametrize("kind", ["drop_after", "error_after", "drop_before"])
async def test_a_greeting_whose_answer_is_lost_is_looked_for(here: World, kind: ApiFault):
    async with here.app():
        here.slack.fault(kind, method="chat.postMessage")
        invite(here, "nobot")
        await greeted(here, "nobot")
    assert greetings(here, "nobot") == [notices.HELLO]


# ------------------------------------------------------------------ a new title


async def talked(here: World) -> Message:
    asked = await here.slack.say("ada", "general", "@threadline hello")
    await here.answers(asked.channel, asked.ts, 1)
    return asked


def runtime_title(here: World) -> object:
    (session,) = here.runtime.sessions()
    return session["title"]


async def test_a_rename_in_slack_renames_the_session_here_and_at_the_runtime(here: World):
    async with here.app():
        asked = await talked(here)
        assert (await here.session())["title"] == "hello" == runtime_title(here)
        await here.slack.rename("grace", asked.channel, asked.ts, "Release\nnotes")
        await eventually(lambda: runtime_title(here) == "Release")
        await here.at_rest()
    session = await here.session()
    assert (session["title"], session["retitled"]) == ("Release", False)
    assert len(await here.turns()) == 1


async def test_a_rename_that_comes_late_changes_nothing(here: World):
    async with here.app():
        asked = await talked(here)
        await here.slack.rename("grace", asked.channel, asked.ts, "first")
        await here.at_rest()
        await here.slack.rename("ada", asked.channel, asked.ts, "second")
        await eventually(lambda: runtime_title(here) == "second")
        renames = [d for d in here.slack.deliveries if d.type == "agent_session_title_changed"]
        await here.slack.redeliver(renames[0].event_id)
        await here.at_rest()
    assert (await here.session())["title"] == "second"
    assert runtime_title(here) == "second"


async def test_a_rename_in_the_middle_of_a_turn_reaches_the_runtime_after_it(here: World):
    async with here.app():
        here.runtime.hold()
        asked = await here.slack.say("ada", "general", "@threadline hello")
        await eventually(here.runtime.held)
        await here.slack.rename("grace", asked.channel, asked.ts, "meanwhile")
        await here.slack.settle()
        here.runtime.release()
        await here.answers(asked.channel, asked.ts, 1)
    assert runtime_title(here) == "meanwhile"


async def test_a_runtime_that_takes_no_title_costs_nothing_else(here: World):
    async with here.app():
        asked = await talked(here)
        here.runtime.fault("server_error", route="sessions.update")
        await here.slack.rename("grace", asked.channel, asked.ts, "lost")
        await here.at_rest()
        await here.slack.say("ada", asked.channel, "more", thread_ts=asked.ts)
        await here.answers(asked.channel, asked.ts, 2)
    assert ((await here.session())["title"], runtime_title(here)) == ("lost", "hello")

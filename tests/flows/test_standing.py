"""Where no turn can simply run: no agent, a paused agent, an archived or a lost session."""

from typing import Any
from uuid import UUID

import pytest

from bot import previewing
from bot.local.model import Message
from router import notices
from router.notices import Trouble
from router.runtime.client import Runtime
from store import agents, sessions
from tests.harness import World
from tests.support import eventually


async def answered(here: World) -> Message:
    """A direct message that has its answer."""
    asked = await here.slack.say("ada", here.slack.dm("ada"), "one")
    await here.answers(asked.channel, asked.ts, 1)
    return asked


async def archive(here: World) -> UUID:
    """Asks for the end of the one session there is."""
    session_id: UUID = (await here.session())["id"]
    assert await sessions.request_archive(here.connection, here.agent_id, session_id)
    return session_id


async def archived(here: World) -> bool:
    return bool((await here.session())["status"] == "archived")


# ------------------------------------------------------------------ the agent


async def test_without_an_agent_the_thread_says_what_is_missing(here: World):
    async with here.app():
        await here.connection.execute("UPDATE oauth_installs SET default_agent_id = NULL")
        asked = await here.slack.say("ada", "general", "@threadline hello", twins="together")
        assert await here.answers(asked.channel, asked.ts, 1) == [notices.words(Trouble.NO_AGENT)]
        await agents.make_default(here.connection, here.workspace_id, here.agent_id)
        await here.slack.say("ada", "general", "@threadline hello", thread_ts=asked.ts)
        await here.answers(asked.channel, asked.ts, 2)
    earlier, asked_again = here.sent_texts()
    assert "> @threadline hello" in earlier
    assert asked_again == "hello"


async def test_an_agent_that_the_runtime_does_not_know_fails_visibly(here: World):
    async with here.app():
        await here.connection.execute("UPDATE deployed_agents SET anthropic_agent_id = 'agent_no'")
        asked = await here.slack.say("ada", here.slack.dm("ada"), "hello")
        (answer,) = await here.answers(asked.channel, asked.ts, 1)
        await eventually(lambda: here.slack.shown_status(asked.channel, asked.ts) == "active")
    assert answer == notices.words(Trouble.AGENT_MISSING)


async def test_a_paused_agent_says_so_once_and_answers_when_it_is_resumed(here: World):
    await here.connection.execute("UPDATE deployed_agents SET status = 'paused'")
    async with here.app():
        asked = await here.slack.say("ada", here.slack.dm("ada"), "one")
        await eventually(
            lambda: here.bot_posts(asked.channel, asked.ts) == [notices.words(Trouble.PAUSED)]
        )
        await here.slack.say("ada", asked.channel, "two", thread_ts=asked.ts)
        await here.slack.settle()
        claims = (await here.session())["lease_epoch"]
        await eventually(lambda: claimed_since(here, claims))
        await here.connection.execute("UPDATE deployed_agents SET status = 'active'")
        answers = await here.answers(asked.channel, asked.ts, 2)
    assert answers == [notices.words(Trouble.PAUSED), 'You said: "one" and "two"']


async def claimed_since(here: World, epoch: int) -> bool:
    now: int = (await here.session())["lease_epoch"]
    return now > epoch


# ------------------------------------------------------------------ archived


async def test_an_archived_session_answers_privately_and_ignores_talk(here: World):
    async with here.app():
        asked = await here.slack.say("ada", "general", "@threadline one")
        await here.answers(asked.channel, asked.ts, 1)
        await archive(here)
        await eventually(lambda: archived(here))
        await here.slack.say("grace", "general", "just talking", thread_ts=asked.ts)
        await here.slack.say("grace", "general", "@threadline two", thread_ts=asked.ts)
        await here.answers(asked.channel, asked.ts, 1)
        (told,) = here.slack.ephemerals
    assert (told.user, told.thread_ts, told.text) == (
        "U0GRACE",
        asked.ts,
        notices.words(Trouble.ARCHIVED),
    )
    (runtime_session,) = here.runtime.sessions()
    assert runtime_session["archived_at"] is not None
    assert here.sent_texts() == ["one"]


async def test_a_new_thread_goes_on_beside_an_archived_one(here: World):
    async with here.app():
        asked = await answered(here)
        await archive(here)
        await eventually(lambda: archived(here))
        again = await here.slack.say("ada", asked.channel, "two")
        assert await here.answers(again.channel, again.ts, 1) == ['You said: "two"']
    assert len(here.runtime.sessions()) == 2


async def test_an_archive_in_the_middle_of_a_turn_interrupts_and_refuses_what_waits(here: World):
    async with here.app():
        here.runtime.hold()
        asked = await here.slack.say("ada", here.slack.dm("ada"), "one")
        await eventually(here.runtime.held)
        await here.slack.say("ada", asked.channel, "two", thread_ts=asked.ts)
        await here.slack.settle()
        await archive(here)
        await eventually(lambda: archived(here))
        answers = await here.answers(asked.channel, asked.ts, 2)
        assert sorted(answers) == sorted(
            [notices.stopped(None, []), notices.words(Trouble.ARCHIVED_UNSENT)]
        )
        here.runtime.release()
        await eventually(lambda: here.slack.shown_status(asked.channel, asked.ts) == "active")
    (runtime_session,) = here.runtime.sessions()
    assert runtime_session["archived_at"] is not None
    assert [t["state"] for t in await here.turns()] == ["interrupted"]
    assert here.sent_texts() == ["one"]


@pytest.mark.parametrize("kind", ["unavailable", "drop_before", "status_lag"])
async def test_an_archive_is_asked_for_until_the_runtime_does_it(here: World, kind: Any):
    async with here.app():
        await answered(here)
        fault = here.runtime.fault(kind, route="sessions.archive")
        await archive(here)
        await eventually(lambda: archived(here))
    assert fault.hits == 1
    assert here.runtime.sessions()[0]["archived_at"] is not None


# ------------------------------------------------------------------ lost at the runtime


async def end_at_the_runtime(here: World, how: str) -> None:
    """Takes the one runtime session away behind our back."""
    (runtime_session,) = here.runtime.sessions()
    client = Runtime(api_key="local", base_url=here.runtime.url, max_streams=1)
    try:
        if how == "deleted":
            await client._calls.beta.sessions.delete(runtime_session["id"])
        else:
            await client.archive_session(runtime_session["id"])
    finally:
        await client.close()


@pytest.mark.parametrize("how", ["deleted", "archived"])
async def test_a_runtime_session_that_is_gone_is_replaced_and_the_thread_is_told(
    here: World, how: str
):
    async with here.app():
        asked = await answered(here)
        before = await here.session()
        await end_at_the_runtime(here, how)
        await here.slack.say("ada", asked.channel, "two", thread_ts=asked.ts)
        posts = await here.answers(asked.channel, asked.ts, 3)
    assert posts[1:] == [notices.words(Trouble.CONTEXT_LOST), 'You said: "two"']
    after = await here.session()
    assert after["id"] == before["id"]
    assert after["anthropic_session_id"] != before["anthropic_session_id"]


async def test_a_runtime_session_that_is_lost_in_the_middle_of_a_turn_is_replaced(
    here: World, monkeypatch: pytest.MonkeyPatch
):
    # words that were shown would stand as a message more
    monkeypatch.setattr(previewing, "_START_AFTER_SECONDS", 60.0)
    async with here.app():
        here.runtime.hold()
        asked = await here.slack.say("ada", here.slack.dm("ada"), "one")
        await eventually(here.runtime.held)
        (lost,) = here.runtime.sessions()
        # Each stream ends at its next event, and then there is nothing to come back to.
        here.runtime.fault("cut_stream", session_id=lost["id"], event_type="agent.message")
        here.runtime.fault("gone", session_id=lost["id"], times=None)
        here.runtime.release()
        posts = await here.answers(asked.channel, asked.ts, 2)
    assert posts == [notices.words(Trouble.CONTEXT_LOST), 'You said: "one"']
    assert [t["state"] for t in await here.turns()] == ["failed", "completed"]
    assert len(here.runtime.sessions()) == 2

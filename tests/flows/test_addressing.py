"""Who is answered, once: twins, retries, people sharing a thread, bots, guests, strangers."""

import re

import pytest

from router import notices
from router.notices import Trouble
from tests.harness import World
from tests.support import eventually

MARKER = re.compile(r'<input id="[0-9a-f-]{36}" from="([^"]+)" at="[^"]+"/>')


def speakers(here: World) -> list[str]:
    """Who spoke, by the marker block of each message that the runtime received."""
    return [
        found[1]
        for session in here.runtime.sessions()
        for event in here.runtime.received(session["id"])
        if event["type"] == "user.message"
        for block in event["content"]
        if (found := MARKER.fullmatch(block["text"]))
    ]


@pytest.mark.parametrize("twins", ["message_first", "mention_first", "together"])
async def test_the_twin_events_of_a_mention_make_one_turn(here: World, twins):
    async with here.app():
        asked = await here.slack.say("ada", "general", "@threadline hello", twins=twins)
        assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "hello"']
    assert [d.type for d in here.slack.deliveries if d.ts == asked.ts and d.status == 200] in (
        ["message", "app_mention"],
        ["app_mention", "message"],
    )
    assert here.sent_texts() == ["hello"]


async def test_an_event_that_is_delivered_three_times_makes_one_turn(here: World):
    async with here.app():
        asked = await here.slack.say("ada", here.slack.dm("ada"), "hello", duplicate=2)
        await here.answers(asked.channel, asked.ts, 1)
        await here.slack.redeliver(asked.ts, times=2)
        await here.answers(asked.channel, asked.ts, 1)
    assert here.sent_texts() == ["hello"]
    assert len([d for d in here.slack.deliveries if d.ts == asked.ts]) == 5


async def test_an_event_that_was_not_taken_is_sent_again_and_makes_one_turn(here: World):
    async with here.app() as app:
        # Stops the intake's door for one event: nothing else of ours answers 503 at will.
        app.intake._queue.extend([None] * 2_000)  # type: ignore[list-item]  # only counted
        asked = await here.slack.say("ada", here.slack.dm("ada"), "hello")
        await eventually(lambda: [d for d in here.slack.deliveries if d.status == 503])
        app.intake._queue.clear()
        await here.answers(asked.channel, asked.ts, 1)
    assert here.slack.deliveries[-1].ok or here.slack.deliveries[-1].ts != asked.ts
    assert here.sent_texts() == ["hello"]


async def test_two_people_in_one_thread_are_told_apart(here: World):
    async with here.app():
        asked = await here.slack.say("ada", "general", "@threadline hello")
        await here.answers(asked.channel, asked.ts, 1)
        await here.slack.say("grace", "general", "and me?", thread_ts=asked.ts)
        await here.answers(asked.channel, asked.ts, 2)
    assert speakers(here) == ["ada (U0ADA)", "grace (U0GRACE)"]
    assert len(here.runtime.sessions()) == 1


async def test_messages_that_waited_together_share_a_turn_in_order_of_time(here: World):
    async with here.app():
        here.runtime.hold()
        root = await here.slack.say("ada", "general", "@threadline zero")
        await eventually(here.runtime.held)
        said = [
            await here.slack.say(who, "general", text, thread_ts=root.ts, deliver=False)
            for who, text in (("ada", "one"), ("grace", "two"), ("ada", "three"))
        ]
        for message in reversed(said):
            (envelope,) = here.slack.envelopes(message.ts)
            assert await here.slack.deliver(envelope) == 200
        here.runtime.release()
        answers = await here.answers(root.channel, root.ts, 2)
    assert answers[1] == 'You said: "one" and "two" and "three"'
    assert here.sent_texts() == ["zero", "one", "two", "three"]
    assert [t["number"] for t in await here.turns()] == [1, 2]


@pytest.mark.parametrize("twins", ["message_first", "together"])
async def test_a_bare_mention_gets_help(here: World, twins):
    async with here.app():
        asked = await here.slack.say("ada", "general", "@threadline", twins=twins)
        assert await here.answers(asked.channel, asked.ts, 1) == [notices.HELP]
    assert here.runtime.sessions() == []


async def test_an_attachment_alone_reaches_the_agent_by_its_name(here: World):
    async with here.app():
        plan = await here.slack.upload("ada", "plan.pdf", b"\0a plan")
        asked = await here.slack.say("ada", here.slack.dm("ada"), "", file_ids=[plan])
        (answer,) = await here.answers(asked.channel, asked.ts, 1)
    assert "plan.pdf" in answer
    assert here.sent_texts()[0].startswith("[attached file: plan.pdf (")


async def test_a_message_of_forty_thousand_characters_is_answered_in_full(here: World):
    text = " ".join(f"word{n}" for n in range(5_000))[:40_000]
    async with here.app():
        asked = await here.slack.say("ada", here.slack.dm("ada"), text)
        await eventually(lambda: len(here.bot_posts(asked.channel, asked.ts)) > 3)
        await here.at_rest()
    assert here.sent_texts() == [text]
    posts = here.shown(asked.channel, asked.ts)
    assert re.findall(r"word\d+", " ".join(posts)) == re.findall(r"word\d+", text)
    assert (await here.session())["title"] == text[:80].strip()


async def test_a_message_without_any_text_gets_help(here: World):
    async with here.app():
        asked = await here.slack.say("ada", here.slack.dm("ada"), "x", deliver=False)
        (envelope,) = here.slack.envelopes(asked.ts)
        envelope["event"]["text"] = ""
        assert await here.slack.deliver(envelope) == 200
        assert await here.answers(asked.channel, asked.ts, 1) == [notices.HELP]


async def test_another_bot_is_not_answered(here: World):
    async with here.app():
        asked = await here.slack.say("deploybot", "general", "@threadline deployed")
        await here.at_rest()
        assert here.bot_posts(asked.channel, asked.ts) == []
    assert {d.status for d in here.slack.deliveries} == {200}
    assert await here.rows("SELECT * FROM agent_sessions") == []


async def test_its_own_posts_are_not_answered(here: World):
    async with here.app() as app:
        asked = await here.slack.say("ada", here.slack.dm("ada"), "!echo @threadline hello")
        await here.answers(asked.channel, asked.ts, 1)
        page = app.metrics.page().decode()
    assert 'threadline_slack_events_total{outcome="ignored",reason="own_message"} 1.0' in page
    assert len(await here.turns()) == 1


async def test_a_group_message_counts_as_a_channel(here: World):
    async with here.app():
        talk = await here.slack.say("ada", "mpim", "hello")
        asked = await here.slack.say("ada", "mpim", "@threadline hello")
        assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "hello"']
        assert here.bot_posts(talk.channel, talk.ts) == []
    await here.session()


async def test_a_guest_is_answered(here: World):
    async with here.app():
        asked = await here.slack.say("guest", here.slack.dm("guest"), "hello")
        await here.answers(asked.channel, asked.ts, 1)


async def test_a_guest_is_refused_privately_where_the_install_says_so(here: World):
    async with here.app():
        await here.connection.execute("UPDATE oauth_installs SET allow_guests = false")
        asked = await here.slack.say("guest", "general", "@threadline hello")
        (told,) = await eventually(lambda: here.slack.ephemerals)
        await here.at_rest()
        assert (told.user, told.text, told.thread_ts) == (
            "U0GUEST",
            notices.words(Trouble.GUEST),
            asked.ts,
        )
        await here.slack.say("ada", "general", "what?", thread_ts=asked.ts)
        assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "what?"']
    assert here.sent_texts() == ["what?"]


# ------------------------------------------------------------------ people from outside


async def test_a_stranger_is_told_once_per_thread_and_privately(here: World):
    async with here.app():
        first = await here.slack.say("connect", "shared", "@threadline hello", twins="together")
        again = await here.slack.say(
            "connect", "shared", "@threadline hello?", thread_ts=first.ts, twins="mention_first"
        )
        other = await here.slack.say("connect", "shared", "@threadline anyone?")
        await here.slack.say("connect", "shared", "just talking")
        await eventually(lambda: len(here.slack.ephemerals) == 2)
        await here.at_rest()
        for asked in (first, again, other):
            assert here.bot_posts(asked.channel, asked.ts) == []
    assert {(e.user, e.text) for e in here.slack.ephemerals} == {
        ("U0CONNECT", notices.words(Trouble.STRANGER))
    }
    assert sorted(e.thread_ts or "" for e in here.slack.ephemerals) == [first.ts, other.ts]
    assert await here.rows("SELECT * FROM agent_sessions") == []


@pytest.mark.parametrize(
    ("policy", "allowed"),
    [("allow_all", []), ("allow_list", ["T0OTHERTEAM"]), ("allow_list", ["U0CONNECT"])],
)
async def test_a_stranger_is_answered_where_the_policy_allows(
    here: World, policy: str, allowed: list[str]
):
    async with here.app():
        await here.connection.execute(
            "UPDATE oauth_installs SET external_policy = $1, allowed_external = $2", policy, allowed
        )
        asked = await here.slack.say("connect", "shared", "@threadline hello")
        assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "hello"']


async def test_a_stranger_who_is_not_on_the_list_is_told(here: World):
    async with here.app():
        await here.connection.execute(
            "UPDATE oauth_installs SET external_policy = 'allow_list',"
            " allowed_external = ARRAY['T0THIRDTEAM']"
        )
        await here.slack.say("connect", "shared", "@threadline hello")
        await eventually(lambda: here.slack.ephemerals)
        await here.at_rest()
    assert here.runtime.sessions() == []


async def test_a_member_is_answered_beside_a_stranger_in_a_shared_channel(here: World):
    async with here.app():
        asked = await here.slack.say("ada", "shared", "@threadline hello")
        await here.answers(asked.channel, asked.ts, 1)
        await here.slack.say("connect", "shared", "me too", thread_ts=asked.ts)
        await here.at_rest()
        assert len(here.bot_posts(asked.channel, asked.ts)) == 1
    assert here.sent_texts() == ["hello"]

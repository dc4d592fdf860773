"""Slack misbehaves: a reply is posted once, or buried with its reason, and the thread goes on."""

import asyncio
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from bot import delivery
from bot.local.model import Message
from router.clock import Backoff
from tests.harness import World
from tests.support import eventually

POST = "chat.postMessage"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed post is looked into at once, the second look follows closely."""
    monkeypatch.setattr(delivery, "_BACKOFF", Backoff(first=0.05, most=0.1))
    monkeypatch.setattr(delivery, "_LOOKS_APART_SECONDS", 0.05)


async def ask(here: World, text: str = "hello") -> Message:
    return await here.slack.say("ada", here.slack.dm("ada"), text)


async def answered_once(here: World, asked: Message) -> None:
    assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "hello"']
    delivered = await here.row("SELECT state, slack_ts, error FROM slack_outbox")
    last = here.slack.replies(asked.channel, asked.ts)[-1]
    assert delivered == {"state": "sent", "slack_ts": last.ts, "error": None}


def called(here: World, method: str) -> int:
    return len([call for call in here.slack.calls if call.method == method])


@pytest.mark.parametrize("kind", ["drop_after", "error_after"])
async def test_a_post_whose_answer_was_lost_is_found_and_not_doubled(here: World, kind: Any):
    here.slack.fault(kind, method=POST)
    async with here.app():
        asked = await ask(here)
        await answered_once(here, asked)
    assert called(here, POST) == 1
    assert called(here, "conversations.replies") == 1


@pytest.mark.parametrize("kind", ["drop_before", "error_before"])
async def test_a_post_that_failed_unclearly_is_looked_for_twice_and_made_again(
    here: World, kind: Any
):
    here.slack.fault(kind, method=POST)
    async with here.app():
        asked = await ask(here)
        await answered_once(here, asked)
    assert called(here, POST) == 2
    assert called(here, "conversations.replies") == 2


async def test_a_post_that_stalls_is_found(here: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bot.slack.CALL_SECONDS", 0.3)
    here.slack.fault("stall_after", method=POST, seconds=600)
    async with here.app() as app:
        asked = await ask(here)
        await eventually(lambda: here.bot_posts(asked.channel, asked.ts), says="a post")
        # whoever looks for it gets an answer, however busy the machine is
        monkeypatch.setattr(app.slack._session, "_timeout", aiohttp.ClientTimeout(total=30))
        await answered_once(here, asked)
    assert called(here, "conversations.replies") == 1


async def test_a_post_that_a_stale_listing_hides_is_found_at_the_second_look(here: World):
    here.slack.fault("drop_after", method=POST)
    here.slack.fault("stale", seconds=600, times=1)
    async with here.app():
        asked = await ask(here)
        await answered_once(here, asked)
    assert called(here, POST) == 1
    assert called(here, "conversations.replies") == 2


@pytest.mark.parametrize("error", ["internal_error", "fatal_error", "service_unavailable"])
async def test_an_error_that_says_nothing_is_looked_into(here: World, error: str):
    here.slack.fault("api_error", method=POST, error=error)
    async with here.app():
        asked = await ask(here)
        await answered_once(here, asked)


async def test_a_limit_is_waited_for_and_the_post_made_once(here: World):
    here.slack.fault("ratelimit", method=POST, retry_after=1)
    async with here.app():
        asked = await ask(here)
        await answered_once(here, asked)
    refused, made = [call for call in here.slack.calls if call.method == POST]
    assert refused.status == 429
    assert made.at - refused.at > 0.99
    assert called(here, "conversations.replies") == 0


async def test_without_the_blocks_that_slack_does_not_take_no_word_is_lost(here: World):
    here.slack.fault("api_error", method=POST, error="invalid_blocks")
    async with here.app():
        asked = await ask(here, "!long 8")
        (text,) = await here.answers(asked.channel, asked.ts, 1)
    assert "## Section 1\n" in text
    assert text.endswith("That is all.")
    posts = [call for call in here.slack.calls if call.method == POST]
    assert ["blocks" in post.args for post in posts] == [True, False]


# ------------------------------------------------------------------ what can never be posted


async def buried(here: World) -> list[str]:
    return [
        r["error"] for r in await here.rows("SELECT error FROM slack_outbox WHERE state='dead'")
    ]


@pytest.mark.parametrize(
    ("break_it", "mend_it", "error"),
    [
        ("kick_bot", "invite_bot", "not_in_channel"),
        ("archive_channel", "unarchive_channel", "is_archived"),
    ],
)
async def test_a_reply_that_can_not_be_posted_is_buried_and_the_thread_goes_on(
    here: World, break_it: Any, mend_it: Any, error: str
):
    async with here.app():
        here.runtime.hold()
        asked = await here.slack.say("ada", "general", "@threadline one")
        await eventually(here.runtime.held)
        here.slack.fault(break_it, channel="general")
        here.runtime.release()
        await eventually(lambda: buried(here))
        await here.at_rest()
        assert await buried(here) == [error]
        here.slack.fault(mend_it, channel="general")
        await here.slack.say("ada", "general", "@threadline two", thread_ts=asked.ts)
        assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "two"']
    assert [t["state"] for t in await here.turns()] == ["completed", "completed"]


async def test_a_part_that_can_not_be_posted_does_not_hold_the_next_ones(here: World):
    async with here.app():
        here.slack.fault("api_error", method=POST, error="msg_too_long")
        asked = await ask(here, "!long 30")
        await eventually(lambda: "That is all." in "".join(here.shown(asked.channel, asked.ts)))
        await here.at_rest()
    assert await buried(here) == ["msg_too_long"]
    states = await here.rows("SELECT state FROM slack_outbox ORDER BY position")
    assert [s["state"] for s in states] == ["dead"] + ["sent"] * (len(states) - 1)


async def test_a_reply_to_an_install_that_ended_is_buried(here: World):
    async with here.app():
        here.runtime.hold()
        asked = await ask(here)
        await eventually(here.runtime.held)
        here.slack.fault("revoke_token")
        await here.slack.settle()
        here.runtime.release()
        await eventually(lambda: buried(here))
        await here.at_rest()
    assert await buried(here) == ["install_ended"]
    assert here.bot_posts(asked.channel, asked.ts) == []


async def test_deliveries_buried_lately_stand_on_the_metrics_page(here: World):
    async with here.app():
        here.slack.fault("api_error", method=POST, error="restricted_action")
        await ask(here)
        await eventually(lambda: buried(here))
    async with here.app() as app:
        line = 'threadline_dead_deliveries{error="restricted_action"} 1.0'
        await eventually(lambda: line in app.metrics.page().decode())


# ------------------------------------------------------------------ what is only nice to have


async def test_where_there_are_no_agent_sessions_the_status_is_left_out(here: World):
    here.slack.fault("disable_agent_features")
    async with here.app() as app:
        asked = await ask(here)
        await answered_once(here, asked)
        await eventually(lambda: app.slack._without, says="a status that was refused")
        assert called(here, "agents.sessions.setStatus") == 1
        again = await ask(here)
        await here.answers(again.channel, again.ts, 1)
    assert called(here, "agents.sessions.setStatus") == 1


@pytest.mark.parametrize("kind", ["drop_before", "error_before", "ratelimit"])
@pytest.mark.parametrize("method", ["agents.sessions.setStatus", "users.info"])
async def test_trouble_with_a_nicety_costs_no_answer(here: World, kind: Any, method: str):
    here.slack.fault(kind, method=method, times=None)
    async with here.app():
        asked = await ask(here)
        await answered_once(here, asked)


@pytest.mark.parametrize("kind", ["drop_after", "error_after"])
async def test_a_private_sentence_whose_answer_was_lost_is_not_said_again(here: World, kind: Any):
    here.slack.fault(kind, method="chat.postEphemeral")
    async with here.app():
        await here.slack.say("connect", "shared", "@threadline hello")
        await eventually(lambda: here.slack.ephemerals)
        await here.at_rest()
    assert len(here.slack.ephemerals) == 1
    (row,) = await here.rows("SELECT state FROM slack_outbox")
    assert row["state"] == "sent"


async def test_events_that_come_late_and_twice_make_one_turn_each(here: World):
    here.slack.fault("reorder", seconds=0.2)
    here.slack.fault("duplicate", times=2)
    async with here.app():
        first = await ask(here, "one")
        second = await ask(here, "two")
        await here.answers(second.channel, second.ts, 1)
        await here.answers(first.channel, first.ts, 1)
    assert sorted(here.sent_texts()) == ["one", "two"]


async def test_whose_the_token_is_is_asked_until_slack_says_it(
    here: World, monkeypatch: pytest.MonkeyPatch
):
    """A process that is new to a workspace would hear of nothing there until its next start."""
    monkeypatch.setattr("bot.app._ASK_AGAIN_SECONDS", 0.05)
    here.slack.fault("error_before", method="auth.test", times=3, status=503)
    async with here.app():
        await eventually(lambda: here.rows("SELECT FROM oauth_installs"), says="the install")
        asked = await ask(here)
        assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "hello"']


async def test_a_token_that_slack_refuses_later_is_told_and_asked_for_no_more(
    here: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("bot.app._ASK_AGAIN_SECONDS", 0.05)
    here.slack.fault("error_before", method="auth.test", times=1, status=503)
    here.slack.fault("api_error", method="auth.test", times=None, error="invalid_auth")
    with capture_logs() as logged:
        async with here.app():
            await eventually(lambda: called(here, "auth.test") == 2)
            await eventually(lambda: "_install_later" not in repr(asyncio.all_tasks()))
    (line,) = [one for one in logged if one["event"] == "install.refused"]
    assert "SLACK_BOT_TOKEN (invalid_auth): install the app again" in line["error"]
    assert called(here, "auth.test") == 2

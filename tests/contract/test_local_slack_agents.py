"""Agent sessions in the local Slack: the stop button, titles, joins, and their events."""

from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest
from aiohttp import ClientSession
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.local import LocalSlack, Message, SlackError
from bot.local.events import SUBSCRIPTIONS
from bot.local.workspace import SCOPES
from tests.contract.slack_receiver import client_of, receiving

AGENT_EVENTS = {
    "agent_session_stopped",
    "agent_session_title_changed",
    "member_joined_channel",
}


@pytest.fixture
async def slack() -> AsyncIterator[LocalSlack]:
    subscriptions = SUBSCRIPTIONS | AGENT_EVENTS
    async with LocalSlack(limits=False, clock="virtual", subscriptions=subscriptions) as server:
        yield server


@pytest.fixture
async def root(slack: LocalSlack) -> Message:
    return await slack.say("ada", "general", "root")


async def start(slack: LocalSlack, root: Message) -> str:
    answer = await client_of(slack).chat_startStream(
        channel=root.channel,
        thread_ts=root.ts,
        recipient_user_id=slack.users["ada"],
        recipient_team_id=slack.team_id,
        markdown_text="so far",
    )
    ts: str = answer["ts"]
    return ts


async def set_status(client: AsyncWebClient, root: Message, status: str, **more: Any) -> Any:
    return await client.agents_sessions_setStatus(
        channel_id=root.channel, thread_ts=root.ts, status=status, **more
    )


async def error(call: Awaitable[Any]) -> str:
    with pytest.raises(SlackApiError) as caught:
        await call
    response: Any = caught.value.response
    name: str = response["error"]
    return name


def of_type(slack: LocalSlack, root: Message, kind: str) -> list[dict[str, Any]]:
    return [one for one in slack.envelopes(root.ts) if one["event"]["type"] == kind]


# ---------------------------------------------------------------------- the stop button


async def test_stop_ends_the_streams_of_its_thread(
    slack: LocalSlack, client: AsyncWebClient, root: Message
):
    other = await slack.say("ada", "general", "another root")
    first, second, elsewhere = [await start(slack, one) for one in (root, root, other)]
    assert await slack.stop("grace", "general", root.ts) == [first, second]
    for ts in (first, second):
        late = client.chat_appendStream(channel=root.channel, ts=ts, markdown_text="!")
        assert await error(late) == "stopped_by_user"
        ended = client.chat_stopStream(channel=root.channel, ts=ts)
        assert await error(ended) == "message_not_in_streaming_state"
    await client.chat_appendStream(channel=root.channel, ts=elsewhere, markdown_text="!")
    shown = slack.replies("general", root.ts)[1]
    assert (shown.text, shown.streaming_state) == ("so far", "completed")
    # The status is the app's to change.
    assert slack.shown_status("general", root.ts) == "processing"


async def test_the_stop_event(slack: LocalSlack, root: Message):
    ts = await start(slack, root)
    async with receiving(slack) as receiver:
        await slack.stop("grace", "general", root.ts)
        await slack.settle()
        assert "agent_session_stopped" in receiver.kinds
    [envelope] = of_type(slack, root, "agent_session_stopped")
    assert envelope["event"] | {"event_ts": ""} == {
        "type": "agent_session_stopped",
        "channel": root.channel,
        "thread_ts": root.ts,
        "user": slack.users["grace"],
        "streaming_message_ts": [ts],
        "event_ts": "",
    }
    assert envelope["team_id"] == envelope["authorizations"][0]["team_id"] == slack.team_id
    assert envelope["type"] == "event_callback"


async def test_stop_without_a_stream_and_after_the_end(
    slack: LocalSlack, client: AsyncWebClient, root: Message
):
    await set_status(client, root, "processing")
    assert await slack.stop("ada", "general", root.ts) == []
    await set_status(client, root, "active")
    assert await slack.stop("ada", "general", root.ts) == []
    listed = [
        one["event"]["streaming_message_ts"]
        for one in of_type(slack, root, "agent_session_stopped")
    ]
    assert listed == [[], []]


async def test_stop_does_not_name_streams_that_were_over(slack: LocalSlack, root: Message):
    await start(slack, root)
    slack.advance(300)
    assert await slack.stop("ada", "general", root.ts) == []
    assert slack.replies("general", root.ts)[1].streaming_state == "errored"


async def test_an_update_makes_no_stopped_stream_go_on(
    slack: LocalSlack, client: AsyncWebClient, root: Message
):
    ts = await start(slack, root)
    await slack.stop("ada", "general", root.ts)
    await client.chat_update(channel=root.channel, ts=ts, text="Stopped by ada.")
    late = client.chat_appendStream(channel=root.channel, ts=ts, markdown_text="!")
    assert await error(late) == "stopped_by_user"


async def test_who_may_stop(slack: LocalSlack, client: AsyncWebClient, root: Message):
    with pytest.raises(SlackError, match="session_not_found"):
        await slack.stop("ada", "general", root.ts)
    await set_status(client, root, "processing")
    with pytest.raises(SlackError, match="not_in_channel"):
        await slack.stop("connect", "general", root.ts)
    with pytest.raises(SlackError, match="thread_not_found"):
        await slack.stop("ada", "general", "1.000000")
    direct = await slack.say("ada", slack.dm("ada"), "hi")
    assert await slack.stop("ada", slack.dm("ada"), direct.ts) == []


async def test_stop_over_the_control_route(slack: LocalSlack, root: Message):
    ts = await start(slack, root)
    body = {"user": "ada", "channel": "general", "thread_ts": root.ts}
    async with ClientSession(f"{slack.url}/_control/") as session:
        async with session.post("stop", json=body) as response:
            assert await response.json() == {"ok": True, "streaming_message_ts": [ts]}
        async with session.post("stop", json=body | {"user": "nobody"}) as response:
            assert response.status == 404


async def test_without_the_subscription_there_is_a_warning_and_no_event():
    async with LocalSlack() as slack:
        root = await slack.say("ada", "general", "root")
        answer = await set_status(client_of(slack), root, "processing")
        assert answer["warning"] == "missing_agent_session_stopped_event_subscription"
        ts = await start(slack, root)
        assert await slack.stop("ada", "general", root.ts) == [ts]
        assert of_type(slack, root, "agent_session_stopped") == []


async def test_with_the_subscription_there_is_no_warning(client: AsyncWebClient, root: Message):
    assert "warning" not in (await set_status(client, root, "processing")).data


# ---------------------------------------------------------------------------- status


async def test_streams_set_the_status_themselves(
    slack: LocalSlack, client: AsyncWebClient, root: Message
):
    ts = await start(slack, root)
    assert slack.shown_status("general", root.ts) == "processing"
    await client.chat_stopStream(channel=root.channel, ts=ts)
    assert slack.shown_status("general", root.ts) == "active"
    ts = await start(slack, root)
    bad = client.chat_stopStream(channel=root.channel, ts=ts, session_status="busy")
    assert await error(bad) == "invalid_arguments"
    await client.chat_stopStream(channel=root.channel, ts=ts, session_status="suspended")
    assert slack.shown_status("general", root.ts) == "suspended"
    assert [one.status for one in slack.statuses] == [
        "processing",
        "active",
        "processing",
        "suspended",
    ]


async def test_streams_keep_the_title(slack: LocalSlack, client: AsyncWebClient, root: Message):
    await set_status(client, root, "processing", title="Named")
    ts = await start(slack, root)
    await client.chat_stopStream(channel=root.channel, ts=ts)
    assert slack.statuses[-1].title == "Named"


async def test_processing_ends_after_an_hour_unless_sent_again(
    slack: LocalSlack, client: AsyncWebClient, root: Message
):
    await start(slack, root)
    slack.advance(3_000)
    await set_status(client, root, "processing")
    slack.advance(3_599)
    assert slack.shown_status("general", root.ts) == "processing"
    slack.advance(1)
    assert slack.shown_status("general", root.ts) == "active"


async def test_without_agent_features_streams_make_no_session(slack: LocalSlack, root: Message):
    slack.fault("disable_agent_features")
    await start(slack, root)
    assert slack.shown_status("general", root.ts) is None


async def test_names_and_icons_need_their_scope(client: AsyncWebClient, root: Message):
    call = set_status(client, root, "active", icon_emoji=":robot_face:")
    assert await error(call) == "missing_scope"
    async with LocalSlack(scopes=SCOPES | {"chat:write.customize"}) as slack:
        said = await slack.say("ada", "general", "root")
        assert (await set_status(client_of(slack), said, "active", username="Robot"))["ok"]


# ----------------------------------------------------------------------------- titles


async def test_a_persons_new_title_is_told(
    slack: LocalSlack, client: AsyncWebClient, root: Message
):
    await set_status(client, root, "suspended")
    await slack.rename("ada", "general", root.ts, "First")
    await slack.rename("grace", "general", root.ts, "Second")
    first, second = of_type(slack, root, "agent_session_title_changed")
    assert "previous_title" not in first["event"]
    assert second["event"] | {"event_ts": ""} == {
        "type": "agent_session_title_changed",
        "channel": root.channel,
        "thread_ts": root.ts,
        "team_id": slack.team_id,
        "previous_title": "First",
        "title": "Second",
        "user": slack.users["grace"],
        "event_ts": "",
    }
    assert (slack.statuses[-1].status, slack.statuses[-1].title) == ("suspended", "Second")


async def test_the_apps_own_title_is_not_told(
    slack: LocalSlack, client: AsyncWebClient, root: Message
):
    await set_status(client, root, "active")
    await client.agents_sessions_rename(channel_id=root.channel, thread_ts=root.ts, title="Ours")
    assert of_type(slack, root, "agent_session_title_changed") == []
    await slack.rename("ada", "general", root.ts, "Theirs")
    [told] = of_type(slack, root, "agent_session_title_changed")
    assert told["event"]["previous_title"] == "Ours"


async def test_refused_titles(slack: LocalSlack, client: AsyncWebClient, root: Message):
    with pytest.raises(SlackError, match="session_not_found"):
        await slack.rename("ada", "general", root.ts, "x")
    await set_status(client, root, "active")
    for title in ("", "x" * 201):
        with pytest.raises(SlackError, match="invalid_arguments"):
            await slack.rename("ada", "general", root.ts, title)
    with pytest.raises(SlackError, match="not_in_channel"):
        await slack.rename("connect", "general", root.ts, "x")


# ------------------------------------------------------------------------------ joins


async def test_an_invitation_is_told(slack: LocalSlack):
    async with receiving(slack) as receiver:
        slack.fault("invite_bot", channel="nobot")
        slack.fault("invite_bot", channel="nobot")
        slack.fault("kick_bot", channel="private")
        slack.fault("invite_bot", channel="private")
        await slack.settle()
        # Bolt has no listener for it and answers 404, so that each comes more than once.
        events = {one.body["event_id"]: one.event for one in receiver.requests}
    public, private = sorted(events.values(), key=lambda event: str(event["channel_type"]))
    assert public | {"event_ts": ""} == {
        "type": "member_joined_channel",
        "user": slack.bot_user_id,
        "channel": slack.channels["nobot"],
        "channel_type": "C",
        "team": slack.team_id,
        "inviter": slack.users["ada"],
        "event_ts": "",
    }
    assert (private["channel_type"], private["channel"]) == ("G", slack.channels["private"])


async def test_an_invitation_is_not_told_without_the_subscription():
    async with LocalSlack() as slack, receiving(slack) as receiver:
        slack.fault("invite_bot", channel="nobot")
        await slack.settle()
        assert receiver.requests == []

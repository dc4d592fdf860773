"""The events that gestures cause, received and verified by a real Bolt app."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from bot.local import LocalSlack, SlackError
from tests.contract.slack_receiver import Receiver, client_of, receiving
from tests.support import eventually


@pytest.fixture
async def receiver(slack: LocalSlack) -> AsyncIterator[Receiver]:
    async with receiving(slack) as app:
        yield app


async def test_direct_message_arrives_once_in_its_full_envelope(
    slack: LocalSlack, receiver: Receiver
):
    said = await slack.say("ada", slack.dm("ada"), "hello & <goodbye>")
    await slack.settle()
    [request] = receiver.requests
    body = request.body
    assert request.status == 200
    assert body["type"] == "event_callback"
    assert body["team_id"] == body["context_team_id"] == slack.team_id
    assert body["api_app_id"] == slack.api_app_id
    assert body["context_enterprise_id"] is None
    assert body["is_ext_shared_channel"] is False
    assert body["event_context"]
    assert body["token"]
    assert body["event_time"] == pytest.approx(float(said.ts), abs=60)
    assert body["authorizations"] == [
        {
            "enterprise_id": None,
            "team_id": slack.team_id,
            "user_id": slack.bot_user_id,
            "is_bot": True,
            "is_enterprise_install": False,
        }
    ]
    event = body["event"]
    assert event["type"] == "message"
    assert event["channel_type"] == "im"
    assert event["text"] == "hello &amp; &lt;goodbye&gt;"
    assert event["ts"] == event["event_ts"] == said.ts
    assert event["user"] == slack.users["ada"]
    assert event["team"] == slack.team_id
    assert event["client_msg_id"]
    assert event["blocks"][0]["elements"][0]["elements"] == [
        {"type": "text", "text": "hello & <goodbye>"}
    ]
    assert "thread_ts" not in event
    await eventually(lambda: [heard["text"] for heard in receiver.heard] == [event["text"]])


@pytest.mark.parametrize(
    ("twins", "kinds"),
    [
        ("message_first", ["message", "app_mention"]),
        ("mention_first", ["app_mention", "message"]),
    ],
)
async def test_mention_comes_as_twins_in_the_chosen_order(
    slack: LocalSlack, receiver: Receiver, twins: Any, kinds: list[str]
):
    said = await slack.say("ada", "general", "@threadline hi @grace", twins=twins)
    await slack.settle()
    assert receiver.kinds == kinds
    one, other = receiver.requests
    assert one.body["event_id"] != other.body["event_id"]
    assert one.event["ts"] == other.event["ts"] == said.ts
    assert one.event["client_msg_id"] == other.event["client_msg_id"]
    assert one.event["text"] == f"<@{slack.bot_user_id}> hi <@{slack.users['grace']}>"
    mention = next(
        request.event for request in receiver.requests if "mention" in request.event["type"]
    )
    assert "channel_type" not in mention
    assert mention["blocks"][0]["elements"][0]["elements"][0] == {
        "type": "user",
        "user_id": slack.bot_user_id,
    }


async def test_twins_together_and_duplicates(slack: LocalSlack, receiver: Receiver):
    said = await slack.say("ada", "general", "@threadline hi", twins="together", duplicate=2)
    await slack.settle()
    ids = [request.body["event_id"] for request in receiver.requests]
    assert len(ids) == 6
    assert len(set(ids)) == 2
    assert set(ids) == {envelope["event_id"] for envelope in slack.envelopes(said.ts)}


async def test_mention_in_a_group_message_has_a_twin_but_in_a_direct_message_none(
    slack: LocalSlack, receiver: Receiver
):
    await slack.say("ada", "mpim", "@threadline hi")
    await slack.say("ada", slack.dm("ada"), "@threadline hi")
    await slack.settle()
    assert sorted(receiver.kinds) == ["app_mention", "message", "message"]
    assert {request.event.get("channel_type") for request in receiver.requests} == {
        "mpim",
        "im",
        None,
    }


async def test_reply_names_its_thread_and_parent(slack: LocalSlack, receiver: Receiver):
    root = await slack.say("ada", "private", "root")
    await slack.say("grace", "private", "reply", thread_ts=root.ts)
    await slack.settle()
    reply = next(request.event for request in receiver.requests if "thread_ts" in request.event)
    assert reply["thread_ts"] == root.ts
    assert reply["parent_user_id"] == slack.users["ada"]
    assert reply["channel_type"] == "group"


async def test_channel_without_the_bot_delivers_nothing(slack: LocalSlack, receiver: Receiver):
    await slack.say("ada", "nobot", "@threadline hi")
    slack.fault("kick_bot", channel="random")
    await slack.say("ada", "random", "@threadline hi")
    await slack.settle()
    assert receiver.requests == []


async def test_own_posts_updates_and_deletes_come_back(slack: LocalSlack, receiver: Receiver):
    client = client_of(slack)
    channel = slack.channels["general"]
    posted = await client.chat_postMessage(channel=channel, text="one")
    await client.chat_update(channel=channel, ts=posted["ts"], text="two")
    await client.chat_delete(channel=channel, ts=posted["ts"])
    await slack.settle()
    by_kind = dict(
        zip(receiver.kinds, (request.event for request in receiver.requests), strict=True)
    )
    own = by_kind["message"]
    assert "subtype" not in own
    assert own["user"] == slack.bot_user_id
    assert own["bot_id"] == own["bot_profile"]["id"] == slack.bot_id
    assert own["app_id"] == slack.api_app_id
    assert by_kind["message_changed"]["message"]["text"] == "two"
    assert by_kind["message_changed"]["message"]["edited"]["user"] == slack.bot_user_id
    assert by_kind["message_changed"]["previous_message"]["text"] == "one"
    assert by_kind["message_deleted"]["deleted_ts"] == posted["ts"]
    assert all(request.status == 200 for request in receiver.requests)
    # Bolt keeps its own app's events from listeners.
    assert receiver.heard == []


async def test_edit_of_a_mention_fires_the_mention_again(slack: LocalSlack, receiver: Receiver):
    said = await slack.say("ada", "general", "@threadline one", deliver=False)
    await slack.say("grace", "general", "reply", thread_ts=said.ts, deliver=False)
    await slack.edit("general", said.ts, "@threadline two")
    await slack.settle()
    assert receiver.kinds == ["message_changed", "app_mention"]
    changed, mention = (request.event for request in receiver.requests)
    assert changed["hidden"] is True
    assert changed["ts"] == changed["event_ts"] != said.ts
    assert changed["message"]["ts"] == said.ts
    assert changed["message"]["edited"]["user"] == slack.users["ada"]
    assert changed["previous_message"]["text"].endswith("one")
    assert mention["ts"] == mention["thread_ts"] == said.ts
    assert mention["edited"] == changed["message"]["edited"]
    ids = {envelope["event_id"] for envelope in slack.envelopes(said.ts)}
    assert len(ids) == 4


async def test_edit_without_a_mention_and_an_unfurl(slack: LocalSlack, receiver: Receiver):
    said = await slack.say("ada", "general", "see https://example.com", deliver=False)
    await slack.unfurl("general", said.ts, "https://example.com")
    await slack.edit("general", said.ts, "never mind")
    await slack.settle()
    assert receiver.kinds == ["message_changed", "message_changed"]
    events = [request.event for request in receiver.requests]
    edited = [event for event in events if "edited" in event["message"]]
    assert [event["message"]["text"] for event in edited] == ["never mind"]


async def test_delete_tells_what_stood_there(slack: LocalSlack, receiver: Receiver):
    said = await slack.say("ada", "general", "oops", deliver=False)
    await slack.delete("general", said.ts)
    await slack.settle()
    [event] = [request.event for request in receiver.requests]
    assert event["subtype"] == "message_deleted"
    assert event["deleted_ts"] == event["previous_message"]["ts"] == said.ts
    assert event["hidden"] is True
    assert slack.replies("general", said.ts) == []


async def test_deleted_root_with_replies_leaves_a_tombstone(slack: LocalSlack):
    root = await slack.say("ada", "general", "root")
    await slack.say("ada", "general", "reply", thread_ts=root.ts)
    await slack.delete("general", root.ts)
    first, reply = slack.replies("general", root.ts)
    assert (first.subtype, reply.text) == ("tombstone", "reply")


async def test_file_share(slack: LocalSlack, receiver: Receiver):
    await slack.say("ada", "general", "@threadline look", files=["plot.png"])
    await slack.say("connect", "shared", "", files=["secret.txt"])
    await slack.settle()
    events = [request.event for request in receiver.requests]
    home = [event for event in events if event["channel"] == slack.channels["general"]]
    assert {event["subtype"] for event in events} == {"file_share"}
    assert home[0]["files"][0]["name"] == "plot.png"
    [abroad] = [event for event in events if event["channel"] == slack.channels["shared"]]
    assert abroad["files"][0]["file_access"] == "check_file_info"
    assert abroad["text"] == ""


async def test_another_bots_post_and_mention(slack: LocalSlack, receiver: Receiver):
    await slack.say("deploybot", "general", "@threadline deployed")
    await slack.settle()
    message, mention = (request.event for request in receiver.requests)
    assert message["subtype"] == mention["subtype"] == "bot_message"
    assert message["bot_id"] == mention["bot_id"] != slack.bot_id
    assert message["username"] == "deploybot"
    assert "user" not in message


async def test_also_send_to_channel(slack: LocalSlack, receiver: Receiver):
    root = await slack.say("ada", "general", "root", deliver=False)
    await slack.say("ada", "general", "news", thread_ts=root.ts, broadcast=True)
    await slack.settle()
    [event] = [request.event for request in receiver.requests]
    assert event["subtype"] == "thread_broadcast"
    assert event["root"]["ts"] == event["thread_ts"] == root.ts
    assert [message.text for message in slack.history("general")] == ["root", "news"]


async def test_slack_connect_twins_carry_different_outer_teams(
    slack: LocalSlack, receiver: Receiver
):
    await slack.say("connect", "shared", "@threadline hi")
    await slack.settle()
    message, mention = receiver.requests
    foreign = message.event["team"]
    assert foreign != slack.team_id
    assert message.body["team_id"] == foreign
    assert mention.body["team_id"] == slack.team_id
    assert mention.event["team"] == slack.team_id
    for request in (message, mention):
        assert request.body["context_team_id"] == slack.team_id
        assert request.body["authorizations"][0]["team_id"] == slack.team_id
        assert request.body["is_ext_shared_channel"] is True
        assert request.event["user_team"] == request.event["source_team"] == foreign
        assert request.event["user_profile"]["team"] == foreign


async def test_own_post_in_a_shared_channel_names_the_other_side(
    slack: LocalSlack, receiver: Receiver
):
    await client_of(slack).chat_postMessage(channel=slack.channels["shared"], text="hi")
    await slack.settle()
    [request] = receiver.requests
    assert request.body["team_id"] != slack.team_id
    assert request.body["authorizations"][0]["team_id"] == slack.team_id


@pytest.mark.parametrize(
    ("fault", "kinds"),
    [
        ("revoke_token", ["tokens_revoked"]),
        ("uninstall_app", ["app_uninstalled", "tokens_revoked"]),
        ("deactivate_account", []),
    ],
)
async def test_the_end_of_an_installation_is_told(
    slack: LocalSlack, receiver: Receiver, fault: Any, kinds: list[str]
):
    # Bolt would first ask auth.test, which fails now.
    receiver.refuse = [web.Response() for _ in kinds]
    slack.fault(fault)
    await slack.settle()
    assert sorted(receiver.kinds) == kinds
    for request in receiver.requests:
        assert request.body["team_id"] == slack.team_id
        assert "authorizations" not in request.body


async def test_unsubscribed_events_are_not_delivered():
    wanted = frozenset(["app_mention"])
    async with LocalSlack(subscriptions=wanted) as slack, receiving(slack) as receiver:
        await slack.say("ada", "general", "@threadline hi")
        await slack.say("ada", slack.dm("ada"), "hi")
        await slack.settle()
        assert receiver.kinds == ["app_mention"]


async def test_gestures_that_slack_would_refuse(slack: LocalSlack):
    root = await slack.say("ada", "general", "root")
    reply = await slack.say("ada", "general", "reply", thread_ts=root.ts)
    own = await client_of(slack).chat_postMessage(channel=slack.channels["general"], text="own")
    slack.fault("archive_channel", channel="random")
    refusals = [
        ("user_not_found", slack.say("nobody", "general", "hi")),
        ("channel_not_found", slack.say("ada", "nowhere", "hi")),
        ("not_in_channel", slack.say("linus", "mpim", "hi")),
        ("no_text", slack.say("ada", "general", "")),
        ("is_archived", slack.say("ada", "random", "hi")),
        ("thread_not_found", slack.say("ada", "general", "hi", thread_ts="1.000000")),
        ("cannot_reply_to_message", slack.say("ada", "general", "hi", thread_ts=reply.ts)),
        ("message_not_found", slack.edit("general", "1.000000", "hi")),
        ("cant_update_message", slack.edit("general", own["ts"], "hi")),
        ("message_not_found", slack.delete("general", "1.000000")),
    ]
    for name, gesture in refusals:
        with pytest.raises(SlackError, match=name):
            await gesture

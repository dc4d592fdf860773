"""Streams of the local Slack, called through the real slack_sdk."""

import json
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError

from bot.local import LocalSlack
from bot.local.workspace import SCOPES
from tests.contract.slack_receiver import client_of, receiving
from tests.contract.slack_thread import Thread, error, task, text, thread_in


@pytest.fixture
async def thread(slack: LocalSlack) -> Thread:
    return await thread_in(slack)


# ------------------------------------------------------------------ the ordinary way


async def test_text_grows_until_the_stop(thread: Thread):
    ts = await thread.start(markdown_text="One ")
    answer = await thread.append(ts, markdown_text="two ")
    assert (answer["channel"], answer["ts"]) == (thread.channel, ts)
    assert thread.shown(ts).streaming_state == "in_progress"
    listed = await thread.listed(ts)
    assert (listed["streaming_state"], listed["text"]) == ("in_progress", "One two ")
    stopped = await thread.stop(
        ts,
        markdown_text="three",
        blocks=[{"type": "divider"}],
        metadata={"event_type": "delivery", "event_payload": {"delivery_id": "d1"}},
    )
    assert stopped["message"]["text"] == "One two three"
    assert stopped["message"]["streaming_state"] == "completed"
    listed = await thread.listed(ts)
    assert [block["type"] for block in listed["blocks"]] == ["rich_text", "divider"]
    assert listed["metadata"]["event_payload"] == {"delivery_id": "d1"}
    assert listed["bot_id"] == thread.slack.bot_id
    assert "edited" not in listed


async def test_the_sdk_helper_streams(thread: Thread):
    stream = await thread.client.chat_stream(
        channel=thread.channel,
        thread_ts=thread.root,
        recipient_user_id=thread.slack.users["ada"],
        recipient_team_id=thread.slack.team_id,
        buffer_size=8,
    )
    for word in ("Some ", "words ", "in ", "pieces"):
        await stream.append(markdown_text=word)
    await stream.append(chunks=[task("t", "complete")])
    await stream.stop()
    shown = thread.shown(stream.ts or "")
    assert (shown.text, shown.streaming_state) == ("Some words in pieces", "completed")
    assert [one["status"] for one in shown.tasks] == ["complete"]


async def test_a_stream_needs_no_text_to_start_and_none_to_stop(thread: Thread):
    ts = await thread.start()
    assert thread.shown(ts).text == ""
    await thread.stop(ts)
    assert thread.shown(ts).streaming_state == "completed"


async def test_forms_carry_structures_as_json(thread: Thread):
    ts = await thread.start()
    form = {
        "channel": thread.channel,
        "ts": ts,
        "chunks": json.dumps([text("x")]),
        "blocks": json.dumps([{"type": "divider"}]),
        "metadata": json.dumps({"event_type": "e", "event_payload": {"a": 1}}),
    }
    answer = await thread.client.api_call("chat.stopStream", data=form)
    assert answer["message"]["metadata"]["event_type"] == "e"
    assert thread.shown(ts).text == "x"
    broken = thread.client.api_call(
        "chat.stopStream", data=form | {"ts": await thread.start(), "chunks": "["}
    )
    assert await error(broken) == "invalid_chunks"


# ------------------------------------------------------------------------- recipients


async def test_channels_need_a_recipient_and_direct_messages_none(slack: LocalSlack):
    thread = await thread_in(slack)
    assert await error(thread.start(recipient_user_id=None)) == "missing_recipient_user_id"
    assert await error(thread.start(recipient_team_id=None)) == "missing_recipient_team_id"
    private = await thread_in(slack, "private")
    assert await error(private.start(recipient_user_id=None)) == "missing_recipient_user_id"
    direct = await thread_in(slack, slack.dm("ada"))
    ts = await direct.start(recipient_user_id=None, recipient_team_id=None, markdown_text="hi")
    assert direct.shown(ts).text == "hi"


async def test_recipients_must_exist_in_their_team(slack: LocalSlack, thread: Thread):
    assert await error(thread.start(recipient_user_id="U0NOBODY")) == "user_not_found"
    assert await error(thread.start(recipient_team_id="T0OTHERTEAM")) == "user_not_found"
    stranger = slack.users["connect"]
    for team in (slack.team_id, "T0OTHERTEAM"):
        call = thread.start(recipient_user_id=stranger, recipient_team_id=team)
        assert await error(call) == "user_not_found"


async def test_strangers_may_receive_by_switch_with_their_own_team():
    async with LocalSlack(foreign_recipients=True) as slack:
        thread = await thread_in(slack, "shared")
        stranger = slack.users["connect"]
        wrong = thread.start(recipient_user_id=stranger, recipient_team_id=slack.team_id)
        assert await error(wrong) == "user_not_found"
        assert await thread.start(recipient_user_id=stranger, recipient_team_id="T0OTHERTEAM")


# ---------------------------------------------------------------------------- places


async def test_places_that_take_no_stream(slack: LocalSlack, thread: Thread):
    assert await error(thread.start(channel="C0NOWHERE")) == "channel_not_found"
    assert await error(thread.start(channel=slack.channels["nobot"])) == "not_in_channel"
    assert await error(thread.start(thread_ts="")) == "invalid_arguments"
    assert await error(thread.start(thread_ts="1.000000")) == "thread_not_found"
    assert await error(thread.start(task_display_mode="dense")) == "invalid_arguments"
    reply = await slack.say("ada", "general", "re", thread_ts=thread.root)
    assert await error(thread.start(thread_ts=reply.ts)) == "cannot_reply_to_message"
    group = await thread_in(slack, "mpim")
    assert await error(group.start()) == "channel_type_not_supported"
    ts = await thread.start()
    slack.fault("archive_channel", channel="general")
    for call in (thread.start(), thread.append(ts, markdown_text="x"), thread.stop(ts)):
        assert await error(call) == "is_archived"
    slack.fault("unarchive_channel", channel="general")
    slack.fault("kick_bot", channel="general")
    assert await error(thread.append(ts, markdown_text="x")) == "not_in_channel"


async def test_messages_that_are_no_open_stream(thread: Thread):
    for call in (thread.append("1.000000", markdown_text="x"), thread.stop("1.000000")):
        assert await error(call) == "message_not_found"
    for call in (thread.append(thread.root, markdown_text="x"), thread.stop(thread.root)):
        assert await error(call) == "message_not_owned_by_app"
    posted = await thread.client.chat_postMessage(channel=thread.channel, text="posted")
    assert await error(thread.stop(posted["ts"])) == "message_not_in_streaming_state"
    ts = await thread.start(markdown_text="x")
    await thread.stop(ts)
    for call in (thread.append(ts, markdown_text="y"), thread.stop(ts)):
        assert await error(call) == "message_not_in_streaming_state"
    assert thread.shown(ts).text == "x"


async def test_names_and_icons_need_their_scope():
    async with LocalSlack(scopes=SCOPES | {"chat:write.customize"}) as slack:
        assert await (await thread_in(slack)).start(username="Robot")
    async with LocalSlack() as slack:
        assert await error((await thread_in(slack)).start(username="Robot")) == "missing_scope"


# ----------------------------------------------------------------- life, update, delete


async def test_a_stream_is_over_five_minutes_after_its_start(slack: LocalSlack, thread: Thread):
    ts = await thread.start(chunks=[text("So far"), task("t")])
    slack.advance(299)
    await thread.append(ts, chunks=[text(" so good")])
    slack.advance(1)
    assert thread.shown(ts).streaming_state == "errored"
    for call in (thread.append(ts, chunks=[text("!")]), thread.stop(ts)):
        assert await error(call) == "message_not_in_streaming_state"
    listed = await thread.listed(ts)
    assert (listed["streaming_state"], listed["text"]) == ("errored", "So far so good")
    younger = await thread.start()
    slack.advance(200)
    assert thread.shown(younger).streaming_state == "in_progress"


async def test_streams_expire_by_order(slack: LocalSlack, thread: Thread):
    stamps = [await thread.start(markdown_text="x") for _ in range(2)]
    slack.fault("expire_streams")
    assert [thread.shown(ts).streaming_state for ts in stamps] == ["errored", "errored"]


async def test_update_waits_for_the_end_and_replaces_everything(slack: LocalSlack, thread: Thread):
    ts = await thread.start(chunks=[text("streamed"), task("t", "complete")])

    def update() -> Awaitable[Any]:
        return thread.client.chat_update(channel=thread.channel, ts=ts, text="final")

    assert await error(update()) == "streaming_state_conflict"
    slack.fault("expire_streams")
    await update()
    shown = thread.shown(ts)
    assert (shown.text, shown.tasks, shown.streaming_state) == ("final", [], "completed")
    assert [block["type"] for block in shown.blocks] == ["rich_text"]
    late = thread.append(ts, chunks=[text("x")])
    assert await error(late) == "message_not_in_streaming_state"


async def test_an_open_stream_cannot_be_deleted(thread: Thread):
    ts = await thread.start(markdown_text="x")
    delete = thread.client.chat_delete(channel=thread.channel, ts=ts)
    assert await error(delete) == "cant_delete_message"
    await thread.stop(ts)
    await thread.client.chat_delete(channel=thread.channel, ts=ts)
    assert len(thread.slack.replies(thread.channel, thread.root)) == 1


async def test_a_stream_that_somebody_deleted_is_gone(slack: LocalSlack, thread: Thread):
    ts = await thread.start(markdown_text="x")
    await slack.delete("general", ts)
    assert await error(thread.append(ts, markdown_text="y")) == "message_not_found"
    slack.advance(301)
    assert len(slack.replies("general", thread.root)) == 1


async def test_streams_have_no_previews_of_links(slack: LocalSlack, thread: Thread):
    ts = await thread.start(markdown_text="https://example.com")
    with pytest.raises(Exception, match="cannot_unfurl_message"):
        await slack.unfurl("general", ts, "https://example.com")


async def test_a_restart_finds_streams_as_they_were(tmp_path: Path):
    data = tmp_path / "slack.sqlite3"
    async with LocalSlack(data=data, clock="virtual") as slack:
        thread = await thread_in(slack)
        old = await thread.start(chunks=[text("old")])
        slack.fault("expire_streams")
        ts = await thread.start(chunks=[text("before "), task("t")])
    async with LocalSlack(data=data) as slack:
        again = Thread(slack, client_of(slack), thread.channel, thread.root)
        await again.append(ts, chunks=[text("after"), task("t", "complete", details="x")])
        assert again.shown(ts).text == "before after"
        assert again.shown(old).streaming_state == "errored"
        assert [one["status"] for one in again.shown(ts).tasks] == ["complete"]
        slack.advance(301)
        assert again.shown(ts).streaming_state == "errored"


async def test_client_msg_id_is_honoured_by_switch():
    async with LocalSlack(honour_client_msg_id=True) as slack:
        thread = await thread_in(slack)
        assert await thread.start(client_msg_id="one") == await thread.start(client_msg_id="one")
    async with LocalSlack() as slack:
        thread = await thread_in(slack)
        assert await thread.start(client_msg_id="one") != await thread.start(client_msg_id="one")


async def test_start_and_end_are_told_and_appends_are_not(slack: LocalSlack, thread: Thread):
    async with receiving(slack) as receiver:
        ts = await thread.start(markdown_text="a")
        await thread.append(ts, markdown_text="b")
        await thread.stop(ts)
        expired = await thread.start(markdown_text="c")
        slack.advance(301)
        await slack.settle()
        assert thread.shown(expired).streaming_state == "errored"
        assert sorted(receiver.kinds[1:]) == ["message"] * 2 + ["message_changed"] * 2
        changed = [one.event for one in receiver.requests if "message" in one.event]
        states = {one["message"]["text"]: one["message"]["streaming_state"] for one in changed}
        assert states == {"ab": "completed", "c": "errored"}


# ------------------------------------------------------------------- tiers and faults


async def test_tiers_count_all_streams_of_the_workspace_together():
    async with LocalSlack(clock="virtual") as slack:
        threads = [await thread_in(slack, channel) for channel in ("general", "random")]
        stamps = [(one, await one.start()) for one in threads * 10]
        assert await error(threads[0].start()) == "ratelimited"
        for thread, ts in stamps * 5:
            await thread.append(ts, markdown_text="x")
        thread, ts = stamps[0]
        assert await error(thread.append(ts, markdown_text="x")) == "ratelimited"
        for thread, ts in stamps:
            await thread.stop(ts)
        slack.advance(60)
        ts = await thread.start()
        await thread.append(ts, markdown_text="x")


async def test_faults_before_and_after_the_effect(slack: LocalSlack, thread: Thread):
    ts = await thread.start(markdown_text="a")
    slack.fault("error_before", method="chat.appendStream")
    slack.fault("error_after", method="chat.appendStream")
    for _ in range(2):
        with pytest.raises(SlackApiError):
            await thread.append(ts, markdown_text="b")
    assert thread.shown(ts).text == "ab"
    slack.fault("api_error", method="chat.stopStream", error="stopped_by_user")
    assert await error(thread.stop(ts)) == "stopped_by_user"


@pytest.mark.parametrize("name", [None, "feature_disabled"])
async def test_a_method_may_be_missing(slack: LocalSlack, thread: Thread, name: str | None):
    flavour: dict[str, Any] = {} if name is None else {"error": name}
    slack.fault("method_unknown", method="chat.startStream", times=None, **flavour)
    for _ in range(2):
        assert await error(thread.start()) == (name or "unknown_method")
    slack.clear_faults()
    assert await thread.start()


async def test_a_missing_method_may_be_a_plain_404(slack: LocalSlack, thread: Thread):
    slack.fault("method_unknown", method="chat.startStream", status=404)
    with pytest.raises(SlackApiError) as caught:
        await thread.start()
    response: Any = caught.value.response
    assert response.status_code == 404
    assert await thread.start()

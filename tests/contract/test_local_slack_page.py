"""The page's feed: a hello with everything, then what changes."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession
from slack_sdk.errors import SlackApiError

from bot.local import LocalSlack, server
from bot.local.page.feed import PACE_SECONDS
from bot.local.page.viewers import MOST_KEYS
from bot.local.sessions import PROCESSING_SECONDS
from bot.local.streams import STREAM_SECONDS
from bot.local.surfaces import Prompts
from tests.contract.slack_cards import button, card, home, modal, posted
from tests.contract.slack_page import Feed, Json, feeding, told
from tests.contract.slack_receiver import client_of, receiving
from tests.contract.slack_thread import Thread
from tests.support import eventually

HELLO = {
    *("boot", "who", "users", "groups", "channels", "sessions", "ephemerals", "views", "homes"),
    *("prompts", "warnings", "deliveries", "calls", "faults", "shortcuts", "orders", "behind"),
    *("socket_mode", "request_url"),
}


@pytest.fixture
async def slack() -> AsyncIterator[LocalSlack]:
    async with LocalSlack(clock="virtual") as server:
        yield server


async def thread(slack: LocalSlack) -> Thread:
    root = await slack.say("ada", "general", "root", deliver=False)
    return Thread(slack, client_of(slack), root.channel, root.ts)


def only(records: list[Json], **wanted: Any) -> Json:
    (found,) = [one for one in records if wanted.items() <= one.items()]
    return found


async def test_an_empty_workspace_says_hello(slack: LocalSlack):
    async with feeding(slack) as feed:
        hello = await feed.hello()
    assert set(hello) == HELLO
    assert hello["who"] == {
        "team_id": slack.team_id,
        "team_name": "Local workspace",
        "bot_user_id": slack.bot_user_id,
        "bot_id": slack.bot_id,
        "api_app_id": slack.api_app_id,
        "app_name": "Threadline",
    }
    assert only(hello["users"], name="ada") == {
        "id": slack.users["ada"],
        "name": "ada",
        "real_name": "Ada Lovelace",
        "team_id": slack.team_id,
        "kind": "member",
        "bot_id": None,
        "deleted": False,
    }
    general = only(hello["channels"], name="general")
    assert (general["latest"], general["read"], general["kind"]) == (None, {}, "channel")
    assert (hello["behind"], hello["orders"], hello["request_url"]) == (False, [], None)


async def test_hello_shows_what_people_have_before_them(slack: LocalSlack):
    client, ada = client_of(slack), slack.users["ada"]
    async with receiving(slack) as receiver:

        @receiver.app.action("approve")
        async def on_action(ack: Any, body: Json) -> None:
            await ack()
            await client.views_open(trigger_id=body["trigger_id"], view=modal())

        ts = await posted(client, "C0GENERAL", button("approve"))
        await slack.click("ada", ts, text="Approve")
        await eventually(lambda: slack.open_views("ada"))
    slack.request_url = "http://127.0.0.1:9/nobody"
    await slack.click("ada", ts, text="Approve")
    await client.views_publish(user_id=ada, view=home())
    await client.chat_postEphemeral(channel="C0GENERAL", user=ada, text="only you")
    async with feeding(slack) as feed:
        hello = await feed.hello()
    assert [view["callback_id"] for view in hello["views"][ada]] == ["deny"]
    assert hello["homes"][ada]["type"] == "home"
    assert [one["text"] for one in hello["ephemerals"]] == ["only you"]
    assert [one["on"] for one in hello["warnings"]] == [ts]
    delivery = hello["deliveries"][-1]
    assert (delivery["channel"], delivery["failure"]) == ("C0GENERAL", "connection_failed")
    assert only(hello["channels"], name="general")["latest"] == ts


async def test_hello_shows_sessions_faults_and_calls(slack: LocalSlack):
    ours, client = await thread(slack), client_of(slack)
    await client.agents_sessions_setStatus(
        channel_id=ours.channel, thread_ts=ours.root, status="processing", title="A title"
    )
    slack.fault("ratelimit", method="auth.test", times=2)
    with pytest.raises(SlackApiError):
        await client.auth_test()
    async with feeding(slack) as feed:
        hello = await feed.hello()
    assert hello["sessions"] == [
        {
            "channel": ours.channel,
            "thread_ts": ours.root,
            "status": "processing",
            "title": "A title",
            "shown": "Working…",
        }
    ]
    assert only(hello["faults"], kind="ratelimit")["left"] == 1
    assert only(hello["channels"], id=ours.channel)["read"] == {slack.users["ada"]: ours.root}
    call = hello["calls"][-1]
    assert (call["method"], call["fault"], call["status"]) == ("auth.test", "ratelimit", 429)
    assert [one["seq"] for one in hello["calls"]] == [1, 2]


async def test_calls_tell_their_time_and_what_their_tier_has_left(slack: LocalSlack):
    async with feeding(slack) as feed:
        await feed.hello()
        for _ in range(2):
            await client_of(slack).users_info(user=slack.users["ada"])
        slack.fault("stall_after", method="users.info", seconds=0.05)
        await client_of(slack).users_info(user=slack.users["ada"])
        calls: list[Json] = []
        while len(calls) < 3:
            calls += (await feed.changes(lambda data: "calls" in data))["calls"]
    assert [(one["seq"], one["left"]) for one in calls] == [(1, 99), (2, 98), (3, 97)]
    assert calls[0]["ms"] > 0
    assert calls[2]["ms"] >= 50
    async with LocalSlack(limits=False) as unlimited:
        await client_of(unlimited).auth_test()
        assert [one.left for one in unlimited.calls] == [None]


async def test_a_growing_stream_is_told_with_its_parts(slack: LocalSlack):
    ours = await thread(slack)
    async with feeding(slack) as feed:
        await feed.hello()
        ts = await ours.start(chunks=[{"type": "markdown_text", "text": "**One**"}])
        assert (await feed.message(ts))["streaming_state"] == "in_progress"
        task = {"type": "task_update", "id": "t", "title": "Look", "status": "in_progress"}
        await ours.append(ts, chunks=[task])
        grown = await feed.message(ts)
        assert grown["parts"] == [{"text": "**One**"}, {"task": "t"}]
        assert [one["title"] for one in grown["tasks"]] == ["Look"]
        last = {"type": "section", "text": {"type": "mrkdwn", "text": "below"}}
        await ours.client.chat_stopStream(channel=ours.channel, ts=ts, blocks=[last])
        done = await feed.message(ts)
        assert done["streaming_state"] == "completed"
        below = done["parts"][-1]["blocks"]
        assert [one["text"]["text"] for one in below] == ["below"]
        assert done["parts"][:-1] == grown["parts"]
        await ours.client.chat_update(channel=ours.channel, ts=ts, text="another")
        assert (await feed.message(ts))["parts"] == []


async def test_a_root_tells_its_replies_and_what_is_gone_is_told(slack: LocalSlack):
    root = await slack.say("ada", "general", "root")
    async with feeding(slack) as feed:
        await feed.hello()
        reply = await slack.say("grace", "general", "reply", thread_ts=root.ts)
        changed = await feed.changes(told)
        assert {one["ts"]: one.get("reply_count") for one in changed["messages"]} == {
            root.ts: 1,
            reply.ts: None,
        }
        general = only(changed["channels"], id=root.channel)
        assert (general["latest"], general["read"][slack.users["grace"]]) == (reply.ts, reply.ts)
        await slack.delete("general", root.ts)
        assert (await feed.message(root.ts))["subtype"] == "tombstone"
        await slack.delete("general", reply.ts)
        changed = await feed.changes(lambda data: "gone" in data)
        assert changed["gone"] == [{"channel": root.channel, "ts": reply.ts}]
        assert only(changed["channels"], id=root.channel)["latest"] == root.ts
        assert "reply_count" not in only(changed["messages"], ts=root.ts)


async def test_ephemerals_views_groups_people_and_faults_are_told(slack: LocalSlack):
    client, ada = client_of(slack), slack.users["ada"]
    async with feeding(slack) as feed:
        await feed.hello()
        sent = await client.chat_postEphemeral(channel="C0GENERAL", user=ada, text="only you")
        changed = await feed.changes(lambda data: "ephemerals" in data)
        assert [one["ts"] for one in changed["ephemerals"]] == [sent["message_ts"]]
        await client.views_publish(user_id=ada, view=home())
        changed = await feed.changes(lambda data: "homes" in data)
        assert (changed["homes"][ada]["type"], changed["views"]) == ("home", {ada: []})
        slack.set_user("linus", deleted=True)
        changed = await feed.changes(lambda data: "users" in data)
        assert only(changed["users"], name="linus")["deleted"]
        slack.set_user_group("oncall", ["grace"])
        changed = await feed.changes(lambda data: "groups" in data)
        assert [one["users"] for one in changed["groups"]] == [[slack.users["grace"]]]
        slack.fault("drop_before", times=None)
        changed = await feed.changes(lambda data: "faults" in data)
        assert [(one["kind"], one["left"]) for one in changed["faults"]] == [("drop_before", None)]
        slack.clear_faults()
        assert (await feed.changes(lambda data: "faults" in data))["faults"] == []


async def test_suggested_prompts_are_told(slack: LocalSlack):
    shelf, dm = slack.workspace.surfaces.prompts, slack.dm("ada")
    suggested = [{"title": "Greet", "message": "Say hello"}]
    async with feeding(slack) as feed:
        await feed.hello()
        for thread_ts in ("1.0", None, "2.0"):
            place = f"{dm}/{thread_ts}" if thread_ts else dm
            shelf.put(Prompts(place, dm, None, suggested, thread_ts))
        shown = {dm: {"title": None, "thread_ts": None, "prompts": suggested}}
        assert (await feed.changes(lambda data: "prompts" in data))["prompts"] == shown
        async with feeding(slack, "another") as other:
            assert (await other.hello())["prompts"] == shown
        shelf.drop(dm)
        changed = await feed.changes(lambda data: "prompts" in data)
        assert changed["prompts"][dm]["thread_ts"] == "2.0"
        shelf.clear()
        assert (await feed.changes(lambda data: "prompts" in data))["prompts"] == {dm: None}


async def test_what_an_answer_takes_away_is_told(slack: LocalSlack):
    client, ada = client_of(slack), slack.users["ada"]
    sent = await client.chat_postEphemeral(channel="C0GENERAL", user=ada, text="?", blocks=card())
    [pressed] = await slack.click("ada", sent["message_ts"], text="Approve")
    async with feeding(slack) as feed, ClientSession() as http:
        await feed.hello()
        for asked in ({"replace_original": True, "text": "Done"}, {"delete_original": True}):
            async with http.post(pressed.response_url, json=asked) as response:
                assert response.status == 200
        # The change may be told before it is taken away, or not at all.
        changed = await feed.changes(lambda data: "ephemerals_gone" in data)
        assert changed["ephemerals_gone"] == [sent["message_ts"]]
        told_before = [one for _, data in feed.frames[1:] for one in data.get("ephemerals", [])]
        assert all(one["text"] == "Done" for one in told_before)


async def test_what_is_over_by_itself_is_told(slack: LocalSlack, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bot.local.page.feed.BEAT_SECONDS", 0.05)
    ours = await thread(slack)
    ts = await ours.start(markdown_text="so far")
    async with feeding(slack) as feed:
        hello = await feed.hello()
        assert [one["shown"] for one in hello["sessions"]] == ["Working…"]
        # Nobody calls and nobody writes: the clock alone moves on.
        slack.workspace.clock.advance(STREAM_SECONDS)
        assert (await feed.message(ts))["streaming_state"] == "errored"
        slack.workspace.clock.advance(PROCESSING_SECONDS)
        changed = await feed.changes(
            lambda data: any(one["shown"] is None for one in data.get("sessions", []))
        )
        assert [one["status"] for one in changed["sessions"]] == ["active"]


# ------------------------------------------------------------------------ how often, how much


async def test_many_changes_are_one(slack: LocalSlack):
    said = await slack.say("ada", "general", "0", deliver=False)
    async with feeding(slack) as feed:
        await feed.hello()
        started, before = time.monotonic(), len(feed.frames)
        for number in range(1, 400):
            await slack.edit("general", said.ts, str(number), deliver=False)
            await asyncio.sleep(0)
        while (await feed.message(said.ts))["text"] != "399":
            pass
        frames = len(feed.frames) - before
    assert frames <= (time.monotonic() - started) / PACE_SECONDS + 2
    assert frames < 100


async def test_who_does_not_read_is_told_the_present_and_not_the_past(slack: LocalSlack):
    rounds, filler = 24, "x" * 400_000
    said = await slack.say("ada", "general", "", files=["a.txt"], deliver=False)
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    slow.settimeout(0.0)
    port = int(slack.url.rpartition(":")[2])
    await asyncio.get_running_loop().sock_connect(slow, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=slow, limit=4_096)
    writer.write(b"GET /_page/feed?viewer=slow HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
    async with feeding(slack, "fast") as feed:
        await feed.hello()
        for number in range(1, rounds + 1):
            text = f"{number} {filler}"
            await slack.edit("general", said.ts, text, deliver=False)
            while (await feed.message(said.ts))["text"] != text:
                pass
    seen: list[str] = []
    pending = b""
    while not seen or seen[-1] != str(rounds):
        more = await reader.read(2**16)
        assert more
        *lines, pending = (pending + more).split(b"\n")
        changes = [json.loads(one[6:]) for one in lines if one.startswith(b'data: {"channels')]
        changes += [json.loads(one[6:]) for one in lines if one.startswith(b'data: {"messages')]
        seen += [m["text"].partition(" ")[0] for one in changes for m in told(one)]
    writer.close()
    # What fits into the buffers of the machine is on its way; all else was never made.
    assert len(seen) < rounds / 2, seen


async def test_too_much_at_once_is_a_new_hello(slack: LocalSlack):
    async with feeding(slack) as feed:
        first = await feed.hello()
        for number in range(MOST_KEYS + 1):
            await slack.say("ada", "general", str(number), deliver=False)
        again = await feed.hello()
    assert again["boot"] == first["boot"]


# ----------------------------------------------------------------------------- connections


async def test_a_reset_is_another_boot(slack: LocalSlack):
    async with feeding(slack) as feed:
        first = await feed.hello()
        await slack.say("ada", "general", "hi")
        slack.reset()
        after = await feed.hello()
        assert after["boot"] != first["boot"]
        assert only(after["channels"], name="general")["latest"] is None
    async with feeding(slack) as feed:
        assert (await feed.hello())["boot"] == after["boot"]


async def test_a_new_address_is_told(slack: LocalSlack):
    async with feeding(slack) as feed:
        await feed.hello()
        slack.request_url = "http://127.0.0.1:9/events"
        assert (await feed.hello())["request_url"] == "http://127.0.0.1:9/events"
        slack.socket_mode = True
        assert (await feed.hello())["socket_mode"]


async def test_a_page_that_connects_again_ends_its_old_connection(slack: LocalSlack):
    async with feeding(slack, "same") as old, feeding(slack, "other") as other:
        await old.hello()
        await other.hello()
        async with feeding(slack, "same") as new:
            await new.hello()
            await old.until_its_end()
            await slack.say("ada", "general", "hi")
            assert await new.changes(told)
            assert await other.changes(told)


async def test_nothing_is_kept_for_who_has_left(slack: LocalSlack):
    changes = slack.workspace.state.changes
    async with feeding(slack) as feed:
        await feed.hello()
        assert changes._watching

    async def is_forgotten() -> bool:
        await slack.say("ada", "general", "hi", deliver=False)
        return not changes._watching

    await eventually(is_forgotten)


async def test_the_server_ends_its_feeds(monkeypatch: pytest.MonkeyPatch):
    patience = 60.0
    monkeypatch.setattr(server, "_SHUTDOWN_SECONDS", patience)
    async with LocalSlack() as slack:
        http = ClientSession(slack.url)
        response = await http.get("/_page/feed")
        feed = Feed(response)
        await feed.hello()
        started = time.monotonic()
    assert time.monotonic() - started < patience / 2
    await feed.until_its_end()
    await http.close()

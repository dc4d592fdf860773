"""The Web API of the local Slack, called through the real slack_sdk."""

from collections.abc import Awaitable
from typing import Any

import pytest
from aiohttp import ClientSession, FormData
from slack_sdk.web.async_client import AsyncWebClient

from bot.local import LocalSlack
from bot.local.workspace import SCOPES
from tests.contract.slack_modals import error, refused
from tests.contract.slack_receiver import client_of


async def test_auth_test_and_its_scopes_header(slack: LocalSlack, client: AsyncWebClient):
    answer = await client.auth_test()
    assert answer["team_id"] == slack.team_id
    assert answer["user_id"] == slack.bot_user_id
    assert answer["bot_id"] == slack.bot_id
    assert answer["is_enterprise_install"] is False
    assert set(answer.headers["x-oauth-scopes"].split(",")) == SCOPES


async def test_tokens_are_checked(slack: LocalSlack, client: AsyncWebClient):
    stranger = AsyncWebClient(token="xoxb-wrong", base_url=slack.api_url, retry_handlers=[])
    nobody = AsyncWebClient(base_url=slack.api_url, retry_handlers=[])
    assert await error(stranger.auth_test()) == "invalid_auth"
    assert await error(nobody.auth_test()) == "not_authed"
    slack.fault("revoke_token")
    assert await error(client.auth_test()) == "token_revoked"
    slack.fault("deactivate_account")
    assert await error(client.auth_test()) == "account_inactive"
    slack.fault("restore_token")
    assert (await client.auth_test())["ok"]


async def test_scopes_are_checked_by_the_kind_of_conversation():
    async with LocalSlack(scopes=SCOPES - {"chat:write", "groups:history"}) as slack:
        client = client_of(slack)
        answer = await refused(client.chat_postMessage(channel="C1", text="hi"))
        assert answer["error"] == "missing_scope"
        assert answer["needed"] == "chat:write"
        assert "users:read" in answer["provided"].split(",")
        said = await slack.say("ada", "private", "hi")
        private = client.conversations_replies(channel=said.channel, ts=said.ts)
        assert (await refused(private))["needed"] == "groups:history"
        said = await slack.say("ada", "general", "hi")
        assert (await client.conversations_replies(channel=said.channel, ts=said.ts))["ok"]


async def test_unknown_methods_are_counted(slack: LocalSlack, client: AsyncWebClient):
    assert await error(client.api_call("calls.add", json={})) == "unknown_method"
    assert slack.unknown_methods == {"calls.add": 1}


async def test_post_answers_with_the_message(
    slack: LocalSlack, client: AsyncWebClient, general: str
):
    answer = await client.chat_postMessage(channel=general, text="hello")
    assert answer["channel"] == general
    message = answer["message"]
    assert message["ts"] == answer["ts"]
    assert message["bot_id"] == slack.bot_id
    assert message["app_id"] == slack.api_app_id
    assert message["blocks"][0]["type"] == "rich_text"
    [seen] = slack.replies("general", answer["ts"])
    assert (seen.text, seen.user) == ("hello", slack.bot_user_id)


async def test_form_json_and_token_in_the_body_are_accepted(slack: LocalSlack, general: str):
    blocks = '[{"type": "markdown", "text": "**hi**"}]'
    form = FormData({"token": slack.bot_token, "channel": general, "blocks": blocks})
    broken = {"Content-Type": "application/json", "Authorization": f"Bearer {slack.bot_token}"}
    url = f"{slack.api_url}chat.postMessage"
    async with ClientSession() as session:
        async with session.post(url, data=form) as response:
            answer = await response.json()
        async with session.post(url, data="{", headers=broken) as response:
            assert (await response.json())["error"] == "invalid_json"
        async with session.post(url, data="[1]", headers=broken) as response:
            assert (await response.json())["error"] == "json_not_object"
    assert answer["message"]["text"] == "**hi**"
    assert "token" not in slack.calls[0].args


async def test_post_to_a_user_goes_to_the_direct_message(slack: LocalSlack, client: AsyncWebClient):
    answer = await client.chat_postMessage(channel=slack.users["ada"], text="hi")
    assert answer["channel"] == slack.dm("ada")


async def test_post_errors(slack: LocalSlack, client: AsyncWebClient, general: str):
    root = await slack.say("ada", "general", "root")
    reply = await slack.say("ada", "general", "reply", thread_ts=root.ts)
    slack.fault("archive_channel", channel="random")
    slack.fault("kick_bot", channel="private")
    nobot, private, random = (slack.channels[name] for name in ("nobot", "private", "random"))

    def post(**arguments: Any) -> Awaitable[Any]:
        return client.chat_postMessage(**({"channel": general, "text": "hi"} | arguments))

    assert await error(post(channel="C0NOWHERE")) == "channel_not_found"
    assert await error(post(channel=nobot)) == "not_in_channel"
    assert await error(post(channel=private)) == "channel_not_found"
    assert await error(post(channel=random)) == "is_archived"
    empty = client.api_call("chat.postMessage", json={"channel": general, "text": " "})
    assert await error(empty) == "no_text"
    assert await error(post(thread_ts="1.000000")) == "thread_not_found"
    assert await error(post(thread_ts=reply.ts)) == "cannot_reply_to_message"
    assert await error(post(markdown_text="x")) == "markdown_text_conflict"
    assert await error(post(text=None, markdown_text="x" * 12_001)) == "msg_too_long"
    assert await error(post(attachments=[{"text": "x"}] * 101)) == "too_many_attachments"
    assert await error(post(blocks="nonsense")) == "invalid_blocks_format"
    assert await error(post(metadata={"event_type": 1})) == "invalid_metadata_format"
    huge = {"event_type": "x", "event_payload": {"x": "x" * 20_000}}
    assert await error(post(metadata=huge)) == "metadata_too_large"
    assert len(slack.history("general")) == 1
    assert len(slack.replies("general", root.ts)) == 2


@pytest.mark.parametrize(
    "block",
    [
        {"type": "nonsense"},
        {"type": "markdown", "text": "x" * 12_001},
        {"type": "markdown"},
        {"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3_001}},
        {"type": "section"},
        {"type": "section", "fields": [{"type": "mrkdwn", "text": "x"}] * 11},
        {"type": "header", "text": {"type": "plain_text", "text": "x" * 151}},
        {"type": "divider", "block_id": "x" * 256},
        {"type": "actions", "elements": []},
        {"type": "actions", "elements": [{"type": "button"}]},
        {"type": "context", "elements": [{"type": "mrkdwn", "text": "x"}] * 11},
    ],
)
async def test_blocks_that_slack_refuses(client: AsyncWebClient, general: str, block: Any):
    answer = await refused(client.chat_postMessage(channel=general, text="hi", blocks=[block]))
    assert answer["error"] == "invalid_blocks"
    assert "/blocks/0" in answer["response_metadata"]["messages"][0]


async def test_too_many_and_too_long_blocks(client: AsyncWebClient, general: str):
    many = [{"type": "divider"}] * 51
    twice = [{"type": "divider", "block_id": "x"}] * 2
    long = [{"type": "markdown", "text": "x" * 6_001}] * 2
    for blocks, name in (
        (many, "invalid_blocks"),
        (twice, "invalid_blocks"),
        (long, "msg_blocks_too_long"),
    ):
        call = client.chat_postMessage(channel=general, text="hi", blocks=blocks)
        assert await error(call) == name
    most = [{"type": "divider"}] * 49 + [{"type": "markdown", "text": "x" * 12_000}]
    assert (await client.chat_postMessage(channel=general, text="hi", blocks=most))["ok"]


async def test_long_text_is_cut_with_a_warning(client: AsyncWebClient, general: str):
    answer = await client.chat_postMessage(channel=general, text="x" * 40_001)
    assert len(answer["message"]["text"]) == 40_000
    assert answer["warning"] == "message_truncated"
    exact = await client.chat_postMessage(channel=general, text="x" * 40_000)
    assert "warning" not in exact.data


async def test_update_keeps_metadata_and_drops_blocks(
    slack: LocalSlack, client: AsyncWebClient, general: str
):
    metadata = {"event_type": "delivery", "event_payload": {"id": "1"}}
    blocks = [{"type": "markdown", "text": "one"}]
    posted = await client.chat_postMessage(
        channel=general, text="one", blocks=blocks, metadata=metadata
    )
    answer = await client.chat_update(channel=general, ts=posted["ts"], text="two")
    assert (answer["text"], answer["ts"]) == ("two", posted["ts"])
    [seen] = slack.replies("general", posted["ts"])
    assert seen.metadata == metadata
    assert [block["type"] for block in seen.blocks] == ["rich_text"]


async def test_update_and_delete_errors(slack: LocalSlack, client: AsyncWebClient, general: str):
    theirs = await slack.say("ada", "general", "hi")
    ours = await client.chat_postMessage(channel=general, text="one")

    def update(**arguments: Any) -> Awaitable[Any]:
        return client.chat_update(
            **({"channel": general, "ts": ours["ts"], "text": "two"} | arguments)
        )

    assert await error(update(ts="1.000000")) == "message_not_found"
    assert await error(update(ts=theirs.ts)) == "cant_update_message"
    assert await error(update(channel=slack.users["ada"])) == "channel_not_found"
    assert await error(update(text="x" * 4_001)) == "msg_too_long"
    empty = {"channel": general, "ts": ours["ts"], "text": ""}
    assert await error(client.api_call("chat.update", json=empty)) == "no_text"
    assert await error(client.chat_delete(channel=general, ts=theirs.ts)) == "cant_delete_message"
    assert await error(client.chat_delete(channel=general, ts="1.000000")) == "message_not_found"
    slack.fault("archive_channel", channel="general")
    assert await error(update()) == "is_inactive"


async def test_missing_arguments(client: AsyncWebClient, general: str):
    answer = await refused(client.api_call("chat.update", json={"channel": general, "text": "x"}))
    assert answer["error"] == "invalid_arguments"
    assert "ts" in answer["response_metadata"]["messages"][0]


async def test_ephemeral_is_seen_by_one(slack: LocalSlack, client: AsyncWebClient, general: str):
    ada = slack.users["ada"]
    answer = await client.chat_postEphemeral(channel=general, user=ada, text="psst")
    [seen] = slack.ephemerals
    assert (seen.user, seen.text, seen.ts) == (ada, "psst", answer["message_ts"])
    assert slack.history("general") == []
    stranger = client.chat_postEphemeral(channel=general, user=slack.users["connect"], text="psst")
    assert await error(stranger) == "user_not_in_channel"


async def test_metadata_is_shown_on_request_only(client: AsyncWebClient, general: str):
    metadata = {"event_type": "delivery", "event_payload": {"delivery_id": "1"}}
    posted = await client.chat_postMessage(channel=general, text="hi", metadata=metadata)
    plain = await client.conversations_replies(channel=general, ts=posted["ts"])
    full = await client.conversations_replies(
        channel=general, ts=posted["ts"], include_all_metadata=True
    )
    assert "metadata" not in plain["messages"][0]
    assert full["messages"][0]["metadata"] == metadata


async def test_client_msg_id_is_honoured_only_by_switch(client: AsyncWebClient, general: str):
    async def twice(web: AsyncWebClient, key: str) -> set[str]:
        posts = [
            await web.chat_postMessage(channel=general, text="hi", client_msg_id=key)
            for _ in range(2)
        ]
        return {post["ts"] for post in posts}

    assert len(await twice(client, "one")) == 2
    async with LocalSlack(honour_client_msg_id=True, clock="virtual") as other:
        web = client_of(other)
        [ts] = await twice(web, "one")
        assert len(other.history("general")) == 1
        other.advance(4_000)
        later = await web.chat_postMessage(channel=general, text="hi", client_msg_id="one")
        assert later["ts"] != ts
        await web.chat_delete(channel=general, ts=later["ts"])
        again = web.chat_postMessage(channel=general, text="hi", client_msg_id="one")
        assert await error(again) == "duplicate_message_not_found"


async def test_users_and_bots(slack: LocalSlack, client: AsyncWebClient):
    users = {name: (await client.users_info(user=one))["user"] for name, one in slack.users.items()}
    assert users["admin"]["is_admin"]
    assert users["guest"]["is_restricted"]
    assert not users["ada"]["is_restricted"]
    assert users["connect"]["is_stranger"]
    assert users["connect"]["team_id"] != slack.team_id
    assert users["threadline"]["is_bot"]
    assert await error(client.users_info(user="U0NOBODY")) == "user_not_found"
    bot = await client.bots_info(bot=slack.bot_id)
    assert (bot["bot"]["user_id"], bot["bot"]["app_id"]) == (slack.bot_user_id, slack.api_app_id)
    assert await error(client.bots_info(bot="B0NOBODY")) == "bot_not_found"


async def test_agent_session_status_and_title(slack: LocalSlack, client: AsyncWebClient):
    root = await slack.say("ada", "general", "root")
    place = {"channel_id": root.channel, "thread_ts": root.ts}
    rename = client.agents_sessions_rename(**place, title="x")
    assert await error(rename) == "session_not_found"
    answer = await client.agents_sessions_setStatus(**place, status="processing", title="First")
    assert (answer["status"], answer["title"]) == ("processing", "First")
    assert answer["warning"] == "missing_agent_session_stopped_event_subscription"
    again = await client.agents_sessions_setStatus(**place, status="suspended", title="Second")
    assert again["title"] == "First"
    await client.agents_sessions_rename(**place, title="Third")
    shown = [(change.status, change.title) for change in slack.statuses]
    assert shown == [("processing", "First"), ("suspended", "First"), ("suspended", "Third")]
    assert slack.shown_status("general", root.ts) == "suspended"


async def test_processing_ends_by_itself_after_an_hour(slack: LocalSlack, client: AsyncWebClient):
    root = await slack.say("ada", slack.dm("ada"), "root")
    await client.agents_sessions_rename(
        channel_id=root.channel, thread_ts=root.ts, title="A direct message has a session"
    )
    await client.agents_sessions_setStatus(
        channel_id=root.channel, thread_ts=root.ts, status="processing"
    )
    slack.advance(3_599)
    assert slack.shown_status(root.channel, root.ts) == "processing"
    slack.advance(1)
    assert slack.shown_status(root.channel, root.ts) == "active"


async def test_agent_session_errors(slack: LocalSlack, client: AsyncWebClient, general: str):
    root = await slack.say("ada", "general", "root")

    def status(**arguments: Any) -> Awaitable[Any]:
        given = {"channel_id": general, "thread_ts": root.ts, "status": "active"} | arguments
        return client.agents_sessions_setStatus(**given)

    assert await error(status(status="busy")) == "invalid_status"
    assert await error(status(channel_id="C0NOWHERE")) == "channel_not_found"
    assert await error(status(channel_id=slack.channels["nobot"])) == "not_authorized"
    assert await error(status(thread_ts=None)) == "thread_ts_required"
    assert await error(status(thread_ts="1.000000")) == "invalid_arguments"
    assert await error(status(title="x" * 201)) == "invalid_arguments"
    assert await error(status(initiator_user_id="U0NOBODY")) == "user_not_found"
    slack.fault("disable_agent_features")
    assert await error(status()) == "feature_disabled"
    slack.fault("enable_agent_features")
    assert (await status())["ok"]


async def test_ts_are_unique_and_rise(slack: LocalSlack, client: AsyncWebClient, general: str):
    stamps = []
    for _ in range(50):
        stamps.append((await slack.say("ada", "general", "hi")).ts)
        stamps.append((await client.chat_postMessage(channel=general, text="hi"))["ts"])
    assert stamps == sorted(set(stamps))

"""The conversations of the local Slack: what was said there, who is in them; through slack_sdk."""

from collections.abc import Awaitable
from typing import Any

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.local import LocalSlack
from tests.contract.slack_modals import error


async def test_replies_page_by_page(slack: LocalSlack, client: AsyncWebClient, general: str):
    root = await slack.say("ada", "general", "root")
    said = [await slack.say("ada", "general", str(n), thread_ts=root.ts) for n in range(5)]
    seen: list[str] = []
    cursor = ""
    while True:
        page = await client.conversations_replies(
            channel=general, ts=root.ts, limit=2, cursor=cursor
        )
        assert page["messages"][0]["ts"] == root.ts
        seen += [message["text"] for message in page["messages"][1:]]
        cursor = page["response_metadata"]["next_cursor"]
        assert page["has_more"] is bool(cursor)
        if not cursor:
            break
    assert seen == ["0", "1", "2", "3", "4"]
    first = page["messages"][0]
    assert (first["reply_count"], first["latest_reply"]) == (5, said[-1].ts)
    assert first["reply_users"] == [slack.users["ada"]]
    assert page["messages"][1]["parent_user_id"] == slack.users["ada"]


@pytest.mark.parametrize(
    ("oldest", "latest", "inclusive", "texts"),
    [
        (1, None, False, ["2", "3"]),
        (1, None, True, ["1", "2", "3"]),
        (None, 2, False, ["0", "1"]),
        (1, 2, True, ["1", "2"]),
    ],
)
async def test_replies_in_a_range(
    slack: LocalSlack,
    client: AsyncWebClient,
    oldest: int | None,
    latest: int | None,
    inclusive: bool,  # noqa: FBT001  # a case of the table above
    texts: list[str],
):
    root = await slack.say("ada", "general", "root")
    said = [await slack.say("ada", "general", str(n), thread_ts=root.ts) for n in range(4)]
    answer = await client.conversations_replies(
        channel=root.channel,
        ts=root.ts,
        oldest=said[oldest].ts if oldest is not None else None,
        latest=said[latest].ts if latest is not None else None,
        inclusive=inclusive,
    )
    assert [message["text"] for message in answer["messages"][1:]] == texts


async def test_replies_and_history_errors(slack: LocalSlack, client: AsyncWebClient, general: str):
    root = await slack.say("ada", "general", "root")

    def replies(**arguments: Any) -> Awaitable[Any]:
        return client.conversations_replies(**({"channel": general, "ts": root.ts} | arguments))

    assert await error(replies(ts="1.000000")) == "thread_not_found"
    assert await error(replies(channel="C0NOWHERE")) == "channel_not_found"
    assert await error(replies(channel=slack.channels["nobot"])) == "not_in_channel"
    assert await error(replies(oldest="yesterday")) == "invalid_ts_oldest"
    assert await error(replies(cursor="!")) == "invalid_cursor"
    assert await error(replies(limit="many")) == "invalid_arguments"


async def test_history_is_newest_first(slack: LocalSlack, client: AsyncWebClient, general: str):
    roots = [await slack.say("ada", "general", str(n)) for n in range(3)]
    await slack.say("ada", "general", "reply", thread_ts=roots[0].ts)
    page = await client.conversations_history(channel=general, limit=2)
    assert [message["text"] for message in page["messages"]] == ["2", "1"]
    cursor = page["response_metadata"]["next_cursor"]
    page = await client.conversations_history(channel=general, limit=2, cursor=cursor)
    assert [message["text"] for message in page["messages"]] == ["0"]
    assert page["has_more"] is False
    assert page["messages"][0]["reply_count"] == 1


async def test_conversations(slack: LocalSlack, client: AsyncWebClient, general: str):
    info = (await client.conversations_info(channel=general, include_num_members=True))["channel"]
    assert (info["name"], info["is_channel"], info["is_member"]) == ("general", True, True)
    assert info["num_members"] == 9
    shared = await client.conversations_info(channel=slack.channels["shared"])
    assert shared["channel"]["is_ext_shared"]
    assert len(shared["channel"]["shared_team_ids"]) == 2
    direct = await client.conversations_info(channel=slack.dm("ada"))
    assert (direct["channel"]["is_im"], direct["channel"]["user"]) == (True, slack.users["ada"])
    page = await client.conversations_members(channel=general, limit=5)
    cursor = page["response_metadata"]["next_cursor"]
    rest = await client.conversations_members(channel=general, limit=5, cursor=cursor)
    assert len({*page["members"], *rest["members"]}) == 9


async def test_the_conversations_that_the_bot_is_in(slack: LocalSlack, client: AsyncWebClient):
    everything = await client.users_conversations(types="public_channel,private_channel,mpim,im")
    found = {one["name"] for one in everything["channels"] if "name" in one}
    assert {"general", "private", "mpim"} <= found
    assert "nobot" not in found
    slack.workspace.set_archived("random", archived=True)
    public = await client.users_conversations(exclude_archived=True, limit=1)
    names = [one["name"] for one in public["channels"]]
    while cursor := public["response_metadata"]["next_cursor"]:
        public = await client.users_conversations(exclude_archived=True, limit=1, cursor=cursor)
        names += [one["name"] for one in public["channels"]]
    assert names == ["general", "shared"]
    assert await error(client.users_conversations(types="all")) == "invalid_types"


async def test_conversations_open(slack: LocalSlack, client: AsyncWebClient):
    ada, grace, linus = (slack.users[name] for name in ("ada", "grace", "linus"))
    one = await client.conversations_open(users=[ada])
    assert one["channel"]["id"] == slack.dm("ada")
    group = await client.conversations_open(users=[ada, grace])
    assert group["channel"]["id"] == slack.channels["mpim"]
    new = await client.conversations_open(users=[ada, linus], return_im=True)
    assert new["channel"]["is_mpim"]
    known = await client.conversations_open(channel=slack.dm("ada"))
    assert known["channel"]["id"] == slack.dm("ada")
    assert await error(client.conversations_open(users=["U0NOBODY"])) == "user_not_found"
    assert await error(client.api_call("conversations.open", json={})) == "users_list_not_supplied"

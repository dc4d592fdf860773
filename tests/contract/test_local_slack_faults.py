"""Limits on the virtual clock, and each fault as the caller and the workspace see it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import aiohttp
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.local import LocalSlack
from tests.contract.slack_receiver import client_of
from tests.support import eventually


@pytest.fixture
async def slack() -> AsyncIterator[LocalSlack]:
    async with LocalSlack(clock="virtual") as server:
        yield server


async def limited(call: Awaitable[Any]) -> int:
    with pytest.raises(SlackApiError) as caught:
        await call
    response: Any = caught.value.response
    assert (response.status_code, response["error"]) == (429, "ratelimited")
    return int(response.headers["Retry-After"])


async def test_posts_are_limited_per_channel_after_a_burst(
    slack: LocalSlack, client: AsyncWebClient, general: str
):
    for _ in range(5):
        await client.chat_postMessage(channel=general, text="hi")
    assert await limited(client.chat_postMessage(channel=general, text="hi")) == 1
    await client.chat_postMessage(channel=slack.channels["random"], text="hi")
    slack.advance(1)
    await client.chat_postMessage(channel=general, text="hi")
    await limited(client.chat_postMessage(channel=general, text="hi"))
    assert len(slack.history("general")) == 6


@pytest.mark.parametrize(
    ("method", "per_minute"), [("conversations_info", 50), ("users_info", 100)]
)
async def test_tiers_hold_in_any_minute(
    slack: LocalSlack, client: AsyncWebClient, method: str, per_minute: int
):
    arguments = {"channel": slack.channels["general"], "user": slack.users["ada"]}

    def call() -> Awaitable[Any]:
        name = "channel" if method.startswith("conversations") else "user"
        answer: Awaitable[Any] = getattr(client, method)(**{name: arguments[name]})
        return answer

    for _ in range(per_minute):
        await call()
    slack.advance(20)
    assert await limited(call()) == 40
    slack.advance(40)
    await call()


async def test_listings_of_unlisted_apps_are_one_a_minute_and_short():
    async with LocalSlack(clock="virtual", unlisted=True) as slack:
        client = client_of(slack)
        root = await slack.say("ada", "general", "root")
        for _ in range(20):
            await slack.say("ada", "general", "hi", thread_ts=root.ts)
        page = await client.conversations_replies(channel=root.channel, ts=root.ts)
        assert len(page["messages"]) == 16
        again = client.conversations_replies(channel=root.channel, ts=root.ts)
        assert await limited(again) == 60


async def test_limits_can_be_switched_off():
    async with LocalSlack(limits=False) as slack:
        client = client_of(slack)
        for _ in range(60):
            await client.conversations_info(channel=slack.channels["general"])


@pytest.mark.parametrize(("kind", "posts"), [("drop_before", 0), ("drop_after", 1)])
async def test_dropped_connection(
    slack: LocalSlack, client: AsyncWebClient, general: str, kind: Any, posts: int
):
    slack.fault(kind, method="chat.postMessage")
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await client.chat_postMessage(channel=general, text="hi")
    assert len(slack.history("general")) == posts
    assert [(call.fault, call.status) for call in slack.calls] == [(kind, 0)]
    assert (await client.chat_postMessage(channel=general, text="hi"))["ok"]


@pytest.mark.parametrize(("kind", "posts"), [("error_before", 0), ("error_after", 1)])
async def test_server_error(
    slack: LocalSlack, client: AsyncWebClient, general: str, kind: Any, posts: int
):
    slack.fault(kind, method="chat.postMessage", status=503)
    with pytest.raises(SlackApiError) as caught:
        await client.chat_postMessage(channel=general, text="hi")
    response: Any = caught.value.response
    assert response.status_code == 503
    assert len(slack.history("general")) == posts


@pytest.mark.parametrize(("kind", "posts"), [("stall_before", 0), ("stall_after", 1)])
async def test_stalled_answer(
    slack: LocalSlack, client: AsyncWebClient, general: str, kind: Any, posts: int
):
    slack.fault(kind, method="chat.postMessage", seconds=600)
    async with asyncio.TaskGroup() as group:
        call = group.create_task(client.chat_postMessage(channel=general, text="hi"))
        # From there on it waits, however late it came to it.
        await eventually(lambda: not slack.workspace.faults.standing())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(call, 0.2)
    assert len(slack.history("general")) == posts
    assert slack.calls == []


async def test_rate_limit_for_some_calls_after_others(
    slack: LocalSlack, client: AsyncWebClient, general: str
):
    slack.fault("ratelimit", method="users.info", times=2, skip=1, retry_after=7)
    ada = slack.users["ada"]
    assert (await client.users_info(user=ada))["ok"]
    assert (await client.conversations_info(channel=general))["ok"]
    assert await limited(client.users_info(user=ada)) == 7
    assert await limited(client.users_info(user=ada)) == 7
    assert (await client.users_info(user=ada))["ok"]


async def test_named_error_until_cleared(slack: LocalSlack, client: AsyncWebClient):
    slack.fault("api_error", error="fatal_error", times=None)
    for _ in range(3):
        with pytest.raises(SlackApiError, match="fatal_error"):
            await client.auth_test()
    slack.clear_faults()
    assert (await client.auth_test())["ok"]


async def test_stale_listing_hides_young_posts(
    slack: LocalSlack, client: AsyncWebClient, general: str
):
    root = await slack.say("ada", "general", "root")
    slack.advance(10)
    await client.chat_postMessage(channel=general, text="reply", thread_ts=root.ts)
    slack.fault("stale", seconds=5, times=2)

    async def listed() -> list[str]:
        answer = await client.conversations_replies(channel=general, ts=root.ts)
        return [message["text"] for message in answer["messages"]]

    assert await listed() == ["root"]
    slack.advance(5)
    assert await listed() == ["root", "reply"]


async def test_kicked_and_invited_again(slack: LocalSlack, client: AsyncWebClient, general: str):
    slack.fault("kick_bot", channel="general")
    with pytest.raises(SlackApiError, match="not_in_channel"):
        await client.chat_postMessage(channel=general, text="hi")
    slack.fault("invite_bot", channel="general")
    assert (await client.chat_postMessage(channel=general, text="hi"))["ok"]
    slack.fault("archive_channel", channel="general")
    slack.fault("unarchive_channel", channel="general")
    assert (await client.chat_postMessage(channel=general, text="hi"))["ok"]

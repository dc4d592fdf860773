"""Reactions in the local Slack: our app's by the real slack_sdk, people's, and their events."""

from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.local import LocalSlack, Message, SlackError
from bot.local.events import SUBSCRIPTIONS
from bot.local.workspace import SCOPES
from tests.contract.slack_receiver import client_of, receiving

REACTIONS = {"reactions:read", "reactions:write"}
EVENTS = {"reaction_added", "reaction_removed"}


@pytest.fixture
async def slack() -> AsyncIterator[LocalSlack]:
    options: Any = {"scopes": SCOPES | REACTIONS, "subscriptions": SUBSCRIPTIONS | EVENTS}
    async with LocalSlack(limits=False, clock="virtual", **options) as server:
        yield server


@pytest.fixture
async def said(slack: LocalSlack) -> Message:
    return await slack.say("ada", "general", "hi")


def item(message: Message, name: str = "eyes") -> dict[str, str]:
    return {"channel": message.channel, "timestamp": message.ts, "name": name}


async def error(call: Awaitable[Any]) -> str:
    with pytest.raises(SlackApiError) as caught:
        await call
    response: Any = caught.value.response
    name: str = response["error"]
    return name


def shown(slack: LocalSlack, message: Message) -> dict[str, list[str]]:
    [standing] = slack.replies(message.channel, message.ts)
    return {one["name"]: one["users"] for one in standing.reactions}


async def test_added_got_and_removed(slack: LocalSlack, client: AsyncWebClient, said: Message):
    await client.reactions_add(**item(said))
    await slack.react("grace", "general", said.ts, "eyes")
    await slack.react("grace", "general", said.ts, "wave::skin-tone-3")
    grace = slack.users["grace"]
    ours = slack.bot_user_id
    assert shown(slack, said) == {"eyes": [ours, grace], "wave::skin-tone-3": [grace]}
    got = await client.reactions_get(channel=said.channel, timestamp=said.ts)
    assert (got["type"], got["channel"]) == ("message", said.channel)
    assert got["message"]["reactions"][0] == {"name": "eyes", "users": [ours, grace], "count": 2}
    assert got["message"]["permalink"].endswith(said.ts.replace(".", ""))
    await client.reactions_remove(**item(said))
    await slack.unreact("grace", "general", said.ts, "wave::skin-tone-3")
    assert shown(slack, said) == {"eyes": [grace]}
    listed = await client.conversations_replies(channel=said.channel, ts=said.ts)
    assert [one["count"] for one in listed["messages"][0]["reactions"]] == [1]


async def test_refusals(slack: LocalSlack, client: AsyncWebClient, said: Message):
    await client.reactions_add(**item(said))
    assert await error(client.reactions_add(**item(said))) == "already_reacted"
    assert await error(client.reactions_remove(**item(said, "tada"))) == "no_reaction"
    await slack.react("ada", "general", said.ts, "tada")
    assert await error(client.reactions_remove(**item(said, "tada"))) == "no_reaction"
    for name in (":eyes:", "", "Eyes", "two words", "\N{EYES}"):
        assert await error(client.reactions_add(**item(said, name))) == "invalid_name"
    for timestamp, name in (
        ("1.000000", "message_not_found"),
        ("yesterday", "bad_timestamp"),
        ("", "no_item_specified"),
    ):
        given = item(said) | {"timestamp": timestamp}
        assert await error(client.reactions_add(**given)) == name
        assert await error(client.reactions_remove(**given)) == name
    elsewhere = item(said) | {"channel": "C0NOWHERE"}
    assert await error(client.reactions_add(**elsewhere)) == "channel_not_found"
    unseen = item(said) | {"channel": slack.channels["nobot"]}
    assert await error(client.reactions_add(**unseen)) == "not_in_channel"
    slack.fault("archive_channel", channel="general")
    assert await error(client.reactions_add(**item(said, "tada"))) == "is_archived"
    assert (await client.reactions_get(channel=said.channel, timestamp=said.ts))["ok"]


async def test_there_is_a_limit_of_names(slack: LocalSlack, client: AsyncWebClient, said: Message):
    for number in range(23):
        await client.reactions_add(**item(said, f"ours{number}"))
    assert await error(client.reactions_add(**item(said, "ours23"))) == "too_many_reactions"
    for number in range(27):
        person = "ada" if number < 20 else "grace"
        await slack.react(person, "general", said.ts, f"theirs{number}")
    with pytest.raises(SlackError, match="too_many_emoji"):
        await slack.react("linus", "general", said.ts, "one_more")
    await slack.react("linus", "general", said.ts, "ours0")


async def test_people_need_to_be_there(slack: LocalSlack, said: Message):
    with pytest.raises(SlackError, match="not_in_channel"):
        await slack.react("connect", "general", said.ts, "eyes")
    with pytest.raises(SlackError, match="message_not_found"):
        await slack.react("ada", "general", "1.000000", "eyes")
    with pytest.raises(SlackError, match="no_reaction"):
        await slack.unreact("ada", "general", said.ts, "eyes")


async def test_events_in_the_true_envelope(slack: LocalSlack, client: AsyncWebClient):
    said = await slack.say("connect", "shared", "hi")
    await slack.react("connect", "shared", said.ts, "eyes")
    await client.reactions_add(**item(said, "tada"))
    await slack.unreact("connect", "shared", said.ts, "eyes")
    _, added, ours, removed = slack.envelopes(said.ts)
    assert added["event"] | {"event_ts": ""} == {
        "type": "reaction_added",
        "user": slack.users["connect"],
        "reaction": "eyes",
        "item": {"type": "message", "channel": said.channel, "ts": said.ts},
        "item_user": slack.users["connect"],
        "event_ts": "",
    }
    # Of a reaction the envelope names the installed team, whoever reacted.
    assert added["team_id"] == slack.team_id
    assert added["is_ext_shared_channel"]
    assert added["authorizations"][0]["team_id"] == slack.team_id
    assert ours["event"]["user"] == slack.bot_user_id
    assert removed["event"]["type"] == "reaction_removed"


async def test_events_reach_the_app_only_when_subscribed(slack: LocalSlack, said: Message):
    async with receiving(slack) as receiver:
        await slack.settle()
        await slack.react("ada", "general", said.ts, "eyes")
        await slack.settle()
        assert receiver.kinds[-1] == "reaction_added"
    async with LocalSlack() as plain:
        other = await plain.say("ada", "general", "hi")
        await plain.react("ada", "general", other.ts, "eyes")
        assert len(plain.envelopes(other.ts)) == 1


async def test_scopes_are_needed():
    async with LocalSlack() as slack:
        said = await slack.say("ada", "general", "hi")
        client = client_of(slack)
        assert await error(client.reactions_add(**item(said))) == "missing_scope"
        get = client.reactions_get(channel=said.channel, timestamp=said.ts)
        assert await error(get) == "missing_scope"


async def test_tiers():
    async with LocalSlack(clock="virtual", scopes=SCOPES | REACTIONS) as slack:
        said = await slack.say("ada", "general", "hi")
        client = client_of(slack)
        for number in range(20):
            await client.reactions_add(**item(said, f"r{number}"))
        for number in range(20):
            await client.reactions_remove(**item(said, f"r{number}"))
        await client.reactions_add(**item(said))
        assert await error(client.reactions_remove(**item(said))) == "ratelimited"
        slack.fault("method_unknown", method="reactions.add")
        assert await error(client.reactions_add(**item(said, "tada"))) == "unknown_method"


async def test_a_restart_and_an_edit_keep_them(tmp_path: Path):
    data = tmp_path / "slack.sqlite3"
    async with LocalSlack(data=data) as slack:
        said = await slack.say("ada", "general", "hi")
        await slack.react("ada", "general", said.ts, "eyes")
        await slack.edit("general", said.ts, "hello")
    async with LocalSlack(data=data) as slack:
        assert shown(slack, said) == {"eyes": [slack.users["ada"]]}

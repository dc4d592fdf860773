"""Ranks, guests, strangers, deactivated accounts and user groups, read through slack_sdk."""

from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.local import LocalSlack, SlackError
from bot.local.workspace import SCOPES
from tests.contract.slack_receiver import client_of


@pytest.fixture
async def slack() -> AsyncIterator[LocalSlack]:
    scopes = SCOPES | {"usergroups:read"}
    async with LocalSlack(limits=False, clock="virtual", scopes=scopes) as server:
        yield server


async def error(call: Awaitable[Any]) -> str:
    with pytest.raises(SlackApiError) as caught:
        await call
    response: Any = caught.value.response
    name: str = response["error"]
    return name


async def test_ranks(slack: LocalSlack, client: AsyncWebClient):
    ranks = ("is_admin", "is_owner", "is_restricted", "is_ultra_restricted")
    shown = {}
    for name in ("ada", "admin", "owner", "guest", "solo"):
        user = (await client.users_info(user=slack.users[name]))["user"]
        shown[name] = [rank for rank in ranks if user[rank]]
        assert (user["deleted"], user["team_id"]) == (False, slack.team_id)
    assert shown == {
        "ada": [],
        "admin": ["is_admin"],
        "owner": ["is_admin", "is_owner"],
        "guest": ["is_restricted"],
        "solo": ["is_restricted", "is_ultra_restricted"],
    }
    slack.set_user("ada", kind="admin")
    assert (await client.users_info(user=slack.users["ada"]))["user"]["is_admin"]


async def test_strangers_and_the_deactivated(slack: LocalSlack, client: AsyncWebClient):
    outsider = (await client.users_info(user=slack.users["outsider"]))["user"]
    assert (outsider["is_stranger"], outsider["team_id"]) == (True, "T0OTHERTEAM")
    gone = (await client.users_info(user=slack.users["gone"]))["user"]
    assert gone["deleted"] is True
    assert "is_admin" not in gone
    assert await error(client.conversations_open(users=[gone["id"]])) == "user_disabled"
    await slack.say("ada", "general", "hi")
    slack.set_user("ada", deleted=True)
    with pytest.raises(SlackError, match="user_deactivated"):
        await slack.say("ada", "general", "hi")
    members = await client.conversations_members(channel="C0GENERAL")
    assert slack.users["ada"] not in members["members"]
    users = await client.usergroups_users_list(usergroup=slack.user_groups["oncall"])
    assert users["users"] == [slack.users["grace"]]
    slack.set_user("ada", deleted=False)
    assert not (await client.users_info(user=slack.users["ada"]))["user"]["deleted"]


async def test_user_groups(slack: LocalSlack, client: AsyncWebClient):
    oncall = slack.user_groups["oncall"]
    answer = await client.usergroups_users_list(usergroup=oncall)
    assert answer["users"] == [slack.users["ada"], slack.users["grace"]]
    assert slack.set_user_group("oncall", ["linus"]) == oncall
    assert (await client.usergroups_users_list(usergroup=oncall))["users"] == ["U0LINUS"]
    fresh = slack.set_user_group("fresh", [])
    assert (await client.usergroups_users_list(usergroup=fresh))["users"] == []
    unknown = client.usergroups_users_list(usergroup="S0NOTHING")
    assert await error(unknown) == "no_such_subteam"
    retired = slack.user_groups["retired"]
    assert await error(client.usergroups_users_list(usergroup=retired)) == "no_such_subteam"
    disabled = await client.usergroups_users_list(usergroup=retired, include_disabled=True)
    assert disabled["users"] == ["U0ADA"]


async def test_user_groups_need_their_scope():
    async with LocalSlack() as slack:
        client = client_of(slack)
        assert await error(client.usergroups_users_list(usergroup="S0ONCALL")) == "missing_scope"


async def test_people_and_groups_survive_a_restart(tmp_path: Path):
    data = tmp_path / "slack.sqlite"
    async with LocalSlack(data=data) as slack:
        slack.set_user("linus", deleted=True, kind="owner")
        slack.add_user("zed", kind="solo_guest")
        group = slack.set_user_group("fresh", ["ada"], disabled=True)
    async with LocalSlack(data=data) as slack:
        linus = slack.workspace.user("linus")
        assert (linus.deleted, linus.kind) == (True, "owner")
        assert slack.workspace.user("zed").kind == "solo_guest"
        assert slack.user_groups["fresh"] == group

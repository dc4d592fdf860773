"""Suggested prompts in the local Slack, set through the real slack_sdk."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.local import LocalSlack
from bot.local.workspace import SCOPES
from tests.contract.slack_modals import error, refused
from tests.contract.slack_receiver import client_of

ONE = {"title": "Plan", "message": "Plan a release"}


@pytest.fixture
async def slack() -> AsyncIterator[LocalSlack]:
    async with LocalSlack(limits=False, scopes=SCOPES | {"assistant:write"}) as server:
        yield server


def shown(slack: LocalSlack) -> dict[str, Any]:
    return {p.id: (p.title, p.prompts) for p in slack.workspace.surfaces.prompts}


async def test_prompts_are_set_for_a_direct_message_and_replaced(
    slack: LocalSlack, client: AsyncWebClient
):
    dm = slack.dm("ada")
    await client.assistant_threads_setSuggestedPrompts(
        channel_id=dm, title="Hello", prompts=[ONE] * 4
    )
    assert shown(slack) == {dm: ("Hello", [ONE] * 4)}
    other = [{"title": "x", "message": "y"}]
    assert (await client.assistant_threads_setSuggestedPrompts(channel_id=dm, prompts=other))["ok"]
    assert shown(slack) == {dm: (None, other)}


async def test_an_agent_that_names_a_thread_is_answered_and_nothing_happens(
    slack: LocalSlack, client: AsyncWebClient
):
    dm = slack.dm("ada")
    root = await slack.say("ada", dm, "hi")
    set_ = client.assistant_threads_setSuggestedPrompts
    assert (await set_(channel_id=dm, thread_ts=root.ts, prompts=[ONE]))["ok"]
    assert shown(slack) == {}


async def test_an_app_without_the_agent_feature_names_a_thread(
    slack: LocalSlack, client: AsyncWebClient
):
    slack.fault("disable_agent_features")
    dm = slack.dm("ada")
    root = await slack.say("ada", dm, "hi")
    set_ = client.assistant_threads_setSuggestedPrompts
    assert await error(set_(channel_id=dm, prompts=[ONE])) == "not_agent_app"
    unknown = set_(channel_id=dm, thread_ts="1.000000", prompts=[ONE])
    assert await error(unknown) == "invalid_thread_ts"
    await set_(channel_id=dm, thread_ts=root.ts, prompts=[ONE])
    assert shown(slack) == {f"{dm}/{root.ts}": (None, [ONE])}


@pytest.mark.parametrize("channel", ["C0GENERAL", "D0NOBODY", "G0MPIM"])
async def test_only_a_direct_message_has_prompts(client: AsyncWebClient, channel: str):
    call = client.assistant_threads_setSuggestedPrompts(channel_id=channel, prompts=[ONE])
    assert await error(call) == "channel_not_found"


@pytest.mark.parametrize(
    ("prompts", "says"),
    [
        ([], "missing required field: prompts"),
        ([ONE] * 5, "no more than 4 items allowed"),
        ([{"title": "x"}], "missing required field: message"),
        ([{"title": " ", "message": "y"}], "missing required field: title"),
        ([ONE | {"emoji": "x"}], "invalid additional property: emoji"),
        (["Plan"], "must provide an object"),
        ("{", "must be a JSON list"),
    ],
)
async def test_broken_prompts_are_refused_with_what_is_wrong(
    slack: LocalSlack, client: AsyncWebClient, prompts: Any, says: str
):
    call = client.assistant_threads_setSuggestedPrompts(channel_id=slack.dm("ada"), prompts=prompts)
    response = await refused(call)
    assert response["error"] == "invalid_arguments"
    assert says in str(response["response_metadata"]["messages"])
    assert shown(slack) == {}


async def test_it_takes_the_scope():
    async with LocalSlack(limits=False) as slack:
        call = client_of(slack).assistant_threads_setSuggestedPrompts(
            channel_id=slack.dm("ada"), prompts=[ONE]
        )
        response = await refused(call)
        assert (response["error"], response["needed"]) == ("missing_scope", "assistant:write")


async def test_prompts_survive_a_restart_and_not_a_reset(tmp_path: Path):
    data = tmp_path / "slack.sqlite3"
    async with LocalSlack(data=data, limits=False, scopes=SCOPES | {"assistant:write"}) as slack:
        dm = slack.dm("ada")
        await client_of(slack).assistant_threads_setSuggestedPrompts(channel_id=dm, prompts=[ONE])
    async with LocalSlack(data=data, limits=False) as slack:
        assert shown(slack) == {dm: (None, [ONE])}
        slack.reset()
        assert shown(slack) == {}

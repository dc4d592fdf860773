"""Buttons that people press, received by a real Bolt app."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from slack_sdk.web.async_client import AsyncWebClient

from bot.local import LocalSlack, SlackError
from tests.contract.slack_cards import button, card, missing, posted, recorded
from tests.contract.slack_receiver import Receiver, client_of, receiving


@pytest.fixture
async def receiver(slack: LocalSlack) -> AsyncIterator[Receiver]:
    async with receiving(slack) as app:

        @app.app.action("approve")
        @app.app.action("deny")
        async def on_action(ack: Any, body: dict[str, Any]) -> None:
            app.heard.append(body)
            await ack()

        @app.app.shortcut("ask")
        async def on_shortcut(ack: Any, body: dict[str, Any]) -> None:
            app.heard.append(body)
            await ack()

        yield app


def clicks(receiver: Receiver) -> list[dict[str, Any]]:
    return [one.body for one in receiver.requests if one.body["type"] == "block_actions"]


async def error(call: Any) -> str:
    with pytest.raises(SlackError) as refused:
        await call
    return refused.value.name


async def test_a_click_in_a_thread_names_all_that_decides(
    slack: LocalSlack, client: AsyncWebClient, receiver: Receiver
):
    root = await slack.say("ada", "general", "root")
    ts = await posted(client, "C0GENERAL", thread_ts=root.ts)
    [pressed] = await slack.click("grace", ts, action_id="approve")
    assert (pressed.status, pressed.failure) == (200, None)
    [body] = clicks(receiver)
    assert body["user"]["id"] == slack.users["grace"]
    assert body["user"]["team_id"] == body["team"]["id"] == slack.team_id
    assert body["api_app_id"] == slack.api_app_id
    assert (body["enterprise"], body["is_enterprise_install"]) == (None, False)
    assert body["container"] == {
        "type": "message",
        "message_ts": ts,
        "thread_ts": root.ts,
        "channel_id": "C0GENERAL",
        "is_ephemeral": False,
    }
    assert body["channel"] == {"id": "C0GENERAL", "name": "general"}
    assert (body["message"]["ts"], body["message"]["thread_ts"]) == (ts, root.ts)
    assert body["state"] == {"values": {}}
    [action] = body["actions"]
    assert action["action_ts"] > ts
    assert {name: action[name] for name in ("action_id", "block_id", "value", "type")} == {
        "action_id": "approve",
        "block_id": "decide",
        "value": "id-approve",
        "type": "button",
    }
    assert body["trigger_id"] == pressed.trigger_id
    assert body["response_url"].startswith(f"{slack.url}/actions/{slack.team_id}/")
    assert [one["actions"] for one in receiver.heard if "actions" in one] == [body["actions"]]
    assert slack.warnings() == []


async def test_clicks_have_every_key_of_the_recorded_ones(
    slack: LocalSlack, client: AsyncWebClient, receiver: Receiver
):
    ts = await posted(client, "C0GENERAL", button("approve"))
    await slack.click("ada", ts, action_id="approve")
    wanted = recorded("socket--interactive-block_actions.json")
    wanted["message"]["blocks"] = []
    assert missing(wanted, clicks(receiver)[0]) == []
    wanted = recorded("block_actions--message-button.json")
    wanted["container"] |= {"type": "message"}
    for attached in ("attachment_id", "is_app_unfurl"):
        del wanted["container"][attached]
    assert missing(wanted, clicks(receiver)[0]) == []


async def test_a_click_on_an_ephemeral_message_has_no_message(
    slack: LocalSlack, client: AsyncWebClient, receiver: Receiver
):
    root = await slack.say("ada", "general", "root")
    answer = await client.chat_postEphemeral(
        channel=root.channel,
        user=slack.users["ada"],
        text="you",
        blocks=card(button("approve")),
        thread_ts=root.ts,
    )
    ts = answer["message_ts"]
    assert await error(slack.click("grace", ts)) == "message_not_found"
    await slack.click("ada", ts)
    [body] = clicks(receiver)
    assert "message" not in body
    assert body["container"]["is_ephemeral"] is True
    assert body["container"]["thread_ts"] == root.ts
    wanted = recorded("block_actions--ephemeral.json")
    for of_a_grid in ("enterprise_id", "enterprise_name"):
        del wanted["team"][of_a_grid]
    assert missing(wanted, body) == []


async def test_an_org_wide_install_has_no_team(
    slack: LocalSlack, client: AsyncWebClient, receiver: Receiver
):
    ts = await posted(client, "C0GENERAL")
    await slack.click("ada", ts, text="Deny", org_install=True)
    [body] = clicks(receiver)
    assert body["team"] is None
    assert body["is_enterprise_install"] is True
    wanted = recorded("view_submission--org-install.json")["enterprise"]
    assert missing(wanted, body["enterprise"]) == []


async def test_guests_strangers_and_bots_press_as_who_they_are(
    slack: LocalSlack, client: AsyncWebClient, receiver: Receiver
):
    shared = await posted(client, "C0SHARED")
    general = await posted(client, "C0GENERAL")
    for name in ("connect", "outsider"):
        await slack.click(name, shared, action_id="approve")
    for name in ("guest", "solo", "owner", "deploybot"):
        await slack.click(name, general, action_id="approve")
    teams = {body["user"]["username"]: body["user"]["team_id"] for body in clicks(receiver)}
    assert teams["connect"] == teams["outsider"] == "T0OTHERTEAM"
    assert teams["solo"] == teams["deploybot"] == slack.team_id
    # The team of a message's button is where the app is installed, whoever presses it.
    assert {body["team"]["id"] for body in clicks(receiver)} == {slack.team_id}
    assert await error(slack.click("connect", general, action_id="approve")) == "not_in_channel"


async def test_what_a_screen_does_not_show_can_only_be_pressed_anyway(
    slack: LocalSlack, client: AsyncWebClient, receiver: Receiver
):
    hidden = button("approve", visible_to_user_ids=[slack.users["grace"]])
    ts = await posted(client, "C0GENERAL", hidden)
    assert await error(slack.click("ada", ts)) == "action_not_visible"
    await slack.click("grace", ts)
    await client.chat_update(channel="C0GENERAL", ts=ts, text="Decided.")
    assert await error(slack.click("grace", ts)) == "action_not_found"
    slack.set_user("linus", deleted=True)
    assert await error(slack.click("linus", ts, anyway=False)) == "user_deactivated"
    await slack.click("linus", ts, anyway=True)
    pressed = [(body["user"]["username"], body["actions"][0]["value"]) for body in clicks(receiver)]
    assert pressed == [("grace", "id-approve"), ("linus", "id-approve")]
    assert clicks(receiver)[1]["message"]["text"] == "Decided."


async def test_one_element_must_be_meant(
    slack: LocalSlack, client: AsyncWebClient, receiver: Receiver
):
    ts = await posted(client, "C0GENERAL")
    assert await error(slack.click("ada", ts)) == "action_ambiguous"
    assert await error(slack.click("ada", ts, action_id="nothing")) == "action_not_found"
    assert await error(slack.click("ada", "1.000000")) == "message_not_found"
    assert await error(slack.click("nobody", ts)) == "user_not_found"
    assert clicks(receiver) == []


async def test_a_double_click_is_two_interactions(
    slack: LocalSlack, client: AsyncWebClient, receiver: Receiver
):
    ts = await posted(client, "C0GENERAL")
    assert len(await slack.click("ada", ts, action_id="approve", times=2)) == 2
    one, other = clicks(receiver)
    for name in ("trigger_id", "response_url"):
        assert one[name] != other[name]
    assert one["actions"][0]["action_ts"] != other["actions"][0]["action_ts"]


async def test_links_and_selects_send_actions_too(
    slack: LocalSlack, client: AsyncWebClient, receiver: Receiver
):
    options = [{"text": {"type": "plain_text", "text": one}, "value": one} for one in ("a", "b")]
    select = {"type": "static_select", "action_id": "approve", "options": options}
    ts = await posted(client, "C0GENERAL", button("deny", url="https://example.com/"), select)
    await slack.click("ada", ts, text="Deny")
    await slack.click("ada", ts, action_id="approve", value="b")
    link, chosen = (body["actions"][0] for body in clicks(receiver))
    assert link["url"] == "https://example.com/"
    assert chosen["selected_option"]["value"] == "b"
    state = clicks(receiver)[0]["state"]["values"]["decide"]["approve"]
    assert state == {"type": "static_select", "selected_option": None}
    with pytest.raises(SlackError, match="option_not_found"):
        await slack.click("ada", ts, action_id="approve", value="c")


async def test_a_failed_click_is_a_warning_and_comes_once(
    slack: LocalSlack, client: AsyncWebClient, receiver: Receiver
):
    ts = await posted(client, "C0GENERAL")
    await slack.settle()
    receiver.requests.clear()
    receiver.refuse = [web.Response(status=500), web.Response(status=202)]
    for failure in ("http_error", "http_error", None):
        [pressed] = await slack.click("ada", ts, action_id="approve")
        assert pressed.failure == failure
    slack.advance(100_000)
    await slack.settle()
    assert len(receiver.requests) == 3
    shown = [(one.user, one.kind, one.on, one.failure) for one in slack.warnings("ada")]
    assert shown == [(slack.users["ada"], "block_actions", ts, "http_error")] * 2
    assert slack.warnings("grace") == []


async def test_three_seconds_are_all_an_app_has(
    slack: LocalSlack, client: AsyncWebClient, receiver: Receiver
):
    ts = await posted(client, "C0GENERAL")
    await slack.settle()
    receiver.stalled = asyncio.Event()
    [pressed] = await slack.click("ada", ts, action_id="approve")
    receiver.stalled.set()
    assert (pressed.status, pressed.failure) == (0, "http_timeout")
    assert [one.failure for one in slack.warnings()] == ["http_timeout"]


async def test_a_message_shortcut(slack: LocalSlack, receiver: Receiver):
    said = await slack.say("ada", "general", "@grace look")
    await slack.shortcut("linus", said.ts, "ask")
    [body] = [one.body for one in receiver.requests if one.body["type"] == "message_action"]
    assert missing(recorded("message_action.json"), body) == []
    assert body["message_ts"] == said.ts
    assert [one["type"] for one in receiver.heard if "callback_id" in one] == ["message_action"]


async def test_warnings_and_triggers_survive_a_restart(tmp_path: Path):
    data = tmp_path / "slack.sqlite"
    async with LocalSlack(data=data) as slack:
        ts = await posted(client_of(slack), "C0GENERAL")
        [pressed] = await slack.click("ada", ts, action_id="approve")
        assert pressed.failure == "connection_failed"
        await client_of(slack).chat_update(channel="C0GENERAL", ts=ts, text="Decided.")
    async with LocalSlack(data=data) as slack:
        assert [one.on for one in slack.warnings("ada")] == [ts]
        kept = slack.workspace.surfaces.triggers.get(pressed.trigger_id)
        assert kept is not None
        assert kept.user == slack.users["ada"]
        await slack.click("ada", ts, action_id="approve", anyway=True)
        slack.reset()
        assert slack.warnings() == []
    async with LocalSlack(data=data) as slack:
        assert slack.warnings() == []
        assert set(slack.user_groups) == {"oncall", "release", "retired"}


@pytest.mark.parametrize(
    ("pressed", "message"),
    [
        (button(text={"type": "plain_text", "text": "x" * 76}), "less than 76 characters: text"),
        (button(text={"type": "mrkdwn", "text": "x"}), "unsupported type: mrkdwn"),
        (button("x" * 256, text={"type": "plain_text", "text": "x"}), "256 characters: action_id"),
        (button(value="x" * 2_001), "2001 characters: value"),
        (button(url="x" * 3_001), "3001 characters: url"),
        (button(accessibility_label="x" * 76), "76 characters: accessibility_label"),
        (button(style="loud"), "primary or danger"),
        (button(visible_to_user_ids="U0ADA"), "visible_to_user_ids"),
        (button(confirm={"title": {"type": "plain_text", "text": "x"}}), "confirm/text"),
        (
            button(
                confirm={
                    "title": {"type": "plain_text", "text": "x" * 101},
                    "text": {"type": "plain_text", "text": "x" * 301},
                    "deny": {"type": "plain_text", "text": "x" * 31},
                }
            ),
            "101 characters: text (confirm/title)",
        ),
        ({"type": "plain_text_input", "action_id": "a"}, "unsupported type: plain_text_input"),
    ],
)
async def test_buttons_that_slack_refuses(client: AsyncWebClient, pressed: Any, message: str):
    with pytest.raises(Exception, match="invalid_blocks") as refused:
        await posted(client, "C0GENERAL", pressed)
    response: Any = refused.value
    told = response.response["response_metadata"]["messages"]
    assert any(message in one and "/blocks/1]" in one for one in told)


async def test_action_ids_are_unique_in_a_block_and_given_where_missing(
    slack: LocalSlack, client: AsyncWebClient
):
    with pytest.raises(Exception, match="invalid_blocks"):
        await posted(client, "C0GENERAL", button("approve"), button("approve"))
    with pytest.raises(Exception, match="invalid_blocks"):
        await posted(client, "C0GENERAL", *(button(f"a{number}") for number in range(26)))
    nameless = button("approve")
    del nameless["action_id"]
    blocks = [*card(nameless), {"type": "actions", "elements": [button("deny")]}]
    answer = await client.chat_postMessage(channel="C0GENERAL", text="x", blocks=blocks)
    given = answer["message"]["blocks"][1]["elements"][0]["action_id"]
    [pressed] = await slack.click("ada", answer["ts"], text="Approve")
    assert pressed.payload["actions"][0]["action_id"] == given

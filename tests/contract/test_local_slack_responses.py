"""Answers to a response_url, given through the real slack_sdk."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient
from slack_sdk.webhook.webhook_response import WebhookResponse
from yarl import URL

from bot.local import LocalSlack
from tests.contract.slack_cards import button, card, posted
from tests.contract.slack_receiver import Receiver, client_of, receiving


@pytest.fixture
async def receiver(slack: LocalSlack) -> AsyncIterator[Receiver]:
    async with receiving(slack) as app:
        yield app


@pytest.fixture
async def card_ts(client: AsyncWebClient) -> str:
    return await posted(client, "C0GENERAL", button("approve"))


async def clicked(slack: LocalSlack, ts: str) -> AsyncWebhookClient:
    """Where the app may answer ada's click."""
    [pressed] = await slack.click("ada", ts)
    return AsyncWebhookClient(pressed.response_url, retry_handlers=[])


def error(answer: WebhookResponse) -> tuple[int, str]:
    return answer.status_code, answer.body


async def test_an_answer_is_for_the_one_who_pressed_unless_it_says_otherwise(
    slack: LocalSlack, receiver: Receiver, card_ts: str
):
    await slack.settle()
    hook = await clicked(slack, card_ts)
    answer = await hook.send(text="not you")
    assert error(answer) == (200, '{"ok": true}')
    await hook.send(text="here", blocks=card(), response_type="ephemeral")
    private, there = slack.ephemerals
    assert (private.user, private.channel) == (slack.users["ada"], "C0GENERAL")
    assert (private.text, private.thread_ts, there.text) == ("not you", None, "here")
    await hook.send(text="all of you", response_type="in_channel")
    said = slack.history("general")[-1]
    assert (said.text, said.subtype, said.bot_id, said.user) == (
        "all of you",
        "bot_message",
        slack.bot_id,
        None,
    )
    await slack.settle()
    told = [one.body["event"] for one in receiver.requests if "event" in one.body]
    assert [one.get("subtype") for one in told] == [None, "bot_message"]


async def test_an_answer_in_the_thread(slack: LocalSlack, card_ts: str):
    hook = await clicked(slack, card_ts)
    await hook.send_dict({"text": "here", "thread_ts": card_ts})
    assert [one.thread_ts for one in slack.ephemerals] == [card_ts]
    await hook.send_dict({"text": "all", "thread_ts": card_ts, "response_type": "in_channel"})
    assert [one.text for one in slack.replies("general", card_ts)] == ["May I?", "all"]
    nowhere = await hook.send_dict({"text": "x", "thread_ts": "1.000000"})
    assert nowhere.status_code == 400
    assert "thread_not_found" in nowhere.body


async def test_the_original_is_replaced_and_deleted(slack: LocalSlack, card_ts: str):
    hook = await clicked(slack, card_ts)
    await hook.send(text="decided", replace_original=True)
    [message] = slack.replies("general", card_ts)
    assert (message.text, message.ts) == ("decided", card_ts)
    assert message.edited
    await hook.send(delete_original=True)
    assert slack.replies("general", card_ts) == []
    gone = await hook.send(text="again", replace_original=True)
    assert "message_not_found" in gone.body


async def test_an_ephemeral_original_is_replaced_and_deleted(
    slack: LocalSlack, client: AsyncWebClient
):
    answer = await client.chat_postEphemeral(
        channel="C0GENERAL", user="U0ADA", text="you", blocks=card(button("approve"))
    )
    hook = await clicked(slack, answer["message_ts"])
    await hook.send(text="done", replace_original=True)
    assert [(one.text, one.ts) for one in slack.ephemerals] == [("done", answer["message_ts"])]
    await hook.send(delete_original=True)
    assert slack.ephemerals == []


async def test_five_uses_and_half_an_hour(slack: LocalSlack, card_ts: str):
    hook = await clicked(slack, card_ts)
    refused = await hook.send(text=" ")
    assert refused.status_code == 400
    for _ in range(4):
        assert (await hook.send(text="x")).status_code == 200
    assert error(await hook.send(text="x")) == (404, '{"ok": false, "error": "used_url"}')
    hook = await clicked(slack, card_ts)
    slack.advance(1_800)
    assert (await hook.send(text="x")).status_code == 200
    slack.advance(1)
    assert error(await hook.send(text="x")) == (404, '{"ok": false, "error": "expired_url"}')
    unknown = AsyncWebhookClient(f"{slack.url}/actions/T0/1/nothing", retry_handlers=[])
    assert (await unknown.send(text="x")).status_code == 404


async def test_broken_answers(slack: LocalSlack, card_ts: str):
    hook = await clicked(slack, card_ts)
    broken = [{"type": "nonsense"}]
    for body, name in (
        ({"text": "x", "blocks": broken}, "invalid_blocks"),
        ({"text": "x", "response_type": "loud"}, "invalid_response_type"),
        ({"text": " "}, "no_text"),
    ):
        assert name in (await hook.send_dict(body)).body
    async with aiohttp.ClientSession() as http, http.post(hook.url, data={"text": "x"}) as answer:
        assert (answer.status, (await answer.json())["error"]) == (400, "invalid_payload")


async def test_faults_reach_it_and_calls_are_recorded(slack: LocalSlack, card_ts: str):
    hook = await clicked(slack, card_ts)
    slack.fault("error_before", method="response_url", status=503)
    assert (await hook.send(text="lost")).status_code == 503
    slack.fault("ratelimit", method="response_url", retry_after=7)
    limited = await hook.send(text="lost")
    assert (limited.status_code, limited.headers["Retry-After"]) == (429, "7")
    slack.fault("drop_after", method="response_url")
    with pytest.raises(aiohttp.ClientError):
        await hook.send(text="kept")
    assert [one.text for one in slack.ephemerals] == ["kept"]
    calls = [(one.method, one.status, one.fault) for one in slack.calls[1:]]
    assert calls == [
        ("response_url", 503, "error_before"),
        ("response_url", 429, "ratelimit"),
        ("response_url", 0, "drop_after"),
    ]


async def test_bolt_answers_with_respond(slack: LocalSlack, receiver: Receiver, card_ts: str):
    @receiver.app.action("approve")
    async def on_action(ack: Any, respond: Any) -> None:
        await respond(text="not you", replace_original=False)
        await ack()

    await slack.click("ada", card_ts)
    assert [one.text for one in slack.ephemerals] == ["not you"]


async def test_what_became_of_ephemeral_messages_survives_a_restart(tmp_path: Path):
    data = tmp_path / "slack.sqlite"
    async with LocalSlack(data=data, limits=False) as slack:
        client, stamps = client_of(slack), []
        for text in ("replaced", "deleted", "left"):
            answer = await client.chat_postEphemeral(
                channel="C0GENERAL", user="U0ADA", text=text, blocks=card(button("approve"))
            )
            stamps.append(answer["message_ts"])
        await (await clicked(slack, stamps[0])).send(text="done", replace_original=True)
        await (await clicked(slack, stamps[1])).send(delete_original=True)
        hook = await clicked(slack, stamps[2])
        before = slack.ephemerals
    assert [one.text for one in before] == ["done", "left"]
    async with LocalSlack(data=data, limits=False) as slack:
        assert slack.ephemerals == before
        # On its old port somebody else may listen by now.
        hook.url = str(URL(hook.url).with_port(URL(slack.url).port))
        assert (await hook.send(text="still good")).status_code == 200

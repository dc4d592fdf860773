"""Socket Mode of the local Slack, with the real slack_sdk client and Bolt's handler."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from slack_bolt.adapter.socket_mode.async_handler import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.web.async_client import AsyncWebClient

from bot.local import LocalSlack
from tests.contract.slack_receiver import client_of, receiving
from tests.support import eventually


@pytest.fixture
async def slack() -> AsyncIterator[LocalSlack]:
    async with LocalSlack(socket_mode=True, clock="virtual") as server:
        yield server


def web_client(slack: LocalSlack) -> AsyncWebClient:
    return AsyncWebClient(token=slack.app_token, base_url=slack.api_url, retry_handlers=[])


async def error(call: Awaitable[Any]) -> str:
    with pytest.raises(SlackApiError) as caught:
        await call
    response: Any = caught.value.response
    name: str = response["error"]
    return name


@dataclass
class Link:
    """One web socket without any client behind it."""

    socket: aiohttp.ClientWebSocketResponse
    heard: list[dict[str, Any]] = field(default_factory=list)

    async def next(self) -> dict[str, Any]:
        message: dict[str, Any] = await self.socket.receive_json(timeout=30)
        self.heard.append(message)
        return message

    async def acknowledge(self, envelope: dict[str, Any]) -> None:
        await self.socket.send_json({"envelope_id": envelope["envelope_id"]})

    async def closed(self) -> bool:
        return (await self.socket.receive(timeout=30)).type == aiohttp.WSMsgType.CLOSE


@asynccontextmanager
async def linked(slack: LocalSlack, *, hello: bool = True) -> AsyncIterator[Link]:
    answer = await web_client(slack).apps_connections_open(app_token=slack.app_token)
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(answer["url"], autoclose=True) as socket,
    ):
        link = Link(socket)
        if hello:
            assert (await link.next())["type"] == "hello"
        yield link


# ----------------------------------------------------------------------- opening a link


async def test_only_the_app_token_opens_a_connection(slack: LocalSlack):
    client = web_client(slack)
    opened = await client.apps_connections_open(app_token=slack.app_token)
    assert opened["url"].startswith("ws://127.0.0.1:")
    for token, name in (
        (slack.bot_token, "not_allowed_token_type"),
        ("xapp-1-wrong", "invalid_auth"),
    ):
        assert await error(client.apps_connections_open(app_token=token)) == name
    nobody = AsyncWebClient(base_url=slack.api_url, retry_handlers=[])
    assert await error(nobody.api_call("apps.connections.open")) == "not_authed"
    assert await error(client.auth_test()) == "not_allowed_token_type"
    got = client.api_call("apps.connections.open", http_verb="GET")
    assert await error(got) == "insecure_request"
    slack.fault("revoke_token")
    assert await error(client.apps_connections_open(app_token=slack.app_token)) == "token_revoked"


async def test_hello_says_how_many_there_are(slack: LocalSlack):
    async with linked(slack) as first, linked(slack) as second:
        assert [link.heard[0]["num_connections"] for link in (first, second)] == [1, 2]
        hello = first.heard[0]
        assert hello["connection_info"] == {"app_id": slack.api_app_id}
        assert hello["debug_info"]["approximate_connection_time"] > 0
        assert slack.connections == 2
    await eventually(lambda: slack.connections == 0)


async def test_a_ticket_is_good_for_one_connection(slack: LocalSlack):
    answer = await web_client(slack).apps_connections_open(app_token=slack.app_token)
    async with aiohttp.ClientSession() as session, session.ws_connect(answer["url"]):
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await session.ws_connect(answer["url"])


async def test_ten_connections_and_no_more():
    async with LocalSlack(socket_mode=True, limits=False) as slack:
        links = [linked(slack) for _ in range(10)]
        for link in links:
            await link.__aenter__()
        async with linked(slack, hello=False) as one_more:
            refusal = await one_more.next()
            assert (refusal["type"], refusal["reason"]) == ("disconnect", "too_many_websockets")
            assert await one_more.closed()
        assert slack.connections == 10
        for link in links:
            await link.__aexit__(None, None, None)


async def test_opening_has_its_tier(slack: LocalSlack):
    client = web_client(slack)
    for _ in range(50):
        await client.apps_connections_open(app_token=slack.app_token)
    assert await error(client.apps_connections_open(app_token=slack.app_token)) == "ratelimited"


# --------------------------------------------------------------------------- delivery


async def test_an_envelope_goes_to_any_one_connection(slack: LocalSlack):
    async with linked(slack) as first, linked(slack) as second:
        counted: Counter[int] = Counter()
        seen: set[str] = set()

        async def take(number: int, link: Link) -> None:
            async for frame in link.socket:
                envelope = json.loads(frame.data)
                counted[number] += 1
                seen.add(envelope["payload"]["event_id"])
                await link.acknowledge(envelope)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(take(n, link)) for n, link in enumerate((first, second))]
            for _ in range(40):
                await slack.say("ada", slack.dm("ada"), "hi")
            await slack.settle()
            for task in tasks:
                task.cancel()
        assert counted.total() == len(seen) == 40
        assert min(counted[0], counted[1]) > 0
    assert {delivery.status for delivery in slack.deliveries} == {200}


async def test_the_envelope(slack: LocalSlack):
    async with linked(slack) as link:
        said = await slack.say("ada", slack.dm("ada"), "hi")
        envelope = await link.next()
        await link.acknowledge(envelope)
        await slack.settle()
    [payload] = slack.envelopes(said.ts)
    assert envelope | {"envelope_id": ""} == {
        "envelope_id": "",
        "payload": payload,
        "type": "events_api",
        "accepts_response_payload": False,
        "retry_attempt": 0,
        "retry_reason": "",
    }


async def test_unacknowledged_envelopes_are_retried_like_http(slack: LocalSlack):
    async with linked(slack) as link:
        await slack.say("ada", slack.dm("ada"), "hi")
        first = await link.next()
        second = await link.next()
        assert [one["retry_attempt"] for one in (first, second)] == [0, 1]
        assert second["retry_reason"] == "timeout"
        assert second["envelope_id"] != first["envelope_id"]
        assert second["payload"]["event_id"] == first["payload"]["event_id"]
        # An acknowledgement that comes too late says nothing of the retry.
        await link.acknowledge(first)
        await link.acknowledge(second)
        await slack.settle()
    assert [(one.status, one.retry_num) for one in slack.deliveries] == [(0, None), (200, 1)]
    assert slack.deliveries[0].failure == "timeout"


async def test_what_a_lost_connection_had_is_retried_elsewhere(slack: LocalSlack):
    async with linked(slack) as link:
        await slack.say("ada", slack.dm("ada"), "hi")
        await link.next()
        slack.fault("drop_sockets")
        await eventually(lambda: len(slack.deliveries) == 2)
    assert [one.failure for one in slack.deliveries] == ["connection_failed"] * 2
    async with linked(slack) as again:
        slack.advance(60)
        envelope = await again.next()
        assert (envelope["retry_attempt"], envelope["retry_reason"]) == (2, "connection_failed")
        await again.acknowledge(envelope)
        await slack.settle()


async def test_events_wait_for_the_first_connection(slack: LocalSlack):
    await slack.say("ada", slack.dm("ada"), "early")
    await slack.settle()
    assert slack.deliveries == []
    async with linked(slack) as link:
        envelope = await link.next()
        assert envelope["payload"]["event"]["text"] == "early"
        await link.acknowledge(envelope)
        await slack.settle()


async def test_a_restart_still_owes_what_was_not_acknowledged(tmp_path: Path):
    data = tmp_path / "slack.sqlite3"
    async with LocalSlack(data=data, socket_mode=True) as slack:
        token = slack.app_token
        await slack.say("ada", slack.dm("ada"), "hi")
    async with LocalSlack(data=data, socket_mode=True) as slack:
        assert slack.app_token == token
        async with linked(slack) as link:
            envelope = await link.next()
            assert envelope["payload"]["event"]["text"] == "hi"
            await link.acknowledge(envelope)
            await slack.settle()


async def test_nonsense_closes_the_connection(slack: LocalSlack):
    async with linked(slack) as link:
        await link.socket.send_str("not an acknowledgement")
        assert await link.closed()
    await eventually(lambda: slack.connections == 0)


async def test_interactions_come_once(slack: LocalSlack):
    payload = {"type": "block_actions", "actions": [{"action_id": "a"}]}
    async with linked(slack) as link, asyncio.TaskGroup() as group:
        sent = group.create_task(slack.interact(payload))
        envelope = await link.next()
        assert (envelope["type"], envelope["payload"]) == ("interactive", payload)
        assert "retry_attempt" not in envelope
        await link.acknowledge(envelope)
        assert await sent == 200
    assert await slack.interact(payload) == 0
    assert len(slack.deliveries) == 2


async def test_interactions_over_http_are_signed_forms(slack: LocalSlack):
    slack.socket_mode = False
    async with receiving(slack) as receiver:

        @receiver.app.action("a")
        async def on_action(ack: Any, payload: dict[str, Any]) -> None:
            receiver.heard.append(payload)
            await ack()

        # The receiver's recording door reads JSON only, so Bolt has one of its own here.
        async with _door(receiver.app) as url:
            slack.request_url = url
            action = {"type": "button", "action_id": "a", "block_id": "b"}
            user = {"id": slack.users["ada"], "team_id": slack.team_id}
            payload: dict[str, Any] = {"type": "block_actions", "actions": [action], "user": user}
            assert await slack.interact(payload | {"team": {"id": slack.team_id}}) == 200
    assert [one["action_id"] for one in receiver.heard] == ["a"]


@asynccontextmanager
async def _door(app: AsyncApp) -> AsyncIterator[str]:
    runner = aiohttp.web.AppRunner(app.web_app("/slack/events"), access_log=None)
    await runner.setup()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
    finally:
        await runner.cleanup()


# ---------------------------------------------------------------- refresh and switching


async def test_a_refresh_warns_first_and_closes_ten_seconds_later(slack: LocalSlack):
    async with linked(slack) as link:
        await slack.refresh_connections()
        warning = await link.next()
        assert (warning["type"], warning["reason"]) == ("disconnect", "warning")
        await slack.settle()
        slack.advance(9)
        await slack.settle()
        assert slack.connections == 1
        slack.advance(1)
        assert (await link.next())["reason"] == "refresh_requested"
        assert await link.closed()
    await eventually(lambda: slack.connections == 0)
    async with linked(slack) as link:
        assert slack.connections == 1


async def test_switching_it_off_goes_back_to_http(slack: LocalSlack):
    async with linked(slack) as link, receiving(slack) as receiver:
        slack.socket_mode = False
        assert (await link.next())["reason"] == "link_disabled"
        assert await link.closed()
        await eventually(lambda: slack.connections == 0)
        await slack.say("ada", slack.dm("ada"), "over http")
        await slack.settle()
        assert [one.event["text"] for one in receiver.requests] == ["over http"]
        async with linked(slack, hello=False) as refused:
            assert (await refused.next())["reason"] == "link_disabled"
        slack.socket_mode = True
        async with linked(slack) as again:
            await slack.say("ada", slack.dm("ada"), "over the socket")
            envelope = await again.next()
            await again.acknowledge(envelope)
            await slack.settle()
        assert len(receiver.requests) == 1


# ----------------------------------------------------------------------- real clients


@asynccontextmanager
async def sdk_client(
    slack: LocalSlack, ping_interval: float = 10.0
) -> AsyncIterator[tuple[Any, list[Any]]]:
    """Half an interval without a pong, and it takes its connection for a broken one."""
    web = web_client(slack)
    # Its methods are without types.
    client: Any = SocketModeClient(slack.app_token, web_client=web, ping_interval=ping_interval)
    heard: list[Any] = []

    async def listen(link: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        heard.append(request)
        await link.send_socket_mode_response({"envelope_id": request.envelope_id})

    client.socket_mode_request_listeners.append(listen)
    await client.connect()
    try:
        yield client, heard
    finally:
        await client.close()


async def test_the_sdk_client(slack: LocalSlack):
    async with sdk_client(slack) as (client, heard):
        await slack.say("ada", "general", "@threadline hi")
        await slack.settle()
        kinds = [request.payload["event"]["type"] for request in heard]
        assert kinds == ["message", "app_mention"]
        assert await client.is_connected()
        await eventually(lambda: client.last_ping_pong_time)


async def test_the_sdk_client_survives_a_refresh_and_a_cut(slack: LocalSlack):
    # So often it looks whether it was cut off.
    async with sdk_client(slack, ping_interval=1.0) as (client, heard):
        first = client.current_session
        await slack.refresh_connections()
        # closed before the client has moved, the old one might be replaced twice, and by none at last
        await eventually(lambda: client.current_session is not first and slack.connections == 1)
        slack.advance(10)
        await slack.say("ada", slack.dm("ada"), "after the refresh")
        await eventually(lambda: len(heard) == 1)
        before = opened(slack)
        slack.fault("drop_sockets")
        await eventually(lambda: opened(slack) > before)
        await eventually(lambda: slack.connections == 1)
        await slack.say("ada", slack.dm("ada"), "after the cut")
        await eventually(lambda: len({one.payload["event_id"] for one in heard}) == 2)


def opened(slack: LocalSlack) -> int:
    """How often an app has asked where to connect."""
    return sum(call.method == "apps.connections.open" for call in slack.calls)


async def test_bolt_in_socket_mode(slack: LocalSlack):
    app = AsyncApp(client=client_of(slack), signing_secret="unused")
    heard: list[tuple[str, list[str]]] = []

    @app.middleware
    async def persist(req: Any, next_: Any) -> None:
        heard.append((req.body["event"]["text"], req.headers["x-slack-retry-num"]))
        if len(heard) == 1:
            raise RuntimeError("the database is away")
        await next_()

    @app.event("message")
    async def on_message() -> None:
        """Acknowledged before it runs."""

    handler: Any = AsyncSocketModeHandler(app, slack.app_token, web_client=web_client(slack))
    await handler.connect_async()
    try:
        await slack.say("ada", slack.dm("ada"), "hi")
        await slack.settle()
    finally:
        await handler.close_async()
    # What the app could not keep it did not acknowledge, and so it came again.
    assert heard == [("hi", ["0"]), ("hi", ["1"])]
    assert [one.status for one in slack.deliveries] == [0, 200]


# ------------------------------------------------------------------- submissions


async def test_a_submission_is_answered_in_its_acknowledgement(slack: LocalSlack):
    slack.socket_mode = True
    view = {
        "type": "modal",
        "title": {"type": "plain_text", "text": "Deny"},
        "submit": {"type": "plain_text", "text": "Send"},
        "blocks": [{"type": "divider", "block_id": "line"}],
    }
    trigger_id = slack.workspace.surfaces.trigger(slack.users["ada"], slack.team_id)
    opened = await client_of(slack).views_open(trigger_id=trigger_id, view=view)
    async with linked(slack) as link, asyncio.TaskGroup() as group:
        sent = group.create_task(slack.submit("ada", opened["view"]["id"]))
        envelope = await link.next()
        assert envelope["payload"]["type"] == "view_submission"
        assert envelope["accepts_response_payload"] is True
        again = {"response_action": "update", "view": view | {"callback_id": "second"}}
        answer = {"envelope_id": envelope["envelope_id"], "payload": again}
        await link.socket.send_json(answer)
        assert (await sent).failure is None
    assert [one.body["callback_id"] for one in slack.open_views("ada")] == ["second"]

"""A Bolt app behind aiohttp that records every request of the local Slack."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bot.local import LocalSlack


def client_of(slack: LocalSlack, **options: Any) -> AsyncWebClient:
    return AsyncWebClient(
        token=slack.bot_token, base_url=slack.api_url, retry_handlers=[], **options
    )


@dataclass
class Request:
    body: dict[str, Any]
    headers: dict[str, str]
    status: int = 0

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = self.body["event"]
        return event

    @property
    def retry(self) -> tuple[str | None, str | None]:
        return self.headers.get("x-slack-retry-num"), self.headers.get("x-slack-retry-reason")


@dataclass
class Receiver:
    """Bolt decides about signatures; `refuse` answers before it, in that order.

    While `stalled` is not set, nobody answers.
    """

    app: AsyncApp
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    heard: list[dict[str, Any]] = field(default_factory=list)
    refuse: list[web.Response] = field(default_factory=list)
    stalled: asyncio.Event | None = None

    async def handle(self, request: web.Request) -> web.Response:
        body = _read(await request.text(), request.content_type)
        headers = {name.lower(): value for name, value in request.headers.items()}
        received = Request(body, headers)
        self.requests.append(received)
        if self.stalled is not None:
            await self.stalled.wait()
        if self.refuse:
            answer = self.refuse.pop(0)
        else:
            bolt = await to_bolt_request(request)
            answer = await to_aiohttp_response(await self.app.async_dispatch(bolt))
        received.status = answer.status
        return answer

    @property
    def kinds(self) -> list[str]:
        events = [request.event for request in self.requests]
        return [event.get("subtype") or event["type"] for event in events]


def _read(text: str, content_type: str) -> dict[str, Any]:
    # Interactions travel as a form with one field.
    raw = parse_qs(text)["payload"][0] if content_type.endswith("form-urlencoded") else text
    body: dict[str, Any] = json.loads(raw)
    return body


@asynccontextmanager
async def receiving(slack: LocalSlack) -> AsyncIterator[Receiver]:
    app = AsyncApp(client=client_of(slack), signing_secret=slack.signing_secret)
    receiver = Receiver(app)

    @app.event("message")
    async def on_message(event: dict[str, Any]) -> None:
        receiver.heard.append(event)

    @app.event("app_mention")
    async def on_mention(event: dict[str, Any]) -> None:
        receiver.heard.append(event)

    application = web.Application()
    application.add_routes([web.post("/slack/events", receiver.handle)])
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
    slack.request_url = receiver.url
    try:
        yield receiver
    finally:
        await runner.cleanup()

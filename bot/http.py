"""The aiohttp application: Slack's requests, health, metrics. The ack has 2 s whatever happens."""

import asyncio
import hmac
import json
from typing import Any
from urllib.parse import parse_qs

import structlog
from aiohttp import web

from bot.events import Unreadable
from bot.ingress import Ingress
from bot.metrics import Metrics
from router import clock
from router.api.serve import Api
from store import database
from store.database import Pool

_log = structlog.get_logger(__name__)

_ACK_SECONDS = 1.9
_PRESS_SECONDS = 2.8  # Slack sends no interaction again, so it has all of Slack's 3 s
_READY_SECONDS = 1.0
_FORM = "application/x-www-form-urlencoded"
_BODY_BYTES = 1024 * 1024
_FRESH_SECONDS = 300
_TIMESTAMP_DIGITS = 12


class SlackRoute:
    """POST /slack/events: proves the sender, then answers within the budget."""

    def __init__(self, ingress: Ingress, metrics: Metrics, *, signing_secret: str) -> None:
        self._ingress = ingress
        self._metrics = metrics
        self._secret = signing_secret.encode()

    async def handle(self, request: web.Request) -> web.Response:
        """401 unsigned, 400 unreadable, 503 not accepted in time, else what Slack is to be told."""
        started = clock.monotonic()
        form = request.content_type == _FORM  # an interaction or a command: events are JSON
        try:
            async with asyncio.timeout(_PRESS_SECONDS if form else _ACK_SECONDS):
                response = await self._answer(request, form=form)
        except TimeoutError:
            _log.warning("ack.timeout")
            response = web.Response(status=503)
        self._metrics.ack_seconds.observe(clock.monotonic() - started)
        self._metrics.request(response.status)
        return response

    async def _answer(self, request: web.Request, *, form: bool) -> web.Response:
        raw = await request.read()
        if not self._is_from_slack(raw, request):
            _log.warning("request.unsigned", remote=request.remote)
            return web.Response(status=401, text="the signature is missing, wrong or stale")
        try:
            text = raw.decode()
            payload = _payload(text) if form else _object(text)
            retry = request.headers.get("X-Slack-Retry-Num")
            answer = await self._ingress.dispatch(text, payload, retry=retry)
        except (ValueError, RecursionError) as junk:
            _log.warning("request.unreadable", error=type(junk).__name__)
            return web.Response(status=400, text="unreadable request")
        if not answer.body:
            return web.Response(status=answer.status)
        return web.Response(
            status=answer.status,
            text=answer.body,
            headers={k: v for k, values in answer.headers.items() for v in values},
        )

    def _is_from_slack(self, raw: bytes, request: web.Request) -> bool:
        """docs.slack.dev/authentication/verifying-requests-from-slack, on the raw bytes.

        The SDK's verifier decodes the body first, and so fails on bytes that are no text.
        """
        timestamp = request.headers.get("X-Slack-Request-Timestamp", "")
        signature = request.headers.get("X-Slack-Signature", "")
        if not (timestamp.isascii() and timestamp.isdigit() and signature.isascii()):
            return False
        if len(timestamp) > _TIMESTAMP_DIGITS:
            return False
        if abs(clock.now().timestamp() - int(timestamp)) > _FRESH_SECONDS:
            return False
        signed = b"v0:" + timestamp.encode() + b":" + raw
        digest = hmac.digest(self._secret, signed, "sha256").hex()
        return hmac.compare_digest(f"v0={digest}", signature)


class Operations:
    """Health, readiness and metrics."""

    def __init__(self, pool: Pool, metrics: Metrics) -> None:
        self._pool = pool
        self._metrics = metrics

    def routes(self) -> list[web.RouteDef]:
        """What a process shows of itself."""
        return [
            web.get("/healthz", self._healthz),
            web.get("/readyz", self._readyz),
            web.get("/metrics", self._metrics_page),
        ]

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.json_response({"ok": True})

    async def _readyz(self, _request: web.Request) -> web.Response:
        try:
            async with database.within(self._pool, _READY_SECONDS) as connection:
                await connection.execute("SELECT 1")
        except database.ERRORS as error:
            return web.json_response({"ok": False, "database": type(error).__name__}, status=503)
        return web.json_response({"ok": True})

    async def _metrics_page(self, _request: web.Request) -> web.Response:
        return web.Response(
            body=self._metrics.page(),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )


def application(
    operations: Operations, slack: SlackRoute | None, api: Api | None = None
) -> web.Application:
    """The application to be served; without `slack` it takes no events, without `api` no calls."""
    app = web.Application(client_max_size=_BODY_BYTES)
    app.add_routes(operations.routes())
    if slack is not None:
        app.add_routes([web.post("/slack/events", slack.handle)])
    if api is not None:
        api.mount(app)
    return app


def _payload(form_text: str) -> dict[str, Any] | None:
    """The JSON of a form's `payload`, or the form itself; None where Bolt reads it."""
    form = parse_qs(form_text)
    if "ssl_check" in form:
        return None
    if "payload" in form:
        return _object(form["payload"][0])
    return {name: values[0] for name, values in form.items()}


def _object(text: str) -> dict[str, Any]:
    payload = json.loads(text)
    if not isinstance(payload, dict):
        raise Unreadable("the body is no JSON object")
    return payload

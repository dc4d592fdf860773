"""Socket Mode: Slack's events over a web socket, through the same accept step as over HTTP.

An envelope is acknowledged only after its commit; one that could not be accepted is left without an
answer, and Slack sends it again (docs.slack.dev/apis/events-api/using-socket-mode). For development,
and where no address is reachable from outside.

The SDK's client reconnects by itself, but it tries an address that failed for ever, and addresses
are good for one connection: a client that has been without one for too long is replaced.
"""

import asyncio
import json
from typing import Any

import structlog
from slack_bolt.response import BoltResponse
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient

from bot.events import Unreadable
from bot.ingress import Ingress
from bot.outcome import SlackAway, SlackLimited, SlackRefused, SlackUnclear
from bot.slack import check_app_token
from router import clock
from router.errors import ConfigurationError
from router.loops import Stop, wait_for

_log = structlog.get_logger(__name__)

_ACK_SECONDS = 1.95
_PRESS_SECONDS = 2.8  # an interaction is not tried again, so it has all of Slack's 3 s
_ACCEPTED = 200
_NOT_NOW = 500
_PING_SECONDS = 2.0  # how soon the client notices that its connection is gone
_WATCH_SECONDS = 1.0
_DEAD_SECONDS = 15.0


class Socket:
    """One connection to Slack; `run` keeps it until the stop."""

    def __init__(self, ingress: Ingress, *, app_token: str, api_url: str) -> None:
        self._ingress = ingress
        self._app_token = app_token
        self._api_url = api_url
        self._web = AsyncWebClient(token=app_token, base_url=api_url, retry_handlers=[])
        self._receiving = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def check(self) -> None:
        """ConfigurationError for a token that Slack refuses: the client would try it for ever.

        Where Slack cannot say now, `run` goes on trying.
        """
        try:
            await check_app_token(self._api_url, self._app_token)
        except SlackRefused as refused:
            raise ConfigurationError(
                f"Slack does not accept SLACK_APP_TOKEN ({refused.error}): make an app-level token "
                "with the scope connections:write under Basic Information, and turn Socket Mode on"
            ) from refused
        except (SlackAway, SlackLimited, SlackUnclear) as error:
            _log.warning("socket.not_checked", error=f"{type(error).__name__}: {error}")

    async def run(self, stop: Stop) -> None:
        """Receives until `stop`; what is being accepted then is still answered."""
        while not stop.said:
            client = SocketModeClient(
                app_token=self._app_token, web_client=self._web, ping_interval=_PING_SECONDS
            )
            client.socket_mode_request_listeners.append(self._receive)
            try:
                await self._watch(client, stop)
            finally:
                await wait_for(self._idle, _PRESS_SECONDS)
                await client.close()  # type: ignore[no-untyped-call]  # the SDK's own

    async def _watch(self, client: SocketModeClient, stop: Stop) -> None:
        """Returns at the stop, or when the client has been without a connection for too long."""
        async with asyncio.TaskGroup() as tasks:
            connecting = tasks.create_task(client.connect())  # type: ignore[no-untyped-call]  # the SDK's own
            alive = clock.monotonic()
            while not await stop.within(_WATCH_SECONDS):
                if await client.is_connected():
                    alive = clock.monotonic()
                elif clock.monotonic() - alive > _DEAD_SECONDS:
                    _log.warning("socket.replaced", dead_seconds=_DEAD_SECONDS)
                    break
            connecting.cancel()

    async def _receive(self, client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        self._receiving += 1
        self._idle.clear()
        try:
            await self._acknowledge(client, request)
        finally:
            self._receiving -= 1
            if not self._receiving:
                self._idle.set()

    async def _acknowledge(
        self, client: AsyncBaseSocketModeClient, request: SocketModeRequest
    ) -> None:
        answer = await self._answer(request)
        if answer is None or answer.status >= _NOT_NOW:
            _log.warning("envelope.not_accepted", status=answer.status if answer else None)
            return
        says = answer.body if request.accepts_response_payload else ""
        payload: dict[str, Any] | None = json.loads(says) if says else None
        try:
            await client.send_socket_mode_response(
                SocketModeResponse(envelope_id=request.envelope_id, payload=payload)
            )
        except (ConnectionError, AttributeError) as gone:
            # the connection was replaced meanwhile; Slack sends it again, and it is known then
            _log.info("envelope.not_acknowledged", error=type(gone).__name__)

    async def _answer(self, request: SocketModeRequest) -> BoltResponse | None:
        """None when it took too long. What cannot be read is acknowledged: it will not get better."""
        # the first delivery says 0
        retry = str(request.retry_attempt) if request.retry_attempt else None
        limit = _PRESS_SECONDS if request.type == "interactive" else _ACK_SECONDS
        try:
            async with asyncio.timeout(limit):
                return await self._ingress.dispatch("", request.payload, retry=retry)
        except TimeoutError:
            return None
        except Unreadable as junk:
            _log.warning("envelope.unreadable", error=str(junk))
            return BoltResponse(status=_ACCEPTED)

"""Socket Mode (docs.slack.dev/apis/events-api/using-socket-mode)."""

import asyncio
import json
import secrets
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from bot.local.model import Json
from bot.local.posting import DELIVERY_SECONDS, Answer

MAX_CONNECTIONS = 10
WARNING_SECONDS = 10.0  # between the warning and the disconnect
_LIFETIME_SECONDS = 18_060  # what Slack tells its clients
_HOST = "applink-local"
_ANSWERED = frozenset({"view_submission", "block_suggestion"})


@dataclass(slots=True, eq=False)
class Connection:
    """One web socket and the envelopes that it has yet to acknowledge."""

    socket: web.WebSocketResponse
    transport: asyncio.Transport | None
    waiting: dict[str, asyncio.Future[str]] = field(default_factory=dict)


class Sockets:
    """The web sockets of the app; every envelope goes to any one of them.

    `enabled` is the app's Socket Mode switch, `url` where clients connect, `greeted` whether any
    client ever has. `on_connect` is called for each new connection.
    """

    def __init__(self, app_id: str, *, enabled: bool) -> None:
        self.url = ""
        self.enabled = enabled
        self.greeted = False
        self.on_connect: Callable[[], object] = bool  # does nothing
        self._app_id = app_id
        self._tickets: set[str] = set()
        self._connections: list[Connection] = []

    @property
    def count(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def open(self) -> str:
        """A URL that one connection can be made to."""
        ticket = secrets.token_hex(16)
        self._tickets.add(ticket)
        return f"{self.url}?ticket={ticket}&app_id={self._app_id}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One connection, from its hello until either side closes it."""
        ticket = request.query.get("ticket", "")
        if ticket not in self._tickets:
            raise web.HTTPForbidden(text="unknown ticket")
        self._tickets.remove(ticket)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        refused = self._refused()
        if refused is not None:
            await _end(socket, refused)
            return socket
        await self._serve(Connection(socket, request.transport))
        return socket

    async def send(
        self, kind: str, payload: Json, retry_num: int | None = None, reason: str | None = None
    ) -> Answer:
        """Give a payload to some connection and wait for its acknowledgement, for 3 s."""
        if not self._connections:
            return Answer(0, "connection_failed")
        connection = secrets.choice(self._connections)
        envelope: Json = {"envelope_id": str(uuid.uuid4()), "payload": payload, "type": kind}
        envelope["accepts_response_payload"] = payload.get("type") in _ANSWERED
        if kind == "events_api":
            envelope |= {"retry_attempt": retry_num or 0, "retry_reason": reason or ""}
        return await _delivered(connection, envelope)

    # ------------------------------------------------------------------- the end

    async def warn(self) -> list[Connection]:
        """Tell all connections that they will be closed soon; returns them."""
        warned = list(self._connections)
        for connection in warned:
            await _tell(connection.socket, _disconnect("warning"))
        return warned

    async def refresh(self, connections: list[Connection]) -> None:
        """Close those of these connections that are still there, to be opened anew."""
        await self._end(connections, "refresh_requested")

    async def unlink(self) -> None:
        """Close all connections because Socket Mode was switched off."""
        await self._end(self._connections, "link_disabled")

    def drop(self) -> None:
        """Cut all connections without a word, as a broken network does."""
        for connection in self._connections:
            if connection.transport is not None:
                connection.transport.abort()

    async def close(self, _application: Any = None) -> None:
        """Close all connections, as when the server goes away."""
        for connection in list(self._connections):
            await connection.socket.close()

    async def _end(self, connections: list[Connection], reason: str) -> None:
        for connection in [one for one in connections if one in self._connections]:
            await _end(connection.socket, reason)

    # ------------------------------------------------------------ one connection

    def _refused(self) -> str | None:
        if not self.enabled:
            return "link_disabled"
        return "too_many_websockets" if self.count >= MAX_CONNECTIONS else None

    async def _serve(self, connection: Connection) -> None:
        self._connections.append(connection)
        try:
            await _tell(connection.socket, self._hello())
            self.greeted = True
            self.on_connect()
            async for frame in connection.socket:
                if frame.type == WSMsgType.TEXT and not self._acknowledged(frame.data):
                    await connection.socket.close(code=1003)
        finally:
            self._connections.remove(connection)
            for waiting in connection.waiting.values():
                if not waiting.done():
                    waiting.set_exception(ConnectionResetError("the web socket was closed"))

    def _hello(self) -> Json:
        debug = {"host": _HOST, "build_number": 1, "approximate_connection_time": _LIFETIME_SECONDS}
        return {
            "type": "hello",
            "num_connections": self.count,
            "debug_info": debug,
            "connection_info": {"app_id": self._app_id},
        }

    def _acknowledged(self, frame: str) -> bool:
        """Settle what the frame acknowledges; False when it is no acknowledgement at all."""
        try:
            answer = json.loads(frame)
            envelope_id = answer["envelope_id"]
        except (ValueError, KeyError, TypeError):
            return False
        for connection in self._connections:
            waiting = connection.waiting.get(envelope_id)
            if waiting is not None and not waiting.done():
                waiting.set_result(json.dumps(answer["payload"]) if "payload" in answer else "")
        return True


async def _delivered(connection: Connection, envelope: Json) -> Answer:
    acknowledged: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    connection.waiting[envelope["envelope_id"]] = acknowledged
    try:
        async with asyncio.timeout(DELIVERY_SECONDS):
            await connection.socket.send_json(envelope)
            body = await acknowledged
    except TimeoutError:
        return Answer(0, "timeout")
    except ConnectionError:
        return Answer(0, "connection_failed")
    finally:
        del connection.waiting[envelope["envelope_id"]]
    return Answer(200, body=body)


def _disconnect(reason: str) -> Json:
    return {"type": "disconnect", "reason": reason, "debug_info": {"host": _HOST}}


async def _end(socket: web.WebSocketResponse, reason: str) -> None:
    await _tell(socket, _disconnect(reason))
    await socket.close()


async def _tell(socket: web.WebSocketResponse, frame: Json) -> None:
    # Whoever has just left need not be told.
    with suppress(ConnectionError):
        await socket.send_json(frame)

"""HTTP as plain as it gets, for the ends of a bench that are not to be measured.

A request costs the server some 15 µs, and the client as much: a tenth of what a framework takes, so that
two cores are left to what is measured. Only what well-behaved clients on loopback do is understood:
HTTP/1.1, kept alive, one request after the other on a connection.
"""

import asyncio
import json
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from typing_extensions import override

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_CHUNKED = re.compile(rb"(?i)\r\ntransfer-encoding: *chunked")
_BEARER = re.compile(rb"(?i)\r\nauthorization: *bearer ([^\r]+)")
_END = b"\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"
STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


@dataclass(slots=True)
class Request:
    """What was asked, and on which connection."""

    method: bytes
    path: str
    head: bytes
    body: bytes
    on: asyncio.Transport

    @property
    def token(self) -> str:
        """Whose it is."""
        found = _BEARER.search(self.head)
        return found[1].decode() if found else ""

    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


Answer = Callable[[Request], bytes | None]


def ok(body: bytes, *, status: bytes = b"200 OK") -> bytes:
    """A JSON answer."""
    return (
        b"HTTP/1.1 %b\r\ncontent-type: application/json; charset=utf-8\r\n"
        b"content-length: %d\r\n\r\n%b" % (status, len(body), body)
    )


def chunk(data: bytes) -> bytes:
    """A piece of a stream."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Serving(asyncio.Protocol):
    """One connection of a server. An answer of None leaves it open, as a stream."""

    _on: asyncio.Transport

    def __init__(self, answer: Answer, gone: Callable[[asyncio.Transport], None]) -> None:
        self._answer, self._gone = answer, gone
        self._data = b""

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._on = cast("asyncio.Transport", transport)  # those of uvloop are not derived from it

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._gone(self._on)

    @override
    def data_received(self, data: bytes) -> None:
        self._data = self._data + data if self._data else data
        while (found := _cut(self._data)) is not None:
            head, body, self._data = found
            method, target, _ = head.split(b"\r\n", 1)[0].split(b" ", 2)
            answer = self._answer(Request(method, target.decode(), head, body, self._on))
            if answer is not None:
                self._on.write(answer)


def _cut(data: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Head, body and what follows; None until all of it is there."""
    head, end, rest = data.partition(_END)
    if not end:
        return None
    if length := _LENGTH.search(head):
        size = int(length[1])
        return None if len(rest) < size else (head, rest[:size], rest[size:])
    if not _CHUNKED.search(head):
        return head, b"", rest
    last = rest.find(_LAST_CHUNK)
    if last < 0:
        return None
    return head, _whole(rest[:last]), rest[last + len(_LAST_CHUNK) :]


def _whole(chunks: bytes) -> bytes:
    body = b""
    while chunks:
        size, _, rest = chunks.partition(b"\r\n")
        length = int(size, 16)
        body, chunks = body + rest[:length], rest[length + 2 :]
    return body


async def serve(answer: Answer, gone: Callable[[asyncio.Transport], None]) -> str:
    """Listens from now on; the address."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Serving(answer, gone), "127.0.0.1", 0)
    return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


Answered = Callable[[int], None]


class Asking(asyncio.Protocol):
    """One connection of a client, which asks one thing after the other."""

    _to: asyncio.Transport

    def __init__(self, free: Callable[["Asking"], None]) -> None:
        self._free = free
        self._data = b""
        self._answered: Answered | None = None

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._to = cast("asyncio.Transport", transport)

    def ask(self, request: bytes, answered: Answered) -> None:
        """Sends; `answered` gets the status."""
        self._answered = answered
        self._to.write(request)

    @override
    def data_received(self, data: bytes) -> None:
        self._data = self._data + data if self._data else data
        found = _cut(self._data)
        if found is not None:
            self._done(int(found[0][9:12]))

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._done(0)

    def _done(self, status: int) -> None:
        self._data = b""
        answered, self._answered = self._answered, None
        if answered is not None:
            if status:
                self._free(self)
            answered(status)


class Client:
    """So many connections to one server; what finds none free waits its turn."""

    def __init__(self, url: str, path: str, connections: int = 64) -> None:
        self._host, _, port = url.removeprefix("http://").partition(":")
        self._port, self._path, self._count = int(port), path, connections
        self._free: list[Asking] = []
        self._waiting: deque[tuple[bytes, Answered]] = deque()

    async def connect(self) -> None:
        """Opens all connections."""
        loop = asyncio.get_running_loop()
        for _ in range(self._count):
            _, made = await loop.create_connection(
                lambda: Asking(self._is_free), self._host, self._port
            )
            self._free.append(made)

    def close(self) -> None:
        """Ends those that are free."""
        for one in self._free:
            one._to.abort()

    def post(self, headers: bytes, body: bytes, answered: Answered) -> None:
        """Posts; `headers` are whole lines."""
        request = (
            b"POST %b HTTP/1.1\r\nhost: local\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n%b\r\n%b" % (self._path.encode(), len(body), headers, body)
        )
        if self._free:
            self._free.pop().ask(request, answered)
        else:
            self._waiting.append((request, answered))

    def _is_free(self, one: Asking) -> None:
        if self._waiting:
            one.ask(*self._waiting.popleft())
        else:
            self._free.append(one)

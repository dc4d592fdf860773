"""A line to the database that can go dead without a word, or be cut, as a network does."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit


@dataclass
class Line:
    """`dsn` leads through the line. What has gone dead stays dead; new connections are alive."""

    dsn: str = ""
    swallowed: bytes | None = None  # what holds this does not pass
    _alive: list[asyncio.Event] = field(default_factory=list)
    _open: asyncio.Event = field(default_factory=asyncio.Event)
    _clients: set[asyncio.StreamWriter] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._open.set()

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._clients)

    def go_dead(self) -> None:
        """Nothing passes any more on the connections there are, in either direction."""
        for alive in self._alive:
            alive.clear()

    def cut(self) -> None:
        """The connections there are end with a reset, in the middle of whatever they carried."""
        for client in self._clients:
            sock: socket.socket = client.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.transport.abort()

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Nothing passes, on new connections neither; afterwards what was held back goes on."""
        self._open.clear()
        try:
            yield
        finally:
            self._open.set()

    async def _join(
        self, client: asyncio.StreamReader, answer: asyncio.StreamWriter, target: str
    ) -> None:
        alive = asyncio.Event()
        alive.set()
        self._alive.append(alive)
        self._clients.add(answer)
        server, ask = await _reach(target)
        try:
            async with asyncio.TaskGroup() as tasks:
                there = tasks.create_task(self._pass(client, ask, alive))
                back = tasks.create_task(self._pass(server, answer, alive))
                await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
                there.cancel()
                back.cancel()
        finally:
            self._clients.discard(answer)
            answer.close()
            ask.close()

    async def _pass(
        self, source: asyncio.StreamReader, drain: asyncio.StreamWriter, alive: asyncio.Event
    ) -> None:
        with suppress(ConnectionError):  # an end like any other
            while data := await source.read(65_536):
                await alive.wait()
                await self._open.wait()
                if self.swallowed is None or self.swallowed not in data:
                    drain.write(data)


async def _reach(dsn: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    parts = urlsplit(dsn)
    asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
    host, port = asked.get("host", parts.hostname or "127.0.0.1"), asked.get("port", parts.port)
    if host.startswith("/"):
        return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port or 5432}")
    return await asyncio.open_connection(host, int(port or 5432))


@asynccontextmanager
async def line_to(dsn: str) -> AsyncIterator[Line]:
    """A line to the database of `dsn`."""
    line = Line()
    server = await asyncio.start_server(
        lambda reader, writer: line._join(reader, writer, dsn), "127.0.0.1", 0
    )
    parts = urlsplit(dsn)
    asked = parse_qs(parts.query)
    who = parts.netloc.rpartition("@")[0] or asked["user"][0]
    port = server.sockets[0].getsockname()[1]
    line.dsn = f"postgresql://{who}@127.0.0.1:{port}{parts.path}"
    try:
        yield line
    finally:
        server.close()

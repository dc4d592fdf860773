"""Who watches sessions: replicas that serve the stream and nothing else, and readers that come back."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import aiohttp
from aiohttp import web

from router.api import stream
from router.api.auth.principals import Principal
from router.api.context import Context
from router.api.hub import Hub
from router.api.problems import Problem, answer
from router.api.upstream import Pace
from router.loops import Stop
from router.runtime.client import Runtime
from router.runtime.local import LocalRuntime
from store import database, members, sessions_read
from store.database import Connection, Pool, Record
from tests.store import factories
from tests.store.factories import Ground
from tests.support import eventually

# Waits for conditions are short; `quiet` and `heartbeat` are what no test waits for.
PACE = Pace(
    settle=(0.1, 0.4), quiet=30.0, rows=0.1, rights=0.2, linger=0.3, heartbeat=30.0, stall=5.0
)
READER = "u"
PREVIEWS = {"event_start", "event_delta"}


@dataclass(frozen=True)
class Frame:
    """One frame as a reader has it."""

    event: str
    data: dict[str, Any]
    id: str | None

    @property
    def key(self) -> tuple[str, bool] | str:
        """What may come only once: an event's id and whether it was processed, or a row's id."""
        if self.event.startswith("threadline."):
            return f"{self.event} {self.data['id']}"
        return self.data.get("id") or json.dumps(self.data), bool(self.data.get("processed_at"))


def parsed(block: bytes) -> Frame | None:
    """A frame; None for a comment."""
    fields: dict[str, str] = {}
    for line in block.decode().split("\n"):
        name, _, value = line.partition(": ")
        if name:
            fields[name] = value
    if "data" not in fields:
        return None
    return Frame(fields["event"], json.loads(fields["data"]), fields.get("id"))


@dataclass
class Reader:
    """Somebody with the stream of one session, who may go away and come back at another replica."""

    http: aiohttp.ClientSession
    path: str
    frames: list[Frame] = field(default_factory=list)
    last_id: str | None = None
    comments: int = 0
    ended: bool = False
    headers: dict[str, str] = field(default_factory=dict)

    async def read(self, url: str, frames: int | None = None, **query: Any) -> int:
        """Reads from where it was on, so many frames at the most; the status."""
        headers = self.headers | ({"Last-Event-ID": self.last_id} if self.last_id else {})
        async with self.http.get(url + self.path, headers=headers, params=query) as response:
            if response.status != 200:
                return response.status
            left, rest = frames, b""
            async for chunk in response.content.iter_any():
                *blocks, rest = (rest + chunk).split(b"\n\n")
                for block in blocks:
                    self._take(block)
                    left = None if left is None else left - 1
                    if left is not None and left <= 0:
                        return 200
            self.ended = True
        return 200

    def _take(self, block: bytes) -> None:
        frame = parsed(block)
        if frame is None:
            self.comments += 1
            return
        self.last_id = frame.id or self.last_id
        self.frames.append(frame)

    def told(self) -> list[Frame]:
        """All but previews."""
        return [frame for frame in self.frames if frame.event not in PREVIEWS]

    def names(self) -> list[str]:
        """What was told, by name."""
        return [frame.event for frame in self.told()]

    def processed(self) -> set[str]:
        """The ids of the runtime's events that came as processed."""
        return {frame.data["id"] for frame in self.told() if frame.data.get("processed_at")}

    def sequence(self) -> list[Any]:
        """What was told and stays: what was only queued is known by its being processed later."""
        lasting = [f for f in self.told() if f.event.startswith("threadline.") or f.key[1] is True]
        return [frame.key for frame in lasting]

    def once(self) -> None:
        """Fails if anything came twice, or as queued after it was processed."""
        counts = Counter(frame.key for frame in self.told())
        assert {key: n for key, n in counts.items() if n > 1} == {}
        done: set[str] = set()
        for frame in self.told():
            if not frame.event.startswith("threadline."):
                assert frame.data.get("processed_at") or frame.data["id"] not in done, frame
                done |= {frame.data["id"]} if frame.data.get("processed_at") else set()


@dataclass
class Replica:
    """A process's hub and the route over it."""

    url: str
    hub: Hub


@dataclass
class Stage:
    """A session with a runtime session, and what is needed to watch it."""

    db: Connection
    pool: Pool
    runtime: LocalRuntime
    client: Runtime
    http: aiohttp.ClientSession
    on: Ground
    session: Record
    runtime_id: str

    @property
    def path(self) -> str:
        return f"/sessions/{self.session['id']}/stream"

    def reader(self) -> Reader:
        return Reader(self.http, self.path)

    async def say(self, text: str) -> None:
        content = [{"type": "text", "text": text}]
        await self.client.send(self.runtime_id, [{"type": "user.message", "content": content}])

    def processed(self) -> set[str]:
        """The ids of all events that the runtime has processed."""
        events = self.runtime.events(self.runtime_id)
        return {event["id"] for event in events if event.get("processed_at")}

    def rests(self) -> bool:
        """True once everything that was said has been answered."""
        [session] = [s for s in self.runtime.sessions() if s["id"] == self.runtime_id]
        events = self.runtime.events(self.runtime_id)
        return session["status"] == "idle" and all(e.get("processed_at") for e in events)

    async def new_session(self, **columns: Any) -> Record:
        return await factories.session(self.db, self.on, **columns)

    async def runtime_session(self) -> str:
        [agent] = self.runtime.state()["agents"][:1] or [{"id": None}]
        agent_id = agent["id"] or await self.client.create_agent(
            name="demo", model="claude-sonnet-5-5", system="Help."
        )
        environment = await self.client.create_environment(name="demo")
        return await self.client.create_session(
            agent_id=agent_id, environment_id=environment, title="x", metadata={}
        )

    @asynccontextmanager
    async def replica(self, pace: Pace = PACE) -> AsyncIterator[Replica]:
        async with serving(self.pool, self.client, self.on, pace) as made:
            yield made


@asynccontextmanager
async def serving(
    pool: Pool, client: Runtime, on: Ground, pace: Pace = PACE
) -> AsyncIterator[Replica]:
    """One replica of the stream, for as long as the block lasts."""
    hub, stop = Hub(pool, client, pace), Stop()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(hub.run(stop))
        await asyncio.sleep(0)
        runner = web.AppRunner(_app(pool, client, on, hub), access_log=None, shutdown_timeout=2.0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield Replica(f"http://127.0.0.1:{runner.addresses[0][1]}", hub)
        finally:
            await runner.cleanup()
            stop.say()
            await running


def _app(pool: Pool, client: Runtime, on: Ground, hub: Hub) -> web.Application:
    principal = Principal(on.workspace_id, "viewer", "member", "bearer", user_id=READER)
    context = Context(pool, client, hub, principal)

    async def handle(request: web.Request) -> web.StreamResponse:
        wanted = UUID(request.match_info["sid"])
        async with database.borrow(pool) as connection:
            session = await sessions_read.get(connection, on.workspace_id, on.agent_id, wanted)
        assert session is not None
        try:
            return await stream.serve(context, session, request)
        except Problem as problem:
            return answer(problem)

    app = web.Application()
    app.router.add_get("/sessions/{sid}/stream", handle)
    app.on_shutdown.append(hub.on_shutdown)
    return app


@asynccontextmanager
async def stage(dsn: str) -> AsyncIterator[Stage]:
    """A session at a runtime of its own, and nobody who works on it."""
    async with LocalRuntime() as runtime:
        db = await database.connect(dsn)
        pool = await database.open_pool(dsn, size=6)
        client = Runtime(api_key="local", base_url=runtime.url, max_streams=100)
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        try:
            async with aiohttp.ClientSession(connector=connector) as http:
                on = await factories.ground(db)
                await members.put_member(db, on.workspace_id, READER, "viewer")
                session = await factories.session(db, on)
                made = Stage(db, pool, runtime, client, http, on, session, "")
                made.runtime_id = await made.runtime_session()
                await db.execute(
                    "UPDATE agent_sessions SET anthropic_session_id = $1 WHERE id = $2",
                    made.runtime_id,
                    session["id"],
                )
                yield made
        finally:
            await client.close()
            await database.close_pool(pool)
            await db.close()


@asynccontextmanager
async def reading(
    here: Stage, replica: Replica, count: int = 1, **query: Any
) -> AsyncIterator[list[Reader]]:
    """So many readers that stay where they are until the block ends."""
    readers = [here.reader() for _ in range(count)]
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(reader.read(replica.url, **query)) for reader in readers]
        yield readers
        for one in running:
            one.cancel()


async def everything(here: Stage, *readers: Reader) -> None:
    """Waits until each of them has all that the runtime has processed, once each."""
    await eventually(here.rests, 40)
    for reader in readers:
        await eventually(
            lambda reader=reader: reader.processed() >= here.processed(),  # type: ignore[misc]  # mypy takes it for object
            40,
            f"all events, lacking {here.processed() - reader.processed()}",
        )
        assert reader.processed() == here.processed()
        reader.once()

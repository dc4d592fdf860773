"""The server itself: `async with LocalRuntime() as runtime`."""

import asyncio
import socket
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from router.runtime.local.catalog import Catalog
from router.runtime.local.content import Contents
from router.runtime.local.control import Control, state_of
from router.runtime.local.engine import Engine
from router.runtime.local.events import Events
from router.runtime.local.faults import ActiveFault, Fault, FaultKind
from router.runtime.local.files import Files
from router.runtime.local.gateway import MOST_BYTES, Gateway
from router.runtime.local.pace import Pace
from router.runtime.local.resources import Resources
from router.runtime.local.sessions import Sessions
from router.runtime.local.storage import Storage
from router.runtime.local.wire import Json
from router.runtime.local.world import World

_HOST = "127.0.0.1"
_PING_SECONDS = 15.0
_SHUTDOWN_SECONDS = 1.0


class LocalRuntime:
    """A Managed Agents runtime on loopback, for the real `anthropic` client.

    State goes through to the SQLite file `data` before an answer leaves (in memory when None);
    a restart on the same file finds everything and goes on with the turns that were in flight. What
    is in uploaded and written files lies in a folder of that name beside it.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        data: Path | str | None = None,
        limits: bool = False,
        api_key: str | None = None,
        pace: float = 1.0,
        ping_seconds: float = _PING_SECONDS,
    ) -> None:
        """Port 0 picks a free one. `limits` enforces the platform's requests per minute.

        `api_key` is the only key accepted; None accepts any. `pace` is virtual seconds per real
        one: `math.inf` never waits, 0 stands until `advance`.
        """
        self._port = port
        self._data = None if data is None else Path(data)
        self._limits = limits
        self._api_key = api_key
        self._pace = Pace(pace)
        self._ping_seconds = ping_seconds
        self._stack = AsyncExitStack()
        self._turns: dict[str, asyncio.Task[None]] = {}
        self._group = asyncio.TaskGroup()
        self._world: World | None = None
        self._engine: Engine | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        """Listens on `url`. A taken port raises OSError."""
        async with AsyncExitStack() as stack:
            listening = stack.enter_context(socket.create_server((_HOST, self._port)))
            storage = Storage(self._data)
            stack.callback(storage.close)
            world = self._world = World(storage, self._contents(), self._pace)
            await stack.enter_async_context(self._group)
            stack.callback(self._cancel_turns)
            engine = self._engine = Engine(world, self._spawn)
            runner = web.AppRunner(
                self._app(world, engine),
                access_log=None,
                handler_cancellation=True,
                shutdown_timeout=_SHUTDOWN_SECONDS,
            )
            stack.push_async_callback(runner.cleanup)
            await runner.setup()
            engine.resume()
            await web.SockSite(runner, listening).start()
            stack.callback(world.hub.end_all)
            self.url = f"http://{_HOST}:{listening.getsockname()[1]}"
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends streams, stops listening; turns in flight stay where they are in `data`."""
        # Not told of the error: the group would wrap what a test raised in an ExceptionGroup.
        await self._stack.aclose()

    # -- for tests in the same process ------------------------------------------------------

    @property
    def world(self) -> World:
        """The state behind the server; valid once it was started."""
        if self._world is None:
            raise RuntimeError("the local runtime was not started")
        return self._world

    def state(self) -> Json:
        """What GET /_control/state answers."""
        return state_of(self.world)

    def sessions(self) -> list[Json]:
        """All sessions that were not deleted, oldest first, as the API shows them."""
        now = self._pace.now()
        return [s.view(now) for s in self.world.sessions.values() if not s.head.deleted]

    def received(self, session_id: str) -> list[Json]:
        """The user events of a session in order of receipt, deleted sessions included."""
        return [dict(entry.body) for entry in self.world.sessions[session_id].log.received()]

    def events(self, session_id: str) -> list[Json]:
        """All events of a session by processing time, deleted sessions included."""
        return [dict(entry.body) for entry in self.world.sessions[session_id].log.history()]

    def look(self, session_id: str, newest: int) -> tuple[Json, list[str]] | None:
        """A session as the API shows it, with its newest events as JSON, oldest first; None without it."""
        session = self.world.sessions.get(session_id)
        if session is None:
            return None
        return session.view(self._pace.now()), session.log.newest(newest)

    def files(self, session_id: str | None = None) -> list[Json]:
        """All files as the API shows them, oldest first; those that a session owns."""
        mine = [f for f in self.world.files if session_id is None or f.session == session_id]
        return [file.view() for file in reversed(mine)]

    def file_content(self, file_id: str) -> bytes:
        """What is in a file, whoever brought it."""
        files = self.world.files
        return b"".join(files.contents.pieces(files.get(file_id).blob))

    def requests(self, route: str) -> int:
        """How many requests of a route came in, e.g. `events.send`."""
        return self.world.requests[route]

    def limited(self) -> int:
        """How many requests were refused because their minute was spent; see `limits`."""
        return self.world.limited.total()

    def streams(self, session_id: str | None = None) -> int:
        """How many streams are open, of one session or in all."""
        counts = self.world.hub.counts()
        return sum(counts.values()) if session_id is None else counts.get(session_id, 0)

    def fault(  # noqa: PLR0913  # the fields of one model, all by name
        self,
        kind: FaultKind,
        *,
        route: str = "*",
        times: int | None = 1,
        session_id: str | None = None,
        events: int = 1,
        seconds: float = 0.0,
        retry_after: float | None = None,
        lasts: float | None = None,
        event_type: str | None = None,
        clean: bool = False,
    ) -> ActiveFault:
        """Orders a fault as `Fault` says; the answer counts its hits."""
        fault = Fault(
            kind=kind,
            route=route,
            times=times,
            session_id=session_id,
            events=events,
            seconds=seconds,
            retry_after=retry_after,
            lasts=lasts,
            event_type=event_type,
            clean=clean,
        )
        return self.world.faults.order(fault)

    def clear_faults(self) -> None:
        """Ends every fault in force."""
        self.world.faults.clear()

    def cut_streams(self) -> None:
        """Resets every stream that is open at this moment."""
        self.world.hub.cut_all()

    def hold(self, session_id: str | None = None) -> None:
        """Holds turns just before the model answers, of one session or of all."""
        self.world.gate.hold(session_id)

    def release(self, session_id: str | None = None) -> None:
        """Lets held turns go on."""
        self.world.gate.release(session_id)

    def hold_interrupts(self) -> None:
        """Takes interrupts from now on without their effect, in all sessions."""
        self.world.gate.interrupts_wait = True

    def release_interrupts(self) -> None:
        """Lets them take effect."""
        if self._engine is not None:
            self._engine.release_interrupts()

    def held(self) -> list[str]:
        """The sessions that stand at the gate."""
        return self.world.gate.held()

    def advance(self, seconds: float) -> None:
        """Moves virtual time on: `!slow`, stalls, retry pauses, the limits' minute."""
        self._pace.advance(seconds)

    def reset(self) -> None:
        """Back to an empty world; turns are dropped, streams end."""
        self._cancel_turns()
        self.world.forget()

    # -- inside ----------------------------------------------------------------------------

    def _app(self, world: World, engine: Engine) -> web.Application:
        gateway = Gateway(world, self._spawn, api_key=self._api_key, limits=self._limits)
        app = web.Application(middlewares=[gateway.middleware()], client_max_size=MOST_BYTES + 1)
        app.add_routes(Catalog(world).routes())
        app.add_routes(Sessions(world, engine).routes())
        app.add_routes(Files(world).routes())
        app.add_routes(Resources(world).routes())
        app.add_routes(Events(world, engine, ping_seconds=self._ping_seconds).routes())
        app.add_routes(Control(world, engine, self.reset).routes())
        return app

    def _contents(self) -> Contents:
        data = self._data
        folder = None if data is None else data.with_name(f"{data.name}.files")
        return Contents(folder)

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """`name` is the session whose turn it is, or that of a request that takes effect later."""
        task = self._group.create_task(work, name=name)
        self._turns[name] = task
        task.add_done_callback(lambda done: self._done(name, done))

    def _done(self, name: str, task: asyncio.Task[None]) -> None:
        if self._turns.get(name) is task:
            del self._turns[name]

    def _cancel_turns(self) -> None:
        for task in list(self._turns.values()):
            task.cancel()

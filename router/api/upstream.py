"""Reads what one channel tells: the runtime's stream and lists, our rows, the end.

`router.runtime.feed` does the same for a turn. It lists from where the turn began, each time, and with
the permits of a turn; who only watches may do so for days, asks from the newest on, and stands behind
every turn in the line for permits. Where this process runs the session's turn too, there are two
upstreams: the worker's ends with the turn.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog

from router import clock
from router.api.channel import Channel, Joining, Read
from router.clock import Backoff
from router.errors import RuntimeFailure, RuntimeGone, RuntimeUnclear
from router.loops import wait_for
from router.runtime.budget import Need
from router.runtime.client import Event, Runtime
from store import database, session_steps, tenancy
from store.database import Connection, Pool

_log = structlog.get_logger(__name__)

_BACKOFF = Backoff(first=0.1, most=10.0)
_MOST_SILENCE_SECONDS = 300.0
_TROUBLE: tuple[type[Exception], ...] = (RuntimeFailure, *database.ERRORS)


@dataclass(frozen=True, slots=True)
class Pace:
    """Waits in seconds. `settle`: when after an attach the history is listed again, since it trails.

    `quiet`: so long may a session that runs be silent before it is listed. `rows`: between two looks
    at our rows. `rights`: between two looks at who may still watch. `linger`: how long an upstream
    stays that nobody watches.
    """

    settle: tuple[float, ...] = (2.0, 30.0)
    quiet: float = 60.0
    rows: float = 1.0
    rights: float = 10.0
    linger: float = 5.0
    heartbeat: float = 15.0
    stall: float = 10.0
    longest: float = 900.0


class Upstream:
    """Keeps a channel going until it is cancelled, or the channel is over and nobody waits."""

    def __init__(self, channel: Channel, pool: Pool, runtime: Runtime, pace: Pace) -> None:
        self._channel, self._pool, self._runtime, self._pace = channel, pool, runtime, pace
        self._attached = False
        self._reading = asyncio.Lock()
        self._relists: list[float] = []
        self._relists_changed = asyncio.Event()
        self._heard_at = clock.monotonic()
        self._silence = pace.quiet

    async def run(self) -> None:
        """Reads the row first, then does what its state asks for."""
        await self._surely(self._look)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._serve_joining())
            tasks.create_task(self._relist())
            tasks.create_task(self._follow())

    # -------------------------------------------------------------- the runtime's stream

    async def _follow(self) -> None:
        while not self._is_archived():
            self._channel.changed.clear()
            if self._runtime_id() is None:
                self._channel.joined.set()
                await self._channel.changed.wait()
            else:
                await _either(self._attach_for_ever(), self._channel.changed.wait())
        await self._finish()

    async def _attach_for_ever(self) -> None:
        """Returns when the runtime has forgotten its session, and ours has another."""
        failures = 0
        while (runtime_id := self._runtime_id()) is not None:
            began = self._heard_at
            try:
                await self._attach(runtime_id)
                error: Exception = RuntimeUnclear("the stream ended")
            except RuntimeGone:
                self._attached = True  # there is nothing to be attached to
                self._channel.joined.set()
                await self._channel.changed.wait()
                return
            except _TROUBLE as trouble:
                error = trouble
            failures = 1 if self._heard_at > began else failures + 1
            wait = getattr(error, "retry_after", None) or 0
            _log.info("watching.cut", session_id=str(self._channel.watched.id), error=str(error))
            await clock.sleep(max(_BACKOFF.after(failures), wait))

    async def _attach(self, runtime_id: str) -> None:
        async with self._runtime.stream(Need.VIEW, runtime_id) as events:
            self._channel.forget_previews()
            await self._list()
            self._attached = True
            self._channel.joined.set()
            now = clock.monotonic()
            self._relist_at(*(now + seconds for seconds in self._pace.settle))
            async for event in events:
                await self._hear(event)

    async def _hear(self, event: Event) -> None:
        self._heard_at, self._silence = clock.monotonic(), self._pace.quiet
        self._channel.live(event)
        await self._channel.room()

    # -------------------------------------------------------------- lists

    async def _list(self) -> None:
        """Lists from what is known on, or from farther back for those who wait for that."""
        async with self._reading:
            waiting = self._channel.take_waiting()
            try:
                await self._channel.give(await self._read(waiting), waiting)
            except BaseException:
                self._channel.put_back([one for one in waiting if not one.answer.done()])
                raise

    async def _read(self, waiting: list[Joining]) -> Read:
        watched, channel = self._channel.watched, self._channel
        runtime_since, ours_since = channel.runtime_since(waiting), channel.ours_since(waiting)
        events: list[Event] = []
        if (runtime_id := self._runtime_id()) is not None:
            try:
                events = await self._runtime.history(Need.VIEW, runtime_id, runtime_since)
            except RuntimeGone:
                _log.info("watching.gone", session_id=str(watched.id))
        wanted = [(watched.deployed_agent_id, watched.id, ours_since)]
        async with tenancy.tenant(self._pool, watched.workspace_id) as connection:
            await self._note(connection)
            steps = await session_steps.since(connection, watched.workspace_id, wanted)
        return Read(events, steps, runtime_since, ours_since)

    async def _look(self) -> None:
        async with tenancy.tenant(self._pool, self._channel.watched.workspace_id) as connection:
            await self._note(connection)

    async def _note(self, connection: Connection) -> None:
        watched = self._channel.watched
        found = await session_steps.states(
            connection, watched.workspace_id, [(watched.deployed_agent_id, watched.id)]
        )
        self._channel.note(found.get(watched.id))

    async def _serve_joining(self) -> None:
        """Lists for those who wait, once the stream is open where there is one to be opened."""
        while True:
            await self._channel.joined.wait()
            self._channel.joined.clear()
            may = self._attached or self._runtime_id() is None
            if may and self._channel.awaited:
                await self._surely(self._list)

    async def _relist(self) -> None:
        """At the times that were set, and when a session that runs has been silent."""
        while True:
            self._relists_changed.clear()
            silent_at = self._heard_at + self._silence
            due = min([silent_at, *self._relists])
            if await wait_for(self._relists_changed, max(0.0, due - clock.monotonic())):
                continue
            self._relists = [at for at in self._relists if at > due]
            wanted = due < silent_at or self._is_running()
            if due == silent_at:
                self._heard_at += self._silence
                self._silence = min(self._silence * 2, _MOST_SILENCE_SECONDS)
            if self._attached and wanted:
                await self._tried(self._list)

    def _relist_at(self, *times: float) -> None:
        self._relists = sorted({*self._relists, *times})
        self._relists_changed.set()

    # -------------------------------------------------------------- the end

    async def _finish(self) -> None:
        """What the runtime said last may not be in its history yet."""
        self._attached = True
        if self._channel.place().runtime.at or self._channel.place().ours.at:
            await clock.sleep(self._pace.settle[0])
        await self._surely(self._list)
        self._channel.finish()
        self._channel.joined.set()

    # -------------------------------------------------------------- small things

    def _runtime_id(self) -> str | None:
        return self._channel.state.anthropic_session_id if self._channel.state else None

    def _is_archived(self) -> bool:
        state = self._channel.state
        return state is not None and state.archived_at is not None

    def _is_running(self) -> bool:
        return self._channel.state is not None and self._channel.state.status == "running"

    async def _surely(self, work: Callable[[], Awaitable[None]]) -> None:
        failures = 0
        while not await self._tried(work):
            failures += 1
            await clock.sleep(_BACKOFF.after(failures))

    async def _tried(self, work: Callable[[], Awaitable[None]]) -> bool:
        try:
            await work()
        except _TROUBLE as error:
            session_id = str(self._channel.watched.id)
            _log.info("watching.failed", session_id=session_id, error=str(error))
            return False
        return True


async def _either(work: Coroutine[Any, Any, Any], until: Coroutine[Any, Any, Any]) -> None:
    """Does `work` until it is done or `until` is; raises what it raised."""
    async with asyncio.TaskGroup() as tasks:
        both = [tasks.create_task(work), tasks.create_task(until)]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for one in both:
            one.cancel()

"""One channel, and so one upstream, for each session that somebody in this process watches.

The first viewer opens it, and it stays some seconds after the last has left. Rows of ours are found by
asking for them again and again, a statement for each workspace; wake-ups of this process and of others
only make that sooner.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from aiohttp import web

from router import clock
from router.api.channel import Channel, Watched
from router.api.problems import unavailable
from router.api.upstream import Pace, Upstream
from router.loops import Stop, every
from router.runtime.client import Runtime
from store import session_steps, tenancy
from store.database import Pool
from store.leases import Ready
from store.sessions_read import Session

_log = structlog.get_logger(__name__)

MOST_UPSTREAMS = 500
"""So many more streams the runtime's client needs room for, beside those of the turns."""
MOST_VIEWERS = 5_000
_BREATH_SECONDS = 0.05


@dataclass(slots=True)
class _Open:
    channel: Channel
    task: "asyncio.Task[None]"
    viewers: int = 0
    left_at: float = 0.0


class Hub:
    """Shares upstreams among the viewers of this process, while `run` runs."""

    def __init__(self, pool: Pool, runtime: Runtime, pace: Pace | None = None) -> None:
        self._pool, self._runtime = pool, runtime
        self.pace = pace or Pace()
        self._open: dict[UUID, _Open] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._woken: set[UUID] = set()
        self._wake = asyncio.Event()
        self._looked_at = 0.0

    @property
    def viewers(self) -> int:
        """How many watch."""
        return sum(one.viewers for one in self._open.values())

    @property
    def upstreams(self) -> int:
        """How many sessions are watched, or were until a moment ago."""
        return len(self._open)

    def wake(self, ready: list[Ready]) -> None:
        """Something may have happened to these sessions."""
        woken = {one.session_id for one in ready} & self._open.keys()
        if woken:
            self._woken |= woken
            self._wake.set()

    async def run(self, stop: Stop) -> None:
        """Reads for those who watch, until `stop`."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            looking = tasks.create_task(every(self.pace.rows, self._look, stop, wake=self._wake))
            await stop.wait()
            self._tasks = None
            self.close()
            await looking
            for one in self._open.values():
                one.task.cancel()

    def close(self) -> None:
        """Every viewer is to go and watch elsewhere; no new one is let in."""
        self._tasks = None
        for one in self._open.values():
            one.channel.close()

    async def on_shutdown(self, _app: web.Application) -> None:
        """For an application's signal of that name: streams would keep it from ending."""
        self.close()

    @asynccontextmanager
    async def viewing(self, session: Session) -> AsyncIterator[Channel]:
        """The session's channel, open while it is used. Problem unavailable where there is no room."""
        one = self._entered(session)
        one.viewers += 1
        try:
            yield one.channel
        finally:
            one.viewers -= 1
            one.left_at = clock.monotonic()

    def _entered(self, session: Session) -> _Open:
        if self._tasks is None:
            raise unavailable("This server is stopping.")
        if self.viewers >= MOST_VIEWERS:
            raise unavailable("Too many streams are open here.", retry_after=5)
        one = self._open.get(session.id)
        if one is not None and not one.task.done():
            return one
        if len(self._open) >= MOST_UPSTREAMS and not self._let_go(clock.monotonic()):
            raise unavailable("Too many sessions are watched here.", retry_after=5)
        channel = Channel(Watched(session.workspace_id, session.deployed_agent_id, session.id))
        upstream = Upstream(channel, self._pool, self._runtime, self.pace)
        self._open[session.id] = _Open(channel, self._tasks.create_task(_kept(channel, upstream)))
        return self._open[session.id]

    # -------------------------------------------------------------- rows of ours

    async def _look(self) -> None:
        now = clock.monotonic()
        self._let_go(now - self.pace.linger)
        everything = now - self._looked_at >= self.pace.rows / 2
        woken, self._woken = self._woken, set()
        if everything:
            self._looked_at = now
        by_workspace: defaultdict[UUID, list[Channel]] = defaultdict(list)
        for session_id, one in self._open.items():
            if everything or session_id in woken:
                by_workspace[one.channel.watched.workspace_id].append(one.channel)
        for workspace_id, channels in by_workspace.items():
            await self._look_at(workspace_id, channels)
        await clock.sleep(_BREATH_SECONDS)

    async def _look_at(self, workspace_id: UUID, channels: list[Channel]) -> None:
        # who has not been given its first list gets its rows with that
        begun = [channel for channel in channels if channel.begun]
        watched = [(c.watched.deployed_agent_id, c.watched.id) for c in channels]
        since: list[tuple[UUID, UUID, datetime | None]] = [
            (c.watched.deployed_agent_id, c.watched.id, c.ours_since()) for c in begun
        ]
        async with tenancy.tenant(self._pool, workspace_id) as connection:
            steps = await session_steps.since(connection, workspace_id, since)
            states = await session_steps.states(connection, workspace_id, watched)
        for channel in channels:
            mine = [step for step in steps if step.session_id == channel.watched.id]
            channel.steps(mine)
            channel.note(states.get(channel.watched.id))

    def _let_go(self, before: float) -> bool:
        """Closes what nobody has watched since then; True if there was any."""
        left = [
            session_id
            for session_id, one in self._open.items()
            if one.task.done() or (not one.viewers and one.left_at <= before)
        ]
        for session_id in left:
            self._open.pop(session_id).task.cancel()
        return bool(left)


async def _kept(channel: Channel, upstream: Upstream) -> None:
    """Whatever becomes of one channel, the others go on; who watched it comes again."""
    try:
        await upstream.run()
    except Exception:  # noqa: BLE001  # logged; one session's trouble is not the others'
        _log.exception("watching.failed", session_id=str(channel.watched.id))
    finally:
        channel.close()

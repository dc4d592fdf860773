"""One channel, and so one upstream, for each session that somebody in this process watches.

The first viewer opens it, and it stays some seconds after the last has left. Rows of ours are found by
asking for them again and again, a statement for each workspace; wake-ups of this process and of others
only make that sooner. Whoever lost the right to watch is found in the same way.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import structlog
from aiohttp import web

from router import clock
from router.api.auth.principals import Principal
from router.api.channel import Channel, Watched
from router.api.problems import unavailable
from router.api.ring import Viewer
from router.api.upstream import Pace, Upstream
from router.loops import Stop, every
from router.runtime.client import Runtime
from store import keys, members, session_steps, tenancy
from store.database import Pool
from store.leases import Ready
from store.sessions_read import Session

_log = structlog.get_logger(__name__)

MOST_UPSTREAMS = 500
"""So many more streams the runtime's client needs room for, beside those of the turns."""
MOST_VIEWERS = 5_000
_BREATH_SECONDS = 0.05


@dataclass(eq=False, slots=True)
class Seat:
    """Somebody who watches a channel; `revoked` once they may not any more."""

    channel: Channel
    principal: Principal
    viewer: Viewer | None = None
    revoked: bool = False

    def revoke(self) -> None:
        """Ends the stream at its next frame, or at once while there is none."""
        self.revoked = True
        if self.viewer is not None:
            self.viewer.awake.set()


@dataclass(slots=True)
class _Open:
    channel: Channel
    task: "asyncio.Task[None]"
    seats: set[Seat] = field(default_factory=set)
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
        self._judged_at = 0.0

    @property
    def viewers(self) -> int:
        """How many watch."""
        return sum(len(one.seats) for one in self._open.values())

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
    async def viewing(self, session: Session, principal: Principal) -> AsyncIterator[Seat]:
        """A seat at the session's channel. Problem unavailable where there is no room."""
        one = self._entered(session)
        seat = Seat(one.channel, principal)
        one.seats.add(seat)
        try:
            yield seat
        finally:
            one.seats.discard(seat)
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
        if now - self._judged_at >= self.pace.rights:
            await self._judge()
            self._judged_at = now
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

    async def _judge(self) -> None:
        """Revokes the seats of who may no longer read; nobody's while the database is away."""
        by_workspace: defaultdict[UUID, list[Seat]] = defaultdict(list)
        for one in self._open.values():
            if one.seats:
                by_workspace[one.channel.watched.workspace_id] += one.seats
        for workspace_id, seats in by_workspace.items():
            people = {s.principal.user_id for s in seats if s.principal.user_id is not None}
            programs = {s.principal.key_id for s in seats if s.principal.key_id is not None}
            async with tenancy.tenant(self._pool, workspace_id) as connection:
                may: set[str | UUID | None] = {
                    *await members.among(connection, workspace_id, people)
                }
                may |= await keys.working(connection, workspace_id, programs)
            for seat in seats:
                if (seat.principal.user_id or seat.principal.key_id) not in may:
                    seat.revoke()

    def _let_go(self, before: float) -> bool:
        """Closes what nobody has watched since then; True if there was any."""
        left = [
            session_id
            for session_id, one in self._open.items()
            if one.task.done() or (not one.seats and one.left_at <= before)
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

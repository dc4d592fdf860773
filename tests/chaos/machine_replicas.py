"""Replicas in one process: an app each over the one database, killed and stopped on their own.

What runs on a replica's behalf is known by a context variable, so that a kill ends all of it in one
go: its connections to PostgreSQL are cut first, so that nothing more is written, then every one of
its tasks is cancelled.
"""

import asyncio
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

from bot.app import App
from tests.chaos import machine_watch
from tests.harness import World

MOST_REPLICAS = 3

_END_SECONDS = 30.0  # a stop may take ten by itself
# At the sixth claim without progress a turn is given up as poison: that is not what is tried here.
_MOST_BARREN = 4


@dataclass(eq=False, slots=True)
class Replica:
    """An app and all tasks that were ever started on its behalf."""

    number: int
    up: asyncio.Event = field(default_factory=asyncio.Event)
    leave: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    killed: bool = False
    app: App | None = None

    @property
    def running(self) -> App:
        assert self.app is not None
        return self.app

    @property
    def owner(self) -> str:
        return self.running.worker._owner

    def die(self) -> list[asyncio.Task[Any]]:
        """Cuts its connections to the database, then ends whatever it was doing; what must end."""
        self.killed = True
        app = self.running
        for pool in (app.book._pool, app.worker._engine.pool, app.worker._leases):
            pool.terminate()
        ending = list(self.tasks)
        for task in ending:
            task.cancel()
        return ending


_ON_BEHALF_OF: ContextVar[Replica] = ContextVar("_ON_BEHALF_OF")


def noting_tasks(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
    """The loop's task factory: notes each task at the replica that it works for."""
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **options)
    replica = _ON_BEHALF_OF.get(None)
    if replica is not None:
        replica.tasks.add(task)
        task.add_done_callback(replica.tasks.discard)
    return task


async def is_worn(here: World) -> bool:
    """Whether a session was claimed so often for nothing that one more time could be too much."""
    worn: int = await here.connection.fetchval(
        "SELECT COALESCE(max(barren_claims), 0) FROM agent_sessions"
    )
    return worn >= _MOST_BARREN


class Replicas:
    """Those that run now, and the names of all there ever were."""

    def __init__(self, here: World, tasks: asyncio.TaskGroup) -> None:
        self.owners: dict[str, str] = {}
        self._running: list[Replica] = []
        self._here, self._tasks = here, tasks

    @property
    def alive(self) -> list[str]:
        """Who may hold a lease."""
        return [replica.owner for replica in self._running]

    async def start(self) -> None:
        """One more, up to three; Slack's events go to it."""
        if len(self._running) == MOST_REPLICAS:
            return
        replica = Replica(len(self.owners) + 1)
        self._tasks.create_task(self._run(replica))
        await replica.up.wait()
        self.owners[str(replica.number)] = replica.owner
        self._running.append(replica)

    async def _run(self, replica: Replica) -> None:
        _ON_BEHALF_OF.set(replica)
        own = asyncio.current_task()
        assert own is not None
        replica.tasks.add(own)
        named = replace(self._here, dsn=machine_watch.named(self._here.dsn, replica.number))
        try:
            async with named.app() as replica.app:
                replica.up.set()
                await replica.leave.wait()
        except BaseException:
            if not replica.killed:
                raise

    async def kill(self, which: int) -> None:
        """As SIGKILL: it writes nothing more and hands nothing back."""
        if not self._running or await is_worn(self._here):
            return
        victim = self._running.pop(which % len(self._running))
        await _end(victim.die())
        await self.route(-1)

    async def stop(self, which: int) -> None:
        """As SIGTERM: it hands back what it holds."""
        if not self._running or await is_worn(self._here):
            return
        victim = self._running.pop(which % len(self._running))
        await self.route(-1)
        victim.leave.set()
        await _end(list(victim.tasks))

    async def route(self, which: int) -> None:
        """The load balancer chooses another one; with nobody there Slack keeps trying the last door."""
        if self._running:
            replica = self._running[which % len(self._running)]
            self._here.slack.request_url = f"{replica.running.url}/slack/events"

    async def kill_all(self) -> None:
        """The end of the world."""
        if dying := [task for replica in self._running for task in replica.die()]:
            await _end(dying)


async def _end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    _, pending = await asyncio.wait(tasks, timeout=_END_SECONDS)
    assert not pending, f"still running: {pending}"

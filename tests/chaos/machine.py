"""Drives a real Threadline step by step: people, replicas, faults and time, in one process.

A step is named by its part and its method (`people.ask`, `replicas.kill`, `nature.advance`). The
loop runs only while a step does.
"""

import asyncio
from collections.abc import Coroutine
from operator import attrgetter
from typing import Any, TypeVar
from uuid import uuid4

import asyncpg

from store import database
from tests.chaos import machine_seen, machine_watch
from tests.chaos.machine_deciders import Deciders
from tests.chaos.machine_nature import Nature
from tests.chaos.machine_people import People
from tests.chaos.machine_replicas import Replicas, noting_tasks
from tests.databases import database_named
from tests.harness import World, world
from tests.support import eventually

T = TypeVar("T")

_RETRIES = (0.05, 1.0, 30.0, 30.0)
_REST_SECONDS = 45.0


class Machine:
    """One world with its replicas, and the notes on what people did in it."""

    here: World
    people: People
    replicas: Replicas
    nature: Nature
    deciders: Deciders
    _database: "asyncpg.Connection[asyncpg.Record]"

    def __init__(self, postgres_dsn: str, template: str) -> None:
        self._postgres_dsn, self._template = postgres_dsn, template
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._runner.get_loop().set_task_factory(noting_tasks)
        self._over = asyncio.Event()
        self._do(self._open())

    def step(self, name: str, pause: float = 0.0, **arguments: Any) -> None:
        """Does a step; then the world moves on for a while, and stands still afterwards."""
        self._do(attrgetter(name)(self)(**arguments))
        self._do(asyncio.sleep(pause))

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    # -------------------------------------------------------------- the world

    async def _open(self) -> None:
        opened = asyncio.Event()
        self._life = asyncio.get_running_loop().create_task(self._live(opened))
        waiting = asyncio.get_running_loop().create_task(opened.wait())
        await asyncio.wait([self._life, waiting], return_when=asyncio.FIRST_COMPLETED)
        if not opened.is_set():
            waiting.cancel()
            await self._life

    async def _live(self, opened: asyncio.Event) -> None:
        """Opens the world, and closes it in the same task."""
        name = f"model_{uuid4().hex}"
        await self._execute(f"CREATE DATABASE {name} TEMPLATE {self._template} STRATEGY FILE_COPY")
        try:
            dsn = database_named(self._postgres_dsn, name)
            async with world(dsn, retry_delays=_RETRIES) as self.here, asyncio.TaskGroup() as tasks:
                # Without the limits that ours have: on a busy machine a lock may take longer.
                self._database = await asyncpg.connect(dsn)
                await machine_watch.watch(self._database)
                self.people = People(self.here.slack)
                self.replicas = Replicas(self.here, tasks)
                self.nature = Nature(self.here, self._database, self.replicas)
                doors = await database.open_pool(dsn, size=4)
                self.deciders = Deciders(self.here, doors)
                opened.set()
                await self._over.wait()
                await self.replicas.kill_all()
                await doors.close()
                await self._database.close()
        finally:
            await self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self._postgres_dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def close(self) -> None:
        """Ends everything, a kill for what still runs. Raises what a replica raised unasked."""
        self._over.set()
        try:
            self._do(self._life_over())
        finally:
            self._runner.close()

    async def _life_over(self) -> None:
        await self._life

    # -------------------------------------------------------------- the end

    def complaints(self) -> list[str]:
        """Lets everything come to rest, then says what breaks a promise."""
        self._do(self._come_to_rest())
        return self._do(self._complaints())

    async def _come_to_rest(self) -> None:
        """Somebody is there, and time passes until nothing is left to do; faults still strike."""
        await self.nature.release()
        if not self.replicas.alive:
            await self.replicas.start()
        await self.replicas.route(0)
        slack = self.here.slack
        async with asyncio.timeout(_REST_SECONDS):
            while slack.workspace.courier._tasks:
                slack.advance(30.0)
                await asyncio.sleep(0.02)
        # What is decided lets a turn go on, and the next of its thread may ask again.
        await eventually(self._decided_and_at_rest, _REST_SECONDS, "everything decided")
        await self.here.at_rest()

    async def _decided_and_at_rest(self) -> bool:
        await eventually(self._moves_on_to_rest, _REST_SECONDS, "everything at rest")
        if not await self.here.rows("SELECT FROM agent_approvals WHERE state = 'pending'"):
            return True
        await self.deciders.decide_all()
        return False

    async def _moves_on_to_rest(self) -> bool:
        if await self.here._is_at_rest():
            return True
        await self.nature.advance(1.0, fair=True)
        await asyncio.sleep(0.04)
        left = await self.here.rows(machine_seen.LEFT)
        assert not left, left
        return False

    async def _complaints(self) -> list[str]:
        found = await machine_seen.complaints(self.here, self.people.threads, self.deciders.tried)
        return found + list(await machine_watch.strangers(self._database, self.replicas.owners))

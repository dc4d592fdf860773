"""What the workloads stand on: one PostgreSQL with a database for each, the generator, Threadline and its
yardsticks, each in a process of its own.
"""

import asyncio
import base64
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from itertools import count
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg

from bot.install import InstallBook
from bot.sealing import Keyring
from store import agents, database, members
from store.embedded import embedded_postgres, temporary_data_dir
from store.installs import NewInstall
from store.migrate import migrate
from tests.bench import common, envelopes, processes
from tests.bench.common import Figures
from tests.bench.load import Order, Sent
from tests.bench.processes import Server, answering, started
from tests.harness import environment

_KEY = b"k" * 32
_SPARE_SECONDS, _QUICK_SPARE_SECONDS = 60.0, 15.0
_PATIENCE_SECONDS = 3.0
_HOLD = 'kill -STOP "$@"; sleep "$0"; kill -CONT "$@"'
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Postgres:
    """A server of the bench's own, which waits for the disk; `dsn` opens a migrated database."""

    dsn: str
    pid: int

    def cpu_seconds(self) -> float:
        """Processor time so far of all its processes."""
        return processes.cpu_seconds(self.pid)

    @asynccontextmanager
    async def fresh(self, *, migrated: bool = True) -> AsyncIterator["Postgres"]:
        """The same server with another database, as migrated as this one, or empty; dropped at the end.

        Nobody may be connected to this one meanwhile.
        """
        name, template = f"bench_{next(_numbers)}", urlsplit(self.dsn).path[1:]
        admin = await asyncpg.connect(_named(self.dsn, "postgres"))
        try:
            model = template if migrated else "template0"
            await admin.execute(f"CREATE DATABASE {name} TEMPLATE {model}")
            yield replace(self, dsn=_named(self.dsn, name))
            await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        finally:
            await admin.close()

    async def analyze(self) -> None:
        """Gives the planner what it knows of a server that has been up for a minute."""
        connection = await asyncpg.connect(self.dsn)
        await connection.execute("ANALYZE")
        await connection.close()

    async def hold(self, seconds: float) -> None:
        """Stops every process of it where it stands; they go on after so long, whatever becomes of us."""
        pids = map(str, processes.family(self.pid))
        shell = await asyncio.create_subprocess_exec(
            *("sh", "-c", _HOLD, f"{seconds:g}", *pids), stdin=DEVNULL, start_new_session=True
        )
        await shell.wait()


def _named(dsn: str, name: str) -> str:
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


class Generator:
    """The process that sends; one order at a time."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def prepare(self, order: Order) -> None:
        """Signs the requests and opens the connections."""
        await processes.asked(self._process, order.to_json())

    async def go(self) -> Sent:
        """Sends what was prepared."""
        return Sent(**await processes.asked(self._process, "go"))

    async def send(self, order: Order) -> Sent:
        """Carries an order out."""
        await self.prepare(order)
        return await self.go()


@dataclass(slots=True)
class Bench:
    """What all workloads share."""

    postgres: Postgres
    generator: Generator
    _spare: float

    async def undisturbed(self, measure: Callable[[], Awaitable[Figures]]) -> Figures:
        """As `watched`; where the machine was busy it is measured once more, and the calmer time counts.

        As long as there is time to spare for that: a minute in all.
        """
        figures = await watched(measure)
        if figures["others"] <= common.DISTURBED or self._spare <= 0:
            return figures
        begun = time.monotonic()
        await processes.quiet(_PATIENCE_SECONDS)
        again = await watched(measure)
        self._spare -= time.monotonic() - begun
        return min(figures, again, key=lambda one: one["others"])


async def watched(measure: Callable[[], Awaitable[Figures]]) -> Figures:
    """The figures, and how many cores were busy with anything but the bench meanwhile (`others`)."""
    begun, before = time.monotonic(), processes.others_seconds()
    figures = await measure()
    others = processes.others_seconds() - before
    return figures | {"others": max(0.0, others) / (time.monotonic() - begun)}


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    """A fresh, migrated PostgreSQL with the durability that a real one has, and the generator."""
    spare = _QUICK_SPARE_SECONDS if common.quick() else _SPARE_SECONDS
    with temporary_data_dir() as folder:
        async with embedded_postgres(folder) as server, answering("tests.bench.load") as sender:
            await migrate(server.dsn)
            yield Bench(Postgres(server.dsn, server.pid), Generator(sender), spare)


async def ground(dsn: str) -> tuple[UUID, UUID]:
    """The install that the requests are for, and its agent: their ids."""
    connection = await database.connect(dsn)
    try:
        workspace = (await members.ensure_workspace(connection, "bench")).id
        agent = await agents.put(connection, workspace, "bench", "agent_bench", "env_bench")
        await agents.make_default(connection, workspace, agent.id)
    finally:
        await connection.close()
    pool = await database.open_pool(dsn, size=1)
    try:
        made = _install(workspace)
        install = await InstallBook(pool, Keyring({"bench": _KEY})).put(made, "xoxb-of-the-bench")
    finally:
        await database.close_pool(pool)
    return install, agent.id


def _install(workspace: UUID) -> NewInstall:
    return NewInstall(
        workspace_id=workspace,
        api_app_id=envelopes.APP,
        tenant_id=envelopes.TEAM,
        team_id=envelopes.TEAM,
        enterprise_id=None,
        bot_user_id=envelopes.BOT,
        bot_id="B0BENCH000",
        scopes=[],
    )


def serving(dsn: str, **more: str) -> dict[str, str]:
    """The variables of a `serve` that takes the requests of the bench."""
    return {
        "DATABASE_URL": dsn,
        "SLACK_SIGNING_SECRET": envelopes.SECRET,
        "SLACK_API_URL": "http://127.0.0.1:9/api/",
        "THREADLINE_ENCRYPTION_KEYS": f"bench:{base64.b64encode(_KEY).decode()}",
        "LOG_LEVEL": "ERROR",
    } | more


@asynccontextmanager
async def threadline(dsn: str, *, roles: str = "ingress", **more: str) -> AsyncIterator[Server]:
    """A `serve` process of Threadline."""
    argv = ("bot", "serve", "--port", "0", "--roles", roles)
    async with started(*argv, **serving(dsn, **more)) as server:
        yield server


@dataclass(frozen=True, slots=True)
class Stand:
    """Everything that stands still between two measurements."""

    bench: Bench
    postgres: Postgres
    servers: dict[str, Server]


@asynccontextmanager
async def stand(on: Bench, *names: str) -> AsyncIterator[Stand]:
    """A database, Threadline (`threadline`, `all roles`) and the yardsticks of these names."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(on.postgres.fresh())
        await ground(server.dsn)
        made = {name: await _made(stack, name, on.postgres, server) for name in names}
        yield Stand(on, server, made)


async def _made(stack: AsyncExitStack, name: str, of: Postgres, server: Postgres) -> Server:
    if name == "threadline":
        return await stack.enter_async_context(threadline(server.dsn))
    if name == "all roles":
        return await _whole(stack, server.dsn)
    its = await stack.enter_async_context(of.fresh(migrated=False)) if name == "row" else server
    yardstick = started("tests.bench.yardsticks", name, DATABASE_URL=its.dsn)
    return await stack.enter_async_context(yardstick)


async def _whole(stack: AsyncExitStack, dsn: str) -> Server:
    """A process that also works and delivers: with a local runtime, and no Slack to be reached."""
    argv = ("bot", "local", "runtime", "--port", "0")
    runtime = await stack.enter_async_context(started(*argv))
    where = {"ANTHROPIC_BASE_URL": runtime.url, "ANTHROPIC_API_KEY": "local"}
    await _deploy(serving(dsn, **where))
    made = threadline(dsn, roles="api,delivery,ingress,worker", **where)
    return await stack.enter_async_context(made)


async def _deploy(env: dict[str, str]) -> None:
    """Makes the agent of the bench one that the runtime knows."""
    agent = ("agents", "add", "--workspace", "bench", "--name", "bench", "--default", "--json")
    what = ("--model", "claude-of-the-bench", "--system", "Answer.")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", *agent, *what), env=environment(**env), stdout=PIPE
    )
    await process.communicate()
    if process.returncode:
        raise ValueError("the agent of the bench could not be deployed")

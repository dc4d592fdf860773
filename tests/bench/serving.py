"""Servers under measurement, each in a process of its own, and the processor time that they take."""

import asyncio
import base64
import json
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO
from uuid import UUID

import asyncpg

from bot.install import InstallBook
from bot.sealing import Keyring
from store import agents, database, members
from store.embedded import embedded_postgres, temporary_data_dir
from store.installs import NewInstall
from store.migrate import migrate
from tests.bench import envelopes
from tests.bench.load import Order, Sent
from tests.harness import environment

_ROOT = Path(__file__).parents[2]
_TICKS = os.sysconf("SC_CLK_TCK")
_START_SECONDS, _STOP_SECONDS = 60.0, 20.0
_ORDER_BYTES = 64 * 1024 * 1024
_KEY = b"k" * 32
_QUIET, _LOOK_SECONDS = 0.15, 0.2


@dataclass(frozen=True, slots=True)
class Server:
    """A process that serves at `url`."""

    url: str
    process: Process

    def cpu_seconds(self) -> float:
        """Processor time so far, its children's included."""
        return cpu_seconds(self.process.pid)


@dataclass(frozen=True, slots=True)
class Postgres:
    """A server of the bench's own, which waits for the disk; `dsn` opens the migrated database."""

    dsn: str
    pid: int

    def cpu_seconds(self) -> float:
        """Processor time so far of all its processes."""
        return cpu_seconds(self.pid)

    def other(self, name: str) -> str:
        """The address of another database of the server."""
        head, _, tail = self.dsn.rpartition("/")
        return f"{head}/{name}?{tail.partition('?')[2]}" if "?" in tail else f"{head}/{name}"

    async def analyze(self) -> None:
        """Gives the planner what it knows of a server that has been up for a minute."""
        connection = await asyncpg.connect(self.dsn)
        await connection.execute("ANALYZE")
        await connection.close()

    def freeze(self) -> None:
        """Stops every process of it where it stands."""
        _signal(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets them go on."""
        _signal(self.pid, signal.SIGCONT)


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and of all below it, those that have ended included, from /proc."""
    total = 0.0
    for one in _family(pid):
        fields = _stat(one)
        total += sum(map(int, fields[11:15])) / _TICKS if fields else 0.0
    return total


def busy_seconds() -> tuple[float, float]:
    """Processor time that was used on this machine by anybody, and that there was."""
    fields = [
        int(one) / _TICKS for one in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    ]
    idle = fields[3] + fields[4]
    return sum(fields) - idle, sum(fields)


async def quiet(patience: float) -> None:
    """Waits until the machine has little else to do, or the patience is over."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        busy, total = busy_seconds()
        await asyncio.sleep(_LOOK_SECONDS)
        now, there = busy_seconds()
        if now - busy < _QUIET * (there - total):
            return


def _family(pid: int) -> list[int]:
    found, at = [pid], 0
    while at < len(found):
        children = Path(f"/proc/{found[at]}/task/{found[at]}/children")
        with suppress(FileNotFoundError):  # it has ended meanwhile
            found += map(int, children.read_text().split())
        at += 1
    return found


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return []


def _signal(pid: int, which: signal.Signals) -> None:
    for one in _family(pid):
        os.kill(one, which)


@asynccontextmanager
async def postgres() -> AsyncIterator[Postgres]:
    """A fresh, migrated PostgreSQL with the durability that a real one has."""
    with temporary_data_dir() as folder:
        async with embedded_postgres(folder) as server:
            await migrate(server.dsn)
            yield Postgres(server.dsn, server.pid)


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
        install = await InstallBook(pool, Keyring({"bench": _KEY})).put(
            NewInstall(
                workspace_id=workspace,
                api_app_id=envelopes.APP,
                tenant_id=envelopes.TEAM,
                team_id=envelopes.TEAM,
                enterprise_id=None,
                bot_user_id=envelopes.BOT,
                bot_id="B0BENCH000",
                scopes=[],
            ),
            "xoxb-of-the-bench",
        )
    finally:
        await database.close_pool(pool)
    return install, agent.id


@asynccontextmanager
async def started(
    *argv: str, env: Mapping[str, str] | None = None, stderr: TextIO | None = None
) -> AsyncIterator[Server]:
    """`python ARGV…` until the block ends; ready when it says so in a line."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *argv,
        cwd=_ROOT,
        env=environment(**(env or {})),
        stdin=PIPE,
        stdout=PIPE,
        stderr=stderr,
        limit=_ORDER_BYTES,
    )
    try:
        assert process.stdout is not None
        said = await asyncio.wait_for(process.stdout.readline(), _START_SECONDS)
        yield Server(json.loads(said)["url"], process)
    finally:
        await _end(process)


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()


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
    argv = ("-m", "bot", "serve", "--port", "0", "--roles", roles)
    async with started(*argv, env=serving(dsn, **more)) as server:
        yield server


class Generator:
    """The process that sends; one order at a time."""

    def __init__(self, process: Process) -> None:
        self._process = process

    async def prepare(self, order: Order) -> None:
        """Signs the requests and opens the connections."""
        await self._ask(order.to_json())

    async def go(self) -> Sent:
        """Sends what was prepared."""
        return Sent(**await self._ask("go"))

    async def send(self, order: Order) -> Sent:
        """Carries an order out."""
        await self.prepare(order)
        return await self.go()

    async def _ask(self, line: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n".encode())
        answer: dict[str, Any] = json.loads(await self._process.stdout.readline())
        return answer


@asynccontextmanager
async def generator() -> AsyncIterator[Generator]:
    """Started for the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.load",
        cwd=_ROOT,
        env=environment(),
        stdin=PIPE,
        stdout=PIPE,
        limit=_ORDER_BYTES,
    )
    try:
        yield Generator(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await _end(process)


@dataclass(frozen=True, slots=True)
class Stand:
    """Everything that stands still between two measurements."""

    postgres: Postgres
    generator: Generator
    servers: dict[str, Server]


@asynccontextmanager
async def stand(*names: str) -> AsyncIterator[Stand]:
    """PostgreSQL, the generator, Threadline (`threadline`) and the yardsticks of these names."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(postgres())
        await ground(server.dsn)
        servers: dict[str, Server] = {}
        for name in names:
            servers[name] = await _made(stack, name, server)
        sender = await stack.enter_async_context(generator())
        yield Stand(server, sender, servers)


async def _made(stack: AsyncExitStack, name: str, server: Postgres) -> Server:
    if name == "threadline":
        return await stack.enter_async_context(threadline(server.dsn))
    if name == "all roles":
        return await _whole(stack, await _database(server, "whole"))
    dsn = await _database(server, "yardstick") if name == "row" else server.dsn
    argv = ("-m", "tests.bench.yardsticks", name)
    return await stack.enter_async_context(started(*argv, env={"DATABASE_URL": dsn}))


async def _whole(stack: AsyncExitStack, dsn: str) -> Server:
    """A process that also works and delivers: with a local runtime, and no Slack to be reached."""
    await migrate(dsn)
    await ground(dsn)
    argv = ("-m", "bot", "local", "runtime", "--port", "0")
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
        sys.executable, "-m", "bot", *agent, *what, cwd=_ROOT, env=environment(**env), stdout=PIPE
    )
    await process.communicate()
    if process.returncode:
        raise ValueError("the agent of the bench could not be deployed")


async def _database(server: Postgres, name: str) -> str:
    connection = await asyncpg.connect(server.dsn)
    try:
        await connection.execute(f"CREATE DATABASE {name}")
    finally:
        await connection.close()
    return server.other(name)

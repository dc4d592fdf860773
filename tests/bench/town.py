"""All that a bench of whole turns stands on, each in a process of its own: the lean runtime, the lean Slack
with the people in it, PostgreSQL, and as many replicas as are asked for.

Limits of the runtime are raised by settings; those of Slack stay as they are, since each thread is in a
channel of its own.
"""

import asyncio
import json
import os
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp

from bot.install import InstallBook
from bot.sealing import Keyring
from store import agents, database, members
from store.installs import NewInstall
from tests.bench import lean_slack, serving
from tests.bench.lean_slack import Talk, Told
from tests.bench.replica import KEYS
from tests.bench.serving import Postgres, Server
from tests.harness import environment

_ROOT = Path(__file__).parents[2]
_START_SECONDS = 60.0
_LINE_BYTES = 64 * 1024 * 1024
_FREE = 10_000_000  # of requests a minute
_LONG_SECONDS = 900.0


@dataclass(slots=True)
class Replica:
    """One of the processes that are measured."""

    server: Server

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.server.url

    async def late(self) -> dict[str, float]:
        """How late its loop has been since the last time, in milliseconds, and how many turns it holds."""
        process = self.server.process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"\n")
        found: dict[str, float] = json.loads(await process.stdout.readline())
        return found

    def resident_mb(self) -> float:
        """Its memory now."""
        status = Path(f"/proc/{self.server.process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1]) / 1024


@dataclass
class Town:
    """What stands. `shares` since the last `mark`: how much of one core each kind of process took."""

    postgres: Postgres
    runtime: Server
    slack: Server
    http: aiohttp.ClientSession
    agent_id: UUID
    replicas: list[Replica] = field(default_factory=list)
    _marked: dict[str, float] = field(default_factory=dict)
    _marked_at: float = 0.0

    async def ask(self, of: Server, what: str, body: Any = None) -> Any:
        """One of the bench's own routes."""
        async with self.http.post(f"{of.url}/_bench/{what}", json=body or {}) as answer:
            return json.loads(await answer.read())

    async def talk(self, talk: Talk) -> Told:
        """Lets people talk, to the end."""
        return Told(**await self.ask(self.slack, "talk", asdict(talk)))

    @property
    def urls(self) -> list[str]:
        """Where events may go."""
        return [replica.url for replica in self.replicas]

    def mark(self) -> None:
        """Processor time is counted from here on."""
        self._marked, self._marked_at = self._cpu(), time.monotonic()

    def shares(self) -> dict[str, float]:
        """By kind of process; `others`: what this machine did beside the bench."""
        took = time.monotonic() - self._marked_at
        now = self._cpu()
        found = {name: (now[name] - self._marked[name]) / took for name in now}
        ours = sum(share for name, share in found.items() if name != "machine")
        return {n: s for n, s in found.items() if n != "machine"} | {
            "others": max(0.0, found["machine"] - ours)
        }

    def spent(self) -> dict[str, float]:
        """The same in seconds of processor time."""
        took = time.monotonic() - self._marked_at
        return {name: share * took for name, share in self.shares().items()}

    def _cpu(self) -> dict[str, float]:
        return {
            "replicas": sum(one.server.cpu_seconds() for one in self.replicas),
            "postgres": self.postgres.cpu_seconds(),
            "runtime": self.runtime.cpu_seconds(),
            "slack": self.slack.cpu_seconds(),
            "machine": _busy_seconds(),
        }


def _busy_seconds() -> float:
    """What all processes of the machine took: user, nice, system, interrupts."""
    first = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    times = [int(one) for one in first[1:]]
    return (times[0] + times[1] + times[2] + times[5] + times[6]) / serving._TICKS


@asynccontextmanager
async def town(workspaces: int = 1) -> AsyncIterator[Town]:
    """Everything but the replicas; one agent, installed in so many workspaces of Slack."""
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(serving.postgres())
        runtime = await stack.enter_async_context(_started("tests.bench.lean_runtime"))
        slack = await stack.enter_async_context(_started("tests.bench.lean_slack"))
        timeout = aiohttp.ClientTimeout(total=_LONG_SECONDS)
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        agent_id = await _deploy(postgres.dsn, workspaces)
        yield Town(postgres, runtime, slack, http, agent_id)


@asynccontextmanager
async def replicas(
    here: Town, count: int, *, roles: Sequence[str] = (), profile: str = "", **settings: Any
) -> AsyncIterator[list[Replica]]:
    """So many more replicas."""
    values: dict[str, Any] = {
        "slack_signing_secret": lean_slack.SECRET,
        "slack_api_url": f"{here.slack.url}/api/",
        "anthropic_api_key": "bench",
        "anthropic_base_url": here.runtime.url,
        "port": 0,
        "threadline_runtime_reads": _FREE,
        "threadline_runtime_creates": _FREE,
    }
    order = {"settings": values | settings, "dsn": here.postgres.dsn, "roles": list(roles)}
    async with AsyncExitStack() as stack:
        starting = [
            _started(
                "tests.bench.replica",
                json.dumps(order),
                **({"PROFILE": f"{profile}.{n}"} if profile else {}),
            )
            for n in range(count)
        ]
        # Side by side: what waits is not to be worked off by the first alone.
        servers = await asyncio.gather(*(stack.enter_async_context(one) for one in starting))
        made = [Replica(server) for server in servers]
        here.replicas += made
        try:
            yield made
        finally:
            here.replicas = [one for one in here.replicas if one not in made]


@asynccontextmanager
async def _started(module: str, *arguments: str, **env: str) -> AsyncIterator[Server]:
    """A process that says where it listens, and ends with its standard input."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", module, *arguments),
        cwd=_ROOT,
        env=environment(**env),
        stdin=PIPE,
        stdout=PIPE,
        stderr=None if os.environ.get("SHOW") else asyncio.subprocess.DEVNULL,
        limit=_LINE_BYTES,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        said = await asyncio.wait_for(process.stdout.readline(), _START_SECONDS)
        yield Server(json.loads(said)["url"], process)
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), _START_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _deploy(dsn: str, workspaces: int) -> UUID:
    pool = await database.open_pool(dsn, size=1)
    try:
        async with database.borrow(pool) as connection:
            workspace = (await members.ensure_workspace(connection, "bench")).id
            agent = await agents.put(connection, workspace, "bench", "agent_lean", "env_lean")
            await agents.make_default(connection, workspace, agent.id)
        book = InstallBook(pool, Keyring(KEYS))
        for n in range(workspaces):
            await book.put(_install(workspace, n), f"xoxb-{n}")
    finally:
        await database.close_pool(pool)
    return agent.id


def _install(workspace: UUID, number: int) -> NewInstall:
    team = lean_slack.workspace_id(number)
    return NewInstall(
        workspace_id=workspace,
        api_app_id=lean_slack.APP,
        tenant_id=team,
        team_id=team,
        enterprise_id=None,
        bot_user_id=lean_slack.BOT_USER,
        bot_id=lean_slack.BOT,
        scopes=[],
    )

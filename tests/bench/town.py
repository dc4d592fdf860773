"""All that a bench of whole turns stands on, each in a process of its own: the lean runtime, the lean Slack
with the people in it, PostgreSQL, and as many replicas as are asked for.

Limits of the runtime are raised by settings; those of Slack stay as they are, since each thread is in a
channel of its own.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

import aiohttp

from bot.install import InstallBook
from bot.sealing import Keyring
from store import agents, database, members
from store.installs import NewInstall
from tests.bench import lean_slack, processes
from tests.bench.common import Figures
from tests.bench.lean_slack import Talk, Told
from tests.bench.processes import Server, answering
from tests.bench.replica import KEYS
from tests.bench.serving import Bench, Postgres

CPU = "CPU: replicas, postgres, runtime, slack, others"
"""The heading of `cpu`."""

_FREE = 10_000_000  # of requests a minute
_LONG_SECONDS = 1_800.0


@dataclass(frozen=True, slots=True)
class Replica(Server):
    """One of the processes that are measured."""

    async def late(self) -> dict[str, float]:
        """How late its loop has been since the last time, in milliseconds, and how many turns it holds."""
        found: dict[str, float] = await processes.asked(self.process)
        return found


@dataclass
class Town:
    """What stands. `shares` and `spent` since the last `mark`."""

    bench: Bench
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
        """How much of one core each kind of process took, by its name."""
        took = time.monotonic() - self._marked_at
        return {name: seconds / took for name, seconds in self.spent().items()}

    def spent(self) -> dict[str, float]:
        """The same in seconds of processor time."""
        return {name: now - self._marked[name] for name, now in self._cpu().items()}

    def _cpu(self) -> dict[str, float]:
        return {
            "replicas": sum(one.cpu_seconds() for one in self.replicas),
            "postgres": self.postgres.cpu_seconds(),
            "runtime": self.runtime.cpu_seconds(),
            "slack": self.slack.cpu_seconds(),
        }


def cpu(seen: Figures) -> str:
    """The shares of the kinds in a cell of a table, and what else the machine did."""
    shares = [seen[f"cpu_{kind}"] for kind in ("replicas", "postgres", "runtime", "slack")]
    return " ".join(f"{share:.2f}" for share in [*shares, seen["others"]])


@asynccontextmanager
async def town(on: Bench, workspaces: int = 1) -> AsyncIterator[Town]:
    """Everything but the replicas; one agent, installed in so many workspaces of Slack."""
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(on.postgres.fresh())
        runtime = await stack.enter_async_context(_serving("tests.bench.lean_runtime"))
        slack = await stack.enter_async_context(_serving("tests.bench.lean_slack"))
        timeout = aiohttp.ClientTimeout(total=_LONG_SECONDS)
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        agent_id = await _deploy(postgres.dsn, workspaces)
        yield Town(on, postgres, runtime, slack, http, agent_id)


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
            _serving(
                "tests.bench.replica",
                json.dumps(order),
                **({"PROFILE": f"{profile}.{n}"} if profile else {}),
            )
            for n in range(count)
        ]
        # Side by side: what waits is not to be worked off by the first alone.
        servers = await asyncio.gather(*(stack.enter_async_context(one) for one in starting))
        made = [Replica(server.url, server.process) for server in servers]
        here.replicas += made
        try:
            yield made
        finally:
            here.replicas = [one for one in here.replicas if one not in made]


@asynccontextmanager
async def _serving(module: str, *arguments: str, **env: str) -> AsyncIterator[Server]:
    async with answering(module, *arguments, **env) as process:
        yield Server((await processes.heard(process))["url"], process)


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

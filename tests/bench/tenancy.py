"""What row level security costs: `make bench`, in seconds.

One session fetched, one page of fifty listed, among 20,000 sessions of twenty workspaces: each asked the
same number of times on one connection, through the functions that the API uses. Where a turn or an
acceptance reads, nothing is narrowed: what the policies cost there is the second row against the first.

bypass       as a superuser, whom no policy concerns, each statement by itself
owner        as the tables' owner, with FORCE: the policy that lets it through
transaction  as the owner, inside a transaction: two more round trips
tenant       inside a transaction, narrowed to the workspace: three more
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from store import database, sessions_read, tenancy
from store.database import Connection
from store.sessions_read import Filters
from tests.bench import common
from tests.bench.common import Figures
from tests.store import factories, tenants

_WORKSPACES = 20
_PAGE = 51
# $1 agent, $2 workspace
_SESSIONS = """
INSERT INTO agent_sessions (id, deployed_agent_id, workspace_id, source, title, created_at)
SELECT gen_random_uuid(), $1, $2, 'dashboard', 'Session ' || n, now() - n * interval '1 minute'
FROM generate_series(1, 1000) n
"""
_COLUMNS = {"get_ms": "get ms", "get_ratio": "ratio", "page_ms": "page ms", "page_ratio": "ratio"}


@dataclass(frozen=True, slots=True)
class Case:
    """How a connection stands when it asks."""

    times: int
    ordinary: bool = True
    transaction: bool = False
    tenant: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """The agent whose sessions are asked for, and one of them."""

    workspace_id: UUID
    agent_id: UUID
    session_id: UUID


async def measure(case: Case) -> Figures:
    """The milliseconds of a get and of a page, in the middle."""
    async with common.database() as dsn:
        admin = await database.connect(dsn)
        target = await _grown(admin)
        async with tenants.ordinary_owner(admin) as role:
            connection = await database.connect(dsn)
            if case.ordinary:
                await admin.execute(f"GRANT threadline_tenant TO {role}")
                await connection.execute(f"SET SESSION AUTHORIZATION {role}")
            figures = await _asked(connection, case, target)
            await connection.close()
        await admin.close()
    return figures


async def _grown(admin: Connection) -> Target:
    on = await factories.ground(admin)
    for other in [on, *[await factories.ground(admin) for _ in range(_WORKSPACES - 1)]]:
        await admin.execute(_SESSIONS, other.agent_id, other.workspace_id)
    await admin.execute("ANALYZE")
    session_id = await admin.fetchval(
        "SELECT id FROM agent_sessions WHERE deployed_agent_id = $1 LIMIT 1", on.agent_id
    )
    return Target(on.workspace_id, on.agent_id, session_id)


async def _asked(connection: Connection, case: Case, target: Target) -> Figures:
    whose = (target.workspace_id, target.agent_id)

    async def get() -> bool:
        return await sessions_read.get(connection, *whose, target.session_id) is not None

    async def page() -> bool:
        found = await sessions_read.page(connection, *whose, Filters(), after=None, limit=_PAGE)
        return len(found) == _PAGE

    return {
        "get_ms": await _middle(connection, case, target, get),
        "page_ms": await _middle(connection, case, target, page),
    }


async def _middle(
    connection: Connection, case: Case, target: Target, ask: Callable[[], Awaitable[bool]]
) -> float:
    took = []
    for _ in range(case.times):
        begun = time.perf_counter()
        async with _standing(connection, case, target):
            found = await ask()
        took.append((time.perf_counter() - begun) * 1000)
        if not found:
            raise ValueError("it does not see what is its own")
    return common.percentile(took, 0.5)


@asynccontextmanager
async def _standing(connection: Connection, case: Case, target: Target) -> AsyncIterator[None]:
    if not case.transaction:
        yield
        return
    async with connection.transaction():
        if case.tenant:
            await tenancy.as_tenant(connection, target.workspace_id)
        yield


def _row(name: str, figures: Figures) -> list[str]:
    return [name, *(f"{figures[column]:.2f}" for column in _COLUMNS)]


def main() -> None:
    """Prints the table; QUICK=1: one short round."""
    common.quieten()
    times, count = (200, 1) if common.quick() else (2000, 3)
    cases = {
        "bypass": Case(times, ordinary=False),
        "owner": Case(times),
        "transaction": Case(times, transaction=True),
        "tenant": Case(times, transaction=True, tenant=True),
    }
    found = common.rounds(cases, measure, count)
    medians = {name: common.medians(found[name]) for name in cases}
    for figures in medians.values():
        for what in ("get", "page"):
            figures[f"{what}_ratio"] = figures[f"{what}_ms"] / medians["bypass"][f"{what}_ms"]
    heading = ["asked as", *_COLUMNS.values()]
    common.report("tenancy", [heading, *(_row(*one) for one in medians.items())], found)


if __name__ == "__main__":
    main()

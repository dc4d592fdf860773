"""Whether work on one session costs the same among ten thousand sessions and among a million.

    python -m tests.bench.sizes          QUICK=1 stops at 10⁵; SESSIONS=10000000 goes on to 10⁷

A database for each size, on one server, filled by one statement a table before its indexes are made: a hundred agents, one finished
message and one sent reply for each session, and as many open ones everywhere, since what is open does not
grow with what was. Every round asks all sizes, one after the other, for sessions picked at random, twice: the second time the
pages are in memory, and what is compared is how much is read; the first time ("first") they come from the
kernel, as many more as memory is smaller than the tables. The times are milliseconds, the medians of all
calls; they hold the round trip, which is the same at every size. PostgreSQL has 1 GB of shared buffers.

resolve  a thread's key ▸ its agent and session
accept   a reply to an old thread, through the one door in: committed, its session woken
claim    a ready session taken by compare-and-set
read     one session, as the API shows it
list     the newest fifty sessions of an agent, and fifty from another place on
sweep    what asks all agents: ready sessions, due deliveries, deaf sessions, awaiting turns, usage

Asked for: the largest size up to 10⁶ takes no more than 1.25 times as long as the smallest.
"""

import asyncio
import os
import random
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import count
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg

from router.intake import Intake
from store import database, leases, outbox, sessions, sessions_read, threads, turns, usage
from store.database import Connection
from store.embedded import embedded_postgres, temporary_data_dir
from store.ids import new_id
from store.leases import Ready
from store.migrate import migrate
from store.sessions_read import Filters
from tests.bench import alone, common, goals, processes
from tests.bench.common import Figures, Results
from tests.bench.goals import Outcome
from tests.bench.serving import Bench, watched
from tests.store import doors, factories
from tests.store.factories import Ground

MOST = 1.25
_SIZES = (10_000, 100_000, 1_000_000)
_JUDGED = 1_000_000
_ROUNDS, _QUICK_ROUNDS, _CALLS = 10, 5, 40
_AGENTS, _OPEN, _PAGE = 100, 200, 51
_EPOCH = 1_600_000_000
_WORK = ("resolve", "accept", "claim", "read", "list", "sweep")
_LEASE = timedelta(seconds=15)

_LEAN = (
    "SET session_replication_role = replica; SET synchronous_commit = off; SET work_mem = '256MB';"
    "SET maintenance_work_mem = '512MB'"
)
_SETTINGS = {"autovacuum": "off", "shared_buffers": "1GB", "max_wal_size": "8GB"}
# $1 agents, $2 workspace, $3 install, $4 how many, $5 every which one is awake, $6 when
# the first began, in seconds since 1970
_FILL = """
INSERT INTO agent_sessions (id, deployed_agent_id, workspace_id, source, slack_install_id,
    slack_channel_id, slack_thread_ts, slack_conversation_key, title, created_by,
    anthropic_session_id, created_at, updated_at, ready_at)
SELECT ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
       ($1::uuid[])[1 + n % cardinality($1::uuid[])], $2, 'slack', $3, 'C1', root.ts,
       'A1:T1:C1:' || root.ts, 'Thread ' || n, 'U' || n % 1000, 'sesn_' || n,
       to_timestamp($6::bigint + n), to_timestamp($6::bigint + n), CASE WHEN n % $5 = 0 THEN now() END
FROM generate_series(0, $4::int - 1) AS n,
     LATERAL (SELECT ($6::bigint + n)::text || '.000001' AS ts) AS root
"""
_THREADS = """
INSERT INTO slack_threads (slack_conversation_key, deployed_agent_id, workspace_id, session_id,
    api_app_id, channel_id, root_ts, first_ts)
SELECT slack_conversation_key, deployed_agent_id, workspace_id, id, 'A1', 'C1', slack_thread_ts, 1
FROM agent_sessions
"""
_INPUTS = """
INSERT INTO session_inputs (id, deployed_agent_id, workspace_id, session_id, kind, body, order_key,
    dedupe_key, state, accepted_at, ended_at, turn_id)
SELECT id, deployed_agent_id, workspace_id, id, 'message', '{"text": "Hello"}',
       slack_thread_ts::numeric, 'msg:' || slack_conversation_key,
       CASE WHEN ready_at IS NULL THEN 'done' ELSE 'queued' END, created_at,
       CASE WHEN ready_at IS NULL THEN created_at END, CASE WHEN ready_at IS NULL THEN id END
FROM agent_sessions
"""
_OUTBOX = """
INSERT INTO slack_outbox (delivery_id, deployed_agent_id, workspace_id, session_id, install_id,
    slack_conversation_key, channel_id, effect_key, lane, position, kind, body, state, ended_at)
SELECT id, deployed_agent_id, workspace_id, id, slack_install_id, slack_conversation_key, 'C1',
       'reply:0', 'reply', 0, 'reply', '{"markdown": "Hi"}',
       CASE WHEN ready_at IS NULL THEN 'sent' ELSE 'pending' END,
       CASE WHEN ready_at IS NULL THEN created_at END
FROM agent_sessions
"""
_TURNS = """
INSERT INTO agent_turns (id, deployed_agent_id, workspace_id, session_id, number, state, stop_reason,
    started_at, ended_at)
SELECT id, deployed_agent_id, workspace_id, id, 1, 'completed', 'end_turn', created_at, created_at
FROM agent_sessions
"""
# Those that stand for no constraint.
_INDEXES = """
SELECT i.indexrelid::regclass::text AS name, pg_get_indexdef(i.indexrelid) AS made
FROM pg_index i
WHERE i.indrelid = ANY('{agent_sessions,slack_threads,session_inputs,slack_outbox,agent_turns}'::regclass[])
  AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)
"""
# $1 sessions that were woken and claimed, $2 all agents: they rest again
_SETTLE = """
WITH said AS (
    UPDATE session_inputs i SET state = 'done', ended_at = now(), turn_id = i.session_id FROM agent_sessions s
    WHERE s.deployed_agent_id = ANY($2::uuid[]) AND s.id = ANY($1::uuid[]) AND i.deployed_agent_id = s.deployed_agent_id
      AND i.session_id = s.id AND i.state = 'queued'
)
UPDATE agent_sessions SET ready_at = NULL, lease_owner = NULL, lease_expires_at = NULL
WHERE deployed_agent_id = ANY($2::uuid[]) AND id = ANY($1::uuid[])
"""


@dataclass(slots=True)
class Town:
    """A database of one size, and the times of what was asked of it."""

    size: int
    on: Ground
    agents: list[UUID]
    connection: Connection
    door: Intake
    numbers: "count[int]" = field(default_factory=lambda: count(1))
    rounds: list[Figures] = field(default_factory=list)
    _took: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    async def round(self, calls: int) -> Figures:
        """Everything once more, so many times; the middle of each, in milliseconds."""
        self._took.clear()
        picked = sorted({self._picked() for _ in range(calls)}, key=lambda _: random.random())
        for _ in picked[::5]:
            await self._timed("sweep", self._sweep())
        await self._twice("list", self._list, picked[::5])
        await self._twice("resolve", self._resolve, picked)
        await self._twice("read", self._read, picked)
        await self._twice("accept", self._accept, picked)
        for n in picked:
            await self._timed("claim", self._claim(n))
        async with self.connection.transaction():  # one plan for any ids would read whole tables
            await self.connection.execute("SET LOCAL plan_cache_mode = force_custom_plan")
            await self.connection.execute(_SETTLE, [_session(n) for n in picked], self.agents)
        return {name: common.percentile(t, 0.5) for name, t in self._took.items()}

    async def _twice(
        self, name: str, work: Callable[[int], Awaitable[bool]], picked: Sequence[int]
    ) -> None:
        for when in (f"first {name}", name):
            for n in picked:
                await self._timed(when, work(n))

    async def _timed(self, name: str, work: Awaitable[bool]) -> None:
        begun = time.perf_counter()
        done = await work
        self._took[name].append((time.perf_counter() - begun) * 1000)
        if not done:
            raise ValueError(f"{name} found nothing among {self.size} sessions")

    def _picked(self) -> int:
        """A session at rest."""
        n = random.randrange(self.size)
        return n if n % (self.size // _OPEN) else n + 1

    def _agent(self, n: int) -> UUID:
        return self.agents[n % len(self.agents)]

    async def _resolve(self, n: int) -> bool:
        key = f"A1:T1:C1:{_root(n)}"
        return key in await threads.find(self.connection, [key])

    async def _accept(self, n: int) -> bool:
        root, new = _root(n), next(self.numbers)
        ts = Decimal(root) + 100 + new
        known = doors.arrival(self.on, root, ts=ts, dedupe_key=f"msg:A1:T1:C1:{ts}:{new}")
        return (await self.door.accept(known)).kind == "accepted"

    async def _claim(self, n: int) -> bool:
        ready = Ready(self._agent(n), _session(n))
        held = await leases.claim(self.connection, ready, "bench", _LEASE)
        return held is not None

    async def _read(self, n: int) -> bool:
        of = (self.on.workspace_id, self._agent(n), _session(n))
        return await sessions_read.get(self.connection, *of) is not None

    async def _list(self, n: int) -> bool:
        n = self.size - 1 - n % (self.size // 3)
        of = (self.on.workspace_id, self._agent(n))
        pages = [
            await sessions_read.page(self.connection, *of, Filters(), after=after, limit=_PAGE)
            for after in (None, (_at(n), _session(n)))
        ]
        return all(len(page) == _PAGE for page in pages)

    async def _sweep(self) -> bool:
        connection, age = self.connection, timedelta(minutes=1)
        ready = await leases.ready(connection, new_id(), 50)
        due = await outbox.due(connection, new_id(), 50)
        await sessions.any_running(connection, age)
        await turns.take_a_look(connection, age, 50)
        await usage.pending(connection, 50)
        return bool(ready and due)


def _root(n: int) -> str:
    return f"{_EPOCH + n}.000001"


def _session(n: int) -> UUID:
    return UUID(f"01900000-0000-7000-8000-{n:012x}")


def _at(n: int) -> datetime:
    return datetime.fromtimestamp(_EPOCH + n, UTC)


# ------------------------------------------------------------------ how it is filled


@asynccontextmanager
async def _town(dsn: str, size: int) -> AsyncIterator[Town]:
    begun = time.perf_counter()
    on, agents = await _filled(dsn, size)
    sys.stderr.write(f"{size:,} sessions in {time.perf_counter() - begun:.0f} s\n")
    connection = await database.connect(dsn)
    async with doors.intake(dsn) as door:
        yield Town(size, on, agents, connection, door)
    await connection.close()


async def _filled(dsn: str, size: int) -> tuple[Ground, list[UUID]]:
    connection = await asyncpg.connect(dsn)  # without our limits: it takes long
    on = await factories.ground(connection)
    more = [await factories.agent(connection, on.workspace_id) for _ in range(_AGENTS - 1)]
    agents = [on.agent_id, *more]
    await connection.execute(_LEAN)
    indexes = await connection.fetch(_INDEXES)
    for index in indexes:
        await connection.execute(f"DROP INDEX {index['name']}")
    every = size // _OPEN
    await connection.execute(_FILL, agents, on.workspace_id, on.install_id, size, every, _EPOCH)
    await asyncio.gather(*(_lean(dsn, each) for each in (_THREADS, _INPUTS, _OUTBOX, _TURNS)))
    for index in indexes:
        await connection.execute(index["made"])
    await connection.execute("VACUUM (ANALYZE)")
    await connection.close()
    return on, agents


async def _lean(dsn: str, statement: str) -> None:
    """Side by side with others."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(_LEAN)
    await connection.execute(statement)
    await connection.close()


def _named(dsn: str, name: str) -> str:
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


async def _measured(sizes: tuple[int, ...], rounds: int, calls: int) -> list[Town]:
    async with _server() as (dsn, pid), AsyncExitStack() as stack:
        admin = await asyncpg.connect(_named(dsn, "postgres"))
        template = urlsplit(dsn).path.removeprefix("/")
        towns = []
        for size in sizes:
            await admin.execute(f"CREATE DATABASE of_{size} TEMPLATE {template}")
            towns.append(await stack.enter_async_context(_town(_named(dsn, f"of_{size}"), size)))
        await admin.execute("CHECKPOINT")  # what was filled is written now, and not meanwhile
        with _apart(pid):
            for turn in range(rounds):
                sys.stderr.write(f"round {turn + 1} of {rounds}\n")
                for town in random.sample(towns, len(towns)):
                    town.rounds.append(await watched(partial(town.round, calls)))
        await admin.close()
    return towns


@contextmanager
def _apart(server: int) -> Iterator[None]:
    """PostgreSQL on other processors than ours: one of its processes that shares ours answers in half the time."""
    if sys.platform != "linux":
        yield
        return
    all_of_them = os.sched_getaffinity(0)
    ours, *others = sorted(all_of_them)
    for process in processes.family(server):
        os.sched_setaffinity(process, others or [ours])
    os.sched_setaffinity(0, [ours])
    try:
        yield
    finally:
        os.sched_setaffinity(0, all_of_them)


@asynccontextmanager
async def _server() -> AsyncIterator[tuple[str, int]]:
    """A migrated PostgreSQL with memory, and its process id."""
    with temporary_data_dir() as folder:
        async with embedded_postgres(folder, durable=False, settings=_SETTINGS) as server:
            await migrate(server.dsn)
            yield server.dsn, server.pid


def _sizes() -> tuple[int, ...]:
    asked = int(os.environ.get("SESSIONS") or 0)
    usual = _SIZES[:2] if common.quick() else _SIZES
    return tuple(sorted({*usual, *([asked] if asked else [])}))


def _judged(towns: list[Town]) -> list[Figures]:
    """How much longer each kind of work takes at the largest size that is judged, round by round.

    Compared within a round, since this machine may have been slow for some rounds.
    """
    last = next(t for t in reversed(towns) if t.size <= _JUDGED)
    return [
        {name: large[name] / small[name] for name in small if name != "others"}
        for small, large in zip(towns[0].rounds, last.rounds, strict=True)
    ]


def rows(results: Results) -> list[list[str]]:
    """The table: the times of the second time, and those of the first."""
    lines = [["sessions", *(f"{name} ms" for name in _WORK)]]
    for when in ("", "first "):
        for size, several in results.items():
            found = common.medians(several)
            shown = (found.get(when + name) for name in _WORK)
            lines.append([when + size, *("" if ms is None else f"{ms:.3f}" for ms in shown)])
    return lines


async def run(on: Bench) -> Outcome:
    """All sizes; on a server of its own, which has memory."""
    del on
    towns = await _measured(_sizes(), _QUICK_ROUNDS if common.quick() else _ROUNDS, _CALLS)
    results: Results = {f"{town.size:,}": town.rounds for town in towns}
    results["ratio"] = _judged(towns)
    grown = common.medians(results["ratio"])
    largest = max(town.size for town in towns if town.size <= _JUDGED)
    verdicts = [
        goals.at_most(
            "7 growth", f"{name}, {largest:,} sessions of 10,000", grown[name], MOST, "×", digits=2
        )
        for name in _WORK
    ]
    return Outcome("sizes", rows(results), results, verdicts)


if __name__ == "__main__":
    sys.exit(alone.main(run))

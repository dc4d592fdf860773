"""Sessions read and created over the API, beside a bare handler with the same tokens: `make bench`.

    python -m tests.bench.api          QUICK=1: one short round

Each server has a process of its own, under uvloop, and so has whoever asks: kept-alive connections, of
which each sends its next request when the last was answered. Requests and tokens of fifty members are
written beforehand. PostgreSQL waits for the disk.

bare            aiohttp: verifies the token with PyJWT, reads the body, answers as long a JSON
read            GET of a session, one of a thousand
create          POST of a session, without a message
create, keyed   the same under an Idempotency-Key
say             POST of a session's next message
server, pg, load  CPU for one request: the server's process, PostgreSQL's, and whoever asks
"""

import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal
from uuid import UUID

import jwt
from aiohttp import web

from bot import process
from router.api.auth.origins import Origins
from router.api.auth.principals import Authenticator
from router.api.auth.tokens import Verifier
from router.api.hub import Hub
from router.api.limits import Limits, Strangers
from router.api.serve import Api, Means
from router.runtime.client import Runtime
from store import database, members
from store.database import Connection
from tests.bench import alone, common, goals
from tests.bench.common import Figures, Results
from tests.bench.goals import Outcome
from tests.bench.load import NUMBER, Order
from tests.bench.processes import Server, started
from tests.bench.serving import Bench, Postgres
from tests.store import factories
from tests.store.factories import Ground
from tests.supabase import ISSUER, SECRET, shared

PROMISED = {"read": 0.5, "create": 0.25}
"""Shares of the bare handler's rate."""

_MEMBERS, _SESSIONS = 50, 1_000
_CONNECTIONS = 32
_ROUNDS, _ASKED, _QUICK_ASKED = 3, 2_000, 1_000
_POOL = 10
_ANSWER = {f"field_{n}": "a value of some length" for n in range(17)}
_ENDLESS = 10**9

# $1 agent, $2 workspace, $3 how many
_FILL = """
INSERT INTO agent_sessions (id, deployed_agent_id, workspace_id, source, title)
SELECT gen_random_uuid(), $1, $2, 'dashboard', 'Session ' || n FROM generate_series(1, $3::int) n
RETURNING id
"""


# ------------------------------------------------------------------ the requests


@dataclass(frozen=True, slots=True)
class Case:
    """Requests for one server, what they are answered with, and what they are compared with."""

    server: Literal["ours", "bare"]
    method: str
    path: str
    body: str = ""
    key: str = ""
    wanted: int = 200
    beside: str = ""

    def requests(self, on: Ground, sessions: Sequence[UUID]) -> list[str]:
        """One for each of the sessions, by one member after the other."""
        tokens = [shared(sub=f"member {n}", email=f"m{n}@example.com") for n in range(_MEMBERS)]
        return [
            self._request(on.agent_id, one, tokens[n % _MEMBERS]) for n, one in enumerate(sessions)
        ]

    def _request(self, agent_id: UUID, session_id: UUID, token: str) -> str:
        path = self.path.format(session=session_id)
        lines = [
            f"{self.method} /dashboard/agents/{agent_id}{path} HTTP/1.1",
            "Host: bench",
            f"Authorization: Bearer {token}",
        ]
        if self.key:
            lines.append(f"Idempotency-Key: {self.key}")
        if self.body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(self.body)}"]
        return "\r\n".join([*lines, "", self.body])


_SESSION, _ALL = "/sessions/{session}", "/sessions"
_KEY = NUMBER.decode()
_TITLE, _TEXT = '{"title":"A session of the bench"}', '{"text":"How did the deploy go?"}'
_CASES = {
    "bare read": Case("bare", "GET", _SESSION),
    "read": Case("ours", "GET", _SESSION, beside="bare read"),
    "bare create": Case("bare", "POST", _ALL, _TITLE, wanted=201),
    "create": Case("ours", "POST", _ALL, _TITLE, wanted=201, beside="bare create"),
    "create, keyed": Case("ours", "POST", _ALL, _TITLE, _KEY, 201, "bare create"),
    "say": Case("ours", "POST", f"{_SESSION}/messages", _TEXT, "", 202, "bare create"),
}


# ------------------------------------------------------------------ the servers


async def _bare(request: web.Request) -> web.Response:
    jwt.decode(
        request.headers["Authorization"].removeprefix("Bearer "),
        SECRET,
        algorithms=["HS256"],
        audience="authenticated",
        issuer=ISSUER,
        options={"require": ["exp", "sub", "aud"], "verify_iat": False},
    )
    if request.method == "POST":
        json.loads(await request.read())
        return web.json_response(_ANSWER, status=201)
    return web.json_response(_ANSWER)


async def _serve(dsn: str) -> None:
    """One of the servers, until it is told to end: ours with a database, the bare one without."""
    stop, app = process.stop_on_signals(), web.Application()
    async with AsyncExitStack() as stack:
        if dsn:
            (await _ours(stack, dsn)).mount(app)
        else:
            app.router.add_route("*", "/{rest:.*}", _bare)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        process.ready(port=runner.addresses[0][1])
        await process.until(stop)


async def _ours(stack: AsyncExitStack, dsn: str) -> Api:
    pool = await database.open_pool(dsn, size=_POOL)
    stack.push_async_callback(database.close_pool, pool)
    runtime = Runtime(api_key="none", base_url="http://127.0.0.1:9", max_streams=1)
    stack.push_async_callback(runtime.close)
    origins = Origins.parse(None, None)
    door = Authenticator(pool, Verifier(secret=SECRET, jwks=None, issuer=ISSUER), origins)
    limits = Limits(reads=_ENDLESS, writes=_ENDLESS)
    hub = Hub(pool, runtime)
    return Api(
        Means(pool, runtime, hub, door, origins, limits, lambda _: None, lambda: None, Strangers())
    )


# ------------------------------------------------------------------ what is measured


@dataclass(frozen=True, slots=True)
class Stand:
    """Both servers, the database, and what is asked for."""

    bench: Bench
    postgres: Postgres
    servers: dict[str, Server]
    on: Ground
    sessions: list[UUID]

    async def measure(self, case: Case, count: int) -> Figures:
        """The rate of a case, and the CPU of each request. ValueError where one is answered otherwise."""
        server, generator = self.servers[case.server], self.bench.generator
        given = tuple(case.requests(self.on, self.sessions))
        await generator.prepare(Order(server.url, "given", count, _CONNECTIONS, given=given))
        before = server.cpu_seconds(), self.postgres.cpu_seconds()
        sent = await generator.go()
        if set(sent.statuses) != {str(case.wanted)}:
            raise ValueError(f"{case.server} answered {sent.statuses}")
        each = 1e6 / count
        return {
            "rate": sent.rate,
            "p50_ms": sent.percentiles["p50"],
            "p99_ms": sent.percentiles["p99"],
            "server_us": (server.cpu_seconds() - before[0]) * each,
            "pg_us": (self.postgres.cpu_seconds() - before[1]) * each,
            "load_us": sent.cpu_seconds * each,
        }


@asynccontextmanager
async def _stand(on: Bench) -> AsyncIterator[Stand]:
    async with (
        on.postgres.fresh() as postgres,
        started("tests.bench.api", "serve", "") as bare,
        started("tests.bench.api", "serve", postgres.dsn) as ours,
    ):
        connection = await database.connect(postgres.dsn)
        ground, sessions = await _filled(connection)
        await connection.close()
        yield Stand(on, postgres, {"bare": bare, "ours": ours}, ground, sessions)


async def _filled(connection: Connection) -> tuple[Ground, list[UUID]]:
    on = await factories.ground(connection)
    for n in range(_MEMBERS):
        await members.put_member(connection, on.workspace_id, f"member {n}", "member")
    rows = await connection.fetch(_FILL, on.agent_id, on.workspace_id, _SESSIONS)
    await connection.execute("ANALYZE")
    return on, [row["id"] for row in rows]


async def measure(on: Bench, count: int, rounds: int) -> Results:
    """All cases, round by round."""
    found: Results = {name: [] for name in _CASES}
    async with _stand(on) as here:
        for turn in range(rounds):
            sys.stderr.write(f"round {turn + 1} of {rounds}\n")
            for name, case in _CASES.items():
                seen = await on.undisturbed(partial(here.measure, case, count))
                if case.beside:
                    seen["ratio"] = seen["rate"] / found[case.beside][turn]["rate"]
                found[name].append(seen)
    return found


def _row(name: str, found: Figures) -> list[str]:
    ratio = f"{found['ratio']:.2f}" if "ratio" in found else ""
    times = [f"{found[each]:.1f}" for each in ("p50_ms", "p99_ms")]
    cpu = [f"{found[each]:.0f}" for each in ("server_us", "pg_us", "load_us")]
    return [name, f"{found['rate']:.0f}", ratio, *times, *cpu, f"{found['others']:.1f}"]


async def run(on: Bench) -> Outcome:
    """All of it."""
    count, rounds = (_QUICK_ASKED, 1) if common.quick() else (_ASKED, _ROUNDS)
    found = await measure(on, count, rounds)
    seen = {name: common.medians(found[name]) for name in _CASES}
    heading = ["case", "a second", "of bare", "p50 ms", "p99 ms"]
    rows = [[*heading, "server µs", "pg µs", "load µs", "others"]]
    rows += [_row(*one) for one in seen.items()]
    verdicts = [
        goals.at_least(
            "the API", f"{name}, of a bare handler", seen[name]["ratio"], least, digits=2
        )
        for name, least in PROMISED.items()
    ]
    return Outcome("api", rows, found, verdicts)


def main() -> int:
    """The command, or one of its servers."""
    if sys.argv[1:2] != ["serve"]:
        return alone.main(run)
    common.quieten()
    process.run(_serve(sys.argv[2]))
    return 0


if __name__ == "__main__":
    sys.exit(main())

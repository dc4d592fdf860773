"""PostgreSQL goes away, loses connections or fails over under load: nothing lost, nothing twice."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from router.loops import Stop, wait_for
from router.turns import worker
from store import database
from store.leases import Ready
from store.migrate import migrate
from tests.chaos.load import Load, load
from tests.chaos.processes import Fleet, serving
from tests.chaos.servers import either, server, stalled, standby_of
from tests.store.lines import line_to
from tests.support import eventually

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]


@pytest.mark.parametrize(
    "how",
    [pytest.param(signal.SIGINT, marks=pytest.mark.long), signal.SIGQUIT],
    ids=["fast", "immediate"],
)
async def test_restarted_under_load(tmp_path: Path, how: signal.Signals):
    async with server() as postgres:
        await migrate(postgres.dsn)
        async with load(postgres.dsn, tmp_path) as under:
            await postgres.stop(how)
            await under.is_refused(5)
            await postgres.start()
            under.fleet.here.connection = await database.connect(postgres.dsn)


async def test_backends_are_terminated_at_random(dsn: str, tmp_path: Path):
    async with load(dsn, tmp_path) as under, terminating(dsn, under) as ended:
        await eventually(lambda: len(ended) > 100, 30, "backends terminated")
        await under.accepted(10)


@asynccontextmanager
async def terminating(dsn: str, under: Load) -> AsyncIterator[list[int]]:
    """Every few milliseconds one backend of the replicas ends, whatever it is doing."""
    ended: list[int] = []
    over = asyncio.Event()
    own = under.fleet.here.connection.get_server_pid()

    async def terminate() -> None:
        connection = await asyncpg.connect(dsn)
        while not await wait_for(over, random.uniform(0.005, 0.02)):
            ended.extend(row["pid"] for row in await connection.fetch(_TERMINATE, own))
        await connection.close()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(terminate())
        try:
            yield ended
        finally:
            over.set()


_TERMINATE = """
SELECT pid, pg_terminate_backend(pid) FROM (
    SELECT pid FROM pg_stat_activity
    WHERE application_name LIKE 'threadline%' AND datname = current_database() AND pid <> $1
    ORDER BY random() LIMIT 1
) one
"""


async def test_connections_are_cut_again_and_again(dsn: str, tmp_path: Path):
    async with line_to(dsn) as line, load(dsn, tmp_path, through=line.dsn) as under:
        for _ in range(10):
            line.cut()
            await under.accepted(1)


@pytest.mark.long
async def test_connections_that_carry_nothing_any_more(dsn: str, tmp_path: Path):
    async with line_to(dsn) as line, load(dsn, tmp_path, through=line.dsn) as under:
        with line.silent():
            await under.is_refused(30)
        await under.accepted(10)
        line.go_dead()
        await under.is_refused(1)


async def test_every_connection_waits_for_a_lock(dsn: str, tmp_path: Path):
    async with load(dsn, tmp_path) as under, AsyncExitStack() as locks:
        # Each by a connection of its own, since who holds one and waits for another may deadlock.
        for table in ("slack_threads", "oauth_installs", "agent_sessions"):
            connection = await asyncpg.connect(dsn)
            locks.push_async_callback(connection.close)
            await locks.enter_async_context(connection.transaction())
            await connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        await under.is_refused(30)


async def test_the_server_has_no_connection_left(tmp_path: Path):
    async with server() as postgres:
        await migrate(postgres.dsn)
        async with load(postgres.dsn, tmp_path) as under, AsyncExitStack() as taken:
            own = under.fleet.here.connection.get_server_pid()
            before = len(under.refused)
            while len(under.refused) < before + 30:
                try:
                    connection = await asyncpg.connect(postgres.dsn)
                except asyncpg.TooManyConnectionsError:
                    await under.fleet.here.connection.fetch(_TERMINATE, own)
                else:
                    taken.push_async_callback(connection.close)


async def test_failed_over_to_a_synchronous_standby(tmp_path: Path):
    async with server() as primary:
        await migrate(primary.dsn)
        async with (
            standby_of(primary) as standby,
            load(primary.dsn, tmp_path, through=either(primary, standby)) as under,
        ):
            with stalled(standby.pid):
                # What the standby does not have yet Slack must not be told that we have.
                await under.is_refused(20)
                await primary.stop(signal.SIGKILL)
            await under.is_refused(5)
            await standby.execute("SELECT pg_promote()")
            under.fleet.here.connection = await database.connect(standby.dsn)


async def test_who_listens_on_a_line_that_went_dead_hears_again(dsn: str, monkeypatch):
    monkeypatch.setattr(worker, "_ASK_SECONDS", 0.1)
    heard: list[Ready] = []
    stop = Stop()
    async with line_to(dsn) as line, asyncio.TaskGroup() as tasks:
        tasks.create_task(worker.Wakes(line.dsn, heard.extend).run(stop))
        teller = worker.Wakes(dsn, lambda _: None)
        tasks.create_task(teller.run(stop))

        async def hears() -> bool:
            teller.tell([Ready(UUID(int=1), UUID(int=len(heard)))])
            return Ready(UUID(int=1), UUID(int=0)) in heard

        await eventually(hears)
        line.go_dead()
        heard.clear()
        await eventually(hears)
        stop.say()


async def test_told_to_stop_while_the_database_is_silent(fleet: Fleet):
    here = fleet.here
    async with line_to(here.dsn) as line:
        process = await fleet.serve(DATABASE_URL=line.dsn)
        here.runtime.hold()
        asked = await here.slack.say("ada", here.slack.dm("ada"), "hello")
        await eventually(here.runtime.held)
        with line.silent():
            await here.slack.say("ada", here.slack.dm("ada"), "and more")
            process.signal(signal.SIGTERM)
            assert await process.ended() == 0
        await fleet.serve()
        here.runtime.release()
        assert await here.answers(asked.channel, asked.ts, 1, timeout=30)


async def test_the_doctor_warns_where_a_crash_would_lose_what_slack_was_told_we_have(fleet: Fleet):
    async def says() -> dict[str, str]:
        result = await fleet.processes.run("doctor", "--json", **serving(fleet.here))
        (found,) = [row for row in result.json() if row["check"] == "database"]
        return dict(found)

    (name,) = (await fleet.here.row("SELECT current_database()")).values()
    for value, state in {"on": "ok", "off": "warning", "remote_apply": "ok"}.items():
        await fleet.here.connection.execute(
            f"ALTER DATABASE {name} SET synchronous_commit = {value}"
        )
        found = await says()
        assert (found["state"], "synchronous_commit" in found["says"]) == (state, value == "off")

"""What an idle reader of a session's stream costs in memory: `make bench`, half a minute.

    python -m tests.bench.sse

One process serves the stream and nothing else; readers connect, are told a short history, and wait. Its
resident memory is read from /proc before and after. QUICK=1: 200 readers.

one session    all read the same session, so that what is counted is what each reader adds
each its own   every fifth reader has a session of its own, with an upstream and a history
kB             resident memory of the process for each reader; the limit is 40 kB
"""

import asyncio
import json
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit
from uuid import UUID

from router.runtime.client import Runtime
from store import database
from tests.bench import alone, common, goals
from tests.bench.common import Figures
from tests.bench.goals import Outcome
from tests.bench.processes import answering, heard, resident_kb
from tests.bench.serving import Bench
from tests.flows.watching import Stage, serving, stage
from tests.store.factories import Ground
from tests.support import eventually

LIMIT_KB = 40.0
_READERS, _QUICK_READERS = 500, 200
_SHARE = 5
_CASES = {"one session": 1, "each its own": _SHARE}
_TURNS = 5
_END = b'"session.status_idle"'


async def _serve(dsn: str, runtime_url: str, on: Ground) -> None:
    """The process that is measured: says where it listens, and ends when nobody listens to it."""
    pool = await database.open_pool(dsn, size=6)
    client = Runtime(api_key="local", base_url=runtime_url, max_streams=500)
    async with serving(pool, client, on) as replica:
        sys.stdout.write(f"{json.dumps({'url': replica.url})}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
    await client.close()
    await database.close_pool(pool)


@asynccontextmanager
async def _process(here: Stage, dsn: str) -> AsyncIterator[tuple[int, str]]:
    """The process's id and address."""
    on = [str(here.on.workspace_id), str(here.on.agent_id), str(here.on.install_id)]
    arguments = json.dumps([dsn, here.runtime.url, *on])
    async with answering("tests.bench.sse", arguments) as process:
        yield process.pid, (await heard(process))["url"]


async def _read(url: str, session_id: UUID) -> tuple[StreamReader, StreamWriter]:
    """A reader that has its history and waits."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(f"GET /sessions/{session_id}/stream HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    for _ in range(_TURNS):
        await reader.readuntil(_END)
    return reader, writer


async def _sessions(here: Stage, count: int) -> list[UUID]:
    """So many sessions with a short history each."""
    made = []
    for _ in range(count):
        here.runtime_id = await here.runtime_session()
        for number in range(_TURNS):
            await here.say(f"hello {number}")
            await eventually(here.rests)
        row = await here.new_session(anthropic_session_id=here.runtime_id)
        made.append(row["id"])
    return made


async def measure(on: Bench, share: int) -> Figures:
    """What `_READERS` readers cost, `share` of them to a session, or all to one if it is 1."""
    count = _QUICK_READERS if common.quick() else _READERS
    async with AsyncExitStack() as stack:
        dsn = (await stack.enter_async_context(on.postgres.fresh())).dsn
        here = await stack.enter_async_context(stage(dsn))
        sessions = await _sessions(here, 1 if share == 1 else count // share)
        pid, url = await stack.enter_async_context(_process(here, dsn))
        readers = [await _read(url, session_id) for session_id in sessions[:1]]
        before = resident_kb(pid)
        readers += [await _read(url, sessions[n % len(sessions)]) for n in range(count)]
        await asyncio.sleep(1)  # what was freed is free
        after = resident_kb(pid)
        upstreams = here.runtime.streams()
        for _, writer in readers:
            writer.close()
    return {"readers": count, "upstreams": upstreams, "kb": (after - before) / count}


async def run(on: Bench) -> Outcome:
    """Both cases."""
    found = {name: [await measure(on, share)] for name, share in _CASES.items()}
    rows = [["readers of", "readers", "upstreams", "kB each"]]
    rows += [
        [name, f"{one['readers']:.0f}", f"{one['upstreams']:.0f}", f"{one['kb']:.1f}"]
        for name, [one] in found.items()
    ]
    each = found["one session"][0]["kb"]
    verdict = goals.at_most("the API", "an idle reader of a stream", each, LIMIT_KB, "kB", digits=1)
    return Outcome("sse", rows, found, [verdict])


def main() -> int:
    """The command, or the process that is measured."""
    if len(sys.argv) == 1:
        return alone.main(run)
    dsn, runtime_url, workspace, agent, install = json.loads(sys.argv[1])
    on = Ground(UUID(workspace), UUID(agent), UUID(install))
    asyncio.run(_serve(dsn, runtime_url, on))
    return 0


if __name__ == "__main__":
    sys.exit(main())

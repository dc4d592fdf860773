"""What an idle reader of a session's stream costs in memory: `python -m tests.bench.sse`.

One process serves the stream and nothing else; readers connect, are told a short history, and wait. Its
resident memory is read from /proc before and after. QUICK=1 takes a fifth of the readers.

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
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

from router.runtime.client import Runtime
from store import database
from tests.bench import common
from tests.bench.common import Figures
from tests.flows.watching import Stage, serving, stage
from tests.store.factories import Ground
from tests.support import eventually

LIMIT_KB = 40.0
_READERS = 1_000
_SHARE = 5
_CASES = {"one session": 1, "each its own": _SHARE}
_TURNS = 5
_END = b'"session.status_idle"'


async def _serve(dsn: str, runtime_url: str, on: Ground) -> None:
    """The process that is measured: says where it listens, and ends when nobody listens to it."""
    pool = await database.open_pool(dsn, size=6)
    client = Runtime(api_key="local", base_url=runtime_url, max_streams=500)
    async with serving(pool, client, on) as replica:
        sys.stdout.write(f"{replica.url}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)
    await client.close()
    await database.close_pool(pool)


@asynccontextmanager
async def _process(here: Stage, dsn: str) -> AsyncIterator[tuple[int, str]]:
    """The process's id and address."""
    on = [str(here.on.workspace_id), str(here.on.agent_id), str(here.on.install_id)]
    arguments = json.dumps([dsn, here.runtime.url, *on])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.bench.sse", arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin
    assert process.stdout
    try:
        yield process.pid, (await process.stdout.readline()).decode().strip()
    finally:
        process.stdin.close()
        await process.wait()


def _resident_kb(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1])


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


async def measure(share: int) -> Figures:
    """What `_READERS` readers cost, `share` of them to a session, or all to one if it is 1."""
    count = _READERS // 5 if common.quick() else _READERS
    async with common.database() as dsn, stage(dsn) as here, AsyncExitStack() as stack:
        sessions = await _sessions(here, 1 if share == 1 else count // share)
        pid, url = await stack.enter_async_context(_process(here, dsn))
        readers = [await _read(url, session_id) for session_id in sessions[:1]]
        before = _resident_kb(pid)
        readers += [await _read(url, sessions[n % len(sessions)]) for n in range(count)]
        await asyncio.sleep(1)  # what was freed is free
        after = _resident_kb(pid)
        upstreams = here.runtime.streams()
        for _, writer in readers:
            writer.close()
    return {"readers": count, "upstreams": upstreams, "kb": (after - before) / count}


def main() -> int:
    """Prints the table; 1 where a reader costs more than it may."""
    if len(sys.argv) > 1:
        dsn, runtime_url, workspace, agent, install = json.loads(sys.argv[1])
        on = Ground(UUID(workspace), UUID(agent), UUID(install))
        asyncio.run(_serve(dsn, runtime_url, on))
        return 0
    common.quieten()
    found = {name: [asyncio.run(measure(share))] for name, share in _CASES.items()}
    rows = [["readers of", "readers", "upstreams", "kB each"]]
    rows += [
        [name, f"{one['readers']:.0f}", f"{one['upstreams']:.0f}", f"{one['kb']:.1f}"]
        for name, [one] in found.items()
    ]
    common.report("sse", rows, found)
    return 1 if found["one session"][0]["kb"] > LIMIT_KB else 0


if __name__ == "__main__":
    sys.exit(main())

"""What a `serve` process holds while PostgreSQL is down: `make bench`, ten minutes.

A hundred signed events a second, each in a thread of its own, come to one process whose database is
stopped; each is answered with 503. Its resident memory is read each minute, from /proc, after a warm-up
that fills caches and pools. MINUTES=1 makes it shorter, as does QUICK=1.

MB      resident memory at the end of the minute
growth  since the end of the warm-up; the limit is 50 MB in ten minutes
refused how many events were answered with 503, of how many that were sent
p99     milliseconds to the answer
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import aiohttp

from store.migrate import migrate
from tests.bench import common
from tests.bench.common import Figures
from tests.bench.processes import resident_kb
from tests.chaos.processes import Fleet, Process, processes
from tests.chaos.servers import server, stalled
from tests.harness import World, world

PER_SECOND = 100
LIMIT_MB = 50.0
_MINUTES = 10.0
_QUICK_MINUTES = 0.5
_WARM_UP_SECONDS = 10.0
_TURN_SECONDS = 0.1


@dataclass
class Flood:
    """Events without end, and how each was answered."""

    here: World
    process: Process
    statuses: list[int] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    async def pour(self, seconds: float, per_second: int = PER_SECOND) -> None:
        """So many events for so long, on time however late the answers are."""
        self.statuses.clear()
        self.waited.clear()
        begun = time.monotonic()
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
            asyncio.TaskGroup() as tasks,
        ):
            for sent in range(round(seconds * per_second)):
                tasks.create_task(self._post(http))
                ahead = sent / per_second - (time.monotonic() - begun)
                if ahead > _TURN_SECONDS:
                    await asyncio.sleep(ahead)

    async def _post(self, http: aiohttp.ClientSession) -> None:
        body = json.dumps(_event(self.here, next(self._numbers)))
        begun = time.monotonic()
        headers = self.here.slack.sign(body)
        async with http.post(
            f"{self.process.url}/slack/events", data=body, headers=headers
        ) as response:
            self.statuses.append(response.status)
        self.waited.append(time.monotonic() - begun)

    def resident_mb(self) -> float:
        """The process's memory now."""
        return resident_kb(self.process.pid) / 1024


def _event(here: World, number: int) -> dict[str, object]:
    """A direct message that opens a thread."""
    ts = f"{int(time.time())}.{number:06}"
    event = {
        "type": "message",
        "channel": here.slack.dm("ada"),
        "channel_type": "im",
        "user": "U0ADA",
        "text": f"message {number} " + "of some length " * 400,
        "ts": ts,
        "event_ts": ts,
    }
    return {
        "type": "event_callback",
        "event_id": f"Ev{number:010}",
        "event_time": int(time.time()),
        "team_id": here.slack.team_id,
        "api_app_id": here.slack.api_app_id,
        "event": event,
    }


@asynccontextmanager
async def flooded(folder: Path, *, silent: bool = False) -> AsyncIterator[Flood]:
    """A `serve` process that has worked and has lost its database, which is down or just silent."""
    async with server() as postgres, AsyncExitStack() as stack:
        await migrate(postgres.dsn)
        here = await stack.enter_async_context(world(postgres.dsn))
        fleet = Fleet(here, await stack.enter_async_context(processes(folder)))
        process = await fleet.serve()
        asked = await here.slack.say("ada", here.slack.dm("ada"), "hello")
        await here.answers(asked.channel, asked.ts, 1)
        if silent:
            stack.enter_context(stalled(postgres.pid))
        else:
            await postgres.stop()
        yield Flood(here, process)


async def measure(minutes: float) -> list[Figures]:
    """The figures of each minute, or of what there is of it."""
    found: list[Figures] = []
    with tempfile.TemporaryDirectory() as folder:
        async with flooded(Path(folder)) as flood:
            await flood.pour(_WARM_UP_SECONDS)
            first = flood.resident_mb()
            while (left := minutes - len(found)) > 0:
                await flood.pour(min(1.0, left) * 60)
                now = flood.resident_mb()
                found.append(_figures(flood, now, now - first))
    return found


def _figures(flood: Flood, now: float, growth: float) -> Figures:
    return {
        "mb": now,
        "growth_mb": growth,
        "sent": len(flood.statuses),
        "refused": flood.statuses.count(503),
        "p99_ms": common.percentile(flood.waited, 0.99) * 1000,
    }


def _row(minute: int, figures: Figures) -> list[str]:
    return [
        str(minute),
        f"{figures['mb']:.1f}",
        f"{figures['growth_mb']:+.1f}",
        f"{figures['refused']:.0f} of {figures['sent']:.0f}",
        f"{figures['p99_ms']:.1f}",
    ]


def main() -> int:
    """Prints the table; 1 where the limit is passed."""
    common.quieten()
    usual = _QUICK_MINUTES if common.quick() else _MINUTES
    minutes = float(os.environ.get("MINUTES") or usual)
    sys.stderr.write(f"{PER_SECOND} events a second for {minutes:g} minutes, no database\n")
    found = asyncio.run(measure(minutes))
    rows = [["minute", "MB", "growth", "refused", "p99 ms"]]
    rows += [_row(n, figures) for n, figures in enumerate(found, 1)]
    common.report("memory", rows, {f"minute {n}": [one] for n, one in enumerate(found, 1)})
    return 1 if found[-1]["growth_mb"] > LIMIT_MB else 0


if __name__ == "__main__":
    sys.exit(main())

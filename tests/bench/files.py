"""What a `serve` process holds while ten files of 20 MB pass through it: `make bench`, a minute.

Each file comes with a message in a thread of its own; it is read from the local Slack and sent on to
the local runtime, which run beside it. The peak of resident memory is the kernel's (VmHWM, started anew
before each case), after a small file has gone first, which fills pools and opens connections.

at a time  how many messages are sent before the first of them is answered
MB         resident memory before the case, and its peak
more       the difference; the limit is 100 MB
s          from the first message to the last answer
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from router.files.kinds import FILE_BYTES
from tests.bench import alone, common, goals
from tests.bench.common import Figures
from tests.bench.goals import Outcome
from tests.bench.serving import Bench
from tests.chaos.processes import Fleet, Process, processes
from tests.harness import World, world
from tests.support import eventually

LIMIT_MB = 100.0
FILES = 10
_CASES = {"one": 1, "two": 2, "ten": 10}
_PATIENCE = 120.0


@dataclass(frozen=True, slots=True)
class Passage:
    """A process, and the world that files pass through it."""

    here: World
    process: Process

    async def share(self, content: bytes) -> None:
        """One file, until its message is answered."""
        here, dm = self.here, self.here.slack.dm("ada")
        file = await here.slack.upload("ada", "large.bin", content)
        asked = await here.slack.say("ada", dm, "look", file_ids=[file])
        await eventually(lambda: here.bot_posts(dm, asked.ts), _PATIENCE, "an answer")

    async def all(self, content: bytes, at_a_time: int) -> Figures:
        """Ten files, so many at once."""
        before, begun = self._mb("VmRSS"), time.monotonic()
        self._forget_the_peak()
        left = [content] * FILES

        async def one_by_one() -> None:
            while left:
                await self.share(left.pop())

        async with asyncio.TaskGroup() as tasks:
            for _ in range(at_a_time):
                tasks.create_task(one_by_one())
        arrived = [f for f in self.here.runtime.files() if f["size_bytes"] == len(content)]
        assert len(arrived) >= FILES, len(arrived)
        peak = self._mb("VmHWM")
        took = time.monotonic() - begun
        return {"before": before, "peak": peak, "more": peak - before, "seconds": took}

    def _forget_the_peak(self) -> None:
        """proc(5): this resets VmHWM."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def _mb(self, name: str) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith(f"{name}:")]
        return int(line.split()[1]) / 1024


@asynccontextmanager
async def passage(on: Bench, folder: Path) -> AsyncIterator[Passage]:
    """A process that has carried a file before."""
    async with AsyncExitStack() as stack:
        dsn = (await stack.enter_async_context(on.postgres.fresh())).dsn
        here = await stack.enter_async_context(world(dsn))
        fleet = Fleet(here, await stack.enter_async_context(processes(folder)))
        made = Passage(here, await fleet.serve(THREADLINE_LEASE_SECONDS="15"))
        await made.share(b"\0" * 100_000)
        yield made


async def _measure(on: Bench, at_a_time: int) -> Figures:
    with tempfile.TemporaryDirectory() as folder:
        async with passage(on, Path(folder)) as made:
            return await made.all(b"\0" * FILE_BYTES, at_a_time)


async def run(on: Bench) -> Outcome:
    """All cases, or the heaviest alone."""
    cases = {"ten": 10} if common.quick() else _CASES
    found = {name: [await _measure(on, at_a_time)] for name, at_a_time in cases.items()}
    rows = [["at a time", "MB before", "peak", "more", "s"]]
    for name, [one] in found.items():
        figures = [one["before"], one["peak"], one["more"], one["seconds"]]
        rows.append([name, *(f"{figure:.1f}" for figure in figures)])
    most = max(one["more"] for [one] in found.values())
    verdict = goals.at_most("files", "more memory while ten of 20 MB pass", most, LIMIT_MB, "MB")
    return Outcome("files", rows, found, [verdict])


if __name__ == "__main__":
    sys.exit(alone.main(run))

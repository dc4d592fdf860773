"""How long a thousand live turns are alone when their replica is killed: `make bench`, in minutes.

One `serve` process holds all turns, which stand still at the local runtime with the platform's limits
on. It is killed by SIGKILL, and another takes over: lease, claim, stream opened, history listed. All
waits are those of `serve` as it comes.

limit    what the reads alone take at 1,200 a minute
budget   what they take at our pace, which leaves some of the limit unused
lease    from the kill until the first turn has another holder
took     from the kill until every turn has its stream and its history
MB       resident memory of the process that held them, from /proc
"""

import asyncio
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from router.runtime.budget import _LIMITS, Need
from router.runtime.local import Fault, FaultKind, LocalRuntime
from tests.bench import common
from tests.bench.common import Figures
from tests.bench.processes import resident_kb
from tests.chaos.processes import Fleet, Process, processes
from tests.harness import World, world
from tests.support import eventually

_READS_A_MINUTE = 1200
_READS_EACH = 2
_THREADS_A_CHANNEL = 5
_PATIENCE_SECONDS = 600.0
_COLUMNS = {
    "turns": "turns",
    "held_mb": "MB",
    "limit_s": "limit s",
    "budget_s": "budget s",
    "lease_s": "lease s",
    "took_s": "took s",
    "reads": "reads",
    "limited": "429",
    "failed": "failed",
}


def _listen(here: World) -> set[str]:
    """The sessions of which the history is listed from now on."""
    listed: set[str] = set()
    board = here.runtime.world.faults

    class Tap:
        """Passes everything on."""

        def take(self, kind: FaultKind, *, route: str = "*", **where: Any) -> Fault | None:
            if route == "events.list":
                listed.add(str(where["session_id"]))
            return board.take(kind, route=route, **where)

    here.runtime.world.faults = Tap()  # type: ignore[assignment]  # a tap, not a stand-in
    return listed


async def measure(turns: int) -> Figures:
    """One kill, with that many turns in flight."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        dsn = await stack.enter_async_context(common.database())
        data = folder / "runtime.sqlite"
        here = await stack.enter_async_context(world(dsn, runtime_data=data))
        await here.runtime.__aexit__(None, None, None)
        here.runtime = await LocalRuntime(data=data, limits=True).__aenter__()
        fleet = Fleet(here, await stack.enter_async_context(processes(folder)))
        return await _kill(fleet, turns)


async def _kill(fleet: Fleet, turns: int) -> Figures:
    here = fleet.here
    first = await _serve(fleet)
    await _hold(here, turns)
    held_mb = resident_kb(first.pid) / 1024
    await _serve(fleet)
    listed = _listen(here)
    reads = _reads(here)
    killed_at = time.monotonic()
    await first.kill()
    await eventually(lambda: _taken_over(here), _PATIENCE_SECONDS)
    lease = time.monotonic() - killed_at
    await eventually(lambda: here.runtime.streams() == len(listed) == turns, _PATIENCE_SECONDS)
    took, reads = time.monotonic() - killed_at, _reads(here) - reads
    here.runtime.release()
    await here.at_rest(_PATIENCE_SECONDS)
    pace = _LIMITS["read"]
    at_once = pace.ahead(Need.RECOVERY)
    return {
        "turns": turns,
        "held_mb": held_mb,
        "limit_s": turns * _READS_EACH / _READS_A_MINUTE * 60,
        "budget_s": max(0.0, (turns * _READS_EACH * pace.each - at_once).total_seconds()),
        "lease_s": lease,
        "took_s": took,
        "reads": reads,
        "limited": here.runtime.limited(),
        "failed": turns - await _answered(here),
    }


async def _serve(fleet: Fleet) -> Process:
    return await fleet.serve(THREADLINE_LEASE_SECONDS="15", THREADLINE_SWEEP_SECONDS="1")


async def _hold(here: World, turns: int) -> None:
    """That many turns in flight, in threads of their own."""
    here.runtime.hold()
    count = turns // _THREADS_A_CHANNEL
    places = [here.slack.add_channel(f"place-{n}", ["ada"]) for n in range(count)]
    for n in range(turns):
        await here.slack.say("ada", places[n % count], f"@threadline message {n}")
    await eventually(lambda: len(here.runtime.held()) == turns, _PATIENCE_SECONDS)
    await eventually(lambda: here.runtime.streams() == turns, _PATIENCE_SECONDS)


async def _taken_over(here: World) -> bool:
    row = await here.row("SELECT count(*) FROM agent_sessions WHERE lease_epoch > 1")
    return bool(row["count"])


def _reads(here: World) -> int:
    return sum(here.runtime.requests(route) for route in ("events.list", "events.stream"))


async def _answered(here: World) -> int:
    """Turns that ended well and whose thread has one answer."""
    rows = await here.rows(
        "SELECT s.slack_channel_id AS channel, s.slack_thread_ts AS ts FROM agent_turns t"
        " JOIN agent_sessions s ON s.id = t.session_id WHERE t.state = 'completed'"
    )
    return sum(len(here.bot_posts(row["channel"], row["ts"])) == 1 for row in rows)


def _row(figures: Figures) -> list[str]:
    return [f"{figures[name]:.0f}" for name in _COLUMNS]


def main() -> None:
    """Prints the table; QUICK=1 with 100 turns instead of 1,000."""
    common.quieten()
    turns = 100 if common.quick() else 1000
    sys.stderr.write(f"{turns} turns, then a kill\n")
    figures = asyncio.run(measure(turns))
    common.report(
        "reattach", [list(_COLUMNS.values()), _row(figures)], {f"{turns} turns": [figures]}
    )


if __name__ == "__main__":
    main()

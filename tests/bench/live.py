"""What one replica holds: turns whose answers are being written: `make bench`, a minute.

    python -m tests.bench.live          QUICK=1: 300 turns instead of 1,000; FULL=1: also 5 and 10 a second, and 3,000

So many turns stream, each so many events a second, arrivals spread; their threads are in fifty workspaces, so
that Slack's limits let some of the answers be shown as they grow. Then somebody stops one of them.

MB        resident memory of the replica with all of them, from /proc; kB each: over that with none
lag       how late the replica's loop is, median and 99th percentile
CPU       how much of a core: replicas, postgres, runtime, slack, and what else the machine did
          (lag and CPU are the medians of three measurements, one after the other)
calls     to Slack, a second
stop      from the click's 200 until the interrupt is at the runtime
"""

import asyncio
import sys
import time
from dataclasses import dataclass
from functools import partial

from tests.bench import alone, common, goals
from tests.bench.common import Figures, Results
from tests.bench.goals import Outcome, Verdict
from tests.bench.lean_slack import Talk
from tests.bench.serving import Bench
from tests.bench.town import CPU, Replica, Town, cpu, replicas, town

_WORKSPACES = 50
_ROUNDS, _SECONDS, _QUICK_SECONDS = 3, 4.0, 2.0
_SETTLE_SECONDS = 2.0
_PATIENCE_SECONDS = 300.0
_GOAL_MB, _GOAL_LAG_MS = 500.0, 60.0


@dataclass(frozen=True, slots=True)
class Case:
    """So many turns, and so many events a second and turn."""

    turns: int
    per_second: float

    @property
    def name(self) -> str:
        """The case in words."""
        return f"{self.turns:,} at {self.per_second:g}/s"


_CASES = [Case(100, 1), Case(1000, 1)]
_QUICK = [Case(100, 1), Case(300, 1)]
_FULL = [*_CASES, Case(1000, 5), Case(1000, 10), Case(3000, 1)]


async def measure(on: Bench, case: Case, seconds: float) -> Figures:
    """One case, in a town of its own."""
    async with town(on, _WORKSPACES) as here, replicas(here, 1, threadline_live_turns=4000) as made:
        (replica,) = made
        await here.talk(Talk(urls=here.urls, threads=20, messages=2, workspaces=_WORKSPACES))
        empty = replica.resident_mb()
        await here.ask(here.runtime, "mode", {"words_a_second": case.per_second})
        begun = time.monotonic()
        await _all_streaming(here, case)
        began = time.monotonic() - begun
        await asyncio.sleep(_SETTLE_SECONDS)
        take = partial(_watch, here, replica, seconds)
        seen = common.medians([await on.undisturbed(take) for _ in range(_ROUNDS)])
        full = replica.resident_mb()
        stop = await _stopped(here)
        await here.ask(here.runtime, "end")
        return seen | {
            "began_s": began,
            "mb": full,
            "kb_each": (full - empty) * 1024 / case.turns,
            "stop_ms": stop * 1000,
        }


async def _watch(here: Town, replica: Replica, seconds: float) -> Figures:
    """What the replica does for a while."""
    await replica.late()
    here.mark()
    calls = await _calls(here)
    await asyncio.sleep(seconds)
    late, shares = await replica.late(), here.shares()
    return {
        "lag_ms": late["p50"],
        "lag_p99_ms": late["p99"],
        "lag_max_ms": late["max"],
        "live": late["live"],
        "calls": (await _calls(here) - calls) / seconds,
        **{f"cpu_{name}": share for name, share in shares.items()},
    }


async def _all_streaming(here: Town, case: Case) -> None:
    """Lets all of them begin."""
    talk = Talk(
        urls=here.urls,
        threads=case.turns,
        messages=1,
        workspaces=_WORKSPACES,
        answered=False,
    )
    await here.talk(talk)
    over = time.monotonic() + _PATIENCE_SECONDS
    while (begun := (await here.ask(here.runtime, "state"))["saying"]) < case.turns:
        if time.monotonic() > over:
            raise TimeoutError(f"{begun} of {case.turns} turns have begun")
        await asyncio.sleep(0.2)


async def _calls(here: Town) -> float:
    return float(sum((await here.ask(here.slack, "state"))["calls"].values()))


async def _stopped(here: Town) -> float:
    """How long a stop takes to the runtime."""
    await here.ask(here.runtime, "times")
    pressed: float = (await here.ask(here.slack, "stop"))["at"]
    over = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < over:
        heard = (await here.ask(here.runtime, "heard"))["heard"]
        found = [
            at
            for events in heard.values()
            for what, at, more in events
            if what == "send" and more[0] == "user.interrupt"
        ]
        if found:
            return float(found[0]) - pressed
        await asyncio.sleep(0.05)
    raise TimeoutError("the stop did not get out")


def _row(case: Case, seen: Figures) -> list[str]:
    return [
        case.name,
        f"{seen['mb']:.0f}",
        f"{seen['kb_each']:.0f}",
        f"{seen['lag_ms']:.1f}",
        f"{seen['lag_p99_ms']:.1f}",
        f"{seen['calls']:.0f}",
        f"{seen['stop_ms']:.0f}",
        f"{seen['began_s']:.1f}",
        cpu(seen),
    ]


def judged(case: Case, seen: Figures) -> list[Verdict]:
    """The figures of a case beside the goals, which are those of 1,000 turns."""
    where, held = f"6 {case.turns:,} live turns", float(case.turns)
    return [
        goals.at_least(where, "held by one replica", seen["live"], held),
        goals.at_most(where, "memory", seen["mb"], _GOAL_MB, "MB"),
        goals.at_most(where, "loop lag p99", seen["lag_p99_ms"], _GOAL_LAG_MS, "ms"),
    ]


async def run(on: Bench) -> Outcome:
    """All cases."""
    seconds = _QUICK_SECONDS if common.quick() else _SECONDS
    cases = _FULL if common.full() else _QUICK if common.quick() else _CASES
    found: Results = {}
    for case in cases:
        sys.stderr.write(f"{case.name}\n")
        found[case.name] = [await measure(on, case, seconds)]
    rows = [["turns", "MB", "kB each", "lag ms", "p99", "calls/s", "stop ms", "began s", CPU]]
    rows += [_row(case, found[case.name][0]) for case in cases]
    return Outcome("live", rows, found, judged(cases[1], found[cases[1].name][0]))


if __name__ == "__main__":
    sys.exit(alone.main(run))

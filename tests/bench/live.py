"""What one replica holds: turns whose answers are being written: `make bench`, two minutes.

    python -m tests.bench.live          QUICK=1: fewer and shorter

So many turns stream, each so many events a second, arrivals spread; their threads are in fifty workspaces, so
that Slack's limits let some of the answers be shown as they grow. Then somebody stops one of them.

MB        resident memory of the replica with all of them, from /proc; kB each: over that with none
lag       how late the replica's loop is, median and 99th percentile
CPU       how much of a core: replicas, postgres, runtime, slack, and what else the machine did
calls     to Slack, a second
stop      from the click's 200 until the interrupt is at the runtime
"""

import asyncio
import sys
import time
from dataclasses import dataclass

from tests.bench import common
from tests.bench.common import Figures, Results
from tests.bench.lean_slack import Talk
from tests.bench.town import Town, replicas, town

_WORKSPACES = 50
_SECONDS, _QUICK_SECONDS = 12.0, 5.0
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


_CASES = [Case(100, 1), Case(1000, 1), Case(1000, 5), Case(1000, 10), Case(3000, 1)]
_QUICK = [Case(100, 1), Case(1000, 1)]


async def measure(case: Case, seconds: float) -> Figures:
    """One case, in a town of its own."""
    async with town(_WORKSPACES) as here, replicas(here, 1, threadline_live_turns=4000) as made:
        (replica,) = made
        await here.talk(Talk(urls=here.urls, threads=20, messages=2, workspaces=_WORKSPACES))
        empty = replica.resident_mb()
        await here.ask(here.runtime, "mode", {"words_a_second": case.per_second})
        begun = time.monotonic()
        await _all_streaming(here, case)
        began = time.monotonic() - begun
        await asyncio.sleep(_SETTLE_SECONDS)
        await replica.late()
        here.mark()
        calls = await _calls(here)
        await asyncio.sleep(seconds)
        late, shares = await replica.late(), here.shares()
        calls = (await _calls(here) - calls) / seconds
        full = replica.resident_mb()
        stop = await _stopped(here)
        await here.ask(here.runtime, "end")
        return {
            "began_s": began,
            "mb": full,
            "kb_each": (full - empty) * 1024 / case.turns,
            "lag_ms": late["p50"],
            "lag_p99_ms": late["p99"],
            "lag_max_ms": late["max"],
            "live": late["live"],
            "calls": calls,
            "stop_ms": stop * 1000,
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
    while (await here.ask(here.runtime, "state"))["saying"] < case.turns:
        if time.monotonic() > over:
            raise TimeoutError("the turns did not begin")
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
    kinds = ("replicas", "postgres", "runtime", "slack", "others")
    return [
        case.name,
        f"{seen['mb']:.0f}",
        f"{seen['kb_each']:.0f}",
        f"{seen['lag_ms']:.1f}",
        f"{seen['lag_p99_ms']:.1f}",
        f"{seen['calls']:.0f}",
        f"{seen['stop_ms']:.0f}",
        f"{seen['began_s']:.1f}",
        " ".join(f"{seen[f'cpu_{kind}']:.2f}" for kind in kinds),
    ]


def main() -> None:
    """Prints the table and writes all rounds beside it."""
    common.quieten()
    seconds, cases = (_QUICK_SECONDS, _QUICK) if common.quick() else (_SECONDS, _CASES)
    found: Results = {}
    for case in cases:
        sys.stderr.write(f"{case.name}\n")
        found[case.name] = [asyncio.run(measure(case, seconds))]
    heading = ["turns", "MB", "kB each", "lag ms", "p99", "calls/s", "stop ms", "began s"]
    rows = [[*heading, "CPU: replicas, postgres, runtime, slack, others"]]
    rows += [_row(case, found[case.name][0]) for case in cases]
    common.report("live", rows, found)
    sys.stdout.write(f"goals at 1,000: {_GOAL_MB:.0f} MB, p99 {_GOAL_LAG_MS:.0f} ms\n")


if __name__ == "__main__":
    main()

"""All workloads, one after the other, and at the end what was held: `make bench`, under ten minutes.

    python -m tests.bench [WORKLOAD…]

QUICK=1: one short round of each, three minutes. FULL=1: the largest sizes, half an hour. ALL=1: also what
is seldom asked for. Each table is printed as it comes; the last is in build/bench/summary.md too.
"""

import asyncio
import subprocess
import sys
import time
import traceback

from tests.bench import (
    ack,
    alone,
    api,
    backlog,
    common,
    files,
    latency,
    live,
    processes,
    serving,
    sizes,
    sse,
    through,
    turns,
)
from tests.bench.alone import Run
from tests.bench.goals import Outcome, Verdict, summary
from tests.bench.serving import Bench

_WORKLOADS: dict[str, Run] = {
    "ack": ack.run,
    "latency": latency.run,
    "turns": turns.run,
    "through": through.run,
    "live": live.run,
    "sizes": sizes.run,
    "backlog": backlog.run,
    "api": api.run,
    "sse": sse.run,
    "files": files.run,
}
_SELDOM = ("streaming", "growth", "reattach", "approvals", "tenancy", "memory")


async def _all(names: list[str]) -> dict[str, Outcome | None]:
    """What came of each; None where it broke off, which keeps none of the others from running."""
    found: dict[str, Outcome | None] = {}
    async with serving.bench() as on:
        for name in names:
            begun, cpu = time.monotonic(), processes.own_seconds()
            found[name] = await _one(name, on)
            took, cpu = time.monotonic() - begun, processes.own_seconds() - cpu
            sys.stderr.write(f"{name}: {took:.0f} s, {cpu:.0f} s of processor time\n")
    return found


async def _one(name: str, on: Bench) -> Outcome | None:
    try:
        outcome = await _WORKLOADS[name](on)
    except Exception:  # noqa: BLE001  # told at once, and by the exit code
        traceback.print_exc()
        return None
    outcome.tell()
    return outcome


def _verdicts(found: dict[str, Outcome | None]) -> list[Verdict]:
    said = [one for outcome in found.values() if outcome for one in outcome.verdicts]
    drained, whole = found.get("backlog"), found.get("through")
    if drained and whole:
        said += backlog.against(drained.results, whole.results)
    return sorted(said, key=lambda one: one.workload)


def main() -> int:
    """Runs those that are named, or all; 1 where one broke off, or something is wrong but slow."""
    common.quieten()
    alone.end_in_order()
    begun = time.monotonic()
    found = asyncio.run(
        _all([name for name in _WORKLOADS if name in sys.argv[1:]] or [*_WORKLOADS])
    )
    text = summary(_verdicts(found), time.monotonic() - begun, common.RESULTS)
    sys.stdout.write(f"{text}\n{common.RESULTS / 'summary.md'}\n")
    sys.stdout.flush()
    codes = [outcome is None or outcome.wrong for outcome in found.values()]
    if common.asked("ALL"):
        argv = [sys.executable, "-m"]
        codes += [subprocess.call([*argv, f"tests.bench.{one}"]) != 0 for one in _SELDOM]
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())

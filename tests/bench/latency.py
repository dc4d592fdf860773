"""How soon Slack has its 200, at rest and in trouble: `make bench`, a minute.

    python -m tests.bench.latency          QUICK=1 for one short round

Mentions that begin threads, each due at its time whatever became of those before it, and its time runs
from then. The highest rate is measured first, with as many at once as 64 connections carry.

25 %, 50 %, 80 %    of that rate
burst               ten times a tenth of the highest rate for half a second, twice
stalled             PostgreSQL stands still for 5 s, all of its processes: what could not be committed is
                    answered 503, and sent once more at the end, as Slack would; once in all

Afterwards every message has exactly one row.
"""

import asyncio
import sys
from dataclasses import dataclass
from functools import partial

import asyncpg

from tests.bench import alone, common, goals, serving
from tests.bench.ack import shot
from tests.bench.common import Figures, Results
from tests.bench.goals import Outcome, Verdict
from tests.bench.load import Order, Sent
from tests.bench.serving import Bench, Stand

_CONNECTIONS = 400
_WARM, _HIGHEST = 2_000, 4_000
_SHARES = {"25 %": 0.25, "50 %": 0.5, "80 %": 0.8}
_ROUNDS, _SECONDS, _QUICK = 3, 2.5, 2.0
_CALM, _BURST_SECONDS, _BURST = 0.1, 0.5, 10
_STALL_SECONDS, _STALL_RATE = 5.0, 200.0
_MOST_MS = {"50 %": 25.0, "80 %": 100.0}
_ACK_MS = 2_000.0

_COUNT = "SELECT count(*) FROM session_inputs"


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the database holds of what was sent."""

    sent: int
    stored: int

    @property
    def lost(self) -> int:
        """Messages that were told accepted and are not there, or are there twice (negative)."""
        return self.sent - self.stored


async def measure(on: Bench, seconds: float, rounds: int) -> Results:
    """All of it; what is stalled but once."""
    found: Results = {}
    async with serving.stand(on, "threadline") as here:
        await shot(here, "threadline", "new", _WARM, (0, 0))
        await here.postgres.analyze()
        for turn in range(rounds):
            sys.stderr.write(f"round {turn + 1} of {rounds}\n")
            for name, figures in (await _round(here, seconds)).items():
                found.setdefault(name, []).append(figures)
        found["stalled"] = [await on.undisturbed(partial(_stalled, here))]
    return found


async def _round(here: Stand, seconds: float) -> dict[str, Figures]:
    watch = here.bench.undisturbed
    highest = await watch(partial(shot, here, "threadline", "new", _HIGHEST, (0, 0)))
    rate = highest["rate"]
    found = {"highest": {name: highest[name] for name in ("rate", "others")}}
    for name, share in _SHARES.items():
        found[name] = await watch(partial(_at, here, ((seconds, rate * share),)))
    calm = rate * _CALM
    waves = ((1.0, calm), (_BURST_SECONDS, calm * _BURST)) * 2 + ((1.0, calm),)
    found["burst"] = await watch(partial(_at, here, waves))
    return found


async def _at(here: Stand, phases: tuple[tuple[float, float], ...]) -> Figures:
    return _figures(await here.bench.generator.send(_order(here, phases)))


def _order(here: Stand, phases: tuple[tuple[float, float], ...], *, again: bool = False) -> Order:
    count = sum(round(seconds * rate) for seconds, rate in phases)
    url = here.servers["threadline"].url
    return Order(url, "new", count, _CONNECTIONS, phases=phases, again=again)


async def _stalled(here: Stand) -> Figures:
    """PostgreSQL stands still from the first second on; ledger and answers of all."""
    before = await _stored(here)
    order = _order(here, ((_STALL_SECONDS + 4.0, _STALL_RATE),), again=True)
    await here.bench.generator.prepare(order)
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(here.bench.generator.go())
        await asyncio.sleep(1.0)
        await here.postgres.hold(_STALL_SECONDS)
    sent = sending.result()
    ledger = Ledger(order.count, await _stored(here) - before)
    return _figures(sent) | {
        "lost": float(ledger.lost),
        "refused": float(sent.statuses.get("503", 0)),
        "again": float(sent.again.get("200", 0)),
        "most_503": sent.slowest.get("503", 0.0),
    }


async def _stored(here: Stand) -> int:
    connection = await asyncpg.connect(here.postgres.dsn)
    try:
        count: int = await connection.fetchval(_COUNT)
    finally:
        await connection.close()
    return count


def _figures(sent: Sent) -> Figures:
    return sent.percentiles | {"rate": sent.rate, "ok": float(sent.statuses.get("200", 0))}


def rows(found: Results) -> list[list[str]]:
    """The table."""
    lines = [
        ["", "events/s", "p50 ms", "p99", "p99.9", "most", "503", "of them in ms", "lost", "others"]
    ]
    for name in found:
        one = common.medians(found[name])
        times = [f"{one[n]:.1f}" if n in one else "" for n in ("p50", "p99", "p99.9", "most")]
        more = [f"{one[n]:.0f}" if n in one else "" for n in ("refused", "most_503", "lost")]
        lines.append([name, f"{one['rate']:.0f}", *times, *more, f"{one['others']:.1f}"])
    return lines


def judged(found: Results) -> list[Verdict]:
    """The times beside the goals."""
    one, where = {name: common.medians(several) for name, several in found.items()}, "3 latency"
    stalled = one["stalled"]
    return [
        *(
            goals.at_most(where, f"p99 at {name} of the highest rate", one[name]["p99"], most, "ms")
            for name, most in _MOST_MS.items()
        ),
        goals.at_most(where, "slowest answer, burst of 10×", one["burst"]["most"], _ACK_MS, "ms"),
        goals.at_most(where, "slowest 503, PostgreSQL stalled", stalled["most_503"], _ACK_MS, "ms"),
        goals.none(
            where,
            "lost or doubled, PostgreSQL stalled",
            abs(stalled["lost"]) + abs(stalled["refused"] - stalled["again"]),
        ),
    ]


async def run(on: Bench) -> Outcome:
    """All of it."""
    seconds, rounds = (_QUICK, 1) if common.quick() else (_SECONDS, _ROUNDS)
    found = await measure(on, seconds, rounds)
    return Outcome("latency", rows(found), found, judged(found))


if __name__ == "__main__":
    sys.exit(alone.main(run))

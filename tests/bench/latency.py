"""How soon Slack has its 200, at rest and in trouble: `make bench`.

    python -m tests.bench.latency          QUICK=1 for a third of it

Mentions that begin threads, each due at its time whatever became of those before it, and its time runs
from then. The highest rate is measured first, with as many at once as 64 connections carry.

25 %, 50 %, 80 %    of that rate
burst               ten times a tenth of the highest rate for half a second, twice
stalled             PostgreSQL stands still for 5 s, all of its processes: what could not be committed is
                    answered 503, and sent once more at the end, as Slack would

Afterwards every message has exactly one row.
"""

import asyncio
import sys
from dataclasses import dataclass

import asyncpg

from tests.bench import common, serving
from tests.bench.ack import shot
from tests.bench.common import Figures, Results
from tests.bench.load import Order, Sent
from tests.bench.serving import Stand

_CONNECTIONS = 400
_WARM, _HIGHEST = 2_000, 6_000
_SHARES = {"25 %": 0.25, "50 %": 0.5, "80 %": 0.8}
_SECONDS, _QUICK = 6.0, 2.0
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


async def measure(seconds: float) -> Results:
    """All of it, once."""
    async with serving.stand("threadline") as here:
        await shot(here, "threadline", "new", _WARM, (0, 0))
        await here.postgres.analyze()
        highest = (await shot(here, "threadline", "new", _HIGHEST, (0, 0)))["rate"]
        found: Results = {"highest": [{"rate": highest}]}
        for name, share in _SHARES.items():
            found[name] = [await _at(here, ((seconds, highest * share),))]
        calm = highest * _CALM
        waves = ((1.0, calm), (_BURST_SECONDS, calm * _BURST)) * 2 + ((1.0, calm),)
        found["burst"] = [await _at(here, waves)]
        found["stalled"] = [await _stalled(here)]
        return found


async def _at(here: Stand, phases: tuple[tuple[float, float], ...]) -> Figures:
    sent = await here.generator.send(_order(here, phases))
    return _figures(sent)


def _order(here: Stand, phases: tuple[tuple[float, float], ...], *, again: bool = False) -> Order:
    count = sum(round(seconds * rate) for seconds, rate in phases)
    url = here.servers["threadline"].url
    return Order(url, "new", count, _CONNECTIONS, phases=phases, again=again)


async def _stalled(here: Stand) -> Figures:
    """PostgreSQL stands still from the first second on; ledger and answers of all."""
    before = await _stored(here)
    order = _order(here, ((_STALL_SECONDS + 4.0, _STALL_RATE),), again=True)
    await here.generator.prepare(order)
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(here.generator.go())
        await asyncio.sleep(1.0)
        here.postgres.freeze()
        try:
            await asyncio.sleep(_STALL_SECONDS)
        finally:
            here.postgres.thaw()
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
    lines = [["", "events/s", "p50 ms", "p99", "p99.9", "most", "503", "of them in ms", "lost"]]
    for name in found:
        one = common.medians(found[name])
        times = [f"{one[n]:.1f}" if n in one else "" for n in ("p50", "p99", "p99.9", "most")]
        more = [f"{one[n]:.0f}" if n in one else "" for n in ("refused", "most_503", "lost")]
        lines.append([name, f"{one['rate']:.0f}", *times, *more])
    return lines


def judge(found: Results) -> list[str]:
    """What is not as it was promised."""
    one = {name: common.medians(several) for name, several in found.items()}
    said = [
        f"{name}: p99 {one[name]['p99']:.0f} ms, wanted under {most:.0f}"
        for name, most in _MOST_MS.items()
        if one[name]["p99"] > most
    ]
    if one["burst"]["most"] > _ACK_MS:
        said.append(f"burst: an answer took {one['burst']['most']:.0f} ms")
    stalled = one["stalled"]
    if stalled["most_503"] > _ACK_MS:
        said.append(f"stalled: a 503 took {stalled['most_503']:.0f} ms")
    if stalled["lost"] or stalled["again"] != stalled["refused"]:
        said.append(f"stalled: {stalled['lost']:.0f} lost of those that were sent")
    return said


def main() -> int:
    """Prints the table; 1 where something is not as promised. `QUICK=1`: a short run."""
    common.quieten()
    found: Results = {}
    for _ in range(1 if common.quick() else 3):
        once = asyncio.run(measure(_QUICK if common.quick() else _SECONDS))
        for name, figures in once.items():
            found.setdefault(name, []).extend(figures)
    common.report("latency", rows(found), found)
    wrong = judge(found)
    for line in wrong:
        sys.stderr.write(f"{line}\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""How many events a second are answered, beside Bolt: `make bench`.

    python -m tests.bench.ack          QUICK=1 for one short round

Signed requests come from a process of their own over 64 connections, each with one under way, for
each kind of event to each server in turn. Threadline serves with the role of ingress alone, on a
PostgreSQL that waits for the disk, and answers an addressed event when it is committed.

new         mentions that begin a thread          against a Bolt app that does nothing, and one that
reply       replies in 1,000 followed threads     inserts a row for each event and then answers
twin        each post as message and as mention
ignored     channel messages without a mention    against the Bolt app that does nothing
unfollowed  replies in threads without a session

Last of all what a process answers that does the rest of the work too, on the same machine: turns with a
local runtime, and attempts at deliveries to a Slack that is not there.

Processor time is that of the kernel's books, in µs an event: of the server (app), of PostgreSQL with
all its processes (pg) and of the generator (load). Two processes on two cores, and PostgreSQL: a
server that is bound by its own core leaves the rest to the others. `others` is how many cores were
busy with anything else meanwhile: where that is much, the ratios are of little worth.
"""

import asyncio
import sys
from dataclasses import dataclass

from tests.bench import common, serving
from tests.bench.common import Figures, Results
from tests.bench.envelopes import Kind
from tests.bench.load import Order, Sent
from tests.bench.serving import Stand

_CONNECTIONS = 64
_THREADS = 1_000
_EVENTS, _QUICK = 6_000, 1_500
_ROUNDS = 5
_PATIENCE = 3.0
_KINDS: tuple[Kind, ...] = ("new", "reply", "twin", "ignored", "unfollowed")
_DURABLE = frozenset(("new", "reply", "twin"))
_US = 1_000_000


@dataclass(frozen=True, slots=True)
class Goal:
    """Rate of Threadline over that of a yardstick: what is wanted, and what must be."""

    kinds: frozenset[str]
    over: str
    wanted: float
    floor: float


_GOALS = (
    Goal(_DURABLE, "nothing", 1.0, 0.9),
    Goal(_DURABLE, "row", 1.8, 1.5),
    Goal(frozenset(("ignored",)), "nothing", 0.9, 0.9),
    Goal(frozenset(("unfollowed",)), "nothing", 0.7, 0.7),
)


async def shot(
    here: Stand, name: str, kind: Kind, events: int, threads: tuple[int, int]
) -> Figures:
    """One measurement: that many events of a kind to a server. ValueError where one is not taken."""
    server = here.servers[name]
    order = Order(f"{server.url}", kind, events, _CONNECTIONS, threads=threads)
    await here.generator.prepare(order)
    await serving.quiet(_PATIENCE)
    before = server.cpu_seconds(), here.postgres.cpu_seconds(), serving.busy_seconds()[0]
    sent = await here.generator.go()
    after = server.cpu_seconds(), here.postgres.cpu_seconds(), serving.busy_seconds()[0]
    _all_taken(sent, name)
    app, pg, all_ = (b - a for a, b in zip(before, after, strict=True))
    return {
        "rate": sent.rate,
        "others": max(0.0, all_ - app - pg - sent.cpu_seconds) / sent.seconds,
        "app_us": app / events * _US,
        "pg_us": pg / events * _US,
        "load_us": sent.cpu_seconds / events * _US,
        **sent.percentiles,
    }


def _all_taken(sent: Sent, name: str) -> None:
    if set(sent.statuses) != {"200"}:
        raise ValueError(f"{name} answered {sent.statuses}")


async def followed(here: Stand, name: str = "threadline") -> tuple[int, int]:
    """Threads for replies: the numbers of their roots."""
    order = Order(here.servers[name].url, "new", _THREADS, _CONNECTIONS)
    sent = await here.generator.send(order)
    _all_taken(sent, name)
    await here.postgres.analyze()
    return sent.first, sent.first + _THREADS


async def measure(events: int, rounds: int, kinds: tuple[Kind, ...] = _KINDS) -> Results:
    """All kinds on all servers, round by round, one after the other."""
    found: Results = {}
    async with serving.stand("threadline", "nothing", "row", "bare") as here:
        threads = await followed(here)
        for turn in range(rounds):
            sys.stderr.write(f"round {turn + 1} of {rounds}\n")
            for kind in kinds:
                for name in _servers(kind):
                    figures = await shot(here, name, kind, events, threads)
                    found.setdefault(f"{kind} {name}", []).append(figures)
    async with serving.stand("all roles") as here:
        for _ in range(rounds):
            figures = await shot(here, "all roles", "new", events, (0, 0))
            found.setdefault("new all roles", []).append(figures)
    return found


def _servers(kind: Kind) -> tuple[str, ...]:
    if kind in _DURABLE:
        return ("nothing", "row", "threadline")
    return ("nothing", "bare", "threadline")


def rows(found: Results) -> list[list[str]]:
    """The table: a line for each kind and server, and Threadline's ratios to the others."""
    lines = [
        ["", "events/s", "app µs", "pg µs", "load µs", "others", "p50 ms", "p99 ms", "over it"]
    ]
    for name in found:
        one = common.medians(found[name])
        kind = name.partition(" ")[0]
        ours = name.endswith((" threadline", " all roles"))
        over = "" if ours else f"{ratio(found, kind, name.split()[1]):.2f}"
        cells = (one["rate"], one["app_us"], one["pg_us"], one["load_us"])
        shares = (one["others"], one["p50"], one["p99"])
        lines.append([name, *(f"{c:.0f}" for c in cells), *(f"{s:.1f}" for s in shares), over])
    return lines


def ratio(found: Results, kind: str, over: str) -> float:
    """The median over the rounds of Threadline's rate over a yardstick's in the same round."""
    pairs = zip(found[f"{kind} threadline"], found[f"{kind} {over}"], strict=True)
    return common.medians([{"ratio": a["rate"] / b["rate"]} for a, b in pairs])["ratio"]


def judge(found: Results) -> list[tuple[str, bool]]:
    """What was wanted and is not so; True where it is below the floor too."""
    said = []
    for goal in _GOALS:
        for kind in sorted(goal.kinds):
            if f"{kind} threadline" not in found:
                continue
            got = ratio(found, kind, goal.over)
            if got < goal.wanted:
                line = f"{kind}: {got:.2f} of {goal.over}, wanted {goal.wanted}, floor {goal.floor}"
                said.append((line, got < goal.floor))
    return said


def main() -> int:
    """Prints the table; 1 where a floor is missed."""
    common.quieten()
    events, count = (_QUICK, 1) if common.quick() else (_EVENTS, _ROUNDS)
    wanted = tuple(k for k in _KINDS if k in sys.argv[1:]) or _KINDS
    found = asyncio.run(measure(events, count, wanted))
    common.report("ack", rows(found), found)
    missed = judge(found)
    for line, _ in missed:
        sys.stderr.write(f"{line}\n")
    return 1 if any(below for _, below in missed) else 0


if __name__ == "__main__":
    sys.exit(main())

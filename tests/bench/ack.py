"""How many events a second are answered, beside Bolt: `make bench`, two minutes.

    python -m tests.bench.ack [KIND…]          QUICK=1 for one short round

Signed requests come from a process of their own over 128 connections, each with one under way: enough
that no server waits for the generator, as one that gathers what comes would with half as many. For
each kind of event they go to each server in turn. Threadline serves with the role of ingress alone, on a
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

import sys
from dataclasses import dataclass
from functools import partial

from tests.bench import alone, common, goals, processes, serving
from tests.bench.common import Figures, Results
from tests.bench.envelopes import Kind
from tests.bench.goals import Outcome, Verdict
from tests.bench.load import Order, Sent
from tests.bench.serving import Bench, Stand

_CONNECTIONS = 128
_THREADS = 1_000
_EVENTS, _QUICK = 3_000, 1_500
_ROUNDS = 5
_PATIENCE = 1.0
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
_WORDS = {
    "new": "a mention that begins a thread",
    "reply": "a reply in a followed thread",
    "twin": "a mention and its twin",
    "ignored": "a channel message without a mention",
    "unfollowed": "a reply in a thread of no session",
    "nothing": "a Bolt app that does nothing",
    "row": "one that inserts a row",
}


async def shot(
    here: Stand, name: str, kind: Kind, events: int, threads: tuple[int, int]
) -> Figures:
    """One measurement: that many events of a kind to a server. ValueError where one is not taken."""
    server, of = here.servers[name], here.bench
    await of.generator.prepare(Order(server.url, kind, events, _CONNECTIONS, threads=threads))
    await processes.quiet(_PATIENCE)
    before = server.cpu_seconds(), here.postgres.cpu_seconds()
    sent = await of.generator.go()
    _all_taken(sent, name)
    return {
        "rate": sent.rate,
        "app_us": (server.cpu_seconds() - before[0]) / events * _US,
        "pg_us": (here.postgres.cpu_seconds() - before[1]) / events * _US,
        "load_us": sent.cpu_seconds / events * _US,
        **sent.percentiles,
    }


def _all_taken(sent: Sent, name: str) -> None:
    if set(sent.statuses) != {"200"}:
        raise ValueError(f"{name} answered {sent.statuses}")


async def followed(here: Stand, name: str = "threadline") -> tuple[int, int]:
    """Threads for replies: the numbers of their roots."""
    order = Order(here.servers[name].url, "new", _THREADS, _CONNECTIONS)
    sent = await here.bench.generator.send(order)
    _all_taken(sent, name)
    await here.postgres.analyze()
    return sent.first, sent.first + _THREADS


async def measure(on: Bench, events: int, rounds: int, kinds: tuple[Kind, ...]) -> Results:
    """All kinds on all servers, round by round, one after the other."""
    found: Results = {}
    async with serving.stand(on, "threadline", "nothing", "row", "bare") as here:
        threads = await followed(here)
        for turn in range(rounds):
            sys.stderr.write(f"round {turn + 1} of {rounds}\n")
            for kind in kinds:
                for name in _servers(kind):
                    take = partial(shot, here, name, kind, events, threads)
                    found.setdefault(f"{kind} {name}", []).append(await on.undisturbed(take))
    async with serving.stand(on, "all roles") as here:
        for _ in range(rounds):
            take = partial(shot, here, "all roles", "new", events, (0, 0))
            found.setdefault("new all roles", []).append(await on.undisturbed(take))
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


def judged(found: Results) -> list[Verdict]:
    """The ratios beside the goals."""
    return [
        goals.at_least(
            f"{1 if kind in _DURABLE else 2} {_WORDS[kind]}",
            f"answered as fast as by {_WORDS[goal.over]}, times",
            ratio(found, kind, goal.over),
            goal.wanted,
            floor=goal.floor if goal.floor < goal.wanted else 0.0,
            digits=2,
        )
        for goal in _GOALS
        for kind in _KINDS
        if kind in goal.kinds and f"{kind} threadline" in found
    ]


async def run(on: Bench) -> Outcome:
    """All of it, or the kinds that are named."""
    events, rounds = (_QUICK, 1) if common.quick() else (_EVENTS, _ROUNDS)
    wanted = tuple(kind for kind in _KINDS if kind in sys.argv[1:]) or _KINDS
    found = await measure(on, events, rounds, wanted)
    return Outcome("ack", rows(found), found, judged(found))


if __name__ == "__main__":
    sys.exit(alone.main(run))

"""Messages through the whole system, with a runtime that answers at once: `make bench`, a minute and a half.

    python -m tests.bench.through          QUICK=1 for one short round; FULL=1: `ten` for all

Signed events come in over HTTP and answers go out as chat.postMessage. People talk in threads of their own,
each on in the same one: `one` says the next message when the last is answered, so each message is a turn;
`ten` has up to ten messages open, and those that wait together share a turn. Each replica is a process;
the ends are lean servers (tests.bench.lean_slack, lean_runtime) in processes of their own.

msg/s        messages answered a second, after a fifth of the time to warm up; turns/s: posts
of one       the rate beside that of one replica in the same round
ms each      processor time for each message, of the replicas and of PostgreSQL: what the rate would be
             with more cores; 2 cores of this machine have to do all of it, ends and PostgreSQL included
CPU          how much of a core each kind of process took; others: what else the machine did
answer       from the event's leaving until the post, median and 99th percentile
wrong        messages lost, answered twice or out of order: none
"""

import statistics
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from tests.bench import alone, common, goals
from tests.bench.common import Figures, Results
from tests.bench.goals import Outcome, Verdict
from tests.bench.lean_slack import Talk, Told
from tests.bench.serving import Bench
from tests.bench.town import CPU, Town, cpu, replicas, town

_ROUNDS, _SECONDS = 3, 4.0
_GOAL, _TWO, _FOUR = 1_000.0, 0.9, 0.9
_THREADS = {1: 100, 10: 30}


@dataclass(frozen=True, slots=True)
class Case:
    """So many replicas, and people with so many messages open."""

    replicas: int
    open_at_once: int

    @property
    def name(self) -> str:
        """The case in words."""
        how = "one" if self.open_at_once == 1 else "ten"
        return f"{self.replicas} × {how}"


_CASES = [Case(1, 1), Case(1, 10), Case(2, 1), Case(4, 1)]
_FULL = [Case(replicas, open_at_once) for replicas in (1, 2, 4) for open_at_once in (1, 10)]


async def measure(on: Bench, cases: Sequence[Case], seconds: float, rounds: int) -> Results:
    """All rounds of all cases, with the same threads; in each round replica after replica joins in."""
    found: Results = {case.name: [] for case in cases}
    async with town(on) as here:
        for turn in range(rounds):
            sys.stderr.write(f"round {turn + 1} of {rounds}\n")
            async with AsyncExitStack() as stack:
                for case in cases:
                    missing = case.replicas - len(here.replicas)
                    await stack.enter_async_context(replicas(here, missing))
                    if not any(found.values()):
                        await here.talk(
                            Talk(urls=here.urls, threads=max(_THREADS.values()), messages=1)
                        )
                    take = partial(_measure, here, case, seconds)
                    found[case.name].append(await on.undisturbed(take))
    return found


async def _measure(here: Town, case: Case, seconds: float) -> Figures:
    here.mark()
    told = await here.talk(
        Talk(
            urls=here.urls,
            threads=_THREADS[case.open_at_once],
            again=True,
            open_at_once=case.open_at_once,
            seconds=seconds,
            warm_seconds=seconds / 5,
        )
    )
    return figures(here, told)


def figures(here: Town, told: Told) -> Figures:
    """What a talk came to, with the processor time since the town was marked."""
    spent, shares = here.spent(), here.shares()
    return {
        "a_second": told.in_time / told.seconds,
        "turns_a_second": told.in_time_turns / told.seconds,
        "wrong": told.lost + told.doubled + told.disorder,
        "refused": told.refused,
        "answer_ms": common.percentile(told.took, 0.5) * 1000,
        "answer_p99_ms": common.percentile(told.took, 0.99) * 1000,
        "replicas_ms": spent["replicas"] * 1000 / told.said,
        "postgres_ms": spent["postgres"] * 1000 / told.said,
        **{f"cpu_{name}": share for name, share in shares.items()},
    }


def _of_one(found: Results, case: Case) -> float:
    """The rate beside that of one replica in the same round, in the middle."""
    single = found[Case(1, case.open_at_once).name]
    return statistics.median(
        mine["a_second"] / max(one["a_second"], 0.001)
        for mine, one in zip(found[case.name], single, strict=True)
    )


def rows(found: Results) -> list[list[str]]:
    """The table."""
    heading = ("msg/s", "turns/s", "of one", "ms each", "answer ms", "p99", "wrong", "refused")
    lines = [["replicas × open", *heading, CPU]]
    for case in (one for one in _FULL if one.name in found):
        several = found[case.name]
        seen = common.medians(several)
        lines.append(
            [
                case.name,
                f"{seen['a_second']:.0f}",
                f"{seen['turns_a_second']:.0f}",
                f"{_of_one(found, case):.2f}",
                f"{seen['replicas_ms']:.1f} + {seen['postgres_ms']:.1f}",
                f"{seen['answer_ms']:.0f}",
                f"{seen['answer_p99_ms']:.0f}",
                f"{sum(one['wrong'] for one in several):.0f}",
                f"{seen['refused']:.0f}",
                cpu(seen),
            ]
        )
    return lines


def judged(found: Results) -> list[Verdict]:
    """The rates beside the goals. Two replicas gain what two cores leave to them."""
    where, one = "5 whole turns", common.medians(found[Case(1, 1).name])["a_second"]
    ten = common.medians(found[Case(1, 10).name])["a_second"]
    wrong = sum(figures["wrong"] for several in found.values() for figures in several)
    return [
        goals.at_least(where, "messages a second, one replica, a turn each", one, _GOAL),
        goals.at_least(where, "messages a second, one replica, ten open", ten, _GOAL),
        goals.at_least(where, "2 replicas, of one", _of_one(found, Case(2, 1)), _TWO, digits=2),
        goals.at_least(where, "4 replicas, of one", _of_one(found, Case(4, 1)), _FOUR, digits=2),
        goals.none(where, "lost, doubled or out of order", wrong),
    ]


async def run(on: Bench) -> Outcome:
    """All of it."""
    rounds = 1 if common.quick() else _ROUNDS
    cases = _FULL if common.full() else _CASES
    found = await measure(on, cases, _SECONDS, rounds)
    return Outcome("through", rows(found), found, judged(found))


if __name__ == "__main__":
    sys.exit(alone.main(run))

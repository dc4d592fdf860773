"""Messages through the whole system, with a runtime that answers at once: `make bench`, two minutes.

    python -m tests.bench.through          QUICK=1 for one short round

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

import asyncio
import statistics
import sys
from dataclasses import dataclass

from tests.bench import common
from tests.bench.common import Figures, Results
from tests.bench.lean_slack import Talk, Told
from tests.bench.town import Town, replicas, town

_ROUNDS, _SECONDS, _QUICK_SECONDS = 3, 8.0, 4.0
_THREADS = {1: 200, 10: 100}


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


_CASES = [Case(n, w) for n in (1, 2, 4) for w in (1, 10)]


async def run(seconds: float, rounds: int) -> Results:
    """All rounds of all cases, over one database."""
    found: Results = {case.name: [] for case in _CASES}
    async with town() as here:
        for turn in range(rounds):
            for count in sorted({case.replicas for case in _CASES}):
                async with replicas(here, count):
                    for case in (one for one in _CASES if one.replicas == count):
                        sys.stderr.write(f"round {turn + 1} of {rounds}: {case.name}\n")
                        found[case.name].append(await _measure(here, case, seconds))
    return found


async def _measure(here: Town, case: Case, seconds: float) -> Figures:
    here.mark()
    told = await here.talk(
        Talk(
            urls=here.urls,
            threads=_THREADS[case.open_at_once],
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


def _rows(found: Results) -> list[list[str]]:
    rows = [
        [
            "replicas × open",
            *("msg/s", "turns/s", "of one", "ms each", "answer ms", "p99", "wrong", "refused"),
            "CPU: replicas, postgres, runtime, slack, others",
        ]
    ]
    for case in _CASES:
        several = found[case.name]
        alone = found[Case(1, case.open_at_once).name]
        of_one = statistics.median(
            mine["a_second"] / max(one["a_second"], 0.001)
            for mine, one in zip(several, alone, strict=True)
        )
        seen = common.medians(several)
        kinds = ("replicas", "postgres", "runtime", "slack", "others")
        rows.append(
            [
                case.name,
                f"{seen['a_second']:.0f}",
                f"{seen['turns_a_second']:.0f}",
                f"{of_one:.2f}",
                f"{seen['replicas_ms']:.1f} + {seen['postgres_ms']:.1f}",
                f"{seen['answer_ms']:.0f}",
                f"{seen['answer_p99_ms']:.0f}",
                f"{sum(one['wrong'] for one in several):.0f}",
                f"{seen['refused']:.0f}",
                " ".join(f"{seen[f'cpu_{kind}']:.2f}" for kind in kinds),
            ]
        )
    return rows


def main() -> None:
    """Prints the table and writes all rounds beside it."""
    common.quieten()
    seconds, rounds = (_QUICK_SECONDS, 1) if common.quick() else (_SECONDS, _ROUNDS)
    found = asyncio.run(run(seconds, rounds))
    common.report("through", _rows(found), found)


if __name__ == "__main__":
    main()

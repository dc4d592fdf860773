"""What every workload shares: interleaved rounds, medians, the machine's name, table and JSON."""

import asyncio
import json
import logging
import math
import os
import platform
import statistics
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import structlog

from store.embedded import embedded_postgres, temporary_data_dir
from store.migrate import migrate

Case = TypeVar("Case")
Figures = dict[str, float]
Results = dict[str, list[Figures]]

RESULTS = Path("build/bench")
DISTURBED = 0.3
"""Cores busy with anything else, from which on a measurement is worth little."""


def quick() -> bool:
    """Whether a short run was asked for: `QUICK=1`."""
    return asked("QUICK")


def full() -> bool:
    """Whether the largest sizes were asked for: `FULL=1`."""
    return asked("FULL")


def asked(name: str) -> bool:
    """Whether a variable of the environment is set to anything but 0."""
    return os.environ.get(name, "0") not in ("", "0")


def quieten() -> None:
    """Nothing but errors is logged, to stderr."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


@asynccontextmanager
async def database() -> AsyncIterator[str]:
    """The address of a fresh, migrated PostgreSQL of its own."""
    with temporary_data_dir() as folder:
        async with embedded_postgres(folder, durable=False) as server:
            await migrate(server.dsn)
            yield server.dsn


def rounds(
    cases: Mapping[str, Case], measure: Callable[[Case], Coroutine[None, None, Figures]], count: int
) -> Results:
    """Each case's figures, round by round; every round measures all cases, one after the other.

    Interleaved, so that a machine that is slow for a while is slow for all of them.
    """
    found: Results = {name: [] for name in cases}
    for turn in range(count):
        for name, case in cases.items():
            sys.stderr.write(f"round {turn + 1} of {count}: {name}\n")
            found[name].append(asyncio.run(measure(case)))
    return found


def medians(several: Sequence[Figures]) -> Figures:
    """The median of each figure over the rounds that have it."""
    names = dict.fromkeys(name for one in several for name in one)
    return {n: statistics.median(one[n] for one in several if n in one) for n in names}


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest of the values that so large a share of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def machine() -> str:
    """This machine, in a line."""
    return (
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"{platform.python_implementation()} {platform.python_version()}"
    )


def _processor() -> str:
    about = Path("/proc/cpuinfo")  # elsewhere the platform module knows the processor's name
    lines = about.read_text().splitlines() if about.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def report(name: str, rows: Iterable[Sequence[str]], results: Results) -> None:
    """Prints the table, and writes every round and the medians into a JSON file beside it."""
    count = max(map(len, results.values()))
    of = f"medians of {count} interleaved rounds" if count > 1 else "one round"
    path = _write(name, results)
    heading = f"{name}: {of} on {machine()}"
    sys.stdout.write(f"{heading}\n\n{table(rows)}\n\n{_disturbed(results)}every round: {path}\n")


def _disturbed(results: Results) -> str:
    """How busy the machine was with anything else, where that was measured."""
    seen = [one["others"] for found in results.values() for one in found if "others" in one]
    if not seen:
        return ""
    middle, most = statistics.median(seen), max(seen)
    much = sum(one > DISTURBED for one in seen)
    return (
        f"cores busy with anything else: {middle:.2f}, at most {most:.2f}; "
        f"{much} of {len(seen)} measurements were disturbed\n"
    )


def _write(name: str, results: Results) -> Path:
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    body = {
        "machine": machine(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": quick(),
        "cases": {
            case: {"median": medians(found), "rounds": found} for case, found in results.items()
        },
    }
    path.write_text(json.dumps(body, indent=2) + "\n")
    return path


def table(rows: Iterable[Sequence[str]]) -> str:
    """The rows in columns as wide as they need to be; the first column stands left."""
    cells = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )

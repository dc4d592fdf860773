"""Runs one workload by itself."""

import asyncio
import signal
from collections.abc import Awaitable, Callable

from tests.bench import common, serving
from tests.bench.goals import Outcome
from tests.bench.serving import Bench

Run = Callable[[Bench], Awaitable[Outcome]]


def main(run: Run) -> int:
    """Prints its table and what was held; 1 where something is wrong that is no matter of speed."""
    common.quieten()
    end_in_order()
    return asyncio.run(_alone(run))


def end_in_order() -> None:
    """From now on SIGTERM is what Ctrl-C is: everything that was started is ended."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` has it ignored
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


async def _alone(run: Run) -> int:
    async with serving.bench() as on:
        outcome = await run(on)
    outcome.tell()
    return 1 if outcome.wrong else 0

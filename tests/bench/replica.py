"""A replica for benches: what `threadline serve` runs, over a loop whose lateness is known.

    python -m tests.bench.replica '{"settings": {…}, "dsn": "…", "roles": […]}'

It says where it listens. A line on its standard input is answered with how late its loop has been since
the last: a timer of 10 ms, as whoever waits for a connection or a timer meets it. It ends with its input.
`PROFILE=FILE` writes a profile there (cProfile), which makes everything about twice as slow.
"""

import asyncio
import cProfile
import json
import os
import sys
import time
from typing import Any

from bot import app, process
from bot.sealing import Keyring
from router import logs
from router.settings import Settings
from tests.bench import common

KEYS = {"bench": b"k" * 32}
_STEP_SECONDS = 0.01


class Lateness:
    """How late timers are."""

    def __init__(self) -> None:
        self._late: list[float] = []

    async def watch(self) -> None:
        """For as long as it is not cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _STEP_SECONDS
            await asyncio.sleep(_STEP_SECONDS)
            self._late.append(loop.time() - due)

    def told(self) -> dict[str, float]:
        """In milliseconds, since the last time."""
        late, self._late = sorted(self._late) or [0.0], []
        shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
        return {name: common.percentile(late, share) * 1000 for name, share in shares.items()}


async def _serve(order: dict[str, Any]) -> None:
    settings = Settings(**order["settings"])
    logs.configure(level=settings.log_level, style=settings.log_format)
    roles = frozenset(order.get("roles") or app.ROLES)
    config = app.Config(settings, order["dsn"], Keyring(KEYS), roles=roles)
    lateness = Lateness()
    async with app.running(config) as running, asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(lateness.watch())
        process.settle()
        sys.stdout.write(f"{json.dumps({'url': running.url})}\n")
        sys.stdout.flush()
        while await asyncio.to_thread(sys.stdin.readline):
            told = lateness.told() | {"live": running.worker.live_turns}
            sys.stdout.write(f"{json.dumps(told)}\n")
            sys.stdout.flush()
        watching.cancel()


def main() -> None:
    """The command."""
    order = json.loads(sys.argv[1])
    profile = os.environ.get("PROFILE")
    if not profile:
        process.run(_serve(order))
        return
    with cProfile.Profile(time.thread_time) as profiler:
        process.run(_serve(order))
    profiler.dump_stats(profile)


if __name__ == "__main__":
    main()

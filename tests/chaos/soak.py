"""Replicas are killed at random while many people talk: `make soak MINUTES=10`.

Three `serve` processes share one database; every few seconds one is killed and replaced, while Slack
and the runtime misbehave now and then. A share of what is said leads to a call or a question that
people decide on by a button. At the end everything is healed and read back. Exits with 1 if anything
was lost, doubled or out of order (see `crowd.py`), told twice or left undecided (see `judges.py`).
"""

import argparse
import asyncio
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from store import database
from store.embedded import embedded_postgres, temporary_data_dir
from store.migrate import migrate
from tests.chaos.crowd import Crowd
from tests.chaos.processes import Fleet, Process, processes
from tests.harness import World, world
from tests.support import eventually

REPLICAS = 3
# A turn reads from the runtime twice and one that waits for people four times: within its budget.
PER_SECOND = 8.6
ASKING = 0.1
_REST_SECONDS = 180.0
_WRONG = ("lost", "doubled", "out_of_order", "confirmed_twice", "told_wrongly", "undecided")
# Slack lets a workspace edit 50 messages a minute. So many people would be in several: where each
# decision writes its card anew twice, one budget would still be at it long after the run.
_MORE_EDITS = """
UPDATE slack_budgets SET spent_until = spent_until - interval '1 second' WHERE method = 'chat.update'
"""
_SLACK_FAULTS = (
    ("drop_after", "chat.postMessage"),
    ("error_after", "chat.postMessage"),
    ("error_before", "chat.postMessage"),
    ("drop_after", "chat.startStream"),
    ("ratelimit", "chat.update"),
    ("duplicate", None),
)
_RUNTIME_FAULTS = (
    ("drop_after", "events.send"),
    ("drop_before", "events.send"),
    ("drop_after", "sessions.create"),
    ("unavailable", "events.list"),
    ("cut_stream", "*"),
    ("history_lag", "events.list"),
)


@dataclass(slots=True)
class Soak:
    """The state of one run."""

    fleet: Fleet
    dice: random.Random
    crowd: Crowd = field(init=False)
    alive: list[Process] = field(default_factory=list)
    kills: int = 0
    slowest: float = 0.0
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.crowd = Crowd(self.here, self.dice, asking=ASKING)

    @property
    def here(self) -> World:
        return self.fleet.here

    async def run(self, seconds: float) -> None:
        """Talks, kills and disturbs for so long, then lets everything come to rest."""
        for _ in range(REPLICAS):
            self.alive.append(await self.fleet.serve())
        async with asyncio.TaskGroup() as tasks:
            for loop in (
                self._talk(),
                self._decide(),
                self._kill(),
                self._disturb(),
                self._balance(),
                self._grow(),
            ):
                tasks.create_task(loop)
            await asyncio.sleep(seconds)
            self.over.set()
        self.here.runtime.clear_faults()
        await self.here.at_rest(_REST_SECONDS)
        await eventually(self._is_decided, _REST_SECONDS, "everything decided")
        await self.here.at_rest(_REST_SECONDS)

    async def _is_decided(self) -> bool:
        await self.crowd.judges.press(all_of_them=True)
        return await self.crowd.judges.undecided() == 0

    async def _pause(self, seconds: float) -> bool:
        """Waits; False once the run is over."""
        try:
            async with asyncio.timeout(seconds):
                await self.over.wait()
        except TimeoutError:
            return True
        return False

    async def _talk(self) -> None:
        self.crowd.gather()
        while await self._pause(self.dice.expovariate(PER_SECOND)):
            await self.crowd.speak()

    async def _decide(self) -> None:
        while await self._pause(0.3):
            await self.crowd.judges.press()

    # -------------------------------------------------------------- what goes wrong

    async def _kill(self) -> None:
        while await self._pause(self.dice.uniform(3.0, 6.0)):
            victim = self.alive.pop(self.dice.randrange(len(self.alive)))
            self.fleet.send_events_to(victim)  # what people do just then meets a dead one
            await victim.kill()
            self.fleet.send_events_to(self.dice.choice(self.alive))
            self.kills += 1
            self.slowest = max(self.slowest, await self._taken_over(victim))
            self.alive.append(await self.fleet.serve())

    async def _taken_over(self, victim: Process) -> float:
        """How long the sessions that it held were without a holder, or out of its hands."""
        began = time.monotonic()
        await eventually(lambda: self._holds_none(victim), 60, "a take-over")
        return time.monotonic() - began

    async def _holds_none(self, victim: Process) -> bool:
        held = await self.here.rows(
            "SELECT FROM agent_sessions WHERE lease_owner LIKE '%:' || $1 || ':%'", str(victim.pid)
        )
        return not held

    async def _disturb(self) -> None:
        while await self._pause(self.dice.uniform(1.0, 3.0)):
            if self.dice.random() < 0.5:
                kind, method = self.dice.choice(_SLACK_FAULTS)
                self.here.slack.fault(kind, method=method)  # type: ignore[arg-type]  # its kinds
            else:
                kind, route = self.dice.choice(_RUNTIME_FAULTS)
                self.here.runtime.fault(kind, route=route)  # type: ignore[arg-type]  # its kinds

    async def _balance(self) -> None:
        """Plays the load balancer, and keeps what Slack was answered."""
        while await self._pause(0.2):
            self.fleet.send_events_to(self.dice.choice(self.alive))
            self.crowd.note_answers()

    async def _grow(self) -> None:
        """Gives the workspace more edits than it has."""
        connection = await database.connect(self.here.dsn)
        try:
            while await self._pause(0.2):
                await connection.execute(_MORE_EDITS)
        finally:
            await connection.close()

    async def report(self) -> dict[str, float]:
        """The figures of the run."""
        return (
            await self.crowd.report()
            | await self.crowd.judges.report()
            | {
                "kills": self.kills,
                "slowest_take_over": round(self.slowest, 2),
            }
        )


def _show(figures: dict[str, float], seed: int, minutes: float) -> None:
    sys.stdout.write(f"soak of {minutes:g} minutes, {REPLICAS} replicas, seed {seed}\n")
    for name, value in figures.items():
        sys.stdout.write(f"  {name.replace('_', ' '):<20} {value:>8g}\n")


async def soak(minutes: float, seed: int, folder: Path) -> dict[str, float]:
    """One run; its figures."""
    with temporary_data_dir() as data:
        async with embedded_postgres(data, durable=False) as server:
            await migrate(server.dsn)
            async with (
                world(server.dsn, retry_delays=(0.2, 1.0, 10.0)) as here,
                processes(folder) as started,
            ):
                run = Soak(Fleet(here, started), random.Random(seed))  # no secret
                await run.run(minutes * 60)
                return await run.report()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        figures = asyncio.run(soak(given.minutes, given.seed, Path(folder)))
    _show(figures, given.seed, given.minutes)
    return 1 if any(figures[name] for name in _WRONG) else 0


if __name__ == "__main__":
    sys.exit(main())

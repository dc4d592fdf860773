"""The only place that asks what time it is, waits, or throws dice."""

import asyncio
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal


def now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


def timestamp() -> Decimal:
    """The time as Slack writes it: seconds with six digits."""
    return Decimal(time.time_ns() // 1000) / 1_000_000


def monotonic() -> float:
    """Seconds for measuring, unaffected by corrections of the clock."""
    return time.monotonic()


async def sleep(seconds: float) -> None:
    """Waits."""
    await asyncio.sleep(seconds)


def jittered(seconds: float) -> float:
    """`seconds` give or take a fifth, so that replicas do not march in step."""
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311  # not a secret


def within(seconds: float) -> float:
    """Some moment of that time, all of them as likely: where replicas that start together begin."""
    return random.uniform(0, seconds)  # noqa: S311  # not a secret


@dataclass(frozen=True, slots=True)
class Backoff:
    """Growing waits: `first` doubled at each failure, up to `most`, with jitter. Seconds."""

    first: float
    most: float

    def after(self, failures: int) -> float:
        """How long to wait after that many failures in a row (1 is the first)."""
        doublings = min(max(failures - 1, 0), 30)
        return jittered(min(self.first * 2.0**doublings, self.most))

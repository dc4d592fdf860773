"""The server's time: what limits, retries and stale listings go by."""

import asyncio
import time
from contextlib import suppress


class Clock:
    """Wall time that can be advanced; a virtual one stands still in between.

    Stamps that others check (message ts, request timestamps) are always true wall time.
    """

    def __init__(self, *, virtual: bool = False) -> None:
        self.virtual = virtual
        self._start = time.time()
        self._ahead = 0.0
        self._moved = asyncio.Event()

    def now(self) -> float:
        """Seconds since the epoch, plus all advances."""
        return (self._start if self.virtual else time.time()) + self._ahead

    def advance(self, seconds: float) -> None:
        """Move time forward and wake whoever waits for it."""
        self._ahead += seconds
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()

    async def until(self, when: float) -> None:
        """Return once `now()` has reached `when`."""
        while (left := when - self.now()) > 0:
            # The timeout is the ordinary way out in real time; an advance is the other.
            with suppress(TimeoutError):
                async with asyncio.timeout(None if self.virtual else left):
                    await self._moved.wait()

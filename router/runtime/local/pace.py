"""How fast time passes for the agents, and the gate that holds them."""

import asyncio
import math
import time

# Sums of the same seconds in another order differ in their last bits.
_ROUNDING_SECONDS = 1e-6


class TurnInterruptedError(Exception):
    """A wait that a `user.interrupt` ended."""


class Pace:
    """Virtual seconds: 1.0 is real time, `math.inf` waits for nothing, 0 stands until `advance`."""

    def __init__(self, rate: float = 1.0) -> None:
        """`rate` is virtual seconds per real second."""
        self.rate = rate
        self._offset = 0.0
        self._base = 0.0
        self._since = time.monotonic()
        self._sleepers: dict[asyncio.Future[None], float] = {}

    def now(self) -> float:
        """Virtual seconds since some start; at infinite rate real seconds."""
        rate = 1.0 if math.isinf(self.rate) else self.rate
        return self._base + self._offset + (time.monotonic() - self._since) * rate

    @property
    def moved(self) -> float:
        """By how many seconds `advance` has moved time on in all."""
        return self._offset

    def advance(self, seconds: float) -> None:
        """Moves time on at once and wakes whoever waited for less."""
        self._offset += seconds
        now = self.now() + _ROUNDING_SECONDS
        for sleeper, due in list(self._sleepers.items()):
            if due <= now:
                _settle(sleeper)

    def set_rate(self, rate: float) -> None:
        """Changes the rate from now on; who waits already is woken and waits no longer."""
        self._base, self._since = self.now() - self._offset, time.monotonic()
        self.rate = rate
        for sleeper in list(self._sleepers):
            _settle(sleeper)

    def after(self, seconds: float) -> asyncio.Future[None]:
        """Done once that many virtual seconds have passed; the caller may settle it earlier."""
        loop = asyncio.get_running_loop()
        sleeper: asyncio.Future[None] = loop.create_future()
        if seconds <= 0 or math.isinf(self.rate):
            sleeper.set_result(None)
            return sleeper
        self._sleepers[sleeper] = self.now() + seconds
        sleeper.add_done_callback(lambda done: self._sleepers.pop(done, None))
        if self.rate > 0:
            timer = loop.call_later(seconds / self.rate, _settle, sleeper)
            sleeper.add_done_callback(lambda _: timer.cancel())
        return sleeper


class Gate:
    """Holds turns just before the model answers, for all sessions or for one.

    `interrupts_wait`: interrupts are taken and stay unprocessed, as behind a tool that runs on.
    """

    def __init__(self) -> None:
        """Open."""
        self.interrupts_wait = False
        self._all = False
        self._sessions: set[str] = set()
        self._waiting: dict[str, asyncio.Future[None]] = {}

    def hold(self, session_id: str | None = None) -> None:
        """Closes the gate for one session or for all."""
        if session_id is None:
            self._all = True
        else:
            self._sessions.add(session_id)

    def release(self, session_id: str | None = None) -> None:
        """Opens it again; without a session everything, single holds included."""
        if session_id is None:
            self._all = False
            self._sessions.clear()
        else:
            self._sessions.discard(session_id)
        for held, waiting in list(self._waiting.items()):
            if not self._closed(held):
                _settle(waiting)

    def held(self) -> list[str]:
        """The sessions that stand at the gate."""
        return list(self._waiting)

    def opened(self, session_id: str) -> asyncio.Future[None]:
        """Done when the session may pass; the caller may settle it earlier."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self._closed(session_id):
            waiting.set_result(None)
            return waiting
        self._waiting[session_id] = waiting
        waiting.add_done_callback(lambda _: self._waiting.pop(session_id, None))
        return waiting

    def _closed(self, session_id: str) -> bool:
        return self._all or session_id in self._sessions


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)

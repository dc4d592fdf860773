"""Loops that run until they are told to stop, survive what they meet, and wake early."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from router import clock
from store import database

_log = structlog.get_logger(__name__)


class Stop:
    """Said once; everybody who waits hears it."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def say(self) -> None:
        """Asks everything to come to an end."""
        self._event.set()

    @property
    def said(self) -> bool:
        """True once the end was asked for."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Returns when the end is asked for."""
        await self._event.wait()

    async def within(self, seconds: float) -> bool:
        """Waits at most that long; True if the end was asked for."""
        return await wait_for(self._event, seconds)


async def wait_for(event: asyncio.Event, seconds: float) -> bool:
    """Waits for an event at most that long; True if it is set."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return event.is_set()
    return True


async def every(
    seconds: float,
    work: Callable[[], Awaitable[object]],
    stop: Stop,
    *,
    wake: asyncio.Event | None = None,
) -> None:
    """Does `work` again and again, about every `seconds`, at once when `wake` is set, until `stop`.

    A failure is logged and tried again at the next tick: a loop that dies would be silent.
    """
    name = getattr(work, "__qualname__", repr(work))
    alarm = wake or asyncio.Event()
    while not stop.said:
        alarm.clear()
        try:
            await work()
        except database.ERRORS as error:
            _log.warning("loop.failed", loop=name, error=f"{type(error).__name__}: {error}")
        except Exception:  # noqa: BLE001  # logged; the loop goes on
            _log.exception("loop.failed", loop=name)
        await _first_of(alarm, stop, clock.jittered(seconds))


async def _first_of(alarm: asyncio.Event, stop: Stop, seconds: float) -> None:
    async with asyncio.TaskGroup() as tasks:
        waiters = [
            tasks.create_task(alarm.wait()),
            tasks.create_task(stop.wait()),
        ]
        await asyncio.wait(waiters, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for waiter in waiters:
            waiter.cancel()

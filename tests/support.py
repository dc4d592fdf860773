"""What tests of every kind share: waiting on conditions, never on time."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

_TIMEOUT_SECONDS = 30.0  # only what fails takes so long; two busy processors take a third of it
_POLL_SECONDS = 0.01
_SLOWEST_POLL_SECONDS = 0.05  # what takes long may be seen a little later: looking costs, too


@overload
async def eventually(
    predicate: Callable[[], Awaitable[T]], timeout: float = _TIMEOUT_SECONDS, says: str = ""
) -> T: ...
@overload
async def eventually(
    predicate: Callable[[], T], timeout: float = _TIMEOUT_SECONDS, says: str = ""
) -> T: ...
async def eventually(
    predicate: Callable[[], Any], timeout: float = _TIMEOUT_SECONDS, says: str = ""
) -> Any:
    """The first truthy value of `predicate`, sync or async; fails after `timeout` seconds.

    An AssertionError inside the predicate counts as "not yet" and is shown when time runs out. The
    last look begins when the time is over: a machine may stand still for all of it.
    """
    deadline = time.monotonic() + timeout
    last: object = None
    pause = _POLL_SECONDS
    while True:
        is_over = time.monotonic() >= deadline
        try:
            value = predicate()
            if inspect.isawaitable(value):
                value = await value
        except AssertionError as not_yet:
            last = not_yet
        else:
            if value:
                return value
            last = value
        if is_over:
            raise AssertionError(
                f"{says or 'condition'} not met in {timeout} s; last seen: {last!r}"
            )
        await asyncio.sleep(pause)
        pause = min(1.05 * pause, _SLOWEST_POLL_SECONDS)

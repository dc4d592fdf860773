"""How a process of ours runs: its loop, its signals, its ready line, and how it ends when it cannot."""

import asyncio
import gc
import json
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from router import logs
from router.errors import ConfigurationError
from router.loops import Stop
from store.embedded import EmbeddedPostgresError
from store.migrate import MigrationError

T = TypeVar("T")

ROLES = frozenset({"ingress", "worker", "delivery", "api"})
"""What a process of `serve` may do of the whole."""

_OURS = (ConfigurationError, EmbeddedPostgresError, MigrationError)
_TELL_SECONDS = 0.3
_FOR_EVER = 86_400.0
# New objects before a collection looks at them; Python's own 700 are those of a few requests.
_YOUNG_OBJECTS = 20_000


@contextmanager
def errors_told() -> Iterator[None]:
    """Everything raised on purpose becomes one line and the exit code 2."""
    try:
        yield
    except _OURS as error:
        sys.stderr.write(f"threadline: {logs.redact(str(error))}\n")
        raise SystemExit(2) from None


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs to the end, under uvloop where the platform has it."""
    try:
        import uvloop  # noqa: PLC0415  # not on every platform
    except ImportError:
        factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(_unwrapped(work))


async def _unwrapped(work: Coroutine[Any, Any, T]) -> T:
    """Takes an error of ours out of the groups that task groups wrap it in."""
    try:
        return await work
    except ExceptionGroup as group:
        ours, _ = group.split(_OURS)
        while ours is not None:
            first = ours.exceptions[0]
            if not isinstance(first, ExceptionGroup):
                raise first from group
            ours = first
        raise


def settle() -> None:
    """What was made until now stays for good, so garbage is no longer looked for among it.

    Under load that took a sixth of the processor.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)


def ready(**more: Any) -> None:
    """Says on stdout, in one line, that whoever waits for this process may go on; `settle`s first."""
    settle()
    sys.stdout.write(json.dumps({"ready": True, **more}) + "\n")
    sys.stdout.flush()


def stop_on_signals() -> Stop:
    """Said by SIGINT or SIGTERM from now on; asked for before anything is started."""
    stop = Stop()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, stop.say)
    return stop


async def until(stop: Stop, meanwhile: Callable[[], None] | None = None) -> None:
    """Waits for the stop, doing `meanwhile` a few times a second."""
    while not await stop.within(_TELL_SECONDS if meanwhile else _FOR_EVER):
        if meanwhile:
            meanwhile()

"""A session's events without gaps: open the stream first, list the history after, then follow.

The runtime's stream has no replay and may end at any time without a word, so a clean end counts as
a disconnect. Events may come more than once; whoever reads them goes by their ids.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime

from router import clock
from router.clock import Backoff
from router.errors import RuntimeFailure, RuntimeGone, RuntimeUnclear
from router.runtime.client import Event, Runtime


@dataclass(frozen=True, slots=True)
class Attached:
    """The stream is open; these are the events from the asked place on."""

    events: list[Event]


@dataclass(frozen=True, slots=True)
class Live:
    """An event, as it happens."""

    event: Event


@dataclass(frozen=True, slots=True)
class Lost:
    """The stream could not be opened, or ended, that many times in a row."""

    failures: int
    error: RuntimeFailure


@dataclass(frozen=True, slots=True)
class Woken:
    """Something else than the runtime wants the reader's attention."""


Item = Attached | Live | Lost | Woken
_BACKOFF = Backoff(first=0.1, most=10.0)


async def follow(
    runtime: Runtime, session_id: str, since: datetime | None, inbox: asyncio.Queue[Item]
) -> None:
    """Fills `inbox` until it is cancelled, reconnecting; ends after a `Lost` with RuntimeGone."""
    failures = 0
    while True:
        try:
            async with runtime.stream(session_id) as events:
                inbox.put_nowait(Attached(await runtime.history(session_id, since)))
                async for event in events:
                    failures = 0
                    inbox.put_nowait(Live(event))
            error: RuntimeFailure = RuntimeUnclear("the stream ended")
        except RuntimeFailure as failure:
            error = failure
        failures += 1
        inbox.put_nowait(Lost(failures, error))
        if isinstance(error, RuntimeGone):
            return
        await clock.sleep(max(_BACKOFF.after(failures), error.retry_after or 0))

"""A session's events without gaps: open the stream first, list the history after, then follow.

The runtime's stream has no replay and may end at any time without a word, so a clean end counts as
a disconnect. Events may come more than once; whoever reads them goes by their ids.

The history trails: what it was late to show right after an attach is not on the stream either, and
is listed a little later; an end that comes before that is passed on behind a listing which shows it,
and so all that was before it. An attach whose listing had to wait that long for its permit needs no
second one, so that a thousand turns that lost their holder cost two reads each. What has just been
made has no history to list: of the runtime's reads, a new thread takes one.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime

from router import clock
from router.clock import Backoff
from router.errors import RuntimeFailure, RuntimeGone, RuntimeUnclear
from router.loops import wait_for
from router.runtime.budget import Need
from router.runtime.client import Event, Runtime


@dataclass(frozen=True, slots=True)
class Attached:
    """The stream is open; these are the events from the asked place on."""

    events: list[Event]


@dataclass(frozen=True, slots=True)
class Listed:
    """Those events once more: the stream has been silent for a while, or an attach showed too few."""

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


Item = Attached | Listed | Live | Lost | Woken
_BACKOFF = Backoff(first=0.1, most=10.0)
_MOST_SILENCE_SECONDS = 300.0
_ENDS = frozenset({"session.status_idle", "session.status_terminated"})


@dataclass(frozen=True, slots=True)
class Source:
    """What to follow from which place on.

    `in_flight`: a turn of it lost its holder. `untouched`: nobody can have sent anything to it yet.
    """

    session_id: str
    since: datetime | None
    in_flight: bool
    untouched: bool = False


async def follow(
    runtime: Runtime,
    source: Source,
    inbox: asyncio.Queue[Item],
    tasks: asyncio.TaskGroup,
    *,
    settle: float,
    quiet: float,
) -> None:
    """Fills `inbox` until it is cancelled, reconnecting; ends after a `Lost` with RuntimeGone.

    After `quiet` seconds without an event the history is listed again, and ever more seldom; the
    first time `settle` seconds after an attach to a turn in flight. An end that comes live before that
    stands behind a listing, and behind a second one, `settle` later, where the first does not show it.
    Raises what listing raises, or has it raised in `tasks`: a group of its own that ends by being
    cancelled would be garbage in a cycle, the error and its frames, and all that a turn held with it.
    """
    feed = _Feed(runtime, source, inbox, settle, quiet)
    relisting = tasks.create_task(feed.relist())
    try:
        await feed.attach()
    finally:
        relisting.cancel()


class _Feed:
    def __init__(  # what `follow` was given
        self,
        runtime: Runtime,
        source: Source,
        inbox: asyncio.Queue[Item],
        settle: float,
        quiet: float,
    ) -> None:
        self._runtime, self._source, self._inbox = runtime, source, inbox
        self._settle, self._quiet = settle, quiet
        self._need = Need.RECOVERY if source.in_flight else Need.LIVE
        self._untouched = source.untouched
        self._silence = quiet
        self._heard_at = clock.monotonic()
        self._attached = asyncio.Event()
        self._trails = False

    async def attach(self) -> None:
        failures = 0
        while True:
            try:
                async with self._runtime.stream(self._need, self._source.session_id) as events:
                    self._inbox.put_nowait(Attached(await self._missed()))
                    async for event in events:
                        failures = 0
                        self._heard_at = clock.monotonic()
                        if self._trails and event["type"] in _ENDS:
                            await self._look_behind(event)
                        self._inbox.put_nowait(Live(event))
                error: RuntimeFailure = RuntimeUnclear("the stream ended")
            except RuntimeFailure as failure:
                error = failure
            failures += 1
            self._inbox.put_nowait(Lost(failures, error))
            if isinstance(error, RuntimeGone):
                return
            await clock.sleep(max(_BACKOFF.after(failures), error.retry_after or 0))

    async def _missed(self) -> list[Event]:
        """What happened before the stream was open; from then on a turn is in flight."""
        opened_at = clock.monotonic()
        events = [] if self._untouched else await self._history(self._need)
        self._untouched = False
        self._heard_at = clock.monotonic()
        # an answer that late was asked for when the history had had its time
        enough = self._settle + self._runtime.deadline
        self._trails = self._need is Need.RECOVERY and self._heard_at - opened_at < enough
        self._silence = self._settle if self._trails else self._quiet
        self._need = Need.RECOVERY
        self._attached.set()
        return events

    async def _look_behind(self, end: Event) -> None:
        """Lists what the attach may have missed: a listing that shows the end shows all before it."""
        self._trails, self._silence = False, self._quiet
        for look in range(2):
            if look:
                await clock.sleep(self._settle)
            events = await self._history(Need.RECOVERY)
            self._inbox.put_nowait(Listed(events))
            if any(event.get("id") == end.get("id") for event in events):
                return

    async def relist(self) -> None:
        while True:
            while (left := self._heard_at + self._silence - clock.monotonic()) > 0:
                self._attached.clear()
                await wait_for(self._attached, left)
            self._silence = max(min(self._silence * 2, _MOST_SILENCE_SECONDS), self._quiet)
            events = await self._history(Need.LIVE)
            self._heard_at = clock.monotonic()
            self._trails = False
            self._inbox.put_nowait(Listed(events))

    async def _history(self, need: Need) -> list[Event]:
        return await self._runtime.history(need, self._source.session_id, self._source.since)

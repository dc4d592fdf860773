"""Delivery of events to the app, with retries (docs.slack.dev/apis/events-api)."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from functools import partial
from itertools import count, islice, repeat
from types import TracebackType
from typing import Self

from bot.local.changes import WHOLE
from bot.local.clock import Clock
from bot.local.model import Delivery, Json
from bot.local.posting import DELIVERY_SECONDS, Answer, Poster, sign
from bot.local.sockets import WARNING_SECONDS, Sockets
from bot.local.state import State

__all__ = ["DELIVERY_SECONDS", "RETRY_SECONDS", "Courier", "message_ts", "sign"]

RETRY_SECONDS = (0.0, 60.0, 300.0)
_HOURLY, _HOURS = 3_600.0, 24
_KEPT = 20_000
_INTERACTIONS_KEPT = 300


class Courier:
    """Delivers each event until it is taken, or given up; an async context manager.

    Leaving cancels what is still waiting; it stays in the state and is taken up at the next
    start. Events wait until there is somewhere to send them to: a `request_url`, or in Socket Mode
    the first web socket.
    """

    def __init__(
        self,
        state: State,
        clock: Clock,
        poster: Poster,
        sockets: Sockets,
        retry_delays: Sequence[float] = RETRY_SECONDS,
        *,
        delayed_events: bool = False,
    ) -> None:
        self.delayed_events = delayed_events
        self.deliveries: deque[Delivery] = deque(maxlen=_KEPT)
        self._numbers = count(1)
        self._interactions: dict[int, Json] = {}
        self._state = state
        self._clock = clock
        self._poster = poster
        self._sockets = sockets
        self._retry_delays = tuple(retry_delays)
        self._owed = state.undelivered()
        self._unaddressed: list[tuple[list[Json], bool]] = []
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()
        self._active: set[object] = set()
        self._idle = asyncio.Event()
        sockets.on_connect = self.flush

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        # What ended the server is not the group's to wrap; it goes on by itself.
        await self._group.__aexit__(None, None, None)

    @property
    def request_url(self) -> str | None:
        """Where events go without Socket Mode."""
        return self._poster.url

    @request_url.setter
    def request_url(self, url: str | None) -> None:
        self._poster.url = url
        self._state.changes.mark(WHOLE)
        self.flush()

    @property
    def socket_mode(self) -> bool:
        """Whether events go to web sockets; switching it off tells and closes all of them."""
        return self._sockets.enabled

    @socket_mode.setter
    def socket_mode(self, wanted: bool) -> None:
        self._sockets.enabled = wanted
        self._state.changes.mark(WHOLE)
        if not wanted:
            self._later(0.0, self._sockets.unlink)
        self.flush()

    def flush(self) -> None:
        """Send what waits for an address, if there is one now."""
        if not self._addressed():
            return
        owed, self._owed = self._owed, []
        for envelope, tries in owed:
            self._task(partial(self._resumed, envelope, tries))
        waiting, self._unaddressed = self._unaddressed, []
        for envelopes, together in waiting:
            self._start(envelopes, together=together)

    async def refresh_connections(self) -> None:
        """Warn all web sockets, and close those that are still there ten seconds later."""
        warned = await self._sockets.warn()
        self._later(WARNING_SECONDS, partial(self._sockets.refresh, warned))

    def _addressed(self) -> bool:
        return self._sockets.greeted if self._sockets.enabled else self._poster.url is not None

    # ---------------------------------------------------------------- sending

    def send(self, envelopes: list[Json], *, together: bool = False, hold: float = 0.0) -> None:
        """Start to deliver; each waits for the first try of the one before, unless `together`.

        `hold` seconds pass before the first try.
        """
        for envelope in envelopes:
            self._state.put_undelivered(envelope, 0)
        if self._addressed():
            self._start(envelopes, together=together, hold=hold)
        else:
            self._unaddressed.append((envelopes, together))

    def forget(self) -> None:
        """Give up whatever is being delivered or waits, and the record of attempts."""
        for task in self._tasks:
            task.cancel()
        self._owed.clear()
        self._unaddressed.clear()
        self.deliveries.clear()
        self._interactions.clear()

    def again(self, envelope: Json, times: int) -> None:
        """Deliver an event again, as Slack does when it did not see the answer."""
        for number in range(1, times + 1):
            self._task(partial(self._once_more, envelope, number))

    async def settle(self) -> None:
        """Return when nothing is being delivered but what waits for a later time."""
        while self._active:
            await self._idle.wait()

    async def attempt(
        self, envelope: Json, retry_num: int | None = None, reason: str | None = None
    ) -> Delivery:
        """One delivery to the app, recorded; never raises for what the app or the network does."""
        if retry_num is not None:
            reason = reason or ("timeout" if self.socket_mode else "http_timeout")
        at, started = time.time(), time.perf_counter()
        if self.socket_mode:
            answer = await self._sockets.send("events_api", envelope, retry_num, reason)
        else:
            answer = await self._poster.event(envelope, retry_num, reason)
        return self._recorded(envelope, answer, at, started, (retry_num, reason))

    async def interact(self, payload: Json) -> Answer:
        """Give the app an interaction, once: Slack does not retry those. Recorded as delivery."""
        at, started = time.time(), time.perf_counter()
        if self.socket_mode:
            answer = await self._sockets.send("interactive", payload)
        else:
            answer = await self._poster.interaction(payload)
        delivery = self._recorded(payload, answer, at, started)
        self._interactions[delivery.seq] = payload
        while len(self._interactions) > _INTERACTIONS_KEPT:
            del self._interactions[next(iter(self._interactions))]
        return answer

    def interaction(self, seq: int) -> Json | None:
        """The payload of that delivery, if it was one of the newest 300 interactions."""
        return self._interactions.get(seq)

    def _recorded(
        self,
        body: Json,
        answer: Answer,
        at: float,
        started: float,
        retry: tuple[int | None, str | None] = (None, None),
    ) -> Delivery:
        delivery = Delivery(
            event_id=body.get("event_id", ""),
            type=body.get("event", body)["type"],
            ts=message_ts(body),
            retry_num=retry[0],
            retry_reason=retry[1],
            status=answer.status,
            ms=(time.perf_counter() - started) * 1_000,
            at=at,
            failure=answer.failure,
            no_retry=answer.no_retry,
            seq=next(self._numbers),
            channel=_channel(body),
        )
        self.deliveries.append(delivery)
        self._state.changes.mark("deliveries")
        return delivery

    # ----------------------------------------------------------- one campaign

    def _start(self, envelopes: list[Json], *, together: bool, hold: float = 0.0) -> None:
        before: asyncio.Event | None = None
        for envelope in envelopes:
            tried = asyncio.Event()
            self._task(partial(self._campaign, envelope, before, tried, hold))
            before = None if together else tried

    def _task(self, work: Callable[[object], Coroutine[None, None, None]]) -> None:
        mark = object()
        self._begin(mark)
        task = self._group.create_task(work(mark))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _campaign(
        self,
        envelope: Json,
        before: asyncio.Event | None,
        tried: asyncio.Event,
        hold: float,
        mark: object,
    ) -> None:
        try:
            await self._pause(mark, hold)
            if before is not None:
                await before.wait()
            await self._until_taken(envelope, 0, tried, mark)
        finally:
            tried.set()
            self._end(mark)

    async def _resumed(self, envelope: Json, tries: int, mark: object) -> None:
        try:
            await self._until_taken(envelope, tries, asyncio.Event(), mark)
        finally:
            self._end(mark)

    async def _once_more(self, envelope: Json, number: int, mark: object) -> None:
        try:
            await self.attempt(envelope, number)
        finally:
            self._end(mark)

    async def _until_taken(
        self, envelope: Json, tries: int, tried: asyncio.Event, mark: object
    ) -> None:
        reason: str | None = None
        for number, delay in islice(enumerate(self._delays()), tries, None):
            await self._pause(mark, delay)
            last = await self.attempt(envelope, number or None, reason)
            tried.set()
            if last.ok or last.no_retry:
                break
            reason = last.failure
            self._state.put_undelivered(envelope, number + 1)
        self._state.delivered(envelope["event_id"])

    def _delays(self) -> Iterator[float]:
        yield 0.0
        yield from self._retry_delays
        if self.delayed_events:
            yield from repeat(_HOURLY, _HOURS)

    async def _pause(self, mark: object, seconds: float) -> None:
        if seconds > 0:
            self._end(mark)
            await self._clock.until(self._clock.now() + seconds)
            self._begin(mark)

    def _begin(self, mark: object) -> None:
        self._active.add(mark)
        self._idle.clear()

    def _end(self, mark: object) -> None:
        self._active.discard(mark)
        if not self._active:
            self._idle.set()

    def _later(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        self._task(partial(self._delayed, seconds, work))

    async def _delayed(
        self, seconds: float, work: Callable[[], Awaitable[None]], mark: object
    ) -> None:
        try:
            await self._pause(mark, seconds)
            await work()
        finally:
            self._end(mark)


def message_ts(envelope: Json) -> str | None:
    """The ts of the message, or of the thread, that an event is about, whatever its kind."""
    event = envelope.get("event", {})
    nested = event.get("message") or event.get("previous_message") or event.get("item") or event
    ts: str | None = nested.get("ts") or event.get("thread_ts")
    return ts


def _channel(body: Json) -> str | None:
    """The channel that an event or an interaction is about; None for a view's."""
    event = body.get("event", body)
    place = event.get("channel") or event.get("item", {}).get("channel")
    channel: str | None = place["id"] if isinstance(place, dict) else place
    return channel

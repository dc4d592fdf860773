"""Delivery of events to the app's request URL (docs.slack.dev/apis/events-api)."""

import asyncio
import hashlib
import hmac
import json
import secrets
import ssl
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from itertools import islice, repeat
from types import TracebackType
from typing import Self

import aiohttp

from bot.local.clock import Clock
from bot.local.model import Delivery, Json
from bot.local.state import State

DELIVERY_SECONDS = 3.0
RETRY_SECONDS = (0.0, 60.0, 300.0)
_HOURLY, _HOURS = 3_600.0, 24
_KEPT = 20_000
_MAX_REDIRECTS = 2


def sign(secret: str, body: bytes, timestamp: int | None = None) -> dict[str, str]:
    """The headers of a signed request (docs.slack.dev/authentication/verifying-requests)."""
    stamp = str(int(time.time()) if timestamp is None else timestamp)
    base = b"v0:" + stamp.encode() + b":" + body
    digest = hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        "X-Slack-Request-Timestamp": stamp,
        "X-Slack-Signature": f"v0={digest}",
    }


class Courier:
    """Delivers each event until it is taken, or given up; an async context manager.

    Leaving cancels what is still waiting; it stays in the state and is taken up at the next
    start. Events sent while `request_url` is None wait until it is set.
    """

    def __init__(
        self,
        state: State,
        clock: Clock,
        secret: str,
        retry_delays: Sequence[float] = RETRY_SECONDS,
        *,
        delayed_events: bool = False,
    ) -> None:
        self.delayed_events = delayed_events
        self.deliveries: deque[Delivery] = deque(maxlen=_KEPT)
        self._state = state
        self._clock = clock
        self._secret = secret
        self._retry_delays = tuple(retry_delays)
        self._url: str | None = None
        self._owed = state.undelivered()
        self._unaddressed: list[tuple[list[Json], bool]] = []
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()
        self._active: set[object] = set()
        self._idle = asyncio.Event()

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=DELIVERY_SECONDS)
        self._http = aiohttp.ClientSession(
            timeout=timeout, headers={"User-Agent": "Slackbot 1.0 (local workspace)"}
        )
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
        try:
            # What ended the server is not the group's to wrap; it goes on by itself.
            await self._group.__aexit__(None, None, None)
        finally:
            await self._http.close()

    @property
    def request_url(self) -> str | None:
        """Where events go."""
        return self._url

    @request_url.setter
    def request_url(self, url: str | None) -> None:
        self._url = url
        if url is not None:
            owed, self._owed = self._owed, []
            for envelope, tries in owed:
                self._task(partial(self._resumed, envelope, tries))
            waiting, self._unaddressed = self._unaddressed, []
            for envelopes, together in waiting:
                self._start(envelopes, together=together)

    # ---------------------------------------------------------------- sending

    def send(self, envelopes: list[Json], *, together: bool = False, hold: float = 0.0) -> None:
        """Start to deliver; each waits for the first try of the one before, unless `together`.

        `hold` seconds pass before the first try.
        """
        for envelope in envelopes:
            self._state.put_undelivered(envelope, 0)
        if self._url is None:
            self._unaddressed.append((envelopes, together))
        else:
            self._start(envelopes, together=together, hold=hold)

    def forget(self) -> None:
        """Give up whatever is being delivered or waits, and the record of attempts."""
        for task in self._tasks:
            task.cancel()
        self._owed.clear()
        self._unaddressed.clear()
        self.deliveries.clear()

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
        """One request to the app, recorded; never raises for what the app or the network does."""
        body = json.dumps(envelope).encode()
        headers = sign(self._secret, body)
        if retry_num is not None:
            reason = reason or "http_timeout"
            headers |= {"x-slack-retry-num": str(retry_num), "x-slack-retry-reason": reason}
        at, started = time.time(), time.perf_counter()
        status, failure, no_retry = await self._post(body, headers)
        delivery = Delivery(
            event_id=envelope.get("event_id", ""),
            type=envelope.get("event", envelope)["type"],
            ts=message_ts(envelope),
            retry_num=retry_num,
            retry_reason=reason,
            status=status,
            ms=(time.perf_counter() - started) * 1_000,
            at=at,
            failure=failure,
            no_retry=no_retry,
        )
        self.deliveries.append(delivery)
        return delivery

    async def verify(self) -> bool:
        """Send the url_verification challenge; whether the app gave it back."""
        challenge = secrets.token_urlsafe(24)
        envelope = {"token": "", "challenge": challenge, "type": "url_verification"}
        body = json.dumps(envelope).encode()
        if self._url is None:
            raise LookupError("the local Slack has no request_url to verify")
        async with self._http.post(
            self._url, data=body, headers=sign(self._secret, body)
        ) as response:
            return _taken(response) and challenge in await response.text()

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

    async def _post(self, body: bytes, headers: dict[str, str]) -> tuple[int, str | None, bool]:
        if self._url is None:
            return 0, "connection_failed", False
        # aiohttp counts the last, unfollowed redirect too.
        redirects = _MAX_REDIRECTS + 1
        try:
            async with self._http.post(
                self._url, data=body, headers=headers, max_redirects=redirects
            ) as response:
                failure = None if _taken(response) else "http_error"
                return response.status, failure, response.headers.get("x-slack-no-retry") == "1"
        except TimeoutError:
            return 0, "http_timeout", False
        except aiohttp.TooManyRedirects:
            return 0, "too_many_redirects", False
        except (aiohttp.ClientSSLError, ssl.SSLError):
            return 0, "ssl_error", False
        except (aiohttp.ClientConnectionError, OSError):
            return 0, "connection_failed", False
        except aiohttp.ClientError:
            return 0, "unknown_error", False


def _taken(response: aiohttp.ClientResponse) -> bool:
    return response.status // 100 == 2  # noqa: PLR2004  # 2xx


def message_ts(envelope: Json) -> str | None:
    """The ts of the message that an event is about, whatever its subtype."""
    event = envelope.get("event", {})
    nested = event.get("message") or event.get("previous_message") or event
    ts: str | None = nested.get("ts")
    return ts

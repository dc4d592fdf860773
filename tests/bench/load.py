"""Sends signed requests from a process of its own: orders on stdin, results on stdout, a line each.

    python -m tests.bench.load

Closed: each connection sends its next request when it has the answer to the last. Open: requests
leave when they are due, whatever became of those before, and their time runs from then.
"""

import asyncio
import gc
import json
import sys
import time
from array import array
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

from typing_extensions import override

from bot.process import run
from tests.bench import common, envelopes
from tests.bench.envelopes import Kind, Numbers

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"Content-Length: "
_TICK_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class Order:
    """So many requests of a kind over so many connections.

    `phases` are (seconds, requests a second), one after the other; without any each connection sends
    as soon as it may. `threads`: first and last number of the threads that replies go to. `again`:
    what was answered 503 is sent once more at the end, as Slack would.
    """

    url: str
    kind: Kind
    count: int
    connections: int
    threads: tuple[int, int] = (0, 0)
    phases: tuple[tuple[float, float], ...] = ()
    again: bool = False
    secret: str = envelopes.SECRET

    def to_json(self) -> str:
        """A line."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of an order: `seconds` from the first request to the last answer; times in ms.

    `slowest` by status. `first` is the number of the first message. `again`: the statuses of those that
    were sent once more.
    """

    first: int
    seconds: float
    cpu_seconds: float
    statuses: dict[str, int]
    percentiles: dict[str, float]
    slowest: dict[str, float]
    again: dict[str, int]

    @property
    def rate(self) -> float:
        """Answers a second."""
        return sum(self.statuses.values()) / self.seconds


@dataclass(slots=True)
class _Run:
    """The requests of one order and what became of them."""

    requests: Sequence[bytes]
    due: Sequence[float]
    done: "asyncio.Future[None]"
    next: int = 0
    answered: int = 0
    took: "array[float]" = field(default_factory=lambda: array("d"))
    status: list[bytes] = field(default_factory=list)
    which: "array[int]" = field(default_factory=lambda: array("q"))
    idle: list["_Line"] = field(default_factory=list)
    late: deque[int] = field(default_factory=deque)
    begun: float = 0.0

    def answer(self, line: "_Line", status: bytes) -> None:
        self.took.append(time.perf_counter() - line.since)
        self.status.append(status)
        self.which.append(line.number)
        self.answered += 1
        if self.answered == len(self.requests):
            self.done.set_result(None)
        elif not self.due:
            self.follow(line)
        elif self.late:
            self._send_due(line, self.late.popleft())
        else:
            self.idle.append(line)

    def follow(self, line: "_Line") -> None:
        """Closed: the next request, if any is left."""
        if self.next < len(self.requests):
            number, self.next = self.next, self.next + 1
            line.send(number, self.requests[number], time.perf_counter())

    def send_what_is_due(self) -> None:
        """Open: everything whose time has come."""
        now = time.perf_counter() - self.begun
        while self.next < len(self.due) and self.due[self.next] <= now:
            number, self.next = self.next, self.next + 1
            if self.idle:
                self._send_due(self.idle.pop(), number)
            else:
                self.late.append(number)
        if self.next < len(self.due):
            asyncio.get_running_loop().call_later(_TICK_SECONDS, self.send_what_is_due)

    def _send_due(self, line: "_Line", number: int) -> None:
        line.send(number, self.requests[number], self.begun + self.due[number])


class _Line(asyncio.Protocol):
    """One connection with at most one request under way."""

    def __init__(self) -> None:
        self._heard = b""
        self.number = 0
        self.since = 0.0
        self.run: _Run
        self._transport: asyncio.Transport

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send(self, number: int, request: bytes, since: float) -> None:
        self.number, self.since = number, since
        self._transport.write(request)

    @override
    def data_received(self, data: bytes) -> None:
        if self._heard:
            data = self._heard + data
        end = data.find(_HEAD_END)
        if end < 0 or len(data) < end + 4 + _length(data, end):
            self._heard = data
            return
        self._heard = b""
        self.run.answer(self, data[9:12])

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if not self.run.done.done():
            self.run.done.set_exception(exc or ConnectionError("the server hung up"))

    def close(self) -> None:
        self._transport.close()


def _length(data: bytes, end: int) -> int:
    at = data.find(_LENGTH, 0, end)
    return int(data[at + len(_LENGTH) : data.find(b"\r", at)]) if at >= 0 else 0


class Prepared:
    """An order of which every request is signed and every connection open."""

    def __init__(self, order: Order, numbers: Numbers) -> None:
        host = urlsplit(order.url).netloc
        self._order = order
        self._first = numbers.take(0).start
        bodies = envelopes.bodies(order.kind, numbers, order.count, range(*order.threads))
        self._requests = [envelopes.request(one, host, secret=order.secret) for one in bodies]
        self._lines: list[_Line] = []

    async def connect(self) -> None:
        """Opens the connections."""
        host = urlsplit(self._order.url).netloc
        self._lines = [await _connect(host) for _ in range(self._order.connections)]

    async def send(self) -> Sent:
        """Carries it out."""
        cpu, started = time.process_time(), time.perf_counter()
        run = await _run(self._requests, self._lines, _due(self._order))
        seconds = time.perf_counter() - started
        cpu = time.process_time() - cpu
        again = await self._again(run) if self._order.again else None
        for line in self._lines:
            line.close()
        return Sent(
            first=self._first,
            seconds=seconds,
            cpu_seconds=cpu,
            statuses=_counted(run),
            percentiles=_percentiles(run.took),
            slowest=_slowest(run),
            again=_counted(again) if again else {},
        )

    async def _again(self, run: _Run) -> _Run | None:
        answers = zip(run.which, run.status, strict=True)
        refused = [self._requests[number] for number, status in answers if status == b"503"]
        return await _run(refused, self._lines, ()) if refused else None


async def _connect(host: str) -> _Line:
    address, _, port = host.partition(":")
    _, line = await asyncio.get_running_loop().create_connection(_Line, address, int(port))
    return line


async def _run(requests: Sequence[bytes], lines: list[_Line], due: Sequence[float]) -> _Run:
    run = _Run(requests, due, asyncio.get_running_loop().create_future())
    run.begun = time.perf_counter()
    for line in lines:
        line.run = run
        if due:
            run.idle.append(line)
        else:
            run.follow(line)
    if due:
        run.send_what_is_due()
    await run.done
    return run


def _due(order: Order) -> "array[float]":
    due, begins = array("d"), 0.0
    for seconds, rate in order.phases:
        due.extend(begins + n / rate for n in range(round(seconds * rate)))
        begins += seconds
    return due[: order.count]


def _counted(run: _Run) -> dict[str, int]:
    return {status.decode(): count for status, count in Counter(run.status).items()}


def _percentiles(took: Sequence[float]) -> dict[str, float]:
    ms = [one * 1000 for one in took]
    shares = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "most": 1.0}
    return {name: common.percentile(ms, share) for name, share in shares.items()}


def _slowest(run: _Run) -> dict[str, float]:
    found: dict[str, float] = {}
    for status, took in zip(run.status, run.took, strict=True):
        name = status.decode()
        found[name] = max(found.get(name, 0.0), took * 1000)
    return found


async def _serve() -> None:
    """An order, an empty answer when it is prepared; a line, and its result."""
    numbers = Numbers()
    gc.disable()  # requests are bytes, and the process is short
    while line := await asyncio.to_thread(sys.stdin.readline):
        wanted: dict[str, Any] = json.loads(line)
        wanted["phases"] = tuple((s, r) for s, r in wanted["phases"])
        prepared = Prepared(Order(**wanted), numbers)
        await prepared.connect()
        _tell({})
        await asyncio.to_thread(sys.stdin.readline)
        _tell(asdict(await prepared.send()))


def _tell(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    run(_serve())

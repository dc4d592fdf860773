"""Sends requests from a process of its own: orders on stdin, results on stdout, a line each.

    python -m tests.bench.load

Closed: each connection sends its next request when it has the answer to the last. Answers are looked for
when an eighth of the connections should have one: what a sender costs is its wake-ups, and beside a slow
server it would have one for each answer. The other connections' requests wait at the server meanwhile. Open: requests leave when they are due, whatever became of those before, and their time runs
from then; answers are met at once.
"""

import gc
import json
import selectors
import socket
import sys
import time
from array import array
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import cycle, islice
from typing import Any, Literal
from urllib.parse import urlsplit

from tests.bench import common, envelopes
from tests.bench.envelopes import Kind, Numbers

NUMBER = b"@" * 10
"""In a request that is given: a number of its own each time."""

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length: "
_GATHERED, _GATHER_SECONDS = 1 / 8, 0.005
_TICK_SECONDS = 0.001
_PATIENCE_SECONDS = 60.0
_READ_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Order:
    """So many requests over so many connections: events of a `kind`, or the `given` ones by turns.

    `phases` are (seconds, requests a second), one after the other; without any each connection sends
    as soon as it may. `threads`: first and last number of the threads that replies go to. `again`:
    what was answered 503 is sent once more at the end, as Slack would.
    """

    url: str
    kind: Kind | Literal["given"]
    count: int
    connections: int
    threads: tuple[int, int] = (0, 0)
    phases: tuple[tuple[float, float], ...] = ()
    again: bool = False
    given: tuple[str, ...] = ()

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
class _Line:
    """One connection with at most one request under way."""

    socket: socket.socket
    number: int = 0
    since: float = 0.0
    heard: bytes = b""

    def send(self, number: int, request: bytes, since: float) -> None:
        self.number, self.since = number, since
        if self.socket.send(request) != len(request):
            raise ConnectionError("the server leaves what it is sent")

    def status(self) -> bytes:
        """Of the answer; empty until all of it is there."""
        data = self.socket.recv(_READ_BYTES)
        if not data:
            raise ConnectionError("the server hung up")
        data = self.heard + data if self.heard else data
        end = data.find(_HEAD_END)
        if end < 0 or len(data) < end + len(_HEAD_END) + _length(data[:end]):
            self.heard = data
            return b""
        self.heard = b""
        return data[9:12]


def _length(head: bytes) -> int:
    _, _, rest = head.lower().partition(_LENGTH)
    return int(rest.partition(b"\r")[0]) if rest else 0


@dataclass(slots=True)
class _Run:
    """Requests and what became of them."""

    requests: Sequence[bytes]
    took: "array[float]" = field(default_factory=lambda: array("d"))
    status: list[bytes] = field(default_factory=list)
    which: "array[int]" = field(default_factory=lambda: array("q"))

    def closed(self, lines: "_Lines") -> None:
        """Each connection sends when it may."""
        left = iter(enumerate(self.requests))
        for line, (number, request) in zip(lines.all, left, strict=False):
            line.send(number, request, time.perf_counter())
        begun, gathered = time.perf_counter(), len(lines.all) * _GATHERED
        while len(self.took) < len(self.requests):
            each = (time.perf_counter() - begun) / (len(self.took) or 1)
            time.sleep(min(gathered * each, _GATHER_SECONDS))
            for line in self._answered(lines, _PATIENCE_SECONDS):
                for number, request in islice(left, 1):
                    line.send(number, request, time.perf_counter())

    def open(self, lines: "_Lines", due: Sequence[float]) -> None:
        """Each request leaves when it is due, or when a connection is free after that."""
        begun, following = time.perf_counter(), 0
        idle, late = list(lines.all), deque[int]()
        while len(self.took) < len(self.requests):
            now = time.perf_counter() - begun
            while following < len(due) and due[following] <= now:
                late.append(following)
                following += 1
            while idle and late:
                number = late.popleft()
                idle.pop().send(number, self.requests[number], begun + due[number])
            more = following < len(due)
            idle += self._answered(lines, _TICK_SECONDS if more else _PATIENCE_SECONDS)

    def _answered(self, lines: "_Lines", seconds: float) -> Iterator[_Line]:
        """Those that were answered within so long, each noted."""
        for line in lines.heard(seconds):
            if status := line.status():
                self.took.append(time.perf_counter() - line.since)
                self.status.append(status)
                self.which.append(line.number)
                yield line

    def refused(self) -> list[bytes]:
        """What was answered 503."""
        answers = zip(self.which, self.status, strict=True)
        return [self.requests[number] for number, status in answers if status == b"503"]

    def counted(self) -> dict[str, int]:
        """How many were answered how."""
        return {status.decode(): count for status, count in Counter(self.status).items()}

    def percentiles(self) -> dict[str, float]:
        ms = sorted(one * 1000 for one in self.took)
        shares = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "most": 1.0}
        return {name: common.percentile(ms, share) for name, share in shares.items()}

    def slowest(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for status, took in zip(self.status, self.took, strict=True):
            name = status.decode()
            found[name] = max(found.get(name, 0.0), took * 1000)
        return found


class _Lines:
    """Connections to one server."""

    def __init__(self, host: str, count: int) -> None:
        address, _, port = host.partition(":")
        self.all = [_Line(_connected(address, int(port))) for _ in range(count)]
        self._selector = selectors.DefaultSelector()
        for line in self.all:
            self._selector.register(line.socket, selectors.EVENT_READ, line)

    def heard(self, seconds: float) -> Iterator[_Line]:
        """Those on which something came. Raises TimeoutError after a long time without."""
        found = self._selector.select(seconds)
        if not found and seconds >= _PATIENCE_SECONDS:
            raise TimeoutError("the server does not answer")
        for key, _ in found:
            yield key.data

    def close(self) -> None:
        self._selector.close()
        for line in self.all:
            line.socket.close()


def _connected(address: str, port: int) -> socket.socket:
    made = socket.create_connection((address, port))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.settimeout(0.0)
    return made


class Prepared:
    """An order of which every request is signed and every connection open."""

    def __init__(self, order: Order, numbers: Numbers) -> None:
        self._order = order
        self._first = numbers.take(0).start
        self._requests = list(_requests(order, numbers))
        self._lines = _Lines(urlsplit(order.url).netloc, order.connections)

    def send(self) -> Sent:
        """Carries it out."""
        cpu, started = time.process_time(), time.perf_counter()
        run = _Run(self._requests)
        if self._order.phases:
            run.open(self._lines, _due(self._order))
        else:
            run.closed(self._lines)
        seconds = time.perf_counter() - started
        cpu = time.process_time() - cpu
        again = _Run(run.refused() if self._order.again else [])
        again.closed(self._lines)
        self._lines.close()
        return Sent(
            first=self._first,
            seconds=seconds,
            cpu_seconds=cpu,
            statuses=run.counted(),
            percentiles=run.percentiles(),
            slowest=run.slowest(),
            again=again.counted(),
        )


def _requests(order: Order, numbers: Numbers) -> Iterator[bytes]:
    if order.kind == "given":
        given = cycle(one.encode() for one in order.given)
        for number, request in zip(numbers.take(order.count), given, strict=False):
            yield request.replace(NUMBER, b"%010d" % number)
        return
    host = urlsplit(order.url).netloc
    for body in envelopes.bodies(order.kind, numbers, order.count, range(*order.threads)):
        yield envelopes.request(body, host)


def _due(order: Order) -> "array[float]":
    due, begins = array("d"), 0.0
    for seconds, rate in order.phases:
        due.extend(begins + n / rate for n in range(round(seconds * rate)))
        begins += seconds
    return due[: order.count]


def _serve() -> None:
    """An order, an empty answer when it is prepared; a line, and its result."""
    numbers = Numbers()
    gc.disable()  # requests are bytes, and the process is short
    while line := sys.stdin.readline():
        wanted: dict[str, Any] = json.loads(line)
        wanted["phases"] = tuple((s, r) for s, r in wanted["phases"])
        prepared = Prepared(Order(**wanted), numbers)
        _tell({})
        sys.stdin.readline()
        _tell(asdict(prepared.send()))


def _tell(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _serve()

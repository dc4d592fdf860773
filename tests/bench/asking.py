"""A process that asks one server as fast as it answers: requests come on stdin, figures go to stdout.

Every connection is kept alive and has one request under way. Of an answer only the status and the length
are read. `@@@@@@@@@@` in a request becomes a number of its own each time.
"""

import asyncio
import itertools
import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

from typing_extensions import override

from bot.process import run
from tests.bench.common import Figures, percentile

NUMBER = b"@@@@@@@@@@"

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


@dataclass(frozen=True, slots=True)
class Load:
    """These requests, in turn, over so many connections for so many seconds; each is to end so."""

    port: int
    requests: list[str]
    connections: int
    seconds: float
    wanted: int


@dataclass(slots=True)
class _Count:
    """What the connections have in common."""

    load: Load
    done: list[float]
    others: dict[str, int]
    over: float


class _Line(asyncio.Protocol):
    def __init__(self, count: _Count, requests: "itertools.cycle[bytes]", numbers: Any) -> None:
        self._count, self._requests, self._numbers = count, requests, numbers
        self._buffer, self._length = b"", -1
        self._wanted = str(count.load.wanted).encode()
        self.closed = asyncio.get_running_loop().create_future()

    @override
    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._ask()

    @override
    def connection_lost(self, _exc: Exception | None) -> None:
        self.closed.set_result(None)

    @override
    def data_received(self, data: bytes) -> None:
        buffer = self._buffer = self._buffer + data if self._buffer else data
        if self._length < 0:
            head = buffer.find(_HEAD_END)
            if head < 0:
                return
            at = buffer.lower().find(_LENGTH, 0, head) + len(_LENGTH)
            end = buffer.find(b"\r\n", at)
            self._length = head + len(_HEAD_END) + int(buffer[at:end])
        if len(buffer) >= self._length:
            self._answered(buffer)

    def _answered(self, answer: bytes) -> None:
        now, count = time.perf_counter(), self._count
        if answer[9:12] == self._wanted:
            count.done.append(now - self._asked)
        else:
            said = answer[:12].decode()
            count.others[said] = count.others.get(said, 0) + 1
        self._buffer, self._length = b"", -1
        if now < count.over:
            self._ask()
        else:
            self._transport.close()

    def _ask(self) -> None:
        request = next(self._requests)
        if NUMBER in request:
            request = request.replace(NUMBER, b"%010d" % next(self._numbers))
        self._asked = time.perf_counter()
        self._transport.write(request)


async def _ask(load: Load) -> Figures:
    loop = asyncio.get_running_loop()
    requests = itertools.cycle([one.encode() for one in load.requests])
    numbers = itertools.count(time.time_ns() // 1_000_000 % 1_000_000_000)
    begun, cpu = time.perf_counter(), time.process_time()
    count = _Count(load, [], {}, begun + load.seconds)
    lines = []
    for _ in range(load.connections):
        _, line = await loop.create_connection(
            lambda: _Line(count, requests, numbers), "127.0.0.1", load.port
        )
        lines.append(line)
    await asyncio.gather(*(line.closed for line in lines))
    took = time.perf_counter() - begun
    if count.others:
        raise SystemExit(f"answers that nobody asked for: {count.others}")
    asked = len(count.done)
    return {
        "rate": asked / took,
        "asked": asked,
        "p50_ms": percentile(count.done, 0.5) * 1000,
        "p99_ms": percentile(count.done, 0.99) * 1000,
        "load_us": (time.process_time() - cpu) / asked * 1e6,
    }


async def asked(load: Load) -> Figures:
    """The figures of a load, which a process of its own puts on the server."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.asking"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate(json.dumps(asdict(load)).encode())
    if process.returncode:
        raise SystemExit(process.returncode)
    figures: Figures = json.loads(out)
    return figures


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(_ask(Load(**json.load(sys.stdin))))))

"""Processes of a bench: started, asked for their memory and processor time, and ended with the bench."""

import asyncio
import json
import os
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness import environment

_ROOT = Path(__file__).parents[2]
_TICKS = os.sysconf("SC_CLK_TCK")
_START_SECONDS, _STOP_SECONDS = 60.0, 20.0
_LINE_BYTES = 64 * 1024 * 1024
_QUIET, _LOOK_SECONDS = 0.15, 0.1


@dataclass(frozen=True, slots=True)
class Server:
    """A process that serves at `url`."""

    url: str
    process: Process

    def cpu_seconds(self) -> float:
        """Processor time so far, its children's included."""
        return cpu_seconds(self.process.pid)

    def resident_mb(self) -> float:
        """Its memory now."""
        return resident_kb(self.process.pid) / 1024


@asynccontextmanager
async def started(module: str, *arguments: str, **env: str) -> AsyncIterator[Server]:
    """`python -m MODULE ARGUMENTS…`, which says in a line where it serves, until the block ends.

    It ends by SIGTERM, and by itself where whoever started it is killed. SHOW=1: with its log.
    """
    process = await _process("tests.bench.kept", module, *arguments, **env)
    try:
        said = json.loads(await asyncio.wait_for(_line(process), _START_SECONDS))
        yield Server(said.get("url") or f"http://127.0.0.1:{said['port']}", process)
    finally:
        if process.returncode is None:
            process.terminate()
        await _end(process)


@asynccontextmanager
async def answering(module: str, *arguments: str, **env: str) -> AsyncIterator[Process]:
    """The same of a process that answers a line by a line, and ends with its standard input."""
    process = await _process(module, *arguments, **env)
    assert process.stdin is not None
    try:
        yield process
    finally:
        process.stdin.close()
        await _end(process)


async def asked(process: Process, line: str = "") -> Any:
    """The answer, which is JSON, to a line."""
    assert process.stdin is not None
    process.stdin.write(f"{line}\n".encode())
    return json.loads(await _line(process))


async def heard(process: Process) -> Any:
    """What it says first."""
    return json.loads(await asyncio.wait_for(_line(process), _START_SECONDS))


async def _process(*argv: str, **env: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", *argv),
        cwd=_ROOT,
        env=environment(**env),
        stdin=PIPE,
        stdout=PIPE,
        stderr=None if os.environ.get("SHOW") else DEVNULL,
        limit=_LINE_BYTES,
    )


async def _line(process: Process) -> bytes:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise ChildProcessError("a process of the bench has ended; SHOW=1 shows why")
    return line


async def _end(process: Process) -> None:
    try:
        await asyncio.wait_for(process.wait(), _STOP_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()


def resident_kb(pid: int) -> int:
    """The memory of a process, from /proc."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1])


def cpu_seconds(pid: int) -> float:
    """Processor time of a process and of all below it, those that have ended included, from /proc."""
    total = 0.0
    for one in family(pid):
        fields = _stat(one)
        total += sum(map(int, fields[11:15])) / _TICKS if fields else 0.0
    return total


def busy_seconds() -> tuple[float, float]:
    """Processor time that was used on this machine by anybody, and that there was."""
    first = Path("/proc/stat").read_text().split("\n", 1)[0]
    fields = [int(one) / _TICKS for one in first.split()[1:9]]
    idle = fields[3] + fields[4]
    return sum(fields) - idle, sum(fields)


def own_seconds() -> float:
    """Processor time of this process and all below it."""
    return cpu_seconds(os.getpid())


def others_seconds() -> float:
    """Processor time that was used by anybody else."""
    return busy_seconds()[0] - own_seconds()


async def quiet(patience: float) -> None:
    """Waits until the machine has little to do, or the patience is over."""
    until = time.monotonic() + patience
    while time.monotonic() < until:
        busy, total = busy_seconds()
        await asyncio.sleep(_LOOK_SECONDS)
        now, there = busy_seconds()
        if now - busy < _QUIET * (there - total):
            return


def family(pid: int) -> list[int]:
    """A process and all below it."""
    found, at = [pid], 0
    while at < len(found):
        for children in Path(f"/proc/{found[at]}/task").glob("*/children"):
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
                found += map(int, children.read_text().split())
        at += 1
    return found


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []

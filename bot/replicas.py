"""The processes of a demo: its own, and the one that works, which may be killed while people watch."""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import structlog

from router import clock
from router.clock import Backoff
from router.errors import ConfigurationError
from router.settings import Settings

_log = structlog.get_logger(__name__)

_START_SECONDS = 60.0
_STOP_SECONDS = 15.0
_SHOWN = 5
_BACKOFF = Backoff(first=0.5, most=10.0)
_PACKAGES = Path(__file__).parents[1]
_OURS = ("SLACK_", "ANTHROPIC_", "THREADLINE_")

State = Literal["starting", "working", "killed", "ended"]


@dataclass(slots=True)
class Replica:
    """One process, as people are shown it."""

    pid: int
    roles: tuple[str, ...] = ("worker", "delivery")
    state: State = "starting"
    started_at: str = field(default_factory=lambda: clock.now().isoformat())
    ended_at: str | None = None
    code: int | None = None


class Replicas:
    """Keeps one `bot.understudy` at work from its order on; a new one takes over whenever it ends."""

    def __init__(self) -> None:
        self.shown: deque[Replica] = deque(maxlen=_SHOWN)
        self._own = Replica(os.getpid(), ("ingress",), "working")
        self._process: Process | None = None
        self._order = b""
        self._changed = asyncio.Condition()

    def rows(self) -> list[dict[str, Any]]:
        """The demo's own process, then those that worked, oldest first."""
        return [asdict(replica) for replica in (self._own, *self.shown)]

    @property
    def pid(self) -> int | None:
        """The process that works now."""
        return self._process.pid if self._process else None

    async def prepare(self) -> None:
        """Starts the first one, which reads its program while the rest of the demo starts."""
        await self._spawn()

    @asynccontextmanager
    async def working(self, order: bytes) -> AsyncIterator[None]:
        """At work by this order (`understudy.order_of`) from soon on until the block ends.

        The block is broken off with ConfigurationError where the first one does not come to it.
        """
        self._order = order
        if self._process is None:
            await self._spawn()
        async with asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(self._keep())
            try:
                yield
            finally:
                keeping.cancel()
                await self.close()

    async def close(self) -> None:
        """Lets the process stop in order; ends it when it does not."""
        process = self._process
        await self._now(None)
        if process is None:
            return
        assert process.stdin is not None  # noqa: S101  # it was asked for
        process.stdin.close()
        if self.shown[-1].state == "starting":
            with suppress(ProcessLookupError):
                process.terminate()  # it may still be reading its program, and has nothing to hand back
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def kill(self) -> tuple[int, int | None]:
        """Ends the process that works as a crash would; the pids of it and of the next.

        ProcessLookupError while nobody is there to be killed.
        """
        process = self._process
        if process is None or process.returncode is not None:
            raise ProcessLookupError
        self.shown[-1].state = "killed"
        process.kill()
        async with self._changed:
            await self._changed.wait_for(lambda: self._process is not process)
        return process.pid, self.pid

    # -------------------------------------------------------------- inside

    def _current(self) -> Process:
        assert self._process is not None  # noqa: S101  # somebody is always at it but for a moment
        return self._process

    async def _keep(self) -> None:
        """Has one after the other begin, and waits for its end."""
        failures, first = 0, True
        while True:
            began = await self._begin(self._current())
            process, replica = self._current(), self.shown[-1]
            code = await process.wait()
            killed = replica.state == "killed"
            replica.state = "killed" if killed else "ended"
            replica.ended_at, replica.code = clock.now().isoformat(), code
            if first and not began and not killed:
                raise ConfigurationError(f"the process that is to work ended with code {code}")
            failures, first = 0 if killed or began else failures + 1, False
            if not killed:
                _log.warning("worker.ended", pid=process.pid, code=code)
                await clock.sleep(_BACKOFF.after(failures + 1))
            await self._spawn()

    async def _spawn(self) -> Process:
        # In a session of its own: a Ctrl-C is for the demo, which stops it in its own time. Started
        # where the packages are, so that a folder named like one of ours is not taken for it.
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "bot.understudy",
            stdin=PIPE,
            stdout=PIPE,
            env=environment(),
            cwd=_PACKAGES,
            start_new_session=True,
        )
        self.shown.append(Replica(process.pid))
        await self._now(process)
        return process

    async def _now(self, process: Process | None) -> None:
        self._process = process
        async with self._changed:
            self._changed.notify_all()

    async def _begin(self, process: Process) -> bool:
        """Gives the order and waits for the ready line; False if it ends before that."""
        assert process.stdin is not None  # noqa: S101  # it was asked for
        assert process.stdout is not None  # noqa: S101  # likewise
        replica = self.shown[-1]
        with suppress(ConnectionError):  # its end tells all
            process.stdin.write(self._order)
            await process.stdin.drain()
        try:
            async with asyncio.timeout(_START_SECONDS):
                said = await process.stdout.readline()
        except TimeoutError:
            process.kill()
            said = b""
        if said and replica.state == "starting":
            replica.state = "working"
        return bool(said)


def environment() -> dict[str, str]:
    """Our environment without anything that configures Threadline or a client of its."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.lower() not in Settings.model_fields and not name.upper().startswith(_OURS)
    }

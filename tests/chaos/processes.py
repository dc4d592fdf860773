"""Processes of Threadline: started, watched, killed, frozen and always ended, each by its pid."""

import atexit
import base64
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from bot.app import ROLES
from tests.chaos.points import Point
from tests.harness import World, environment
from tests.support import eventually

_ROOT = Path(__file__).parents[2]
_START_SECONDS = 60.0  # a demo makes a database first, on a machine that may be busy
_STOP_SECONDS = 30.0
_RUN_SECONDS = 100.0
_SECRETS = (
    "SLACK_BOT_TOKEN",
    "SLACK_SIGNING_SECRET",
    "ANTHROPIC_API_KEY",
    "THREADLINE_ENCRYPTION_KEYS",
)
# One of its own for each run, and nothing that a log line holds by chance.
API_KEY = f"sk-ant-{secrets.token_hex(16)}"
ENCRYPTION_KEYS = f"k1:{base64.b64encode(secrets.token_bytes(32)).decode()}"


@dataclass(frozen=True, slots=True)
class Result:
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """What it printed with --json."""
        return json.loads(self.stdout)


@dataclass
class Process:
    """One command, alive or ended; `folder` holds its output."""

    pid: int
    folder: Path
    env: dict[str, str]
    url: str = ""
    stopped_on_purpose: bool = False

    @property
    def stdout(self) -> str:
        return self._read("stdout")

    @property
    def stderr(self) -> str:
        return self._read("stderr")

    @property
    def code(self) -> int | None:
        """The exit code, negative for a signal; None while it lives."""
        code = self._read("code")
        return int(code) if code else None

    def _read(self, name: str) -> str:
        path = self.folder / name
        return path.read_text() if path.exists() else ""

    def log(self, event: str) -> list[dict[str, Any]]:
        """Its log lines of that event, so far."""
        lines = self.stderr.splitlines(keepends=True)
        whole = [json.loads(line) for line in lines if line[0] == "{" and line[-1] == "\n"]
        return [line for line in whole if line["event"] == event]

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, unless it has ended."""
        if self.code is None:
            with suppress(ProcessLookupError):  # it has ended, and its code is about to be written
                os.kill(self.pid, number)

    async def kill(self) -> None:
        """Ends it at once, as a crash of the machine would."""
        self.stopped_on_purpose = True
        self.signal(signal.SIGKILL)
        assert await self.ended() == -signal.SIGKILL

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    async def ready(self) -> dict[str, Any]:
        """Its ready line."""
        line = await eventually(self._first_line, _START_SECONDS, "a ready line")
        said: dict[str, Any] = json.loads(line)
        assert said["ready"] is True
        return said

    def _first_line(self) -> str:
        """Empty until it is whole; it may be all that is left of a process."""
        is_over = self.code is not None
        first, end, _ = self.stdout.partition("\n")
        if is_over and not end:
            self.stopped_on_purpose = True  # told here, not once more at the end
            raise EndedTooSoon(self)
        return first if end else ""

    async def ended(self, timeout: float = _START_SECONDS) -> int:
        """Its exit code, once it has ended; it may still have to start before."""
        await eventually(
            lambda: self.code is not None, timeout, f"the end of {self.pid}: {self.stderr[-2000:]}"
        )
        assert self.code is not None
        return self.code

    def assert_keeps_secrets(self) -> None:
        """Nothing it was given to keep is in anything it said."""
        for name in _SECRETS:
            for secret in self.env.get(name, "").split(":")[-1:]:
                assert not secret or secret not in self.stdout, f"{name} in stdout"
                assert not secret or secret not in self.stderr, f"{name} in stderr"


class EndedTooSoon(Exception):
    """A process ended that should have been ready."""

    def __init__(self, process: Process) -> None:
        super().__init__(f"it ended with {process.code}: {process.stdout}{process.stderr}")


@dataclass
class Processes:
    """Starts commands and, at the end, stops what still runs."""

    folder: Path
    started: list[Process] = field(default_factory=list)

    def start(self, *argv: str, **env: str) -> Process:
        """`threadline ARGV…` with that environment and nothing else that configures it."""
        return self.start_doomed(None, *argv, **env)

    def start_doomed(self, point: Point | None, *argv: str, **env: str) -> Process:
        """The same; it dies at the point, if one is given."""
        folder = self.folder / f"process-{len(self.started)}"
        folder.mkdir()
        given = environment(**env)
        order: dict[str, Any] = {"argv": argv, "env": given, "folder": str(folder)}
        order["point"] = point.order() if point else None
        process = Process(_nursery().fork(order), folder, given)
        process.stopped_on_purpose = point is not None
        self.started.append(process)
        return process

    async def run(self, *argv: str, **env: str) -> Result:
        """The same, to its end."""
        process = self.start(*argv, **env)
        process.stopped_on_purpose = True
        code = await process.ended(_RUN_SECONDS)
        process.assert_keeps_secrets()
        return Result(code, process.stdout, process.stderr)

    async def stop(self) -> None:
        """Stops what runs; whatever a test did not end itself stops cleanly."""
        alive = [p for p in self.started if p.code is None]
        for process in alive:
            process.thaw()
            process.signal(signal.SIGTERM)
        try:
            for process in alive:
                await process.ended(_STOP_SECONDS)
        finally:
            for process in alive:
                process.signal(signal.SIGKILL)
        for process in self.started:
            process.assert_keeps_secrets()
            assert process.stopped_on_purpose or process.code == 0, process.stderr


@asynccontextmanager
async def processes(folder: Path) -> AsyncIterator[Processes]:
    """Processes that do not outlive the block; their output is kept in `folder`."""
    made = Processes(folder)
    try:
        yield made
    finally:
        await made.stop()


@dataclass
class Fleet:
    """`serve` processes over a world."""

    here: World
    processes: Processes

    async def serve(
        self, *, roles: frozenset[str] = ROLES, point: Point | None = None, **env: str
    ) -> Process:
        """One more, ready; Slack's events go to the newest with ingress."""
        process = self.start(roles=roles, point=point, **env)
        process.url = (await process.ready())["url"]
        if "ingress" in roles:
            self.send_events_to(process)
        return process

    async def installed(self) -> Process:
        """One that has stored its install: it begins without where Slack takes too long to say."""
        process = await self.serve()
        await eventually(lambda: self.here.rows("SELECT FROM oauth_installs"), says="an install")
        return process

    def start(
        self, *, roles: frozenset[str] = ROLES, point: Point | None = None, **env: str
    ) -> Process:
        """One more, not ready yet: one whose point is met at once may never be."""
        argv = ("serve", "--port", "0", "--roles", ",".join(sorted(roles)))
        return self.processes.start_doomed(point, *argv, **(serving(self.here) | env))

    def send_events_to(self, process: Process) -> None:
        """Makes the local Slack deliver there."""
        self.here.slack.request_url = f"{process.url}/slack/events"


def serving(here: World) -> dict[str, str]:
    """The variables of a `serve` over the world, with short waits."""
    return {
        "DATABASE_URL": here.dsn,
        "SLACK_BOT_TOKEN": here.slack.bot_token,
        "SLACK_SIGNING_SECRET": here.slack.signing_secret,
        "SLACK_API_URL": here.slack.api_url,
        "ANTHROPIC_API_KEY": API_KEY,
        "ANTHROPIC_BASE_URL": here.runtime.url,
        "THREADLINE_ENCRYPTION_KEYS": ENCRYPTION_KEYS,
        "THREADLINE_LEASE_SECONDS": "2",
        "THREADLINE_SWEEP_SECONDS": "0.2",
    }


class _Nursery:
    """The process that forks, one for the whole run."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.nursery"],
            cwd=_ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def fork(self, order: dict[str, Any]) -> int:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{json.dumps(order)}\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


@cache
def _nursery() -> _Nursery:
    nursery = _Nursery()
    atexit.register(nursery.close)
    return nursery

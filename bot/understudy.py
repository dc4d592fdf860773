"""The process of a demo that works and delivers, apart from it so that it can be killed.

`python -m bot.understudy` takes one line of JSON on stdin, secrets included: neither arguments nor
environment hold any, which other processes may read. It says a ready line, and stops in order at
SIGTERM or when stdin ends, as it does when its demo dies, however that happens.
"""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from bot import places, process
from bot.app import Config, running
from router import logs
from router.loops import Stop
from router.settings import Settings

ROLES = frozenset({"worker", "delivery"})
_MOST_STOP_SECONDS = 25
_CHUNK = 4096


def order_of(settings: Settings, dsn: str, data_dir: Path) -> bytes:
    """The line that makes a process work with these settings; its keys are found as ours are."""
    revealed = {name: _revealed(value) for name, value in settings}
    order = {"settings": revealed, "dsn": dsn, "data_dir": str(data_dir.absolute())}
    return json.dumps(order).encode() + b"\n"


def _revealed(value: Any) -> Any:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def main() -> None:
    """Works until it is told to stop; exit codes as those of `threadline`."""
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):
        return  # the demo ended before it had anything to order
    order = json.loads(line)
    settings = Settings.model_validate(order["settings"])
    logs.configure(level=settings.log_level, style=settings.log_format)
    with process.errors_told():
        process.run(_work(settings, order["dsn"], Path(order["data_dir"])))


async def _work(settings: Settings, dsn: str, data_dir: Path) -> None:
    stop = process.stop_on_signals()
    _stop_at_the_end_of_stdin(stop)
    keys = places.keyring(settings, data_dir)
    async with running(Config(settings, dsn, keys, roles=ROLES)) as app:
        process.ready(pid=os.getpid(), url=app.url)
        await stop.wait()


def _stop_at_the_end_of_stdin(stop: Stop) -> None:
    loop, stdin = asyncio.get_running_loop(), sys.stdin.fileno()

    def readable() -> None:
        if not os.read(stdin, _CHUNK):
            loop.remove_reader(stdin)
            signal.alarm(_MOST_STOP_SECONDS)  # perhaps nobody is left to end a process that hangs
            stop.say()

    loop.add_reader(stdin, readable)


if __name__ == "__main__":
    main()

"""Forks `threadline` commands: `python -m tests.chaos.nursery`, driven by `processes.py`.

Importing the command costs seconds of CPU. This process does it once and forks; a child then runs
`python -m bot` as if it had been started by hand, with the arguments and environment it is given.
One JSON order a line comes in (`argv`, `env`, `folder`, perhaps a `point` at which the child is to
die), the child's pid goes out. The child's output and, once it has ended, its exit code are files in
`folder`.
"""

import gc
import json
import os
import runpy
import selectors
import signal
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.chaos import points

Order = dict[str, Any]

# `bot.cli` alone imports what a command needs only when it runs, which would be in each child.
_COMMANDS = ("bot.cli", "bot.app", "bot.cli_demo", "bot.doctor", "bot.standins")


def main() -> None:
    for name in _COMMANDS:
        import_module(name)
    gc.freeze()  # else each child copies all of it at its first collection: 0.4 s
    order = Nursery().run()
    if order is not None:
        _become(order)
        runpy.run_module("bot", run_name="__main__", alter_sys=True)


class Nursery:
    """The forking process; its children die with it."""

    def __init__(self) -> None:
        self._folders: dict[int, Path] = {}

    def run(self) -> Order | None:
        """Forks until stdin ends, then kills what is left. In a child, returns its order at once."""
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        with selectors.DefaultSelector() as waiting:
            waiting.register(sys.stdin, selectors.EVENT_READ)
            waiting.register(woken, selectors.EVENT_READ)
            while True:
                for key, _ in waiting.select():
                    if key.fd == woken:
                        os.read(woken, 4096)
                        self._reap()
                    elif not (line := sys.stdin.readline()):
                        self._end()
                        return None
                    elif self._fork(order := json.loads(line)):
                        return dict(order)

    def _fork(self, order: Order) -> bool:
        """True in the child."""
        pid = os.fork()
        if pid == 0:
            return True
        self._folders[pid] = Path(order["folder"])
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()
        return False

    def _reap(self) -> None:
        for pid in list(self._folders):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                folder = self._folders.pop(pid)
                (folder / "code.new").write_text(str(os.waitstatus_to_exitcode(status)))
                (folder / "code.new").rename(folder / "code")

    def _end(self) -> None:
        for pid in self._folders:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _become(order: Order) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.environ.clear()
    os.environ.update(order["env"])
    folder = Path(order["folder"])
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, descriptor)
        os.close(file)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    sys.argv = ["threadline", *order["argv"]]
    if order["point"] is not None:
        points.install(order["point"])


if __name__ == "__main__":
    main()

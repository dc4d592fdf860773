"""Who owns a data folder: one process at a time, and nobody's leftovers."""

import fcntl
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from store.pgwheel import EmbeddedPostgresError

_NOTE_BYTES = 4096


class AlreadyRunning(EmbeddedPostgresError):
    """Another process owns the data folder; `pid`, `url` and `dsn` are what it left word of."""

    def __init__(self, data_dir: Path, note: dict[str, Any]) -> None:
        pid, url = note.get("pid"), note.get("url")
        self.data_dir = data_dir
        self.pid: int | None = pid
        self.url: str | None = url
        self.dsn: str | None = note.get("dsn")
        owner = f"process {pid}" if pid else "another process"
        place = f" at {url}" if url else ""
        super().__init__(
            f"Threadline already runs on {data_dir}{place} ({owner}): "
            "use that one, stop it, or choose another --data-dir."
        )


@contextmanager
def sole_owner(data_dir: Path) -> Iterator[int]:
    """Holds the folder's lock and yields its descriptor.

    The kernel frees the lock when its owner dies, however that happens. Raises AlreadyRunning.
    """
    lock = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(data_dir, _read_note(lock)) from None
        os.ftruncate(lock, 0)  # whatever a killed owner left
        write_note(lock)
        try:
            yield lock
        finally:
            os.ftruncate(lock, 0)
    finally:
        os.close(lock)


def write_note(lock: int, **more: str) -> None:
    """Leaves word of this process, and of what else it says of itself, in the lock file."""
    note = json.dumps(_read_note(lock) | {"pid": os.getpid()} | more).encode()
    os.pwrite(lock, note.ljust(_NOTE_BYTES), 0)


def _read_note(lock: int) -> dict[str, Any]:
    """The owner's word; nothing in the moment between its lock and its first word."""
    try:
        note: dict[str, Any] = json.loads(os.pread(lock, _NOTE_BYTES, 0))
    except ValueError:
        return {}
    return note


def end_leftover(cluster: Path, seconds: float) -> None:
    """Stops a server that outlived its owner; the caller holds the lock, so nobody needs it.

    Raises EmbeddedPostgresError when it does not stop within `seconds`.
    """
    pid_file = cluster / "postmaster.pid"
    try:
        pid = int(pid_file.read_text().partition("\n")[0])
    except FileNotFoundError:
        return
    except ValueError:
        pid_file.unlink()
        return
    if _serves(pid, cluster):
        _stop(pid, cluster, seconds)
    elif _alive(pid):
        # Its number belongs to somebody else by now, which PostgreSQL would take for its own.
        pid_file.unlink(missing_ok=True)


def _stop(pid: int, cluster: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGINT)
    while _serves(pid, cluster):
        if time.monotonic() > deadline:
            raise EmbeddedPostgresError(
                f"Process {pid}, a PostgreSQL left over on {cluster}, does not stop: end it by hand."
            )
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _serves(pid: int, cluster: Path) -> bool:
    return b" -D " + os.fsencode(cluster) + b" " in _arguments(pid)


def _arguments(pid: int) -> bytes:
    """A process's command line, joined by spaces; empty when there is no such process."""
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
        except (FileNotFoundError, ProcessLookupError):
            return b""
    command = ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)]
    listed = subprocess.run(command, capture_output=True, check=False)  # noqa: S603  # fixed program
    return listed.stdout

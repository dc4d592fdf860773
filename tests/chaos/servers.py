"""PostgreSQL servers that a test stalls, crashes, starts again and fails over to their standby."""

import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg

from store.embedded import EmbeddedPostgresError, embedded_postgres, temporary_data_dir
from store.pgwheel import server_account, server_programs
from tests.support import eventually


@dataclass
class Server:
    """One server that keeps what it has committed; `dsn` stays the same over restarts."""

    home: Path
    dsn: str = ""
    pid: int = 0
    _life: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start(self) -> None:
        """Starts it, recovering what a crash left."""
        running = await self._life.enter_async_context(embedded_postgres(self.home))
        self.dsn, self.pid = running.dsn, running.pid

    async def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Ends it: SIGINT in order, SIGQUIT at once, SIGKILL with all its backends."""
        if how == signal.SIGINT:
            await self._life.aclose()
            return
        for pid in family(self.pid) if how == signal.SIGKILL else [self.pid]:
            with suppress(ProcessLookupError):  # its parent took it along
                os.kill(pid, how)
        with suppress(EmbeddedPostgresError):  # that it did not stop in order
            await self._life.aclose()

    async def execute(self, *statements: str) -> None:
        """Runs each by itself, since some may stand in no transaction."""
        connection = await asyncpg.connect(self.dsn)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()


@asynccontextmanager
async def server() -> AsyncIterator[Server]:
    """A server of the test's own, running."""
    with temporary_data_dir() as home:
        made = Server(home)
        await made.start()
        try:
            yield made
        finally:
            await made.stop()


@asynccontextmanager
async def standby_of(primary: Server) -> AsyncIterator[Server]:
    """A running standby; every commit of the primary waits for it from here on."""
    with temporary_data_dir() as home:
        _copy(primary, home)
        made = Server(home)
        await made.start()
        try:
            # Not earlier: the copy would have it too, and wait for a standby of its own.
            await primary.execute(
                "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"
            )
            await _in_step(primary)
            yield made
        finally:
            await made.stop()


def _copy(primary: Server, home: Path) -> None:
    """The primary's cluster with all that makes it follow (pg_basebackup --write-recovery-conf)."""
    cluster = home / "postgres"
    cluster.mkdir(mode=0o700)
    if account := server_account():
        os.chown(cluster, account.uid, account.gid)
    options = ["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"]
    server_programs(home).run(
        "pg_basebackup", f"--pgdata={cluster}", f"--dbname={primary.dsn}", *options
    )
    for lock in cluster.glob(".s.PGSQL.*.lock"):  # the primary's: its socket is in the cluster
        lock.unlink()


async def _in_step(primary: Server) -> None:
    connection = await asyncpg.connect(primary.dsn)
    try:
        await eventually(
            lambda: connection.fetchval(
                "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
            ),
            says="a synchronous standby",
        )
    finally:
        await connection.close()


def either(*servers: Server) -> str:
    """An address that leads to whichever of them takes writes."""
    asked = [parse_qs(urlsplit(one.dsn).query) for one in servers]
    hosts = quote(",".join(one["host"][0] for one in asked), safe=",")
    ports = ",".join(one["port"][0] for one in asked)
    database, user = urlsplit(servers[0].dsn).path, asked[0]["user"][0]
    return (
        f"postgresql://{database}?host={hosts}&port={ports}&user={user}"
        "&target_session_attrs=read-write"
    )


# ------------------------------------------------------------------ processes


def family(pid: int) -> list[int]:
    """A process and its children; each backend of PostgreSQL is one."""
    return [pid, *(child for child, parent in _processes() if parent == pid)]


def _processes() -> Iterator[tuple[int, int]]:
    """All processes with their parents; slim Linux images have no `ps`, macOS has no /proc."""
    proc = Path("/proc")
    if (proc / "self/stat").exists():
        for entry in proc.glob("[0-9]*/stat"):
            with suppress(OSError):  # it has ended meanwhile
                pid, _, rest = entry.read_text().partition(" ")
                yield int(pid), int(rest.rpartition(")")[2].split()[1])
        return
    listed = subprocess.check_output(["ps", "-A", "-o", "pid=", "-o", "ppid="], text=True)
    for line in listed.splitlines():
        child, parent = line.split()
        yield int(child), int(parent)


@contextmanager
def stalled(pid: int) -> Iterator[None]:
    """The server and all its backends stand still: connections stay open and nothing answers."""
    stopped: list[int] = []
    try:
        # The postmaster first, so that from then on it starts nobody, and none of its children goes.
        os.kill(pid, signal.SIGSTOP)
        stopped.append(pid)
        for one in family(pid)[1:]:
            os.kill(one, signal.SIGSTOP)
            stopped.append(one)
        yield
    finally:
        for one in reversed(stopped):
            os.kill(one, signal.SIGCONT)

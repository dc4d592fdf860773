"""A PostgreSQL of our own, from a wheel: no server, no account and no container needed.

Files of a data folder: `postgres` (the cluster), `postgres.log` and the one before it, `lock`
(held by the owner, and naming it) and, where root cannot lend the wheel's programs, a copy of them.

The server is a child of its owner and ends with it. An owner that is killed cannot stop it, so a
guard does: a shell that waits for the end of a pipe only the owner holds. Should the guard be
killed as well, the next start stops the server that it finds on the cluster, and starts afresh.
"""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import asyncpg

from store import pgowner
from store.pgowner import AlreadyRunning
from store.pgwheel import (
    Account,
    EmbeddedPostgresError,
    Programs,
    server_account,
    server_programs,
)

__all__ = [
    "AlreadyRunning",
    "EmbeddedPostgres",
    "EmbeddedPostgresError",
    "default_data_dir",
    "embedded_postgres",
    "temporary_data_dir",
]

_DATABASE = _SUPERUSER = "threadline"
_PORT = 5432  # of the socket's name; nothing listens on TCP
_SOCKET_PATH_MAX = 103  # bytes on macOS; Linux allows four more
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0

_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
}
_THROWAWAY_SETTINGS = {
    "shared_buffers": "32MB",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}

# $1: the server's process, $2: its cluster. The number may be another process's by then.
_GUARD = 'read -r _; read -r pid < "$2/postmaster.pid" && [ "$pid" = "$1" ] && kill -INT "$1"'


@dataclass(frozen=True, slots=True)
class EmbeddedPostgres:
    """A running server; `dsn` opens its database `threadline` as the superuser."""

    dsn: str
    data_dir: Path
    pid: int
    _lock: int = field(repr=False)

    def note(self, url: str) -> None:
        """Leaves word of where this owner serves, for a second start on the same data."""
        pgowner.write_note(self._lock, url=url)


def default_data_dir() -> Path:
    """Where Threadline keeps its data unless told otherwise.

    As root not in the home folder: the account that root lends to the server cannot enter it.
    """
    return Path("/var/lib/threadline") if os.geteuid() == 0 else Path.home() / ".threadline"


@contextmanager
def temporary_data_dir() -> Iterator[Path]:
    """A data folder for one run, reachable by the server and removed at the end."""
    account = server_account()
    folder = Path(tempfile.mkdtemp(prefix="threadline-", dir=_temporary_parent(account)))
    try:
        _let_in(folder, account)
        yield folder
    finally:
        shutil.rmtree(folder)


@asynccontextmanager
async def embedded_postgres(
    data_dir: Path, *, durable: bool = True, settings: Mapping[str, str] | None = None
) -> AsyncIterator[EmbeddedPostgres]:
    """Runs the server of `data_dir`, made at first use, for as long as the context lasts.

    Folders that exist keep their owner and mode. `durable=False` trades the data's safety for
    speed; `settings` of PostgreSQL's own replace ours. Raises AlreadyRunning when another process owns the data, EmbeddedPostgresError
    when the server cannot be made, started or stopped in order.
    """
    home = _home(data_dir)
    with pgowner.sole_owner(home) as lock:
        programs, cluster = await asyncio.to_thread(_prepare, home, durable=durable)
        with _socket_folder(cluster, programs.account) as sockets:
            own = (_SETTINGS if durable else _SETTINGS | _THROWAWAY_SETTINGS) | dict(settings or {})
            server = _launch(programs, cluster, sockets, own)
            try:
                await _make_database(server)
                dsn = server.dsn(_DATABASE)
                pgowner.write_note(lock, dsn=dsn)
                yield EmbeddedPostgres(dsn, home, server.process.pid, lock)
            finally:
                await asyncio.to_thread(server.stop)


@dataclass(frozen=True, slots=True)
class _Server:
    process: subprocess.Popen[bytes]
    guard: subprocess.Popen[bytes]
    sockets: Path
    log: Path

    def dsn(self, database: str) -> str:
        host = quote(str(self.sockets), safe="")
        return f"postgresql:///{database}?host={host}&port={_PORT}&user={_SUPERUSER}"

    def stop(self) -> None:
        """Ends every connection and writes all to disk. Raises EmbeddedPostgresError otherwise."""
        try:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGINT)
            code = self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()
            raise EmbeddedPostgresError(
                f"PostgreSQL did not stop in {_STOP_SECONDS:.0f} s and was ended at once; "
                f"it recovers at the next start. Its log is {self.log}."
            ) from None
        finally:
            self.guard.kill()
            self.guard.communicate()
        if code != 0:
            raise EmbeddedPostgresError(self.obituary())

    def obituary(self) -> str:
        last = self.log.read_text(errors="replace").splitlines()[-5:]
        return "\n".join([f"PostgreSQL ended by itself. The end of {self.log}:", *last])


def _prepare(home: Path, *, durable: bool) -> tuple[Programs, Path]:
    """Everything short of starting: a reachable folder, programs, and a cluster nobody serves."""
    with _folder_errors(home):
        account = server_account()
        if account:
            _check_reachable(home, account)
        programs = server_programs(home)
        cluster = home / "postgres"
        if cluster.exists():
            _check_cluster(cluster, account)
            pgowner.end_leftover(cluster, _STOP_SECONDS)
        else:
            _make_cluster(programs, cluster, durable=durable)
        return programs, cluster


@contextmanager
def _folder_errors(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EmbeddedPostgresError(
            f"{home} cannot be used as the data folder ({error}): choose another with --data-dir."
        ) from error


def _home(data_dir: Path) -> Path:
    """The data folder, made with the folders above it where they are missing."""
    home = data_dir.absolute()
    with _folder_errors(home):
        account = server_account()
        for missing in reversed([path for path in (home, *home.parents) if not path.exists()]):
            missing.mkdir(mode=0o700)
            _let_in(missing, account)
    return home


def _let_in(folder: Path, account: Account | None) -> None:
    """Lets the server's account pass through a folder that we made, without listing it."""
    if account:
        os.chown(folder, -1, account.gid)
        folder.chmod(0o710)


def _check_reachable(home: Path, account: Account) -> None:
    if account.may_enter(home):
        return
    closed = next(path for path in reversed((home, *home.parents)) if not account.may_enter(path))
    raise EmbeddedPostgresError(
        f"PostgreSQL refuses to run as root, so it runs as {account.name}, who may not enter "
        f"{closed}. Choose a --data-dir whose parents every user may enter, such as "
        "/var/lib/threadline, or start Threadline as an ordinary user."
    )


def _check_cluster(cluster: Path, account: Account | None) -> None:
    owner, runner = cluster.stat().st_uid, account.uid if account else os.geteuid()
    if owner != runner:
        raise EmbeddedPostgresError(
            f"{cluster} belongs to user {owner}, and PostgreSQL would run as user {runner}: start "
            "Threadline as the user who made it, or choose another --data-dir."
        )
    if not (cluster / "PG_VERSION").exists():
        raise EmbeddedPostgresError(
            f"{cluster} is no PostgreSQL cluster: move it away or choose another --data-dir."
        )


def _make_cluster(programs: Programs, cluster: Path, *, durable: bool) -> None:
    """Makes the cluster under another name first: one that is there is whole."""
    for half_made in cluster.parent.glob("postgres.new.*"):
        shutil.rmtree(half_made, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(prefix="postgres.new.", dir=cluster.parent))
    if programs.account:
        os.chown(fresh, programs.account.uid, programs.account.gid)
    options = ["--locale=C", "--encoding=UTF8", "--auth=trust", f"--username={_SUPERUSER}"]
    if not durable:
        options.append("--no-sync")
    programs.run("initdb", f"--pgdata={fresh}", *options)
    fresh.rename(cluster)
    folder = os.open(cluster.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _socket_folder(cluster: Path, account: Account | None) -> Iterator[Path]:
    """The cluster itself, which only the server's account may enter, or a short private folder."""
    if _can_hold_socket(cluster):
        yield cluster
        return
    short = Path(tempfile.mkdtemp(prefix="threadline-", dir=_temporary_parent(account)))
    try:
        if account:
            os.chown(short, account.uid, account.gid)
        yield short
    finally:
        shutil.rmtree(short, ignore_errors=True)


def _can_hold_socket(folder: Path) -> bool:
    """Whether the socket's path is short enough and survives a connection string."""
    path = os.fsencode(folder / f".s.PGSQL.{_PORT}")
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return len(path) <= _SOCKET_PATH_MAX and b"," not in path


def _temporary_parent(account: Account | None) -> Path:
    """TMPDIR, or /tmp where that one is too deep for a socket or closed to the server."""
    usual = Path(tempfile.gettempdir())
    deep = not _can_hold_socket(usual / "threadline-12345678")
    closed = account is not None and not account.may_enter(usual)
    return Path("/tmp") if deep or closed else usual  # noqa: S108  # mkdtemp makes it private


def _launch(programs: Programs, cluster: Path, sockets: Path, own: Mapping[str, str]) -> _Server:
    log = cluster.with_name("postgres.log")
    if log.exists():
        log.replace(log.with_suffix(".log.1"))
    quoted = str(sockets).replace('"', '""')
    settings = {**own, "unix_socket_directories": f'"{quoted}"', "port": str(_PORT)}
    arguments = [f"--{name}={value}" for name, value in settings.items()]
    with log.open("wb") as output:
        process = programs.start("postgres", "-D", str(cluster), *arguments, log=output)
    guard = programs.start_guard(_GUARD, str(process.pid), str(cluster))
    return _Server(process, guard, sockets, log)


async def _make_database(server: _Server) -> None:
    connection = await _first_connection(server)
    try:
        if not await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", _DATABASE):
            await connection.execute(f"CREATE DATABASE {_DATABASE}")
    finally:
        await connection.close()


async def _first_connection(server: _Server) -> "asyncpg.Connection[asyncpg.Record]":
    """Connects as soon as the server answers. Raises EmbeddedPostgresError when it never does."""
    try:
        async with asyncio.timeout(_START_SECONDS):
            while True:
                try:
                    return await asyncpg.connect(server.dsn("postgres"))
                except (OSError, asyncpg.CannotConnectNowError):
                    if server.process.poll() is not None:
                        raise EmbeddedPostgresError(server.obituary()) from None
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise EmbeddedPostgresError(
            f"PostgreSQL did not answer in {_START_SECONDS:.0f} s. Its log is {server.log}."
        ) from None

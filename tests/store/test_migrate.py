import asyncio
from pathlib import Path

import asyncpg
import pytest

from store.migrate import (
    DatabaseTooNew,
    MigrationError,
    default_directory,
    migrate,
    pending,
    read_migrations,
    schema_dump,
)

_TABLE = "CREATE TABLE first (id int PRIMARY KEY);\nINSERT INTO first VALUES (1);\n"
_COLUMN = "ALTER TABLE first ADD COLUMN name text;"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "0001_table.sql").write_text(_TABLE)
    (tmp_path / "0002_column.sql").write_text(_COLUMN)
    (tmp_path / "schema.sql").write_text("not a migration")
    return tmp_path


@pytest.fixture
async def empty(empty_dsn):
    connection = await asyncpg.connect(empty_dsn)
    yield connection
    await connection.close()


async def test_files_are_applied_in_order_and_once(empty_dsn, empty, folder):
    assert await pending(empty, folder) == ["0001_table", "0002_column"]
    assert await migrate(empty_dsn, folder) == ["0001_table", "0002_column"]
    assert await migrate(empty_dsn, folder) == []
    assert await pending(empty, folder) == []
    assert await empty.fetchval("SELECT count(name) + count(*) FROM first") == 1
    rows = await empty.fetch("SELECT version, name FROM schema_migrations ORDER BY version")
    assert [tuple(row) for row in rows] == [(1, "0001_table"), (2, "0002_column")]


async def test_a_later_file_is_all_that_a_later_run_applies(empty_dsn, empty, folder):
    await migrate(empty_dsn, folder)
    (folder / "0003_more.sql").write_text("CREATE TABLE more ()")
    assert await pending(empty, folder) == ["0003_more"]
    assert await migrate(empty_dsn, folder) == ["0003_more"]


async def test_runners_that_start_together_share_the_work(empty_dsn, folder):
    for number in range(3, 20):
        (folder / f"{number:04}_t.sql").write_text(f"CREATE TABLE t{number} ()")
    runs = await asyncio.gather(*(migrate(empty_dsn, folder) for _ in range(4)))
    assert sorted(name for run in runs for name in run) == [
        migration.name for migration in read_migrations(folder)
    ]


async def test_a_faulty_file_leaves_no_trace_and_what_came_before_stays(empty_dsn, empty, folder):
    (folder / "0002_column.sql").write_text("CREATE TABLE second (); SELECT 1 / 0;")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(empty_dsn, folder)
    assert await empty.fetchval("SELECT to_regclass('second')") is None
    assert await pending(empty, folder) == ["0002_column"]
    (folder / "0002_column.sql").write_text(_COLUMN)
    assert await migrate(empty_dsn, folder) == ["0002_column"]


async def test_a_faulty_first_file_leaves_the_database_empty(empty_dsn, empty, folder):
    (folder / "0001_table.sql").write_text("CREATE TABLE first (); SELECT 1 / 0;")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate(empty_dsn, folder)
    assert await empty.fetchval("SELECT to_regclass('schema_migrations')") is None


async def test_a_database_newer_than_the_code_is_refused_untouched(empty_dsn, empty, folder):
    await migrate(empty_dsn, folder)
    (folder / "0002_column.sql").unlink()
    for refused in (migrate(empty_dsn, folder), pending(empty, folder)):
        with pytest.raises(DatabaseTooNew, match=r"is at 0002_column.*install the version"):
            await refused


@pytest.mark.parametrize("change", ["edited", "renumbered"])
async def test_a_file_that_is_not_the_one_applied_is_refused(empty_dsn, folder, change):
    await migrate(empty_dsn, folder)
    if change == "edited":
        (folder / "0002_column.sql").write_text(_COLUMN + " -- later")
    else:
        (folder / "0002_column.sql").rename(folder / "0003_column.sql")
        (folder / "0002_slipped_in.sql").write_text("CREATE TABLE slipped_in ()")
    with pytest.raises(MigrationError, match=r"restore that file.*new migration"):
        await migrate(empty_dsn, folder)


async def test_line_ends_are_no_change(empty_dsn, folder):
    await migrate(empty_dsn, folder)
    (folder / "0001_table.sql").write_bytes(_TABLE.replace("\n", "\r\n").encode())
    assert await migrate(empty_dsn, folder) == []


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("0004_gap.sql", "0004_gap.sql stands where number 0003 is due"),
        ("0002_double.sql", "0002_double.sql stands where number 0003 is due"),
        ("0000_zero.sql", "0000_zero.sql stands where number 0001 is due"),
        ("3_short.sql", "not named like"),
        ("0003-dash.sql", "not named like"),
    ],
)
async def test_names_out_of_order_are_refused_before_anything_runs(
    empty_dsn, empty, folder, name, complaint
):
    (folder / name).write_text("SELECT 1")
    with pytest.raises(MigrationError, match=complaint):
        await migrate(empty_dsn, folder)
    assert await empty.fetchval("SELECT to_regclass('schema_migrations')") is None


async def test_a_dump_tells_of_the_schema_alone(empty_dsn, folder):
    await migrate(empty_dsn, folder)
    dump = await schema_dump(empty_dsn)
    assert "CREATE TABLE public.first (\n    id integer NOT NULL,\n    name text\n);" in dump
    assert await schema_dump(empty_dsn) == dump
    noise = ("SET ", "\\restrict", "\\unrestrict", "-- Dump", "INSERT", "OWNER")
    assert not [line for line in dump.splitlines() if line.startswith(noise)]


def test_our_own_migrations_are_numbered_and_named():
    names = [migration.name for migration in read_migrations()]
    assert names
    assert names[0].startswith("0001_")


async def test_a_migrated_database_has_nothing_pending(connection):
    assert await pending(connection) == []


async def test_schema_sql_is_what_the_migrations_add_up_to(dsn, connection):
    if connection.get_server_version().major > 16:
        pytest.skip("pg_dump 16 reads no newer server")
    written = default_directory() / "schema.sql"
    assert written.exists(), "run `make schema`"
    assert await schema_dump(dsn) == written.read_text(), "run `make schema` and commit the result"

"""Brings a database to this code's schema: numbered SQL files, forward only.

Each file runs in a transaction of its own, which also records it, behind a lock of that same
transaction: any number of runners may start at once, through any pooler, and a failed file leaves
no trace. `python -m store.migrate` rewrites migrations/schema.sql, the schema that they add up to.
"""

import asyncio
import hashlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from store.database import Connection
from store.embedded import embedded_postgres, temporary_data_dir
from store.pgwheel import own_programs

_FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_SCHEMA_FILE = "schema.sql"
_LOCK = 7_233_912_021_130_000_001  # any number, but always this one
_CONNECT_SECONDS = 10.0


class MigrationError(Exception):
    """The migrations and the database do not fit; the message says what to do."""


class DatabaseTooNew(MigrationError):
    """The database was migrated by a newer Threadline than this one."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of the migrations folder."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Of the text, so that line ends, which version control may change, do not count."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def default_directory() -> Path:
    """The migrations of this installation: in the wheel, or beside the packages in a checkout."""
    packaged = Path(__file__).with_name("_migrations")
    return packaged if packaged.exists() else Path(__file__).parents[1] / "migrations"


def read_migrations(directory: Path | None = None) -> list[Migration]:
    """The files in order. Raises MigrationError for a name or number that is out of order."""
    folder = directory or default_directory()
    migrations = []
    for path in sorted(folder.glob("*.sql")):
        if path.name == _SCHEMA_FILE:
            continue
        match = _FILE_NAME.fullmatch(path.name)
        if not match:
            raise MigrationError(f"{path} is not named like 0001_what_it_does.sql: rename it.")
        migrations.append(Migration(int(match[1]), path.stem, path.read_text(encoding="utf-8")))
    for expected, migration in enumerate(migrations, start=1):
        if migration.version != expected:
            raise MigrationError(
                f"{folder / migration.name}.sql stands where number {expected:04} is due: "
                "number the migrations from 0001 without gaps or doubles."
            )
    return migrations


async def migrate(dsn: str, directory: Path | None = None) -> list[str]:
    """Applies what is missing and returns the names applied, none when the schema is current.

    Raises MigrationError, DatabaseTooNew among them, before anything is changed, and what
    PostgreSQL says about a faulty file.
    """
    migrations = read_migrations(directory)
    connection = await asyncpg.connect(dsn, timeout=_CONNECT_SECONDS)
    try:
        applied = []
        while name := await _apply_next(connection, migrations):
            applied.append(name)
        return applied
    finally:
        await connection.close()


async def pending(connection: Connection, directory: Path | None = None) -> list[str]:
    """The names that `migrate` would apply. Raises MigrationError where it would refuse."""
    missing = await _missing(connection, read_migrations(directory))
    return [migration.name for migration in missing]


# $1: the lock's number
_TAKE_TURN = "SELECT pg_advisory_xact_lock($1)"


async def take_turn(connection: Connection) -> None:
    """Waits until nobody else changes the schema; for as long as the open transaction lasts."""
    await connection.execute(_TAKE_TURN, _LOCK)


_CREATE_RECORD = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    int PRIMARY KEY,
    name       text NOT NULL,
    checksum   text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""

# $1: version, $2: name, $3: checksum
_RECORD = "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)"


async def _apply_next(connection: Connection, migrations: list[Migration]) -> str | None:
    """One transaction: whoever else waited for the lock then sees this file as applied."""
    async with connection.transaction():
        await take_turn(connection)
        missing = await _missing(connection, migrations)
        if not missing:
            return None
        migration = missing[0]
        if migration.version == 1:
            await connection.execute(_CREATE_RECORD)
        await connection.execute(migration.sql)
        await connection.execute(_RECORD, migration.version, migration.name, migration.checksum)
        return migration.name


_RECORD_EXISTS = "SELECT to_regclass('schema_migrations') IS NOT NULL"
_APPLIED = "SELECT version, name, checksum FROM schema_migrations ORDER BY version"


async def _missing(connection: Connection, migrations: list[Migration]) -> list[Migration]:
    if not await connection.fetchval(_RECORD_EXISTS):
        return migrations
    applied = await connection.fetch(_APPLIED)
    if len(applied) > len(migrations):
        raise DatabaseTooNew(
            f"The database is at {applied[-1]['name']}, which this Threadline does not know: "
            "install the version that migrated it, or a newer one."
        )
    for row, migration in zip(applied, migrations, strict=False):
        if row["version"] != migration.version or row["checksum"] != migration.checksum:
            raise MigrationError(
                f"{migration.name} is not the file that the database was migrated with "
                f"({row['name']}): restore that file, and put the change into a new migration."
            )
    return migrations[len(applied) :]


_SCHEMA_HEAD = "-- What the migrations add up to; `make schema` writes it.\n\n"
# Lines of a dump that tell of the dumping, not of the schema.
_NOISE = re.compile(r"--|SET |SELECT pg_catalog\.set_config|\\(un)?restrict ")


async def schema_dump(dsn: str) -> str:
    """The schema as stable SQL text, as schema.sql has it; the server's release is 16 or older."""
    options = ["--schema-only", "--no-owner", "--no-privileges"]
    dump = await asyncio.to_thread(own_programs().run, "pg_dump", *options, f"--dbname={dsn}")
    lines = [line for line in dump.splitlines() if not _NOISE.match(line)]
    return _SCHEMA_HEAD + re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


async def _fresh_schema() -> str:
    with temporary_data_dir() as folder:
        async with embedded_postgres(folder, durable=False) as postgres:
            await migrate(postgres.dsn)
            return await schema_dump(postgres.dsn)


def main() -> None:
    """Rewrites migrations/schema.sql from the migrations (`make schema`)."""
    path = default_directory() / _SCHEMA_FILE
    path.write_text(asyncio.run(_fresh_schema()), encoding="utf-8")
    sys.stdout.write(f"wrote {path}\n")


if __name__ == "__main__":
    main()

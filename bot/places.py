"""Where a command finds its database and its keys."""

import base64
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bot.sealing import Keyring
from router.errors import ConfigurationError
from router.settings import Settings
from store import citus, database
from store.database import Connection
from store.embedded import AlreadyRunning, EmbeddedPostgres, embedded_postgres
from store.migrate import migrate, pending

_KEY_FILE = "keys"
_SET_DATABASE = "DATABASE_URL (a PostgreSQL 15 or newer; or pass --data-dir to have one of our own)"
_SET_KEYS = 'THREADLINE_ENCRYPTION_KEYS ("k1:$(openssl rand -base64 32)"; tokens are stored sealed)'


@dataclass(frozen=True, slots=True)
class Place:
    """A database that is ready for use; `server` where it is one of our own."""

    dsn: str
    server: EmbeddedPostgres | None = None


@asynccontextmanager
async def owned(settings: Settings, data_dir: Path | None) -> AsyncIterator[Place]:
    """The database to serve from: DATABASE_URL, or one of our own in `data_dir`, migrated.

    A database that others share is never migrated in passing: ConfigurationError says what to do.
    """
    if data_dir is not None:
        async with embedded_postgres(data_dir) as server:
            await migrate(server.dsn)
            yield Place(server.dsn, server)
        return
    dsn = _given(settings)
    await _require_migrated(dsn)
    yield Place(dsn)


@asynccontextmanager
async def visited(settings: Settings, data_dir: Path | None) -> AsyncIterator[Place]:
    """The database for an administrative command, also while another process serves from it."""
    try:
        async with owned(settings, data_dir) as place:
            yield place
    except AlreadyRunning as running:
        if running.dsn is None:
            raise
        yield Place(running.dsn)


async def migrated(settings: Settings, data_dir: Path | None) -> list[str]:
    """Brings the database up to date; the names of the migrations that it lacked."""
    if data_dir is not None:
        async with embedded_postgres(data_dir) as server:
            return await migrate(server.dsn)
    dsn = _given(settings)
    await (await _reached(dsn)).close()
    return await migrate(dsn)


async def distributed(settings: Settings) -> list[str]:
    """Brings the tables to their places on a Citus cluster; the names of those that were not there.

    MigrationError where there is no Citus.
    """
    return (await citus.spread(_given(settings))).tables


def missing(settings: Settings, data_dir: Path | None) -> list[str]:
    """What must be set for a database and its keys, and is not."""
    if data_dir is not None:
        return []
    lacking = []
    if settings.database_url is None:
        lacking.append(_SET_DATABASE)
    if settings.threadline_encryption_keys is None:
        lacking.append(_SET_KEYS)
    return lacking


def _given(settings: Settings) -> str:
    if settings.database_url is None:
        raise ConfigurationError.to_set([_SET_DATABASE])
    return settings.database_url.get_secret_value()


async def _reached(dsn: str) -> Connection:
    try:
        return await database.connect(dsn)
    except database.ERRORS as error:
        raise ConfigurationError(
            f"the database of DATABASE_URL cannot be reached ({type(error).__name__}): {error}"
        ) from error


async def _require_migrated(dsn: str) -> None:
    connection = await _reached(dsn)
    try:
        lacking = await pending(connection)
    finally:
        await connection.close()
    if lacking:
        raise ConfigurationError(
            f"the database lacks {len(lacking)} migration(s): run `threadline migrate` first"
        )


def keyring(settings: Settings, data_dir: Path | None) -> Keyring:
    """The keys for tokens at rest: THREADLINE_ENCRYPTION_KEYS, else a file in our own data folder."""
    if settings.threadline_encryption_keys is not None:
        return Keyring.parse(settings.threadline_encryption_keys.get_secret_value())
    if data_dir is None:
        raise ConfigurationError.to_set([_SET_KEYS])
    return Keyring.parse(_own_key(data_dir / _KEY_FILE))


def _own_key(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text()
    with os.fdopen(descriptor, "w") as file:
        file.write(f"local:{base64.b64encode(secrets.token_bytes(32)).decode()}")
    return path.read_text()

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from router import intake
from store import database
from store.database import Connection
from tests.databases import database_named
from tests.store import factories
from tests.store.factories import Ground
from tests.store.grown import forget_what_is_awake, grow

Connect = Callable[[], Awaitable[Connection]]

_LOCK_SECONDS = intake._LOCK_SECONDS
_LIMITS = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine all may stand still for seconds: no limit of ours ends what a test waits for.

    Tests of a limit set it themselves.
    """
    for name in _LIMITS:
        monkeypatch.setitem(database._SERVER_SETTINGS, name, "60000")
    for module, name in (
        (database, "_CONNECT_SECONDS"),
        (database, "_COMMAND_SECONDS"),
        (intake, "ACCEPT_SECONDS"),
        (intake, "_LOCK_SECONDS"),
    ):
        monkeypatch.setattr(module, name, 60.0)


@pytest.fixture
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accepts wait for a row no longer than they do in earnest."""
    monkeypatch.setattr(intake, "_LOCK_SECONDS", _LOCK_SECONDS)


@pytest.fixture
def _no_second_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is in an accept's batch hears of its error; none is tried again alone."""
    monkeypatch.setattr(database, "ROW_ERRORS", ())


@pytest.fixture
async def connect(dsn: str) -> AsyncIterator[Connect]:
    """Opens connections with our own settings, closed at the end whatever they wait for."""
    async with AsyncExitStack() as stack:

        async def opened() -> Connection:
            connection = await database.connect(dsn)
            stack.callback(connection.terminate)
            return connection

        yield opened


@pytest.fixture
async def connect_patiently(dsn: str) -> AsyncIterator[Connect]:
    """Opens connections that wait for locks until a deadlock is found, which is soon."""
    async with AsyncExitStack() as stack:

        async def opened() -> Connection:
            connection = await asyncpg.connect(dsn)
            stack.callback(connection.terminate)
            with suppress(asyncpg.InsufficientPrivilegeError):  # then it takes a second
                await connection.execute("SET deadlock_timeout = '50ms'")
            return connection

        yield opened


@pytest.fixture
async def db(connect: Connect) -> Connection:
    return await connect()


@pytest.fixture
async def on(db: Connection) -> Ground:
    """A workspace, its agent and its install."""
    return await factories.ground(db)


@pytest.fixture(scope="session")
def grown(postgres_dsn: str, template: str) -> Iterator[str]:
    """A database with months of use in it (see tests/store/grown.py), read only by the tests."""
    with _copy(postgres_dsn, template, grow) as dsn:
        yield dsn


@pytest.fixture(scope="session")
def surprised(grown: str, postgres_dsn: str) -> Iterator[str]:
    """The same database, last counted by PostgreSQL while nothing in it was awake."""
    template = grown.rpartition("/")[2].partition("?")[0]
    with _copy(postgres_dsn, template, forget_what_is_awake) as dsn:
        yield dsn


@contextmanager
def _copy(
    postgres_dsn: str, template: str, change: Callable[[str], Coroutine[Any, Any, None]]
) -> Iterator[str]:
    """A changed copy of a database, for as long as the context lasts."""
    name = f"copy_{uuid4().hex}"
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as own:
        own.run(_on(postgres_dsn, f"CREATE DATABASE {name} TEMPLATE {template}"))
        dsn = database_named(postgres_dsn, name)
        own.run(change(dsn))
        yield dsn
        own.run(_on(postgres_dsn, f"DROP DATABASE {name} WITH (FORCE)"))


async def _on(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(statement)
    await connection.close()

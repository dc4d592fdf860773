import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from uuid import uuid4

import asyncpg
import pytest

from store import database
from store.database import Connection
from tests.databases import database_named
from tests.store import factories
from tests.store.factories import Ground
from tests.store.grown import grow

Connect = Callable[[], Awaitable[Connection]]


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
    name = f"grown_{uuid4().hex}"
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as own:
        own.run(_on(postgres_dsn, f"CREATE DATABASE {name} TEMPLATE {template}"))
        dsn = database_named(postgres_dsn, name)
        own.run(grow(dsn))
        yield dsn
        own.run(_on(postgres_dsn, f"DROP DATABASE {name} WITH (FORCE)"))


async def _on(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(statement)
    await connection.close()

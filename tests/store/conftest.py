from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress

import asyncpg
import pytest

from store import database
from store.database import Connection
from tests.store import factories
from tests.store.factories import Ground

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

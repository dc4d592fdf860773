"""Two or three connections that meet at a row, in an order that the test decides."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from store.database import Connection
from tests.support import eventually

T = TypeVar("T")


async def blocked(observer: Connection, *waiters: Connection) -> None:
    """Returns once each of the connections waits for a lock."""
    pids = [waiter.get_server_pid() for waiter in waiters]
    for pid in pids:
        await eventually(
            lambda pid=pid: observer.fetchval("SELECT pg_blocking_pids($1) <> '{}'", pid),  # type: ignore[misc]  # mypy infers no default of a lambda
            says=f"connection {pid} waits",
        )


async def impatient(connection: Connection) -> Connection:
    """The connection, from now on without time for rows that somebody holds."""
    await connection.execute("SET lock_timeout = '100ms'")
    return connection


async def outcome(work: Coroutine[Any, Any, T]) -> T | Exception:
    """What the work returned or raised: a task group would end at the first error."""
    try:
        return await work
    except Exception as raised:  # noqa: BLE001  # handed to the test, which judges it
        return raised


async def together(*work: Coroutine[Any, Any, T]) -> list[T | Exception]:
    """What each returned or raised, all begun at once."""
    return await asyncio.gather(*(outcome(one) for one in work))

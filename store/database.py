"""Connections to PostgreSQL: how they are made, what they refuse to wait for, how they fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

Record: TypeAlias = asyncpg.Record
# As text: asyncpg's classes are generic only for the type checker.
Connection: TypeAlias = "asyncpg.Connection[Record] | PoolConnectionProxy[Record]"
Pool: TypeAlias = "asyncpg.Pool[Record]"

# What the driver raises. All of it means "unknown", never "did not happen": retry by key.
# The internal one is what a statement meets on a connection that the server is just closing, and
# what connecting meets while none of several hosts takes writes.
ERRORS: tuple[type[Exception], ...] = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
# Errors that one row of a batch may cause while its neighbours are sound.
ROW_ERRORS: tuple[type[Exception], ...] = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.SerializationError,
)

# A holder that freezes inside a transaction may block nobody for longer than this.
_SERVER_SETTINGS = {
    "application_name": "threadline",
    "idle_in_transaction_session_timeout": "3000",
    "lock_timeout": "1000",
    "statement_timeout": "10000",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}
_NOT_DURABLE = {"synchronous_commit": "off"}
# A plan of its own for each call costs more than most calls; and one that was made while the tables were
# small, or before they were first analysed, reads them whole for as long as it is kept.
# tests/store/test_plans_all.py holds every statement to what such a plan reads.
_PLANNED_ONCE = {"plan_cache_mode": "force_generic_plan", "enable_seqscan": "off"}
_CONNECT_SECONDS = 5.0
_COMMAND_SECONDS = 12.0  # a little more than the server's own limit, for a server that stalls
_NOTIFY_SECONDS = 2.0
_STATEMENTS = 500


async def connect(
    dsn: str, seconds: float = _COMMAND_SECONDS, *, name: str = "threadline"
) -> asyncpg.Connection[Record]:
    """One connection with the settings that every connection of ours has.

    No statement waits longer than `seconds` for a server that does not answer. `name` is what the
    server's list of connections shows.
    """
    connection = await asyncpg.connect(
        dsn,
        server_settings=_SERVER_SETTINGS | {"application_name": name},
        timeout=_CONNECT_SECONDS,
        command_timeout=seconds,
    )
    await _set_codecs(connection)
    return connection


async def open_pool(
    dsn: str, *, size: int, durable: bool = True, planned_once: bool = True
) -> Pool:
    """A pool of at most `size` connections; none is opened before it is needed.

    What is committed over one that is not `durable` may be lost where PostgreSQL crashes within a
    moment; nobody waits for the disk. Statements are `planned_once` for a connection, unless what they
    read differs by what they are asked, as that of searches does.

    No state is ever set on a connection outside a transaction, so nothing is reset on release: the
    reset would cost a round trip, and would stall with a stalled server.
    """
    return await asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=size,
        timeout=_CONNECT_SECONDS,
        command_timeout=_COMMAND_SECONDS,
        server_settings={
            **_SERVER_SETTINGS,
            **({} if durable else _NOT_DURABLE),
            **(_PLANNED_ONCE if planned_once else {}),
        },
        # Every statement of ours stays prepared: they are fewer, and none is made up on the way.
        statement_cache_size=_STATEMENTS,
        max_cached_statement_lifetime=0,
        init=_set_codecs,
        reset=_keep,
    )


async def _set_codecs(connection: Connection) -> None:
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads
    )


async def _keep(connection: Connection) -> None:
    """Leaves a released connection as it is."""


def borrow(pool: Pool) -> AbstractAsyncContextManager[Connection]:
    """A connection for a short transaction, for so long as a server that lives may take."""
    return within(pool, _COMMAND_SECONDS)


def within(pool: Pool, seconds: float) -> AbstractAsyncContextManager[Connection]:
    """A connection for at most `seconds`, acquiring included; one of ERRORS when they are over.

    The connection is then terminated, not released: with a stalled server a polite end stalls too.
    """
    return _Within(pool, seconds)


class _Within:
    """As asyncio.timeout, with one timer for the task and for the connection that it holds.

    The alarm ends the connection, since a cancelled transaction would first wait for its ROLLBACK.
    """

    __slots__ = ("_alarm", "_before", "_connection", "_is_over", "_pool", "_seconds", "_task")

    def __init__(self, pool: Pool, seconds: float) -> None:
        self._pool, self._seconds = pool, seconds
        self._connection: PoolConnectionProxy[Record] | None = None
        self._is_over = False

    async def __aenter__(self) -> Connection:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a connection is borrowed inside of a task")
        self._task, self._before = task, task.cancelling()
        self._alarm = asyncio.get_running_loop().call_later(self._seconds, self._ring)
        try:
            self._connection = await self._pool.acquire()
        except BaseException as error:
            self._alarm.cancel()
            self._say_if_over(error)
            raise
        return self._connection

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        try:
            await self._return(error)
        except BaseException as also:
            self._say_if_over(also)
            raise
        finally:
            self._alarm.cancel()
        self._say_if_over(error)

    async def _return(self, error: BaseException | None) -> None:
        connection, self._connection = self._connection, None
        assert connection is not None  # noqa: S101  # it was entered
        # The rollback on a broken connection fails, and its error hides that we were cancelled.
        is_cancelled = isinstance(error, asyncio.CancelledError) or (
            isinstance(error, ERRORS) and self._task.cancelling() > self._before
        )
        if is_cancelled:
            _terminate(connection)
        await self._pool.release(connection)
        if is_cancelled and not isinstance(error, asyncio.CancelledError):
            raise asyncio.CancelledError from error

    def _ring(self) -> None:
        self._is_over = True
        self._task.cancel()
        if self._connection is not None:
            _terminate(self._connection)

    def _say_if_over(self, error: BaseException | None) -> None:
        """TimeoutError in place of the cancelling that was the alarm's own."""
        if not self._is_over:
            return
        self._is_over = False
        if self._task.uncancel() <= self._before and isinstance(error, asyncio.CancelledError):
            raise TimeoutError from error


def _terminate(connection: Connection) -> None:
    with suppress(asyncpg.InterfaceError):  # it has ended by itself, and is not ours any more
        connection.terminate()


# $1 milliseconds, with their unit
_WAIT_FOR_LOCKS = "SELECT set_config('lock_timeout', $1, true)"


async def wait_for_locks(connection: Connection, seconds: float) -> None:
    """Waits for a row no longer than that, until the open transaction ends."""
    await connection.execute(_WAIT_FOR_LOCKS, f"{seconds * 1000:.0f}ms")


async def close_pool(pool: Pool, seconds: float = 3.0) -> None:
    """Closes the pool, by force when its connections do not come back in time."""
    try:
        async with asyncio.timeout(seconds):
            await pool.close()
    except TimeoutError:
        pool.terminate()


async def server_settings(connection: Connection) -> dict[str, str]:
    """Version and durability of the server, as `doctor` judges them."""
    version: int = await connection.fetchval("SELECT current_setting('server_version_num')::int")
    commit: str = await connection.fetchval("SELECT current_setting('synchronous_commit')")
    return {"version": str(version // 10_000), "synchronous_commit": commit}


# ------------------------------------------------------------------ wake-ups across processes

_CHANNEL = "threadline_wake"
# $1 payload: agent and session ids
_NOTIFY = "SELECT pg_notify('threadline_wake', $1)"
INSTALLS = "installs"  # the payload that says: what is known of installs may be old
_NOTIFY_BYTES = 7_500  # PostgreSQL refuses payloads of 8,000 bytes


async def notify(connection: Connection, payloads: list[str]) -> None:
    """Tells other processes which sessions to look at: a hint, never the only way.

    With nothing to tell it only asks whether the connection still leads anywhere.
    """
    if not payloads:
        await connection.execute("SELECT 1")
    batch: list[str] = []
    for payload in payloads:
        if sum(map(len, batch)) + len(batch) + len(payload) > _NOTIFY_BYTES:
            await connection.execute(_NOTIFY, " ".join(batch))
            batch = []
        batch.append(payload)
    if batch:
        await connection.execute(_NOTIFY, " ".join(batch))


async def listen(dsn: str, on_payload: Callable[[str], None], lost: asyncio.Event) -> Connection:
    """A connection of its own that hands every payload to `on_payload`; sets `lost` when it ends.

    A line that has gone dead ends nothing: whoever listens asks now and then (see `notify`).
    """
    connection = await connect(dsn, _NOTIFY_SECONDS, name="threadline listener")
    ours = connection.get_server_pid()

    def heard(_connection: object, sender: int, _channel: str, payload: object) -> None:
        if sender != ours:  # what this process said itself it knows already
            _each(str(payload), on_payload)

    try:
        await connection.add_listener(_CHANNEL, heard)
    except BaseException:  # nobody else knows of it
        _terminate(connection)
        raise
    connection.add_termination_listener(lambda _: lost.set())
    return connection


def _each(joined: str, on_payload: Callable[[str], None]) -> None:
    for payload in joined.split(" "):
        on_payload(payload)

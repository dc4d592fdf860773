"""Kills its own process at a named point, or cuts its database there: only in children of a test.

A point is a function of the product and a moment of one of its calls. The nursery installs it in
the child that it forks; the product knows nothing of it.
"""

import importlib
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from functools import wraps
from typing import Any, Literal

import asyncpg
from asyncpg.transaction import Transaction

Moment = Literal[
    "called",  # nothing of the call has happened
    "returned",  # its result is there, and nobody knows it yet
    "commit",  # the transaction that it wrote in is about to be committed
    "committed",  # it is durable, and nobody knows it yet
    "unknown",  # it is durable, the answer to COMMIT is lost, and the process lives
    "lost",  # the same of a call that is a transaction by itself
]


@dataclass(frozen=True, slots=True)
class Point:
    """`function` as `module:name` or `module:Class.name`; strikes once, at its `count`th call."""

    function: str
    moment: Moment
    count: int = 1

    def order(self) -> dict[str, Any]:
        """As it is sent to the nursery."""
        return asdict(self)


def install(order: dict[str, Any]) -> None:
    """Makes this process end at the point."""
    _Trap(Point(**order)).set()


class _Trap:
    def __init__(self, point: Point) -> None:
        self._point = point
        self._calls = 0
        self._in_transaction: set[int] = set()

    def set(self) -> None:
        module_name, _, path = self._point.function.partition(":")
        *owners, name = path.split(".")
        owner: Any = importlib.import_module(module_name)
        for part in owners:
            owner = getattr(owner, part)
        setattr(owner, name, self._around(getattr(owner, name)))
        if self._point.moment in ("commit", "committed", "unknown"):
            leave = "__aexit__"
            setattr(Transaction, leave, self._around_exit(getattr(Transaction, leave)))

    def _around(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @wraps(call)
        async def trapped(*args: Any, **options: Any) -> Any:
            self._calls += 1
            mine = self._calls == self._point.count
            if mine and self._point.moment == "called":
                _die()
            result = await call(*args, **options)
            if mine and self._point.moment == "returned":
                _die()
            if mine and self._point.moment == "lost":
                args[0].terminate()
                raise asyncpg.ConnectionDoesNotExistError("the answer was lost")
            if mine:
                self._in_transaction.add(_connection(args[0]))
            return result

        return trapped

    def _around_exit(self, leave: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @wraps(leave)
        async def trapped(transaction: Any, kind: Any, error: Any, trace: Any) -> Any:
            mine = id(transaction._connection) in self._in_transaction and kind is None
            if mine and self._point.moment == "commit":
                _die()
            await leave(transaction, kind, error, trace)
            if mine and self._point.moment == "committed":
                _die()
            if mine:
                self._in_transaction.clear()
                transaction._connection.terminate()
                raise asyncpg.ConnectionDoesNotExistError("the answer to COMMIT was lost")

        return trapped


def _connection(given: Any) -> int:
    """Tells connections apart, lent ones by what is behind them."""
    return id(getattr(given, "_con", given))


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)

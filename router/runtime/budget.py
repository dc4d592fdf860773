"""The runtime's requests per minute, shared by all replicas that use the same key.

Who wants a permit stands in line, in this process by need and then by arrival; one of them at a time
asks PostgreSQL, for as many as wait. A need that may wait cannot spend the last of the burst, so
that whoever may not finds some left, also where every replica's line is long.

A permit that nobody wants any more is forfeit.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import IntEnum

from router import clock
from router.loops import wait_for
from store import budgets, database
from store.budgets import Kind
from store.database import Pool


class Need(IntEnum):
    """Why a request is made, most urgent first."""

    DOUBT = 0  # what was sent may or may not be there: until it is known nothing else moves
    RECOVERY = 1  # a turn in flight lost its stream or its holder
    LIVE = 2  # a turn that begins or goes on
    VIEW = 3  # somebody looks on, or figures are to be completed


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `per_minute` requests in any minute, `burst` of them at once."""

    per_minute: int
    burst: int

    @property
    def each(self) -> timedelta:
        """The time that one permit stands for."""
        return timedelta(seconds=60 / (self.per_minute - self.burst))

    def ahead(self, need: Need) -> timedelta:
        """How far ahead of the steady rate a need may be."""
        return self.each * max(1, int(self.burst * _SHARES[need]))


_SHARES = {Need.DOUBT: 1.0, Need.RECOVERY: 0.9, Need.LIVE: 0.6, Need.VIEW: 0.3}
# platform.claude.com/docs/en/managed-agents/reference: 1,200 reads (streams are reads) and 300
# creates a minute and organisation. A few are left unused, since requests arrive closer together
# than their permits were given. A small burst costs a long line of waiters least.
_LIMITS: dict[Kind, Limit] = {"read": Limit(1180, 100), "create": Limit(295, 45)}
_UNUSED, _BURST = 0.02, {"read": 1 / 12, "create": 0.15}  # of limits that are not everybody's
_BLOCK = 6  # while permits are short so many are waited for before PostgreSQL is asked again
_LONG_LINE = 20  # about a second of all reads: who waits much longer may die with its process first
_MOST_REST_SECONDS = 1.0
_WITHOUT_RETRY_AFTER_SECONDS = 1.0


class Budget:
    """Gives permits for the key's requests. Raises what the database raises.

    `allowed`: requests a minute that the runtime allows this key, where that is not what it allows
    everybody; the same in all replicas.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        api_key: str,
        base_url: str,
        allowed: Mapping[Kind, int | None] | None = None,
    ) -> None:
        self._pool = pool
        self._key_hash = _hash(api_key, base_url)
        self._limits = dict(_LIMITS)
        for kind, per_minute in (allowed or {}).items():
            if per_minute is not None:
                self._limits[kind] = _limit(kind, per_minute)
        self._lines = {
            kind: _Line(pool, self._key_hash, kind, limit) for kind, limit in self._limits.items()
        }

    async def take(self, kind: Kind, need: Need) -> None:
        """Returns with one permit, however long that takes. Never call it with a connection."""
        await self._lines[kind].permit(need)

    def room(self, kind: Kind) -> int:
        """How many more may stand in line here before waiting there is no use to anybody."""
        return self._lines[kind].room

    async def empty(self, kind: Kind, retry_after: float | None) -> None:
        """The runtime said 429: nobody makes such a request before then."""
        limit = self._limits[kind]
        seconds = retry_after or _WITHOUT_RETRY_AFTER_SECONDS
        # then one may go at once, and the others at the steady rate
        ahead = timedelta(seconds=seconds) + limit.each * (limit.burst - 1)
        async with database.borrow(self._pool) as connection:
            await budgets.empty_for(connection, self._key_hash, kind, ahead)


def _limit(kind: Kind, per_minute: int) -> Limit:
    """Of another size, and the same shape."""
    return Limit(per_minute - int(per_minute * _UNUSED), max(1, int(per_minute * _BURST[kind])))


def _hash(api_key: str, base_url: str) -> bytes:
    """Names the key, and cannot be turned back into it."""
    return hashlib.sha256(f"runtime budget\n{base_url}\n{api_key}".encode()).digest()


@dataclass(eq=False, slots=True)
class _Waiter:
    need: Need
    called: asyncio.Event = field(default_factory=asyncio.Event)
    served: bool = False


class _Line:
    """Those who wait for one kind of permit. The first to come asks for all until it has its own."""

    def __init__(self, pool: Pool, key_hash: bytes, kind: Kind, limit: Limit) -> None:
        self._pool, self._key_hash = pool, key_hash
        self._kind, self._limit = kind, limit
        self._waiting: dict[Need, dict[_Waiter, None]] = {need: {} for need in Need}
        self._asker: _Waiter | None = None
        self._resting_for: Need | None = None
        self._more_urgent = asyncio.Event()

    @property
    def room(self) -> int:
        long = max(_LONG_LINE, int(1 / self._limit.each.total_seconds())) if _LONG_LINE else 0
        return max(0, long - sum(map(len, self._waiting.values())))

    async def permit(self, need: Need) -> None:
        mine = _Waiter(need)
        self._waiting[need][mine] = None
        if self._resting_for is not None and need < self._resting_for:
            self._more_urgent.set()
        try:
            if self._asker is not None:
                await mine.called.wait()
            if not mine.served:
                self._asker = mine
                await self._ask(mine)
        finally:
            self._waiting[need].pop(mine, None)
            if self._asker is mine:
                self._asker = self._first()
                if self._asker is not None:
                    self._asker.called.set()

    def _first(self) -> _Waiter | None:
        return next((w for line in self._waiting.values() for w in line), None)

    async def _ask(self, mine: _Waiter) -> None:
        while not mine.served:
            first = self._first()
            assert first is not None  # noqa: S101  # the asker waits itself
            wanted = len(self._waiting[first.need])
            async with database.borrow(self._pool) as connection:
                taken = await budgets.take_some(
                    connection,
                    self._key_hash,
                    self._kind,
                    wanted,
                    self._limit.each,
                    self._limit.ahead(first.need),
                )
            self._serve(taken.count)
            if taken.count < wanted and not mine.served:
                await self._rest(first.need, taken.wait)

    def _serve(self, count: int) -> None:
        for _ in range(count):
            first = self._first()
            if first is None:
                return
            del self._waiting[first.need][first]
            first.served = True
            first.called.set()

    async def _rest(self, need: Need, wait: float) -> None:
        """Until some permits are there again, or somebody comes who may have what is left."""
        block = min(_BLOCK, max(1, len(self._waiting[need])))
        seconds = wait + (block - 1) * self._limit.each.total_seconds()
        self._resting_for = need
        self._more_urgent.clear()
        try:
            await wait_for(self._more_urgent, clock.jittered(min(seconds, _MOST_REST_SECONDS)))
        finally:
            self._resting_for = None

"""Slack's tiers, kept over all streams and replicas: permits in small blocks from PostgreSQL."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from router import clock
from store import budgets, database
from store.database import Pool

_KEPT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Tier:
    """At most `per_minute` calls in any minute, `burst` of them at once; taken `block` at a time."""

    per_minute: int
    burst: int
    block: int = 1

    @property
    def each(self) -> timedelta:
        """The time that one permit stands for."""
        return timedelta(seconds=60 / (self.per_minute - self.burst))


# docs.slack.dev/apis/web-api/rate-limits, per method and workspace: 20, 50 and 100 a minute. A few
# are left unused, since calls reach Slack closer together than their permits were given.
_TIERS = {
    "chat.startStream": Tier(19, 8),
    "chat.stopStream": Tier(19, 8),
    "chat.appendStream": Tier(94, 34, 4),
    "chat.update": Tier(47, 17),
    "chat.postMessage": Tier(64, 4),  # this one per channel: about one a second, short bursts
    "conversations.replies": Tier(47, 17),  # an app that Slack limits to one says 429 and waits
    "conversations.history": Tier(47, 17),
    "agents.sessions.setStatus": Tier(47, 17),
    "reactions.add": Tier(19, 8),  # of 50: each is to be removed again
    "reactions.remove": Tier(19, 8),
}


class Budgets:
    """Gives permits. A permit that is not used within two seconds is forfeit."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._kept: dict[tuple[UUID, str, str], tuple[int, float]] = {}
        self._one_at_a_time: defaultdict[tuple[UUID, str, str], asyncio.Lock] = defaultdict(
            asyncio.Lock
        )

    async def take(self, install_id: UUID, method: str, channel: str = "") -> bool:
        """One permit, now or not at all; `channel` where each channel has a limit of its own."""
        key = (install_id, method, channel)
        if _TIERS[method].block == 1:
            return await self._take(key)
        async with self._one_at_a_time[key]:  # the others find what is left of the block
            return await self._take(key)

    async def _take(self, key: tuple[UUID, str, str]) -> bool:
        kept, until = self._kept.pop(key, (0, 0.0))
        if kept and until > clock.monotonic():
            self._keep(key, kept - 1, until)
            return True
        tier = _TIERS[key[1]]
        for block in sorted({tier.block, 1}, reverse=True):
            if await self._lease(key, tier.each * block, tier.burst):
                self._keep(key, block - 1, clock.monotonic() + _KEPT_SECONDS)
                return True
        return False

    async def take_spare(self, install_id: UUID, method: str, channel: str = "") -> bool:
        """One permit for what is best effort: half of the burst is left to what has to be said."""
        tier = _TIERS[method]
        spare = tier.burst - tier.burst // 2
        return await self._lease((install_id, method, channel), tier.each, spare)

    def _keep(self, key: tuple[UUID, str, str], count: int, until: float) -> None:
        if count:
            self._kept[key] = (count, until)

    async def _lease(self, key: tuple[UUID, str, str], cost: timedelta, burst: int) -> bool:
        install_id, method, channel = key
        async with database.borrow(self._pool) as connection:
            return await budgets.take(
                connection,
                install_id,
                _row(method, channel),
                clock.now(),
                cost,
                _TIERS[method].each * burst,
            )

    async def empty(
        self, install_id: UUID, method: str, retry_after: float, channel: str = ""
    ) -> None:
        """Slack said 429: nobody calls this method there before then."""
        tier = _TIERS.get(method)
        if tier is None:
            return
        self._kept.pop((install_id, method, channel), None)
        until = clock.now() + timedelta(seconds=retry_after) + tier.each * (tier.burst - 1)
        async with database.borrow(self._pool) as connection:
            await budgets.empty(connection, install_id, _row(method, channel), until)


def _row(method: str, channel: str) -> str:
    return f"{method} {channel}" if channel else method

"""Slack's tiers, kept over all streams and replicas: permits in small blocks from PostgreSQL.

In a process those who found none stand in line: deliveries first, then who has waited longest. A
permit is given to somebody further back only if there is one for each before them.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeAlias
from uuid import UUID

from router import clock
from store import budgets, database
from store.database import Pool

_KEPT_SECONDS = 2.0
_COMES_BACK_SECONDS = 2.5  # who has not asked for so long has given up
_APPEND, _UPDATE = "chat.appendStream", "chat.update"
_WAITED_FOR = frozenset({_APPEND, _UPDATE})  # the others do without what they do not get


_Key: TypeAlias = tuple[UUID, str, str]  # install, method, channel


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
    "conversations.info": Tier(47, 17),
    "users.conversations": Tier(47, 17),
    "users.info": Tier(94, 34),
    "files.info": Tier(94, 34),
    "files.getUploadURLExternal": Tier(94, 34),
    "files.completeUploadExternal": Tier(94, 34),
    "agents.sessions.setStatus": Tier(47, 17),
    "views.publish": Tier(94, 34),
    "assistant.threads.setSuggestedPrompts": Tier(94, 34),
    "reactions.add": Tier(19, 8),  # of 50: each is to be removed again
    "reactions.remove": Tier(19, 8),
}


@dataclass(slots=True)
class _Line:
    """Who found no permit, by first refusal, and when they asked last."""

    deliveries: dict[Hashable, float] = field(default_factory=dict)
    others: dict[Hashable, float] = field(default_factory=dict)

    def ahead_of(self, who: Hashable, *, delivers: bool) -> int:
        """How many are to be served before."""
        latest = clock.monotonic() - _COMES_BACK_SECONDS
        self.deliveries = {w: at for w, at in self.deliveries.items() if at > latest}
        self.others = {w: at for w, at in self.others.items() if at > latest and not _is_over(w)}
        mine = list(self.deliveries if delivers else self.others)
        place = mine.index(who) if who in mine else len(mine)
        return place if delivers else len(self.deliveries) + place

    def note(self, who: Hashable, *, delivers: bool, served: bool) -> None:
        """They leave the line, or keep their place in it."""
        line = self.deliveries if delivers else self.others
        if served:
            line.pop(who, None)
        else:
            line[who] = clock.monotonic()


def _is_over(who: Hashable) -> bool:
    return isinstance(who, asyncio.Task) and who.done()


class Budgets:
    """Gives permits. A permit that is not used within two seconds is forfeit."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._kept: dict[_Key, tuple[int, float]] = {}
        self._lines: defaultdict[_Key, _Line] = defaultdict(_Line)
        self._growing: Counter[UUID] = Counter()
        self._one_at_a_time: defaultdict[_Key, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def take(
        self, install_id: UUID, method: str, channel: str = "", *, delivery: UUID | None = None
    ) -> bool:
        """One permit, now or not at all; `channel` where each channel has a limit of its own.

        `delivery`: what it is for, where something durable waits for it: that goes first.
        """
        key = (install_id, method, channel)
        if _TIERS[method].block == 1:
            return await self._in_turn(key, _TIERS[method].burst, delivery)
        async with self._one_at_a_time[key]:  # the others find what is left of the block
            return await self._in_turn(key, _TIERS[method].burst, delivery)

    async def take_spare(self, install_id: UUID, method: str, channel: str = "") -> bool:
        """One permit for what is best effort: half of the burst is left to what has to be said.

        Of the edits so much is left that each message that grows can be finished at once.
        """
        tier = _TIERS[method]
        spare = tier.burst - tier.burst // 2
        if method == _UPDATE:
            spare = min(spare, max(1, tier.burst - self._growing[install_id]))
        return await self._in_turn((install_id, method, channel), spare, None)

    @contextmanager
    def growing(self, install_id: UUID) -> Iterator[None]:
        """As long as a message grows that an edit is to finish."""
        self._growing[install_id] += 1
        try:
            yield
        finally:
            self._growing[install_id] -= 1

    async def _in_turn(self, key: _Key, burst: int, delivery: UUID | None) -> bool:
        delivers = delivery is not None
        who: Hashable = delivery or asyncio.current_task()
        left = burst - self._lines[key].ahead_of(who, delivers=delivers)
        served = left > 0 and await self._take(key, left, burst - left)
        line = self._lines[key]
        if delivers or key[1] in _WAITED_FOR:
            line.note(who, delivers=delivers, served=served)
        if not line.deliveries and not line.others:
            del self._lines[key]
        return served

    async def _take(self, key: _Key, burst: int, ahead: int) -> bool:
        kept, until = self._kept.get(key, (0, 0.0))
        now = clock.monotonic()
        if until <= now:
            kept, until = 0, now + _KEPT_SECONDS
        if kept > ahead:
            self._keep(key, kept - 1, until)
            return True
        tier = _TIERS[key[1]]
        for block in sorted({tier.block, 1}, reverse=True):
            if await self._lease(key, tier.each * block, burst):
                self._keep(key, kept + block - 1, until)
                return True
        return False

    def _keep(self, key: _Key, count: int, until: float) -> None:
        if count:
            self._kept[key] = (count, until)
        else:
            self._kept.pop(key, None)

    async def _lease(self, key: _Key, cost: timedelta, burst: int) -> bool:
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

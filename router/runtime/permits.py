"""What every request to the runtime passes: its permit, its errors sorted, and word of a 429."""

import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

from anthropic.pagination import AsyncBidirectionalPageCursor, AsyncPageCursor

from router.errors import RuntimeAway
from router.runtime.budget import Budget, Need
from router.runtime.failures import is_one_too_many, sorted_errors
from store.budgets import Kind

T = TypeVar("T")


class Permits:
    """The permits of one client; without a budget nobody waits for any."""

    def __init__(self, budget: Budget | None) -> None:
        self._budget = budget

    def room(self, kind: Kind) -> int:
        """How many more requests may wait for their permits here before it gets crowded."""
        return self._budget.room(kind) if self._budget is not None else sys.maxsize

    async def take(self, kind: Kind, need: Need) -> None:
        """Returns with one permit. Raises what the database raises."""
        if self._budget is not None:
            await self._budget.take(kind, need)

    @asynccontextmanager
    async def read(self, need: Need) -> AsyncIterator[None]:
        """One read, inside; it waits for its permit first."""
        async with self.waited("read", need):
            yield

    @asynccontextmanager
    async def waited(self, kind: Kind, need: Need) -> AsyncIterator[None]:
        """One request of a kind, inside; it waits for its permit first."""
        await self.take(kind, need)
        async with self.limited(kind):
            yield

    @asynccontextmanager
    async def limited(self, kind: Kind) -> AsyncIterator[None]:
        """A request that has its permit; when it was one too many, all replicas hear of it."""
        try:
            with sorted_errors():
                yield
        except RuntimeAway as away:
            if self._budget is not None and is_one_too_many(away.__cause__):
                await self._budget.empty(kind, away.retry_after)
            raise

    async def whole(
        self, need: Need, first: Awaitable[AsyncPageCursor[T] | AsyncBidirectionalPageCursor[T]]
    ) -> list[T]:
        """All items of a list, page by page: each is a request of its own."""
        items: list[T] = []
        async with self.read(need):
            page = await first
        while True:
            items += page.data or []
            if not page.has_next_page():
                return items
            async with self.read(need):
                page = await page.get_next_page()

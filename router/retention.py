"""Clears what is over and old, a little at a time; store/retention.py says what, and what stays."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from uuid import uuid4

import structlog

from router import clock
from router.loops import Stop, every
from store import database, idempotency, retention
from store.database import Connection, Pool

_log = structlog.get_logger(__name__)

_BATCH = 500
_BREATH_SECONDS = 0.05
_OF_AN_OWNER = {
    "inputs": retention.clear_inputs,
    "files": retention.drop_input_files,
    "deliveries": retention.clear_deliveries,
    "previews": retention.drop_previews,
}
_OF_NOBODY = (
    # an hour longer than a tombstone waits for Slack's last delayed event
    ("unclaimed", retention.drop_unclaimed, timedelta(hours=26)),
    # longer than any wait that Slack asks for
    ("budgets", retention.drop_budgets, timedelta(days=1)),
    # longer than any client goes on asking
    ("idempotency", idempotency.cleanup, timedelta(days=1)),
)


class Retention:
    """Keeps texts for so long; `run` looks about every so many seconds, on any number of replicas."""

    def __init__(self, pool: Pool, keep: timedelta, *, seconds: float) -> None:
        self._pool = pool
        self._keep = keep
        self._seconds = seconds

    async def run(self, stop: Stop) -> None:
        """Clears until `stop`, then leaves at once: what it was at is rolled back, and comes again.

        Begins at a random moment, since replicas are started together.
        """
        async with asyncio.TaskGroup() as tasks:
            rounds = tasks.create_task(self._rounds(stop))
            await stop.wait()
            rounds.cancel()

    async def _rounds(self, stop: Stop) -> None:
        await clock.sleep(clock.within(self._seconds))
        await every(self._seconds, self.round, stop)

    async def round(self) -> None:
        """Clears all that is old now; a transaction for each batch, and a breath between two."""
        cleared: Counter[str] = Counter()
        async with database.borrow(self._pool) as connection:
            owners = await retention.owners(connection, uuid4())
        for name, clear in _OF_AN_OWNER.items():
            for owner in owners:
                batch = partial(clear, agent_id=owner, age=self._keep, limit=_BATCH)
                cleared[name] += await self._all(batch)
        for name, drop, age in _OF_NOBODY:
            cleared[name] += await self._all(partial(drop, age=age, limit=_BATCH))
        if cleared.total():
            _log.info("retention.cleared", **cleared)

    async def _all(self, batch: Callable[[Connection], Awaitable[int]]) -> int:
        total = 0
        while True:
            async with database.borrow(self._pool) as connection:
                count = await batch(connection)
            total += count
            if count < _BATCH:
                return total
            await clock.sleep(clock.jittered(_BREATH_SECONDS))

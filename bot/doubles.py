"""Messages that were posted twice: found some time later, deleted but for the first, counted.

A post whose answer was lost is made again when two looks did not show it. A look can come too early,
and a request can take effect after everybody gave it up: then both stand in the thread
(engine.md 7). So such a delivery is looked at once more; what is to be looked at is kept in its row.
"""

from collections.abc import Callable
from datetime import timedelta

import structlog

from bot.budget import Budgets
from bot.outcome import SlackAway, SlackLimited, SlackRefused, SlackUnclear
from bot.slack import Slack
from router import clock
from router.loops import Stop, every
from store import database, outbox
from store.database import Pool
from store.outbox import Doubtful

_log = structlog.get_logger(__name__)

AFTER = timedelta(seconds=30)
_GIVEN_UP = timedelta(minutes=10)
_AT_ONCE = 10
_LATER = (SlackLimited, SlackAway, SlackUnclear)


class Doubles:
    """Looks again at what was posted again. Any number of replicas may; `counted` hears of each."""

    def __init__(
        self, pool: Pool, slack: Slack, budgets: Budgets, counted: Callable[[], object]
    ) -> None:
        self._pool = pool
        self._slack = slack
        self._budgets = budgets
        self._counted = counted

    async def run(self, stop: Stop, seconds: float) -> None:
        """Looks about every so many seconds, until `stop`."""
        await every(seconds, self.sweep, stop)

    async def sweep(self) -> None:
        """Looks at those whose time has come; what could not be looked at comes again."""
        async with database.borrow(self._pool) as connection:
            found = await outbox.doubtful(connection, _AT_ONCE, AFTER)
        for one in found:
            try:
                await self._look(one)
            except SlackRefused as refused:
                _log.warning("doubles.not_found_out", error=refused.error)
                await self._done(one, one.slack_ts)
            except _LATER as error:
                _log.info("doubles.later", error=f"{type(error).__name__}: {error}")

    async def _look(self, one: Doubtful) -> None:
        """Leaves the first. A listing that does not show what we know of is asked again later."""
        method = "conversations.replies" if one.thread_ts else "conversations.history"
        if not await self._budgets.take(one.install_id, method):
            return
        place, since = (one.channel_id, one.thread_ts), one.created_at.timestamp()
        try:
            there = await self._slack.copies(one.install_id, place, one.delivery_id, since)
        except SlackLimited as limited:
            await self._budgets.empty(one.install_id, method, limited.retry_after)
            raise
        is_old = clock.now() - one.ended_at > _GIVEN_UP
        if one.slack_ts not in there and not is_old:
            return
        for ts in there[1:]:
            await self._take_away(one, ts)
        await self._done(one, there[0] if there else one.slack_ts)

    async def _take_away(self, one: Doubtful, ts: str) -> None:
        await self._slack.delete(one.install_id, one.channel_id, ts)
        self._counted()
        _log.warning("delivery.doubled", delivery_id=str(one.delivery_id), slack_ts=ts)

    async def _done(self, one: Doubtful, ts: str) -> None:
        async with database.borrow(self._pool) as connection:
            await outbox.looked_again(connection, one, ts)

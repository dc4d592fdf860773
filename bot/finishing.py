"""How a preview becomes the durable answer: its stream ends, and its message gets the exact text."""

from dataclasses import replace
from typing import Protocol

import structlog

from bot import edits
from bot.outcome import SlackLimited, SlackRefused, says_install_is_over
from bot.saying import steps_of
from bot.slack import Said, Slack
from router.ports import Status, Step
from store import database, outbox, turns
from store.database import Pool
from store.outbox import Delivery

_log = structlog.get_logger(__name__)

UPDATE = "chat.update"
UPDATE_WITHIN_SECONDS = 10.0  # after the stop, which would cost another permit
_AGAIN_SECONDS = 1.0
_STILL_STREAMING = "streaming_state_conflict"
_CONFLICTS = 5


class Permit(Protocol):
    """Returns with a permit; SlackLimited where there is none in time."""

    async def __call__(
        self, delivery: Delivery, method: str, channel: str = "", *, within: float = 0.0
    ) -> None:
        """For a call of that method on behalf of a delivery."""


class Finishing:
    """Works on messages that are there already. Raises as every call to Slack does."""

    def __init__(self, pool: Pool, slack: Slack, permit: Permit) -> None:
        self._pool = pool
        self._slack = slack
        self._permit = permit

    async def finish(self, delivery: Delivery, said: Said, ts: str) -> bool:
        """Ends a preview and puts the exact text into its message; doing it again changes nothing.

        False where that message does not take it, or might lose it again, or stands above an earlier
        part of the answer: it is taken away, and the text is to be posted.
        """
        install_id, body = delivery.install_id, delivery.body
        if body["fate"] == "stand":
            ending = self._unmark if body.get("edited") else self._stop
            await ending(delivery, ts, steps_of(delivery))
            return True
        if body["streaming"]:
            await self._stop(delivery, ts)
        if body["fate"] == "go":
            await self._take_away(delivery, ts)
            return True
        if body.get("in_doubt") or await self._is_overtaken(delivery, ts):
            await self._take_away(delivery, ts)
            return False
        await self._permit(delivery, UPDATE, within=UPDATE_WITHIN_SECONDS)
        try:
            await self._slack.update(install_id, said, ts)
        except SlackRefused as refused:
            if says_install_is_over(refused.error):
                raise
            if refused.error == _STILL_STREAMING and delivery.attempts <= _CONFLICTS:
                await self._stop(delivery, ts)
                raise SlackLimited(_AGAIN_SECONDS) from refused
            _log.warning(
                "delivery.afresh", delivery_id=str(delivery.delivery_id), error=refused.error
            )
            await self._take_away(delivery, ts)
            return False
        return True

    async def _is_overtaken(self, delivery: Delivery, ts: str) -> bool:
        """Whether the part before was posted afresh, and so stands below this one's preview."""
        turn, _, part = delivery.effect_key.rpartition(":")
        if part == "0":
            return False
        async with database.borrow(self._pool) as connection:
            before = await outbox.ts_of(connection, delivery, f"{turn}:{int(part) - 1}")
        return before is not None and before > ts

    async def _stop(self, delivery: Delivery, ts: str, steps: tuple[Step, ...] = ()) -> None:
        """Ends the stream where Slack lets us: its message is changed or left all the same."""
        await self._permit(delivery, "chat.stopStream")
        stream, rests = (delivery.channel_id, ts), await self._rests(delivery)
        try:
            await self._slack.stop_stream(delivery.install_id, stream, steps, rests)
        except SlackRefused as refused:
            if says_install_is_over(refused.error):
                raise
            _log.info("delivery.not_stopped", ts=ts, error=refused.error)
            if steps:
                await self._stop(delivery, ts)

    async def _rests(self, delivery: Delivery) -> Status:
        """What the thread shows once the stream is over: stopping it takes every other status away."""
        if delivery.session_id is None:
            return "active"
        async with database.borrow(self._pool) as connection:
            turn = await turns.live(connection, delivery.deployed_agent_id, delivery.session_id)
        return "suspended" if turn is not None and turn.state == "awaiting_human" else "active"

    async def _unmark(self, delivery: Delivery, ts: str, steps: tuple[Step, ...]) -> None:
        """Leaves an edited preview as it stands, without the mark that more was to come.

        What it shows is kept nowhere but in Slack.
        """
        await self._permit(delivery, UPDATE, within=UPDATE_WITHIN_SECONDS)
        try:
            shown = await self._slack.read(
                delivery.install_id, delivery.channel_id, str(delivery.thread_ts), ts
            )
            if shown is not None:
                left = replace(shown, blocks=edits.at_rest(shown.blocks or [], steps))
                await self._slack.update(delivery.install_id, left, ts)
        except SlackRefused as refused:
            if says_install_is_over(refused.error):
                raise
            _log.warning("preview.left", ts=ts, error=refused.error)

    async def _take_away(self, delivery: Delivery, ts: str) -> None:
        try:
            await self._slack.delete(delivery.install_id, delivery.channel_id, ts)
        except SlackRefused as refused:
            if says_install_is_over(refused.error):
                raise
            _log.warning("preview.left", ts=ts, error=refused.error)

"""Live previews: the answer as it is written, best effort, never its only copy.

starting (committed, with the time) ▸ chat.startStream ▸ open (ts, under the epoch) ▸ appends ▸ closed
   │                                        │
   └── found at the end by listing ◀────────┘ answer lost, or the holder died: adopted, or lost

The runner closes the preview before its durable reply becomes deliverable; the delivery then ends
the stream and puts the exact text into the same message. A part rolls over before Slack's limit of
text and before the stream expires, at a blank line outside of code; its offset is kept, and the
final text is cut at the same offsets. After an unclear append nothing is appended any more. Trouble
of any kind ends the preview only, never the turn.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from uuid import UUID

import structlog

from bot import cutting, render
from bot.budget import Budgets
from bot.slack import Slack, SlackAway, SlackLimited, SlackRefused, SlackUnclear
from router import clock
from router.ports import Step
from store import database, leases, previews
from store.database import Connection, Pool
from store.leases import Held
from store.previews import Part

_log = structlog.get_logger(__name__)

# A short answer that is whole within this time is simply posted.
_START_AFTER_SECONDS = 0.7
_APPEND_GAP_SECONDS = 0.4
# Slack takes about 12,000 bytes of text and titles in one streamed message and says so nowhere.
_PART_BYTES = 8_000
_PART_SECONDS = 240.0  # streams die after about five minutes
_PART_CARDS = 40  # of the 50 blocks of a message
_ROOM_BYTES = 200
_LOOKS = 6
_LOOKS_APART_SECONDS = 2.0
_TROUBLE = (SlackRefused, SlackLimited, SlackAway, SlackUnclear)
_NO_EFFECT = (SlackRefused, SlackLimited, SlackAway)
_ENDS_IT: tuple[type[Exception], ...] = (*_TROUBLE, *database.ERRORS)
_EXPIRED = "message_not_in_streaming_state"


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom a stream in a channel is for (docs.slack.dev/reference/methods/chat.startStream)."""

    user_id: str
    team_id: str | None


@dataclass(frozen=True, slots=True)
class Streams:
    """Opens and settles previews for the turns of a replica. `now` tells the age of a stream."""

    pool: Pool
    slack: Slack
    budgets: Budgets
    now: Callable[[], float] = clock.monotonic

    def open(self, held: Held, turn_id: UUID, user_id: str, team_id: str | None) -> "StreamPreview":
        """A preview of a turn that answers this person; nothing is shown before there is text."""
        return StreamPreview(self, held, turn_id, Recipient(user_id, team_id))

    async def settle(self, held: Held, turn_id: UUID) -> None:
        """Finds the streams whose start was not answered; after this no part is `starting`."""
        async with database.borrow(self.pool) as connection:
            parts = await previews.of_turn(connection, held.lease, turn_id)
            starting = [p for p in parts if p.state == "starting"]
            known = set(await previews.known(connection, held.lease)) if starting else set()
        for part in starting:
            await self._adopt(held, turn_id, part, known)

    async def _adopt(self, held: Held, turn_id: UUID, part: Part, known: set[str]) -> None:
        install_id, channel = held.slack_install_id, str(held.slack_channel_id)
        if install_id is None:
            return
        orphans = await self._orphans(held, install_id, part, known)
        for double in orphans[1:]:
            await self.take_away(install_id, channel, double)
        ts = orphans[0] if orphans else None
        known.update(orphans)
        _log.info("preview.settled", turn_id=str(turn_id), part=part.part, adopted=ts)
        await self.note(held, turn_id, part.part, "open" if ts else "lost", ts)

    async def _orphans(
        self, held: Held, install_id: UUID, part: Part, known: set[str]
    ) -> list[str]:
        """Looks until Slack can say, and twice where it says there is none: listings trail."""
        thread = (str(held.slack_channel_id), str(held.slack_thread_ts))
        since, looked, wait = part.started_at.timestamp(), False, 0.0
        for _ in range(_LOOKS):
            await clock.sleep(wait)
            try:
                found = await self.slack.streaming_since(install_id, thread, since)
            except SlackLimited as limited:
                if looked:
                    return []
                wait = limited.retry_after
            except (SlackAway, SlackUnclear):
                wait = _LOOKS_APART_SECONDS
            except SlackRefused as refused:
                _log.warning("preview.not_found_out", error=refused.error)
                return []
            else:
                orphans = [ts for ts in found if ts not in known]
                if orphans or looked:
                    return orphans
                looked, wait = True, _LOOKS_APART_SECONDS
        _log.warning("preview.not_found_out", error="Slack is away")
        return []

    async def take_away(self, install_id: UUID, channel_id: str, ts: str) -> None:
        """Deletes a stream, as far as Slack lets us; it deletes no message that still streams."""
        try:
            await self.slack.stop_stream(install_id, channel_id, ts)
            await self.slack.delete(install_id, channel_id, ts)
        except _TROUBLE as error:
            _log.warning("preview.left", ts=ts, error=f"{type(error).__name__}: {error}")

    async def note(self, held: Held, turn_id: UUID, part: int, state: str, ts: str | None) -> None:
        """Writes a part's state under the holder's epoch; LeaseLost when it has passed on."""
        async with database.borrow(self.pool) as connection, connection.transaction():
            await leases.fence_quietly(connection, held.lease)
            await previews.move(connection, held.lease, turn_id, part, state, ts)


class StreamPreview:
    """One turn's preview. `show` as often as there is something; `run` brings it to Slack."""

    def __init__(self, streams: Streams, held: Held, turn_id: UUID, recipient: Recipient) -> None:
        self._streams, self._held, self._turn_id = streams, held, turn_id
        self._recipient = recipient
        self._text = ""
        self._steps: tuple[Step, ...] = ()
        self._changed = asyncio.Event()
        self._closing = asyncio.Event()
        self._over = False
        self._sent = 0
        self._shown: dict[str, Step] = {}
        self._parts = 0  # begun so far, those without a message included
        self._messages = 0
        self._part: Part | None = None
        self._begun = 0.0
        self._weight = 0
        self._cards: set[str] = set()

    def show(self, text: str, steps: tuple[Step, ...]) -> None:
        """What is to be seen from now on; where `text` does not go on, the preview is over."""
        if text[: self._sent] != self._text[: self._sent]:
            _log.info("preview.over", turn_id=str(self._turn_id), error="the text was taken back")
            self._over = True
        self._text, self._steps = text, steps
        self._changed.set()

    def close(self) -> None:
        """Asks `run` to end after the call that it is making."""
        self._closing.set()
        self._changed.set()

    async def run(self) -> None:
        """Keeps Slack up to date until `close`. Raises LeaseLost; trouble of Slack only ends it."""
        while not self._ended():
            await self._wait()
            try:
                await self._bring_up_to_date_or_recover()
            except _ENDS_IT as error:
                _log.info("preview.over", turn_id=str(self._turn_id), error=str(error))
                self._over = True

    async def _bring_up_to_date_or_recover(self) -> None:
        try:
            await self._bring_up_to_date()
        except SlackLimited as limited:
            await self._slow_down(limited)
        except SlackRefused as refused:
            if self._part is None or refused.error != _EXPIRED:
                raise
            _log.info("preview.expired", turn_id=str(self._turn_id), part=self._part.part)
            await self._close_part(self._part)
            self._changed.set()

    def _ended(self) -> bool:
        return self._closing.is_set() or self._over

    async def _wait(self) -> None:
        """Until there is news, or the stream has to end because of its age."""
        left = None if self._part is None else max(0.0, _PART_SECONDS - self._age())
        with suppress(TimeoutError):
            async with asyncio.timeout(left):
                await self._changed.wait()
        self._changed.clear()

    async def _bring_up_to_date(self) -> None:
        if not self._messages and not await self._pause(_START_AFTER_SECONDS):
            return
        while not self._ended() and (self._is_old() or self._news()):
            if self._part is None:
                await self._start()
            elif self._is_full():
                await self._roll_over(self._part)
            else:
                await self._append(self._part)

    def _news(self) -> bool:
        return cutting.safe_end(self._text) > self._sent or bool(self._new_steps())

    def _new_steps(self) -> tuple[Step, ...]:
        return tuple(s for s in self._steps if self._shown.get(s.id) != s)

    async def _pause(self, seconds: float) -> bool:
        """Waits; False when the preview was closed meanwhile."""
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return True
        return False

    async def _permit(self, method: str) -> bool:
        """A permit, waiting for it while more text gathers; False when closed meanwhile."""
        while not await self._streams.budgets.take(self._install_id(), method):
            if not await self._pause(clock.jittered(1.0)):
                return False
        return not self._closing.is_set()

    # -------------------------------------------------------------- start, append, roll over

    async def _start(self) -> None:
        """Begins a message; the first only if there is a permit at once, and nobody began one."""
        if not await self._may_start():
            self._over = True
            return
        part = Part(self._parts, self._sent, "starting", None, clock.now())
        async with database.borrow(self._streams.pool) as connection, connection.transaction():
            if not await self._begin(connection, part):
                self._over = True  # an earlier holder's preview: the end settles it
                return
        self._parts += 1
        self._begun, self._weight = self._streams.now(), 0
        self._cards.clear()
        text, steps = self._next()
        try:
            ts = await self._started(text, steps)
        except _NO_EFFECT:
            await self._note(part, "lost", None)
            raise
        await self._opened(part, ts)
        self._count(text, steps)

    async def _may_start(self) -> bool:
        install_id = self._install_id()
        if not self._streams.slack.can_stream(install_id):
            return False
        if self._messages:
            return await self._permit("chat.startStream")
        return await self._streams.budgets.take(install_id, "chat.startStream")

    async def _begin(self, connection: Connection, part: Part) -> bool:
        await leases.fence_quietly(connection, self._held.lease)
        return await previews.begin(connection, self._held, self._turn_id, part)

    async def _started(self, text: str, steps: tuple[Step, ...]) -> str:
        """Starts a stream for the person who asked; for nobody where Slack does not know them.

        That happens in shared channels.
        """
        slack, install_id = self._streams.slack, self._install_id()
        thread = (str(self._held.slack_channel_id), str(self._held.slack_thread_ts))
        recipient = (self._recipient.user_id, self._recipient.team_id)
        shown = cutting.open_fence(self._text[: self._sent]) + render.defuse(text)
        try:
            return await slack.start_stream(install_id, thread, shown, steps, recipient)
        except SlackRefused as refused:
            again = refused.error == "user_not_found"
            if not again or not await self._streams.budgets.take(install_id, "chat.startStream"):
                raise
        return await slack.start_stream(install_id, thread, shown, steps, None)

    async def _opened(self, part: Part, ts: str) -> None:
        """Stores the ts under the epoch; a stream that cannot be stored is taken away again."""
        try:
            await self._note(part, "open", ts)
        except leases.LeaseLost:
            await self._streams.take_away(self._install_id(), str(self._held.slack_channel_id), ts)
            raise
        self._part = replace(part, state="open", slack_ts=ts)
        self._messages += 1

    async def _append(self, part: Part) -> None:
        if not await self._permit("chat.appendStream"):
            return
        text, steps = self._next()
        await self._streams.slack.append_stream(
            self._install_id(),
            str(self._held.slack_channel_id),
            str(part.slack_ts),
            render.defuse(text),
            steps,
        )
        self._count(text, steps)
        await self._pause(_APPEND_GAP_SECONDS)

    def _next(self) -> tuple[str, tuple[Step, ...]]:
        """The next words and cards that the part has room for."""
        text = cutting.of_bytes(self._text[self._sent :], _PART_BYTES - self._weight)
        fits: set[str] = set()
        steps = []
        for step in self._new_steps():
            fits.add(step.id)
            if len(self._cards | fits) <= _PART_CARDS:
                steps.append(step)
        return text, tuple(steps)

    def _count(self, text: str, steps: tuple[Step, ...]) -> None:
        """These are shown."""
        self._sent += len(text)
        self._shown |= {s.id: s for s in steps}
        new = {s.id: s.title for s in steps if s.id not in self._cards}
        self._cards |= new.keys()
        self._weight += cutting.weight(text) + sum(len(title.encode()) for title in new.values())

    def _age(self) -> float:
        return self._streams.now() - self._begun

    def _is_old(self) -> bool:
        return self._part is not None and self._age() >= _PART_SECONDS

    def _is_full(self) -> bool:
        full = self._weight >= _PART_BYTES - _ROOM_BYTES or len(self._cards) >= _PART_CARDS
        return full or self._is_old()

    async def _roll_over(self, part: Part) -> None:
        if not await self._permit("chat.stopStream"):
            return
        await self._streams.slack.stop_stream(
            self._install_id(), str(self._held.slack_channel_id), str(part.slack_ts)
        )
        await self._close_part(part)

    async def _close_part(self, part: Part) -> None:
        """What follows begins in a new message, behind the last blank line of the old one."""
        await self._note(part, "closed", part.slack_ts)
        self._part = None
        self._sent = part.text_from + cutting.cut_before(self._text[part.text_from : self._sent])

    async def _slow_down(self, limited: SlackLimited) -> None:
        """Nobody calls that method before Slack says so; an answer not yet begun is posted."""
        await self._streams.budgets.empty(self._install_id(), limited.method, limited.retry_after)
        self._over = self._over or not self._messages
        self._changed.set()

    async def _note(self, part: Part, state: str, ts: str | None) -> None:
        await self._streams.note(self._held, self._turn_id, part.part, state, ts)

    def _install_id(self) -> UUID:
        assert self._held.slack_install_id is not None  # noqa: S101  # opened for Slack sessions only
        return self._held.slack_install_id

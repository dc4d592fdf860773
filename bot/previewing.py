"""Live previews: the answer as it is written, best effort, never its only copy.

starting (committed, with the time) ▸ start ▸ open (ts, under the epoch) ▸ grows ▸ closed
   │                                     │
   └── found at the end by looking ◀─────┘ answer lost, or the holder died: adopted, or lost

A preview streams (bot.streams) where Slack has a stream to give at once, else it is a post that is
edited (bot.edits), else there is none. The runner closes it before its durable reply becomes
deliverable; the delivery then puts the exact text into the same messages. Each part's offset is
kept, and the final text is cut at the same offsets. After an unclear call nothing more is shown.
Trouble of any kind ends the preview only, never the turn.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from uuid import UUID, uuid5

import structlog

from bot.budget import Budgets
from bot.edits import Edited
from bot.growing import Growing
from bot.outcome import SlackAway, SlackLimited, SlackRefused, SlackUnclear
from bot.slack import Said, Slack
from bot.streams import Recipient, Streamed
from router import clock
from router.behaviour import Mentions
from router.clock import Backoff
from router.ports import NOTHING_BEFORE, Before, Step, Thread
from store import database, leases, outbox, previews
from store.database import Connection, Pool
from store.leases import Held
from store.previews import Part

_log = structlog.get_logger(__name__)

# A short answer that is whole within this time is simply posted.
_START_AFTER_SECONDS = 0.7
_LOOK_BEFORE = Backoff(first=0.5, most=5.0)
_LOOKS = 6
_LOOKS_APART_SECONDS = 2.0
_TROUBLE = (SlackRefused, SlackLimited, SlackAway, SlackUnclear)
_NO_EFFECT = (SlackRefused, SlackLimited, SlackAway)
_ENDS_IT: tuple[type[Exception], ...] = (*_TROUBLE, *database.ERRORS)
_EXPIRED = "message_not_in_streaming_state"


@dataclass(frozen=True, slots=True)
class SlackPreviews:
    """Implements `router.ports.Previews` for a replica. `now` tells the age of a stream."""

    pool: Pool
    slack: Slack
    budgets: Budgets
    now: Callable[[], float] = clock.monotonic

    def open(
        self,
        held: Held,
        turn_id: UUID,
        user_id: str,
        team_id: str | None,
        mentions: Mentions = "none",
        before: Before = NOTHING_BEFORE,
    ) -> "SlackPreview":
        """A preview of a turn that answers this person; nothing is shown before there is text."""
        recipient = Recipient(user_id, team_id)
        streamed = Streamed(self.slack, self.budgets, _thread(held), recipient, self.now, mentions)
        edited = Edited(self.slack, self.budgets, _thread(held), mentions)
        return SlackPreview(self, held, turn_id, (streamed, edited), before)

    async def settle(self, held: Held, turn_id: UUID) -> None:
        """Finds the messages whose start was not answered; after this no part is `starting`."""
        async with database.borrow(self.pool) as connection:
            parts = await previews.of_turn(connection, held.lease, turn_id)
            starting = [p for p in parts if p.state == "starting"]
            known = set(await previews.known(connection, held.lease)) if starting else set()
        if held.slack_install_id is not None:
            for part in starting:
                await self._adopt(held, turn_id, part, known)

    async def _adopt(self, held: Held, turn_id: UUID, part: Part, known: set[str]) -> None:
        orphans = await self._orphans(held, turn_id, part, known)
        for double in orphans[1:]:
            await self.take_away(held, double, edited=part.edited)
        ts = orphans[0] if orphans else None
        known.update(orphans)
        _log.info("preview.settled", turn_id=str(turn_id), part=part.part, adopted=ts)
        await self.note(held, turn_id, part.part, "open" if ts else "lost", ts)

    async def _orphans(self, held: Held, turn_id: UUID, part: Part, known: set[str]) -> list[str]:
        """Looks until Slack can say, and twice where it says there is none: listings trail."""
        looked, wait = False, 0.0
        for _ in range(_LOOKS):
            await clock.sleep(wait)
            try:
                found = await self._look(held, turn_id, part)
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

    async def _look(self, held: Held, turn_id: UUID, part: Part) -> list[str]:
        """A post by its name; a stream, which can be given none, by its state."""
        thread, since = _thread(held), part.started_at.timestamp()
        if part.edited:
            where = Said(thread.channel_id, thread.root_ts, "", None)
            name = name_of(turn_id, part.part)
            there = await self.slack.find(thread.install_id, where, name, since)
            return [there] if there else []
        place = (thread.channel_id, thread.root_ts)
        return await self.slack.streaming_since(thread.install_id, place, since)

    async def take_away(self, held: Held, ts: str, *, edited: bool) -> None:
        """Deletes a preview, as far as Slack lets us; it deletes no message that still streams."""
        thread = _thread(held)
        try:
            if not edited:
                await self.slack.stop_stream(thread.install_id, (thread.channel_id, ts))
            await self.slack.delete(thread.install_id, thread.channel_id, ts)
        except _TROUBLE as error:
            _log.warning("preview.left", ts=ts, error=f"{type(error).__name__}: {error}")

    async def note(self, held: Held, turn_id: UUID, part: int, state: str, ts: str | None) -> None:
        """Writes a part's state under the holder's epoch; LeaseLost when it has passed on."""
        async with database.borrow(self.pool) as connection, connection.transaction():
            await leases.fence_quietly(connection, held.lease)
            await previews.move(connection, held.lease, turn_id, part, state, ts)

    async def prove(self, held: Held) -> None:
        """LeaseLost when the lease has passed on."""
        async with database.borrow(self.pool) as connection:
            await leases.fence_quietly(connection, held.lease)


class SlackPreview:
    """One turn's preview. `show` as often as there is something; `run` brings it to Slack."""

    def __init__(
        self,
        all_: SlackPreviews,
        held: Held,
        turn_id: UUID,
        ways: tuple[Growing, Growing],
        before: Before,
    ) -> None:
        self._all, self._held, self._turn_id = all_, held, turn_id
        self._way, self._other = ways
        self._before = before
        self._text = ""
        self._steps: tuple[Step, ...] = ()
        self._changed = asyncio.Event()
        self._closing = asyncio.Event()
        self._over = False
        self._parts = before.messages  # begun so far, those without a message included
        self._messages = 0
        self._part: Part | None = None
        self._growth = ExitStack()
        self.touched = False

    def show(self, text: str, steps: tuple[Step, ...]) -> None:
        """What is to be seen from now on; where a stream's text does not go on, it is over."""
        text = text[self._before.text :]
        if text[: self._way.sent] != self._text[: self._way.sent]:
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
        with self._growth:
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
            await self._recover(refused)

    def _ended(self) -> bool:
        return self._closing.is_set() or self._over

    async def _wait(self) -> None:
        """Until there is news, or the message has to end because of its age."""
        with suppress(TimeoutError):
            async with asyncio.timeout(None if self._part is None else self._way.left):
                await self._changed.wait()
        self._changed.clear()

    async def _bring_up_to_date(self) -> None:
        if not self._messages and not await self._may_begin():
            return
        while not self._ended() and self._way.wants(self._text, self._steps):
            if self._part is None:
                await self._start()
            elif self._way.is_full():
                await self._roll_over(self._part)
            else:
                await self._grow(self._part)

    async def _may_begin(self) -> bool:
        """Once it is worth it, and once the answers before are there: Slack shows by beginnings."""
        if not await self._pause(_START_AFTER_SECONDS):
            return False
        looks = 0
        while await self._is_answer_before_open():
            looks += 1
            if not await self._pause(_LOOK_BEFORE.after(looks)):
                return False
        return True

    async def _is_answer_before_open(self) -> bool:
        async with database.borrow(self._all.pool) as connection:
            return await outbox.any_reply_open(connection, self._held.lease)

    async def _pause(self, seconds: float) -> bool:
        """Waits; False when the preview was closed meanwhile."""
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            return True
        return False

    async def _permit(self, take: Callable[[], Awaitable[bool]]) -> bool:
        """A permit, waiting for it while more text gathers; False when closed meanwhile."""
        while not await take():
            if not await self._pause(clock.jittered(1.0)):
                return False
        return not self._closing.is_set()

    # -------------------------------------------------------------- start, grow, roll over

    async def _start(self) -> None:
        """Begins a message, unless somebody began this part before."""
        if not await self._may_start():
            self._over = True
            return
        begin = self._before.text + self._way.sent
        part = Part(self._parts, begin, "starting", None, clock.now(), edited=self._way.edited)
        self.touched = True
        async with database.borrow(self._all.pool) as connection, connection.transaction():
            if not await self._begin(connection, part):
                self._over = True  # an earlier holder's preview: the end settles it
                return
        self._parts += 1
        name = name_of(self._turn_id, part.part)
        try:
            ts = await self._way.start(self._text, self._steps, name)
        except _NO_EFFECT:
            await self._note(part, "lost", None)
            raise
        await self._opened(part, ts)
        await self._pause(self._way.gap)

    async def _may_start(self) -> bool:
        """The first message begins at once or, where it cannot stream, as a post, or not at all."""
        if self._messages:
            return self._way.may_start() and await self._permit(self._way.start_permit)
        if await self._first_permit():
            return True
        self._edit_instead()
        return not self._over and await self._first_permit()

    async def _first_permit(self) -> bool:
        return self._way.may_start() and await self._way.start_permit()

    def _edit_instead(self) -> None:
        """Where no stream could begin, a post is tried; after that, nothing."""
        if self._way.edited:
            self._over = True
        else:
            self._way = self._other

    async def _begin(self, connection: Connection, part: Part) -> bool:
        await leases.fence_quietly(connection, self._held.lease)
        return await previews.begin(connection, self._held, self._turn_id, part)

    async def _opened(self, part: Part, ts: str) -> None:
        """Stores the ts under the epoch; a message that cannot be stored is taken away again."""
        try:
            await self._note(part, "open", ts)
        except leases.LeaseLost:
            await self._all.take_away(self._held, ts, edited=part.edited)
            raise
        self._part = replace(part, state="open", slack_ts=ts)
        if not self._messages:
            install_id = _thread(self._held).install_id
            self._growth.enter_context(self._all.budgets.growing(install_id))
        self._messages += 1

    async def _grow(self, part: Part) -> None:
        if not await self._permit(self._way.grow_permit):
            return
        grow = self._edit if part.edited else self._way.grow
        await grow(str(part.slack_ts), self._text, self._steps)
        await self._pause(self._way.gap)

    async def _edit(self, ts: str, text: str, steps: tuple[Step, ...]) -> None:
        """Edits a post. Slack adds nothing to a stream that has ended, but an edit it always takes.

        So one that may still arrive, after the final text, leaves its message in doubt: closed.
        """
        await self._all.prove(self._held)
        try:
            await self._way.grow(ts, text, steps)
        except SlackUnclear:
            if self._part is not None:
                await self._note(self._part, "closed", ts)
            raise

    async def _roll_over(self, part: Part) -> None:
        if await self._permit(self._way.end_permit):
            await self._way.end(str(part.slack_ts))
            await self._close_part(part)

    async def _close_part(self, part: Part) -> None:
        """What follows begins in a new message."""
        await self._note(part, "closed", part.slack_ts)
        self._part = None
        self._way.closed(self._text, part.text_from - self._before.text)

    async def _slow_down(self, limited: SlackLimited) -> None:
        """Nobody calls that method before Slack says so."""
        thread = _thread(self._held)
        channel = thread.channel_id if limited.method == "chat.postMessage" else ""
        await self._all.budgets.empty(
            thread.install_id, limited.method, limited.retry_after, channel
        )
        if not self._messages:
            self._edit_instead()
        self._changed.set()

    async def _recover(self, refused: SlackRefused) -> None:
        """A stream that expired goes on in a new message; one that cannot begin becomes a post."""
        if self._part is not None and refused.error == _EXPIRED:
            _log.info("preview.expired", turn_id=str(self._turn_id), part=self._part.part)
            await self._close_part(self._part)
        elif not self._messages and not self._way.edited:
            _log.info("preview.no_stream", turn_id=str(self._turn_id), error=refused.error)
            self._edit_instead()
        else:
            raise refused
        self._changed.set()

    async def _note(self, part: Part, state: str, ts: str | None) -> None:
        await self._all.note(self._held, self._turn_id, part.part, state, ts)


def name_of(turn_id: UUID, part: int) -> UUID:
    """What a preview's post is found again by: the same for every holder of the turn."""
    return uuid5(turn_id, f"preview:{part}")


def _thread(held: Held) -> Thread:
    assert held.slack_install_id is not None  # noqa: S101  # opened for Slack sessions only
    return Thread(held.slack_install_id, str(held.slack_channel_id), str(held.slack_thread_ts))

"""A preview as one of Slack's streams: text and task cards are added to a message as they come.

A message rolls over before Slack's limit of text and before the stream expires, at a blank line
outside of code.
"""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from bot import cutting, render
from bot.budget import Budgets
from bot.outcome import SlackRefused
from bot.slack import Slack
from router.behaviour import Mentions
from router.ports import Step, Thread

_START, _APPEND, _STOP = "chat.startStream", "chat.appendStream", "chat.stopStream"
_APPEND_GAP_SECONDS = 0.4
# Slack takes about 12,000 bytes of text and titles in one streamed message and says so nowhere.
_PART_BYTES = 8_000
_PART_SECONDS = 240.0  # streams die after about five minutes
_PART_CARDS = 40  # of the 50 blocks of a message
_ROOM_BYTES = 200


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom a stream in a channel is for (docs.slack.dev/reference/methods/chat.startStream)."""

    user_id: str
    team_id: str | None


class Streamed:
    """The streams of one thread's turn, one after the other."""

    edited = False

    def __init__(
        self,
        slack: Slack,
        budgets: Budgets,
        thread: Thread,
        recipient: Recipient,
        now: Callable[[], float],
        mentions: Mentions = "none",
    ) -> None:
        self._slack, self._budgets, self._thread = slack, budgets, thread
        self._recipient = recipient
        self._now = now
        self._mentions = mentions
        self.sent = 0
        self._shown: dict[str, Step] = {}
        self._open = False
        self._stuck = False
        self._opened = self._message = ""
        self._begun = 0.0
        self._weight = 0
        self._cards: set[str] = set()

    @property
    def gap(self) -> float:
        """Seconds from one call to the next."""
        return _APPEND_GAP_SECONDS

    @property
    def left(self) -> float:
        """Seconds until the open message has to end because of its age."""
        return max(0.0, _PART_SECONDS - (self._now() - self._begun))

    def wants(self, text: str, steps: tuple[Step, ...]) -> bool:
        """Whether there are new words or cards, or the stream has to end."""
        news = cutting.safe_end(text) > self.sent or bool(self._new(steps))
        return news or self._is_old()

    def is_full(self) -> bool:
        """Whether the message has no more room, or the stream has to end."""
        full = self._weight >= _PART_BYTES - _ROOM_BYTES or len(self._cards) >= _PART_CARDS
        return full or self._stuck or self._is_old()

    def _is_old(self) -> bool:
        return self._open and not self.left

    def may_start(self) -> bool:
        """False where the install was found to have no streams."""
        return self._slack.can_stream(self._thread.install_id)

    async def start_permit(self) -> bool:
        """To start."""
        return await self._budgets.take(self._thread.install_id, _START)

    async def grow_permit(self) -> bool:
        """To append."""
        return await self._budgets.take(self._thread.install_id, _APPEND)

    async def end_permit(self) -> bool:
        """To stop."""
        return await self._budgets.take(self._thread.install_id, _STOP)

    async def start(self, text: str, steps: tuple[Step, ...], _name: UUID) -> str:
        """Starts a stream for the person who asked; for nobody where Slack does not know them.

        That happens in shared channels.
        """
        self._begun, self._weight = self._now(), 0
        self._cards.clear()
        self._message = ""
        again = cutting.opening(text[: self.sent], text[self.sent :])
        self._opened = render.defuse(again, self._mentions)
        words, shown, cards = self._next(text, steps)
        shown = self._opened + shown
        try:
            ts = await self._started(
                shown, cards, (self._recipient.user_id, self._recipient.team_id)
            )
        except SlackRefused as refused:
            if refused.error != "user_not_found" or not await self.start_permit():
                raise
            ts = await self._started(shown, cards, None)
        self._count(words, shown, cards)
        self._open = True
        return ts

    async def _started(
        self, shown: str, cards: tuple[Step, ...], recipient: tuple[str, str | None] | None
    ) -> str:
        place = (self._thread.channel_id, self._thread.root_ts)
        return await self._slack.start_stream(
            self._thread.install_id, place, shown, cards, recipient
        )

    async def grow(self, ts: str, text: str, steps: tuple[Step, ...]) -> None:
        """Appends the next words and cards that there is room for."""
        words, shown, cards = self._next(text, steps)
        if shown or cards:
            await self._slack.append_stream(
                self._thread.install_id, self._thread.channel_id, ts, shown, cards
            )
        self._count(words, shown, cards)

    async def end(self, ts: str) -> None:
        """Stops the stream."""
        await self._slack.stop_stream(self._thread.install_id, (self._thread.channel_id, ts))

    def closed(self, text: str, begin: int) -> None:
        """Goes on in a new message, behind the last blank line of the old one."""
        self._open = self._stuck = False
        self.sent = begin + cutting.cut_before(text[begin : self.sent], self._opened)

    def _new(self, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        return tuple(s for s in steps if self._shown.get(s.id) != s)

    def _next(self, text: str, steps: tuple[Step, ...]) -> tuple[str, str, tuple[Step, ...]]:
        """The next words, what shows them, and the cards that the message has room for."""
        room = _PART_BYTES - self._weight
        message, rest = self._message or self._opened, text[self.sent :]
        words, shown = cutting.next_words(message, rest, room, self._mentions)
        if shown is None:
            words, shown, self._stuck = "", "", True
        fits: set[str] = set()
        cards = []
        for step in self._new(steps):
            fits.add(step.id)
            if len(self._cards | fits) <= _PART_CARDS:
                cards.append(step)
        return words, shown, tuple(cards)

    def _count(self, words: str, shown: str, cards: tuple[Step, ...]) -> None:
        """These are shown."""
        self.sent += len(words)
        self._message += shown
        self._shown |= {s.id: s for s in cards}
        new = {s.id: s.title for s in cards if s.id not in self._cards}
        self._cards |= new.keys()
        self._weight += len(shown.encode()) + sum(len(title.encode()) for title in new.values())

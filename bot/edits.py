"""A preview as a post that is edited while its text grows: what there is without a stream.

It shows the first part of the answer with a mark at its end; the final text replaces both, and the
parts that follow are posted then. Its permits are those that nobody else needs.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any
from uuid import UUID

from bot import cutting, render
from bot.budget import Budgets
from bot.slack import Said, Slack
from router.behaviour import Mentions
from router.ports import Step, Thread

_POST, _UPDATE = "chat.postMessage", "chat.update"
# docs.slack.dev/reference/methods/chat.update: a long message no more often than this
_EDIT_GAP_SECONDS = 3.0
_MARK = "…still writing"


class Edited:
    """One thread's post. It has one message only, which is never full."""

    edited = True
    sent = 0
    left = None

    def __init__(
        self, slack: Slack, budgets: Budgets, thread: Thread, mentions: Mentions = "none"
    ) -> None:
        self._slack, self._budgets, self._thread = slack, budgets, thread
        self._mentions = mentions
        self._shown: tuple[str, tuple[Step, ...]] = ("", ())
        self._first: str | None = None

    @property
    def gap(self) -> float:
        """Seconds from one call to the next."""
        return _EDIT_GAP_SECONDS

    def wants(self, text: str, steps: tuple[Step, ...]) -> bool:
        """Whether the first part is not shown as it is now."""
        return self._now(text, steps) != self._shown

    def is_full(self) -> bool:
        """Never: what has no room is posted at the end."""
        return False

    def may_start(self) -> bool:
        """Always: posts and edits need no feature of the app or the workspace."""
        return True

    async def start_permit(self) -> bool:
        """To post, and one edit more: the one that will bring the final text."""
        install_id, channel = self._thread.install_id, self._thread.channel_id
        return await self._budgets.take_spare(
            install_id, _POST, channel
        ) and await self._budgets.take_spare(install_id, _UPDATE)

    async def grow_permit(self) -> bool:
        """To edit."""
        return await self._budgets.take_spare(self._thread.install_id, _UPDATE)

    async def end_permit(self) -> bool:
        """Nothing is called to end a post."""
        return True

    async def start(self, text: str, steps: tuple[Step, ...], name: UUID) -> str:
        """Posts what there is; its ts."""
        shown = self._now(text, steps)
        ts = await self._slack.post(self._thread.install_id, self._said(*shown), name)
        self._shown = shown
        return ts

    async def grow(self, ts: str, text: str, steps: tuple[Step, ...]) -> None:
        """Replaces what is shown by what there is now."""
        shown = self._now(text, steps)
        await _to_its_end(self._slack.update(self._thread.install_id, self._said(*shown), ts))
        self._shown = shown

    async def end(self, ts: str) -> None:
        """Does nothing: the delivery takes the mark away."""

    def closed(self, text: str, begin: int) -> None:
        """Changes nothing: there is no second message."""

    def _now(self, text: str, steps: tuple[Step, ...]) -> tuple[str, tuple[Step, ...]]:
        """The first part as the text has it now, or as it was once a second one had begun."""
        if self._first is not None:
            return self._first, steps
        parts = render.parts(text[: cutting.safe_end(text)], mentions=self._mentions) or [""]
        if len(parts) > 1:
            self._first = parts[0]
        return parts[0], steps

    def _said(self, text: str, steps: tuple[Step, ...]) -> Said:
        cards = [(step.title, step.status) for step in steps]
        titles = ", ".join(step.title for step in steps)
        blocks = [b for b in render.reply_blocks(text, cards, _MARK) if b.get("text") != ""]
        return Said(
            self._thread.channel_id,
            self._thread.root_ts,
            render.fallback_text(text or titles, self._mentions),
            blocks,
        )


def at_rest(blocks: list[dict[str, Any]], steps: tuple[Step, ...]) -> list[dict[str, Any]]:
    """The blocks of such a post without the mark; its cards, where told, as their steps ended."""
    kept = [block for block in blocks if not _is_mark(block)]
    if not steps:
        return kept
    cards = render.reply_blocks("", [(step.title, step.status) for step in steps])
    return [b for b in cards if b["type"] == "task_card"] + [
        b for b in kept if b.get("type") != "task_card"
    ]


def _is_mark(block: dict[str, Any]) -> bool:
    elements = block.get("elements") or []
    return block.get("type") == "context" and [e.get("text") for e in elements] == [_MARK]


async def _to_its_end(call: Coroutine[Any, Any, None]) -> None:
    """Makes a call whole, also when cancelled: else it could arrive after the final text."""
    made = asyncio.ensure_future(call)
    try:
        await asyncio.shield(made)
    except asyncio.CancelledError:
        await asyncio.wait([made])
        if not made.cancelled():
            made.exception()  # nobody is left to hear of it
        raise

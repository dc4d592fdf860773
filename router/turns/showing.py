"""What a person sees of a turn while it runs: feeds the preview, and ends it before the reply."""

import asyncio
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from router.behaviour import Mentions
from router.ports import NOTHING_BEFORE, Before, Preview, Step
from router.turns.engine import Engine
from router.turns.live import LiveAnswer
from router.turns.project import SEPARATOR
from store import database, previews
from store.leases import Held, LeaseLost

_log = structlog.get_logger(__name__)


class Showing:
    """A turn's preview from its first word to its end; nothing at all for threadless sessions."""

    _tasks: asyncio.TaskGroup

    def __init__(self, engine: Engine, held: Held) -> None:
        self._engine, self._held = engine, held
        self._answer = LiveAnswer()
        self._preview: Preview | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_first = False

    def is_first(self) -> None:
        """The turn was begun by this holder: nobody else can have shown anything of it."""
        self._is_first = True

    def run_in(self, tasks: asyncio.TaskGroup) -> None:
        """The preview's task is one of these; their end is the end of what it shows."""
        self._tasks = tasks

    def steps(self, *, interrupted: bool) -> tuple[Step, ...]:
        """The tool calls of the turn, all of them over."""
        self._answer.settle(interrupted=interrupted)
        return self._answer.steps

    def steps_over(self) -> tuple[Step, ...]:
        """The tool calls so far that wait for nothing."""
        return tuple(step for step in self._answer.steps if step.status != "in_progress")

    async def go_on(
        self, turn_id: UUID, user_id: str, team_id: str | None, mentions: Mentions
    ) -> None:
        """Opens a preview of what follows once people have decided, behind what was said before."""
        lease = self._held.lease
        async with database.borrow(self._engine.pool) as connection:
            parts = await previews.of_turn(connection, lease, turn_id)
        said = len(self._answer.text)
        before = Before(len(parts), said + len(SEPARATOR) if said else 0)
        self.begin(turn_id, user_id, team_id, mentions, before)

    def begin(
        self,
        turn_id: UUID,
        user_id: str,
        team_id: str | None,
        mentions: Mentions = "none",
        before: Before = NOTHING_BEFORE,
    ) -> None:
        """Opens the preview of a turn that answers this person; a second time changes nothing."""
        if self._held.slack_install_id is None or self._preview is not None:
            return
        self._preview = self._engine.previews.open(
            self._held, turn_id, user_id, team_id, mentions, before
        )
        self._task = self._tasks.create_task(self._guard(self._preview))

    def see(self, event: dict[str, Any]) -> None:
        """Shows what is new in an event of this turn; events of turns before are passed over."""
        at = event.get("processed_at")
        place = self._held.place_at
        if at and place and datetime.fromisoformat(at) <= place:
            return
        if self._answer.see(event) and self._preview is not None:
            self._preview.show(self._answer.text, self._answer.steps)

    async def _guard(self, preview: Preview) -> None:
        """Whatever happens to a preview, the turn goes on; without the lease neither does."""
        try:
            await preview.run()
        except LeaseLost:
            raise
        except Exception:  # noqa: BLE001  # logged; the answer does not hang on its preview
            _log.exception("preview.failed", session_id=str(self._held.id))

    async def end(self, turn_id: UUID) -> None:
        """Ends the preview's calls and finds its messages, before the reply becomes deliverable."""
        if self._held.slack_install_id is None:
            return
        if self._preview is not None and self._task is not None:
            self._preview.close()
            await self._task
        if self._is_first and not (self._preview and self._preview.touched):
            return
        await self._engine.previews.settle(self._held, turn_id)

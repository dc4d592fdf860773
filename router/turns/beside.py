"""Work that a holder does beside the loop that follows its session, one piece at a time."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Beside:
    """At most one task, in the holder's group of tasks: what it raises ends them all."""

    _tasks: asyncio.TaskGroup

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def run_in(self, tasks: asyncio.TaskGroup) -> None:
        """Its task is one of these."""
        self._tasks = tasks

    @property
    def under_way(self) -> bool:
        """Whether something is being done."""
        return self._task is not None and not self._task.done()

    async def stop(self) -> None:
        """Does no more, and returns when nothing is under way."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        """While nothing is under way."""
        self._task = self._tasks.create_task(work)

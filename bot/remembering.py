"""Answers that hold for a while: bounded, and never an answer that there was not."""

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from router import clock

_MOST = 10_000
V = TypeVar("V")


class Remembered(Generic[V]):
    """Remembers each answer for as long as whoever asked said; failures are never remembered."""

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[float, V]] = {}

    def get(self, key: Hashable) -> V | None:
        """The answer, as long as it holds."""
        found = self._known.get(key)
        return found[1] if found and found[0] > clock.monotonic() else None

    async def ask(self, key: Hashable, question: Callable[[], Awaitable[V]], seconds: float) -> V:
        """The answer, asked for where none holds, and then held so long. Raises as the question does."""
        known = self.get(key)
        if known is not None:
            return known
        answer = await question()
        self._known.pop(key, None)
        if len(self._known) >= _MOST:
            self._known.pop(next(iter(self._known)))
        self._known[key] = (clock.monotonic() + seconds, answer)
        return answer

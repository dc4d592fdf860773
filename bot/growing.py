"""How the messages of a preview grow: what `bot.previewing` asks of streams and of edits."""

from typing import Protocol
from uuid import UUID

from router.ports import Step


class Growing(Protocol):
    """How a preview's messages grow. Its calls raise what `bot.outcome` names."""

    @property
    def edited(self) -> bool:
        """True for posts that are edited, False for streams."""
        ...

    @property
    def gap(self) -> float:
        """Seconds from one call to the next."""
        ...

    @property
    def sent(self) -> int:
        """How much of the text is shown and cannot be taken back."""
        ...

    @property
    def left(self) -> float | None:
        """Seconds until the open message has to end because of its age."""
        ...

    def wants(self, text: str, steps: tuple[Step, ...]) -> bool:
        """Whether there is something to be done to show this."""
        ...

    def is_full(self) -> bool:
        """Whether what follows belongs in a new message."""
        ...

    def may_start(self) -> bool:
        """Whether a message can be begun at all."""
        ...

    async def start_permit(self) -> bool:
        """A permit to begin a message, now or not at all."""
        ...

    async def grow_permit(self) -> bool:
        """A permit to let the open message grow, now or not at all."""
        ...

    async def end_permit(self) -> bool:
        """A permit to end the open message, now or not at all."""
        ...

    async def start(self, text: str, steps: tuple[Step, ...], name: UUID) -> str:
        """Begins a message, which can be found by its name if it is a post; its ts."""
        ...

    async def grow(self, ts: str, text: str, steps: tuple[Step, ...]) -> None:
        """Shows what is new in the open message."""
        ...

    async def end(self, ts: str) -> None:
        """Ends the open message."""
        ...

    def closed(self, text: str, begin: int) -> None:
        """Goes on in a new message; the last one showed the text from `begin`."""
        ...

"""What the router needs of the place where people talk; `bot` implements it."""

from dataclasses import dataclass
from typing import Literal, Protocol
from uuid import UUID

Status = Literal["processing", "active", "suspended"]


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread of a conversation, as the router refers to it."""

    install_id: UUID
    channel_id: str
    root_ts: str


@dataclass(frozen=True, slots=True)
class Person:
    """Who speaks. `welcome` is False only for a guest where the install's setting allows none."""

    id: str
    name: str
    welcome: bool = True


class Conversation(Protocol):
    """What can be asked of, and shown in, a thread beside its durable messages."""

    async def show_status(self, thread: Thread, status: Status, title: str | None) -> None:
        """Shows what the agent is doing; best effort, never raises."""
        ...

    async def person(self, install_id: UUID, user_id: str) -> Person:
        """Who that is; falls back to the id when it cannot be found out."""
        ...

    def parts(self, markdown: str) -> list[str]:
        """Agent text, made inert and split into the messages it will be posted as."""
        ...

    def deliveries_wait(self) -> None:
        """Says that the outbox has something new."""
        ...

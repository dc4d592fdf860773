"""What the router needs of the place where people talk; `bot` implements it."""

from dataclasses import dataclass
from typing import Literal, Protocol
from uuid import UUID

from router.behaviour import Mentions
from store.leases import Held

Status = Literal["processing", "active", "suspended"]


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread of a conversation, as the router refers to it."""

    install_id: UUID
    channel_id: str
    root_ts: str


@dataclass(frozen=True, slots=True)
class Person:
    """Who speaks. `welcome` is False only for a guest where the install's setting allows none.

    `outsider`: known to be of another organisation, and not let in by the install's policy.
    """

    id: str
    name: str
    welcome: bool = True
    outsider: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """A tool call as people see it."""

    id: str
    title: str
    status: Literal["in_progress", "complete", "error"]


class Preview(Protocol):
    """A turn's answer while it is written. Best effort: what it shows is never the only copy."""

    def show(self, text: str, steps: tuple[Step, ...]) -> None:
        """What is to be seen from now on; `text` grows only at its end."""
        ...

    async def run(self) -> None:
        """Shows it until `close`. Raises LeaseLost, nothing else."""
        ...

    def close(self) -> None:
        """Asks `run` to end after the call that it is making."""
        ...


class Previews(Protocol):
    """Opens previews, and finds what an interrupted one left behind."""

    def open(
        self,
        held: Held,
        turn_id: UUID,
        user_id: str,
        team_id: str | None,
        mentions: Mentions = "none",
    ) -> Preview:
        """A preview of a turn that answers this person, with the mentions that stay."""
        ...

    async def settle(self, held: Held, turn_id: UUID) -> None:
        """After this every part of the turn's preview has its message or is known to have none."""
        ...


class Conversation(Protocol):
    """What can be asked of, and shown in, a thread beside its durable messages."""

    async def show_status(self, thread: Thread, status: Status, title: str | None) -> None:
        """Shows what the agent is doing; best effort, never raises."""
        ...

    async def person(self, install_id: UUID, user_id: str) -> Person:
        """Who that is; falls back to the id when it cannot be found out."""
        ...

    def parts(self, markdown: str, *, after: str = "", mentions: Mentions = "none") -> list[str]:
        """Agent text, made inert and split into the messages it will be posted as.

        `after`: what of the same answer stands in earlier messages. `mentions`: those that stay.
        """
        ...

    def deliveries_wait(self) -> None:
        """Says that the outbox has something new."""
        ...

"""What the router needs of the place where people talk; `bot` implements it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, Protocol
from uuid import UUID

from router.behaviour import Mentions
from router.context.quoting import Linked, Record
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
class Standing:
    """What a person is in a place, as far as deciding goes. `groups`: those asked about, joined.

    `known` is False where it could not be found out: then nothing may be concluded.
    """

    user_id: str
    name: str
    known: bool = True
    external: bool = False
    guest: bool = False
    bot: bool = False
    deactivated: bool = False
    admin: bool = False
    in_channel: bool = False
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Step:
    """A tool call as people see it."""

    id: str
    title: str
    status: Literal["in_progress", "complete", "error"]


@dataclass(frozen=True, slots=True)
class Before:
    """What a turn's earlier previews showed: so many messages, and its text up to there."""

    messages: int = 0
    text: int = 0


NOTHING_BEFORE = Before()


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

    @property
    def touched(self) -> bool:
        """Whether it has begun, or tried to begin, a message."""
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
        before: Before = NOTHING_BEFORE,
    ) -> Preview:
        """A preview of a turn that answers this person, with the mentions that stay.

        `before`: it goes on behind that, below what was said before people were waited for.
        """
        ...

    async def settle(self, held: Held, turn_id: UUID) -> None:
        """After this every part of the turn's preview has its message or is known to have none."""
        ...


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A file that people shared, as it comes in. `chunks` ends with it, and is bounded.

    `chunks` raises FileRefused and FileAway; what is said of a file elsewhere is never believed.
    """

    name: str | None
    chunks: AsyncIterator[bytes]


class FileSource(Protocol):
    """Where the files that people share are read."""

    def open_file(
        self, install_id: UUID, file: Mapping[str, Any]
    ) -> AbstractAsyncContextManager[OpenedFile]:
        """A file of an input's body, for as long as the context is open.

        Entering raises FileRefused where it is not to be had, FileAway where it may be later.
        """
        ...


class ThreadSource(Protocol):
    """Where what people said before is read, as it reads now. Never raises."""

    async def earlier(self, thread: Thread, before_ts: str) -> Record:
        """What was said in a thread before a message; `failed` where that could not be read."""
        ...

    async def linked(self, install_id: UUID, text: str, user_id: str) -> list[Linked]:
        """What the links of a text lead to, as far as that person may see it."""
        ...

    async def named(self, install_id: UUID, text: str) -> str:
        """A message's text with the names of those whom it mentions by their ids, as far as known."""
        ...


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel, as far as an agent's calls go. `inside`: the bot is in it."""

    id: str
    name: str
    public: bool
    inside: bool
    archived: bool = False


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it reads now. `replies`: how many stand in the thread below it."""

    ts: str
    author_id: str
    author: str
    text: str
    bot: bool = False
    edited: bool = False
    thread_ts: str | None = None
    replies: int = 0
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """Messages in Slack's order; `next` is the ts behind which more are to be had."""

    messages: tuple[Message, ...]
    next: str | None = None


class ChannelSource(Protocol):
    """Where an agent's own calls read Slack. Everything but `may_see` raises NotReadable."""

    async def channel(self, install_id: UUID, wanted: str) -> Channel:
        """The channel of that id, or, of those that the bot is in, of that name."""
        ...

    async def may_see(self, install_id: UUID, channel_id: str, users: Sequence[str]) -> bool:
        """Whether all of these people can see a channel; False where that cannot be found out."""
        ...

    async def history(
        self, install_id: UUID, channel_id: str, limit: int, before: str | None
    ) -> Page:
        """Messages of a channel, newest first, those of threads left out."""
        ...

    async def replies(
        self, install_id: UUID, channel_id: str, root_ts: str, limit: int, after: str | None
    ) -> Page:
        """A thread, oldest first; its root only at the beginning."""
        ...


class Conversation(Protocol):
    """What can be asked of, and shown in, a thread beside its durable messages."""

    async def show_status(self, thread: Thread, status: Status, title: str | None) -> None:
        """Shows what the agent is doing; best effort, never raises."""
        ...

    async def person(self, install_id: UUID, user_id: str) -> Person:
        """Who that is; falls back to the id when it cannot be found out."""
        ...

    async def standing(
        self, install_id: UUID, channel_id: str, user_id: str, groups: frozenset[str]
    ) -> Standing:
        """What a person may be trusted with in a channel, and which of these groups they are in.

        Never raises: what cannot be found out is `known=False`.
        """
        ...

    def parts(self, markdown: str, *, after: str = "", mentions: Mentions = "none") -> list[str]:
        """Agent text, made inert and split into the messages it will be posted as.

        `after`: what of the same answer stands in earlier messages. `mentions`: those that stay.
        """
        ...

    def deliveries_wait(self) -> None:
        """Says that the outbox has something new."""
        ...

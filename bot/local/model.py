"""What the local workspace is made of, and the one error its Web API raises."""

from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]
UserKind = Literal["member", "admin", "owner", "guest", "solo_guest", "connect", "bot", "app"]
ChannelKind = Literal["channel", "group", "mpim", "im"]
Twins = Literal["message_first", "mention_first", "together"]
StreamingState = Literal["in_progress", "completed", "errored"]


class SlackError(Exception):
    """An answer of `{"ok": false, "error": name}`; `extra` holds the fields that go with it."""

    def __init__(self, name: str, **extra: Any) -> None:
        super().__init__(name)
        self.name = name
        self.extra = extra


def invalid_arguments(*messages: str) -> SlackError:
    """The answer to a missing or malformed argument, with Slack's list of what was wrong."""
    texts = [f"[ERROR] {message}" for message in messages]
    return SlackError("invalid_arguments", response_metadata={"messages": texts})


@dataclass(frozen=True, slots=True)
class User:
    """One account: a person, a guest, a Slack Connect stranger, another bot, or our own app.

    A `solo_guest` may be in one channel only; `deleted` accounts are deactivated.
    """

    id: str
    name: str
    real_name: str
    team_id: str
    kind: UserKind = "member"
    bot_id: str | None = None
    app_id: str | None = None
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Channel:
    """A conversation; `kind` is the `channel_type` of its events, `shared_with` the other teams."""

    id: str
    name: str
    kind: ChannelKind
    members: tuple[str, ...]
    shared_with: tuple[str, ...] = ()
    archived: bool = False


@dataclass(frozen=True, slots=True)
class Stream:
    """What a streamed message holds beyond its text; `started` is the server's clock.

    `parts` are its texts, cards and blocks in their order; `mode` is fixed by the first content.
    """

    started: float
    display: str = "timeline"
    mode: str = ""
    plan: str = ""
    parts: list[Json] = field(default_factory=list)
    tasks: dict[str, Json] = field(default_factory=dict)
    stopped_by: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it stands now; `thread_ts` is None for a root, `at` is the server's clock.

    `streaming_state` is None for a message that was posted rather than streamed.
    """

    channel: str
    ts: str
    text: str
    team: str
    at: float
    user: str | None = None
    bot_id: str | None = None
    thread_ts: str | None = None
    subtype: str | None = None
    username: str | None = None
    client_msg_id: str | None = None
    blocks: list[Json] = field(default_factory=list)
    attachments: list[Json] = field(default_factory=list)
    files: list[Json] = field(default_factory=list)
    edited: Json | None = None
    metadata: Json | None = None
    reactions: list[Json] = field(default_factory=list)
    streaming_state: StreamingState | None = None
    stream: Stream | None = None

    @property
    def tasks(self) -> list[Json]:
        """The task cards that a streamed message shows, in the order in which they came."""
        return list(self.stream.tasks.values()) if self.stream else []

    @property
    def root(self) -> str:
        """The ts of the thread that this message is in, or would start."""
        return self.thread_ts or self.ts


@dataclass(frozen=True, slots=True)
class Ephemeral:
    """A message that only `user` sees."""

    channel: str
    user: str
    text: str
    blocks: list[Json]
    thread_ts: str | None
    ts: str


@dataclass(frozen=True, slots=True)
class Status:
    """One change of an agent session's status or title; `at` is wall time, `clock` the server's."""

    channel: str
    thread_ts: str
    status: str
    title: str | None
    at: float
    clock: float


@dataclass(frozen=True, slots=True)
class Call:
    """One Web API call received; `status` is 0 when the connection was cut instead of answered.

    `ms` is how long it took, `left` how many more the method's tier lets in within this minute
    (None: any number), `seq` its running number.
    """

    method: str
    args: Json
    answer: Json
    status: int
    at: float
    fault: str | None = None
    ms: float = 0.0
    left: int | None = None
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt to deliver an event; `status` is 0 when no answer came, `seq` counts them."""

    event_id: str
    type: str
    ts: str | None
    retry_num: int | None
    retry_reason: str | None
    status: int
    ms: float
    at: float
    failure: str | None = None
    no_retry: bool = False
    seq: int = 0
    channel: str | None = None

    @property
    def ok(self) -> bool:
        """Whether Slack counts this attempt as delivered."""
        return self.failure is None

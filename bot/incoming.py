"""What a Slack payload becomes: plain data, with the keys that everything later is told apart by."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

ExternalPolicy = Literal["reject", "allow_list", "allow_all"]
ChannelType = Literal["im", "mpim", "channel", "group", "unknown"]
FileAccess = Literal["visible", "check_file_info"]
IgnoredReason = Literal[
    "addressed_elsewhere",  # an un-mentioned thread reply that opens with somebody else's mention
    "bot_message",  # another bot's post, its edit or its end
    "event_type_unused",  # an event that no code needs; `detail` names it
    "external_user",  # an outsider who did not speak to us, or deleted something
    "hidden",  # bookkeeping of Slack that no person sees
    "interaction",  # buttons, views, shortcuts, commands: not for this parser
    "message_replied",  # Slack's note at a root that its thread grew
    "joined_by_others",  # somebody else than our bot came into a channel
    "no_author",  # nobody to answer
    "noise_subtype",  # joins, topics, pins, …; `detail` names it
    "not_addressed",  # top-level channel talk without our mention
    "not_an_edit",  # message_changed without `edited`: unfurls, thread counters, titles
    "own_delete",
    "own_message",
    "own_update",
    "rate_limited",  # app_rate_limited: Slack withholds deliveries
    "same_text",  # message_changed after an edit, but the words are the same
    "url_verification",  # the endpoint challenge; whoever serves HTTP answers it
    "user_token_revoked",  # the bot's own token stays valid
]


class Unreadable(ValueError):
    """The payload is signed, yet it is no Slack payload that can be read; the answer is HTTP 400."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """Whose payload this is, known before the install is looked up (facts: the tenant, not the actor).

    `tenant_id` is the enterprise of an org-wide install, else the installing workspace.
    `api_app_id` is None where a thin sender leaves it out.
    """

    api_app_id: str | None
    tenant_id: str
    team_id: str | None
    enterprise_id: str | None


@dataclass(frozen=True, slots=True)
class InstallIdentity:
    """What reading a payload needs to know of the install; `allowed_external` holds user, team or org ids."""

    api_app_id: str
    tenant_id: str
    team_id: str | None
    enterprise_id: str | None
    bot_user_id: str
    bot_id: str | None
    external_policy: ExternalPolicy = "reject"
    allowed_external: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Ignored:
    """Nothing to do, and why; `detail` is the event type or subtype where the reason covers several."""

    reason: IgnoredReason
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class SlackFile:
    """A file shared with a message; in Slack Connect Slack may hold back all but the id.

    `access` "check_file_info" says so (docs.slack.dev/reference/objects/file-object); `mode` tells
    a file that is hosted from one that is gone, or that only stands elsewhere.
    """

    id: str
    name: str | None
    mimetype: str | None
    size: int | None
    url: str | None = None
    access: FileAccess = "visible"
    mode: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Post:
    """One message in one thread: the part that its words, its end and its refusal share."""

    api_app_id: str
    tenant_id: str
    team_id: str | None  # a workspace id for `team_id` arguments, never part of a key
    channel_id: str
    channel_type: ChannelType
    root_ts: str
    ts: str
    user_id: str | None
    actor_team_id: str | None
    event_id: str | None

    @property
    def conversation_key(self) -> str:
        """Tells this Slack thread from all others."""
        return f"{self.api_app_id}:{self.tenant_id}:{self.channel_id}:{self.root_ts}"

    @property
    def message_key(self) -> str:
        """The same for every event about this one Slack message."""
        return f"msg:{self.api_app_id}:{self.tenant_id}:{self.channel_id}:{self.ts}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackMessage(_Post):
    """Somebody's words, new or edited.

    `addressed` is False for words that are ours only if the thread already has a session.
    `only_if_stored` marks an edit that by itself would not concern us (a channel message that no longer,
    or never, mentioned us): it may change a stored message and must not make a new one.
    """

    user_id: str
    text: str
    revision: str | None
    addressed: bool
    mentions_us: bool
    is_edit: bool
    only_if_stored: bool
    client_msg_id: str | None
    files: tuple[SlackFile, ...]

    @property
    def client_key(self) -> str | None:
        """A second key of human messages: Slack was seen to deliver one gesture under two timestamps."""
        if self.client_msg_id is None:
            return None
        return f"{self.api_app_id}:{self.tenant_id}:{self.channel_id}:{self.client_msg_id}"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, from which `from_json` makes an equal object."""
        return asdict(self) | {"files": [asdict(file) for file in self.files]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The object that `to_json` wrote; keys of a newer version are left out."""
        names = {field.name for field in fields(SlackFile)}
        files = tuple(
            SlackFile(**{k: v for k, v in file.items() if k in names}) for file in data["files"]
        )
        return cls(**_known(cls, data) | {"files": files})


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackDelete(_Post):
    """A person's message is gone; `addressed` says whether it had spoken to us, as far as Slack shows it."""

    addressed: bool

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, from which `from_json` makes an equal object."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The object that `to_json` wrote; keys of a newer version are left out."""
        return cls(**_known(cls, data))


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranger(_Post):
    """An outsider spoke to us whom the install's policy keeps out: one private sentence per thread."""

    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackStop(_Post):
    """A person pressed the stop button of an agent session; `ts` is when."""

    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackRename(_Post):
    """A person gave the agent session of a thread another title; `ts` is when."""

    user_id: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackJoined(_Post):
    """Our bot came into a channel; `ts` is when, and there is no thread."""


@dataclass(frozen=True, slots=True)
class HomeOpened:
    """A person looks at our app: at its home tab, or at the messages of their direct message."""

    tab: Literal["home", "messages"]
    user_id: str
    channel_id: str | None


@dataclass(frozen=True, slots=True)
class InstallChange:
    """The app was removed, or the bot's token revoked."""

    kind: Literal["uninstalled", "tokens_revoked"]
    api_app_id: str
    tenant_id: str
    event_id: str | None


SlackGesture = SlackMessage | SlackDelete | SlackStop | SlackRename | SlackJoined | Stranger
SlackEvent = SlackGesture | InstallChange | HomeOpened


def _known(cls: type[_Post], data: dict[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(cls)}
    return {name: value for name, value in data.items() if name in names}

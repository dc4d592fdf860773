"""How a deployed agent behaves in Slack: its settings, and what overrides them in a channel."""

from datetime import timedelta
from typing import Annotated, Any, Literal, Self

import structlog
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
)

from router.errors import ConfigurationError

Mentions = Literal["none", "people", "all"]

Who = Annotated[
    str,
    StringConstraints(
        pattern=r"^(requester|admins|channel|user:[UW][A-Z0-9]{1,30}|group:S[A-Z0-9]{1,30})$"
    ),
]
# `\s` is not the same everywhere: what only JavaScript, Python or Rust counts as a space is named.
SPACE = r"\s\x1c-\x1f\x85\ufeff"
# Something to read, and no U+0000, which PostgreSQL does not take, in JSON either. No part of it can
# match what another does: engines that try all ways have one.
WORDS = rf"^[{SPACE}]*[^{SPACE}\x00][^\x00]*$"
# To JSON Schema 2.0 is an integer as well.
Whole = BeforeValidator(lambda v: int(v) if isinstance(v, float) and v.is_integer() else v)
_Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
# A channel's id, or its name with or without #; names have no spaces and no marks but - and _.
Channel = Annotated[str, StringConstraints(pattern=r"^#?[^ #@,<>|\x00]{1,80}$")]
_NO_OTHERS: dict[str, JsonValue] = {"additionalProperties": False}
_MOST_MINUTES = 60 * 24 * 30
# Four: docs.slack.dev/reference/methods/assistant.threads.setSuggestedPrompts. It names no lengths:
# a title is a button's, a message one that chat.postMessage recommends.
_MOST_PROMPTS = 4
_PROMPT_TITLE = 75
_PROMPT_MESSAGE = 4_000

_log = structlog.get_logger(__name__)


class Policy(BaseModel):
    """Who may decide on a held call, how many of them it takes, and for how long it can be done."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    who: tuple[Who, ...] = Field(default=("requester",), min_length=1, max_length=50)
    """Any of: whom the turn answers, named people, user groups, workspace admins, the channel."""
    quorum: Annotated[int, Whole] = Field(default=1, ge=1, le=10)
    """So many must be for it. One who is against it is enough."""
    expires_minutes: float | None = Field(default=None, gt=0, le=_MOST_MINUTES)
    """After so long the card takes no decision any more and offers to ask again; else never."""
    remind_minutes: float | None = Field(default=None, gt=0, le=_MOST_MINUTES)
    """After so long the thread is reminded; unsaid, at half the time of a card that expires."""
    remember: Literal["no", "arguments", "tool"] = "no"
    """Whether one may approve for the whole thread: equal calls, or all calls of the tool."""

    @property
    def expire(self) -> timedelta | None:
        """When a card runs out, from its asking on."""
        return timedelta(minutes=self.expires_minutes) if self.expires_minutes else None

    @property
    def remind(self) -> timedelta | None:
        """When people are reminded, from its asking on."""
        if self.remind_minutes is not None:
            return timedelta(minutes=self.remind_minutes)
        return self.expire / 2 if self.expire else None


class Approvals(BaseModel):
    """The policies of an agent's tools; a tool of a server is named `server.tool`, all `server.*`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    default: Policy = Policy()
    tools: dict[_Text, Policy] = Field(default_factory=dict, json_schema_extra=_NO_OTHERS)

    def of(self, tool: str, server: str | None) -> Policy:
        """The policy that is nearest to a tool."""
        names = [f"{server}.{tool}", f"{server}.*"] if server else [tool]
        return next((self.tools[name] for name in names if name in self.tools), self.default)


class Escalations(BaseModel):
    """Who answers an agent's questions, who is called to it, and when again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    who: tuple[Who, ...] = Field(default=("requester", "channel"), min_length=1, max_length=50)
    """Who may answer; the owner may always."""
    owner: Who | None = None
    """Who is mentioned on the card and at every ping; a person or a user group."""
    ping_minutes: tuple[Annotated[float, Field(gt=0, le=_MOST_MINUTES)], ...] = (60.0, 480.0)
    """After so long without an answer they are called again; each from the call before."""

    def ping(self, pings: int) -> timedelta | None:
        """When to call again after so many pings; None: not any more."""
        if pings >= len(self.ping_minutes):
            return None
        return timedelta(minutes=self.ping_minutes[pings])


class Prompt(BaseModel):
    """Something that a newcomer can say with one press: what they read, and what is then said."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: Annotated[
        str,
        StringConstraints(min_length=1, max_length=_PROMPT_TITLE, pattern=WORDS),
        AfterValidator(str.strip),
    ]
    message: Annotated[
        str,
        StringConstraints(min_length=1, max_length=_PROMPT_MESSAGE, pattern=WORDS),
        AfterValidator(str.strip),
    ]


class SlackTools(BaseModel):
    """Where an agent's own calls to Slack may go beside the conversation that it is in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    channels: Literal["all"] | tuple[Channel, ...] = Field(default=(), max_length=500)
    """What it may read and write: all public channels that the bot is in, or these, by id or name.

    A private one only by its id, and only for people who are in it.
    """
    post: Literal["ask", "allow", "deny"] = "ask"
    """Whether it may post outside of its own thread; with `ask` people approve each message."""


class Behaviour(BaseModel):
    """What holds in one place."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    busy: Literal["queue", "steer", "collect"] = "queue"
    """A message that comes mid-turn waits for the next turn (queue, collect) or turns this one."""
    collect_seconds: float = Field(default=3.0, gt=0, le=60)
    """With `collect`, a turn starts once nothing new came for so long."""
    stream: bool = True
    """The answer is shown while it is being written."""
    footer: bool = False
    """A finished answer says what it cost and how long it took."""
    mentions: Mentions = "none"
    """Whom an answer may notify by a mention: nobody, single people, or groups and channels too."""
    approvals: Approvals = Approvals()
    """Who decides on the calls that the agent may not make by itself."""
    escalations: Escalations = Escalations()
    """Who answers the agent's questions."""
    slack_tools: SlackTools = SlackTools()
    """Where the agent's own calls to Slack may go."""
    prompts: tuple[Prompt, ...] = Field(default=(), max_length=_MOST_PROMPTS)
    """What the agent's direct message suggests to say."""
    greeting: Annotated[_Text, StringConstraints(max_length=_PROMPT_TITLE)] | None = None
    """The words above these suggestions."""


class AgentSettings(Behaviour):
    """The settings of an agent; `channels` names what differs there, by channel id."""

    channels: dict[_Text, Behaviour] = Field(default_factory=dict, json_schema_extra=_NO_OTHERS)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The settings that a JSON text says. ConfigurationError names every mistake."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as invalid:
            wrong = [
                f"{'.'.join(str(part) for part in e['loc']) or 'settings'}: {e['msg']}"
                for e in invalid.errors()
            ]
            raise ConfigurationError("; ".join(wrong)) from None

    def stored(self) -> dict[str, Any]:
        """As it is kept: only what was said."""
        return self.model_dump(mode="json", exclude_unset=True)

    def at(self, channel_id: str | None) -> Behaviour:
        """What holds in a channel."""
        general = self.model_dump(exclude={"channels"})
        here = self.channels.get(channel_id or "")
        return Behaviour(**general | (here.model_dump(exclude_unset=True) if here else {}))


def behaviour_of(settings: dict[str, Any], channel_id: str | None) -> Behaviour:
    """What stored settings mean in a channel; such as nobody could have stored mean the defaults."""
    try:
        return AgentSettings.model_validate(settings).at(channel_id)
    except ValidationError as invalid:
        _log.error("settings.unreadable", fields=[str(e["loc"]) for e in invalid.errors()])
        return Behaviour()

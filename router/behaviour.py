"""How a deployed agent behaves in Slack: its settings, and what overrides them in a channel."""

from typing import Any, Literal, Self

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from router.errors import ConfigurationError

Mentions = Literal["none", "people", "all"]

_log = structlog.get_logger(__name__)


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


class AgentSettings(Behaviour):
    """The settings of an agent; `channels` names what differs there, by channel id."""

    channels: dict[str, Behaviour] = Field(default_factory=dict)

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

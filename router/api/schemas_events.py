"""A session's events as programs ask for them and get them."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

Order = Literal["asc", "desc"]


class EventsQuery(BaseModel):
    """What `GET …/events` is asked for: `type` may be given more than once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: list[str] = Field(default_factory=list, max_length=50)
    order: Order = "asc"
    limit: int = Field(default=50, ge=1, le=100)
    cursor: str | None = Field(default=None, max_length=2_000)


class StreamQuery(BaseModel):
    """What `GET …/stream` is asked for; the header Last-Event-ID counts more than `last_event_id`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    deltas: bool = False
    last_event_id: str | None = Field(default=None, max_length=4_000)


class Decision(BaseModel):
    """What became of a call that waited for people, or of a question to them: who, when, how."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["approval", "escalation"]
    id: UUID
    state: str
    verdict: Literal["allow", "deny"] | None = None
    answer: str | None = None
    reason: str | None = None
    decided_by: dict[str, Any] | None = None
    decided_at: datetime | None = None
    asked_at: datetime


class EventItem(BaseModel):
    """One event of the runtime, as it is there; `decision` where people were asked about it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    event: dict[str, Any]
    decision: Decision | None = None


class EventsPage(BaseModel):
    """A page of a session's history; `next_cursor` is null at its end."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: list[EventItem]
    next_cursor: str | None = None

"""A session's events as programs ask for them and get them."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

MOST_PLACE = 4_000
PLACE = r"^[A-Za-z0-9_-]*$"
"""What places are written with (`places`); none at all is the beginning."""

Order = Literal["asc", "desc"]
# All of a query has to fit into the 8,190 bytes that the server reads of a line.
EventType = Annotated[str, Field(pattern=r"^[a-z0-9_.]{1,64}$")]


class EventsQuery(BaseModel):
    """What `GET …/events` is asked for: `type` may be given more than once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: list[EventType] = Field(default_factory=list, max_length=50)
    order: Order = "asc"
    limit: int = Field(default=50, ge=1, le=100)
    cursor: str | None = Field(
        default=None, min_length=1, max_length=2_000, pattern=r"^[A-Za-z0-9_-]+$"
    )


class StreamQuery(BaseModel):
    """What `GET …/stream` is asked for; the header Last-Event-ID counts more than `last_event_id`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    deltas: bool = False
    last_event_id: str | None = Field(default=None, max_length=MOST_PLACE, pattern=PLACE)


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

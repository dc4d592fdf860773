"""What every shape of the API has in common; field names are the database's."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from router.behaviour import SPACE, WORDS

MOST_TEXT = 100_000
MOST_TITLE = 200

Words = Annotated[str, Field(min_length=1, max_length=MOST_TEXT, pattern=WORDS)]
_SHOWN = rf"[^{SPACE}\x00-\x1f\x7f]"
Title = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MOST_TITLE,
        pattern=rf"^[^\x00-\x1f\x7f]*{_SHOWN}[^\x00-\x1f\x7f]*$",
    ),
]
Name = Annotated[
    str,
    Field(
        min_length=1,
        max_length=100,
        pattern=rf"^{_SHOWN}([^\x00-\x1f\x7f]*{_SHOWN})?$",
    ),
]
Cursor = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[A-Za-z0-9_-]+$")]
Limit = Annotated[int, Field(ge=1, le=100)]


class Request(BaseModel):
    """What is sent to us: nothing that we do not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Response(BaseModel):
    """What we answer: nothing that is not said here."""

    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True)


class Nothing(Request):
    """A request that says no more than its address."""


class Listing(Request):
    """From where a list goes on, and how much of it is wanted."""

    limit: Limit = 50
    cursor: Cursor | None = None


class InWorkspace(Request):
    """Which workspace is meant; needed by people who belong to several."""

    workspace_id: UUID | None = None


class ListingInWorkspace(Listing):
    """A list of one workspace, which people who belong to several have to name."""

    workspace_id: UUID | None = None


class FieldError(Response):
    """One thing that is wrong with a request, and where."""

    loc: list[str | int]
    msg: str


class ProblemOut(BaseModel):
    """A problem (RFC 9457): programs tell them apart by `type`, people read `detail`."""

    model_config = ConfigDict(extra="allow", frozen=True, title="Problem")

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] | None = None
    """What is wrong with an invalid request."""
    variables: list[str] | None = None
    """What is not set on a server that lacks settings."""


Json = dict[str, Any]
Moment = datetime

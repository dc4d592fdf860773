"""Sessions as programs ask for them and get them."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from router.api.schemas import Cursor, Json, Listing, Request, Response, Title, Words

Status = Literal["idle", "running", "archived"]
Source = Literal["dashboard", "slack", "schedule", "webhook"]


class CreateSession(Request):
    """A new session. Without a title it takes the first line of its first message."""

    title: Title | None = None
    message: Words | None = None
    """The first message, as if it were sent right after."""


class SendMessage(Request):
    """Something said to the agent. It waits its turn behind what was said before, wherever that was."""

    text: Words


class SessionsQuery(Listing):
    """Which sessions. What is given more than once means any of it."""

    status: list[Status] = Field(default_factory=list, max_length=3)
    source: list[Source] = Field(default_factory=list, max_length=4)
    title: Title | None = None
    """Words that stand in the title, in any case of letters."""
    created_from: datetime | None = None
    created_before: datetime | None = None
    cursor: Cursor | None = None


class SessionOut(Response):
    """A session: a pointer at the runtime's, which has its history.

    `archive_requested_at` without `archived_at`: what is under way is being stopped.
    """

    id: UUID
    deployed_agent_id: UUID
    workspace_id: UUID
    anthropic_session_id: str | None
    status: Status
    source: Source
    title: str | None
    created_by: str | None
    slack_team_id: str | None
    slack_channel_id: str | None
    slack_thread_ts: str | None
    slack_conversation_key: str | None
    usage_snapshot: Json | None
    archive_requested_at: datetime | None
    archived_at: datetime | None
    created_at: datetime
    updated_at: datetime


class SessionPage(Response):
    """Sessions, newest first."""

    data: list[SessionOut]
    next_cursor: str | None = None


class InputOut(Response):
    """What was accepted for a session; `id` is named by the events about it."""

    id: UUID
    session_id: UUID
    kind: Literal["message"]
    state: Literal["queued"]
    accepted_at: datetime

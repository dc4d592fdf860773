"""What agents ask people: approvals of held calls, and questions."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from router.api.schemas import Json, Listing, Request, Response
from router.behaviour import WORDS, Whole

ApprovalState = Literal["pending", "allowed", "denied", "confirmed", "void", "closed", "expired"]
EscalationState = Literal["pending", "answered", "cancelled"]
Reason = Annotated[str, Field(max_length=1_000, pattern=r"^[^\x00]*$")]
Reply = Annotated[str, Field(min_length=1, max_length=10_000, pattern=WORDS)]


class ApprovalsQuery(Listing):
    """Which approvals."""

    state: list[ApprovalState] = Field(default_factory=list, max_length=7)
    session_id: UUID | None = None


class Decide(Request):
    """A decision on a held call; the policy of the tool says whose it is.

    `card_no`: what was decided on, where that may have been asked anew meanwhile.
    `remember`: lets later calls of the tool pass in this session, as far as its policy allows.
    """

    verdict: Literal["allow", "deny"]
    reason: Reason | None = None
    remember: bool = False
    card_no: Annotated[int, Field(ge=1, le=65_535), Whole] | None = None


class ApprovalOut(Response):
    """A call that the runtime holds until somebody decides; secrets are taken out of `arguments`."""

    id: UUID
    deployed_agent_id: UUID
    workspace_id: UUID
    session_id: UUID
    turn_id: UUID
    runtime_event_id: str
    card_no: int
    revision: int
    tool: str
    server: str | None
    arguments: Json
    policy: Json
    requesters: list[str]
    state: ApprovalState
    verdict: Literal["allow", "deny"] | None
    decided_by: Json | None
    decided_at: datetime | None
    reason: str | None
    asked_at: datetime
    remind_at: datetime | None
    expires_at: datetime | None


class ApprovalPage(Response):
    """Approvals, the newest asked first."""

    data: list[ApprovalOut]
    next_cursor: str | None = None


class EscalationsQuery(Listing):
    """Which questions."""

    state: list[EscalationState] = Field(default_factory=list, max_length=3)
    session_id: UUID | None = None


class AnswerQuestion(Request):
    """The answer to an agent's question; it goes to the agent with the name of who gave it."""

    answer: Reply


class EscalationOut(Response):
    """A question of an agent to a person. `channel_id`: where else it was asked."""

    id: UUID
    deployed_agent_id: UUID
    workspace_id: UUID
    session_id: UUID
    turn_id: UUID
    runtime_event_id: str
    revision: int
    question: str
    context: str
    choices: list[str]
    policy: Json
    requesters: list[str]
    state: EscalationState
    answer: str | None
    decided_by: Json | None
    decided_at: datetime | None
    asked_at: datetime
    channel_id: str | None


class EscalationPage(Response):
    """Questions, the newest first."""

    data: list[EscalationOut]
    next_cursor: str | None = None

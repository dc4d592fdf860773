"""Agents, their keys, the people of their workspace, and who asks."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from router.api.schemas import Json, Name, Request, Response
from router.behaviour import AgentSettings

RuntimeId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,200}$")]
Role = Literal["viewer", "member", "admin", "owner"]
KeyRole = Literal["viewer", "member", "admin"]
AgentStatus = Literal["active", "paused"]


class CreateAgent(Request):
    """Deploys an agent and an environment that exist at the runtime."""

    name: Name
    anthropic_agent_id: RuntimeId
    anthropic_environment_id: RuntimeId
    settings: AgentSettings = AgentSettings()


class UpdateAgent(Request):
    """What is to change; what is not given stays. `settings` replaces all of them.

    What is said to a paused agent waits until it is active again.
    """

    name: Name | None = None
    settings: AgentSettings | None = None
    status: AgentStatus | None = None


class AgentOut(Response):
    """A deployed agent."""

    id: UUID
    workspace_id: UUID
    name: str
    anthropic_agent_id: str
    anthropic_environment_id: str
    status: AgentStatus
    settings: Json
    created_at: datetime


class AgentPage(Response):
    """Agents, newest first."""

    data: list[AgentOut]
    next_cursor: str | None = None


class CreateKey(Request):
    """A key for programs, good for this agent alone."""

    name: Name
    role: KeyRole = "member"


class KeyOut(Response):
    """A key as it may be shown: its prefix says which, never what it is."""

    id: UUID
    workspace_id: UUID
    deployed_agent_id: UUID
    name: str
    prefix: str
    role: KeyRole
    created_by: str | None
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


class NewKeyOut(KeyOut):
    """A key that was just made. `token` is shown this once: it is null when a request is repeated."""

    token: str | None


class KeyList(Response):
    """All keys of an agent, newest first, revoked ones too."""

    data: list[KeyOut]


class MemberOut(Response):
    """A person of a workspace."""

    workspace_id: UUID
    user_id: str
    role: Role
    created_at: datetime


class MemberPage(Response):
    """People, newest first."""

    data: list[MemberOut]
    next_cursor: str | None = None


class MembershipOut(Response):
    """A workspace, and what the caller is there."""

    workspace_id: UUID
    name: str
    role: Role


class Me(Response):
    """Who asks: a person with their workspaces, or a key with its agent."""

    kind: Literal["member", "key"]
    user_id: str | None
    email: str | None
    key_id: UUID | None
    deployed_agent_id: UUID | None
    workspaces: list[MembershipOut]

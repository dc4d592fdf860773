"""Deployed agents, and which of them answers where."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from store.database import Connection
from store.ids import new_id


@dataclass(frozen=True, slots=True)
class Agent:
    """A deployed agent: a pointer at an agent and an environment of the runtime."""

    id: UUID
    workspace_id: UUID
    name: str
    anthropic_agent_id: str
    anthropic_environment_id: str
    status: str
    settings: dict[str, Any]
    created_at: datetime


# $1 id, $2 workspace, $3 name, $4 runtime agent, $5 runtime environment
_PUT = """
INSERT INTO deployed_agents (id, workspace_id, name, anthropic_agent_id, anthropic_environment_id)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (workspace_id, name) DO UPDATE
SET anthropic_agent_id = excluded.anthropic_agent_id,
    anthropic_environment_id = excluded.anthropic_environment_id
RETURNING id, workspace_id, name, anthropic_agent_id, anthropic_environment_id, status, settings,
    created_at
"""


async def put(
    connection: Connection, workspace_id: UUID, name: str, runtime_agent: str, environment: str
) -> Agent:
    """Deploys an agent under a name; a second time points the name elsewhere."""
    row = await connection.fetchrow(_PUT, new_id(), workspace_id, name, runtime_agent, environment)
    assert row is not None  # noqa: S101  # DO UPDATE always returns the row
    return Agent(**row)


_LIST = """
SELECT id, workspace_id, name, anthropic_agent_id, anthropic_environment_id, status, settings,
    created_at
FROM deployed_agents ORDER BY name
"""


async def every(connection: Connection) -> list[Agent]:
    """All deployed agents, by name."""
    return [Agent(**row) for row in await connection.fetch(_LIST)]


# $1 workspace, $2 agent
_DEFAULT_HERE = "UPDATE workspaces SET default_agent_id = $2 WHERE id = $1"
# $1 workspace, $2 agent
_MAKE_DEFAULT = """
UPDATE oauth_installs SET default_agent_id = $2, updated_at = now() WHERE workspace_id = $1
"""


async def make_default(connection: Connection, workspace_id: UUID, agent_id: UUID) -> int:
    """Lets an agent answer on every install of its workspace, later ones included.

    Returns how many installs there are now.
    """
    await connection.execute(_DEFAULT_HERE, workspace_id, agent_id)
    done = await connection.execute(_MAKE_DEFAULT, workspace_id, agent_id)
    return int(done.rpartition(" ")[2])


# $1 agents
_SETTINGS = "SELECT id, settings FROM deployed_agents WHERE id = ANY($1::uuid[])"


async def settings_of(connection: Connection, agent_ids: list[UUID]) -> dict[UUID, dict[str, Any]]:
    """The settings of agents."""
    return {row["id"]: row["settings"] for row in await connection.fetch(_SETTINGS, agent_ids)}


# $1 workspace, $2 name, $3 settings
_SET_SETTINGS = """
UPDATE deployed_agents SET settings = $3 WHERE workspace_id = $1 AND name = $2
RETURNING id, workspace_id, name, anthropic_agent_id, anthropic_environment_id, status, settings,
    created_at
"""


async def set_settings(
    connection: Connection, workspace_id: UUID, name: str, settings: dict[str, Any]
) -> Agent | None:
    """Replaces an agent's settings; None where there is no agent of that name."""
    row = await connection.fetchrow(_SET_SETTINGS, workspace_id, name, settings)
    return Agent(**row) if row else None


@dataclass(frozen=True, slots=True)
class Route:
    """Who answers in a channel of an install; `agent_id` is None where nobody does."""

    install_id: UUID
    channel_id: str
    workspace_id: UUID
    agent_id: UUID | None


# $1 installs, $2 channels, side by side
_ROUTES = """
SELECT w.install_id, w.channel_id, i.workspace_id,
       COALESCE(r.deployed_agent_id, i.default_agent_id) AS agent_id
FROM unnest($1::uuid[], $2::text[]) AS w (install_id, channel_id)
JOIN oauth_installs i ON i.id = w.install_id
LEFT JOIN slack_routes r ON r.install_id = w.install_id AND r.channel_id = w.channel_id
"""


async def routes(
    connection: Connection, places: list[tuple[UUID, str]]
) -> dict[tuple[UUID, str], Route]:
    """The route of each (install, channel): the channel's own, else the install's default agent."""
    rows = await connection.fetch(_ROUTES, [p[0] for p in places], [p[1] for p in places])
    return {(row["install_id"], row["channel_id"]): Route(**row) for row in rows}


# ------------------------------------------------------------------ by and for one workspace


class NameTaken(Exception):
    """Another agent of the workspace has that name."""


# $1 workspace, $2 agent
_FIND = """
SELECT id, workspace_id, name, anthropic_agent_id, anthropic_environment_id, status, settings,
    created_at
FROM deployed_agents WHERE workspace_id = $1 AND id = $2
"""


async def find(connection: Connection, workspace_id: UUID, agent_id: UUID) -> Agent | None:
    """The agent of that id, if it is the workspace's."""
    row = await connection.fetchrow(_FIND, workspace_id, agent_id)
    return Agent(**row) if row else None


# $1 workspace, $2 name
_NAMED = """
SELECT id, workspace_id, name, anthropic_agent_id, anthropic_environment_id, status, settings,
    created_at
FROM deployed_agents WHERE workspace_id = $1 AND name = $2
"""


async def named(connection: Connection, workspace_id: UUID, name: str) -> Agent | None:
    """The agent of that name, if the workspace has one."""
    row = await connection.fetchrow(_NAMED, workspace_id, name)
    return Agent(**row) if row else None


# $1 workspace, $2 and $3 after this row, $4 how many at the most
_PAGE = """
SELECT id, workspace_id, name, anthropic_agent_id, anthropic_environment_id, status, settings,
    created_at
FROM deployed_agents
WHERE workspace_id = $1 AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3::uuid))
ORDER BY created_at DESC, id DESC LIMIT $4
"""


async def page(
    connection: Connection, workspace_id: UUID, *, after: tuple[datetime, UUID] | None, limit: int
) -> list[Agent]:
    """The agents of a workspace, newest first, from the one that is `after` (created_at, id)."""
    at, id_ = after or (None, None)
    return [Agent(**row) for row in await connection.fetch(_PAGE, workspace_id, at, id_, limit)]


@dataclass(frozen=True, slots=True)
class NewAgent:
    """An agent as it is wanted; its id is the caller's, so that a second attempt finds the first."""

    id: UUID
    workspace_id: UUID
    name: str
    anthropic_agent_id: str
    anthropic_environment_id: str
    settings: dict[str, Any]


# $1 id, $2 workspace, $3 name, $4 runtime agent, $5 runtime environment, $6 settings
_CREATE = """
INSERT INTO deployed_agents (id, workspace_id, name, anthropic_agent_id, anthropic_environment_id,
    settings)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT DO NOTHING
"""


async def create(connection: Connection, new: NewAgent) -> Agent:
    """Deploys an agent, or finds it deployed under this id. Raises NameTaken."""
    await connection.execute(
        _CREATE,
        new.id,
        new.workspace_id,
        new.name,
        new.anthropic_agent_id,
        new.anthropic_environment_id,
        new.settings,
    )
    made = await find(connection, new.workspace_id, new.id)
    if made is None:
        raise NameTaken(new.name)
    return made


# $1 workspace, $2 agent, $3 name, $4 settings, $5 status; null: as it is
_CHANGE = """
UPDATE deployed_agents
SET name = COALESCE($3, name), settings = COALESCE($4, settings), status = COALESCE($5, status)
WHERE workspace_id = $1 AND id = $2
RETURNING id, workspace_id, name, anthropic_agent_id, anthropic_environment_id, status, settings,
    created_at
"""


async def change(
    connection: Connection,
    workspace_id: UUID,
    agent_id: UUID,
    *,
    name: str | None = None,
    settings: dict[str, Any] | None = None,
    status: str | None = None,
) -> Agent | None:
    """Changes what is given; None where the workspace has no such agent.

    Raises NameTaken, after which the transaction can only be rolled back.
    """
    try:
        row = await connection.fetchrow(_CHANGE, workspace_id, agent_id, name, settings, status)
    except asyncpg.UniqueViolationError as error:
        raise NameTaken(name) from error
    return Agent(**row) if row else None

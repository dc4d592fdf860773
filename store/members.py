"""Workspaces and the people in them."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from store.database import Connection
from store.ids import new_id


@dataclass(frozen=True, slots=True)
class Workspace:
    """A tenant."""

    id: UUID
    name: str


# $1 id, $2 name
_ADD_WORKSPACE = """
INSERT INTO workspaces (id, name) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET name = excluded.name
RETURNING id, name
"""


async def ensure_workspace(connection: Connection, name: str) -> Workspace:
    """The workspace of that name, made if it does not exist."""
    row = await connection.fetchrow(_ADD_WORKSPACE, new_id(), name)
    assert row is not None  # noqa: S101  # DO UPDATE always returns the row
    return Workspace(**row)


# $1 name
_WORKSPACE = "SELECT id, name FROM workspaces WHERE name = $1"


async def find_workspace(connection: Connection, name: str) -> Workspace | None:
    """The workspace of that name, if there is one."""
    row = await connection.fetchrow(_WORKSPACE, name)
    return Workspace(**row) if row else None


# $1 workspace, $2 user, $3 role
_ADD_MEMBER = """
INSERT INTO workspace_members (workspace_id, user_id, role) VALUES ($1, $2, $3)
ON CONFLICT (workspace_id, user_id) DO UPDATE SET role = excluded.role
"""


async def put_member(connection: Connection, workspace_id: UUID, user_id: str, role: str) -> None:
    """Gives a person a role in a workspace; a second time changes the role."""
    await connection.execute(_ADD_MEMBER, workspace_id, user_id, role)


# ------------------------------------------------------------------ who may do what


@dataclass(frozen=True, slots=True)
class Membership:
    """A workspace that a person belongs to."""

    workspace_id: UUID
    name: str
    role: str


# $1 user
_WORKSPACES_OF = """
SELECT w.id AS workspace_id, w.name, m.role
FROM workspace_members m JOIN workspaces w ON w.id = m.workspace_id
WHERE m.user_id = $1 ORDER BY w.name
"""


async def workspaces_of(connection: Connection, user_id: str) -> list[Membership]:
    """The workspaces of a person, by name. Asked before one is known, and so never as a tenant."""
    return [Membership(**row) for row in await connection.fetch(_WORKSPACES_OF, user_id)]


# $1 workspace
_NAME_OF = "SELECT name FROM workspaces WHERE id = $1"


async def name_of(connection: Connection, workspace_id: UUID) -> str:
    """What a workspace is called."""
    name: str = await connection.fetchval(_NAME_OF, workspace_id)
    return name


# $1 workspace, $2 users
_AMONG = """
SELECT user_id FROM workspace_members WHERE workspace_id = $1 AND user_id = ANY($2::text[])
"""


async def among(connection: Connection, workspace_id: UUID, user_ids: Collection[str]) -> set[str]:
    """Which of these people belong to the workspace."""
    rows = await connection.fetch(_AMONG, workspace_id, list(user_ids))
    return {row["user_id"] for row in rows}


@dataclass(frozen=True, slots=True)
class Member:
    """A person in a workspace."""

    workspace_id: UUID
    user_id: str
    role: str
    created_at: datetime


# $1 workspace, $2 and $3 after this row, $4 how many at the most or null
_PAGE = """
SELECT workspace_id, user_id, role, created_at FROM workspace_members
WHERE workspace_id = $1
  AND ($2::timestamptz IS NULL OR (created_at, user_id) < ($2, $3::text))
ORDER BY created_at DESC, user_id DESC LIMIT $4
"""


async def page(
    connection: Connection,
    workspace_id: UUID,
    *,
    after: tuple[datetime, str] | None = None,
    limit: int | None = None,
) -> list[Member]:
    """The people of a workspace, newest first, from the one `after` (created_at, user_id)."""
    at, user_id = after or (None, None)
    rows = await connection.fetch(_PAGE, workspace_id, at, user_id, limit)
    return [Member(**row) for row in rows]

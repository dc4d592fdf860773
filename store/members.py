"""Workspaces and the people in them."""

from dataclasses import dataclass
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

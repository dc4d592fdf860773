"""Keys of programs: each for one agent of a workspace, kept as a hash and shown once."""

import base64
import hashlib
import hmac
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from store.database import Connection
from store.ids import new_id

ROLES = ("viewer", "member", "admin")

# tl_, eight of base32 to name it by, _, 32 random bytes of base64url
_TOKEN = re.compile(r"(tl_[a-z2-7]{8})_[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it may be shown. `last_used_at` is true to the minute."""

    id: UUID
    workspace_id: UUID
    deployed_agent_id: UUID
    name: str
    prefix: str
    role: str
    created_by: str | None
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a key is made of. `created_by`: the member, None at the command line."""

    workspace_id: UUID
    deployed_agent_id: UUID
    name: str
    role: str
    created_by: str | None = None


# $1 id, $2 workspace, $3 agent, $4 name, $5 prefix, $6 hash, $7 role, $8 maker
_MAKE = """
INSERT INTO api_keys (id, workspace_id, deployed_agent_id, name, prefix, secret_hash, role, created_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
RETURNING id, workspace_id, deployed_agent_id, name, prefix, role, created_by, created_at,
    last_used_at, revoked_at
"""


async def make(connection: Connection, new: NewKey) -> tuple[ApiKey, str]:
    """A new key and its text, which nobody can ever read again."""
    prefix = "tl_" + base64.b32encode(secrets.token_bytes(5)).decode().lower()
    token = f"{prefix}_{secrets.token_urlsafe(32)}"
    row = await connection.fetchrow(
        _MAKE,
        new_id(),
        new.workspace_id,
        new.deployed_agent_id,
        new.name,
        prefix,
        _hash(token),
        new.role,
        new.created_by,
    )
    assert row is not None  # noqa: S101  # an INSERT without a condition
    return ApiKey(**row), token


# $1 prefix
_FIND = """
SELECT secret_hash, id, workspace_id, deployed_agent_id, name, prefix, role, created_by, created_at,
    last_used_at, revoked_at
FROM api_keys WHERE prefix = $1 AND revoked_at IS NULL
"""


async def find(connection: Connection, token: str) -> ApiKey | None:
    """The key of that text, None for anything else and for one that was revoked.

    Asked before a workspace is known, and so never as a tenant. Compares in constant time.
    """
    form = _TOKEN.fullmatch(token)
    row = await connection.fetchrow(_FIND, form[1]) if form else None
    if row is None:
        return None
    columns = dict(row)
    known: bytes = columns.pop("secret_hash")
    return ApiKey(**columns) if hmac.compare_digest(known, _hash(token)) else None


# $1 workspace, $2 agent or null for all
_EVERY = """
SELECT id, workspace_id, deployed_agent_id, name, prefix, role, created_by, created_at, last_used_at,
    revoked_at
FROM api_keys
WHERE workspace_id = $1 AND ($2::uuid IS NULL OR deployed_agent_id = $2)
ORDER BY created_at DESC, id DESC
"""


async def every(
    connection: Connection, workspace_id: UUID, agent_id: UUID | None = None
) -> list[ApiKey]:
    """The keys of a workspace, or of one agent of it; newest first, revoked ones too."""
    return [ApiKey(**row) for row in await connection.fetch(_EVERY, workspace_id, agent_id)]


# $1 prefix
_WORKSPACE_OF = "SELECT workspace_id FROM api_keys WHERE prefix = $1"


async def workspace_of(connection: Connection, prefix: str) -> UUID | None:
    """Whose key has that prefix. For whoever runs the installation, and so never as a tenant."""
    workspace_id: UUID | None = await connection.fetchval(_WORKSPACE_OF, prefix)
    return workspace_id


# $1 workspace, $2 prefix
_REVOKE = """
UPDATE api_keys SET revoked_at = now()
WHERE workspace_id = $1 AND prefix = $2 AND revoked_at IS NULL
"""


async def revoke(connection: Connection, workspace_id: UUID, prefix: str) -> bool:
    """Ends a key at once and for ever; False where the workspace has none such that still works."""
    return await connection.execute(_REVOKE, workspace_id, prefix) == "UPDATE 1"


# $1 workspace, $2 keys
_WORKING = """
SELECT id FROM api_keys WHERE workspace_id = $1 AND id = ANY($2::uuid[]) AND revoked_at IS NULL
"""


async def working(connection: Connection, workspace_id: UUID, ids: Collection[UUID]) -> set[UUID]:
    """Which of these keys of a workspace were not revoked."""
    rows = await connection.fetch(_WORKING, workspace_id, list(ids))
    return {row["id"] for row in rows}


# $1 workspace, $2 key
_TOUCHED = """
UPDATE api_keys SET last_used_at = now()
WHERE workspace_id = $1 AND id = $2
  AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
"""


async def touched(connection: Connection, workspace_id: UUID, key_id: UUID) -> None:
    """Notes that a key was used just now; writes once a minute at the most."""
    await connection.execute(_TOUCHED, workspace_id, key_id)


def _hash(token: str) -> bytes:
    """Plain SHA-256 is enough for 32 random bytes: nobody guesses them, however fast."""
    return hashlib.sha256(token.encode()).digest()

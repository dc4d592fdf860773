"""Slack installs: where the app lives, with which sealed token, under which policy."""

from dataclasses import dataclass
from uuid import UUID

from store.database import Connection
from store.ids import new_id


@dataclass(frozen=True, slots=True)
class Install:
    """One install of one app in one tenant. `bot_token` is sealed; None once it was revoked."""

    id: UUID
    workspace_id: UUID
    api_app_id: str
    tenant_id: str
    team_id: str | None
    enterprise_id: str | None
    bot_user_id: str
    bot_id: str | None
    bot_token: bytes | None
    scopes: list[str]
    default_agent_id: UUID | None
    external_policy: str
    allowed_external: list[str]
    allow_guests: bool
    status: str


# $1 app, or null for any, $2 tenant
_FIND = """
SELECT id, workspace_id, api_app_id, tenant_id, team_id, enterprise_id, bot_user_id, bot_id,
       bot_token, scopes, default_agent_id, external_policy, allowed_external, allow_guests, status
FROM oauth_installs WHERE ($1::text IS NULL OR api_app_id = $1) AND tenant_id = $2
ORDER BY status = 'active' DESC, created_at LIMIT 1
"""


async def find(connection: Connection, api_app_id: str | None, tenant_id: str) -> Install | None:
    """The install of an app in a tenant, whatever its status."""
    row = await connection.fetchrow(_FIND, api_app_id, tenant_id)
    return Install(**row) if row else None


# $1 install
_GET = """
SELECT id, workspace_id, api_app_id, tenant_id, team_id, enterprise_id, bot_user_id, bot_id,
       bot_token, scopes, default_agent_id, external_policy, allowed_external, allow_guests, status
FROM oauth_installs WHERE id = $1
"""


async def get(connection: Connection, install_id: UUID) -> Install:
    """The install of that id; KeyError where there is none."""
    row = await connection.fetchrow(_GET, install_id)
    if row is None:
        raise KeyError(install_id)
    return Install(**row)


_LIST = """
SELECT id, workspace_id, api_app_id, tenant_id, team_id, enterprise_id, bot_user_id, bot_id,
       bot_token, scopes, default_agent_id, external_policy, allowed_external, allow_guests, status
FROM oauth_installs ORDER BY created_at
"""


async def every(connection: Connection) -> list[Install]:
    """All installs, oldest first."""
    return [Install(**row) for row in await connection.fetch(_LIST)]


@dataclass(frozen=True, slots=True)
class NewInstall:
    """What an install is made of, its token still to be sealed under `id_for`."""

    workspace_id: UUID
    api_app_id: str
    tenant_id: str
    team_id: str | None
    enterprise_id: str | None
    bot_user_id: str
    bot_id: str | None
    scopes: list[str]


# $1 id, $2 workspace, $3 app, $4 tenant, $5 team, $6 enterprise, $7 bot user, $8 bot,
# $9 sealed token, $10 scopes
_PUT = """
INSERT INTO oauth_installs (id, workspace_id, api_app_id, tenant_id, team_id, enterprise_id,
                            bot_user_id, bot_id, bot_token, scopes, status)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'active')
ON CONFLICT (api_app_id, tenant_id) DO UPDATE
SET team_id = excluded.team_id, enterprise_id = excluded.enterprise_id,
    bot_user_id = excluded.bot_user_id, bot_id = excluded.bot_id, bot_token = excluded.bot_token,
    scopes = excluded.scopes, status = 'active', updated_at = excluded.updated_at
RETURNING id
"""


async def put(connection: Connection, new: NewInstall, sealed_token: bytes) -> UUID:
    """Stores an install with its sealed token; a second time refreshes it. Its workspace stays."""
    install_id: UUID = await connection.fetchval(
        _PUT,
        new_id(),
        new.workspace_id,
        new.api_app_id,
        new.tenant_id,
        new.team_id,
        new.enterprise_id,
        new.bot_user_id,
        new.bot_id,
        sealed_token,
        new.scopes,
    )
    return install_id


# $1 app, $2 tenant, $3 status
_END = """
UPDATE oauth_installs SET status = $3, bot_token = NULL, updated_at = now()
WHERE api_app_id = $1 AND tenant_id = $2 AND status = 'active'
"""


async def end(connection: Connection, api_app_id: str, tenant_id: str, status: str) -> bool:
    """Forgets the token of an install that was revoked or uninstalled; False if it had ended."""
    return await connection.execute(_END, api_app_id, tenant_id, status) == "UPDATE 1"


# $1 install
_ADOPT = """
UPDATE oauth_installs i
SET default_agent_id = COALESCE(w.default_agent_id, (
        SELECT (array_agg(a.id))[1] FROM deployed_agents a
        WHERE a.workspace_id = i.workspace_id HAVING count(*) = 1)),
    updated_at = now()
FROM workspaces w WHERE i.id = $1 AND i.default_agent_id IS NULL AND w.id = i.workspace_id
"""


async def adopt_default_agent(connection: Connection, install_id: UUID) -> None:
    """Where no agent was chosen: the workspace's default, else the only one that it has."""
    await connection.execute(_ADOPT, install_id)


# ------------------------------------------------------------------ where questions are asked


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel of an install."""

    install_id: UUID
    channel_id: str


# $1 workspace, $2 the install that is preferred, or null
_ESCALATION_CHANNEL = """
SELECT id AS install_id, escalation_channel_id AS channel_id FROM oauth_installs
WHERE workspace_id = $1 AND status = 'active' AND escalation_channel_id IS NOT NULL
  AND ($2::uuid IS NULL OR id = $2)
ORDER BY created_at LIMIT 1
"""


async def escalation_channel(
    connection: Connection, workspace_id: UUID, install_id: UUID | None
) -> Channel | None:
    """Where an install wants its agents' questions asked too; without one, any of the workspace."""
    row = await connection.fetchrow(_ESCALATION_CHANNEL, workspace_id, install_id)
    return Channel(**row) if row else None


# $1 install, $2 channel or null
_SET_ESCALATION_CHANNEL = """
UPDATE oauth_installs SET escalation_channel_id = $2, updated_at = now() WHERE id = $1
"""


async def set_escalation_channel(
    connection: Connection, install_id: UUID, channel_id: str | None
) -> None:
    """Sets or clears the channel in which questions are asked beside their threads."""
    await connection.execute(_SET_ESCALATION_CHANNEL, install_id, channel_id)

"""What is asked of a session beside the messages of its thread: to be looked at, another title."""

from decimal import Decimal
from uuid import UUID

from store.database import Connection
from store.leases import Lease
from store.outbox import Place

# $1 agent, $2 session
_WAKE_ONE = """
UPDATE agent_sessions SET wake_seq = wake_seq + 1, ready_at = LEAST(ready_at, now())
WHERE deployed_agent_id = $1 AND id = $2 AND status <> 'archived'
RETURNING workspace_id
"""


async def wake(connection: Connection, agent_id: UUID, session_id: UUID) -> UUID | None:
    """Makes a session ready and locks its row; its workspace, None if it is archived or unknown."""
    workspace_id: UUID | None = await connection.fetchval(_WAKE_ONE, agent_id, session_id)
    return workspace_id


# $1 agent, $2 session
_LOCK = """
SELECT workspace_id FROM agent_sessions
WHERE deployed_agent_id = $1 AND id = $2 FOR NO KEY UPDATE
"""


async def lock(connection: Connection, agent_id: UUID, session_id: UUID) -> UUID | None:
    """Locks a session's row for what is decided in it; its workspace, None if it is unknown."""
    workspace_id: UUID | None = await connection.fetchval(_LOCK, agent_id, session_id)
    return workspace_id


# $1 agent, $2 session
_PLACE = """
SELECT deployed_agent_id, workspace_id, id AS session_id, slack_install_id AS install_id,
       slack_conversation_key, slack_channel_id AS channel_id, slack_thread_ts AS thread_ts
FROM agent_sessions
WHERE deployed_agent_id = $1 AND id = $2 AND slack_conversation_key IS NOT NULL
"""


async def place(connection: Connection, agent_id: UUID, session_id: UUID) -> Place | None:
    """Where a session speaks in Slack, if it does."""
    row = await connection.fetchrow(_PLACE, agent_id, session_id)
    return Place(**row) if row else None


# $1 agent, $2 session, $3 title, $4 when it was given
_RENAME = """
UPDATE agent_sessions
SET title = $3, titled_at = $4, retitled = anthropic_session_id IS NOT NULL
WHERE deployed_agent_id = $1 AND id = $2 AND COALESCE(titled_at, 0) < $4
"""


async def rename(
    connection: Connection, agent_id: UUID, session_id: UUID, title: str, at: Decimal
) -> bool:
    """Gives a session the title that somebody chose then; False if a newer one is known."""
    done = await connection.execute(_RENAME, agent_id, session_id, title, at)
    return done == "UPDATE 1"


# $1 agent, $2 session, $3 the title
_TITLE_TOLD = """
UPDATE agent_sessions SET retitled = false
WHERE deployed_agent_id = $1 AND id = $2 AND title = $3
"""


async def title_told(connection: Connection, lease: Lease, title: str) -> None:
    """The runtime has heard of that title, or was asked in vain; fenced by the caller."""
    await connection.execute(_TITLE_TOLD, lease.deployed_agent_id, lease.session_id, title)

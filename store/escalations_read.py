"""Escalations as lists show them: of one agent of one workspace, the newest asked first."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from store.database import Connection
from store.escalations import Escalation

STATES = ("pending", "answered", "cancelled")

# $1 workspace, $2 agent, $3 escalation
_GET = """
SELECT id, deployed_agent_id, workspace_id, session_id, turn_id, runtime_event_id, revision,
    question, context, choices, arguments_hash, policy, requesters, state, answer, decided_by,
    decided_at, asked_at, pings, ping_at, channel_install_id, channel_id
FROM agent_escalations WHERE workspace_id = $1 AND deployed_agent_id = $2 AND id = $3
"""


async def get(
    connection: Connection, workspace_id: UUID, agent_id: UUID, escalation_id: UUID
) -> Escalation | None:
    """The escalation of that id, if it is the agent's and the agent the workspace's."""
    row = await connection.fetchrow(_GET, workspace_id, agent_id, escalation_id)
    return Escalation(**row) if row else None


# $1 workspace, $2 agent, $3 states, $4 and $5 after this row, $6 how many at the most
_PAGE = """
SELECT e.id, e.deployed_agent_id, e.workspace_id, e.session_id, e.turn_id, e.runtime_event_id,
    e.revision, e.question, e.context, e.choices, e.arguments_hash, e.policy, e.requesters, e.state,
    e.answer, e.decided_by, e.decided_at, e.asked_at, e.pings, e.ping_at, e.channel_install_id,
    e.channel_id
FROM unnest($3::text[]) AS f (state) CROSS JOIN LATERAL (
    SELECT * FROM agent_escalations
    WHERE workspace_id = $1 AND deployed_agent_id = $2 AND state = f.state
      AND (asked_at, id) < (COALESCE($4::timestamptz, 'infinity'),
                            COALESCE($5::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
    ORDER BY asked_at DESC, id DESC LIMIT $6
) AS e
ORDER BY e.asked_at DESC, e.id DESC LIMIT $6
"""


async def page(
    connection: Connection,
    workspace_id: UUID,
    agent_id: UUID,
    states: Sequence[str],
    *,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Escalation]:
    """What an agent asked people, newest first, from the one that is `after` (asked_at, id)."""
    wanted = list(dict.fromkeys(states))
    at, id_ = after or (None, None)
    rows = await connection.fetch(_PAGE, workspace_id, agent_id, wanted, at, id_, limit)
    return [Escalation(**row) for row in rows]


# $1 workspace, $2 agent, $3 session, $4 states, $5 and $6 after this row, $7 how many at the most
_OF_SESSION = """
SELECT id, deployed_agent_id, workspace_id, session_id, turn_id, runtime_event_id, revision,
    question, context, choices, arguments_hash, policy, requesters, state, answer, decided_by,
    decided_at, asked_at, pings, ping_at, channel_install_id, channel_id
FROM agent_escalations
WHERE workspace_id = $1 AND deployed_agent_id = $2 AND session_id = $3 AND state = ANY($4::text[])
  AND (asked_at, id) < (COALESCE($5::timestamptz, 'infinity'),
                        COALESCE($6::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
ORDER BY asked_at DESC, id DESC LIMIT $7
"""


async def of_session(  # noqa: PLR0913  # whose, which, from where, how many
    connection: Connection,
    workspace_id: UUID,
    agent_id: UUID,
    session_id: UUID,
    states: Sequence[str],
    *,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Escalation]:
    """What was asked in one session; as `page`."""
    at, id_ = after or (None, None)
    rows = await connection.fetch(
        _OF_SESSION, workspace_id, agent_id, session_id, list(states), at, id_, limit
    )
    return [Escalation(**row) for row in rows]

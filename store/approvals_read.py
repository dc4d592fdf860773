"""Approvals as lists show them: of one agent of one workspace, the newest asked first."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from store.approvals import Approval
from store.database import Connection

STATES = ("pending", "allowed", "denied", "confirmed", "void", "closed", "expired")

# $1 workspace, $2 agent, $3 approval
_GET = """
SELECT id, deployed_agent_id, workspace_id, session_id, turn_id, runtime_event_id, card_no,
    revision, tool, server, arguments, arguments_hash, policy, requesters, state, verdict,
    decided_by, decided_at, reason, asked_at, remind_at, expires_at
FROM agent_approvals WHERE workspace_id = $1 AND deployed_agent_id = $2 AND id = $3
"""


async def get(
    connection: Connection, workspace_id: UUID, agent_id: UUID, approval_id: UUID
) -> Approval | None:
    """The approval of that id, if it is the agent's and the agent the workspace's."""
    row = await connection.fetchrow(_GET, workspace_id, agent_id, approval_id)
    return Approval(**row) if row else None


# $1 workspace, $2 agent, $3 states, $4 and $5 after this row, $6 how many at the most
_PAGE = """
SELECT a.id, a.deployed_agent_id, a.workspace_id, a.session_id, a.turn_id, a.runtime_event_id,
    a.card_no, a.revision, a.tool, a.server, a.arguments, a.arguments_hash, a.policy, a.requesters,
    a.state, a.verdict, a.decided_by, a.decided_at, a.reason, a.asked_at, a.remind_at, a.expires_at
FROM unnest($3::text[]) AS f (state) CROSS JOIN LATERAL (
    SELECT * FROM agent_approvals
    WHERE workspace_id = $1 AND deployed_agent_id = $2 AND state = f.state
      AND (asked_at, id) < (COALESCE($4::timestamptz, 'infinity'),
                            COALESCE($5::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
    ORDER BY asked_at DESC, id DESC LIMIT $6
) AS a
ORDER BY a.asked_at DESC, a.id DESC LIMIT $6
"""


async def page(
    connection: Connection,
    workspace_id: UUID,
    agent_id: UUID,
    states: Sequence[str],
    *,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Approval]:
    """What an agent asked for, newest first, from the one that is `after` (asked_at, id).

    One that is asked again moves to the front.
    """
    wanted = list(dict.fromkeys(states))
    at, id_ = after or (None, None)
    rows = await connection.fetch(_PAGE, workspace_id, agent_id, wanted, at, id_, limit)
    return [Approval(**row) for row in rows]


# $1 workspace, $2 agent, $3 session, $4 states, $5 and $6 after this row, $7 how many at the most
_OF_SESSION = """
SELECT id, deployed_agent_id, workspace_id, session_id, turn_id, runtime_event_id, card_no,
    revision, tool, server, arguments, arguments_hash, policy, requesters, state, verdict,
    decided_by, decided_at, reason, asked_at, remind_at, expires_at
FROM agent_approvals
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
) -> list[Approval]:
    """What was asked for in one session; as `page`."""
    at, id_ = after or (None, None)
    rows = await connection.fetch(
        _OF_SESSION, workspace_id, agent_id, session_id, list(states), at, id_, limit
    )
    return [Approval(**row) for row in rows]

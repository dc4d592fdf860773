"""Turns that are open while what comes along with their messages is still being fetched.

queued ──(belongs to a turn)── queued: the message may be edited, taken back and stopped until it leaves.
"""

from decimal import Decimal
from uuid import UUID

from store.database import Connection
from store.leases import Lease

# $1 agent, $2 session, $3 turn, $4 kinds
_BELONG = """
UPDATE session_inputs SET turn_id = $3
WHERE deployed_agent_id = $1 AND session_id = $2 AND ended_at IS NULL AND state = 'queued'
  AND kind = ANY($4::text[])
"""


async def belong(connection: Connection, lease: Lease, turn_id: UUID, kinds: list[str]) -> None:
    """Gives what waits to a turn, before it is sent: a stop of that turn means it. Fenced."""
    await connection.execute(_BELONG, lease.deployed_agent_id, lease.session_id, turn_id, kinds)


# $1 agent, $2 session, $3 kinds
_ANY_TAKEN = """
SELECT EXISTS (SELECT FROM session_inputs WHERE deployed_agent_id = $1 AND session_id = $2
               AND kind = ANY($3::text[]) AND state IN ('sent', 'done'))
"""


async def any_taken(connection: Connection, lease: Lease, kinds: list[str]) -> bool:
    """True once the session's agent has been given something to read."""
    found: bool = await connection.fetchval(
        _ANY_TAKEN, lease.deployed_agent_id, lease.session_id, kinds
    )
    return found


# $1 agent, $2 session, $3 how many at the most
_REFUSED = """
SELECT order_key FROM session_inputs
WHERE deployed_agent_id = $1 AND session_id = $2 AND kind = 'message' AND state = 'refused'
ORDER BY order_key DESC LIMIT $3
"""


async def refused(connection: Connection, lease: Lease, limit: int) -> set[Decimal]:
    """The times of messages that were kept from the agent, the newest of them."""
    rows = await connection.fetch(_REFUSED, lease.deployed_agent_id, lease.session_id, limit)
    return {row["order_key"] for row in rows}

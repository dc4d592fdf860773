"""What an attempt to share a file keeps in its delivery, and what takes the place of a file for good.

Both are under the claim of that attempt, as the other moves of `store.outbox` are.
"""

from datetime import timedelta
from typing import Any

from store.database import Connection
from store.outbox import Delivery

# $1 agent, $2 delivery, $3 claim epoch, $4 what is to be known, $5 how long the attempt may still take
_NOTE = """
UPDATE slack_outbox SET body = body || $4::jsonb, deadline = now() + $5::interval
WHERE deployed_agent_id = $1 AND delivery_id = $2 AND claim_epoch = $3 AND state = 'sending'
"""


async def note(
    connection: Connection, delivery: Delivery, known: dict[str, Any], left: timedelta
) -> bool:
    """Keeps what a later attempt must know of this one; False when another claim has passed it."""
    done = await connection.execute(
        _NOTE,
        delivery.deployed_agent_id,
        delivery.delivery_id,
        delivery.claim_epoch,
        known,
        left,
    )
    return done == "UPDATE 1"


# $1 agent, $2 delivery, $3 claim epoch, $4 body, $5 error
_INSTEAD = """
UPDATE slack_outbox
SET kind = 'notice', body = $4, state = 'pending', not_before = now(), deadline = NULL,
    claimed_by = NULL, attempts = 0, unclear = false, error = $5
WHERE deployed_agent_id = $1 AND delivery_id = $2 AND claim_epoch = $3 AND state = 'sending'
"""


async def instead(
    connection: Connection, delivery: Delivery, body: dict[str, Any], error: str
) -> None:
    """Sending → pending as a notice, in the same place of its lane: what it was can never be made."""
    await connection.execute(
        _INSTEAD,
        delivery.deployed_agent_id,
        delivery.delivery_id,
        delivery.claim_epoch,
        body,
        error,
    )

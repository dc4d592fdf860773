"""What each turn used, from the difference of two cumulative snapshots of the runtime."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from store.database import Connection
from store.leases import Held


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, running time in milliseconds, cost in cents."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    runtime_ms: int = 0
    cost_cents: Decimal = Decimal(0)


# $1 turn, $2 agent, $3 workspace, $4 session, $5 state, $6 input, $7 output, $8 cache read,
# $9 cache write, $10 runtime ms, $11 cents
_ADD = """
INSERT INTO agent_compute_usage (turn_id, deployed_agent_id, workspace_id, session_id, state,
    input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, runtime_ms, cost_cents)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (deployed_agent_id, turn_id) DO NOTHING
"""
# $1 agent, $2 session
_COVER = """
UPDATE agent_compute_usage SET state = 'final'
WHERE deployed_agent_id = $1 AND session_id = $2 AND state = 'pending'
"""


async def add(connection: Connection, held: Held, turn_id: UUID, usage: Usage | None) -> None:
    """The turn's one usage row; `None` makes it pending, to be settled later. Fenced.

    A known usage counts from the last stored total, so it covers what was pending before it.
    """
    used = usage or Usage()
    await connection.execute(
        _ADD,
        turn_id,
        held.deployed_agent_id,
        held.workspace_id,
        held.id,
        "final" if usage else "pending",
        used.input_tokens,
        used.output_tokens,
        used.cache_read_tokens,
        used.cache_write_tokens,
        used.runtime_ms,
        used.cost_cents,
    )
    if usage:
        await connection.execute(_COVER, held.deployed_agent_id, held.id)


@dataclass(frozen=True, slots=True)
class Pending:
    """A session at rest whose newest turn still lacks its usage."""

    deployed_agent_id: UUID
    session_id: UUID
    anthropic_session_id: str
    turn_id: UUID
    usage_snapshot: dict[str, Any] | None


# $1 how many at the most
_PENDING = """
SELECT DISTINCT ON (u.deployed_agent_id, u.session_id)
       u.deployed_agent_id, u.session_id, s.anthropic_session_id, u.turn_id, s.usage_snapshot
FROM agent_compute_usage u
JOIN agent_sessions s ON s.deployed_agent_id = u.deployed_agent_id AND s.id = u.session_id
WHERE u.state = 'pending' AND s.status <> 'running' AND s.lease_owner IS NULL
  AND s.anthropic_session_id IS NOT NULL
ORDER BY u.deployed_agent_id, u.session_id, u.created_at DESC LIMIT $1
"""


async def pending(connection: Connection, limit: int) -> list[Pending]:
    """Usage rows to be settled, the newest of each session that is at rest and not held."""
    return [Pending(**row) for row in await connection.fetch(_PENDING, limit)]


# $1 agent, $2 session, $3 new snapshot, $4 turn that was read beside the old one
_MOVE_SNAPSHOT = """
UPDATE agent_sessions SET usage_snapshot = $3
WHERE deployed_agent_id = $1 AND id = $2 AND status <> 'running' AND lease_owner IS NULL
  AND NOT EXISTS (SELECT FROM agent_turns mine
                  JOIN agent_turns t ON t.deployed_agent_id = $1 AND t.session_id = $2
                      AND t.number > mine.number
                  JOIN agent_compute_usage u ON u.deployed_agent_id = $1 AND u.turn_id = t.id
                  WHERE mine.deployed_agent_id = $1 AND mine.id = $4)
"""
# $1 agent, $2 session, $3 turn that takes the difference, $4 input, $5 output, $6 cache read, $7 cache
# write, $8 runtime ms, $9 cents
_SETTLE = """
UPDATE agent_compute_usage
SET state = 'final',
    input_tokens = CASE WHEN turn_id = $3 THEN $4 ELSE input_tokens END,
    output_tokens = CASE WHEN turn_id = $3 THEN $5 ELSE output_tokens END,
    cache_read_tokens = CASE WHEN turn_id = $3 THEN $6 ELSE cache_read_tokens END,
    cache_write_tokens = CASE WHEN turn_id = $3 THEN $7 ELSE cache_write_tokens END,
    runtime_ms = CASE WHEN turn_id = $3 THEN $8 ELSE runtime_ms END,
    cost_cents = CASE WHEN turn_id = $3 THEN $9 ELSE cost_cents END
WHERE deployed_agent_id = $1 AND session_id = $2 AND state = 'pending'
"""


async def settle(
    connection: Connection, row: Pending, snapshot: dict[str, Any], usage: Usage
) -> bool:
    """Gives a pending turn what was used since the stored snapshot; one transaction, the caller's.

    Older pending turns of the session become final at zero, so that turns sum to the runtime's
    total. False, and nothing changed, when a turn has ended since or somebody holds the session,
    for a holder counts from the total that it found.
    """
    moved = await connection.execute(
        _MOVE_SNAPSHOT, row.deployed_agent_id, row.session_id, snapshot, row.turn_id
    )
    if moved != "UPDATE 1":
        return False
    await connection.execute(
        _SETTLE,
        row.deployed_agent_id,
        row.session_id,
        row.turn_id,
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.runtime_ms,
        usage.cost_cents,
    )
    return True

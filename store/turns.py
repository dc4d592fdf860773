"""Turns: from the first input sent to the runtime until an end idle with none left unprocessed."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from store.database import Connection
from store.ids import new_id
from store.leases import Held, Lease


@dataclass(frozen=True, slots=True)
class Turn:
    """A session's turn."""

    id: UUID
    number: int
    state: str
    started_at: datetime


# $1 agent, $2 session
_LIVE = """
SELECT id, number, state, started_at FROM agent_turns
WHERE deployed_agent_id = $1 AND session_id = $2 AND ended_at IS NULL
"""


async def live(connection: Connection, agent_id: UUID, session_id: UUID) -> Turn | None:
    """The turn of a session that is in flight, if there is one."""
    row = await connection.fetchrow(_LIVE, agent_id, session_id)
    return Turn(**row) if row else None


# $1 id, $2 agent, $3 workspace, $4 session
_BEGIN = """
INSERT INTO agent_turns (id, deployed_agent_id, workspace_id, session_id, number)
SELECT $1, $2, $3, $4, COALESCE(max(number), 0) + 1 FROM agent_turns
WHERE deployed_agent_id = $2 AND session_id = $4
RETURNING id, number, state, started_at
"""


async def begin(connection: Connection, held: Held) -> Turn:
    """Begins the session's next turn; fenced by the caller. At most one is live, by unique index."""
    row = await connection.fetchrow(
        _BEGIN, new_id(), held.deployed_agent_id, held.workspace_id, held.id
    )
    assert row is not None  # noqa: S101  # an aggregate always gives a row
    return Turn(**row)


# $1 agent, $2 turn, $3 state, $4 stop reason, $5 words
_END = """
UPDATE agent_turns
SET state = $3, stop_reason = $4, ended_at = now(),
    digest = strip(to_tsvector('simple', left($5, 100000)))
WHERE deployed_agent_id = $1 AND id = $2 AND ended_at IS NULL
"""


async def end(
    connection: Connection, lease: Lease, turn_id: UUID, state: str, stop_reason: str, words: str
) -> bool:
    """Ends a turn, with the keywords of its texts for search; False if it had ended. Fenced."""
    done = await connection.execute(
        _END, lease.deployed_agent_id, turn_id, state, stop_reason, words
    )
    return done == "UPDATE 1"

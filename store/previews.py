"""Where a turn's live preview stands in Slack; every write is its holder's, under the epoch."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from store.database import Connection
from store.leases import Held, Lease


@dataclass(frozen=True, slots=True)
class Part:
    """One message of a preview. `text_from`: the offset in the turn's text at which it begins.

    `edited`: no stream, but a posted message that is replaced as its text grows. `settled`: its end
    is in the outbox, so that nothing else is to be done about it.
    """

    part: int
    text_from: int
    state: str
    slack_ts: str | None
    started_at: datetime
    edited: bool = False
    settled: bool = False


# $1 agent, $2 workspace, $3 session, $4 turn, $5 part, $6 offset, $7 when the start leaves, $8 edited
_BEGIN = """
INSERT INTO slack_previews (deployed_agent_id, workspace_id, session_id, turn_id, part, text_from,
                            started_at, edited)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (deployed_agent_id, turn_id, part) DO NOTHING
"""


async def begin(connection: Connection, held: Held, turn_id: UUID, part: Part) -> bool:
    """Writes down that a message is about to be made; False if that part was begun. Fenced."""
    done = await connection.execute(
        _BEGIN,
        held.deployed_agent_id,
        held.workspace_id,
        held.id,
        turn_id,
        part.part,
        part.text_from,
        part.started_at,
        part.edited,
    )
    return done == "INSERT 0 1"


# $1 agent, $2 turn, $3 part, $4 state, $5 ts
_MOVE = """
UPDATE slack_previews SET state = $4, slack_ts = COALESCE(slack_ts, $5)
WHERE deployed_agent_id = $1 AND turn_id = $2 AND part = $3
  AND state = CASE WHEN $4 = 'closed' THEN 'open' ELSE 'starting' END
"""


async def move(
    connection: Connection, lease: Lease, turn_id: UUID, part: int, state: str, ts: str | None
) -> None:
    """Starting → open | lost, open → closed; fenced by the caller."""
    await connection.execute(_MOVE, lease.deployed_agent_id, turn_id, part, state, ts)


# $1 agent, $2 turn
_PARTS = """
SELECT part, text_from, state, slack_ts, started_at, edited, settled FROM slack_previews
WHERE deployed_agent_id = $1 AND turn_id = $2 ORDER BY part
"""


async def of_turn(connection: Connection, lease: Lease, turn_id: UUID) -> list[Part]:
    """The parts of a turn's preview, in order."""
    rows = await connection.fetch(_PARTS, lease.deployed_agent_id, turn_id)
    return [Part(**row) for row in rows]


# $1 agent, $2 turn
_SETTLE = """
UPDATE slack_previews SET settled = true
WHERE deployed_agent_id = $1 AND turn_id = $2 AND NOT settled
"""


async def settle(connection: Connection, lease: Lease, turn_id: UUID) -> list[Part]:
    """Takes the messages of a turn's preview whose end is being written down now; fenced."""
    parts = await of_turn(connection, lease, turn_id)
    await connection.execute(_SETTLE, lease.deployed_agent_id, turn_id)
    return [part for part in parts if part.slack_ts and not part.settled]


# $1 agent, $2 session
_KNOWN = """
SELECT p.slack_ts FROM agent_turns t
JOIN slack_previews p ON p.deployed_agent_id = t.deployed_agent_id AND p.turn_id = t.id
WHERE t.deployed_agent_id = $1 AND t.session_id = $2 AND p.slack_ts IS NOT NULL
"""


async def known(connection: Connection, lease: Lease) -> list[str]:
    """The messages of all previews of the session: whose they are is settled."""
    rows = await connection.fetch(_KNOWN, lease.deployed_agent_id, lease.session_id)
    return [row["slack_ts"] for row in rows]

"""The calls of the tools that Threadline serves: one row each, written with what the agent is told.

So a call that has a row has its answer. What a post on the way is known by is its effect's key.
"""

from dataclasses import dataclass
from uuid import UUID

from store.database import Connection
from store.leases import Held, Lease
from store.outbox import Delivery, Place


@dataclass(frozen=True, slots=True)
class Call:
    """A call that is answered; `reason` where it was refused."""

    id: UUID
    turn_id: UUID
    runtime_event_id: str
    tool: str
    status: str
    reason: str | None
    channel_id: str | None
    requesters: list[str]
    latency_ms: int


# $1 id, $2 agent, $3 workspace, $4 session, $5 turn, $6 event, $7 tool, $8 status, $9 reason,
# $10 channel, $11 requesters, $12 milliseconds
_ADD = """
INSERT INTO usage_logs (id, deployed_agent_id, workspace_id, session_id, turn_id, runtime_event_id,
    tool, provider, status, reason, channel_id, requesters, latency_ms)
VALUES ($1, $2, $3, $4, $5, $6, $7, 'slack', $8, $9, $10, $11, $12)
ON CONFLICT DO NOTHING
"""


async def add(connection: Connection, held: Held, call: Call) -> bool:
    """Writes a call down; False if it is known. Fenced by the caller."""
    done = await connection.execute(
        _ADD,
        call.id,
        held.deployed_agent_id,
        held.workspace_id,
        held.id,
        call.turn_id,
        call.runtime_event_id,
        call.tool,
        call.status,
        call.reason,
        call.channel_id,
        call.requesters,
        call.latency_ms,
    )
    return done == "INSERT 0 1"


# $1 agent, $2 session, $3 events
_ANSWERED = """
SELECT runtime_event_id FROM usage_logs
WHERE deployed_agent_id = $1 AND session_id = $2 AND runtime_event_id = ANY($3::text[])
"""


async def answered(connection: Connection, lease: Lease, events: list[str]) -> set[str]:
    """Which of these calls have their answer."""
    rows = await connection.fetch(_ANSWERED, lease.deployed_agent_id, lease.session_id, events)
    return {row["runtime_event_id"] for row in rows}


@dataclass(frozen=True, slots=True)
class Fate:
    """What has become of a post: its ts once it is `sent`, Slack's word once it is `dead`."""

    state: str
    channel_id: str
    slack_ts: str | None
    error: str | None


# $1 agent, $2 session, $3 effect
_FATE = """
SELECT state, channel_id, slack_ts, error FROM slack_outbox
WHERE deployed_agent_id = $1 AND session_id = $2 AND effect_key = $3
"""


async def fate(connection: Connection, lease: Lease, effect_key: str) -> Fate | None:
    """What has become of a post of the session; None where there is none."""
    row = await connection.fetchrow(_FATE, lease.deployed_agent_id, lease.session_id, effect_key)
    return Fate(**row) if row else None


# $1 agent, $2 session, $3 effect
_PROMISED = """
SELECT s.deployed_agent_id, s.workspace_id, s.id AS session_id, s.slack_install_id AS install_id,
    s.slack_conversation_key, s.slack_channel_id AS channel_id, s.slack_thread_ts AS thread_ts
FROM usage_logs u
JOIN agent_sessions s ON s.deployed_agent_id = u.deployed_agent_id AND s.id = u.session_id
WHERE u.deployed_agent_id = $1 AND u.session_id = $2 AND u.status = 'queued'
  AND u.runtime_event_id = substr($3, length('tool:') + 1) AND s.slack_install_id IS NOT NULL
"""


async def promised(connection: Connection, delivery: Delivery) -> Place | None:
    """The thread of an agent that was told that this post will be made; None for every other."""
    row = await connection.fetchrow(
        _PROMISED, delivery.deployed_agent_id, delivery.session_id, delivery.effect_key
    )
    return Place(**row) if row else None

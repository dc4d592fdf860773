"""Escalations: an agent's questions to a person. pending → answered | cancelled.

Every function that moves a row is called with the session's row locked, by the fence of its holder
or by `calls.wake`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from store.database import Connection
from store.leases import Held, Lease


@dataclass(frozen=True, slots=True)
class NewEscalation:
    """A question as the agent asks it."""

    id: UUID
    turn_id: UUID
    runtime_event_id: str
    question: str
    context: str
    choices: list[str]
    arguments_hash: bytes
    policy: dict[str, Any]
    requesters: list[str]
    ping: timedelta | None
    channel_install_id: UUID | None
    channel_id: str | None


@dataclass(frozen=True, slots=True)
class Escalation:
    """A question. `channel_id`: where else it was asked."""

    id: UUID
    deployed_agent_id: UUID
    workspace_id: UUID
    session_id: UUID
    turn_id: UUID
    runtime_event_id: str
    revision: int
    question: str
    context: str
    choices: list[str]
    arguments_hash: bytes
    policy: dict[str, Any]
    requesters: list[str]
    state: str
    answer: str | None
    decided_by: dict[str, Any] | None
    decided_at: datetime | None
    asked_at: datetime
    pings: int
    ping_at: datetime | None
    channel_install_id: UUID | None
    channel_id: str | None


# $1 id, $2 agent, $3 workspace, $4 session, $5 turn, $6 event, $7 question, $8 context, $9 choices,
# $10 arguments' hash, $11 policy, $12 requesters, $13 ping after, $14 install, $15 channel
_ADD = """
INSERT INTO agent_escalations (id, deployed_agent_id, workspace_id, session_id, turn_id,
    runtime_event_id, question, context, choices, arguments_hash, policy, requesters, ping_at,
    channel_install_id, channel_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, now() + $13::interval, $14, $15)
ON CONFLICT DO NOTHING
"""


async def add(connection: Connection, held: Held, new: NewEscalation) -> bool:
    """Writes a question down; False if it is known. Fenced by the caller."""
    done = await connection.execute(
        _ADD,
        new.id,
        held.deployed_agent_id,
        held.workspace_id,
        held.id,
        new.turn_id,
        new.runtime_event_id,
        new.question,
        new.context,
        new.choices,
        new.arguments_hash,
        new.policy,
        new.requesters,
        new.ping,
        new.channel_install_id,
        new.channel_id,
    )
    return done == "INSERT 0 1"


# $1 agent, $2 escalation
_GET = """
SELECT id, deployed_agent_id, workspace_id, session_id, turn_id, runtime_event_id, revision,
    question, context, choices, arguments_hash, policy, requesters, state, answer, decided_by,
    decided_at, asked_at, pings, ping_at, channel_install_id, channel_id
FROM agent_escalations WHERE deployed_agent_id = $1 AND id = $2
"""


async def get(connection: Connection, agent_id: UUID, escalation_id: UUID) -> Escalation | None:
    """The escalation of that id, if the agent has it."""
    row = await connection.fetchrow(_GET, agent_id, escalation_id)
    return Escalation(**row) if row else None


# $1 agent, $2 turn
_OF_TURN = """
SELECT id, deployed_agent_id, workspace_id, session_id, turn_id, runtime_event_id, revision,
    question, context, choices, arguments_hash, policy, requesters, state, answer, decided_by,
    decided_at, asked_at, pings, ping_at, channel_install_id, channel_id
FROM agent_escalations WHERE deployed_agent_id = $1 AND turn_id = $2 ORDER BY id
"""


async def of_turn(connection: Connection, agent_id: UUID, turn_id: UUID) -> list[Escalation]:
    """All that a turn asked people, in the order of the asking."""
    return [Escalation(**row) for row in await connection.fetch(_OF_TURN, agent_id, turn_id)]


# $1 agent, $2 escalation, $3 answer, $4 by
_ANSWER = """
UPDATE agent_escalations
SET state = 'answered', answer = $3, decided_by = $4, decided_at = now(), ping_at = NULL,
    revision = revision + 1
WHERE deployed_agent_id = $1 AND id = $2 AND state = 'pending'
RETURNING revision
"""


async def answer(
    connection: Connection, escalation: Escalation, text: str, by: dict[str, Any]
) -> int | None:
    """Pending → answered: the first answer wins. The new revision; None if it lost."""
    revision: int | None = await connection.fetchval(
        _ANSWER, escalation.deployed_agent_id, escalation.id, text, by
    )
    return revision


# $1 agent, $2 escalation, $3 by
_CANCEL = """
UPDATE agent_escalations
SET state = 'cancelled', decided_by = $3, decided_at = now(), ping_at = NULL,
    revision = revision + 1
WHERE deployed_agent_id = $1 AND id = $2 AND state = 'pending'
RETURNING revision
"""


async def cancel(connection: Connection, escalation: Escalation, by: dict[str, Any]) -> int | None:
    """Pending → cancelled. The new revision; None if it was not pending any more."""
    revision: int | None = await connection.fetchval(
        _CANCEL, escalation.deployed_agent_id, escalation.id, by
    )
    return revision


# $1 agent, $2 turn, $3 events, $4 by
_CLOSE = """
UPDATE agent_escalations
SET state = 'cancelled', decided_by = $4, decided_at = now(), ping_at = NULL,
    revision = revision + 1
WHERE deployed_agent_id = $1 AND turn_id = $2 AND state = 'pending'
  AND ($3::text[] IS NULL OR runtime_event_id = ANY($3::text[]))
RETURNING id, deployed_agent_id, workspace_id, session_id, turn_id, runtime_event_id, revision,
    question, context, choices, arguments_hash, policy, requesters, state, answer, decided_by,
    decided_at, asked_at, pings, ping_at, channel_install_id, channel_id
"""


async def close(
    connection: Connection,
    lease: Lease,
    turn_id: UUID,
    events: list[str] | None,
    by: dict[str, Any],
) -> list[Escalation]:
    """Ends what is open of a turn, all of it or some events: nobody waits for it any more. Fenced."""
    rows = await connection.fetch(_CLOSE, lease.deployed_agent_id, turn_id, events, by)
    return [Escalation(**row) for row in rows]


# side by side: $1 installs, $2 channels, $3 roots
_ON_ITS_WAY = """
SELECT w.install, w.channel, w.root
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS w (install, channel, root)
JOIN oauth_installs i ON i.id = w.install
WHERE EXISTS (
    SELECT FROM agent_escalations e
    JOIN slack_outbox o ON o.deployed_agent_id = e.deployed_agent_id
        AND o.session_id = e.session_id AND o.slack_conversation_key = 'escalation:' || e.id
        AND o.kind = 'card' AND o.state IN ('pending', 'sending')
    WHERE e.state = 'pending' AND e.workspace_id = i.workspace_id AND e.asked_at > '-infinity'
      AND e.channel_install_id = w.install AND e.channel_id = w.channel
      AND e.asked_at < to_timestamp(w.root::double precision) + interval '5 seconds'
)
"""


async def on_their_way(
    connection: Connection, roots: list[tuple[UUID, str, str]]
) -> set[tuple[UUID, str, str]]:
    """Which messages, by (install, channel, ts), may be cards that we have not heard of yet."""
    rows = await connection.fetch(
        _ON_ITS_WAY, [r[0] for r in roots], [r[1] for r in roots], [r[2] for r in roots]
    )
    return {(row["install"], row["channel"], row["root"]) for row in rows}


# ------------------------------------------------------------------ time

# $1 how many at the most
_DUE = """
SELECT id, deployed_agent_id, workspace_id, session_id, turn_id, runtime_event_id, revision,
    question, context, choices, arguments_hash, policy, requesters, state, answer, decided_by,
    decided_at, asked_at, pings, ping_at, channel_install_id, channel_id
FROM agent_escalations WHERE ping_at <= now() ORDER BY ping_at LIMIT $1
"""


async def due(connection: Connection, limit: int) -> list[Escalation]:
    """Questions whose people are to be asked again."""
    return [Escalation(**row) for row in await connection.fetch(_DUE, limit)]


# $1 agent, $2 escalation, $3 the pings so far, $4 the next one after
_PINGED = """
UPDATE agent_escalations SET pings = pings + 1, ping_at = now() + $4::interval
WHERE deployed_agent_id = $1 AND id = $2 AND state = 'pending' AND pings = $3
"""


async def pinged(
    connection: Connection, escalation: Escalation, following: timedelta | None
) -> bool:
    """Notes that people are being asked again, and when next; False if somebody else noted it."""
    done = await connection.execute(
        _PINGED, escalation.deployed_agent_id, escalation.id, escalation.pings, following
    )
    return done == "UPDATE 1"

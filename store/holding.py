"""What a session's holder reads or writes in one trip, where each usual turn would make several."""

from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

from store.agents import Agent
from store.database import Connection, Record
from store.ids import new_id
from store.inputs import Input
from store.leases import Held, Lease, LeaseLost
from store.turns import Turn


@dataclass(frozen=True, slots=True)
class Found:
    """What a claim finds: the agent, the turn in flight if there is one, what has not ended, in order.

    `wake_seq`: whatever came from others is counted by it, and this is what had come.
    """

    wake_seq: int
    agent: Agent
    turn: Turn | None
    inputs: list[Input]


# Each session by its key (OFFSET 0), however few PostgreSQL takes to be open: it might read all of them.
# $1 agent, $2 sessions
_FOUND = """
SELECT s.id AS session_id, s.wake_seq, a.id AS a_id, a.workspace_id AS a_workspace_id, a.name AS a_name,
    a.anthropic_agent_id AS a_anthropic_agent_id,
    a.anthropic_environment_id AS a_anthropic_environment_id, a.status AS a_status,
    a.settings AS a_settings, a.created_at AS a_created_at,
    t.id AS t_id, t.number AS t_number, t.state AS t_state, t.started_at AS t_started_at,
    i.id AS i_id, i.kind AS i_kind, i.body AS i_body, i.order_key AS i_order_key,
    i.state AS i_state, i.turn_id AS i_turn_id, i.sending_deadline AS i_sending_deadline,
    i.flushes AS i_flushes, i.shown_waiting AS i_shown_waiting
FROM agent_sessions s
JOIN deployed_agents a ON a.id = s.deployed_agent_id
LEFT JOIN LATERAL (SELECT * FROM agent_turns
    WHERE deployed_agent_id = $1 AND session_id = s.id AND ended_at IS NULL OFFSET 0) t ON true
LEFT JOIN LATERAL (SELECT * FROM session_inputs
    WHERE deployed_agent_id = $1 AND session_id = s.id AND ended_at IS NULL
      AND state IN ('queued', 'sending', 'sent') OFFSET 0) i ON true
WHERE s.deployed_agent_id = $1 AND s.id = ANY($2::uuid[])
ORDER BY s.id, i.order_key, i.id
"""


async def found(connection: Connection, agent_id: UUID, sessions: list[UUID]) -> dict[UUID, Found]:
    """All of it, of several sessions of one agent."""
    rows = await connection.fetch(_FOUND, agent_id, sessions)
    return {
        session_id: _found(list(theirs))
        for session_id, theirs in groupby(rows, key=itemgetter("session_id"))
    }


def _found(rows: list[Record]) -> Found:
    first = rows[0]
    return Found(
        first["wake_seq"],
        Agent(**_part(first, "a_")),
        Turn(**_part(first, "t_")) if first["t_id"] is not None else None,
        [Input(**_part(row, "i_")) for row in rows if row["i_id"] is not None],
    )


def _part(row: Record, prefix: str) -> dict[str, Any]:
    return {k.removeprefix(prefix): v for k, v in row.items() if k.startswith(prefix)}


# $1 agent, $2 session, $3 workspace, $4 turn, $5 kinds, $6 how long the request may take, $7 epoch,
# $8 wake_seq
_BEGIN = """
WITH held AS (
    UPDATE agent_sessions SET status = 'running', updated_at = now()
    WHERE deployed_agent_id = $1 AND id = $2 AND lease_epoch = $7 AND lease_owner IS NOT NULL
      AND wake_seq = $8 AND EXISTS (
          SELECT FROM session_inputs
          WHERE deployed_agent_id = $1 AND session_id = $2 AND ended_at IS NULL
            AND state = 'queued' AND kind = ANY($5::text[]))
    RETURNING id
), started AS (
    UPDATE session_inputs i
    SET state = 'sending', turn_id = $4, sending_deadline = now() + $6::interval
    FROM held
    WHERE i.deployed_agent_id = $1 AND i.session_id = $2 AND i.ended_at IS NULL
      AND i.state = 'queued' AND i.kind = ANY($5::text[])
    RETURNING i.id, kind, body, order_key, state, turn_id, sending_deadline, flushes, shown_waiting
), begun AS (
    INSERT INTO agent_turns (id, deployed_agent_id, workspace_id, session_id, number)
    SELECT $4, $1, $3, $2, COALESCE(max(number), 0) + 1 FROM agent_turns
    WHERE deployed_agent_id = $1 AND session_id = $2
    HAVING EXISTS (SELECT FROM held)
    RETURNING number AS turn_number, state AS turn_state, started_at AS turn_started_at
)
SELECT * FROM started, begun
"""


async def begin_turn(
    connection: Connection, held: Held, kinds: list[str], limit: timedelta, wake_seq: int
) -> tuple[Turn, list[Input]] | None:
    """The session's next turn with all that waits for it, `sending`, in order, and the fence before it.

    None, and nothing changed, where nothing waits, something came since `wake_seq`, or the lease is
    lost. At most one turn is live, by unique index.
    """
    turn_id = new_id()
    rows = await connection.fetch(
        _BEGIN,
        held.deployed_agent_id,
        held.id,
        held.workspace_id,
        turn_id,
        kinds,
        limit,
        held.lease_epoch,
        wake_seq,
    )
    if not rows:
        return None
    begun = {name: rows[0][f"turn_{name}"] for name in ("number", "state", "started_at")}
    found = [
        Input(**{k: v for k, v in row.items() if k == "turn_id" or not k.startswith("turn_")})
        for row in rows
    ]
    return Turn(id=turn_id, **begun), sorted(found, key=lambda i: (i.order_key, i.id))


# $1 agent, $2 session, $3 epoch, $4 inputs and $5 their runtime events side by side
_FENCED_SENT = """
WITH held AS (
    UPDATE agent_sessions
    SET updated_at = now(), barren_claims = 0, ready_at = LEAST(ready_at, now())
    WHERE deployed_agent_id = $1 AND id = $2 AND lease_epoch = $3 AND lease_owner IS NOT NULL
    RETURNING id
), sent AS (
    UPDATE session_inputs i
    SET state = 'sent', sending_deadline = NULL, sent_at = now(), runtime_event_id = s.event
    FROM held, unnest($4::uuid[], $5::text[]) AS s (id, event)
    WHERE i.deployed_agent_id = $1 AND i.id = s.id AND i.state = 'sending'
)
SELECT id FROM held
"""


async def mark_messages_sent(
    connection: Connection, lease: Lease, events: list[tuple[UUID, str | None]]
) -> None:
    """Fence and sending → sent in one statement, which is progress: there is nothing else to write.

    Raises LeaseLost when the epoch is no longer ours.
    """
    held = await connection.fetchval(
        _FENCED_SENT,
        lease.deployed_agent_id,
        lease.session_id,
        lease.epoch,
        [e[0] for e in events],
        [e[1] for e in events],
    )
    if held is None:
        raise LeaseLost


@dataclass(frozen=True, slots=True)
class Side:
    """What else than messages a holder may have to look at. `queued`: all that wait now."""

    waits: bool
    queued: list[UUID]


# $1 agent, $2 session, $3 turn
_SIDE = """
SELECT s.archive_requested_at IS NOT NULL
    OR EXISTS (SELECT FROM agent_escalations q WHERE q.deployed_agent_id = $1 AND q.turn_id = $3
               AND q.state = 'pending')
    OR EXISTS (SELECT FROM session_inputs i WHERE i.deployed_agent_id = $1 AND i.session_id = $2
               AND i.ended_at IS NULL AND i.state = 'queued'
               AND i.kind IN ('decision', 'interrupt')) AS waits,
    ARRAY(SELECT i.id FROM session_inputs i WHERE i.deployed_agent_id = $1 AND i.session_id = $2
          AND i.ended_at IS NULL AND i.state = 'queued') AS queued
FROM agent_sessions s WHERE s.deployed_agent_id = $1 AND s.id = $2
"""


async def side(connection: Connection, lease: Lease, turn_id: UUID) -> Side:
    """Whether a decision, a stop, an archive or the answer to a question may wait to be sent."""
    row = await connection.fetchrow(_SIDE, lease.deployed_agent_id, lease.session_id, turn_id)
    assert row is not None  # noqa: S101  # a session that is held is there
    return Side(**row)


@dataclass(frozen=True, slots=True)
class AtEnd:
    """What there is to be ended with a turn.

    `written`: those of the asked effects that stand in the outbox; `previewed`: its preview had
    messages; `asked`: people were asked something, and it is open; `late`: decisions wait that were
    for it or came below a card; `marked`: messages show that they wait; `copied`: the runtime has one of
    the sendings as another event too; `outputs`: the turns before may have written more than was seen.
    `wake_seq`: what had come from others when it was looked at.
    """

    wake_seq: int
    written: list[str]
    previewed: bool
    asked: bool
    late: bool
    marked: bool
    copied: bool
    outputs: bool


# $1 agent, $2 session, $3 turn, $4 effects, side by side: $5 inputs, $6 runtime events
_AT_END = """
SELECT s.wake_seq,
    ARRAY(SELECT o.effect_key FROM slack_outbox o WHERE o.deployed_agent_id = $1
          AND o.session_id = $2 AND o.effect_key = ANY($4::text[])) AS written,
    EXISTS (SELECT FROM slack_previews p WHERE p.deployed_agent_id = $1 AND p.turn_id = $3)
        AS previewed,
    EXISTS (SELECT FROM agent_approvals a WHERE a.deployed_agent_id = $1 AND a.turn_id = $3
            AND a.state IN ('pending', 'expired', 'allowed', 'denied'))
        OR EXISTS (SELECT FROM agent_escalations q WHERE q.deployed_agent_id = $1
                   AND q.turn_id = $3 AND q.state = 'pending') AS asked,
    EXISTS (SELECT FROM session_inputs i WHERE i.deployed_agent_id = $1 AND i.session_id = $2
            AND i.ended_at IS NULL AND i.state = 'queued' AND i.kind = 'decision') AS late,
    EXISTS (SELECT FROM session_inputs i WHERE i.deployed_agent_id = $1 AND i.session_id = $2
            AND i.shown_waiting) AS marked,
    EXISTS (SELECT FROM unnest($5::uuid[], $6::text[]) AS c (id, event)
            JOIN session_inputs i ON i.deployed_agent_id = $1 AND i.id = c.id
            WHERE i.runtime_event_id <> c.event) AS copied,
    EXISTS (SELECT FROM output_looks l WHERE l.deployed_agent_id = $1 AND l.session_id = $2)
        AS outputs
FROM agent_sessions s WHERE s.deployed_agent_id = $1 AND s.id = $2
"""


async def at_end(
    connection: Connection,
    lease: Lease,
    turn_id: UUID,
    effects: list[str],
    messages: list[tuple[UUID, str]],
) -> AtEnd:
    """All of it; true for as long as nothing else came, by `wake_seq`, or the session is locked."""
    row = await connection.fetchrow(
        _AT_END,
        lease.deployed_agent_id,
        lease.session_id,
        turn_id,
        effects,
        [m[0] for m in messages],
        [m[1] for m in messages],
    )
    assert row is not None  # noqa: S101  # a session that is held is there
    return AtEnd(**row)

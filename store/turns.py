"""Turns: from the first input sent to the runtime until an end idle with none left unprocessed."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from store.database import Connection
from store.ids import new_id
from store.leases import Held, Lease
from store.outbox import Effect, Place, in_line
from store.sweeps import by_agent
from store.usage import Usage


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


# $1 turn, $2 agent, $3 workspace, $4 session
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
WHERE deployed_agent_id = $1 AND id = $2 AND state IN ('running', 'awaiting_human')
"""


async def end(
    connection: Connection, lease: Lease, turn_id: UUID, state: str, stop_reason: str, words: str
) -> bool:
    """Ends a turn, with the keywords of its texts for search; False if it had ended. Fenced."""
    done = await connection.execute(
        _END, lease.deployed_agent_id, turn_id, state, stop_reason, words
    )
    return done == "UPDATE 1"


# $1 agent, $2 turn, $3 state, $4 stop reason, $5 words, $6 session, $7 workspace, $8 state of the
# usage, $9 input, $10 output, $11 cache read, $12 cache write, $13 runtime ms, $14 cents, $15 epoch,
# $16 wake_seq, $17 place, $18 usage snapshot, $19 wait before the next claim, $20 how many replies;
# $21 install, $22 conversation, $23 channel, $24 thread, and side by side: $25 deliveries,
# $26 effects, $27 kinds, $28 bodies, $29 lanes, $30 positions, of replies from the first on
_COMPLETE = """
WITH open AS MATERIALIZED (
    SELECT id, (turn_id = $2 AND state IN ('sending', 'sent') OR state = 'queued'
        AND kind IN ('decision', 'interrupt') AND body->>'turn' = $2::text) IS TRUE AS over
    FROM session_inputs
    WHERE deployed_agent_id = $1 AND session_id = $6 AND ended_at IS NULL
      AND state IN ('queued', 'sending', 'sent')
), held AS (
    UPDATE agent_sessions
    SET status = 'idle', place_at = COALESCE($17, place_at),
        usage_snapshot = COALESCE($18, usage_snapshot), next_position = next_position + $20,
        lease_owner = NULL, lease_expires_at = NULL, barren_claims = 0, failures = 0,
        updated_at = next.now,
        ready_at = CASE WHEN archive_requested_at IS NOT NULL OR retitled OR next.wanted
            THEN next.now + $19::interval END
    FROM (SELECT now() AS now, EXISTS (SELECT FROM open WHERE NOT over) AS wanted) AS next
    WHERE deployed_agent_id = $1 AND id = $6 AND lease_epoch = $15 AND lease_owner IS NOT NULL
      AND wake_seq = $16
    RETURNING next_position - $20 AS first, ready_at IS NOT NULL AS again
), ended AS (
    UPDATE agent_turns t
    SET state = $3, stop_reason = $4, ended_at = now(),
        digest = strip(to_tsvector('simple', left($5, 100000)))
    FROM held
    WHERE t.deployed_agent_id = $1 AND t.session_id = $6 AND t.id = $2 AND t.ended_at IS NULL
), used AS (
    INSERT INTO agent_compute_usage (turn_id, deployed_agent_id, workspace_id, session_id, state,
        input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, runtime_ms, cost_cents)
    SELECT $2, $1, $7, $6, $8, $9, $10, $11, $12, $13, $14 FROM held
    ON CONFLICT (deployed_agent_id, turn_id) DO NOTHING
), covered AS (
    UPDATE agent_compute_usage u SET state = 'final'
    FROM held
    WHERE u.deployed_agent_id = $1 AND u.session_id = $6 AND u.state = 'pending' AND $8 = 'final'
), done AS (
    UPDATE session_inputs i
    SET state = CASE WHEN i.state = 'queued' THEN 'withdrawn' ELSE 'done' END,
        sending_deadline = NULL, ended_at = now()
    FROM held
    WHERE i.deployed_agent_id = $1 AND i.id = ANY(ARRAY(SELECT id FROM open WHERE over))
), said AS (
    INSERT INTO slack_outbox (delivery_id, deployed_agent_id, workspace_id, session_id, install_id,
        slack_conversation_key, channel_id, thread_ts, effect_key, kind, body, lane, position,
        turn_id)
    SELECT n.id, $1, $7, $6, $21, $22, $23, $24, n.effect, n.kind,
        CASE WHEN n.lane = 'reply'
            THEN n.body || jsonb_strip_nulls(jsonb_build_object('by', was.lease_owner))
            ELSE n.body END,
        n.lane, CASE WHEN n.lane = 'reply' THEN held.first ELSE 0 END + n.position, $2
    FROM held, agent_sessions was,
        unnest($25::uuid[], $26::text[], $27::text[], $28::jsonb[], $29::text[], $30::bigint[])
        AS n (id, effect, kind, body, lane, position)
    WHERE was.deployed_agent_id = $1 AND was.id = $6
    ON CONFLICT DO NOTHING
)
SELECT again FROM held
"""


@dataclass(frozen=True, slots=True)
class Ending:
    """What a turn ends with; `words` are those that it is found by.

    `place` and `snapshot`: where the runtime's history is read from next, and its usage there. `wait`
    before the session may be claimed again. `effects` are said at `said_at`, replies in their order.
    """

    state: str
    stop_reason: str
    words: str
    usage: Usage | None
    place: datetime | None = None
    snapshot: dict[str, Any] | None = None
    wait: timedelta = timedelta(0)
    effects: tuple[Effect, ...] = ()
    said_at: Place | None = None


async def complete(
    connection: Connection, held: Held, turn_id: UUID, ending: Ending, wake_seq: int
) -> bool | None:
    """A turn's end: its usage (see `usage.add`), its inputs, what is said of it, place and release.

    True if the session wants a worker again. None, and nothing changed, where the lease is lost or
    something came since `wake_seq`: so all that had come was looked at, though nothing was locked.
    What of its inputs goes out again, or is refused, is so before.
    """
    used, at = ending.usage or Usage(), ending.said_at
    effects = in_line(list(ending.effects), 0) if at else []
    again: bool | None = await connection.fetchval(
        _COMPLETE,
        held.deployed_agent_id,
        turn_id,
        ending.state,
        ending.stop_reason,
        ending.words,
        held.id,
        held.workspace_id,
        "final" if ending.usage else "pending",
        used.input_tokens,
        used.output_tokens,
        used.cache_read_tokens,
        used.cache_write_tokens,
        used.runtime_ms,
        used.cost_cents,
        held.lease_epoch,
        wake_seq,
        ending.place,
        ending.snapshot,
        ending.wait,
        sum(e.lane == "reply" for e in effects),
        at.install_id if at else None,
        at.slack_conversation_key if at else None,
        at.channel_id if at else None,
        at.thread_ts if at else None,
        [new_id() for _ in effects],
        [e.effect_key for e in effects],
        [e.kind for e in effects],
        [e.body for e in effects],
        [e.lane for e in effects],
        [e.position for e in effects],
    )
    return again


# ------------------------------------------------------------------ waiting for people

# $1 agent, $2 turn
_AWAIT = """
UPDATE agent_turns SET state = 'awaiting_human', looked_at = now()
WHERE deployed_agent_id = $1 AND id = $2 AND state IN ('running', 'awaiting_human')
"""


async def await_human(connection: Connection, lease: Lease, turn_id: UUID) -> None:
    """Running → awaiting a human, whose decision wakes it; fenced by the caller."""
    await connection.execute(_AWAIT, lease.deployed_agent_id, turn_id)


# $1 agent, $2 turn
_GO_ON = """
UPDATE agent_turns SET state = 'running'
WHERE deployed_agent_id = $1 AND id = $2 AND state = 'awaiting_human'
"""


async def go_on(connection: Connection, lease: Lease, turn_id: UUID) -> None:
    """Awaiting a human → running, before what was decided leaves; fenced by the caller."""
    await connection.execute(_GO_ON, lease.deployed_agent_id, turn_id)


@dataclass(frozen=True, slots=True)
class Awaiting:
    """A turn that waits for people, and where the runtime knows it."""

    deployed_agent_id: UUID
    session_id: UUID
    turn_id: UUID
    anthropic_session_id: str


# $1 not looked at for so long, $2 how many at the most
_UNREAD = """
SELECT count(*) FROM (
    SELECT FROM agent_turns
    WHERE state = 'awaiting_human' AND started_at > '-infinity'
      AND looked_at < now() - $1::interval LIMIT $2
) u
"""


async def unread(connection: Connection, age: timedelta, limit: int) -> int:
    """How many waiting turns nobody has looked at for so long; no more than the limit."""
    count: int = await connection.fetchval(_UNREAD, age, limit)
    return count


# $1 not looked at for so long, $2 how many
_OVERDUE = """
SELECT t.deployed_agent_id, t.id
FROM agent_turns t
JOIN agent_sessions s ON s.deployed_agent_id = t.deployed_agent_id AND s.id = t.session_id
WHERE t.state = 'awaiting_human' AND t.started_at > '-infinity' AND t.looked_at < now() - $1::interval
  AND s.anthropic_session_id IS NOT NULL
ORDER BY t.looked_at LIMIT $2
"""
# $1 agent, $2 turns, $3 not looked at for so long
_LOOK = """
WITH taken AS (
    SELECT id FROM agent_turns
    WHERE deployed_agent_id = $1 AND id = ANY($2::uuid[]) AND state = 'awaiting_human'
      AND looked_at < now() - $3::interval
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE agent_turns t SET looked_at = now()
FROM taken, agent_sessions s
WHERE t.deployed_agent_id = $1 AND t.id = taken.id
  AND s.deployed_agent_id = $1 AND s.id = t.session_id
RETURNING t.deployed_agent_id, t.session_id, t.id AS turn_id, s.anthropic_session_id
"""


async def take_a_look(connection: Connection, age: timedelta, limit: int) -> list[Awaiting]:
    """Waiting turns to be compared with the runtime, oldest look first; no replica gets the same."""
    taken: list[Awaiting] = []
    for agent_id, rows in by_agent(await connection.fetch(_OVERDUE, age, limit)):
        ids = [row["id"] for row in rows]
        given = await connection.fetch(_LOOK, agent_id, ids, age)
        taken += [Awaiting(**row) for row in given]
    return taken


_OLDEST_LOOK = """
SELECT now() - min(looked_at) FROM agent_turns
WHERE state = 'awaiting_human' AND started_at > '-infinity'
"""


async def oldest_look(connection: Connection) -> timedelta:
    """How long ago the turn that was not looked at for the longest was looked at; zero without any."""
    age: timedelta | None = await connection.fetchval(_OLDEST_LOOK)
    return age or timedelta(0)

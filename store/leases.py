"""Leases: one worker holds a session, under an epoch that fences everything it writes.

A lease holder's every write begins with `fence`, the UPDATE of the session row under its epoch: it
locks the row against accepts and other holders, and matches nothing once the lease has passed on.
"""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from store.database import Connection


class LeaseLost(Exception):
    """Another worker holds the session now, or nobody: this one writes nothing more."""


@dataclass(frozen=True, slots=True)
class Lease:
    """What names a holder in every statement it makes."""

    deployed_agent_id: UUID
    session_id: UUID
    epoch: int


@dataclass(frozen=True, slots=True)
class Ready:
    """A session that wants a worker."""

    deployed_agent_id: UUID
    session_id: UUID


# $1 a random starting place, $2 how many at the most
_READY = """
SELECT deployed_agent_id, id AS session_id FROM agent_sessions
WHERE ready_at <= now() AND (lease_expires_at IS NULL OR lease_expires_at < now())
  AND created_at > '-infinity'
ORDER BY (id < $1), id LIMIT $2
"""


async def ready(connection: Connection, start: UUID, limit: int) -> list[Ready]:
    """Sessions to claim, beginning at a random place so that replicas do not race for the same."""
    return [Ready(**row) for row in await connection.fetch(_READY, start, limit)]


@dataclass(frozen=True, slots=True)
class Held:
    """A session as its new holder found it."""

    id: UUID
    deployed_agent_id: UUID
    workspace_id: UUID
    anthropic_session_id: str | None
    status: str
    source: str
    title: str | None
    slack_install_id: UUID | None
    slack_team_id: str | None
    slack_channel_id: str | None
    slack_thread_ts: str | None
    slack_conversation_key: str | None
    wake_seq: int
    lease_epoch: int
    barren_claims: int
    failures: int
    create_started_at: datetime | None
    place_at: datetime | None
    usage_snapshot: dict[str, Any] | None
    archive_requested_at: datetime | None
    retitled: bool

    @property
    def lease(self) -> Lease:
        """What this holder writes under."""
        return Lease(self.deployed_agent_id, self.id, self.lease_epoch)

    @property
    def ready(self) -> Ready:
        """The session as one that wants a worker."""
        return Ready(self.deployed_agent_id, self.id)


# $1 agent, $2 session, $3 owner, $4 for how long, $5 dice
_CLAIM = """
UPDATE agent_sessions
SET lease_owner = $3, lease_expires_at = now() + $4::interval, lease_epoch = lease_epoch + 1,
    barren_claims = barren_claims + 1,
    ready_at = CASE WHEN barren_claims = 0 THEN ready_at
        ELSE again.at[LEAST(barren_claims, 7)] END
FROM (SELECT ARRAY(
    SELECT now() + $4::interval + interval '1 second' * power(2, n) * $5::double precision
    FROM generate_series(0, 6) AS n ORDER BY n) AS at) AS again
WHERE deployed_agent_id = $1 AND id = $2 AND ready_at <= now()
  AND (lease_expires_at IS NULL OR lease_expires_at < now())
RETURNING id, deployed_agent_id, workspace_id, anthropic_session_id, status, source, title,
    slack_install_id, slack_team_id, slack_channel_id, slack_thread_ts, slack_conversation_key,
    wake_seq, lease_epoch, barren_claims, failures, create_started_at, place_at, usage_snapshot,
    archive_requested_at, retitled
"""


async def claim(
    connection: Connection, wanted: Ready, owner: str, lease_for: timedelta
) -> Held | None:
    """Takes a ready session by compare-and-set; None if somebody else was faster.

    After a claim that came to nothing this one leaves a wait behind, for when it comes to nothing
    too: what died only because it shared a process with poison is not claimed beside it again and
    again. It begins where the lease ends; progress and a new input take it away.
    """
    row = await connection.fetchrow(
        _CLAIM, wanted.deployed_agent_id, wanted.session_id, owner, lease_for, _dice()
    )
    return Held(**row) if row else None


def _dice() -> float:
    """Thrown here: Citus lets no statement that changes rows call random()."""
    return random.uniform(0.5, 1.5)  # noqa: S311  # not a secret


# $1 agent, $2 sessions, $3 owner, $4 for how long, $5 dice beside the sessions
_CLAIM_SOME = """
WITH wanted AS (
    SELECT s.deployed_agent_id, s.id, now() + $4::interval
        + interval '1 second' * power(2, LEAST(s.barren_claims, 7) - 1) * d.dice AS again
    FROM unnest($2::uuid[], $5::double precision[]) AS d (id, dice)
    JOIN agent_sessions s ON s.deployed_agent_id = $1 AND s.id = d.id
    WHERE s.ready_at <= now() AND (s.lease_expires_at IS NULL OR s.lease_expires_at < now())
    FOR NO KEY UPDATE OF s SKIP LOCKED
)
UPDATE agent_sessions s
SET lease_owner = $3, lease_expires_at = now() + $4::interval, lease_epoch = s.lease_epoch + 1,
    barren_claims = s.barren_claims + 1,
    ready_at = CASE WHEN s.barren_claims = 0 THEN s.ready_at ELSE w.again END
FROM wanted w
WHERE s.deployed_agent_id = $1 AND s.id = w.id
RETURNING s.id, s.deployed_agent_id, s.workspace_id, s.anthropic_session_id, s.status, s.source,
    s.title, s.slack_install_id, s.slack_team_id, s.slack_channel_id, s.slack_thread_ts,
    s.slack_conversation_key, s.wake_seq, s.lease_epoch, s.barren_claims, s.failures,
    s.create_started_at, s.place_at, s.usage_snapshot, s.archive_requested_at, s.retitled
"""


async def claim_some(
    connection: Connection, agent_id: UUID, sessions: list[UUID], owner: str, lease_for: timedelta
) -> list[Held]:
    """As `claim`, of several sessions of one agent; those that are to be had, in no order.

    It waits for no row: one that somebody holds locked is offered again when they are done with it,
    or found by the sweep.
    """
    dice = [_dice() for _ in sessions]
    rows = await connection.fetch(_CLAIM_SOME, agent_id, sessions, owner, lease_for, dice)
    return [Held(**row) for row in rows]


# $1 agent, $2 sessions and $3 their epochs side by side, $4 for how long
_RENEW = """
WITH mine AS (
    SELECT s.deployed_agent_id, s.id
    FROM agent_sessions s
    JOIN unnest($2::uuid[], $3::bigint[]) AS l (id, epoch)
      ON l.id = s.id AND l.epoch = s.lease_epoch
    WHERE s.deployed_agent_id = $1 AND s.lease_owner IS NOT NULL
    FOR NO KEY UPDATE OF s SKIP LOCKED
)
UPDATE agent_sessions s SET lease_expires_at = now() + $4::interval
FROM mine WHERE s.deployed_agent_id = $1 AND s.id = mine.id
RETURNING s.id
"""


async def renew(
    connection: Connection, agent_id: UUID, leases: list[Lease], lease_for: timedelta
) -> set[UUID]:
    """Renews one agent's leases; rows that somebody holds locked are left for the next tick."""
    rows = await connection.fetch(
        _RENEW, agent_id, [x.session_id for x in leases], [x.epoch for x in leases], lease_for
    )
    return {row["id"] for row in rows}


# $1 agent, $2 session, $3 epoch
_FENCE = """
UPDATE agent_sessions
SET updated_at = now(), barren_claims = 0, ready_at = LEAST(ready_at, now())
WHERE deployed_agent_id = $1 AND id = $2 AND lease_epoch = $3 AND lease_owner IS NOT NULL
RETURNING wake_seq
"""


async def fence(connection: Connection, lease: Lease) -> int:
    """The first write of every append: locks the row, proves the epoch, counts as progress.

    Raises LeaseLost when the epoch is no longer ours. Returns the newest wake_seq.
    """
    return _held(
        await connection.fetchval(_FENCE, lease.deployed_agent_id, lease.session_id, lease.epoch)
    )


# $1 agent, $2 session, $3 epoch
_FENCE_QUIETLY = """
UPDATE agent_sessions SET updated_at = now()
WHERE deployed_agent_id = $1 AND id = $2 AND lease_epoch = $3 AND lease_owner IS NOT NULL
RETURNING wake_seq
"""


async def fence_quietly(connection: Connection, lease: Lease) -> int:
    """As `fence`, for a holder that gives up: it proves the epoch but is no progress."""
    return _held(
        await connection.fetchval(
            _FENCE_QUIETLY, lease.deployed_agent_id, lease.session_id, lease.epoch
        )
    )


def _held(wake_seq: int | None) -> int:
    if wake_seq is None:
        raise LeaseLost
    return wake_seq


# $1 agent, $2 session, $3 wait before the next claim, $4 add to the failures, or start them anew,
# $5 whatever waits for a human, something new wants a worker
_RELEASE = """
UPDATE agent_sessions s
SET lease_owner = NULL, lease_expires_at = NULL,
    failures = CASE WHEN $4 THEN s.failures + 1 ELSE 0 END,
    ready_at = CASE
        WHEN $5 OR s.archive_requested_at IS NOT NULL OR s.retitled
          OR EXISTS (SELECT FROM agent_turns t WHERE t.deployed_agent_id = $1
                     AND t.session_id = $2 AND t.ended_at IS NULL AND t.state = 'running')
          OR EXISTS (SELECT FROM session_inputs i WHERE i.deployed_agent_id = $1
                     AND i.session_id = $2 AND i.ended_at IS NULL
                     AND i.state IN ('queued', 'sending', 'sent')
                     AND (i.kind IN ('decision', 'interrupt') AND i.state <> 'sent' OR NOT EXISTS (
                         SELECT FROM agent_turns t WHERE t.deployed_agent_id = $1
                         AND t.session_id = $2 AND t.ended_at IS NULL AND t.state = 'awaiting_human')))
        THEN next.at END
FROM (SELECT now() + $3::interval AS at) AS next
WHERE s.deployed_agent_id = $1 AND s.id = $2
RETURNING ready_at IS NOT NULL
"""


async def release(
    connection: Connection,
    lease: Lease,
    *,
    wait: timedelta = timedelta(0),
    failed: bool = False,
    woken: bool = False,
) -> bool:
    """Hands a fenced session back; True if it wants a worker again, after `wait`.

    Messages of a turn that awaits a human want none, unless `woken` says that there is a new one.

    Call it after `fence` in the same transaction. The fence has locked the row, so this statement,
    with a snapshot of its own, sees every input whose accept has committed; one statement that
    both waits for the lock and looks would miss it and strand the message.
    """
    again: bool = await connection.fetchval(
        _RELEASE, lease.deployed_agent_id, lease.session_id, wait, failed, woken
    )
    return again


# $1 agent, $2 sessions
_WAKE_SEQS = """
SELECT id, wake_seq FROM agent_sessions WHERE deployed_agent_id = $1 AND id = ANY($2::uuid[])
"""


async def wake_seqs(
    connection: Connection, agent_id: UUID, sessions: list[UUID]
) -> dict[UUID, int]:
    """The wake_seq of held sessions: a hint that something arrived from another process."""
    rows = await connection.fetch(_WAKE_SEQS, agent_id, sessions)
    return {row["id"]: row["wake_seq"] for row in rows}

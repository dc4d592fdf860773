"""Requests that come twice under one Idempotency-Key: the work is done once, its answer given again.

A key belongs to who asks and to the route; the states of its row:

              begin                      finish
    (no row) ───────▶ claimed until T ──────────▶ answered ──▶ cleanup, by age
                        ▲    │
          begin, a      │    │ T passes, or let_go
          claim higher  │    ▼
                      free

claimed   somebody works on it. The same request again is told `Busy`, with the time that T leaves.
free      the worker died, or gave up not knowing what it had done. The next request takes over, with a
          claim higher; the old worker's `finish` then raises `TakenOver`, and so undoes what stands in
          its transaction.
answered  the status and the body are given to every later request.

In each state a request with another body is a `Mismatch`. T is why a death half-way blocks a key for
seconds and not for ever; whoever works stays well below it.

What makes a second attempt harmless is `work_id`: chosen by the first `begin`, given unchanged to whoever
takes over. The work names its rows by it (a session's id, an input's key), and so finds what an earlier
attempt has done. Work that is one transaction needs not even that, if it calls `finish` in it.

Refusals that the same request would not meet again (a conflict of the moment) may be kept by `finish` or
left out by `let_go`; a request that was never valid should not come here at all.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from store.database import Connection
from store.ids import new_id
from store.sweeps import by_agent


@dataclass(frozen=True, slots=True)
class Asked:
    """A request under a key. What names no agent goes by the workspace's id in its place."""

    deployed_agent_id: UUID
    workspace_id: UUID
    principal: str
    route: str
    key: str
    body_hash: bytes


@dataclass(frozen=True, slots=True)
class Begun:
    """Ours to work on. `again`: an earlier attempt may have done some of it, or all, as `work_id`."""

    asked: Asked
    work_id: UUID
    claim: int

    @property
    def again(self) -> bool:
        """True where somebody worked on it before."""
        return self.claim > 1


@dataclass(frozen=True, slots=True)
class Answered:
    """It was done: what was answered."""

    status: int
    answer: Any


@dataclass(frozen=True, slots=True)
class Busy:
    """Somebody works on it; it is known or free after so long."""

    retry_after: timedelta


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The key was used for another body."""


class TakenOver(Exception):
    """Somebody else works on it by now: undo what you did, and say nothing."""


# $1 agent, $2 workspace, $3 principal, $4 route, $5 key, $6 body's hash, $7 work, $8 for how long
_BEGIN = """
INSERT INTO idempotency_keys (deployed_agent_id, workspace_id, principal, route, key, body_hash,
    work_id, claimed_until, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, now() + $8::interval, now())
ON CONFLICT (deployed_agent_id, principal, route, key) DO UPDATE
SET claim = idempotency_keys.claim + 1, claimed_until = excluded.claimed_until
WHERE idempotency_keys.claimed_until <= excluded.created_at
  AND idempotency_keys.body_hash = excluded.body_hash
RETURNING work_id, claim
"""
# $1 agent, $2 workspace, $3 principal, $4 route, $5 key
_KNOWN = """
SELECT body_hash, status, answer, GREATEST(claimed_until - now(), '0') AS left
FROM idempotency_keys
WHERE deployed_agent_id = $1 AND workspace_id = $2 AND principal = $3 AND route = $4 AND key = $5
"""


async def begin(
    connection: Connection, asked: Asked, within: timedelta
) -> Begun | Answered | Busy | Mismatch:
    """Takes a request to work on it for so long, or says what is known of it.

    Commit before the work starts, so that others see it; where the work is in the same transaction,
    others wait for its end instead, as long as they wait for any lock.
    """
    names = (asked.deployed_agent_id, asked.workspace_id, asked.principal, asked.route, asked.key)
    taken = await connection.fetchrow(_BEGIN, *names, asked.body_hash, new_id(), within)
    if taken is not None:
        return Begun(asked, taken["work_id"], taken["claim"])
    row = await connection.fetchrow(_KNOWN, *names)
    if row is None:
        return Busy(timedelta())  # cleaned up since the last statement: it is free
    if row["body_hash"] != asked.body_hash:
        return Mismatch()
    if row["status"] is None:
        return Busy(row["left"])
    return Answered(row["status"], row["answer"])


# $1 agent, $2 principal, $3 route, $4 key, $5 claim, $6 status, $7 answer
_FINISH = """
UPDATE idempotency_keys SET status = $6, answer = $7, claimed_until = NULL
WHERE deployed_agent_id = $1 AND principal = $2 AND route = $3 AND key = $4 AND claim = $5
  AND status IS NULL
"""


async def finish(connection: Connection, begun: Begun, status: int, answer: Any) -> None:
    """Keeps the answer, at best in the transaction of the work. TakenOver where it is not ours now."""
    asked = begun.asked
    names = (asked.deployed_agent_id, asked.principal, asked.route, asked.key)
    done = await connection.execute(_FINISH, *names, begun.claim, status, answer)
    if done != "UPDATE 1":
        raise TakenOver(f"claim {begun.claim} of {asked.route} has ended")


# $1 agent, $2 principal, $3 route, $4 key, $5 claim
_LET_GO = """
UPDATE idempotency_keys SET claimed_until = now()
WHERE deployed_agent_id = $1 AND principal = $2 AND route = $3 AND key = $4 AND claim = $5
  AND status IS NULL
"""


async def let_go(connection: Connection, begun: Begun) -> None:
    """Gives it up without an answer: the next request may take over at once."""
    asked = begun.asked
    names = (asked.deployed_agent_id, asked.principal, asked.route, asked.key)
    await connection.execute(_LET_GO, *names, begun.claim)


# $1 age, $2 how many at the most
_OLD = """
SELECT deployed_agent_id, principal, route, key FROM idempotency_keys
WHERE created_at < now() - $1::interval AND (claimed_until IS NULL OR claimed_until < now())
ORDER BY created_at LIMIT $2
"""
# $1 agent, side by side: $2 principals, $3 routes, $4 keys; $5 age
_CLEANUP = """
DELETE FROM idempotency_keys k
USING (
    SELECT i.principal, i.route, i.key
    FROM unnest($2::text[], $3::text[], $4::text[]) AS w (principal, route, key)
    JOIN idempotency_keys i ON i.deployed_agent_id = $1 AND i.principal = w.principal
        AND i.route = w.route AND i.key = w.key
    WHERE i.created_at < now() - $5::interval
      AND (i.claimed_until IS NULL OR i.claimed_until < now())
    FOR UPDATE OF i SKIP LOCKED
) AS o
WHERE k.deployed_agent_id = $1 AND k.principal = o.principal AND k.route = o.route AND k.key = o.key
"""


async def cleanup(connection: Connection, age: timedelta, limit: int) -> int:
    """Forgets requests begun so long ago that nobody works on, of all workspaces; how many."""
    gone = 0
    for agent_id, rows in by_agent(await connection.fetch(_OLD, age, limit)):
        names = [[row[column] for row in rows] for column in ("principal", "route", "key")]
        done = await connection.execute(_CLEANUP, agent_id, *names, age)
        gone += int(done.rpartition(" ")[2])
    return gone

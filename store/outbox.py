"""The outbox: every durable Slack write, once by its effect key, those of one lane in order.

pending → sending → sent | dead; sending → pending when an attempt is known, or was found, not to
have taken effect.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

from store.database import Connection
from store.ids import new_id
from store.leases import Lease
from store.sweeps import by_agent


@dataclass(frozen=True, slots=True)
class Place:
    """Where in Slack a write goes, and for whom it is kept."""

    deployed_agent_id: UUID
    workspace_id: UUID
    session_id: UUID | None
    install_id: UUID
    slack_conversation_key: str
    channel_id: str
    thread_ts: str | None


@dataclass(frozen=True, slots=True)
class Effect:
    """A write that a session wants: `kind` reply | notice | private | reaction | file, and its `body`.

    Writes of one `lane` leave in the order of their positions; those at the `side` whenever they can.
    """

    effect_key: str
    kind: str
    body: dict[str, Any]
    lane: str = "side"
    position: int = 0
    turn_id: UUID | None = None


def in_line(effects: list[Effect], first: int) -> list[Effect]:
    """The replies among them numbered from `first` on; the others keep their positions."""
    places = count(first)
    return [replace(e, position=next(places)) if e.lane == "reply" else e for e in effects]


# $1 delivery, $2 agent, $3 workspace, $4 session, $5 install, $6 conversation, $7 channel,
# $8 thread, $9 effect, $10 kind, $11 body, $12 lane, $13 position, $14 turn
_ADD = """
INSERT INTO slack_outbox (delivery_id, deployed_agent_id, workspace_id, session_id, install_id,
    slack_conversation_key, channel_id, thread_ts, effect_key, kind, body, lane, position, turn_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
    CASE WHEN $12::text = 'reply' THEN $11::jsonb || jsonb_strip_nulls(jsonb_build_object('by', (
        SELECT lease_owner FROM agent_sessions WHERE deployed_agent_id = $2 AND id = $4)))
    ELSE $11::jsonb END, $12::text, $13, $14)
ON CONFLICT DO NOTHING
"""


async def add(connection: Connection, place: Place, effects: list[Effect]) -> None:
    """Writes effects down, once each by key: adding them again changes nothing.

    The body of a reply tells `by` which process it was written, for who delivers it in its stead.
    """
    await connection.executemany(
        _ADD,
        [
            (
                new_id(),
                place.deployed_agent_id,
                place.workspace_id,
                place.session_id,
                place.install_id,
                place.slack_conversation_key,
                place.channel_id,
                place.thread_ts,
                effect.effect_key,
                effect.kind,
                effect.body,
                effect.lane,
                effect.position,
                effect.turn_id,
            )
            for effect in effects
        ],
    )


# $1 agent, $2 session, $3 effects
_WITHDRAW = """
DELETE FROM slack_outbox
WHERE deployed_agent_id = $1 AND session_id = $2 AND effect_key = ANY($3::text[])
  AND state = 'pending' AND NOT unclear
RETURNING effect_key
"""


async def withdraw(
    connection: Connection, agent_id: UUID, session_id: UUID, effect_keys: list[str]
) -> set[str]:
    """Takes back writes that surely were not made; the keys of those."""
    rows = await connection.fetch(_WITHDRAW, agent_id, session_id, effect_keys)
    return {row["effect_key"] for row in rows}


# $1 agent, $2 session, $3 effects
_WRITTEN = """
SELECT effect_key FROM slack_outbox
WHERE deployed_agent_id = $1 AND session_id = $2 AND effect_key = ANY($3::text[])
"""


async def written(connection: Connection, lease: Lease, effect_keys: list[str]) -> set[str]:
    """Which of these effects were written down before, whatever has become of them."""
    rows = await connection.fetch(_WRITTEN, lease.deployed_agent_id, lease.session_id, effect_keys)
    return {row["effect_key"] for row in rows}


# ------------------------------------------------------------------ delivering


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery that may go out now, or whose last attempt must be looked into."""

    deployed_agent_id: UUID
    delivery_id: UUID
    kind: str = field(default="", compare=False)


# $1 a random starting place, $2 how many at the most, $3 also files
_DUE = """
SELECT o.deployed_agent_id, o.delivery_id, o.kind FROM slack_outbox o
WHERE o.ended_at IS NULL AND o.state IN ('pending', 'sending') AND o.not_before <= now()
  AND o.created_at > '-infinity'
  AND ($3 OR o.kind <> 'file')
  AND (o.state = 'pending' OR o.deadline < now())
  AND (o.lane = 'side' OR NOT EXISTS (
      SELECT FROM slack_outbox p
      WHERE p.deployed_agent_id = o.deployed_agent_id AND p.session_id = o.session_id
        AND p.lane = o.lane AND p.lane <> 'side' AND p.position < o.position
        AND p.ended_at IS NULL AND p.state IN ('pending', 'sending')))
ORDER BY (o.delivery_id < $1), o.delivery_id LIMIT $2
"""


async def due(connection: Connection, start: UUID, limit: int, *, files: bool = True) -> list[Due]:
    """Deliveries to claim, `files` among them or not; of a session's lane only the first that is open."""
    return [Due(**row) for row in await connection.fetch(_DUE, start, limit, files)]


@dataclass(frozen=True, slots=True)
class Delivery:
    """A claimed delivery. `unclear`: an earlier attempt may have taken effect."""

    delivery_id: UUID
    deployed_agent_id: UUID
    session_id: UUID | None
    install_id: UUID
    slack_conversation_key: str
    channel_id: str
    thread_ts: str | None
    effect_key: str
    kind: str
    body: dict[str, Any]
    claim_epoch: int
    attempts: int
    unclear: bool
    created_at: datetime

    @property
    def due(self) -> Due:
        """As it was found."""
        return Due(self.deployed_agent_id, self.delivery_id)


# $1 agent, $2 delivery, $3 owner, $4 how long the attempt may take
_CLAIM = """
UPDATE slack_outbox o
SET state = 'sending', claimed_by = $3, claim_epoch = o.claim_epoch + 1,
    deadline = now() + $4::interval, attempts = o.attempts + 1,
    unclear = o.unclear OR o.state = 'sending'
WHERE o.deployed_agent_id = $1 AND o.delivery_id = $2 AND o.not_before <= now()
  AND (o.state = 'pending' OR o.state = 'sending' AND o.deadline < now())
  AND (o.lane = 'side' OR NOT EXISTS (
      SELECT FROM slack_outbox p
      WHERE p.deployed_agent_id = $1 AND p.session_id = o.session_id
        AND p.lane = o.lane AND p.lane <> 'side' AND p.position < o.position
        AND p.ended_at IS NULL AND p.state IN ('pending', 'sending')))
RETURNING delivery_id, deployed_agent_id, session_id, install_id, slack_conversation_key,
    channel_id, thread_ts, effect_key, kind, body, claim_epoch, attempts, unclear, created_at
"""


async def claim(
    connection: Connection, wanted: Due, owner: str, limit: timedelta
) -> Delivery | None:
    """Takes a delivery by compare-and-set; None if it is not to be had.

    Positions are given under the session's row lock, so an earlier write is visible whenever a
    later one is, and none that has ended opens again: looking here, without a lock, is safe.
    """
    row = await connection.fetchrow(
        _CLAIM, wanted.deployed_agent_id, wanted.delivery_id, owner, limit
    )
    return Delivery(**row) if row else None


# $1 agent, $2 deliveries, $3 owner, $4 how long the attempts may take
_CLAIM_SOME = """
WITH wanted AS (
    SELECT o.deployed_agent_id, o.delivery_id FROM slack_outbox o
    WHERE o.deployed_agent_id = $1 AND o.delivery_id = ANY($2::uuid[]) AND o.not_before <= now()
      AND (o.state = 'pending' OR o.state = 'sending' AND o.deadline < now())
      AND (o.lane = 'side' OR NOT EXISTS (
          SELECT FROM slack_outbox p
          WHERE p.deployed_agent_id = $1 AND p.session_id = o.session_id
            AND p.lane = o.lane AND p.lane <> 'side' AND p.position < o.position
            AND p.ended_at IS NULL AND p.state IN ('pending', 'sending')))
    FOR NO KEY UPDATE OF o SKIP LOCKED
)
UPDATE slack_outbox o
SET state = 'sending', claimed_by = $3, claim_epoch = o.claim_epoch + 1,
    deadline = now() + $4::interval, attempts = o.attempts + 1,
    unclear = o.unclear OR o.state = 'sending'
FROM wanted w
WHERE o.deployed_agent_id = $1 AND o.delivery_id = w.delivery_id
RETURNING o.delivery_id, o.deployed_agent_id, o.session_id, o.install_id, o.slack_conversation_key,
    o.channel_id, o.thread_ts, o.effect_key, o.kind, o.body, o.claim_epoch, o.attempts, o.unclear,
    o.created_at
"""


async def claim_some(
    connection: Connection, agent_id: UUID, wanted: list[UUID], owner: str, limit: timedelta
) -> list[Delivery]:
    """As `claim`, of several deliveries of one agent; it waits for no row that somebody holds."""
    rows = await connection.fetch(_CLAIM_SOME, agent_id, wanted, owner, limit)
    return [Delivery(**row) for row in rows]


# $1 agent, $2 delivery, $3 claim epoch, $4 ts
_SENT = """
UPDATE slack_outbox
SET state = 'sent', slack_ts = $4, deadline = NULL, claimed_by = NULL, unclear = false,
    ended_at = now(), error = NULL
WHERE deployed_agent_id = $1 AND delivery_id = $2 AND claim_epoch = $3 AND state = 'sending'
"""


async def mark_sent(connection: Connection, delivery: Delivery, slack_ts: str | None) -> bool:
    """Sending → sent; False when another claim has passed this one."""
    done = await connection.execute(
        _SENT, delivery.deployed_agent_id, delivery.delivery_id, delivery.claim_epoch, slack_ts
    )
    return done == "UPDATE 1"


# $1 agent, $2 delivery, $3 after how long
_LOOK_AGAIN = """
UPDATE slack_outbox SET look_again_at = now() + $3::interval
WHERE deployed_agent_id = $1 AND delivery_id = $2
"""


async def look_again(connection: Connection, delivery: Delivery, after: timedelta) -> None:
    """Asks for a later look at a delivery: it may stand in Slack twice."""
    await connection.execute(_LOOK_AGAIN, delivery.deployed_agent_id, delivery.delivery_id, after)


@dataclass(frozen=True, slots=True)
class Doubtful:
    """A delivery that is `sent` and may stand in Slack twice; `slack_ts` is the message we know."""

    delivery_id: UUID
    deployed_agent_id: UUID
    install_id: UUID
    channel_id: str
    thread_ts: str | None
    slack_ts: str
    created_at: datetime
    ended_at: datetime


# $1 how many at the most
_DOUBTED = """
SELECT deployed_agent_id, delivery_id FROM slack_outbox
WHERE look_again_at <= now() ORDER BY look_again_at LIMIT $1
"""
# $1 agent, $2 deliveries, $3 when they come again if nobody has looked by then
_PUT_OFF = """
UPDATE slack_outbox SET look_again_at = now() + $3::interval
WHERE deployed_agent_id = $1 AND delivery_id = ANY(ARRAY(
    SELECT delivery_id FROM slack_outbox
    WHERE deployed_agent_id = $1 AND delivery_id = ANY($2::uuid[]) AND look_again_at <= now()
    FOR NO KEY UPDATE SKIP LOCKED))
RETURNING delivery_id, deployed_agent_id, install_id, channel_id, thread_ts, slack_ts, created_at,
    ended_at
"""


async def doubtful(connection: Connection, limit: int, put_off: timedelta) -> list[Doubtful]:
    """Deliveries to look at now; nobody else is given them for a while."""
    taken: list[Doubtful] = []
    for agent_id, rows in by_agent(await connection.fetch(_DOUBTED, limit)):
        ids = [row["delivery_id"] for row in rows]
        given = await connection.fetch(_PUT_OFF, agent_id, ids, put_off)
        taken += [Doubtful(**row) for row in given]
    return taken


# $1 agent, $2 delivery, $3 ts
_LOOKED_AGAIN = """
UPDATE slack_outbox SET look_again_at = NULL, slack_ts = $3
WHERE deployed_agent_id = $1 AND delivery_id = $2
"""


async def looked_again(connection: Connection, one: Doubtful, slack_ts: str) -> None:
    """Done: the message of that ts stays."""
    await connection.execute(_LOOKED_AGAIN, one.deployed_agent_id, one.delivery_id, slack_ts)


# $1 agent, $2 delivery, $3 claim epoch, $4 wait, $5 error, $6 unclear
_RETRY = """
UPDATE slack_outbox
SET state = 'pending', not_before = now() + $4::interval, deadline = NULL, claimed_by = NULL,
    error = $5, unclear = $6
WHERE deployed_agent_id = $1 AND delivery_id = $2 AND claim_epoch = $3 AND state = 'sending'
"""


async def retry(
    connection: Connection, delivery: Delivery, wait: timedelta, error: str, *, unclear: bool
) -> None:
    """Sending → pending, to be looked at again after `wait`."""
    await connection.execute(
        _RETRY,
        delivery.deployed_agent_id,
        delivery.delivery_id,
        delivery.claim_epoch,
        wait,
        error,
        unclear,
    )


# $1 agent, $2 delivery, $3 claim epoch, $4 error
_BURY = """
UPDATE slack_outbox
SET state = 'dead', deadline = NULL, claimed_by = NULL, ended_at = now(), error = $4
WHERE deployed_agent_id = $1 AND delivery_id = $2 AND claim_epoch = $3 AND state = 'sending'
"""


async def bury(connection: Connection, delivery: Delivery, error: str) -> bool:
    """Sending → dead: it can never succeed, and must not block its thread; False if not ours now."""
    done = await connection.execute(
        _BURY, delivery.deployed_agent_id, delivery.delivery_id, delivery.claim_epoch, error
    )
    return done == "UPDATE 1"


# $1 agent, $2 session
_ANY_REPLY_OPEN = """
SELECT EXISTS (SELECT FROM slack_outbox WHERE deployed_agent_id = $1 AND session_id = $2
               AND lane = 'reply' AND ended_at IS NULL
               AND state IN ('pending', 'sending'))
"""


async def any_reply_open(connection: Connection, of: Lease | Delivery) -> bool:
    """True if an answer, or what ended a turn without one, is still to be delivered."""
    found: bool = await connection.fetchval(_ANY_REPLY_OPEN, of.deployed_agent_id, of.session_id)
    return found


# $1 agent, $2 session, $3 delivery
_ANY_REPLY_AFTER = """
SELECT EXISTS (SELECT FROM slack_outbox WHERE deployed_agent_id = $1 AND session_id = $2
               AND lane = 'reply' AND ended_at IS NULL
               AND state IN ('pending', 'sending') AND delivery_id <> $3)
"""


async def any_reply_after(connection: Connection, delivery: Delivery) -> bool:
    """True if the session has more to say once this one, the first in its line, is delivered."""
    found: bool = await connection.fetchval(
        _ANY_REPLY_AFTER, delivery.deployed_agent_id, delivery.session_id, delivery.delivery_id
    )
    return found


# Its own line (OFFSET 0), however few deliveries PostgreSQL takes to be open: it might read all of them.
# $1 agent, $2 delivery
_OVERTAKEN = """
SELECT EXISTS (
    SELECT FROM slack_outbox o
    WHERE o.deployed_agent_id = $1 AND o.delivery_id = $2 AND EXISTS (
        SELECT FROM slack_outbox n
        WHERE n.deployed_agent_id = $1 AND n.session_id = o.session_id AND n.lane = o.lane
          AND n.lane <> 'side' AND n.position > o.position AND n.kind = 'update'
          AND n.ended_at IS NULL AND n.state IN ('pending', 'sending') OFFSET 0))
"""


async def is_overtaken(connection: Connection, delivery: Delivery) -> bool:
    """True for an update that another one of the same message stands behind."""
    found: bool = await connection.fetchval(
        _OVERTAKEN, delivery.deployed_agent_id, delivery.delivery_id
    )
    return found


# $1 agent, $2 session, $3 effect
_TS = """
SELECT slack_ts FROM slack_outbox
WHERE deployed_agent_id = $1 AND session_id = $2 AND effect_key = $3
"""


async def ts_of(connection: Connection, of: Delivery | Place, effect_key: str) -> str | None:
    """The message that another write of the same session became; None if it became none."""
    found: str | None = await connection.fetchval(
        _TS, of.deployed_agent_id, of.session_id, effect_key
    )
    return found


# ------------------------------------------------------------------ what operators ask

# $1 how far back
_DEAD = """
SELECT error, count(*) AS count FROM slack_outbox
WHERE state = 'dead' AND error IS NOT NULL AND ended_at > now() - $1::interval
GROUP BY error ORDER BY count(*) DESC
"""


async def dead_by_error(connection: Connection, since: timedelta) -> dict[str, int]:
    """How many deliveries were buried lately, by reason."""
    return {row["error"]: row["count"] for row in await connection.fetch(_DEAD, since)}

"""Permits for requests, spent by all replicas: a row per install and Slack method, or runtime key.

The row holds the time until which permits are spent at the steady rate. A permit is to be had while
that lies no further ahead than the burst allows, so that in any minute no more are given than the
limit is: burst and steady rate together are the limit (docs.slack.dev/apis/web-api/rate-limits; for
the runtime platform.claude.com/docs/en/managed-agents/reference).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from store.database import Connection

# $1 install, $2 method, $3 now, $4 the time that these permits stand for, $5 the burst as time
_TAKE = """
INSERT INTO slack_budgets AS b (install_id, method, spent_until)
VALUES ($1, $2, $3::timestamptz + $4::interval)
ON CONFLICT (install_id, method) DO UPDATE
SET spent_until = GREATEST(b.spent_until, $3::timestamptz) + $4::interval
WHERE GREATEST(b.spent_until, $3::timestamptz) + $4::interval <= $3::timestamptz + $5::interval
RETURNING b.spent_until
"""


async def take(  # what a permit is made of
    connection: Connection,
    install_id: UUID,
    method: str,
    now: datetime,
    cost: timedelta,
    burst: timedelta,
) -> bool:
    """Takes permits that stand for `cost` of time; False when they are not to be had now."""
    return await connection.fetchval(_TAKE, install_id, method, now, cost, burst) is not None


# $1 install, $2 method, $3 until when
_EMPTY = """
INSERT INTO slack_budgets AS b (install_id, method, spent_until) VALUES ($1, $2, $3)
ON CONFLICT (install_id, method) DO UPDATE
SET spent_until = GREATEST(b.spent_until, excluded.spent_until)
"""


async def empty(connection: Connection, install_id: UUID, method: str, until: datetime) -> None:
    """Spends every permit until then: Slack asked everybody to wait."""
    await connection.execute(_EMPTY, install_id, method, until)


# ------------------------------------------------------------------ the runtime's


Kind = Literal["read", "create", "look"]


@dataclass(frozen=True, slots=True)
class Taken:
    """How many permits were given, and in how many seconds there will be another one."""

    count: int
    wait: float


# $1 hashed key, $2 kind, $3 how many are wanted, $4 the time that one stands for, $5 how far ahead
_TAKE_SOME = """
WITH mine AS (
    SELECT spent_until FROM runtime_budgets WHERE key_hash = $1 AND kind = $2 FOR NO KEY UPDATE
), read AS (
    SELECT spent_until, clock_timestamp() AS now FROM mine
), given AS (
    SELECT GREATEST(spent_until, now) AS spent, now + $5::interval AS furthest,
        GREATEST(0, LEAST($3::int, floor(
            extract(epoch FROM now + $5::interval - GREATEST(spent_until, now))
            / extract(epoch FROM $4::interval))))::int AS count
    FROM read
)
UPDATE runtime_budgets b
SET spent_until = CASE WHEN count > 0 THEN spent + count * $4::interval ELSE spent_until END
FROM given WHERE b.key_hash = $1 AND b.kind = $2
RETURNING count,
    GREATEST(0, extract(epoch FROM b.spent_until + $4::interval - furthest))::float AS wait
"""


async def take_some(  # what permits are made of
    connection: Connection,
    key_hash: bytes,
    kind: Kind,
    wanted: int,
    each: timedelta,
    ahead: timedelta,
) -> Taken:
    """Takes as many of the wanted permits as there are, by PostgreSQL's clock."""
    row = await connection.fetchrow(_TAKE_SOME, key_hash, kind, wanted, each, ahead)
    if row is None:
        await connection.execute(_OPEN, key_hash, kind)
        row = await connection.fetchrow(_TAKE_SOME, key_hash, kind, wanted, each, ahead)
    assert row is not None  # noqa: S101  # rows are never deleted
    return Taken(**row)


# $1 hashed key, $2 kind
_OPEN = """
INSERT INTO runtime_budgets (key_hash, kind, spent_until) VALUES ($1, $2, now())
ON CONFLICT DO NOTHING
"""

# $1 hashed key, $2 kind, $3 for how long
_EMPTY_FOR = """
INSERT INTO runtime_budgets AS b (key_hash, kind, spent_until)
VALUES ($1, $2, clock_timestamp() + $3::interval)
ON CONFLICT (key_hash, kind) DO UPDATE
SET spent_until = GREATEST(b.spent_until, excluded.spent_until)
"""


async def empty_for(connection: Connection, key_hash: bytes, kind: Kind, ahead: timedelta) -> None:
    """Spends every permit of that long from now: the runtime asked everybody to wait."""
    await connection.execute(_EMPTY_FOR, key_hash, kind, ahead)

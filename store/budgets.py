"""Permits for Slack's methods, spent by all replicas from one row per install and method.

The row holds the time until which permits are spent at the steady rate. A permit is to be had while
that lies no further ahead than the burst allows, so that in any minute no more are given than the
tier has: burst and steady rate together are the tier (docs.slack.dev/apis/web-api/rate-limits).
"""

from datetime import datetime, timedelta
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

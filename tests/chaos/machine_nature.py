"""What nobody does: others misbehave, leases run out, time passes."""

from datetime import timedelta
from typing import Any

import asyncpg

from tests.chaos.machine_replicas import Replicas, is_worn
from tests.harness import World


class Nature:
    """Faults of Slack and of the runtime, and the time of Slack, the runtime and PostgreSQL."""

    def __init__(
        self,
        here: World,
        database: "asyncpg.Connection[asyncpg.Record]",
        replicas: Replicas,
    ) -> None:
        self._here, self._database, self._replicas = here, database, replicas
        self._trailed: set[str] = set()

    async def slack_fault(self, fault: tuple[Any, str | None], times: int) -> None:
        """Slack misbehaves. Only one listing ever trails: two looks see through that."""
        kind, method = fault
        if kind == "stale":
            times = self._once("slack")
        seconds = 0.2 if kind == "reorder" else 1.0
        if times:
            self._here.slack.fault(kind, method=method, seconds=seconds, times=times)

    async def runtime_fault(self, fault: tuple[Any, str], times: int) -> None:
        """The runtime misbehaves; as above."""
        kind, route = fault
        if kind == "history_lag":
            times = self._once("runtime")
        wait = 1.0 if kind in ("rate_limit", "overloaded") else None
        if times:
            self._here.runtime.fault(kind, route=route, times=times, seconds=0.3, retry_after=wait)

    def _once(self, whose: str) -> int:
        if whose in self._trailed:
            return 0
        self._trailed.add(whose)
        return 1

    async def hold(self) -> None:
        """The model does not answer."""
        self._here.runtime.hold()

    async def release(self) -> None:
        """The model answers again."""
        self._here.runtime.release()

    async def lose_leases(self) -> None:
        """Every lease runs out at PostgreSQL; those who hold them do not know."""
        if not await is_worn(self._here):
            for row in await self._database.fetch(_SESSIONS):
                await self._database.execute(_LEASE_OVER, row["id"])

    async def advance(self, seconds: float, *, fair: bool = False) -> None:
        """Time passes for Slack, the runtime and PostgreSQL, though not for who holds a lease.

        An attempt at Slack that is under way keeps its deadline, which is its own too. `fair`: who
        is alive has renewed its leases meanwhile.
        """
        if not fair and await is_worn(self._here):
            return
        by, alive = timedelta(seconds=seconds), self._replicas.alive
        for row in await self._database.fetch(_SESSIONS):
            # As everybody does, the session first: nobody waits for another then.
            async with self._database.transaction():
                await self._database.execute(_SESSION_LATER, row["id"], by, alive if fair else [])
                await self._database.execute(_INPUTS_LATER, row["id"], by)
                await self._database.execute(_LOOKS_LATER, row["id"], by)
        await self._database.execute(_DELIVERIES_LATER, by, alive)
        for later in (_SLACK_LATER, _RUNTIME_LATER):
            await self._database.execute(later, by)
        self._here.slack.advance(seconds)
        self._here.runtime.advance(seconds)


_SESSIONS = "SELECT id FROM agent_sessions"

# $1 session
_LEASE_OVER = """
UPDATE agent_sessions SET lease_expires_at = now() - interval '1 ms'
WHERE id = $1 AND lease_owner IS NOT NULL
"""

# $1 session, $2 by how much, $3 whose leases stay
_SESSION_LATER = """
UPDATE agent_sessions
SET ready_at = ready_at - $2::interval, updated_at = updated_at - $2::interval,
    lease_expires_at = lease_expires_at
        - CASE WHEN lease_owner = ANY($3::text[]) THEN interval '0' ELSE $2::interval END
WHERE id = $1
"""

# $1 by how much, $2 who is alive
_DELIVERIES_LATER = """
UPDATE slack_outbox
SET not_before = not_before - $1::interval,
    deadline = deadline
        - CASE WHEN claimed_by = ANY($2::text[]) THEN interval '0' ELSE $1::interval END
WHERE state IN ('pending', 'sending')
"""

# $1 session, $2 by how much
_INPUTS_LATER = """
UPDATE session_inputs SET sending_deadline = sending_deadline - $2::interval
WHERE session_id = $1 AND state = 'sending'
"""

# $1 session, $2 by how much
_LOOKS_LATER = """
UPDATE agent_turns SET looked_at = looked_at - $2::interval
WHERE session_id = $1 AND state = 'awaiting_human'
"""

# $1 by how much
_SLACK_LATER = "UPDATE slack_budgets SET spent_until = spent_until - $1::interval"

# $1 by how much
_RUNTIME_LATER = "UPDATE runtime_budgets SET spent_until = spent_until - $1::interval"

"""Keeps an eye on what waits for people: what was decided elsewhere, and what time has come for.

A call can be decided in the runtime's own console, or by an interrupt of somebody else. So waiting
turns are compared with the runtime, oldest look first, all replicas together at one pace; where the
two disagree, a holder reads the whole and closes what is over (docs: "requires_action" waits without
limit). Cards run out, people are reminded and called again, each once by a compare-and-set.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog

from router import humans
from router.behaviour import Escalations
from router.errors import RuntimeFailure, RuntimeGone
from router.humans import OnNotice
from router.loops import Stop, every
from router.runtime.budget import Need
from router.turns.engine import Engine
from store import approvals, budgets, calls, database, escalations, outbox, turns
from store.approvals import Approval
from store.escalations import Escalation
from store.leases import Ready
from store.outbox import Effect
from store.turns import Awaiting

_log = structlog.get_logger(__name__)

_PACE = hashlib.sha256(b"looks at turns that wait for people").digest()
_AT_ONCE = 5
_DUE = 100


@dataclass(frozen=True, slots=True)
class Pace:
    """How many waiting turns all replicas together read in a minute, and none of them sooner again."""

    per_minute: float = 60.0
    least_age: timedelta = timedelta(seconds=30)

    @property
    def each(self) -> timedelta:
        """The time that one look stands for."""
        return timedelta(seconds=60 / self.per_minute)


class Waits:
    """Looks at what waits. `tell_age` hears how long ago the oldest look was, in seconds."""

    def __init__(
        self, engine: Engine, on_notice: OnNotice, tell_age: Callable[[float], None], pace: Pace
    ) -> None:
        self._pool = engine.pool
        self._runtime = engine.runtime
        self._on_ready = engine.on_released
        self._on_notice = on_notice
        self._tell_age = tell_age
        self._pace = pace

    async def run(self, stop: Stop, seconds: float) -> None:
        """Looks about every so many seconds, until `stop`."""
        await every(seconds, self.round, stop)

    async def round(self) -> None:
        """All that is due now."""
        await self.compare()
        await self.run_out()
        await self.call_again()

    # -------------------------------------------------------------- decided elsewhere

    async def compare(self) -> None:
        """Compares some waiting turns with the runtime; those that differ get a holder."""
        async with database.borrow(self._pool) as connection:
            self._tell_age((await turns.oldest_look(connection)).total_seconds())
            wanted = await turns.unread(connection, self._pace.least_age, _AT_ONCE)
            if not wanted:
                return
            ahead = self._pace.each * _AT_ONCE
            given = await budgets.take_some(
                connection, _PACE, "look", wanted, self._pace.each, ahead
            )
            looks = await turns.take_a_look(connection, self._pace.least_age, given.count)
        for one in looks:
            await self._compare(one)

    async def _compare(self, one: Awaiting) -> None:
        try:
            held = await self._runtime.held_calls(Need.VIEW, one.anthropic_session_id)
        except RuntimeGone:
            held = None
        except RuntimeFailure as error:
            _log.info("awaiting.unread", session_id=str(one.session_id), error=str(error))
            return
        agent = one.deployed_agent_id
        async with database.borrow(self._pool) as connection, connection.transaction():
            rows = await approvals.of_turn(connection, agent, one.turn_id)
            asked = await escalations.of_turn(connection, agent, one.turn_id)
            ours = {r.runtime_event_id for r in rows if r.state in ("pending", "expired")}
            ours |= {q.runtime_event_id for q in asked if q.state == "pending"}
            if held == ours:
                return
            _log.info("awaiting.disagrees", session_id=str(one.session_id))
            await calls.wake(connection, agent, one.session_id)
        self._on_ready([Ready(agent, one.session_id)])

    # -------------------------------------------------------------- time

    async def run_out(self) -> None:
        """Reminds of approvals whose time comes, and ends those whose time has come."""
        async with database.borrow(self._pool) as connection:
            due = await approvals.due(connection, _DUE)
        for one in due:
            async with database.borrow(self._pool) as connection, connection.transaction():
                await calls.lock(connection, one.deployed_agent_id, one.session_id)
                if not await self._expire(connection, one):
                    await self._remind(connection, one)
        if due:
            self._on_notice()

    async def _expire(self, connection: database.Connection, one: Approval) -> bool:
        if await approvals.expire(connection, one) is None:
            return False
        expired = await approvals.get(connection, one.deployed_agent_id, one.id)
        assert expired is not None  # noqa: S101  # approvals are never deleted
        await humans.record(connection, expired, "expired")
        await humans.write_cards(connection, expired, humans.update(expired))
        return True

    async def _remind(self, connection: database.Connection, one: Approval) -> None:
        if await approvals.reminded(connection, one):
            await humans.record(connection, one, "reminded")
            await humans.write_cards(connection, one, humans.reminder(one, one.card_no))

    async def call_again(self) -> None:
        """Calls people again to questions that nobody has answered."""
        async with database.borrow(self._pool) as connection:
            due = await escalations.due(connection, _DUE)
        for one in due:
            async with database.borrow(self._pool) as connection, connection.transaction():
                await calls.lock(connection, one.deployed_agent_id, one.session_id)
                await self._call(connection, one)
        if due:
            self._on_notice()

    async def _call(self, connection: database.Connection, one: Escalation) -> None:
        settings = Escalations(ping_minutes=tuple(one.policy.get("pings") or ()))
        number = one.pings + 1
        if not await escalations.pinged(connection, one, settings.ping(number)):
            return
        await humans.record(connection, one, "called again", None, str(number))
        await humans.write_cards(connection, one, humans.reminder(one, number))
        there = humans.channel_of(one)
        if there is not None:
            effects: list[Effect] = [humans.reminder(one, number, humans.CHANNEL)]
            await outbox.add(connection, there, effects)

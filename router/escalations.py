"""Escalations: the door by which people answer an agent's questions, the same from everywhere."""

from uuid import UUID

from router import humans, policy, tools
from router.humans import Clicker, OnNotice, OnReady, Outcome, Ref
from store import calls, database, escalations, inputs
from store.database import Connection, Pool
from store.escalations import Escalation
from store.leases import Ready

TOOL = tools.ESCALATE
_SECONDS = 1.5
_ANSWER = 10_000


class Escalations:
    """Takes answers. `on_ready` hears of sessions to go on, `on_notice` of cards to write.

    Every method raises the database's errors: then nothing is known, and asking again does no harm.
    """

    def __init__(self, pool: Pool, on_ready: OnReady, on_notice: OnNotice) -> None:
        self._pool = pool
        self._on_ready = on_ready
        self._on_notice = on_notice

    async def answer(self, ref: Ref, text: str, who: Clicker) -> Outcome:
        """Takes an answer; the first one counts. It goes to the agent with the name of who gave it."""
        return await self._decided(ref, who, text)

    async def cancel(self, ref: Ref, who: Clicker) -> Outcome:
        """Takes the question away: the agent is told that nobody will answer."""
        return await self._decided(ref, who, None)

    async def _decided(self, ref: Ref, who: Clicker, text: str | None) -> Outcome:
        async with database.within(self._pool, _SECONDS) as connection, connection.transaction():
            outcome = await decide(connection, ref.deployed_agent_id, ref.id, who, text)
        if outcome.kind == "decided" and outcome.asked is not None:
            self._on_ready([Ready(outcome.asked.deployed_agent_id, outcome.asked.session_id)])
        self._on_notice()
        return outcome


async def decide(
    connection: Connection, agent_id: UUID, escalation_id: UUID, who: Clicker, text: str | None
) -> Outcome:
    """Answers or, without a text, cancels; in the caller's transaction, session first."""
    found = await escalations.get(connection, agent_id, escalation_id)
    if found is None:
        return Outcome("unknown")
    await calls.lock(connection, agent_id, found.session_id)
    found = await humans.reread(connection, found)
    if why := policy.objection(found.policy["who"], found.requesters, who.standing):
        await humans.record(connection, found, "refused", who.actor, why)
        return Outcome("refused", found, why)
    done = await (
        humans.cancel(connection, found, who.actor)
        if text is None
        else _answer(connection, found, text.strip()[:_ANSWER], who)
    )
    if not done:
        await humans.record(connection, found, "late", who.actor, found.state)
        return Outcome("late", found)
    await calls.wake(connection, agent_id, found.session_id)
    return Outcome("decided", await humans.reread(connection, found))


async def _answer(connection: Connection, found: Escalation, text: str, who: Clicker) -> bool:
    if await escalations.answer(connection, found, text, who.actor.stored()) is None:
        return False
    newest = await humans.reread(connection, found)
    await humans.record(connection, newest, "answered", who.actor)
    told = {"status": "answered", "answer": text, "answered_by": who.actor.name}
    await inputs.add(connection, [humans.decision(newest, humans.result(told))])
    await humans.write_everywhere(connection, newest)
    return True

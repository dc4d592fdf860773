"""Approvals: the door by which people decide on held calls, the same from Slack, REST and dashboard.

One transaction each, which first locks the session's row, as its holder's writes do: so a decision
and an end of the turn never cross. Policy is judged inside, on the row's own policy.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from router import humans, policy
from router.behaviour import Policy
from router.humans import Clicker, OnNotice, OnReady, Outcome, Ref
from router.tools import is_slack
from store import approvals, calls, database, escalations, inputs
from store.approvals import Approval, Verdict
from store.database import Connection, Pool
from store.inputs import NewInput
from store.leases import Ready

_SECONDS = 1.5
_REASON = 1_000
_UNKNOWN = Outcome("unknown")

DENIED = "A person declined this call. Do not try it again in another way; go on without it."
CHANGED_COURSE = (
    "Declined: a new message of the person changes what is wanted. Stop here and wait for it."
)


class Approvals:
    """Decides. `on_ready` hears of sessions to go on, `on_notice` of cards to write.

    Every method raises the database's errors: then nothing is known, and asking again does no harm.
    """

    def __init__(self, pool: Pool, on_ready: OnReady, on_notice: OnNotice) -> None:
        self._pool = pool
        self._on_ready = on_ready
        self._on_notice = on_notice

    async def decide(
        self,
        ref: Ref,
        verdict: Verdict,
        who: Clicker,
        *,
        reason: str | None = None,
        remember: bool = False,
    ) -> Outcome:
        """Takes a decision; the first valid one counts, or the vote that completes the quorum.

        `remember` lets later calls of the tool pass in this thread, as far as its policy allows.
        """
        wish = Wish(verdict, reason, remember)
        async with database.within(self._pool, _SECONDS) as connection, connection.transaction():
            outcome = await decide(connection, ref, wish, who)
        self._tell(outcome)
        return outcome

    async def ask_again(self, ref: Ref, who: Clicker) -> Outcome:
        """A new card for a call whose card ran out. Who may decide may ask, and whom it is for."""
        async with database.within(self._pool, _SECONDS) as connection, connection.transaction():
            outcome = await ask_again(connection, ref, who)
        if outcome.kind == "decided":
            self._on_notice()
        return outcome

    async def change_course(self, agent_id: UUID, turn_id: UUID, who: Clicker) -> Outcome:
        """Denies all that a turn waits for, so that the messages behind it are read.

        Only for somebody who may decide on all of it; otherwise nothing changes.
        """
        async with database.within(self._pool, _SECONDS) as connection, connection.transaction():
            if not (everything := await _open_in(connection, agent_id, turn_id)):
                return Outcome("late")
            first = everything[0]
            await calls.lock(connection, agent_id, first.session_id)
            if not (everything := await _open_in(connection, agent_id, turn_id)):
                return Outcome("late", first)
            for one in everything:
                if why := policy.objection(one.policy["who"], one.requesters, who.standing):
                    return await _refused(connection, one, who, why)
            for one in everything:
                if isinstance(one, Approval):
                    await _deny_open(connection, one, who)
                else:
                    await humans.cancel(connection, one, who.actor)
            await calls.wake(connection, agent_id, first.session_id)
            outcome = Outcome("decided", first)
        self._tell(outcome)
        return outcome

    def _tell(self, outcome: Outcome) -> None:
        if outcome.asked is not None and outcome.kind == "decided":
            self._on_ready([Ready(outcome.asked.deployed_agent_id, outcome.asked.session_id)])
        self._on_notice()


# ------------------------------------------------------------------ inside the transaction


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody decides; `Approvals.decide` says what its parts mean."""

    verdict: Verdict
    reason: str | None = None
    remember: bool = False


async def decide(connection: Connection, ref: Ref, wish: Wish, who: Clicker) -> Outcome:
    """As `Approvals.decide`, in the caller's transaction; the caller tells who has to hear of it."""
    found = await _locked(connection, ref)
    if found is None:
        return _UNKNOWN
    outcome = await _judged(connection, found, ref, who)
    if outcome is None:
        outcome = await _take(connection, found, wish.verdict, who, _short(wish.reason))
    if outcome.kind == "decided" and wish.verdict == "allow" and wish.remember:
        await _remember(connection, found, who)
    return outcome


async def ask_again(connection: Connection, ref: Ref, who: Clicker) -> Outcome:
    """As `Approvals.ask_again`, in the caller's transaction."""
    found = await _locked(connection, ref)
    if found is None:
        return _UNKNOWN
    if found.state != "expired" or found.card_no != ref.card_no:
        return Outcome("late", found)
    who_may = [*found.policy["who"], "requester"]
    if why := policy.objection(who_may, found.requesters, who.standing):
        return await _refused(connection, found, who, why)
    again = await renew(connection, found, found.arguments, found.arguments_hash)
    await humans.record(connection, again, "reissued", who.actor)
    return Outcome("decided", again)


async def _open_in(connection: Connection, agent_id: UUID, turn_id: UUID) -> list[humans.Asked]:
    """All that a turn waits for people with."""
    waiting = await approvals.of_turn(connection, agent_id, turn_id)
    questions = await escalations.of_turn(connection, agent_id, turn_id)
    asked: list[humans.Asked] = [a for a in waiting if a.state in ("pending", "expired")]
    return asked + [q for q in questions if q.state == "pending"]


async def _locked(connection: Connection, ref: Ref) -> Approval | None:
    """The approval as it is under its session's lock."""
    found = await approvals.get(connection, ref.deployed_agent_id, ref.id)
    if found is None:
        return None
    await calls.lock(connection, found.deployed_agent_id, found.session_id)
    return await approvals.get(connection, ref.deployed_agent_id, ref.id)


async def _judged(
    connection: Connection, found: Approval, ref: Ref, who: Clicker
) -> Outcome | None:
    """What stands in the way of a decision, if something does."""
    if why := policy.objection(found.policy["who"], found.requesters, who.standing):
        return await _refused(connection, found, who, why)
    if found.state != "pending" or found.card_no != ref.card_no:
        await humans.record(connection, found, "late", who.actor, found.state)
        return Outcome("late", found)
    return None


async def _refused(connection: Connection, asked: humans.Asked, who: Clicker, why: str) -> Outcome:
    await humans.record(connection, asked, "refused", who.actor, why)
    return Outcome("refused", asked, why)


async def _take(
    connection: Connection, found: Approval, verdict: Verdict, who: Clicker, reason: str | None
) -> Outcome:
    if verdict == "allow":
        person = f"{who.actor.team or ''}/{who.actor.user}"
        votes = await approvals.vote(connection, found, person, who.actor.stored())
        if len(votes.voters) < int(found.policy["quorum"]):
            return await _counted(connection, found, who, counted=votes.counted)
    revision = await approvals.decide(connection, found, verdict, who.actor.stored(), reason)
    if revision is None:
        return Outcome("late", found)
    decided = await _reread(connection, found)
    await humans.record(connection, decided, decided.state, who.actor, reason or "")
    await inputs.add(connection, told_of(decided, answer_of(verdict, reason)))
    await humans.write_cards(connection, decided, humans.update(decided))
    await calls.wake(connection, decided.deployed_agent_id, decided.session_id)
    return Outcome("decided", decided)


async def _counted(
    connection: Connection, found: Approval, who: Clicker, *, counted: bool
) -> Outcome:
    """One vote of several; a second one of the same person changes nothing."""
    if not counted:
        return Outcome("late", found)
    revised = await approvals.revise(connection, found)
    await humans.record(connection, revised, "voted", who.actor)
    await humans.write_cards(connection, revised, humans.update(revised))
    return Outcome("counted", revised)


async def _remember(connection: Connection, found: Approval, who: Clicker) -> None:
    allowed = found.policy["remember"]
    if allowed != "no":
        stored = who.actor.stored()
        await approvals.grant(connection, found, stored, any_arguments=allowed == "tool")
        await humans.record(connection, found, "remembered", who.actor, allowed)


async def _deny_open(connection: Connection, found: Approval, who: Clicker) -> None:
    """Denies what waits, an expired card too."""
    revision = await approvals.decide(
        connection, found, "deny", who.actor.stored(), None, expired=True
    )
    if revision is not None:
        denied = await _reread(connection, found)
        await humans.record(connection, denied, "denied", who.actor, "changed course")
        answer = {"result": "deny", "says": CHANGED_COURSE}
        await inputs.add(connection, told_of(denied, answer))
        await humans.write_cards(connection, denied, humans.update(denied))


async def _reread(connection: Connection, found: Approval) -> Approval:
    newest = await approvals.get(connection, found.deployed_agent_id, found.id)
    assert newest is not None  # noqa: S101  # approvals are never deleted
    return newest


def answer_of(verdict: Verdict, reason: str | None) -> dict[str, Any]:
    """What the runtime is told of a decision: `deny_message` only with a denial."""
    if verdict == "allow":
        return {"result": "allow", "says": None}
    return {"result": "deny", "says": f"{DENIED} They said: {reason}" if reason else DENIED}


def told_of(decided: Approval, answer: dict[str, Any]) -> list[NewInput]:
    """What goes to the runtime for a decision: nothing yet where Threadline makes the call itself.

    Then the answer is what comes of the call (router.turns.tools), or that it was declined.
    """
    if not is_slack(decided.tool, decided.server):
        return [humans.decision(decided, answer)]
    if answer["result"] == "allow":
        return []
    said = {"status": "declined", "message": answer["says"]}
    return [humans.decision(decided, humans.result(said, is_error=True))]


async def renew(
    connection: Connection, found: Approval, arguments: dict[str, Any], arguments_hash: bytes
) -> Approval:
    """Asks again on a new card, and says on the old one that it is replaced."""
    rule = Policy.model_validate(found.policy)
    again = await approvals.ask_again(
        connection, found, arguments, arguments_hash, rule.remind, rule.expire
    )
    if again is None:
        return found
    old = humans.update(again, card_no=found.card_no)
    await humans.write_cards(connection, again, old, humans.card(again))
    return again


def _short(reason: str | None) -> str | None:
    text = (reason or "").strip()
    return text[:_REASON] or None

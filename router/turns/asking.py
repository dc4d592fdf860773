"""What a turn asks of people, on its holder's side: the asking, and what becomes of decisions.

  ask       each held call: a row and its card, a question, or an answer at once; then the turn awaits
            a human and its lease ends
  judge     before decisions leave: each only while its call waits, and waits with what was shown
  settle    what left is confirmed; what the runtime took no more is void
  close     what is decided elsewhere, or waits for nothing any more, says so on its card

All of it under the session's lock; see `router.humans` for the states.
"""

from typing import Any
from uuid import UUID

import structlog

from router import approvals as deciding, clock, humans, notices, redaction
from router.approvals import answer_of
from router.escalations import TOOL
from router.humans import by_itself
from router.notices import Trouble, about
from router.ports import Step
from router.tools import is_slack
from router.turns import questions, replies
from router.turns.engine import Append, Engine, Holding, appending, notice
from router.turns.project import HeldCall, Projection
from store import approvals, escalations, inputs, outbox, turns
from store.approvals import Approval, Grant, NewApproval
from store.ids import new_id
from store.inputs import Input, NewInput
from store.leases import Held
from store.outbox import Effect
from store.turns import Turn

_log = structlog.get_logger(__name__)

_OPEN = ("pending", "expired")
_MESSAGES = ["message", "correction"]


async def ask(
    engine: Engine, holding: Holding, turn: Turn, seen: Projection, asked: list[Input]
) -> bool:
    """Asks for what is held. True once nothing is left to do but to wait for people.

    `asked`: the turn's messages; who wrote them are the requesters. Not so while something is on its
    way to the runtime, or a newer idle is: it may hold more.
    """
    calls = seen.held()
    requesters = requesters_of(asked)
    async with appending(engine, holding) as append:
        await close_elsewhere(append, turn, seen)
        rows = await approvals.of_turn(append.connection, holding.held.deployed_agent_id, turn.id)
        known = {row.runtime_event_id: row for row in rows}
        asking = _Asking(append, holding, turn, requesters, known)
        for call in calls:
            await asking.about(call)
        if seen.is_behind():
            return False
        return await _waits_for(append, turn, calls) is not None


def requesters_of(asked: list[Input]) -> list[str]:
    """Whom a turn answers, by the messages that it is about."""
    return sorted({str(i.body["user"]) for i in asked if i.body and i.body.get("user")})


async def pause(  # all that a pause is made of
    engine: Engine,
    holding: Holding,
    turn: Turn,
    seen: Projection,
    asked: list[Input],
    steps: tuple[Step, ...],
) -> bool:
    """Releases the session until somebody decides; False where somebody just did.

    What the turn said so far is written with it; `steps` are the tool calls that are over. The
    preview has ended.
    """
    said = replies.Said(*seen.paused({i.send_key for i in asked}), steps)
    cuts = await replies.cut_long(engine, holding, turn, said)
    async with appending(engine, holding) as append:
        waits_for = await _waits_for(append, turn, seen.held())
        if waits_for is None:
            return False
        effects = await replies.write(append.connection, engine, holding, turn, said, cuts=cuts)
        await append.say(effects)
        await _write_cards(append, turn)
        await turns.await_human(append.connection, append.held.lease, turn.id)
        await _tell_who_waits(append, turn, waits_for)
        again = await append.release(woken=await questions.unread(append, holding))
    _log.info("turn.awaits_human", session_id=str(holding.held.id), turn_id=str(turn.id))
    if again:
        engine.on_released([holding.held.ready])
    return True


async def _waits_for(append: Append, turn: Turn, calls: list[HeldCall]) -> humans.Kind | None:
    """What people have to decide on now; None: all of it is decided, or about to be sent."""
    connection, lease = append.connection, append.held.lease
    if await inputs.any_queued(connection, lease, ["decision"]):
        return None
    held = {call.event_id for call in calls}
    waiting = await approvals.of_turn(connection, lease.deployed_agent_id, turn.id)
    if any(a.state in _OPEN and a.runtime_event_id in held for a in waiting):
        return "approval"
    asked = await escalations.of_turn(connection, lease.deployed_agent_id, turn.id)
    if any(q.state == "pending" and q.runtime_event_id in held for q in asked):
        return "escalation"
    return None


class _Asking:
    """The held calls of one pause, looked at one by one."""

    def __init__(
        self,
        append: Append,
        holding: Holding,
        turn: Turn,
        requesters: list[str],
        known: dict[str, Approval],
    ) -> None:
        self._append = append
        self._holding = holding
        self._turn = turn
        self._requesters = requesters
        self._known = known
        self._grants: list[Grant] | None = None

    async def about(self, call: HeldCall) -> None:
        """Makes sure that somebody is asked about a call, or that it has its answer."""
        if not call.custom:
            await self._approval(call)
        elif call.tool == TOOL:
            await questions.ask(
                self._append,
                self._holding.behaviour.escalations,
                self._turn,
                call,
                self._requesters,
            )
        elif is_slack(call.tool, call.server):
            await self._renewed(call)
        else:
            await self._unserved(call)

    async def _approval(self, call: HeldCall) -> None:
        known = self._known.get(call.event_id)
        if known is None:
            await self.new(call, redaction.shown(call.arguments))
        elif known.state == "void":
            arguments, digest = redaction.shown(call.arguments), redaction.digest(call.arguments)
            await deciding.renew(self._append.connection, known, arguments, digest)
            self._append.wrote = True

    async def _renewed(self, call: HeldCall) -> None:
        """Whether people are asked about a call of our own tools is `router.turns.tools`' to say."""
        known = self._known.get(call.event_id)
        if known is not None and known.state == "void":
            digest = redaction.digest(call.arguments)
            await deciding.renew(self._append.connection, known, known.arguments, digest)
            self._append.wrote = True

    async def new(self, call: HeldCall, shown: dict[str, Any]) -> None:
        """Asks about a call for the first time, unless it was approved for the thread before."""
        digest = redaction.digest(call.arguments)
        granted = await self._granted(call, digest)
        policy = self._holding.behaviour.approvals.of(call.tool, call.server)
        new = NewApproval(
            id=new_id(),
            turn_id=self._turn.id,
            runtime_event_id=call.event_id,
            tool=call.tool,
            server=call.server,
            arguments=shown,
            arguments_hash=digest,
            policy=policy.model_dump(mode="json"),
            requesters=self._requesters,
            remind=policy.remind,
            expire=policy.expire,
            verdict="allow" if granted else None,
            decided_by=granted.granted_by if granted else None,
        )
        connection, held = self._append.connection, self._append.held
        await approvals.add(connection, held, new)
        row = await approvals.get(connection, held.deployed_agent_id, new.id)
        assert row is not None  # noqa: S101  # the fence lets nobody else write of this session
        await humans.record(connection, row, "asked")
        if granted is not None:
            await humans.record(connection, row, "allowed", None, "approved for this thread before")
            await inputs.add(connection, deciding.told_of(row, answer_of("allow", None)))

    async def _granted(self, call: HeldCall, digest: bytes) -> Grant | None:
        """What was approved for the whole thread, if that covers the call and policy still lets it."""
        allowed = self._holding.behaviour.approvals.of(call.tool, call.server).remember
        if allowed == "no":
            return None
        if self._grants is None:
            lease = self._append.held.lease
            self._grants = await approvals.grants(self._append.connection, lease)
        covering = (g for g in self._grants if g.covers(call.tool, call.server, digest))
        return next((g for g in covering if allowed == "tool" or g.arguments_hash), None)

    async def _unserved(self, call: HeldCall) -> None:
        """A custom tool that nobody serves gets its answer at once, and the thread hears of it."""
        says = {"is_error": True, "says": notices.unserved_result(call.name)}
        new = answer_to(call, self._append.held, self._turn, says)
        await inputs.add(self._append.connection, [new])
        told = about(Trouble.UNSERVED_TOOL, self._turn.id, tool=call.name).body()
        key = f"notice:{call.event_id}:declined"
        await self._append.say([notice(key, told, turn_id=self._turn.id)])


def answer_to(call: HeldCall, held: Held, turn: Turn, answer: dict[str, Any]) -> NewInput:
    """The result of a custom call that nobody decides on: one per call, whoever sends it."""
    return NewInput(
        id=new_id(),
        deployed_agent_id=held.deployed_agent_id,
        workspace_id=held.workspace_id,
        session_id=held.id,
        kind="decision",
        body={
            "turn": str(turn.id),
            "event": {"id": call.event_id, "custom": True},
            **answer,
        },
        order_key=clock.timestamp(),
        dedupe_key=f"act:{call.event_id}",
    )


async def ask_about(
    append: Append,
    holding: Holding,
    turn: Turn,
    requesters: list[str],
    asked: tuple[HeldCall, dict[str, Any]],
) -> None:
    """Asks people about a call, which is shown as `asked` says; once, by the call."""
    await _Asking(append, holding, turn, requesters, {}).new(*asked)


async def _write_cards(append: Append, turn: Turn) -> None:
    """The cards of all that waits, below the words that led to it; each is written once."""
    connection, agent = append.connection, append.held.deployed_agent_id
    waiting = await approvals.of_turn(connection, agent, turn.id)
    await append.say([humans.card(row) for row in waiting if row.state == "pending"])
    for question in await escalations.of_turn(connection, agent, turn.id):
        if question.state == "pending":
            await append.say([humans.card(question)])
            await humans.post_in_channel(connection, question)
            append.wrote = True


async def _tell_who_waits(append: Append, turn: Turn, waits_for: humans.Kind) -> None:
    """Those who wrote meanwhile hear what their messages wait for, and how to be read first."""
    held = append.held
    if not await inputs.any_queued(append.connection, held.lease, _MESSAGES):
        return
    body = {
        "card": "waiting",
        "turn": str(turn.id),
        "agent": str(held.deployed_agent_id),
        "for": waits_for,
    }
    await append.say([_waiting(turn.id, body)])


async def _nobody_waits(append: Append, turn_id: UUID) -> None:
    """The sentence about what is waited for is true no more, and its button does nothing."""
    first = waiting_key(turn_id)
    if await outbox.written(append.connection, append.held.lease, [first]):
        await append.say([_waiting(turn_id, {"card": "waiting", "over": True}, revision=1)])


def waiting_key(turn_id: UUID) -> str:
    """The sentence about what a turn waits for, as an effect."""
    return f"card:waiting:{turn_id}"


def _waiting(turn_id: UUID, body: dict[str, Any], revision: int = 0) -> Effect:
    key = waiting_key(turn_id)
    return Effect(
        f"{key}:r{revision}" if revision else key,
        "update" if revision else "card",
        body,
        lane=key,
        position=revision,
        turn_id=turn_id,
    )


# ------------------------------------------------------------------ before and after a send


async def judge(append: Append, batch: list[Input], seen: Projection) -> list[Input]:
    """Which decisions of a batch may leave: those whose call waits now, with what was shown.

    One whose call waits no more is void; one that is too early, since the history trails, waits.
    """
    going = []
    for item in batch:
        if item.kind != "decision":
            going.append(item)
            continue
        verdict = "early" if questions.is_reply(item) else _verdict(item, seen)
        if verdict == "go":
            going.append(item)
        elif verdict == "early":
            await inputs.unsend(append.connection, append.held.lease, [item.id])
        else:
            await inputs.refuse(append.connection, append.held.lease, [item.id])
            await (_changed(append, item, seen) if verdict == "changed" else void(append, [item]))
    return going


def _verdict(item: Input, seen: Projection) -> str:
    event_id = str(item.body["event"]["id"])
    waits = seen.waits(event_id)
    if waits is None:
        return "early"
    if not waits:
        return "void"
    call, shown = seen.call(event_id), item.body.get("hash")
    if call is None or shown is None:
        return "go"
    return "go" if redaction.digest(call.arguments).hex() == shown else "changed"


async def _changed(append: Append, item: Input, seen: Projection) -> None:
    """The call is not what was shown: nothing is confirmed, and people are asked about what it is."""
    found = await _approval_of(append, item)
    call = seen.call(str(item.body["event"]["id"]))
    if found is None or call is None:
        return
    _log.error("approval.changed", approval_id=str(found.id), session_id=str(append.held.id))
    await humans.record(
        append.connection, found, "changed", None, "arguments differ from those shown"
    )
    arguments = redaction.shown(call.arguments)
    again = await deciding.renew(
        append.connection, found, arguments, redaction.digest(call.arguments)
    )
    await humans.record(append.connection, again, "asked")
    append.wrote = True


async def _approval_of(append: Append, item: Input) -> Approval | None:
    asked = item.body.get("asked") or {}
    if asked.get("kind") != "approval":
        return None
    agent = append.held.deployed_agent_id
    return await approvals.get(append.connection, agent, UUID(asked["id"]))


async def confirm(append: Append, sent: list[Input]) -> None:
    """The runtime has these decisions: their cards say so."""
    await _delivered(append, sent, "confirmed")


async def void(append: Append, refused: list[Input]) -> None:
    """The runtime took these decisions no more: their cards say that they came too late."""
    await _delivered(append, refused, "void")


async def _delivered(append: Append, items: list[Input], state: Any) -> None:
    asked = [i.body["asked"] for i in items if i.kind == "decision" and i.body.get("asked")]
    if not asked:
        return
    ids = [UUID(a["id"]) for a in asked if a["kind"] == "approval"]
    moved = await approvals.delivered(append.connection, append.held.lease, ids, state)
    for row in moved:
        await humans.record(append.connection, row, state)
    await append.say([humans.update(row) for row in moved])
    for one in [UUID(a["id"]) for a in asked if a["kind"] == "escalation"]:
        await questions.delivered(append, one, state)


# ------------------------------------------------------------------ what nobody waits for any more


async def close_elsewhere(append: Append, turn: Turn, seen: Projection) -> None:
    """Calls of the turn that wait no more though nobody of ours decided: their cards say so."""
    agent, answers = append.held.deployed_agent_id, seen.answers()
    rows = await approvals.of_turn(append.connection, agent, turn.id)
    asked = await escalations.of_turn(append.connection, agent, turn.id)
    waiting = [r.runtime_event_id for r in rows if r.state in _OPEN]
    waiting += [q.runtime_event_id for q in asked if q.state == "pending"]
    for event_id in waiting:
        if seen.waits(event_id) is False:
            how = answers.get(event_id, "it waits no more")
            await _close(append, turn.id, [event_id], by_itself("", "runtime"), how)


async def close_all(append: Append, turn_id: UUID, reason: str, answers: dict[str, str]) -> None:
    """The turn is over: nothing of it waits for anybody; fenced.

    `answers`: what was answered without us, in words, by the calls' event ids.
    """
    for event_id, how in answers.items():
        await _close(append, turn_id, [event_id], by_itself("", "runtime"), how)
    await _made_untold(append, turn_id)
    await _close(append, turn_id, None, by_itself(""), reason)
    await _nobody_waits(append, turn_id)


async def _made_untold(append: Append, turn_id: UUID) -> None:
    """Approved posts of the agent's that were made, though it never heard of it: no decision was late."""
    rows = await approvals.of_turn(append.connection, append.held.deployed_agent_id, turn_id)
    keys = {
        effect_of(r.runtime_event_id): r.id
        for r in rows
        if r.state == "allowed" and is_slack(r.tool, r.server)
    }
    made = await outbox.written(append.connection, append.held.lease, list(keys)) if keys else ()
    ids = [keys[key] for key in made]
    for row in await approvals.delivered(append.connection, append.held.lease, ids, "confirmed"):
        await humans.record(append.connection, row, "confirmed", None, "posted; the turn was over")
        await append.say([humans.update(row)])


def effect_of(event_id: str) -> str:
    """What the post of a call is known by."""
    return f"tool:{event_id}"


async def _close(
    append: Append, turn_id: UUID, events: list[str] | None, by: dict[str, Any], reason: str
) -> None:
    lease = append.held.lease
    rows = await approvals.close(append.connection, lease, turn_id, events, by, reason)
    for row in rows:
        await humans.record(append.connection, row, row.state, None, reason)
    await append.say([humans.update(row) for row in rows])
    for question in await escalations.close(append.connection, lease, turn_id, events, by):
        await humans.record(append.connection, question, "closed", None, reason)
        await humans.write_everywhere(append.connection, question)
        append.wrote = True

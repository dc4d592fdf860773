"""Getting inputs to the runtime once: intent first, request second, outcome third.

queued ──(1) sending, with the request's deadline──▶ request ──(2) sent, with the event's id
   ▲                                                    │
   └──(3) known not to have arrived ◀── look, wait, look┘ answer lost, or the holder died

Whoever finds an input in `sending` does not know whether the runtime has it. The request is over
`grace` after its deadline; then the runtime is asked twice, `settle` apart, for what carries the
input's id (a confirmation: its tool call's id). What is there becomes sent, what is missing is
queued and sent again. Texts are never compared: a second "yes" is a second message.
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from router import clock, outside
from router.errors import (
    RuntimeAway,
    RuntimeRefused,
    RuntimeUnclear,
)
from router.ports import Person
from router.runtime.budget import Need
from router.turns import asking, stops
from router.turns.bringing import Brought
from router.turns.engine import Engine, Holding, appending, away
from router.turns.project import Event, Projection, marker, sending_of
from store import database, holding as holding_of, inputs, sessions, turns
from store.ids import new_id
from store.inputs import Input, NewInput

_log = structlog.get_logger(__name__)

MESSAGES = ["message", "correction"]
SIDE = ["decision", "interrupt"]
_REFUSALS = 3  # of a decision, before its card says that it came too late


async def deliver(  # all that a send is made of
    engine: Engine,
    holding: Holding,
    session_id: str,
    batch: list[Input],
    events: list[Event],
    seen: Projection,
) -> None:
    """Sends inputs that are marked `sending`, in one request, and marks them sent.

    `events` are theirs, in order; what is to go before them in the same request comes first.

    The runtime's copies go to `seen`. Raises RuntimeAway with the inputs queued again;
    RuntimeRefused and
    RuntimeGone with the inputs still `sending`, for the caller to decide; RuntimeUnclear never: an
    unknown outcome is settled here, and what did not arrive is RuntimeAway.
    """
    ids = [i.id for i in batch]
    try:
        taken = await engine.runtime.send(session_id, events)
    except RuntimeAway:
        async with appending(engine, holding) as append:
            await inputs.unsend(append.connection, holding.held.lease, ids)
        raise
    except RuntimeUnclear as unclear:
        _log.info("send.unclear", session_id=str(holding.held.id), error=str(unclear))
        missing = await settle(engine, holding, session_id, batch, seen)
        if missing:
            raise away(unclear) from unclear
        return
    for event in taken:
        seen.see(event)
    theirs = taken[len(events) - len(batch) :]
    pairs = [(i.id, e.get("id")) for i, e in zip(batch, theirs, strict=False)]
    if any(i.kind == "decision" for i in batch):
        async with appending(engine, holding) as append:
            await inputs.mark_sent(append.connection, holding.held.lease, pairs)
            await asking.confirm(append, batch)
        return
    async with database.borrow(engine.pool) as connection:
        await holding_of.mark_messages_sent(connection, holding.held.lease, pairs)


async def settle(
    engine: Engine, holding: Holding, session_id: str, batch: list[Input], seen: Projection
) -> list[Input]:
    """Finds out which `sending` inputs the runtime has; the others are queued and returned.

    What it found goes to `seen`: the stream does not repeat what was there before it was opened.
    """
    over = max(i.sending_deadline for i in batch if i.sending_deadline is not None)
    await clock.sleep(max(0.0, (over - clock.now()).total_seconds() + engine.timing.grace))
    missing = batch
    for look in range(2):
        if look:
            await clock.sleep(engine.timing.settle)
        recent = await engine.runtime.recent_user_events(Need.DOUBT, session_id)
        for event in recent:
            seen.see(event)
        there = _present(recent, missing)
        async with appending(engine, holding, progress=bool(there)) as append:
            await inputs.mark_sent(
                append.connection,
                holding.held.lease,
                [(i.id, there[i.id]) for i in missing if i.id in there],
            )
            await asking.confirm(append, [i for i in missing if i.id in there])
        missing = [i for i in missing if i.id not in there]
        if not missing:
            return []
    async with appending(engine, holding, progress=False) as append:
        await inputs.unsend(append.connection, holding.held.lease, [i.id for i in missing])
    return missing


def _present(recent: list[Event], wanted: list[Input]) -> dict[UUID, str]:
    by_input = {sending_of(e): str(e.get("id")) for e in recent if e["type"] == "user.message"}
    by_call = {
        e.get("tool_use_id") or e.get("custom_tool_use_id"): str(e.get("id")) for e in recent
    }
    found: dict[UUID, str] = {}
    for item in wanted:
        call = (item.body.get("event") or {}).get("id") if item.kind == "decision" else None
        event_id = by_call.get(call) if call else by_input.get(item.send_key)
        if event_id:
            found[item.id] = event_id
    return found


# ------------------------------------------------------------------ the shapes that are sent


def message_event(item: Input, person: Person | None, brought: Brought) -> Event:
    """A person's message: our marker first, what was said before, what they wrote, their files."""
    at = datetime.fromtimestamp(float(item.order_key), UTC).isoformat(timespec="seconds")
    spoken = outside.is_from(item.body) or str(item.body.get("user"))
    speaker = f"{person.name} ({person.id})" if person else spoken
    texts = [marker(item.send_key, speaker, at), brought.before, _words(item, brought)]
    said = [{"type": "text", "text": text} for text in texts if text]
    return {"type": "user.message", "content": [*said, *brought.behind]}


def _words(item: Input, brought: Brought) -> str:
    """Empty where somebody sent a file and said nothing: the runtime takes no empty block."""
    if item.kind == "correction":
        return f"(Correction of my earlier message, which should read:)\n{brought.words}"
    return brought.words.strip()


def side_event(item: Input) -> Event:
    """A decision or an interrupt."""
    if item.kind == "interrupt":
        return {"type": "user.interrupt"}
    call, body = item.body["event"], item.body
    if call["custom"]:
        return {
            "type": "user.custom_tool_result",
            "custom_tool_use_id": call["id"],
            "is_error": bool(body.get("is_error")),
            "content": [{"type": "text", "text": body["says"]}],
        }
    confirmation = {
        "type": "user.tool_confirmation",
        "tool_use_id": call["id"],
        "result": body["result"],
    }
    return confirmation | ({"deny_message": body["says"]} if body["result"] == "deny" else {})


async def send_side(  # all that a send is made of
    engine: Engine,
    holding: Holding,
    session_id: str,
    turn_id: UUID,
    seen: Projection,
    askers: set[str],
) -> None:
    """Sends what must not wait for the turn's end: decisions and interrupts.

    `askers` are those whom the turn answers. A decision leaves only while its call waits; one that
    the runtime refuses all the same is looked into (`_refused`).
    """
    may_stop = await stops.judge(engine, holding, turn_id, askers)
    limit = timedelta(seconds=engine.runtime.deadline)
    await holding.enough_for(engine.runtime.deadline)
    async with appending(engine, holding, progress=False) as append:
        if await sessions.archive_requested(append.connection, holding.held.lease):
            await inputs.add(append.connection, [_archive_interrupt(holding, turn_id)])
        batch = await inputs.start_sending(
            append.connection, holding.held.lease, turn_id, SIDE, limit
        )
        batch = await stops.hold_back(append, batch, may_stop, askers)
        batch = await asking.judge(append, batch, seen)
        if any(i.kind == "decision" for i in batch):
            await turns.go_on(append.connection, holding.held.lease, turn_id)
    for item in batch:
        try:
            await deliver(engine, holding, session_id, [item], [side_event(item)], seen)
        except RuntimeRefused as refused:
            await _refused(engine, holding, session_id, item, seen, refused)


async def _refused(  # all that a refusal is settled with
    engine: Engine,
    holding: Holding,
    session_id: str,
    item: Input,
    seen: Projection,
    refused: RuntimeRefused,
) -> None:
    """The runtime did not take it: somebody else decided, or it does not know yet that it waits.

    The idle that names a call can be seen a moment before the runtime takes its answer: so it is
    read once more, and what nobody answered goes out again, a few times.
    """
    _log.info("decision.refused", session_id=str(holding.held.id), error=str(refused))
    await clock.sleep(engine.timing.settle)
    for event in await engine.runtime.recent_user_events(Need.DOUBT, session_id):
        seen.see(event)
    again = item.kind == "decision" and seen.waits(str(item.body["event"]["id"])) is True
    async with appending(engine, holding, progress=False) as append:
        lease = holding.held.lease
        if again and item.flushes < _REFUSALS:
            await inputs.requeue_refused(append.connection, lease, item.id)
        else:
            await inputs.refuse(append.connection, lease, [item.id])
            await asking.void(append, [item])


def _archive_interrupt(holding: Holding, turn_id: UUID) -> NewInput:
    """The interrupt that an archive sends first; once per turn by its key."""
    held = holding.held
    return NewInput(
        id=new_id(),
        deployed_agent_id=held.deployed_agent_id,
        workspace_id=held.workspace_id,
        session_id=held.id,
        kind="interrupt",
        body={"turn": str(turn_id)},
        order_key=clock.timestamp(),
        dedupe_key=f"stop:archive:{turn_id}",
    )

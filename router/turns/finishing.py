"""The end of a turn whose end the runtime has told: one statement if it is plain, else one transaction."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog

from router import clock, notices, outputs
from router.errors import RuntimeFailure
from router.notices import Notice, Trouble, about
from router.ports import Step
from router.runtime.budget import Need
from router.turns import asking, doubles, ending, footer, questions, replies
from router.turns.engine import (
    Append,
    Engine,
    Holding,
    appending,
    notice,
    place_of,
)
from router.turns.project import Ended, usage_between
from store import database, inputs, sessions, turns, usage
from store.database import Connection
from store.holding import AtEnd, at_end
from store.ids import reference_of
from store.inputs import Input
from store.leases import LeaseLost
from store.outbox import Effect
from store.turns import Turn

_log = structlog.get_logger(__name__)

_AFTER_FLUSH_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _End:
    """All that an end is made of. `snapshot`: the runtime's usage; `stopper`: who interrupted it."""

    engine: Engine
    holding: Holding
    turn: Turn
    ended: Ended
    mine: list[Input]
    steps: tuple[Step, ...]
    snapshot: dict[str, Any] | None
    stopper: str | None

    @property
    def dropped(self) -> list[Input]:
        """What the runtime threw away."""
        return [i for i in self.mine if i.send_key in self.ended.flushed]

    @property
    def refused(self) -> list[Input]:
        """What of it does not go out again."""
        return [i for i in self.dropped if i.flushes >= ending.FLUSHES]

    @property
    def said(self) -> replies.Said:
        """What the turn said."""
        ended = self.ended
        return replies.Said(
            ended.text, ended.segments, self.steps, ended.restarted, ended.interrupted
        )

    @property
    def used(self) -> usage.Usage | None:
        """What the turn used; None where nobody knows."""
        before = self.holding.held.usage_snapshot
        return usage_between(before, self.snapshot) if self.snapshot else None

    @property
    def words(self) -> str:
        """It is found by what was said on both sides."""
        return " ".join([self.ended.text, *(str(i.body.get("text") or "") for i in self.mine)])

    def is_plain(self, there: AtEnd) -> bool:
        """Whether an answer is all that is to be written beside the end itself."""
        more = there.previewed or there.asked or there.late or there.marked or there.copied
        more = more or there.outputs or self.ended.wrote
        paused = asking.waiting_key(self.turn.id) in there.written
        return not (more or paused or self.dropped or self.ended.reason == "terminated")


async def finish(  # all that an end is made of
    engine: Engine,
    holding: Holding,
    turn: Turn,
    ended: Ended,
    mine: list[Input],
    steps: tuple[Step, ...],
) -> None:
    """The turn's end: turn, usage, inputs, replies, place and release, in one statement if it is plain.

    Otherwise in one transaction, as where something comes just then, and is to be looked at first.
    """
    snapshot = ended.usage or await _usage_now(engine, holding)
    stopper = await _stopper(engine, holding, turn) if ended.interrupted else None
    end = _End(engine, holding, turn, ended, mine, steps, snapshot, stopper)
    doubled: doubles.Copies = []
    again = await _finish_plainly(end)
    if again is None:
        again, doubled = await _finish_with_more(end)
    _log.info(
        "turn.ended",
        session_id=str(holding.held.id),
        turn_id=str(turn.id),
        reference=reference_of(turn.id),
        reason=ended.reason,
        error=ended.cause,
    )
    doubles.report(engine, holding, turn, doubled)
    ending.tell(engine, holding, again=again and not end.dropped)


async def _finish_plainly(end: _End) -> bool | None:
    """Looks, and ends what was looked at: None where there is more, or something came meanwhile."""
    async with database.borrow(end.engine.pool) as connection:
        there = await _looked(connection, end)
        if not end.is_plain(there):
            return None
        effects = await _effects(connection, end, there)
        again = await _complete(connection, end, effects, there)
    if effects and again is not None:
        end.engine.conversation.deliveries_wait()
    return again


async def _finish_with_more(end: _End) -> tuple[bool, doubles.Copies]:
    ended = end.ended
    cuts = await replies.cut_long(end.engine, end.holding, end.turn, end.said)
    async with appending(end.engine, end.holding) as append:
        there = await _looked(append.connection, end)
        effects = await _effects(append.connection, end, there, cuts)
        await _end_inputs(append, end.dropped, end.refused, late=there.late)
        await _leave_runtime(append, end, owed=there.outputs)
        if there.asked or asking.waiting_key(end.turn.id) in there.written:
            over = _over(ended, end.stopper)
            await asking.close_all(append, end.turn.id, over, ended.answers)
        doubled = await doubles.found(append, ended) if there.copied else []
        if there.marked:
            await append.unmark()
        again = await _complete(append.connection, end, effects, there)
        append.wrote |= bool(effects)
    if again is None:
        raise LeaseLost
    return again, doubled


async def _looked(connection: Connection, end: _End) -> AtEnd:
    """What there is to be ended, in one look."""
    turn, lease = end.turn, end.holding.held.lease
    keys = [*replies.keys(turn, end.said.segments), asking.waiting_key(turn.id)]
    return await at_end(connection, lease, turn.id, keys, doubles.sendings(end.ended))


async def _effects(
    connection: Connection, end: _End, there: AtEnd, cuts: replies.Cuts | None = None
) -> list[Effect]:
    """What is said of the end: the answer, and what went wrong."""
    turn, ended, engine, holding = end.turn, end.ended, end.engine, end.holding
    effects = await replies.write(connection, engine, holding, turn, end.said, there, cuts)
    effects = _with_footer(holding, turn, ended, effects, end.used)
    if ended.read or not end.dropped or end.refused != end.dropped:
        effects += _troubled(turn, ended)
    effects += _stopped(turn, end.stopper, end.steps) if ended.interrupted else []
    return effects + [_flushed(i, turn) for i in end.refused]


async def _complete(
    connection: Connection, end: _End, effects: list[Effect], there: AtEnd
) -> bool | None:
    held, ended = end.holding.held, end.ended
    over = ended.reason == "terminated"  # nothing is known of the runtime's session any more
    how = turns.Ending(
        state=_state(ended),
        stop_reason=ended.reason,
        words=end.words,
        usage=end.used,
        place=None if over else ended.at,
        snapshot=None if over else end.snapshot,
        wait=timedelta(seconds=_AFTER_FLUSH_SECONDS if end.dropped else 0.0),
        effects=tuple(effects),
        said_at=place_of(held),
    )
    return await turns.complete(connection, held, end.turn.id, how, there.wake_seq)


async def _leave_runtime(append: Append, end: _End, *, owed: bool) -> None:
    """What the turn may have left there is to be looked for; a session that ended is forgotten."""
    connection, lease, ended = append.connection, append.held.lease, end.ended
    if ended.wrote or owed:
        soon = end.engine.timing.outputs[0]
        await outputs.expect(connection, lease, end.turn.id, soon, wrote=ended.wrote)
    if ended.reason == "terminated":
        await sessions.forget_runtime(connection, lease)


async def _end_inputs(
    append: Append, dropped: list[Input], refused: list[Input], *, late: bool
) -> None:
    """What the runtime threw away goes out again, some of it not; who is `late` is told so."""
    lease = append.held.lease
    if refused:
        await inputs.refuse(append.connection, lease, [i.id for i in refused])
    if again := [i.id for i in dropped if i not in refused]:
        await inputs.requeue_flushed(append.connection, lease, again)
    if late:
        await questions.too_late(append, await inputs.open_inputs(append.connection, lease))


def _with_footer(
    holding: Holding, turn: Turn, ended: Ended, effects: list[Effect], used: usage.Usage | None
) -> list[Effect]:
    if not holding.behaviour.footer or ended.reason != "end_turn" or ended.interrupted:
        return effects
    took = (ended.at or clock.now()) - turn.started_at
    return footer.under(effects, footer.line(took, used))


def _over(ended: Ended, stopper: str | None) -> str:
    """Why nobody waits any more for what the turn asked."""
    if not ended.interrupted:
        return "the turn is over"
    return f"stopped by {stopper}" if stopper else "stopped"


def _state(ended: Ended) -> str:
    if ended.interrupted:
        return "interrupted"
    return "completed" if ended.reason in ("end_turn", "no_text") else "failed"


def _troubled(turn: Turn, ended: Ended) -> list[Effect]:
    """What went wrong, if something did."""
    if ended.interrupted or ended.reason == "end_turn":
        return []
    if not ended.read:
        told = about(Trouble.RETRYING, turn.id)
    else:
        told = notices.at_end(ended.reason, ended.error, turn.id)
    return [notice(f"notice:{turn.id}:end", told.body(), turn_id=turn.id, ends=True)]


async def _stopper(engine: Engine, holding: Holding, turn: Turn) -> str | None:
    """The name of who interrupted the turn, where a person of this thread did."""
    held = holding.held
    async with database.borrow(engine.pool) as connection:
        mine = await inputs.open_inputs(connection, held.lease)
    stops = [i.body for i in mine if i.kind == "interrupt" and i.turn_id == turn.id]
    first = next((b for b in stops if b.get("user") or b.get("by")), {})
    user = first.get("user")
    if user is None or held.slack_install_id is None:
        return first.get("by")
    return (await engine.conversation.person(held.slack_install_id, user)).name


def _stopped(turn: Turn, by: str | None, steps: tuple[Step, ...]) -> list[Effect]:
    done = [step.title for step in steps if step.status == "complete"]
    body = Notice(notices.stopped(by, done)).body()
    return [notice(f"notice:{turn.id}:end", body, turn_id=turn.id, ends=True)]


def _flushed(item: Input, turn: Turn) -> Effect:
    body = about(Trouble.FLUSHED, turn.id).body()
    return notice(f"notice:{item.id}:flushed", body, turn_id=turn.id)


async def _usage_now(engine: Engine, holding: Holding) -> dict[str, object] | None:
    """The runtime's total where no event told it; None leaves the turn's usage pending."""
    runtime_session = holding.held.anthropic_session_id
    if runtime_session is None:
        return None
    try:
        return (await engine.runtime.session(Need.LIVE, runtime_session)).usage or None
    except RuntimeFailure as error:
        _log.info("usage.pending", session_id=str(holding.held.id), error=str(error))
        return None

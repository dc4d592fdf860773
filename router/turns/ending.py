"""Every way in which a turn, or the hold on a session, comes to its end: one transaction each."""

from uuid import UUID

import structlog

from router import clock, notices
from router.clock import Backoff
from router.errors import RuntimeFailure, RuntimeGone, RuntimeRefused
from router.notices import Notice, Trouble, about
from router.ports import Person, Step
from router.runtime.budget import Need
from router.turns import asking, doubles, footer, questions, replies, sending
from router.turns.engine import (
    Append,
    Engine,
    Holding,
    appending,
    away,
    notice,
)
from router.turns.project import Ended, usage_between
from store import database, inputs, sessions, turns, usage
from store.holding import AtEnd, at_end
from store.ids import reference_of
from store.inputs import Input
from store.leases import Ready
from store.outbox import Effect
from store.turns import Turn

_log = structlog.get_logger(__name__)

_FLUSHES = 2
_AFTER_FLUSH_SECONDS = 5.0
_RUNTIME_BACKOFF = Backoff(first=1.0, most=30.0)
_SAID_AFTER = 2
_ARCHIVE_TRIES = 5


async def finish(  # all that an end is made of
    engine: Engine,
    holding: Holding,
    turn: Turn,
    ended: Ended,
    mine: list[Input],
    steps: tuple[Step, ...],
) -> None:
    """The turn's end: turn, usage, inputs, replies, place and release in one transaction."""
    held = holding.held
    snapshot = ended.usage or await _usage_now(engine, holding)
    stopper = await _stopper(engine, holding, turn) if ended.interrupted else None
    dropped = [i for i in mine if i.send_key in ended.flushed]
    refused = [i for i in dropped if i.flushes >= _FLUSHES]
    async with appending(engine, holding) as append:
        used = usage_between(held.usage_snapshot, snapshot) if snapshot else None
        said = replies.Said(ended.text, ended.segments, steps, ended.restarted, ended.interrupted)
        there = await _looked(append, turn, said, ended)
        effects = await replies.write(append, engine, holding, turn, said, there)
        effects = _with_footer(holding, turn, ended, effects, used)
        if ended.read or not dropped or refused != dropped:
            effects += _troubled(turn, ended)
        effects += _stopped(turn, stopper, steps) if ended.interrupted else []
        effects += [_flushed(i, turn) for i in refused]
        await _end_inputs(append, dropped, refused, late=there.late)
        await turns.complete(append.connection, held, turn.id, _ending(ended, mine), used)
        await sessions.turn_ended(append.connection, held.lease, ended.at, snapshot)
        if ended.reason == "terminated":
            await sessions.forget_runtime(append.connection, held.lease)
        if there.asked or asking.waiting_key(turn.id) in there.written:
            await asking.close_all(append, turn.id, _over(ended, stopper), ended.answers)
        doubled = await doubles.found(append, ended) if there.copied else []
        await append.say(effects)
        wait = _AFTER_FLUSH_SECONDS if dropped else 0.0
        again = await append.release(wait=wait, marked=there.marked)
    _log.info(
        "turn.ended",
        session_id=str(held.id),
        turn_id=str(turn.id),
        reference=reference_of(turn.id),
        reason=ended.reason,
        error=ended.cause,
    )
    doubles.report(engine, holding, turn, doubled)
    _tell(engine, holding, again=again and not dropped)


async def _looked(append: Append, turn: Turn, said: replies.Said, ended: Ended) -> AtEnd:
    """What there is to be ended, in one look."""
    keys = [*replies.keys(turn, said.segments), asking.waiting_key(turn.id)]
    return await at_end(
        append.connection, append.held.lease, turn.id, keys, doubles.sendings(ended)
    )


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


def _ending(ended: Ended, mine: list[Input]) -> turns.Ending:
    """It is found by what was said on both sides."""
    words = " ".join([ended.text, *(str(i.body.get("text") or "") for i in mine)])
    return turns.Ending(_state(ended), ended.reason, words)


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


async def _find_out(engine: Engine, holding: Holding, turn: Turn | None) -> None:
    """Before a turn ends in trouble: which messages its preview has."""
    if turn is not None and holding.held.slack_install_id is not None:
        await engine.previews.settle(holding.held, turn.id)


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


# ------------------------------------------------------------------ ends in trouble


async def fail(
    engine: Engine,
    holding: Holding,
    turn: Turn | None,
    trouble: Trouble,
    steps: tuple[Step, ...] = (),
) -> None:
    """Fails the turn, or what would have become one: its inputs end, and the thread is told."""
    held = holding.held
    await _find_out(engine, holding, turn)
    async with appending(engine, holding) as append:
        mine = await inputs.open_inputs(append.connection, held.lease)
        ids = [i.id for i in mine if turn is None or i.turn_id == turn.id]
        key = turn.id if turn else (ids[0] if ids else held.id)
        if turn is not None:
            await replies.let_stand(append, turn, steps)
            await turns.end(append.connection, held.lease, turn.id, "failed", str(trouble), "")
            await usage.add(append.connection, held, turn.id, None)
            await asking.close_all(append, turn.id, "the turn failed", {})
        await inputs.refuse(append.connection, held.lease, ids)
        await sessions.turn_ended(append.connection, held.lease, None, None)
        told = about(trouble, key)
        turn_id = turn.id if turn else None
        await append.say([notice(f"notice:{key}:end", told.body(), turn_id=turn_id, ends=True)])
        again = await append.release()
    _log.error(
        "turn.ended",
        session_id=str(held.id),
        reference=told.reference,
        reason=str(trouble),
        failed=True,
    )
    _tell(engine, holding, again=again)


async def refused(
    engine: Engine,
    holding: Holding,
    turn: Turn | None,
    batch: list[Input],
    error: RuntimeRefused,
) -> None:
    """The runtime refused the messages: they end, and so does the turn they would have made."""
    _log.warning(
        "send.refused",
        session_id=str(holding.held.id),
        inputs=[str(i.id) for i in batch],
        error=str(error),
    )
    await fail(engine, holding, turn, error.trouble)


async def gone(
    engine: Engine, holding: Holding, turn: Turn | None, steps: tuple[Step, ...] = ()
) -> None:
    """The runtime session is gone: what waits starts a new one, and the thread is told."""
    held = holding.held
    await _find_out(engine, holding, turn)
    async with appending(engine, holding) as append:
        mine = await inputs.open_inputs(append.connection, held.lease)
        messages = [i for i in mine if i.kind in sending.MESSAGES]
        worn = [i.id for i in messages if i.flushes >= _FLUSHES]
        sent = [i.id for i in messages if i.turn_id is not None and i.id not in worn]
        await inputs.refuse(
            append.connection,
            held.lease,
            worn + [i.id for i in mine if i.kind not in sending.MESSAGES],
        )
        await inputs.requeue_flushed(append.connection, held.lease, sent)
        if turn is not None:
            await replies.let_stand(append, turn, steps)
            await turns.end(append.connection, held.lease, turn.id, "failed", "gone", "")
            await usage.add(append.connection, held, turn.id, usage.Usage())
            await asking.close_all(append, turn.id, "the agent's session is gone", {})
        await sessions.turn_ended(append.connection, held.lease, None, None)
        await sessions.forget_runtime(append.connection, held.lease)
        lost = about(Trouble.CONTEXT_LOST, turn.id if turn else held.id)
        effects = [notice(f"notice:gone:{held.anthropic_session_id}", lost.body(), ends=True)]
        if worn:
            body = about(Trouble.FLUSHED, worn[0]).body()
            effects += [notice(f"notice:{worn[0]}:flushed", body)]
        await append.say(effects)
        again = await append.release()
    _log.warning(
        "session.gone",
        session_id=str(held.id),
        runtime=held.anthropic_session_id,
        reference=lost.reference,
    )
    _tell(engine, holding, again=again)


async def wait_for_runtime(engine: Engine, holding: Holding, error: RuntimeFailure) -> None:
    """The runtime is away: the messages wait, the thread hears of it once, we come back."""
    failures = holding.held.failures + 1
    wait = max(_RUNTIME_BACKOFF.after(failures), error.retry_after or 0.0)
    async with appending(engine, holding) as append:
        mine = await inputs.open_inputs(append.connection, holding.held.lease)
        if mine and failures >= _SAID_AFTER:
            body = about(error.trouble, mine[0].id).body()
            await append.say([notice(f"notice:{mine[0].id}:runtime_away", body)])
        await append.release(wait=wait, failed=True)
    _log.warning(
        "runtime.away",
        session_id=str(holding.held.id),
        reference=reference_of(mine[0].id if mine else holding.held.id),
        error=str(error),
        retry_in=round(wait, 1),
    )


async def wait_for_more(engine: Engine, holding: Holding, seconds: float) -> None:
    """It is too early to begin: more messages may come, or many wait already. We look again later."""
    async with appending(engine, holding) as append:
        await append.release(wait=seconds)


async def not_taken(
    engine: Engine, holding: Holding, turn: Turn, batch: list[Input], error: RuntimeRefused
) -> None:
    """The runtime refused messages that were to join the turn: they end, the turn goes on."""
    told = about(error.trouble, batch[0].id)
    _log.warning(
        "send.refused",
        session_id=str(holding.held.id),
        inputs=[str(i.id) for i in batch],
        reference=told.reference,
        error=str(error),
    )
    async with appending(engine, holding) as append:
        await inputs.refuse(append.connection, holding.held.lease, [i.id for i in batch])
        await append.say([notice(f"notice:{batch[0].id}:refused", told.body(), turn_id=turn.id)])


async def withdrawn(append: Append, turn: Turn) -> None:
    """Ends a turn whose messages were all taken back before the runtime had any; fenced."""
    lease = append.held.lease
    await turns.end(append.connection, lease, turn.id, "interrupted", "withdrawn", "")
    await usage.add(append.connection, append.held, turn.id, None)
    await sessions.turn_ended(append.connection, lease, None, None)


async def wait_for_agent(engine: Engine, holding: Holding, first: Input) -> None:
    """The agent is paused: the messages wait for it, and the thread hears of it once."""
    async with appending(engine, holding) as append:
        body = about(Trouble.PAUSED, first.id).body()
        await append.say([notice(f"notice:{first.id}:paused", body)])
        await append.release(wait=engine.timing.paused)


async def nothing_to_do(engine: Engine, holding: Holding) -> None:
    """No message waits; decisions and interrupts of turns that are over are void."""
    async with appending(engine, holding) as append:
        mine = await inputs.open_inputs(append.connection, holding.held.lease)
        await questions.too_late(append, mine)
        void = [i.id for i in mine if i.kind in sending.SIDE]
        await inputs.refuse(append.connection, holding.held.lease, void)
        again = await append.release()
    _tell(engine, holding, again=again)


async def hand_back(engine: Engine, holding: Holding) -> None:
    """A clean stop: somebody else may go on at once. Nobody died of what it held."""
    async with appending(engine, holding) as append:
        await append.release()


def _tell(engine: Engine, holding: Holding, *, again: bool) -> None:
    if again:
        engine.on_released([Ready(holding.held.deployed_agent_id, holding.held.id)])


# ------------------------------------------------------------------ archive, guests


async def archive(engine: Engine, holding: Holding) -> None:
    """No turn is in flight: archives here and at the runtime; waiting messages are refused."""
    held = holding.held
    if held.anthropic_session_id is not None:
        try:
            await engine.runtime.archive_session(held.anthropic_session_id)
        except (RuntimeGone, RuntimeRefused) as error:
            _log.info("archive.refused", session_id=str(held.id), error=str(error))
            # a status that trails shows a session at rest as running: it is asked a few times
            if isinstance(error, RuntimeRefused) and held.failures < _ARCHIVE_TRIES:
                raise away(error) from error
    async with appending(engine, holding) as append:
        mine = await inputs.open_inputs(append.connection, held.lease)
        ids = [i.id for i in mine]
        await inputs.refuse(append.connection, held.lease, ids)
        if any(i.kind in sending.MESSAGES for i in mine):
            body = about(Trouble.ARCHIVED_UNSENT, ids[0]).body()
            await append.say([notice(f"notice:{held.id}:archived", body)])
        await append.unmark()
        await sessions.archive(append.connection, held.lease)


async def turn_guests_away(
    append: Append, waiting: list[Input], people: dict[str, Person]
) -> set[UUID]:
    """Refuses messages of people who are not welcome, each told privately; the ids refused."""
    unwelcome = {
        i.id: i
        for i in waiting
        if i.state == "queued"
        and i.kind in sending.MESSAGES
        and not people.get(str(i.body.get("user")), Person("", "")).welcome
    }
    if unwelcome:
        await inputs.refuse(append.connection, append.held.lease, list(unwelcome))
        await append.say([_to_guest(i) for i in unwelcome.values()])
    return set(unwelcome)


def _to_guest(item: Input) -> Effect:
    user = str(item.body.get("user"))
    body = about(Trouble.GUEST, item.id).body() | {"user": user}
    return Effect(f"notice:guest:{user}", "private", body)

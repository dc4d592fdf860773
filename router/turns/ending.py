"""Every way in which a turn, or the hold on a session, comes to its end: one transaction each."""

from uuid import UUID

import structlog

from router import notices
from router.clock import Backoff
from router.errors import RuntimeFailure, RuntimeGone, RuntimeRefused
from router.notices import Notice
from router.ports import Person
from router.turns import sending
from router.turns.engine import (
    Append,
    Engine,
    Holding,
    appending,
    away,
    notice,
    reply,
)
from router.turns.project import Ended, usage_between
from store import inputs, sessions, turns, usage
from store.ids import reference_of
from store.inputs import Input
from store.outbox import Effect
from store.sessions import Ready
from store.turns import Turn

_log = structlog.get_logger(__name__)

_FLUSHES = 2
_AFTER_FLUSH_SECONDS = 5.0
_RUNTIME_BACKOFF = Backoff(first=1.0, most=30.0)
_SAID_AFTER = 2
_ARCHIVE_TRIES = 5


async def finish(
    engine: Engine, holding: Holding, turn: Turn, ended: Ended, mine: list[Input]
) -> None:
    """The turn's end: turn, usage, inputs, replies, place and release in one transaction."""
    held = holding.held
    snapshot = ended.usage or await _usage_now(engine, holding)
    dropped = [i for i in mine if i.send_key in ended.flushed]
    refused = [i for i in dropped if i.flushes >= _FLUSHES]
    effects = _spoken(engine, turn, ended) + [_flushed(i, turn) for i in refused]
    async with appending(engine, holding) as append:
        words = " ".join([ended.text, *(str(i.body.get("text") or "") for i in mine)])
        await turns.end(append.connection, held.lease, turn.id, _state(ended), ended.reason, words)
        used = usage_between(held.usage_snapshot, snapshot) if snapshot else None
        await usage.add(append.connection, held, turn.id, used)
        await inputs.refuse(append.connection, held.lease, [i.id for i in refused])
        await inputs.requeue_flushed(
            append.connection, held.lease, [i.id for i in dropped if i not in refused]
        )
        await inputs.finish(append.connection, held.lease, turn.id)
        await sessions.turn_ended(append.connection, held.lease, ended.at, snapshot)
        if ended.reason == "terminated":
            await sessions.forget_runtime(append.connection, held.lease)
        await append.say(effects)
        again = await append.release(wait=_AFTER_FLUSH_SECONDS if dropped else 0.0)
    _log.info(
        "turn.ended",
        session_id=str(held.id),
        turn_id=str(turn.id),
        reference=reference_of(turn.id),
        reason=ended.reason,
    )
    _tell(engine, holding, again=again and not dropped)


def _state(ended: Ended) -> str:
    if ended.interrupted:
        return "interrupted"
    return "completed" if ended.reason in ("end_turn", "no_text") else "failed"


def _spoken(engine: Engine, turn: Turn, ended: Ended) -> list[Effect]:
    """What the thread reads: the answer in parts, then what went wrong, if something did."""
    parts = engine.conversation.parts(ended.text) if ended.text.strip() else []
    effects = [reply(turn.id, n, part) for n, part in enumerate(parts)]
    if ended.interrupted:
        body = Notice(notices.INTERRUPTED).body()
    elif ended.reason == "end_turn":
        return effects
    elif not ended.read:
        body = Notice(notices.RETRYING, reference_of(turn.id)).body()
    else:
        body = notices.end_of_turn(ended.reason, reference_of(turn.id)).body()
    return [*effects, notice(f"notice:{turn.id}:end", body, turn_id=turn.id, ends=True)]


def _flushed(item: Input, turn: Turn) -> Effect:
    body = Notice(notices.FLUSHED, reference_of(turn.id)).body()
    return notice(f"notice:{item.id}:flushed", body, turn_id=turn.id)


async def _usage_now(engine: Engine, holding: Holding) -> dict[str, object] | None:
    """The runtime's total where no event told it; None leaves the turn's usage pending."""
    runtime_session = holding.held.anthropic_session_id
    if runtime_session is None:
        return None
    try:
        return (await engine.runtime.session(runtime_session)).usage or None
    except RuntimeFailure as error:
        _log.info("usage.pending", session_id=str(holding.held.id), error=str(error))
        return None


# ------------------------------------------------------------------ ends in trouble


async def fail(engine: Engine, holding: Holding, turn: Turn | None, reason: str) -> None:
    """Fails the turn, or what would have become one: its inputs end, and the thread is told."""
    held = holding.held
    async with appending(engine, holding) as append:
        mine = await inputs.open_inputs(append.connection, held.lease)
        ids = [i.id for i in mine if turn is None or i.turn_id == turn.id]
        reference = reference_of(turn.id if turn else (ids[0] if ids else held.id))
        if turn is not None:
            await turns.end(append.connection, held.lease, turn.id, "failed", reason, "")
            await usage.add(append.connection, held, turn.id, None)
        await inputs.refuse(append.connection, held.lease, ids)
        await sessions.turn_ended(append.connection, held.lease, None, None)
        body = notices.end_of_turn(reason, reference).body()
        key = turn.id if turn else (ids[0] if ids else held.id)
        await append.say(
            [notice(f"notice:{key}:end", body, turn_id=turn.id if turn else None, ends=True)]
        )
        again = await append.release()
    _log.error(
        "turn.ended", session_id=str(held.id), reference=reference, reason=reason, failed=True
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
    # at its budget's cap a session takes no message (docs/budgets "Events accepted at the cap")
    reason = "budget_reached" if "budget" in str(error) else "refused"
    await fail(engine, holding, turn, reason)


async def gone(engine: Engine, holding: Holding, turn: Turn | None) -> None:
    """The runtime session is gone: what waits starts a new one, and the thread is told."""
    held = holding.held
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
            await turns.end(append.connection, held.lease, turn.id, "failed", "gone", "")
            await usage.add(append.connection, held, turn.id, usage.Usage())
        await sessions.turn_ended(append.connection, held.lease, None, None)
        await sessions.forget_runtime(append.connection, held.lease)
        lost = Notice(notices.CONTEXT_LOST).body()
        effects = [notice(f"notice:gone:{held.anthropic_session_id}", lost, ends=True)]
        if worn:
            effects += [notice(f"notice:{worn[0]}:flushed", Notice(notices.FLUSHED).body())]
        await append.say(effects)
        again = await append.release()
    _log.warning("session.gone", session_id=str(held.id), runtime=held.anthropic_session_id)
    _tell(engine, holding, again=again)


async def wait_for_runtime(engine: Engine, holding: Holding, error: RuntimeFailure) -> None:
    """The runtime is away: the messages wait, the thread hears of it once, we come back."""
    failures = holding.held.failures + 1
    wait = max(_RUNTIME_BACKOFF.after(failures), error.retry_after or 0.0)
    async with appending(engine, holding) as append:
        mine = await inputs.open_inputs(append.connection, holding.held.lease)
        if mine and failures >= _SAID_AFTER:
            body = Notice(notices.RUNTIME_AWAY).body()
            await append.say([notice(f"notice:{mine[0].id}:runtime_away", body)])
        await append.release(wait=wait, failed=True)
    _log.warning(
        "runtime.away", session_id=str(holding.held.id), error=str(error), retry_in=round(wait, 1)
    )


async def wait_for_agent(engine: Engine, holding: Holding, first: Input) -> None:
    """The agent is paused: the messages wait for it, and the thread hears of it once."""
    async with appending(engine, holding) as append:
        body = Notice(notices.PAUSED).body()
        await append.say([notice(f"notice:{first.id}:paused", body)])
        await append.release(wait=engine.timing.paused)


async def nothing_to_do(engine: Engine, holding: Holding) -> None:
    """No message waits; decisions and interrupts of turns that are over are void."""
    async with appending(engine, holding) as append:
        mine = await inputs.open_inputs(append.connection, holding.held.lease)
        void = [i.id for i in mine if i.kind in sending.SIDE]
        await inputs.refuse(append.connection, holding.held.lease, void)
        again = await append.release()
    _tell(engine, holding, again=again)


async def hand_back(engine: Engine, holding: Holding) -> None:
    """A clean stop: somebody else may go on at once."""
    async with appending(engine, holding, progress=False) as append:
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
            body = Notice(notices.ARCHIVED_UNSENT).body()
            await append.say([notice(f"notice:{held.id}:archived", body)])
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
    body = Notice(notices.GUEST).body() | {"user": user}
    return Effect(f"notice:guest:{user}", "private", body)

"""Every way in which a turn, or the hold on a session, comes to its end: one transaction each."""

from uuid import UUID

import structlog

from router import outputs
from router.clock import Backoff
from router.errors import RuntimeFailure, RuntimeGone, RuntimeRefused
from router.notices import Trouble, about
from router.ports import Person, Step
from router.turns import asking, questions, replies, sending
from router.turns.engine import (
    Append,
    Engine,
    Holding,
    appending,
    away,
    notice,
)
from store import inputs, sessions, turns, usage
from store.ids import reference_of
from store.inputs import Input
from store.leases import Ready
from store.outbox import Effect
from store.turns import Turn

_log = structlog.get_logger(__name__)

FLUSHES = 2  # of a message, before it is refused
_RUNTIME_BACKOFF = Backoff(first=1.0, most=30.0)
_SAID_AFTER = 2
_ARCHIVE_TRIES = 5


async def _find_out(engine: Engine, holding: Holding, turn: Turn | None) -> None:
    """Before a turn ends in trouble: which messages its preview has."""
    if turn is not None and holding.held.slack_install_id is not None:
        await engine.previews.settle(holding.held, turn.id)


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
            soon = engine.timing.outputs[0]  # nobody has read its events: it may have written files
            await outputs.expect(append.connection, held.lease, turn.id, soon, wrote=True)
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
    tell(engine, holding, again=again)


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
        worn = [i.id for i in messages if i.flushes >= FLUSHES]
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
    tell(engine, holding, again=again)


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
    tell(engine, holding, again=again)


async def hand_back(engine: Engine, holding: Holding) -> None:
    """A clean stop: somebody else may go on at once. Nobody died of what it held."""
    async with appending(engine, holding) as append:
        await append.release()


def tell(engine: Engine, holding: Holding, *, again: bool) -> None:
    """Offers a session that was handed back and wants a worker again."""
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
    away = unwelcome(waiting, people)
    if away:
        await inputs.refuse(append.connection, append.held.lease, [i.id for i in away])
        await append.say([_to_guest(i) for i in away])
    return {i.id for i in away}


def unwelcome(waiting: list[Input], people: dict[str, Person]) -> list[Input]:
    """The waiting messages of people who are not welcome."""
    return [
        i
        for i in waiting
        if i.state == "queued"
        and i.kind in sending.MESSAGES
        and not people.get(str(i.body.get("user")), Person("", "")).welcome
    ]


def _to_guest(item: Input) -> Effect:
    user = str(item.body.get("user"))
    body = about(Trouble.GUEST, item.id).body() | {"user": user}
    return Effect(f"notice:guest:{user}", "private", body)

"""A turn whose messages have not left yet: it is open so that people see, and can stop, what is begun."""

from dataclasses import dataclass

from router import notices
from router.notices import Notice
from router.turns import ending, sending, stops
from router.turns.engine import Append, Engine, Holding, appending, notice
from store import database, inputs, sessions, turns, unsent
from store.inputs import Input
from store.turns import Turn


async def opened(append: Append, turn: Turn | None) -> Turn:
    """The turn that all waiting messages belong to, from now on; they stay `queued`. Fenced."""
    lease = append.held.lease
    turn = turn or await turns.begin(append.connection, append.held)
    await unsent.belong(append.connection, lease, turn.id, sending.MESSAGES)
    await sessions.turn_began(append.connection, lease)
    return turn


@dataclass(frozen=True, slots=True)
class Stop:
    """Somebody's wish to end a turn; `by` whom, where that is known. `said`: the thread is told."""

    by: str | None
    said: bool


async def wanted(engine: Engine, holding: Holding, turn: Turn, askers: set[str]) -> Stop | None:
    """Who stops such a turn, or archives its session; None where nobody does.

    `askers` are those whom the turn answers.
    """
    judged = await stops.judge(engine, holding, turn.id, askers)
    async with database.borrow(engine.pool) as connection:
        mine = await inputs.open_inputs(connection, holding.held.lease)
        archived = await sessions.archive_requested(connection, holding.held.lease)
    first = next(iter(stops.allowed(mine, judged, askers)), None)
    if first is None:
        return Stop(None, said=False) if archived else None
    return Stop(await _name(engine, holding, first), said=True)


async def stopped(engine: Engine, holding: Holding, turn: Turn, stop: Stop) -> None:
    """Ends it and releases the session; the runtime hears of nothing.

    Where the session is archived, its messages are refused with all that wait.
    """
    async with appending(engine, holding) as append:
        await ending.withdrawn(append, turn)
        if stop.said:
            await _refuse(append, turn)
            body = Notice(notices.stopped(stop.by, [])).body()
            told = notice(f"notice:{turn.id}:end", body, turn_id=turn.id, ends=True)
            await append.say([told])
        await append.release()


async def _refuse(append: Append, turn: Turn) -> None:
    """Its messages end, and every stop of it."""
    lease = append.held.lease
    mine = await inputs.open_inputs(append.connection, lease)
    ended = [i.id for i in mine if i.turn_id == turn.id or i.body.get("turn") == str(turn.id)]
    await inputs.refuse(append.connection, lease, ended)


async def _name(engine: Engine, holding: Holding, stop: Input) -> str | None:
    user, install_id = stop.body.get("user"), holding.held.slack_install_id
    if not user or install_id is None:
        return stop.body.get("by")
    return (await engine.conversation.person(install_id, str(user))).name

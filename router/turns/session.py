"""The runtime session behind a session: made once, found again when its making was interrupted.

create_started_at (committed) ▸ request ▸ anthropic_session_id. A holder that finds the first without
the last looks for a runtime session that carries our id, twice, before it makes another; so what was
written for a request that is known to have made nothing is taken back.
"""

from datetime import datetime, timedelta

import structlog

from router import clock
from router.errors import RuntimeFailure, RuntimeGone, RuntimeRefused, RuntimeUnclear
from router.notices import Trouble
from router.runtime.budget import Need
from router.turns.engine import Engine, Holding, appending, away
from store import calls, sessions
from store.agents import Agent

_log = structlog.get_logger(__name__)

_CLOCK_SKEW = timedelta(seconds=60)


async def retitle(engine: Engine, holding: Holding) -> None:
    """Tells the runtime the title that people gave the session in Slack, once and best effort."""
    held = holding.held
    if not held.retitled:
        return
    title = held.title or ""
    if held.anthropic_session_id is not None:
        try:
            await engine.runtime.rename_session(held.anthropic_session_id, title)
        except RuntimeFailure as error:
            _log.info("session.not_renamed", session_id=str(held.id), error=str(error))
    async with appending(engine, holding, progress=False) as append:
        await calls.title_told(append.connection, held.lease, title)


async def ensure(engine: Engine, holding: Holding, agent: Agent) -> str:
    """The runtime session's id. Raises RuntimeAway or RuntimeRefused when there can be none now."""
    held = holding.held
    if held.anthropic_session_id is not None:
        return held.anthropic_session_id
    found = None
    if held.create_started_at is not None:
        found = await _find(engine, holding, agent, held.create_started_at)
    runtime_session = found or await _create(engine, holding, agent)
    async with appending(engine, holding) as append:
        await sessions.created(append.connection, held.lease, runtime_session)
    return runtime_session


async def _create(engine: Engine, holding: Holding, agent: Agent) -> str:
    lost = holding.held.create_started_at is not None
    await engine.runtime.may_create(Need.RECOVERY if lost else Need.LIVE)
    await holding.enough_for(engine.runtime.deadline)
    started = clock.now()
    await _intend(engine, holding, started)
    try:
        return await _request(engine, holding, agent)
    except RuntimeGone as gone:
        raise RuntimeRefused(str(gone), trouble=await _missing(engine, agent)) from gone
    except RuntimeRefused as refused:
        if refused.trouble is not Trouble.REFUSED:
            raise
        raise RuntimeRefused(str(refused), trouble=Trouble.NOT_STARTED) from refused
    except RuntimeUnclear as unclear:
        found = await _find(engine, holding, agent, started)
        if found is None:
            raise away(unclear) from unclear
        return found


async def _request(engine: Engine, holding: Holding, agent: Agent) -> str:
    try:
        return await engine.runtime.create_session(
            agent_id=agent.anthropic_agent_id,
            environment_id=agent.anthropic_environment_id,
            title=holding.held.title or "New conversation",
            metadata=_metadata(holding),
        )
    except RuntimeUnclear:
        raise
    except RuntimeFailure:
        await _intend(engine, holding, holding.held.create_started_at)
        raise


async def _intend(engine: Engine, holding: Holding, at: datetime | None) -> None:
    async with appending(engine, holding, progress=False) as append:
        await sessions.create_started(append.connection, holding.held.lease, at)


async def _missing(engine: Engine, agent: Agent) -> Trouble:
    """A 404 does not say which of the two it is: the agent, or the environment."""
    try:
        await engine.runtime.check_agent(agent.anthropic_agent_id)
    except RuntimeGone:
        return Trouble.AGENT_MISSING
    return Trouble.ENVIRONMENT_MISSING


async def _find(engine: Engine, holding: Holding, agent: Agent, started: datetime) -> str | None:
    """Looks twice; of several, the oldest stays and the others are archived."""
    for look in range(2):
        if look:
            await clock.sleep(engine.timing.settle)
        found = await engine.runtime.find_sessions(
            Need.RECOVERY,
            agent_id=agent.anthropic_agent_id,
            since=started - _CLOCK_SKEW,
            metadata=_metadata(holding),
        )
        if found:
            for double in found[1:]:
                await _archive_double(engine, double)
            return found[0]
    return None


async def _archive_double(engine: Engine, double: str) -> None:
    engine.count_double()
    _log.warning("session.doubled", anthropic_session_id=double)
    try:
        await engine.runtime.archive_session(double)
    except RuntimeFailure as error:
        _log.warning("session.double_stays", anthropic_session_id=double, error=str(error))


def _metadata(holding: Holding) -> dict[str, str]:
    return {
        "threadline_session_id": str(holding.held.id),
        "threadline_agent_id": str(holding.held.deployed_agent_id),
    }

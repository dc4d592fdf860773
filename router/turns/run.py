"""One turn, top to bottom: from a claimed session to its release.

The writes of a turn, each one transaction fenced by the lease's epoch, in this order:

  claim            epoch + 1, lease                                      leases.claim
  create           intent (create_started_at) ▸ request ▸ runtime id     session.ensure
  attach           stream opened, then history listed from the place     runtime.feed
  bring            turn, session running ▸ files, one row each ▸ context  messages.begin, bringing
  begin            turn, its inputs queued → sending, session running    messages.begin
  send             request ▸ inputs sent                                 sending.deliver
  steer            inputs queued → sending ▸ request ▸ sent              messages.steer
  serve            effect of a post ▸ its answer, a decision like others  tools.Tools
  ask              approvals, questions, cards; awaiting a human, release  asking.ask
  decide           decision sending ▸ request ▸ sent, confirmed          sending.send_side
  end              turn, usage, inputs, replies, place, release          finishing.finish

A process may die between any two. The next holder lists the history again from the same place and
computes the same effects, whose keys make a second writing a no-op; what was `sending` is settled by
looking. An exception here fails this turn visibly, and no other.
"""

import asyncio
from collections.abc import Callable
from functools import partial

import structlog

from router import clock
from router.behaviour import behaviour_of
from router.errors import (
    RuntimeAway,
    RuntimeFailure,
    RuntimeGone,
    RuntimeUnclear,
)
from router.notices import Trouble
from router.ports import Status, Thread
from router.runtime.feed import Attached, Item, Listed, Live, Lost, Source, Woken, follow
from router.turns import asking, ending, finishing, questions, sending, session, unsent
from router.turns.engine import Engine, Holding, Released
from router.turns.messages import Messages
from router.turns.project import Event, Projection
from router.turns.showing import Showing
from router.turns.tools import Tools
from store import database, holding, inputs, leases
from store.agents import Agent
from store.turns import Turn

_log = structlog.get_logger(__name__)

_BARREN_CLAIMS = 5
_MOST_COLLECTING = 10  # times its quiet time
_LOST_STREAMS = 4
_CROWDED_SECONDS = 1.0
_RUNS = "session.status_running"
_FRAGMENTS = frozenset({"event_start", "event_delta"})
_DECISIVE = frozenset(
    {
        "session.status_idle",
        "session.status_terminated",
        "session.deleted",
        "user.message",
        "user.interrupt",
    }
)


class Runner:
    """Runs one claimed session until its turn has ended or it must be handed back.

    `on_begun` is called, perhaps more than once, when all that is left is to wait for events.
    """

    def __init__(
        self, engine: Engine, holding: Holding, on_begun: Callable[[], None] = lambda: None
    ) -> None:
        self._engine = engine
        self._on_begun = on_begun
        self._holding = holding
        self._held = holding.held
        self._inbox: asyncio.Queue[Item] = asyncio.Queue()
        self._seen = Projection(self._held.place_at)
        self._working = False
        self._paused = False  # the thread shows that people are waited for
        self._rest: Status = "active"
        self._showing = Showing(engine, self._held)
        # not a method of this object: what it refers to could only be freed by the garbage collector
        self._wake = partial(self._inbox.put_nowait, Woken())
        self._messages = Messages(engine, holding, self._seen, self._showing, self._wake)
        self._tools = Tools(engine, holding, self._wake)

    def wake(self) -> None:
        """Something arrived for this session: an interrupt or a decision must not wait."""
        self._wake()

    async def run(self) -> None:
        """Runs to the release. Raises LeaseLost and database errors; decides all others itself."""
        try:
            await self._run()
        except Exception as raised:  # noqa: BLE001  # the guard: a bug fails this turn and no other
            await self._decide(_first(raised))
        if self._working:
            await self._show(self._rest)

    async def _decide(self, error: Exception) -> None:
        if isinstance(error, (leases.LeaseLost, *database.ERRORS)):
            raise error
        if isinstance(error, (RuntimeAway, RuntimeUnclear)):
            await ending.wait_for_runtime(self._engine, self._holding, error)
            self._working = False  # the status stays: we come back to it
        elif isinstance(error, RuntimeFailure):
            await self._after_runtime_failure(error)
        elif not isinstance(error, Released):
            _log.error("turn.failed", session_id=str(self._held.id), exc_info=error)
            await self._fail(Trouble.FAILED)

    async def _run(self) -> None:
        agent = self._load()
        self._holding.behaviour = behaviour_of(agent.settings, self._held.slack_channel_id)
        await session.retitle(self._engine, self._holding)
        idle, waiting = self._messages.turn is None, self._messages.all
        if idle and self._held.archive_requested_at is not None:
            await ending.archive(self._engine, self._holding)
        elif idle and not waiting:
            await ending.nothing_to_do(self._engine, self._holding)
        elif self._held.barren_claims > _BARREN_CLAIMS:
            _log.error("turn.crashed", session_id=str(self._held.id))
            await self._fail(Trouble.CRASHED)
            self._working = True  # an earlier claim said so
        elif idle and agent.status == "paused":
            await ending.wait_for_agent(self._engine, self._holding, waiting[0])
        elif idle and (seconds := await self._collecting()) > 0:
            await ending.wait_for_more(self._engine, self._holding, seconds)
        elif self._crowded() and not self._messages.urgent:
            await ending.wait_for_more(
                self._engine, self._holding, clock.jittered(_CROWDED_SECONDS)
            )
            self._working, self._rest = idle, "processing"
        else:
            await self._converse(agent)

    def _crowded(self) -> bool:
        """Whether the permits that the turn begins with are waited for by many: no lease waits too."""
        room = self._engine.runtime.room
        return room("read") == 0 or (
            self._held.anthropic_session_id is None and room("create") == 0
        )

    async def _collecting(self) -> float:
        """How long to wait for more messages that are to be answered together; bounded for all."""
        if self._holding.behaviour.busy != "collect":
            return 0.0
        async with database.borrow(self._engine.pool) as connection:
            ages = await inputs.ages(connection, self._held.lease, sending.MESSAGES)
        if ages is None:
            return 0.0
        newest, oldest = (age.total_seconds() for age in ages)
        quiet = self._holding.behaviour.collect_seconds
        return min(quiet - newest, _MOST_COLLECTING * quiet - oldest)

    def _load(self) -> Agent:
        found, self._holding.found = self._holding.found, None
        assert found is not None  # noqa: S101  # a claim finds something
        self._messages.load(found)
        return found.agent

    # -------------------------------------------------------------- the conversation

    async def _converse(self, agent: Agent) -> None:
        self._working = True
        turn = self._messages.turn
        self._paused = turn is not None and turn.state == "awaiting_human"
        async with asyncio.TaskGroup() as tasks:
            self._showing.run_in(tasks)
            self._messages.bringing.run_in(tasks)
            self._tools.run_in(tasks)
            status = tasks.create_task(self._show("suspended" if self._paused else "processing"))
            runtime_session = await session.ensure(self._engine, self._holding, agent)
            feed = tasks.create_task(self._follow(runtime_session, tasks))
            await self._until_released(runtime_session)
            await self._show(self._rest)  # at once: a stop may cut short what is cleared up below
            self._working = False
            await self._messages.bringing.stop()
            await self._tools.stop()
            feed.cancel()
            await status

    async def _follow(self, runtime_session: str, tasks: asyncio.TaskGroup) -> None:
        timing, held = self._engine.timing, self._held
        in_flight = any(i.state != "queued" for i in self._messages.asked)
        # its id was not kept when it was claimed, and nothing goes to a session before that
        untouched = held.anthropic_session_id is None
        source = Source(runtime_session, held.place_at, in_flight, untouched)
        await follow(
            self._engine.runtime,
            source,
            self._inbox,
            tasks,
            settle=timing.settle,
            quiet=timing.quiet,
        )

    async def _show(self, status: Status) -> None:
        held = self._held
        if held.slack_install_id is None:
            return
        thread = Thread(
            held.slack_install_id, str(held.slack_channel_id), str(held.slack_thread_ts)
        )
        await self._engine.conversation.show_status(thread, status, held.title)

    async def _until_released(self, runtime_session: str) -> None:
        while True:
            item = await self._inbox.get()
            match item:
                case Attached(events) | Listed(events):
                    self._listed(events)
                    await self._look(runtime_session, attached=isinstance(item, Attached))
                case Live(event):
                    if not await self._live(event):
                        continue
                case Woken():
                    await self._side(runtime_session)
                    await self._messages.steer(runtime_session)
                case Lost(failures, error):
                    if failures >= _LOST_STREAMS or isinstance(error, RuntimeGone):
                        raise error
                    continue
            if await self._advance(runtime_session):
                return

    async def _look(self, runtime_session: str, *, attached: bool) -> None:
        """What there is to do beside what events ask for."""
        if attached:
            await self._messages.catch_up(runtime_session)
        if not self._messages.alone():
            await self._side(runtime_session)
        self._on_begun()

    async def _live(self, event: Event) -> bool:
        """Takes an event in; True if it may change what there is to do."""
        self._see(event)
        if event["type"] == _RUNS and self._paused:
            await self._go_on()
        return event["type"] in _DECISIVE

    async def _go_on(self) -> None:
        """What people were waited for is decided: what follows is shown while it is written."""
        self._paused = False
        await self._show("processing")
        turn, asked = self._messages.turn, self._messages.asked
        if turn is not None and asked and self._holding.behaviour.stream:
            last, mentions = asked[-1].body, self._holding.behaviour.mentions
            await self._showing.go_on(turn.id, str(last.get("user")), last.get("team"), mentions)

    def _see(self, event: Event) -> None:
        self._showing.see(event)
        if event["type"] not in _FRAGMENTS:
            self._seen.see(event)

    def _listed(self, events: list[Event]) -> None:
        for event in events:
            self._see(event)
        if self._messages.turn is None:
            self._seen.forget_interrupts()
        self._seen.relisted()

    # -------------------------------------------------------------- what the events ask for

    async def _side(self, runtime_session: str) -> None:
        """Decisions and interrupts for the turn; once it is over there is nothing to stop."""
        turn = self._messages.turn
        if turn is not None and self._messages.ended() is None and await self._any_side(turn):
            await questions.take_replies(self._engine, self._holding, turn)
            askers = {str(i.body.get("user")) for i in self._messages.asked}
            if self._messages.untold and self._seen.at_rest():
                await self._stop_unsent(turn, askers)
                return
            await sending.send_side(
                self._engine, self._holding, runtime_session, turn.id, self._seen, askers
            )

    async def _stop_unsent(self, turn: Turn, askers: set[str]) -> None:
        """Where nothing of it has left, the runtime has nothing to interrupt."""
        stop = await unsent.wanted(self._engine, self._holding, turn, askers)
        if stop is not None:
            await self._messages.bringing.stop()
            await unsent.stopped(self._engine, self._holding, turn, stop)
            raise Released

    async def _any_side(self, turn: Turn) -> bool:
        async with database.borrow(self._engine.pool) as connection:
            side = await holding.side(connection, self._held.lease, turn.id)
        self._holding.looked_at = frozenset(side.queued)
        return side.waits

    async def _advance(self, runtime_session: str) -> bool:
        """Acts on what was seen; True once the session is released."""
        turn = self._messages.turn
        if turn is None:
            return False
        if self._seen.stopping:
            return False  # what is sent now, in this turn or the next, could be what it stops
        if self._seen.held():
            return await self._ask(runtime_session, turn)
        if self._messages.unsent:
            if self._seen.at_rest():
                await self._messages.begin(runtime_session)
            return False
        ended = self._messages.ended()
        if ended is None:
            await self._messages.steer(runtime_session)
            return False
        await self._messages.bringing.stop()  # what it does for the next turn, while we may write
        await self._tools.stop()
        await self._showing.end(turn.id)
        steps = self._showing.steps(interrupted=ended.interrupted)
        mine = self._messages.asked
        await finishing.finish(self._engine, self._holding, turn, ended, mine, steps)
        return True

    async def _ask(self, runtime_session: str, turn: Turn) -> bool:
        """Asks people about the held calls; True once the session waits for them, released."""
        mine, engine, holding = self._messages.asked, self._engine, self._holding
        waiting = await asking.ask(engine, holding, turn, self._seen, mine)
        if await self._tools.serve(turn, self._seen.held(), mine):
            waiting = False  # what they come to may be another question to people
        if waiting:
            await self._messages.bringing.stop()
            await self._showing.end(turn.id)
            steps = self._showing.steps_over()
            waiting = await asking.pause(engine, holding, turn, self._seen, mine, steps)
        if not waiting:
            await self._side(runtime_session)
            return False
        self._rest = "suspended"
        return True

    async def _after_runtime_failure(self, error: RuntimeFailure) -> None:
        if isinstance(error, RuntimeGone):
            steps = self._showing.steps(interrupted=True)
            await ending.gone(self._engine, self._holding, self._messages.turn, steps)
        else:
            _log.error("runtime.refused", session_id=str(self._held.id), error=str(error))
            await self._fail(error.trouble)

    async def _fail(self, trouble: Trouble) -> None:
        steps = self._showing.steps(interrupted=True)
        await ending.fail(self._engine, self._holding, self._messages.turn, trouble, steps)


def _first(raised: Exception) -> Exception:
    """The error itself, out of the groups that task groups wrap it in."""
    return _first(raised.exceptions[0]) if isinstance(raised, ExceptionGroup) else raised

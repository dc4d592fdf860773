"""One turn, top to bottom: from a claimed session to its release.

The writes of a turn, each one transaction fenced by the lease's epoch, in this order:

  claim            epoch + 1, lease                                      leases.claim
  create           intent (create_started_at) ▸ request ▸ runtime id     session.ensure
  attach           stream opened, then history listed from the place     runtime.feed
  begin            turn, its inputs queued → sending, session running    _begin
  send             request ▸ inputs sent                                 sending.deliver
  hold             a decision for each held call ▸ request ▸ sent        _decline
  end              turn, usage, inputs, replies, place, release          ending.finish

A process may die between any two. The next holder lists the history again from the same place and
computes the same effects, whose keys make a second writing a no-op; what was `sending` is settled by
looking. An exception here fails this turn visibly, and no other.
"""

import asyncio
from datetime import timedelta
from uuid import UUID

import structlog

from router import clock, notices
from router.behaviour import behaviour_of
from router.errors import (
    RuntimeAway,
    RuntimeFailure,
    RuntimeGone,
    RuntimeRefused,
    RuntimeUnclear,
)
from router.ports import Person, Status, Thread
from router.runtime.feed import Attached, Item, Live, Lost, Woken, follow
from router.turns import ending, sending, session
from router.turns.engine import Append, Engine, Holding, Released, appending, notice
from router.turns.project import Ended, Event, HeldCall, Projection
from router.turns.showing import Showing
from store import agents, database, inputs, leases, sessions, turns
from store.agents import Agent
from store.ids import new_id
from store.inputs import Input, NewInput
from store.outbox import Effect
from store.turns import Turn

_log = structlog.get_logger(__name__)

_BARREN_CLAIMS = 5
_MOST_COLLECTING = 10  # times its quiet time
_LOST_STREAMS = 4
_DECISIVE = frozenset(
    {
        "session.status_idle",
        "session.status_terminated",
        "session.deleted",
        "user.message",
        "user.interrupt",
    }
)


_FRAGMENTS = frozenset({"event_start", "event_delta"})


class Runner:
    """Runs one claimed session until its turn has ended or it must be handed back."""

    def __init__(self, engine: Engine, holding: Holding) -> None:
        self._engine = engine
        self._holding = holding
        self._held = holding.held
        self._inbox: asyncio.Queue[Item] = asyncio.Queue()
        self._seen = Projection(self._held.place_at)
        self._turn: Turn | None = None
        self._mine: dict[UUID, Input] = {}
        self._unsent = False
        self._working = False
        self._showing = Showing(engine, self._held)
        self._silence = engine.timing.quiet

    def wake(self) -> None:
        """Something arrived for this session: an interrupt or a decision must not wait."""
        self._inbox.put_nowait(Woken())

    async def run(self) -> None:
        """Runs to the release. Raises LeaseLost and database errors; decides all others itself."""
        try:
            await self._run()
        except Exception as raised:  # noqa: BLE001  # the guard: a bug fails this turn and no other
            await self._decide(_first(raised))
        if self._working:
            await self._show("active")

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
            await self._fail("failed")

    async def _run(self) -> None:
        agent = await self._load()
        self._holding.behaviour = behaviour_of(agent.settings, self._held.slack_channel_id)
        await session.retitle(self._engine, self._holding)
        waiting = [i for i in self._mine.values() if i.kind in sending.MESSAGES]
        if self._turn is None and self._held.archive_requested_at is not None:
            await ending.archive(self._engine, self._holding)
        elif self._turn is None and not waiting:
            await ending.nothing_to_do(self._engine, self._holding)
        elif self._held.barren_claims > _BARREN_CLAIMS:
            _log.error("turn.crashed", session_id=str(self._held.id))
            await self._fail("crashed")
            self._working = True  # an earlier claim said so
        elif self._turn is None and agent.status == "paused":
            await ending.wait_for_agent(self._engine, self._holding, waiting[0])
        elif self._turn is None and (seconds := await self._collecting()) > 0:
            await ending.wait_for_more(self._engine, self._holding, seconds)
        else:
            await self._converse(agent)

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

    async def _load(self) -> Agent:
        async with database.borrow(self._engine.pool) as connection:
            self._turn = await turns.live(connection, self._held.deployed_agent_id, self._held.id)
            await self._load_inputs(connection)
            return await agents.get(connection, self._held.deployed_agent_id)

    async def _load_inputs(self, connection: database.Connection) -> None:
        found = await inputs.open_inputs(connection, self._held.lease)
        self._mine = {i.id: i for i in found}

    # -------------------------------------------------------------- the conversation

    async def _converse(self, agent: Agent) -> None:
        self._working = True
        async with asyncio.TaskGroup() as tasks:
            self._showing.run_in(tasks)
            status = tasks.create_task(self._show("processing"))
            runtime_session = await session.ensure(self._engine, self._holding, agent)
            feed = tasks.create_task(
                follow(self._engine.runtime, runtime_session, self._held.place_at, self._inbox)
            )
            await self._until_released(runtime_session)
            feed.cancel()
            await status

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
            item = await self._next(runtime_session)
            match item:
                case Attached(events):
                    for event in events:
                        self._see(event)
                    self._seen.relisted()
                    await self._catch_up(runtime_session)
                case Live(event):
                    self._see(event)
                    if event["type"] not in _DECISIVE:
                        continue
                case Woken():
                    await self._side(runtime_session)
                    await self._steer(runtime_session)
                case Lost(failures, error):
                    if failures >= _LOST_STREAMS or isinstance(error, RuntimeGone):
                        raise error
                    continue
            if await self._advance(runtime_session):
                return

    def _see(self, event: Event) -> None:
        self._showing.see(event)
        if event["type"] not in _FRAGMENTS:
            self._seen.see(event)

    async def _next(self, runtime_session: str) -> Item:
        """The next item; after a silence the history is listed again, since nobody is deaf.

        Soon after an attach for the first time: what the history was late to show then is not on
        the stream either.
        """
        while True:
            try:
                async with asyncio.timeout(self._silence):
                    item = await self._inbox.get()
            except TimeoutError:
                self._silence = max(min(self._silence * 2, 300.0), self._engine.timing.quiet)
                history = await self._engine.runtime.history(runtime_session, self._held.place_at)
                for event in history:
                    self._see(event)
                return Woken()
            if isinstance(item, Attached):
                self._silence = self._engine.timing.settle
            return item

    async def _catch_up(self, runtime_session: str) -> None:
        """After each attach: settles what was being sent, then sends what waits."""
        async with database.borrow(self._engine.pool) as connection:
            await self._load_inputs(connection)
        in_doubt = [i for i in self._mine.values() if i.state == "sending"]
        missing = await self._settle(runtime_session, in_doubt) if in_doubt else []
        queued = [i for i in self._mine.values() if i.state == "queued" and i.turn_id]
        self._unsent = any(i.kind in sending.MESSAGES for i in queued + missing)
        if self._turn is None or self._unsent:
            await self._begin(runtime_session)
        await self._side(runtime_session)

    async def _settle(self, runtime_session: str, in_doubt: list[Input]) -> list[Input]:
        arrived = self._seen.arrived()
        there: list[tuple[UUID, str | None]] = [
            (i.id, arrived[i.send_key]) for i in in_doubt if i.send_key in arrived
        ]
        if there:
            async with appending(self._engine, self._holding) as append:
                await inputs.mark_sent(append.connection, self._held.lease, there)
        rest = [i for i in in_doubt if i.send_key not in arrived]
        if not rest:
            return []
        return await sending.settle(self._engine, self._holding, runtime_session, rest, self._seen)

    # -------------------------------------------------------------- begin and send

    async def _begin(self, runtime_session: str) -> None:
        """Sends all waiting messages as one turn: a new one, or the one that they belong to."""
        await self._holding.enough_for(self._engine.runtime.deadline)
        people = await self._people()
        async with appending(self._engine, self._holding) as append:
            turned = await ending.turn_guests_away(append, list(self._mine.values()), people)
            started = await self._start(append)
        if started is None:
            raise Released
        self._turn, batch = started
        self._mine = {k: i for k, i in self._mine.items() if k not in turned}
        self._mine |= {i.id: i for i in batch}
        if batch:
            if self._holding.behaviour.stream:
                last = batch[-1].body
                self._showing.begin(self._turn.id, str(last.get("user")), last.get("team"))
            await self._send(runtime_session, batch, people)

    async def _start(self, append: Append) -> tuple[Turn, list[Input]] | None:
        """The turn with its inputs marked `sending`; None, released, when nothing waits any more."""
        waiting = await inputs.any_queued(append.connection, self._held.lease, sending.MESSAGES)
        if not waiting and self._turn is None:
            await append.release()
            return None
        turn = self._turn or await turns.begin(append.connection, self._held)
        batch = await inputs.start_sending(
            append.connection,
            self._held.lease,
            turn.id,
            sending.MESSAGES,
            timedelta(seconds=self._engine.runtime.deadline),
        )
        await sessions.turn_began(append.connection, self._held.lease)
        await append.unmark()
        return turn, batch

    async def _send(
        self, runtime_session: str, batch: list[Input], people: dict[str, Person]
    ) -> None:
        events = [sending.message_event(i, people.get(str(i.body.get("user")))) for i in batch]
        try:
            await sending.deliver(
                self._engine, self._holding, runtime_session, batch, events, self._seen
            )
        except RuntimeRefused as refused:
            if not refused.waits_for_answers:
                await self._refused(runtime_session, batch, refused)
            async with appending(self._engine, self._holding) as append:
                await inputs.unsend(append.connection, self._held.lease, [i.id for i in batch])
            self._unsent = True
        else:
            self._unsent = False

    async def _refused(
        self, runtime_session: str, batch: list[Input], refused: RuntimeRefused
    ) -> None:
        """A session that has ended behind our back is replaced; otherwise the messages end here."""
        if (await self._engine.runtime.session(runtime_session)).over:
            raise RuntimeGone(str(refused)) from refused
        await ending.refused(self._engine, self._holding, self._turn, batch, refused)
        raise Released from refused

    async def _steer(self, runtime_session: str) -> None:
        """Where the agent is set to it: what came mid-turn joins the turn at once.

        Interrupt and messages go in one request, so that nothing comes between them; none goes
        while an earlier interrupt is under way, which could stop what follows it.
        """
        turn = self._turn
        if self._holding.behaviour.busy != "steer" or turn is None or self._unsent:
            return
        if self._seen.stopping or self._ended() is not None:
            return
        async with database.borrow(self._engine.pool) as connection:
            if not await inputs.any_queued(connection, self._held.lease, sending.MESSAGES):
                return
            await self._load_inputs(connection)
        await self._holding.enough_for(self._engine.runtime.deadline)
        people = await self._people()
        async with appending(self._engine, self._holding) as append:
            turned = await ending.turn_guests_away(append, list(self._mine.values()), people)
            started = await self._start(append)
        self._mine = {k: i for k, i in self._mine.items() if k not in turned}
        batch = started[1] if started else []
        if batch:
            self._mine |= {i.id: i for i in batch}
            await self._join(runtime_session, turn, batch, people)

    async def _join(
        self, runtime_session: str, turn: Turn, batch: list[Input], people: dict[str, Person]
    ) -> None:
        events: list[Event] = [{"type": "user.interrupt"}]
        events += [sending.message_event(i, people.get(str(i.body.get("user")))) for i in batch]
        try:
            await sending.deliver(
                self._engine, self._holding, runtime_session, batch, events, self._seen
            )
        except RuntimeRefused:
            await ending.not_taken(self._engine, self._holding, turn, batch)
            self._mine = {k: i for k, i in self._mine.items() if i not in batch}

    async def _people(self) -> dict[str, Person]:
        install_id = self._held.slack_install_id
        if install_id is None:
            return {}
        users = {str(i.body.get("user")) for i in self._mine.values() if i.kind in sending.MESSAGES}
        return {u: await self._engine.conversation.person(install_id, u) for u in sorted(users)}

    # -------------------------------------------------------------- what the events ask for

    async def _side(self, runtime_session: str) -> None:
        """Decisions and interrupts for the turn; once it is over there is nothing to stop."""
        if self._turn is not None and self._ended() is None:
            await sending.send_side(
                self._engine, self._holding, runtime_session, self._turn.id, self._seen
            )

    async def _advance(self, runtime_session: str) -> bool:
        """Acts on what was seen; True once the session is released."""
        if self._turn is None:
            return False
        held_calls = self._seen.held()
        if held_calls:
            await self._decline(runtime_session, held_calls)
            return False
        if self._seen.stopping:
            return False  # what is sent now, in this turn or the next, could be what it stops
        if self._unsent:
            if self._seen.at_rest():
                await self._begin(runtime_session)
            return False
        ended = self._ended()
        if ended is None:
            await self._steer(runtime_session)
            return False
        await self._showing.end(self._turn.id)
        steps = self._showing.steps(interrupted=ended.interrupted)
        mine = self._asked()
        await ending.finish(self._engine, self._holding, self._turn, ended, mine, steps)
        return True

    def _asked(self) -> list[Input]:
        """The messages that are the turn's."""
        return [i for i in self._mine.values() if i.kind in sending.MESSAGES and i.turn_id]

    def _ended(self) -> Ended | None:
        """The turn's end, as far as events tell; None while a message of it is still to be sent."""
        if self._unsent:
            return None
        return self._seen.ended({i.send_key for i in self._asked()})

    async def _decline(self, runtime_session: str, held_calls: list[HeldCall]) -> None:
        """Until there are approvals, no call that needs one is made, and the thread hears of it."""
        assert self._turn is not None  # noqa: S101  # a call is held only within a turn
        turn = self._turn
        async with appending(self._engine, self._holding) as append:
            await inputs.add(append.connection, [self._decision(call, turn) for call in held_calls])
            await append.say([_told(call, turn) for call in held_calls])
        await self._side(runtime_session)

    def _decision(self, call: HeldCall, turn: Turn) -> NewInput:
        says = notices.unserved_result(call.tool) if call.custom else notices.DENY_MESSAGE
        return NewInput(
            id=new_id(),
            deployed_agent_id=self._held.deployed_agent_id,
            workspace_id=self._held.workspace_id,
            session_id=self._held.id,
            kind="decision",
            body={
                "turn": str(turn.id),
                "event": {"id": call.event_id, "custom": call.custom},
                "says": says,
            },
            order_key=clock.timestamp(),
            dedupe_key=f"act:{call.event_id}",
        )

    async def _after_runtime_failure(self, error: RuntimeFailure) -> None:
        if isinstance(error, RuntimeGone):
            steps = self._showing.steps(interrupted=True)
            await ending.gone(self._engine, self._holding, self._turn, steps)
        else:
            _log.error("runtime.refused", session_id=str(self._held.id), error=str(error))
            await self._fail("refused")

    async def _fail(self, reason: str) -> None:
        steps = self._showing.steps(interrupted=True)
        await ending.fail(self._engine, self._holding, self._turn, reason, steps)


def _told(call: HeldCall, turn: Turn) -> Effect:
    sentence = notices.unserved_tool if call.custom else notices.held_call
    body = notices.Notice(sentence(call.tool)).body()
    return notice(f"notice:{call.event_id}:declined", body, turn_id=turn.id)


def _first(raised: Exception) -> Exception:
    """The error itself, out of the groups that task groups wrap it in."""
    return _first(raised.exceptions[0]) if isinstance(raised, ExceptionGroup) else raised

"""What people said on its way to the runtime: as a turn of its own, or into the one in flight.

  begin    all that waits makes a turn, or what is missing of one goes out again
  steer    what came mid-turn joins the turn, behind an interrupt in the same request
  settle   what a lost request, or a lost holder, left in `sending` is looked for

None goes while an interrupt is under way, which could stop what follows it: the projection's
`stopping` tells. A steer that did not arrive is an ordinary waiting message again, so it is steered
again, with its interrupt, or makes the next turn where this one has ended meanwhile.

What comes along with a message is fetched before it goes (router.turns.bringing). A turn of such
messages is open meanwhile; `begin` and `steer` return at once, and are called again.
"""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from router import clock, outside
from router.errors import RuntimeGone, RuntimeRefused
from router.ports import Person
from router.runtime.budget import Need
from router.turns import ending, sending, unsent
from router.turns.bringing import Bringing
from router.turns.engine import Append, Engine, Holding, Released, appending
from router.turns.project import Ended, Event, Projection
from router.turns.showing import Showing
from store import database, inputs, leases
from store.holding import Found, begin_turn
from store.inputs import Input
from store.turns import Turn

_FRESH_SECONDS = 1.0  # as old as what a holder hears from other processes may be


class _NotLookedAt(Exception):
    """Something came meanwhile from somebody else: it is looked at before anything is sent."""


class Messages:
    """The open inputs of a session and its turn in flight, if there is one.

    `unsent`: a message of the turn is still to be sent, so whatever ends, the turn does not.
    """

    def __init__(
        self,
        engine: Engine,
        holding: Holding,
        seen: Projection,
        showing: Showing,
        wake: Callable[[], None],
    ) -> None:
        self._engine = engine
        self._holding = holding
        self._held = holding.held
        self._seen = seen
        self._showing = showing
        self._mine: dict[UUID, Input] = {}
        self._loaded_at = 0.0
        self._wake = wake
        self._wake_seq: int | None = None  # what others had sent when all of it was looked at
        self._alone = False
        self.bringing = Bringing(engine, holding, wake)
        self.turn: Turn | None = None
        self.unsent = False

    def load(self, found: Found) -> None:
        """Takes what a claim finds."""
        self.turn = found.turn
        self._mine = {i.id: i for i in found.inputs}
        self._loaded_at = clock.monotonic()
        self._wake_seq = found.wake_seq

    def alone(self) -> bool:
        """Whether the turn has just begun, and nothing else had come by then; told only once."""
        alone, self._alone = self._alone, False
        return alone

    async def _reload(self) -> None:
        async with database.borrow(self._engine.pool) as connection:
            await self._load_inputs(connection)

    async def _load_inputs(self, connection: database.Connection) -> None:
        found = await inputs.open_inputs(connection, self._held.lease)
        self._mine = {i.id: i for i in found}
        self._wake_seq = None

    @property
    def all(self) -> list[Input]:
        """The messages that have not ended, in order."""
        return [i for i in self._mine.values() if i.kind in sending.MESSAGES]

    @property
    def urgent(self) -> bool:
        """Whether somebody decided something, or wants it stopped: that goes past every line."""
        return any(i.kind in sending.SIDE for i in self._mine.values())

    @property
    def asked(self) -> list[Input]:
        """Those that are the turn's."""
        return [i for i in self.all if i.turn_id]

    @property
    def untold(self) -> bool:
        """Whether none of the turn's has left since they were read, so that none is at the runtime."""
        return self.unsent and all(i.state == "queued" for i in self.asked)

    def ended(self) -> Ended | None:
        """The turn's end, as far as events tell; None while a message of it is still to be sent."""
        if self.unsent:
            return None
        return self._seen.ended({i.send_key for i in self.asked})

    # -------------------------------------------------------------- after an attach

    async def catch_up(self, runtime_session: str) -> None:
        """After each attach: settles what was being sent, then sends what waits."""
        fresh, self._loaded_at = clock.monotonic() < self._loaded_at + _FRESH_SECONDS, 0.0
        begins = self.turn is None and self._wake_seq is not None  # which proves what it goes by
        if not (fresh or begins):
            await self._reload()
        if in_doubt := [i for i in self._mine.values() if i.state == "sending"]:
            await self._settle(runtime_session, in_doubt)
            await self._reload()
        self.unsent = any(i.state == "queued" for i in self.asked)
        if self.turn is None or self.unsent or not self.asked:
            await self.begin(runtime_session)

    async def _settle(self, runtime_session: str, in_doubt: list[Input]) -> None:
        rest = await self._not_there(in_doubt)
        if rest:
            await sending.settle(self._engine, self._holding, runtime_session, rest, self._seen)

    async def _not_there(self, batch: list[Input]) -> list[Input]:
        """Those that the runtime has not shown; the others are sent."""
        arrived = self._seen.arrived()
        there: list[tuple[UUID, str | None]] = [
            (i.id, arrived[i.send_key]) for i in batch if i.send_key in arrived
        ]
        if there:
            async with appending(self._engine, self._holding) as append:
                await inputs.mark_sent(append.connection, self._held.lease, there)
        return [i for i in batch if i.send_key not in arrived]

    # -------------------------------------------------------------- begin

    async def begin(self, runtime_session: str) -> None:
        """Sends all waiting messages as one turn: a new one, or the one that they belong to.

        Not yet where something that comes along is on its way. Raises Released where nothing waits
        any more.
        """
        taken = await self._taken(runtime_session)
        if taken is None:
            self.unsent = True
            return
        people, started = taken
        if started is None:
            raise Released
        if self.turn is None:
            self._showing.is_first()
        self.turn, batch = started
        if batch:
            if self._holding.behaviour.stream:
                last = batch[-1].body
                self._showing.begin(
                    self.turn.id,
                    str(last.get("user")),
                    last.get("team"),
                    self._holding.behaviour.mentions,
                )
            await self._send(runtime_session, batch, people)

    async def _taken(
        self, runtime_session: str
    ) -> tuple[dict[str, Person], tuple[Turn, list[Input]] | None] | None:
        """As `_take`; None where it is too early."""
        while True:
            if self.bringing.under_way:
                await self._reload()
            if self.bringing.lacks(self._waiting):
                if self.bringing.under_way or await self._fetch(runtime_session):
                    return None
            else:
                await self.bringing.stop()
            try:
                return await self._take()
            except _NotLookedAt:
                await self._reload()

    @property
    def _waiting(self) -> list[Input]:
        return [i for i in self.all if i.state == "queued"]

    async def _fetch(self, runtime_session: str) -> bool:
        """Begins to fetch what comes along, in a turn that is open for it; guests go before that."""
        people = await self._people()
        async with appending(self._engine, self._holding, progress=False) as append:
            await self._load_inputs(append.connection)
            turned = await ending.turn_guests_away(append, list(self._mine.values()), people)
            self._mine = {k: i for k, i in self._mine.items() if k not in turned}
            lacking = self.bringing.lacks(self._waiting)
            is_new, turn = self.turn is None, self.turn
            if lacking:
                turn = await unsent.opened(append, turn)
                await self._load_inputs(append.connection)
        if not lacking:
            return False
        self.turn = turn
        if is_new:
            self._showing.is_first()
        self.bringing.start(runtime_session, self._waiting)
        return True

    async def _take(self) -> tuple[dict[str, Person], tuple[Turn, list[Input]] | None]:
        """Queued → sending for all but guests; the people who speak, and `_start`'s answer."""
        await self._holding.enough_for(self._engine.runtime.deadline)
        people = await self._people()
        turned: set[UUID] = set()
        started = await self._begun_at_once(people)
        if started is None:
            async with appending(self._engine, self._holding, progress=False) as append:
                turned = await ending.turn_guests_away(append, list(self._mine.values()), people)
                started = await self._begun(append, people) or await self._start(append)
        self._mine = {k: i for k, i in self._mine.items() if k not in turned}
        self._mine |= {i.id: i for i in started[1]} if started else {}
        return people, started

    async def _begun_at_once(self, people: dict[str, Person]) -> tuple[Turn, list[Input]] | None:
        """The usual way: nothing came since the claim, and what it found asks for nothing else.

        Raises _NotLookedAt where something came.
        """
        seq, self._wake_seq = self._wake_seq, None
        mine = list(self._mine.values())
        if seq is None or self.turn is not None or any(i.shown_waiting for i in mine):
            return None
        if ending.unwelcome(mine, people):
            return None
        async with database.borrow(self._engine.pool) as connection:
            begun = await self._begin(connection, seq)
        if begun is None:
            raise _NotLookedAt
        self._alone = not self.urgent and self._held.archive_requested_at is None
        return begun

    async def _begun(
        self, append: Append, people: dict[str, Person]
    ) -> tuple[Turn, list[Input]] | None:
        """The same where more came: whatever waits now makes the turn."""
        if self.turn is not None:
            return None
        begun = await self._begin(append.connection, append.wake_seq)
        if begun is not None and self._is_new(begun[1], people):
            raise _NotLookedAt
        if any(i.shown_waiting for i in [*self._mine.values(), *(begun[1] if begun else [])]):
            await append.unmark()
        return begun

    async def _begin(
        self, connection: database.Connection, wake_seq: int
    ) -> tuple[Turn, list[Input]] | None:
        limit = timedelta(seconds=self._engine.runtime.deadline)
        return await begin_turn(connection, self._held, sending.MESSAGES, limit, wake_seq)

    def _is_new(self, batch: list[Input], people: dict[str, Person]) -> bool:
        """Whether, since the inputs were read, something came along, or somebody whom we do not know."""
        if self._held.slack_install_id is None:
            return False
        if self.bringing.lacks(batch):
            return True
        theirs = (i for i in batch if not outside.is_from(i.body))
        return any(str(i.body.get("user")) not in people for i in theirs)

    async def _start(self, append: Append) -> tuple[Turn, list[Input]] | None:
        """What waits joins the turn in flight; None, released, when nothing waits any more."""
        turn, lease = self.turn, self._held.lease
        if turn is None or await self._is_void(append, turn):
            await leases.fence(append.connection, lease)  # to decide so was progress
            await append.release()
            return None
        limit = timedelta(seconds=self._engine.runtime.deadline)
        batch = await inputs.start_sending(
            append.connection, lease, turn.id, sending.MESSAGES, limit
        )
        if self.bringing.lacks(batch):
            raise _NotLookedAt
        await append.unmark()
        return turn, batch

    async def _is_void(self, append: Append, turn: Turn) -> bool:
        """True once its messages were all taken back before they left, and none waits: it ends."""
        if await inputs.any_queued(append.connection, self._held.lease, sending.MESSAGES):
            return False
        await self._load_inputs(append.connection)
        if self.asked:
            return False
        await ending.withdrawn(append, turn)
        return True

    async def _send(
        self, runtime_session: str, batch: list[Input], people: dict[str, Person]
    ) -> None:
        """Sends what is not there: two looks may have been too early for what the attach then shows."""
        try:
            if batch := await self._not_there(batch):
                await self._deliver(runtime_session, batch, self._events(batch, people))
        except RuntimeRefused as refused:
            if not refused.waits_for_answers:
                await self._refused(runtime_session, batch, refused)
            async with appending(self._engine, self._holding) as append:
                await inputs.unsend(append.connection, self._held.lease, [i.id for i in batch])
            self.unsent = True
        else:
            self.unsent = False

    async def _refused(
        self, runtime_session: str, batch: list[Input], refused: RuntimeRefused
    ) -> None:
        """A session that has ended behind our back is replaced; otherwise the messages end here."""
        if (await self._engine.runtime.session(Need.LIVE, runtime_session)).over:
            raise RuntimeGone(str(refused)) from refused
        await ending.refused(self._engine, self._holding, self.turn, batch, refused)
        raise Released from refused

    # -------------------------------------------------------------- steer

    async def steer(self, runtime_session: str) -> None:
        """Where the agent is set to it: what came mid-turn joins the turn at once.

        Interrupt and messages go in one request, so that nothing comes between them; none goes
        while an earlier interrupt is under way, which could stop what follows it.
        """
        turn = self.turn
        if self._holding.behaviour.busy != "steer" or turn is None or self.unsent:
            return
        if self._seen.stopping or self.ended() is not None:
            return
        async with database.borrow(self._engine.pool) as connection:
            if not await inputs.any_queued(connection, self._held.lease, sending.MESSAGES):
                return
            await self._load_inputs(connection)
        if self.bringing.lacks(self._waiting):
            self.bringing.start(runtime_session, self._waiting)
            return
        try:
            people, started = await self._take()
        except _NotLookedAt:
            self._wake()
            return
        batch = started[1] if started else []
        if batch := await self._not_there(batch):
            await self._join(runtime_session, turn, batch, people)

    async def _join(
        self, runtime_session: str, turn: Turn, batch: list[Input], people: dict[str, Person]
    ) -> None:
        interrupt: Event = {"type": "user.interrupt"}
        try:
            await self._deliver(runtime_session, batch, [interrupt, *self._events(batch, people)])
        except RuntimeRefused as refused:
            await ending.not_taken(self._engine, self._holding, turn, batch, refused)
            self._mine = {k: i for k, i in self._mine.items() if i not in batch}

    async def _deliver(self, runtime_session: str, batch: list[Input], events: list[Event]) -> None:
        await sending.deliver(
            self._engine, self._holding, runtime_session, batch, events, self._seen
        )

    async def _people(self) -> dict[str, Person]:
        install_id = self._held.slack_install_id
        if install_id is None:
            return {}
        users = {str(i.body.get("user")) for i in self.all if not outside.is_from(i.body)}
        return {u: await self._engine.conversation.person(install_id, u) for u in sorted(users)}

    def _events(self, batch: list[Input], people: dict[str, Person]) -> list[Event]:
        return [
            sending.message_event(i, people.get(str(i.body.get("user"))), self.bringing.take(i))
            for i in batch
        ]

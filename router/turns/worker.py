"""Claims ready sessions and runs their turns, any number of replicas side by side.

A session is offered by the accept of the same process, by a NOTIFY from another, or by the sweep,
which is the truth: the other two may be lost. Claiming is a compare-and-set, so an offer too many
costs one statement. Leases are renewed every third of their length, agent by agent, skipping locked
rows; a session that is not renewed twice running is lost, and its turn is cancelled.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import islice
from uuid import UUID, uuid4

import structlog

from router import clock
from router.errors import RuntimeFailure
from router.loops import Stop, every
from router.runtime.budget import Need
from router.turns import ending
from router.turns.engine import Engine, Holding
from router.turns.project import usage_between
from router.turns.run import Runner
from store import database, holding as holding_of, leases, sessions, usage
from store.database import Pool
from store.leases import Lease, LeaseLost, Ready

_log = structlog.get_logger(__name__)

_MISSES = 2
_CLAIMS = 20  # at once
_BEGINNING = 100  # until their streams are open and what waited is sent
_SWEPT = 100
_ASK_SECONDS = 5.0  # a line that has gone dead says nothing by itself
_GONE: tuple[type[Exception], ...] = (LeaseLost, *database.ERRORS)
_QUIET_BEFORE_DISAGREE = timedelta(seconds=45)


class Worker:
    """Holds at most `capacity` live turns. `run` returns when all are handed back after `stop`."""

    _tasks: asyncio.TaskGroup

    def __init__(self, engine: Engine, leases: Pool, *, owner: str, capacity: int) -> None:
        self._engine = engine
        self._leases = leases  # turns that keep every connection busy must not cost the leases
        self._owner = owner
        self._capacity = capacity
        self._offers: dict[Ready, None] = {}
        self._offered = asyncio.Event()
        self._live: dict[Ready, tuple[Holding, Runner, asyncio.Task[None]]] = {}
        self._seqs: dict[Ready, int] = {}
        self._again: set[Ready] = set()
        self._look = asyncio.Event()
        self._beginning: set[Ready] = set()
        self._more = False

    @property
    def live_turns(self) -> int:
        """How many sessions this replica holds."""
        return len(self._live)

    def offer(self, ready: list[Ready]) -> None:
        """Says that sessions may want a worker; one that is held here hears it itself."""
        for one in ready:
            if one in self._live:
                self._again.add(one)
                self._live[one][1].wake()
            else:
                self._offers[one] = None
        self._offered.set()

    async def run(self, stop: Stop) -> None:
        """Claims and runs until `stop`, then hands everything back."""
        timing = self._engine.timing
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            loops = [
                every(timing.sweep, self._sweep, stop, wake=self._look),
                every(timing.lease / 3, self._renew, stop),
                every(1.0, self._read_wakes, stop),
                every(timing.disagree, self._wake_disagreeing, stop),
                every(timing.disagree, self._settle_usage, stop),
                self._claim_offers(stop),
            ]
            for loop in loops:
                tasks.create_task(loop)
            await stop.wait()
            self._offered.set()

    # -------------------------------------------------------------- claiming

    async def _claim_offers(self, stop: Stop) -> None:
        """Never cancelled: a claim cut short would leave a lease that nobody renews.

        So the end of all turns begins here, after the last claim has become one.
        """
        while not stop.said:
            await self._offered.wait()
            self._offered.clear()
            while self._offers and (room := self._room()) > 0 and not stop.said:
                some = list(islice(self._offers, min(_CLAIMS, room)))
                for one in some:
                    del self._offers[one]
                await self._claim_some([one for one in some if one not in self._live])
            if self._more:  # the sweep found as many as it asked for
                self._look.set()
        await clock.sleep(0)  # a task that is cancelled before its first step hands nothing back
        for _, _, task in list(self._live.values()):
            task.cancel()

    def _room(self) -> int:
        """How many more may be claimed now: each that begins takes the database's time from the others.

        A thousand that began at once would all wait so long for a connection that none got through.
        """
        return min(self._capacity - len(self._live), _BEGINNING - len(self._beginning))

    def _begun(self, one: Ready) -> None:
        if one in self._beginning:
            self._beginning.discard(one)
            self._offered.set()

    async def _claim_some(self, wanted: list[Ready]) -> None:
        """One by one where there is one: that waits for its row, while several wait for none."""
        by_agent: defaultdict[UUID, list[UUID]] = defaultdict(list)
        for one in wanted:
            by_agent[one.deployed_agent_id].append(one.session_id)
        for agent_id, ids in by_agent.items():
            asked_at = clock.monotonic()
            expires = asked_at + self._engine.timing.lease
            try:
                claimed = await self._claimed(agent_id, ids, expires)
            except database.ERRORS as error:
                _log.warning("claim.failed", error=type(error).__name__)
                continue
            for holding in claimed:
                self._run(holding)

    async def _claimed(self, agent_id: UUID, ids: list[UUID], expires: float) -> list[Holding]:
        """What was to be had, with what there is to do for it: looked at together, after the claim."""
        lease = timedelta(seconds=self._engine.timing.lease)
        async with database.within(self._leases, lease.total_seconds() / 3) as connection:
            if len(ids) > 1:
                some = await leases.claim_some(connection, agent_id, ids, self._owner, lease)
            else:
                one = await leases.claim(connection, Ready(agent_id, ids[0]), self._owner, lease)
                some = [one] if one is not None else []
            if not some:
                return []
            found = await holding_of.found(connection, agent_id, [held.id for held in some])
        return [Holding(held, expires, found[held.id]) for held in some]

    def _run(self, holding: Holding) -> None:
        held = holding.held
        runner = Runner(self._engine, holding, partial(self._begun, held.ready))
        self._beginning.add(held.ready)
        task = self._tasks.create_task(self._guard(held.ready, holding, runner))
        self._live[held.ready] = (holding, runner, task)
        self._seqs[held.ready] = held.wake_seq

    async def _guard(self, wanted: Ready, holding: Holding, runner: Runner) -> None:
        """Runs one turn; whatever happens to it, the replica goes on."""
        try:
            await runner.run()
        except asyncio.CancelledError:
            await self._hand_back(holding)
        except LeaseLost:
            _log.info("lease.lost", session_id=str(holding.held.id))
        except database.ERRORS as error:
            _log.warning(
                "turn.interrupted", session_id=str(holding.held.id), error=type(error).__name__
            )
        except Exception:  # noqa: BLE001  # logged; the loop goes on
            # The failing itself failed; the lease runs out and the next claim counts against it.
            _log.exception("turn.abandoned", session_id=str(holding.held.id))
        finally:
            del self._live[wanted]
            self._beginning.discard(wanted)
            self._seqs.pop(wanted, None)
            if wanted in self._again:
                self._again.discard(wanted)
                self._offers[wanted] = None
            self._offered.set()

    async def _hand_back(self, holding: Holding) -> None:
        if holding.missed >= _MISSES:
            return
        try:
            await ending.hand_back(self._engine, holding)
        except _GONE as error:
            _log.info("lease.not_handed_back", error=type(error).__name__)

    # -------------------------------------------------------------- loops

    async def _sweep(self) -> None:
        """As many as there is room for, also where they wait for the runtime's permits.

        A holder that only waits would die with its process again and again, and pass for poison.
        """
        free = min(self._capacity - len(self._live), self._engine.runtime.room("read"), _SWEPT)
        self._more = False
        if free <= 0:
            return
        async with database.borrow(self._engine.pool) as connection:
            found = await leases.ready(connection, uuid4(), free)
        self._more = len(found) == _SWEPT
        self.offer(found)

    async def _renew(self) -> None:
        by_agent: defaultdict[UUID, list[Ready]] = defaultdict(list)
        for one in self._live:
            by_agent[one.deployed_agent_id].append(one)
        for agent_id, held in by_agent.items():
            await self._renew_agent(agent_id, held)

    async def _renew_agent(self, agent_id: UUID, held: list[Ready]) -> None:
        mine: list[Lease] = [self._live[one][0].held.lease for one in held if one in self._live]
        asked_at = clock.monotonic()
        lease = self._engine.timing.lease
        try:
            async with database.within(self._leases, lease / 3) as connection:
                renewed = await leases.renew(connection, agent_id, mine, timedelta(seconds=lease))
        except database.ERRORS as error:
            _log.warning("renew.failed", error=type(error).__name__, leases=len(mine))
            renewed = set()
        for one in held:
            if one in self._live:
                self._note_renewal(one, one.session_id in renewed, asked_at + lease)

    def _note_renewal(self, one: Ready, renewed: bool, expires: float) -> None:  # noqa: FBT001
        holding, _, task = self._live[one]
        if renewed:
            holding.renew(expires)
            return
        holding.missed += 1
        if holding.missed >= _MISSES:
            _log.warning("lease.lost", session_id=str(one.session_id))
            task.cancel()

    async def _read_wakes(self) -> None:
        """What was woken in another process: each held session's wake_seq, once a second."""
        by_agent: defaultdict[UUID, list[UUID]] = defaultdict(list)
        for one in self._live:
            by_agent[one.deployed_agent_id].append(one.session_id)
        for agent_id, held in by_agent.items():
            async with database.borrow(self._engine.pool) as connection:
                seqs = await leases.wake_seqs(connection, agent_id, held)
            for session_id, seq in seqs.items():
                one = Ready(agent_id, session_id)
                if one in self._live and self._seqs.get(one, seq) < seq:
                    self._seqs[one] = seq
                    self._live[one][1].wake()

    async def _wake_disagreeing(self) -> None:
        """Nobody is deaf: sessions that run here but rest at the runtime are looked at again."""
        async with database.borrow(self._engine.pool) as connection:
            if not await sessions.any_running(connection, _QUIET_BEFORE_DISAGREE):
                return
        try:
            running = await self._engine.runtime.sessions_running(Need.LIVE)
        except RuntimeFailure as error:
            _log.info("disagree.unread", error=str(error))
            return
        async with database.borrow(self._engine.pool) as connection:
            await sessions.wake_disagreeing(connection, running, _QUIET_BEFORE_DISAGREE)

    async def _settle_usage(self) -> None:
        async with database.borrow(self._engine.pool) as connection:
            waiting = await usage.pending(connection, 20)
        for row in waiting:
            try:
                total = (
                    await self._engine.runtime.session(Need.VIEW, row.anthropic_session_id)
                ).usage
            except RuntimeFailure as error:
                _log.info("usage.pending", session_id=str(row.session_id), error=str(error))
                continue
            async with database.borrow(self._engine.pool) as connection, connection.transaction():
                used = usage_between(row.usage_snapshot, total)
                await usage.settle(connection, row, total, used)


class Wakes:
    """Tells other processes of woken sessions, and hears from them: a hint on its own connection.

    `on_installs` is told of every change of an install, and when one may have been missed.

    At most one NOTIFY each 20 ms, never inside an accept's transaction: a commit with a pending
    NOTIFY takes a lock of the whole server.
    """

    def __init__(
        self,
        dsn: str,
        heard: Callable[[list[Ready]], None],
        on_installs: Callable[[], None] = lambda: None,
    ) -> None:
        self._dsn = dsn
        self._heard = heard
        self._on_installs = on_installs
        self._outgoing: set[Ready] = set()

    def tell(self, ready: list[Ready]) -> None:
        """Passes sessions on with the next NOTIFY."""
        self._outgoing.update(ready)

    async def run(self, stop: Stop) -> None:
        """Keeps the connection and sends until `stop`."""
        while not stop.said:
            try:
                await self._session(stop)
            except database.ERRORS as error:
                _log.warning("wakes.lost", error=type(error).__name__)
                await stop.within(1.0)

    async def _session(self, stop: Stop) -> None:
        lost = asyncio.Event()
        connection = await database.listen(self._dsn, self._hear, lost)
        self._on_installs()
        try:
            asked_at = clock.monotonic()
            while not (stop.said or lost.is_set()):
                if self._outgoing or clock.monotonic() - asked_at > _ASK_SECONDS:
                    asked_at = clock.monotonic()
                    out, self._outgoing = self._outgoing, set()
                    await database.notify(
                        connection, [f"{r.deployed_agent_id}/{r.session_id}" for r in out]
                    )
                await stop.within(0.02)
        finally:
            connection.terminate()

    def _hear(self, payload: str) -> None:
        if payload == database.INSTALLS:
            self._on_installs()
            return
        agent_id, _, session_id = payload.partition("/")
        self._heard([Ready(UUID(agent_id), UUID(session_id))])

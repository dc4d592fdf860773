"""The one door in: `accept` makes an arrival durable, once, and only then returns.

Waiting arrivals are committed together: new words by one statement (`router.fresh`), what that leaves
and everything else in one transaction after it. Either takes its locks in this order, so that two
batches never wait for each other (engine.md 1 and 2):

1. pins of threads, sorted by key                       slack_threads
2. sessions created or woken, sorted by key             agent_sessions (the row lock of the rest)
3. inputs added, replaced, corrected or withdrawn       session_inputs
4. sentences for those who are turned away              slack_outbox

A batch has at most one arrival per conversation, so keys are distinct. When the batch fails because
of one of its rows, each runs alone. A reply below a question's card wakes a session whose key is not
that of its thread, so it leaves the batch for a transaction of its own (`router.replies_below`).
Nothing is told "accepted" before COMMIT; an error means unknown, and the same arrival may come
again: every write is keyed.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

import structlog

from router import busy, commands, fresh, refusals, replies_below, revisions, routing
from router.errors import AcceptUnavailable
from router.loops import Stop, wait_for
from router.routing import Arrival, Followed, Outcome, Routing, Turned
from store import arrivals, database, inputs, sessions, threads
from store.database import Connection, Pool
from store.inputs import NewInput
from store.leases import Ready
from store.sessions import NewSession, Woken

_log = structlog.get_logger(__name__)

ACCEPT_SECONDS = 1.8
# A batch, then each of its rows alone, then the next batch: all of it within the time of an accept.
_LOCK_SECONDS = 0.4
_BATCH = 64
# While one batch is with the database the next is gathered: few large ones cost both much less than many
# small ones. One that takes longer than most, as behind a lock, is not waited for.
_SIDE_BY_SIDE = 3
_PATIENCE_SECONDS = 0.008
_WAITING = 2_000
_TITLE = 80


@dataclass(slots=True, eq=False)
class _Waiting:
    """`below` is set once it is known to be a reply below a question's card.

    `twins` are events of the same message that came meanwhile: what becomes of it becomes of them.
    """

    arrival: Arrival
    answer: asyncio.Future[Outcome] = field(repr=False)
    until: float
    below: Followed | None = None
    twins: list["_Waiting"] = field(default_factory=list)


class Intake:
    """Accepts arrivals in batches. `run` must be running; `on_ready` hears of woken sessions."""

    def __init__(
        self, pool: Pool, on_ready: Callable[[list[Ready]], None], on_notice: Callable[[], None]
    ) -> None:
        self._pool = pool
        self._on_ready = on_ready
        self._on_notice = on_notice
        self._queue: list[_Waiting] = []
        self._filled = asyncio.Event()
        self._free = asyncio.Event()
        self._unanswered: deque[_Waiting] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self._under_way: set[str] = set()
        self._in_one_statement = True

    async def accept(self, arrival: Arrival) -> Outcome:
        """Commits an arrival. AcceptUnavailable when that was not possible within 1.8 s."""
        if len(self._queue) >= _WAITING:
            raise AcceptUnavailable("too many events are waiting for the database")
        loop = asyncio.get_running_loop()
        waiting = _Waiting(arrival, loop.create_future(), loop.time() + ACCEPT_SECONDS)
        self._queue.append(waiting)
        self._filled.set()
        self._unanswered.append(waiting)
        if self._alarm is None:
            self._alarm = loop.call_at(waiting.until, self._ring)
        return await waiting.answer

    def _ring(self) -> None:
        """Answers those whose time is over: one alarm for all, since all have the same time.

        An alarm for each would cost as much as the rest of its way through here.
        """
        loop = asyncio.get_running_loop()
        now, late = loop.time(), AcceptUnavailable("the database did not answer in time")
        while self._unanswered:
            first = self._unanswered[0]
            if not first.answer.done():
                if first.until > now:
                    break
                first.answer.set_exception(late)
            self._unanswered.popleft()
        self._queue = [w for w in self._queue if not w.answer.done()]
        self._alarm = (
            loop.call_at(self._unanswered[0].until, self._ring) if self._unanswered else None
        )

    async def stop(self, agent_id: UUID, session_id: UUID, by: str) -> bool:
        """Stops a session's turn for somebody outside of Slack; False if none is in flight.

        Raises the database's errors: nothing is known then, and asking again does no harm.
        """
        async with (
            database.within(self._pool, ACCEPT_SECONDS) as connection,
            connection.transaction(),
        ):
            done = await commands.stop(connection, agent_id, session_id, by)
        if done:
            self._on_ready([Ready(agent_id, session_id)])
        return done

    async def run(self, stop: Stop) -> None:
        """Commits what waits, until `stop`; what waits then is told to come again."""
        async with asyncio.TaskGroup() as tasks:
            workers = [tasks.create_task(self._commit_for_ever()) for _ in range(_SIDE_BY_SIDE)]
            await stop.wait()
            for worker in workers:
                worker.cancel()
        self._fail(self._queue, AcceptUnavailable("this process is stopping"))
        self._queue.clear()

    async def _commit_for_ever(self) -> None:
        while True:
            await self._filled.wait()
            if self._under_way:
                await wait_for(self._free, _PATIENCE_SECONDS)
            batch = self._take()
            if not batch:
                self._filled.clear()
                continue
            keys = {w.arrival.conversation_key for w in batch}
            self._under_way |= keys
            self._free.clear()
            try:
                await self._commit(batch)
            finally:
                self._under_way -= keys
                self._free.set()
                self._filled.set()

    def _take(self) -> list[_Waiting]:
        """The next batch, oldest first: at most one arrival per conversation, and its twins.

        None of a conversation that another batch has under way: it would only wait for that one's locks.
        """
        batch: dict[str, _Waiting] = {}
        rest: list[_Waiting] = []
        for waiting in self._queue:
            if waiting.answer.done():  # who asked is gone, or was told to come again
                continue
            key = waiting.arrival.conversation_key
            first = batch.get(key)
            if first is None and len(batch) < _BATCH and key not in self._under_way:
                batch[key] = waiting
            elif first is not None and fresh.are_twins(first.arrival, waiting.arrival):
                first.twins.append(waiting)
            else:
                rest.append(waiting)
        self._queue = rest
        return [batch[key] for key in sorted(batch)]

    async def _commit(self, batch: list[_Waiting]) -> None:
        try:
            left, outcomes = await self._in_time(batch)
        except database.ROW_ERRORS as error:
            left = _unanswered(batch)
            if len(batch) > 1:
                await self._commit_apart(left)
            else:
                self._unavailable(left, error)
        except arrivals.NOT_HERE:
            self._in_one_statement = False
            await self._commit(batch)
        except database.ERRORS as error:
            self._unavailable(batch, error)
        except Exception as bug:  # noqa: BLE001  # a bug must fail this batch, not the door
            _log.exception("accept.failed", events=len(batch))
            self._fail(batch, AcceptUnavailable(type(bug).__name__))
        else:
            if below := self._answer(left, outcomes):
                await self._commit_apart(below)

    async def _commit_apart(self, batch: list[_Waiting]) -> None:
        """Each alone and all at once: one that waits for a lock must not make the others late."""
        async with asyncio.TaskGroup() as tasks:
            for waiting in batch:
                tasks.create_task(self._commit([waiting]))

    async def _in_time(
        self, batch: list[_Waiting]
    ) -> tuple[list[_Waiting], list[Outcome | Followed]]:
        """Commits them; what new words became is told at once, of the others it is returned."""
        async with database.within(self._pool, ACCEPT_SECONDS) as connection:
            left = await self._take_in(connection, batch)
            if not left:
                return [], []
            async with connection.transaction():
                await database.wait_for_locks(connection, _LOCK_SECONDS)
                if (below := left[0].below) is not None:
                    return left, [await replies_below.take(connection, below)]
                return left, await _accept(connection, [w.arrival for w in left])

    async def _take_in(self, connection: Connection, batch: list[_Waiting]) -> list[_Waiting]:
        """Takes in new words and answers; what is left goes the longer way."""
        new = [w.arrival for w in batch if w.below is None and fresh.is_fresh(w.arrival)]
        if not (new and self._in_one_statement):
            return batch
        found = await fresh.take_in(connection, new, _LOCK_SECONDS)
        settled = [w for w in batch if w.arrival.conversation_key in found]
        self._answer(settled, [found[w.arrival.conversation_key] for w in settled])
        return [w for w in batch if w.arrival.conversation_key not in found]

    def _answer(
        self, batch: list[_Waiting], outcomes: Sequence[Outcome | Followed]
    ) -> list[_Waiting]:
        """Tells everybody what became of theirs; those who are to be committed apart are left."""
        below: list[_Waiting] = []
        settled: list[Outcome] = []
        for waiting, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Followed):
                waiting.below = outcome
                below.append(waiting)
                continue
            if outcome.kind == "early":
                self._fail([waiting], AcceptUnavailable("what this is below is not known yet"))
                continue
            settled.append(outcome)
            _say(waiting, outcome)
        self._tell(settled)
        return below

    def _tell(self, outcomes: list[Outcome]) -> None:
        ready = [o.session for o in outcomes if o.session is not None]
        if ready:
            self._on_ready(ready)
        if any(o.spoke for o in outcomes):
            self._on_notice()

    def _unavailable(self, batch: list[_Waiting], error: Exception) -> None:
        _log.warning(
            "accept.unavailable", error=f"{type(error).__name__}: {error}", events=len(batch)
        )
        self._fail(batch, AcceptUnavailable("the database is not available"))

    def _fail(self, batch: list[_Waiting], error: AcceptUnavailable) -> None:
        for waiting in _with_twins(batch):
            if not waiting.answer.done():
                waiting.answer.set_exception(error)

    async def move_unclaimed(self) -> None:
        """Accepts events whose thread came while they were being kept, and forgets old ones."""
        async with database.borrow(self._pool) as connection:
            raced = await threads.raced(connection, limit=100)
        for waiting in raced:
            await self.accept(Arrival.from_json(waiting.event))
        async with database.borrow(self._pool) as connection:
            if raced:
                await threads.drop_unclaimed(connection, raced)
            await threads.expire_unclaimed(connection)


def _say(waiting: _Waiting, outcome: Outcome) -> None:
    """The outcome for it, and for its twins, which are nothing new."""
    if not waiting.answer.done():
        waiting.answer.set_result(outcome)
    if waiting.twins:
        again = replace(outcome, kind="duplicate") if outcome.kind == "accepted" else outcome
        for twin in waiting.twins:
            if not twin.answer.done():
                twin.answer.set_result(again)


def _with_twins(batch: list[_Waiting]) -> list[_Waiting]:
    return [one for waiting in batch for one in (waiting, *waiting.twins)]


def _unanswered(batch: list[_Waiting]) -> list[_Waiting]:
    """Those of whom somebody still waits to hear."""
    return [w for w in batch if not all(one.answer.done() for one in (w, *w.twins))]


# ------------------------------------------------------------------ the transaction


async def _accept(connection: Connection, arrivals: list[Arrival]) -> list[Outcome | Followed]:
    """What became of each; of a reply below a card only where it belongs."""
    outcomes: dict[str, Outcome | Followed] = {}
    welcome = [a for a in arrivals if _unwelcome(a) is None]
    found = await routing.follow(connection, welcome) if welcome else Routing([], [], [])
    followed = [v for v in found.verdicts if isinstance(v, Followed)]
    below = [f for f in followed if replies_below.is_below_a_card(f)]
    outcomes |= {f.arrival.conversation_key: f for f in below}
    followed = [f for f in followed if not replies_below.is_below_a_card(f)]
    woken = await _wake(connection, followed)
    said = [f for f in followed if f.arrival.command is None]
    outcomes |= await _write_inputs(connection, said, found.taken_in, woken)
    outcomes |= await _obey(connection, [f for f in followed if f.arrival.command], woken)
    if found.taken:
        await threads.drop_unclaimed(connection, found.taken)
    turned = [v for v in found.verdicts if isinstance(v, Turned)]
    outcomes |= {
        t.arrival.conversation_key: Outcome("early", t.reason)
        for t in turned
        if t.reason == routing.EARLY
    }
    turned = [t for t in turned if t.reason != routing.EARLY]
    turned += [Turned(a, reason) for a in arrivals if (reason := _unwelcome(a))]
    turned += [
        Turned(f.arrival, "archived" if f.arrival.addressed else "archived_unaddressed")
        for f in said
        if f.arrival.conversation_key not in woken
    ]
    outcomes |= await refusals.turn_away(connection, turned)
    return [outcomes[a.conversation_key] for a in arrivals]


def _unwelcome(arrival: Arrival) -> str | None:
    if arrival.stranger:
        return "stranger"
    if arrival.joined:
        return "joined"
    if arrival.deleted or arrival.revision or arrival.command or not arrival.empty:
        return None  # an edit that leaves no words takes back what waits
    return "bare_mention" if arrival.addressed else "empty"


async def _wake(connection: Connection, followed: list[Followed]) -> dict[str, Woken]:
    if not followed:
        return {}
    wanted = [
        NewSession(
            id=f.thread.session_id,
            deployed_agent_id=f.thread.deployed_agent_id,
            workspace_id=f.thread.workspace_id,
            title=routing.title_of(f.arrival.text, _TITLE),
            created_by=f.arrival.user_id,
            slack_install_id=f.arrival.install_id,
            slack_team_id=f.arrival.team_id,
            slack_channel_id=f.arrival.channel_id,
            slack_thread_ts=f.arrival.root_ts,
            slack_conversation_key=f.arrival.conversation_key,
        )
        for f in followed
    ]
    return await sessions.wake_or_create(connection, wanted)


async def _write_inputs(
    connection: Connection,
    followed: list[Followed],
    taken_in: list[Followed],
    woken: dict[str, Woken],
) -> dict[str, Outcome]:
    there = [f for f in followed if f.arrival.conversation_key in woken]
    everything = there + [f for f in taken_in if f.arrival.conversation_key in woken]
    known = await revisions.known(connection, everything) if everything else {}
    marked = await busy.marked(connection, everything, woken)
    changes: list[tuple[Followed, list[NewInput], bool]] = []
    for item in everything:
        mine = known.get(item.arrival.dedupe_key)
        key = item.arrival.conversation_key
        new = revisions.new_inputs(item, woken[key].id, mine, marked=key in marked)
        body = item.arrival.body
        revised = mine is not None and await revisions.revise(connection, item.arrival, mine, body)
        changes.append((item, new, revised))
    adding = [one for _, new, _ in changes for one in new]
    added = await inputs.add(connection, adding) if adding else set()
    shown = [(f, one) for f, new, _ in changes for one in new if one.id in added]
    spoke = await busy.show(connection, [x for x in shown if x[1].shown_waiting])
    back = [f for f, _, revised in changes if revised and (f.arrival.deleted or f.arrival.empty)]
    spoke |= await busy.take_back(connection, back)
    return {
        item.arrival.conversation_key: Outcome(
            "accepted" if revised or any(one.id in added for one in new) else "duplicate",
            session=Ready(item.thread.deployed_agent_id, woken[item.arrival.conversation_key].id),
            spoke=item.arrival.conversation_key in spoke,
        )
        for item, new, revised in changes[: len(there)]
    }


async def _obey(
    connection: Connection, commands_: list[Followed], woken: dict[str, Woken]
) -> dict[str, Outcome]:
    outcomes: dict[str, Outcome] = {}
    for item in commands_:
        session = woken.get(item.arrival.conversation_key)
        done = session is not None and await commands.obey(connection, item, session.id)
        outcomes[item.arrival.conversation_key] = Outcome(
            "accepted" if done else "ignored",
            reason=item.arrival.command,
            spoke=done,
            session=Ready(item.thread.deployed_agent_id, session.id) if session else None,
        )
    return outcomes

"""Drives a real Threadline step by step: people, replicas, faults and time, in one process.

Each replica is an app of its own over the one database. What runs on its behalf is known by a
context variable, so that a kill ends all of it in one go: its connections to PostgreSQL are cut
first, so that nothing more is written, then every one of its tasks is cancelled. The loop runs only
while a step does.
"""

import asyncio
import re
import time
from collections.abc import Coroutine, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, TypeVar
from uuid import uuid4

import asyncpg

from bot.app import App
from bot.local.model import Json, Twins
from router.runtime.local import brain
from tests.chaos import model
from tests.chaos.model import TOKEN, Answered, Post, Received, Said, Seen, Stopped, Thread, Turn
from tests.conftest import database_named
from tests.harness import World, shown, world
from tests.support import eventually

T = TypeVar("T")

Words = Literal["plain", "slow", "tool", "retrying", "ask"]
MOST_REPLICAS = 3
PEOPLE = ("ada", "grace", "linus")
CHANNELS = ("general", "random", "private")

_RETRIES = (0.05, 1.0, 30.0, 30.0)
_REST_SECONDS = 45.0
_END_SECONDS = 10.0
# At the sixth claim without progress a turn is given up as poison: that is not what is tried here.
_MOST_BARREN = 4
_MARK = re.compile(r'\A<input id="([0-9a-f-]{36})')
_SAYS = {
    "plain": "{}",
    "slow": "!slow 20 {}",
    "tool": "!tool {}",
    "retrying": "!error retrying {}",
    "ask": "!ask {}",
}


@dataclass(eq=False, slots=True)
class Replica:
    """An app and all tasks that were ever started on its behalf."""

    number: int
    up: asyncio.Event = field(default_factory=asyncio.Event)
    leave: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    killed: bool = False
    app: App | None = None

    @property
    def running(self) -> App:
        assert self.app is not None
        return self.app

    @property
    def owner(self) -> str:
        return self.running.worker._owner

    def die(self) -> list[asyncio.Task[Any]]:
        """Cuts its connections to the database, then ends whatever it was doing; what must end."""
        self.killed = True
        app = self.running
        for pool in (app.book._pool, app.worker._engine.pool, app.worker._leases):
            pool.terminate()
        ending = list(self.tasks)
        for task in ending:
            task.cancel()
        return ending


_ON_BEHALF_OF: ContextVar[Replica] = ContextVar("_ON_BEHALF_OF")


def _noting_tasks(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **options)
    replica = _ON_BEHALF_OF.get(None)
    if replica is not None:
        replica.tasks.add(task)
        task.add_done_callback(replica.tasks.discard)
    return task


class Machine:
    """One world with its replicas, and the notes on what people did in it."""

    here: World
    _tasks: asyncio.TaskGroup
    _database: "asyncpg.Connection[asyncpg.Record]"

    def __init__(self, postgres_dsn: str, template: str) -> None:
        self.threads: list[Thread] = []
        self.replicas: list[Replica] = []
        self._postgres_dsn, self._template = postgres_dsn, template
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._runner.get_loop().set_task_factory(_noting_tasks)
        self._over = asyncio.Event()
        self._number = self._count = 0
        self._trailed: set[str] = set()
        self.do(self._open())

    def do(self, step: Coroutine[Any, Any, T]) -> T:
        """Runs a step; the world moves on meanwhile, and stands still afterwards."""
        return self._runner.run(step)

    # -------------------------------------------------------------- the world

    async def _open(self) -> None:
        opened = asyncio.Event()
        self._life = asyncio.get_running_loop().create_task(self._live(opened))
        waiting = asyncio.get_running_loop().create_task(opened.wait())
        await asyncio.wait([self._life, waiting], return_when=asyncio.FIRST_COMPLETED)
        if not opened.is_set():
            waiting.cancel()
            await self._life

    async def _live(self, opened: asyncio.Event) -> None:
        """Opens the world, and closes it in the same task."""
        name = f"model_{uuid4().hex}"
        await self._execute(f"CREATE DATABASE {name} TEMPLATE {self._template} STRATEGY FILE_COPY")
        try:
            dsn = database_named(self._postgres_dsn, name)
            async with world(dsn, retry_delays=_RETRIES) as here, asyncio.TaskGroup() as tasks:
                self.here, self._tasks = here, tasks
                # Without the limits that ours have: on a busy machine a lock may take longer.
                self._database = await asyncpg.connect(dsn)
                opened.set()
                await self._over.wait()
                await self._kill_all()
                await self._database.close()
        finally:
            await self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self._postgres_dsn)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def close(self) -> None:
        """Ends everything, a kill for what still runs. Raises what a replica raised unasked."""
        self._over.set()
        try:
            self.do(self._life_over())
        finally:
            self._runner.close()

    async def _life_over(self) -> None:
        await self._life

    # -------------------------------------------------------------- replicas

    async def start(self) -> None:
        """One more replica, up to three; Slack's events go to it."""
        if len(self.replicas) == MOST_REPLICAS:
            return
        self._count += 1
        replica = Replica(self._count)
        self._tasks.create_task(self._run(replica))
        await replica.up.wait()
        self.replicas.append(replica)

    async def _run(self, replica: Replica) -> None:
        _ON_BEHALF_OF.set(replica)
        own = asyncio.current_task()
        assert own is not None
        replica.tasks.add(own)
        try:
            async with self.here.app() as replica.app:
                replica.up.set()
                await replica.leave.wait()
        except BaseException:
            if not replica.killed:
                raise

    async def kill(self, which: int) -> None:
        """As SIGKILL: it writes nothing more and hands nothing back."""
        if not self.replicas or await self._is_worn():
            return
        victim = self.replicas.pop(which % len(self.replicas))
        await self._end(victim.die())
        self._route()

    async def stop(self, which: int) -> None:
        """As SIGTERM: it hands back what it holds."""
        if not self.replicas or await self._is_worn():
            return
        victim = self.replicas.pop(which % len(self.replicas))
        self._route()
        victim.leave.set()
        await self._end(list(victim.tasks))

    async def _end(self, tasks: Iterable[asyncio.Task[Any]]) -> None:
        _, pending = await asyncio.wait(tasks, timeout=_END_SECONDS)
        assert not pending, f"still running: {pending}"

    async def _kill_all(self) -> None:
        dying = [task for replica in self.replicas for task in replica.die()]
        if dying:
            await self._end(dying)

    async def _is_worn(self) -> bool:
        worn: int = await self.here.connection.fetchval(
            "SELECT COALESCE(max(barren_claims), 0) FROM agent_sessions"
        )
        return worn >= _MOST_BARREN

    def _route(self, which: int = 0) -> None:
        """Where there is nobody, Slack keeps trying the door of the last one."""
        if self.replicas:
            replica = self.replicas[which % len(self.replicas)]
            self.here.slack.request_url = f"{replica.running.url}/slack/events"

    async def route(self, which: int) -> None:
        """The load balancer chooses another replica."""
        self._route(which)

    # -------------------------------------------------------------- people

    def _changeable(self, which: int) -> tuple[Thread, Said] | None:
        standing = [(t, s) for t in self.threads for s in t.said if not s.deleted and s.edits < 9]
        return standing[which % len(standing)] if standing else None

    async def ask(self, where: str, words: Words, twins: Twins, duplicate: int) -> None:
        """Begins a thread: a mention in a channel, or a message in somebody's DM."""
        slack = self.here.slack
        person = where if where in PEOPLE else None
        channel = slack.dm(person) if person else slack.channels[where]
        said = Said(self._next(), "", person or "ada", addressed=True)
        thread = Thread(channel, "", person)
        message = await slack.say(
            said.author, channel, _text(thread, said, words), twins=twins, duplicate=duplicate
        )
        thread.root_ts = said.ts = message.ts
        thread.said.append(said)
        self.threads.append(thread)

    async def reply(self, which: int, who: int, words: Words, *, mention: bool) -> None:
        """Goes on in a thread, in a channel with a mention or without."""
        thread = self.threads[which % len(self.threads)]
        author = thread.person or PEOPLE[who % len(PEOPLE)]
        said = Said(self._next(), "", author, addressed=mention or thread.person is not None)
        message = await self.here.slack.say(
            author, thread.channel, _text(thread, said, words), thread_ts=thread.root_ts
        )
        said.ts = message.ts
        thread.said.append(said)

    async def edit(self, which: int, words: Words, twins: Twins) -> None:
        """Changes a message, answered or not; not twice in a second.

        The mention that Slack fires again for an edit tells its whole second only: of two within
        one, it does not say which it is.
        """
        found, second = self._changeable(which), int(time.time())
        if found is None or found[1].edited_in == second:
            return
        thread, said = found
        said.edited_in = second
        said.edits += 1
        text = _text(thread, said, words)
        await self.here.slack.edit(thread.channel, said.ts, text, twins=twins)

    async def delete(self, which: int) -> None:
        """Takes a message back, though not the root of a thread that nobody else wrote in."""
        found = self._changeable(which)
        if found is None:
            return
        thread, said = found
        if said.ts != thread.root_ts or len(self.here.slack.replies(thread.channel, said.ts)) > 1:
            said.deleted = True
            await self.here.slack.delete(thread.channel, said.ts)

    async def halt(self, which: int, *, button: bool) -> None:
        """Stops a thread's turn by the button, where Slack shows one, or by the word."""
        thread, slack = self.threads[which % len(self.threads)], self.here.slack
        author = thread.person or "grace"
        known = slack.shown_status(thread.channel, thread.root_ts) is not None
        if button and (known or thread.person):
            await slack.stop(author, thread.channel, thread.root_ts)
            about = slack.envelopes(thread.root_ts)
            event = [e for e in about if e["event"]["type"] == "agent_session_stopped"][-1]
        else:
            word = await slack.say(author, thread.channel, "stop", thread_ts=thread.root_ts)
            (event,) = slack.envelopes(word.ts)
        thread.stops.append(Stopped(event["event"]["event_ts"], event["event_id"]))

    async def redeliver(self, which: int) -> None:
        """Slack delivers the events of a message again, as if it had not seen our answer."""
        thread = self.threads[which % len(self.threads)]
        events = [e for s in thread.said for e in self.here.slack.envelopes(s.ts)]
        events += [e for s in thread.stops for e in self.here.slack.envelopes(s.event_id)]
        await self.here.slack.redeliver(events[which % len(events)]["event_id"])

    def _next(self) -> int:
        self._number += 1
        return self._number

    # -------------------------------------------------------------- what goes wrong

    async def slack_fault(self, fault: tuple[Any, str | None], times: int) -> None:
        """Slack misbehaves. Only one listing ever trails: two looks see through that."""
        kind, method = fault
        if kind == "stale":
            times = self._once("slack")
        seconds = 0.2 if kind == "reorder" else 1.0
        if times:
            self.here.slack.fault(kind, method=method, seconds=seconds, times=times)

    async def runtime_fault(self, fault: tuple[Any, str], times: int) -> None:
        """The runtime misbehaves; as above."""
        kind, route = fault
        if kind == "history_lag":
            times = self._once("runtime")
        wait = 1.0 if kind in ("rate_limit", "overloaded") else None
        if times:
            self.here.runtime.fault(kind, route=route, times=times, seconds=0.3, retry_after=wait)

    def _once(self, whose: str) -> int:
        if whose in self._trailed:
            return 0
        self._trailed.add(whose)
        return 1

    async def hold(self) -> None:
        """The model does not answer."""
        self.here.runtime.hold()

    async def release(self) -> None:
        """The model answers again."""
        self.here.runtime.release()

    async def lose_leases(self) -> None:
        """Every lease runs out at PostgreSQL; those who hold them do not know."""
        if not await self._is_worn():
            for row in await self._database.fetch(_SESSIONS):
                await self._database.execute(_LEASE_OVER, row["id"])

    # -------------------------------------------------------------- time

    async def advance(self, seconds: float, *, fair: bool = False) -> None:
        """Time passes for Slack, the runtime and PostgreSQL, though not for who holds a lease.

        An attempt at Slack that is under way keeps its deadline, which is its own too. `fair`: who
        is alive has renewed its leases meanwhile.
        """
        if not fair and await self._is_worn():
            return
        by, alive = timedelta(seconds=seconds), [r.owner for r in self.replicas]
        for row in await self._database.fetch(_SESSIONS):
            # As everybody does, the session first: nobody waits for another then.
            async with self._database.transaction():
                await self._database.execute(_SESSION_LATER, row["id"], by, alive if fair else [])
                await self._database.execute(_INPUTS_LATER, row["id"], by)
        await self._database.execute(_DELIVERIES_LATER, by, alive)
        for later in (_SLACK_LATER, _RUNTIME_LATER):
            await self._database.execute(later, by)
        self.here.slack.advance(seconds)
        self.here.runtime.advance(seconds)

    async def wait(self, seconds: float) -> None:
        """Real time passes: whatever can go on goes on."""
        await asyncio.sleep(seconds)

    # -------------------------------------------------------------- the end

    async def come_to_rest(self) -> None:
        """Everything is healed, and time passes until there is nothing left to do."""
        slack, runtime = self.here.slack, self.here.runtime
        slack.clear_faults()
        runtime.clear_faults()
        runtime.release()
        if not self.replicas:
            await self.start()
        self._route()
        async with asyncio.timeout(_REST_SECONDS):
            while slack.workspace.courier._tasks:
                slack.advance(30.0)
                await asyncio.sleep(0.02)
        await eventually(self._moves_on_to_rest, _REST_SECONDS, "everything at rest")
        await self.here.at_rest()

    async def _moves_on_to_rest(self) -> bool:
        if await self.here._is_at_rest():
            return True
        await self.advance(1.0, fair=True)
        await asyncio.sleep(0.04)
        left = await self.here.rows(_LEFT)
        assert not left, left
        return False

    async def complaints(self) -> list[str]:
        """What breaks a promise, after everything has come to rest."""
        answered, seen = self._answered(), await self._seen()
        found = [
            complaint
            for thread in self.threads
            for complaint in model.complaints(thread, seen[thread.root_ts], answered)
        ]
        return found + [f"left over: {row}" for row in await self.here.rows(_LEFT)]

    def _answered(self) -> Answered:
        slack = self.here.slack
        first: Answered = {}
        for delivery in slack.deliveries:
            if delivery.ok:
                for key in self._tells(slack.envelopes(delivery.event_id)[0]):
                    first.setdefault(key, delivery.at + delivery.ms / 1000)
        return first

    def _tells(self, envelope: Json) -> Iterator[str]:
        """What an event tells, by the keys of `Answered`."""
        event = envelope["event"]
        if event.get("subtype") == "message_deleted":
            yield f"{event['deleted_ts']} deleted"
        edited = event.get("subtype") == "message_changed"
        words = event["message"].get("text") if edited else event.get("text")
        # The mention that is fired again for an edit may be older than the edit it comes with.
        known = edited or not event.get("edited")
        yield from TOKEN.findall(words or "") if known else ()
        yield envelope["event_id"]

    async def _seen(self) -> dict[str, Seen]:
        rows = {str(row["id"]): row for row in await self.here.rows(_INPUTS)}
        sessions: dict[str, list[Json]] = {}
        for session in self.here.runtime.sessions():
            ours = session["metadata"].get("threadline_session_id")
            sessions.setdefault(str(ours), []).append(session)
        threads = await self.here.rows("SELECT id, slack_thread_ts FROM agent_sessions")
        by_root = {row["slack_thread_ts"]: str(row["id"]) for row in threads}
        return {
            t.root_ts: self._thread(t, sessions.get(by_root.get(t.root_ts, ""), []), rows)
            for t in self.threads
        }

    def _thread(self, thread: Thread, sessions: list[Json], rows: dict[str, Json]) -> Seen:
        runtime, slack = self.here.runtime, self.here.slack
        received = [e for s in sessions for e in runtime.received(s["id"])]
        replies = slack.replies(thread.channel, thread.root_ts)
        return Seen(
            sessions=sum(session["archived_at"] is None for session in sessions),
            received=tuple(_received(e, rows) for e in received if e["type"] == "user.message"),
            turns=tuple(t for s in sessions for t in _turns(runtime.events(s["id"]), rows)),
            posts=tuple(
                Post(m.text, shown(m), m.streaming_state == "in_progress")
                for m in replies
                if m.user == slack.bot_user_id
            ),
            named=frozenset(str(r["names"]) for r in rows.values() if r["kind"] == "interrupt"),
        )


_SESSIONS = "SELECT id FROM agent_sessions"

# $1 session
_LEASE_OVER = """
UPDATE agent_sessions SET lease_expires_at = now() - interval '1 ms'
WHERE id = $1 AND lease_owner IS NOT NULL
"""

# $1 session, $2 by how much, $3 whose leases stay
_SESSION_LATER = """
UPDATE agent_sessions
SET ready_at = ready_at - $2::interval, updated_at = updated_at - $2::interval,
    lease_expires_at = lease_expires_at
        - CASE WHEN lease_owner = ANY($3::text[]) THEN interval '0' ELSE $2::interval END
WHERE id = $1
"""

# $1 by how much, $2 who is alive
_DELIVERIES_LATER = """
UPDATE slack_outbox
SET not_before = not_before - $1::interval,
    deadline = deadline
        - CASE WHEN claimed_by = ANY($2::text[]) THEN interval '0' ELSE $1::interval END
WHERE state IN ('pending', 'sending')
"""

# $1 session, $2 by how much
_INPUTS_LATER = """
UPDATE session_inputs SET sending_deadline = sending_deadline - $2::interval
WHERE session_id = $1 AND state = 'sending'
"""

# $1 by how much
_SLACK_LATER = "UPDATE slack_budgets SET spent_until = spent_until - $1::interval"

# $1 by how much
_RUNTIME_LATER = "UPDATE runtime_budgets SET spent_until = spent_until - $1::interval"

# What is not over: a delivery that failed for good, a message, a turn.
_LEFT = """
SELECT 'delivery' AS what, effect_key AS which, state, error AS why FROM slack_outbox
WHERE state <> 'sent'
UNION ALL
SELECT 'input', dedupe_key, state, NULL FROM session_inputs
WHERE state NOT IN ('done', 'withdrawn')
  AND NOT (kind IN ('interrupt', 'decision') AND state = 'refused')
UNION ALL
SELECT 'turn', id::text, state, stop_reason FROM agent_turns
WHERE state NOT IN ('completed', 'interrupted')
"""

_INPUTS = """
SELECT i.id, i.kind, i.turn_id, i.body ->> 'turn' AS names,
       extract(epoch FROM i.accepted_at)::float AS kept_at,
       extract(epoch FROM t.started_at)::float AS began
FROM session_inputs i
LEFT JOIN agent_turns t ON t.deployed_agent_id = i.deployed_agent_id AND t.id = i.turn_id
"""


def _text(thread: Thread, said: Said, words: Words) -> str:
    mention = "@threadline " if said.addressed and thread.person is None else ""
    return mention + _SAYS[words].format(said.tokens[-1])


def _received(event: Json, rows: dict[str, Json]) -> Received:
    mark, words = (block["text"] for block in event["content"])
    (token,) = TOKEN.findall(words)
    found = _MARK.match(mark)
    assert found is not None, mark
    row = rows[found[1]]
    return Received(
        token, row["kind"] == "correction", str(row["turn_id"]), row["kept_at"], row["began"]
    )


def _turns(events: list[Json], rows: dict[str, Json]) -> Iterator[Turn]:
    """What lies between the first message that was read and the idle behind it."""
    taken: list[Json] = []
    interrupted = False
    for event in events:
        match event["type"]:
            case "user.message":
                taken.append(event)
            case "user.interrupt" if taken:
                interrupted = True
            case "session.status_idle" if taken and not _waits(event):
                texts = [brain.heard(one["content"]) for one in taken]
                received = tuple(_received(one, rows) for one in taken)
                yield Turn(received, model.answer_to(texts), interrupted)
                taken, interrupted = [], False


def _waits(idle: Json) -> bool:
    return bool(idle["stop_reason"]["type"] == "requires_action")

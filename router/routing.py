"""Which agent answers: a thread's pin, else the channel's route, else the install's default.

An accept calls `follow` first. A thread that is pinned stays with its agent, whatever is configured
later; the pin is an INSERT … ON CONFLICT DO NOTHING that is read back, so racing first messages
agree. Events that overtook what they belong to are kept in `slack_unclaimed`.
"""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, Self
from uuid import UUID

from router import clock
from store import agents, escalations, threads
from store.agents import Route
from store.database import Connection
from store.ids import new_id
from store.leases import Ready
from store.outbox import Place
from store.threads import Pin, Thread, Unclaimed

# A reply to a root younger than this may have overtaken the mention that makes us follow it.
_YOUNG = timedelta(minutes=2)
# Why an arrival has to come again: what it is below is not known yet.
EARLY = "card_on_its_way"


@dataclass(frozen=True, slots=True)
class Arrival:
    """One thing that happened to one message of a Slack thread.

    `ts` and `revision` are Slack's seconds with six digits; `revision` is when the text was edited,
    0 for the original. `addressed`: a direct message or a mention; otherwise a reply that counts
    only where its thread is followed. `only_if_known`: an edit that changes a message we have, and
    makes no new one. `command`: said to us, not to the agent; of a renaming `text` is the title.
    `joined`: our bot came into the channel, where there is no thread.
    """

    install_id: UUID
    conversation_key: str
    api_app_id: str
    team_id: str | None
    channel_id: str
    root_ts: str
    ts: Decimal
    dedupe_key: str
    user_id: str
    text: str
    revision: Decimal = Decimal(0)
    deleted: bool = False
    addressed: bool = True
    only_if_known: bool = False
    stranger: bool = False
    joined: bool = False
    command: Literal["stop", "mute", "unmute", "rename"] | None = None
    files: tuple[dict[str, Any], ...] = ()
    actor_team_id: str | None = None
    client_key: str | None = None
    slack_event_id: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As it is kept while it waits for its thread."""
        return asdict(self) | {
            "install_id": str(self.install_id),
            "ts": str(self.ts),
            "revision": str(self.revision),
            "files": list(self.files),
        }

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Self:
        """The reverse of `to_json`."""
        return cls(
            **kept
            | {
                "install_id": UUID(kept["install_id"]),
                "ts": Decimal(kept["ts"]),
                "revision": Decimal(kept["revision"]),
                "files": tuple(kept["files"]),
            }
        )

    @property
    def channel_key(self) -> str:
        """Tells the channel from all others, as the conversation key tells its threads."""
        return self.conversation_key.removesuffix(self.root_ts)

    @property
    def empty(self) -> bool:
        """True where there is nothing for an agent to read."""
        return not (self.text or self.files)

    @property
    def body(self) -> dict[str, Any]:
        """What is stored of its words."""
        return {
            "text": self.text,
            "user": self.user_id,
            "team": self.actor_team_id,
            "files": list(self.files),
        }

    @property
    def place(self) -> tuple[UUID, str]:
        """Where routes are looked up."""
        return (self.install_id, self.channel_id)

    def root_is_young(self, now: datetime) -> bool:
        """True while a mention of this thread may still be on its way behind its replies."""
        return now - datetime.fromtimestamp(float(self.root_ts), now.tzinfo) < _YOUNG


def title_of(text: str, most: int) -> str:
    """A session's title: the first line of a text, without control characters."""
    lines = text.strip().splitlines() or [""]
    first = lines[0]
    if not first.isprintable():
        first = "".join(c for c in first if c.isprintable())
    return first[:most].strip() or "New conversation"


@dataclass(frozen=True, slots=True)
class Followed:
    """An arrival with the thread that it belongs to."""

    arrival: Arrival
    thread: Thread

    def place(self, session_id: UUID) -> Place:
        """Where the session of the arrival speaks."""
        return Place(
            deployed_agent_id=self.thread.deployed_agent_id,
            workspace_id=self.thread.workspace_id,
            session_id=session_id,
            install_id=self.arrival.install_id,
            slack_conversation_key=self.arrival.conversation_key,
            channel_id=self.arrival.channel_id,
            thread_ts=self.arrival.root_ts,
        )


@dataclass(frozen=True, slots=True)
class Turned:
    """An arrival that goes no further: `kept` until its thread comes, else for a named reason."""

    arrival: Arrival
    reason: str
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an arrival.

    `session` is set when somebody should look at it, `spoke` when the outbox has something new.
    An early one has to come again.
    """

    kind: Literal["accepted", "duplicate", "kept", "ignored", "refused", "early"]
    reason: str | None = None
    session: Ready | None = None
    spoke: bool = False


@dataclass(frozen=True, slots=True)
class Routing:
    """What `follow` found, in the order of the arrivals, and what it took in beside them."""

    verdicts: list[Followed | Turned]
    taken_in: list[Followed]
    taken: list[Unclaimed]


async def follow(connection: Connection, arrivals: list[Arrival]) -> Routing:
    """Finds or pins the thread of each arrival; conversation keys distinct."""
    known = await threads.find(connection, [a.conversation_key for a in arrivals])
    fresh = [a for a in arrivals if a.conversation_key not in known and _may_begin(a)]
    early = await _early(connection, fresh)
    fresh = [a for a in fresh if a.conversation_key not in early]
    waiting: list[Unclaimed] = []
    routes: dict[tuple[UUID, str], Route] = {}
    if fresh:
        waiting = await threads.unclaimed(connection, [a.conversation_key for a in fresh])
        gone = {w.dedupe_key for w in waiting if w.deleted}
        fresh = [a for a in fresh if a.dedupe_key not in gone]
        routes = await agents.routes(connection, [a.place for a in fresh])
        known |= await _pin(connection, fresh, routes)
    verdicts = [
        Turned(a, EARLY)
        if a.conversation_key in early
        else await _judge(connection, a, known, routes, waiting)
        for a in arrivals
    ]
    newest = {a.dedupe_key: a.revision for a in fresh}
    taken = [w for w in waiting if _belongs(w, known) and not _is_newer(w, newest)]
    taken_in = [
        Followed(Arrival.from_json(w.event), known[w.slack_conversation_key])
        for w in taken
        if w.dedupe_key not in newest
    ]
    return Routing(verdicts, taken_in, taken)


async def _early(connection: Connection, fresh: list[Arrival]) -> set[str]:
    """Mentions below what may be a question's card, which a crash keeps from being pinned yet.

    Asked only where a young thread that we do not follow is joined: elsewhere it costs nothing.
    """
    now = clock.now()
    joining = [a for a in fresh if a.ts > Decimal(a.root_ts) and a.root_is_young(now)]
    if not joining:
        return set()
    cards = await escalations.on_their_way(connection, [(*a.place, a.root_ts) for a in joining])
    return {a.conversation_key for a in joining if (*a.place, a.root_ts) in cards}


def _may_begin(arrival: Arrival) -> bool:
    if arrival.deleted or arrival.command or arrival.empty:
        return False
    return arrival.addressed


def _belongs(waiting: Unclaimed, known: dict[str, Thread]) -> bool:
    """True for what the session must know: replies after its first message, and every deletion.

    What waits for the thread below a question's card goes apart from a batch: the sweep's.
    """
    thread = known.get(waiting.slack_conversation_key)
    if thread is None or thread.escalation_id is not None:
        return False
    return waiting.deleted or Decimal(waiting.event["ts"]) >= thread.first_ts


def _is_newer(waiting: Unclaimed, newest: dict[str, Decimal]) -> bool:
    """True for a kept revision of an arriving message that the sweep must apply after it."""
    return waiting.revision > newest.get(waiting.dedupe_key, waiting.revision)


async def _pin(
    connection: Connection, fresh: list[Arrival], routes: dict[tuple[UUID, str], Route]
) -> dict[str, Thread]:
    pins: list[Pin] = []
    for arrival in fresh:
        route = routes.get(arrival.place)
        if route is None or route.agent_id is None:
            continue
        thread = Thread(
            slack_conversation_key=arrival.conversation_key,
            deployed_agent_id=route.agent_id,
            workspace_id=route.workspace_id,
            session_id=new_id(),
            muted=False,
            first_ts=arrival.ts,
        )
        pins.append(Pin(thread, arrival.api_app_id, arrival.channel_id, arrival.root_ts))
    return await threads.pin(connection, pins) if pins else {}


async def _judge(
    connection: Connection,
    arrival: Arrival,
    known: dict[str, Thread],
    routes: dict[tuple[UUID, str], Route],
    waiting: list[Unclaimed],
) -> Followed | Turned:
    thread = known.get(arrival.conversation_key)
    if thread is None:
        if _may_begin(arrival):
            return _without_thread(arrival, routes, waiting)
        silent = arrival.empty and not arrival.deleted
        if arrival.only_if_known or arrival.command or silent:
            return Turned(arrival, "not_addressed")
        return await _keep(connection, arrival, "not_followed")
    if arrival.addressed or thread.escalation_id is not None:  # below a card every word is ours
        if arrival.ts < thread.first_ts and not arrival.deleted:
            await threads.lower_first_ts(connection, arrival.conversation_key, arrival.ts)
        return Followed(arrival, thread)
    if thread.muted and arrival.command is None:
        return Turned(arrival, "muted")
    if arrival.ts < thread.first_ts and not arrival.only_if_known:
        return await _keep(connection, arrival, "before_session")
    return Followed(arrival, thread)


def _without_thread(
    arrival: Arrival, routes: dict[tuple[UUID, str], Route], waiting: list[Unclaimed]
) -> Turned:
    if any(w.dedupe_key == arrival.dedupe_key and w.deleted for w in waiting):
        return Turned(arrival, "deleted")
    return Turned(arrival, "no_agent" if arrival.place in routes else "not_installed")


async def _keep(connection: Connection, arrival: Arrival, reason: str) -> Turned:
    tombstone = arrival.deleted and arrival.addressed
    if not (tombstone or arrival.root_is_young(clock.now())):
        return Turned(arrival, reason)
    await threads.keep_unclaimed(
        connection,
        Unclaimed(
            slack_conversation_key=arrival.conversation_key,
            dedupe_key=arrival.dedupe_key,
            install_id=arrival.install_id,
            deleted=arrival.deleted,
            revision=arrival.revision,
            event=arrival.to_json(),
        ),
    )
    return Turned(arrival, reason, kept=True)

"""Sessions, agents and environments as the local runtime keeps them."""

import asyncio
from dataclasses import dataclass, field
from typing import Literal

from pydantic import TypeAdapter

from router.runtime.local.brain import Call, Decision
from router.runtime.local.log import EventLog
from router.runtime.local.usage import Usage
from router.runtime.local.wire import Json, now_us, stamp

Status = Literal["idle", "running", "rescheduling", "terminated"]

# The platform names at most so many waiting calls in one requires_action.
WINDOW = 5


@dataclass(slots=True)
class Held:
    """A call that waits for an answer, and the user event that answered it."""

    event_id: str
    call: Call
    answer: Json | None = None


@dataclass(slots=True)
class Turn:
    """One turn in flight: its messages, the next step of its script, its open model request."""

    texts: list[str]
    cursor: int = 0
    decisions: list[Decision] | None = None
    span: str | None = None


@dataclass(slots=True)
class Head:
    """What a client says about a session."""

    id: str
    thread_id: str
    agent: Json
    environment_id: str
    created: int
    title: str | None
    metadata: dict[str, str]
    resources: list[Json]
    vault_ids: list[str]
    budget: Json | None
    archived: int | None = None
    deleted: bool = False


@dataclass(slots=True)
class Live:
    """Where a session stands. `announced`: its running status was said; `dropped`: flushed inputs."""

    updated: int
    status: Status = "idle"
    announced: bool = False
    capped: bool = False
    turn: Turn | None = None
    held: list[Held] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)


HEAD: TypeAdapter[Head] = TypeAdapter(Head)
LIVE: TypeAdapter[Live] = TypeAdapter(Live)


@dataclass(slots=True)
class Session:
    """One session. The last three fields live in this process only."""

    head: Head
    live: Live
    log: EventLog = field(default_factory=EventLog)
    active: bool = False
    wait: asyncio.Future[None] | None = None
    running_since: float | None = None

    @property
    def id(self) -> str:
        """`sesn_…`."""
        return self.head.id

    def unanswered(self) -> list[Held]:
        """The calls that still wait, in the order of their asking."""
        return [held for held in self.live.held if held.answer is None]

    def window(self) -> list[str]:
        """The event ids that a requires_action names now."""
        return [held.event_id for held in self.unanswered()[:WINDOW]]

    def view(self, now: float, *, status: Status | None = None) -> Json:
        """The session as the API shows it; `now` is the pace's time."""
        head, live = self.head, self.live
        usage = live.usage.snapshot()
        running = 0.0 if self.running_since is None else now - self.running_since
        active = round(live.usage.active_seconds + running, 3)
        until = head.archived or now_us()
        return {
            "type": "session",
            "id": head.id,
            "status": status or live.status,
            "title": head.title,
            "metadata": head.metadata,
            "agent": head.agent,
            "environment_id": head.environment_id,
            "resources": head.resources,
            "vault_ids": head.vault_ids,
            "stats": {
                "active_seconds": active,
                "duration_seconds": round((until - head.created) / 1e6, 3),
            },
            "usage": usage | {"active_seconds": active},
            "budget": head.budget,
            "outcome_evaluations": [],
            "deployment_id": None,
            "created_at": stamp(head.created),
            "updated_at": stamp(live.updated),
            "archived_at": None if head.archived is None else stamp(head.archived),
        }

    def thread_view(self, now: float) -> Json:
        """The session's one thread."""
        session = self.view(now)
        worked = bool(self.log.seq)
        return {
            "type": "session_thread",
            "id": self.head.thread_id,
            "session_id": self.head.id,
            "agent": {k: v for k, v in self.head.agent.items() if k != "multiagent"},
            "status": session["status"],
            "parent_thread_id": None,
            "workflow_run_id": None,
            "usage": session["usage"] if worked else None,
            "stats": session["stats"] | {"startup_seconds": 0.0} if worked else None,
            "created_at": session["created_at"],
            "updated_at": session["updated_at"],
            "archived_at": session["archived_at"],
        }


@dataclass(slots=True)
class Agent:
    """An agent with all its versions, oldest first."""

    versions: list[Json]

    @property
    def latest(self) -> Json:
        """The newest version."""
        return self.versions[-1]


AGENT: TypeAdapter[Agent] = TypeAdapter(Agent)

"""Everything the local runtime knows: agents, environments, sessions, files, faults."""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence

from router.runtime.local.content import Contents
from router.runtime.local.faults import FaultBoard
from router.runtime.local.model import Agent, Session, Status
from router.runtime.local.pace import Gate, Pace
from router.runtime.local.shelf import FILE, File, Shelf
from router.runtime.local.storage import Storage
from router.runtime.local.streams import Hub
from router.runtime.local.wire import Json, not_found, now_us


class World:
    """State in memory, written through to storage."""

    def __init__(self, storage: Storage, contents: Contents, pace: Pace) -> None:
        """Reads back what storage holds."""
        self.storage = storage
        self.files = Shelf(storage, contents, pace)
        self.pace = pace
        self.gate = Gate()
        self.hub = Hub()
        self.faults = FaultBoard(pace.now)
        self.requests: Counter[str] = Counter()
        self.limited: Counter[str] = Counter()
        self.agents: dict[str, Agent] = {}
        self.environments: dict[str, Json] = {}
        self.created: dict[str, int] = {}
        self.sessions: dict[str, Session] = {}
        self.by_agent: dict[str, list[Session]] = defaultdict(list)
        self._last = 0
        self._restore()

    def tick(self) -> int:
        """A time of creation in microseconds, after every earlier one."""
        self._last = max(now_us(), self._last + 1)
        return self._last

    def agent(self, agent_id: str) -> Agent:
        """The agent; a 404 when there is none."""
        agent = self.agents.get(agent_id)
        if agent is None:
            raise not_found(f"Agent {agent_id}")
        return agent

    def environment(self, environment_id: str) -> Json:
        """The environment; a 404 when there is none."""
        environment = self.environments.get(environment_id)
        if environment is None:
            raise not_found(f"Environment {environment_id}")
        return environment

    def session(self, session_id: str) -> Session:
        """The session; a 404 when there is none or it was deleted."""
        session = self.sessions.get(session_id)
        if session is None or session.head.deleted:
            raise not_found(f"Session {session_id}")
        return session

    def put_agent(self, agent: Agent) -> None:
        """Adds or replaces an agent."""
        agent_id = agent.latest["id"]
        self.created.setdefault(agent_id, self.tick())
        self.storage.put_agent(agent, self.created[agent_id])
        self.agents[agent_id] = agent

    def put_environment(self, environment: Json) -> None:
        """Adds or replaces an environment."""
        environment_id = environment["id"]
        self.created.setdefault(environment_id, self.tick())
        self.storage.put_environment(environment, self.created[environment_id])
        self.environments[environment_id] = environment

    def drop_environment(self, environment_id: str) -> None:
        """Removes an environment."""
        self.storage.drop_environment(environment_id)
        del self.environments[environment_id]

    def add_session(self, session: Session) -> None:
        """Makes a session known; the caller commits it."""
        self.sessions[session.id] = session
        self.by_agent[session.head.agent["id"]].append(session)

    def commit(self, session: Session, *, head: bool = False, made: Sequence[File] = ()) -> None:
        """Stores what changed in a session, and what it made; then tells its streams what was said."""
        fresh = session.log.drain()
        session.live.updated = now_us()
        rows = [(file.id, file.made, FILE.dump_json(file).decode()) for file in made]
        self.storage.put_session(session, fresh, head=head, files=rows)
        self.files.remember(made)
        self.hub.publish(session.id, ((said.kind, said.raw) for said in fresh))

    def shown_status(self, session: Session, route: str) -> Status:
        """The status that a request sees: an idle session may still show as running (a fault)."""
        status = session.live.status
        if status != "idle":
            return status
        lag = self.faults.take("status_lag", route=route, session_id=session.id)
        return status if lag is None else "running"

    def view(self, session: Session, route: str) -> Json:
        """The session as this route shows it."""
        return session.view(self.pace.now(), status=self.shown_status(session, route))

    def forget(self) -> None:
        """Back to an empty world; open streams end."""
        self.hub.end_all()
        self.gate.release()
        self.gate.interrupts_wait = False
        self.faults.clear()
        self.storage.clear()
        self.files.clear()
        for known in (self.agents, self.environments, self.created, self.sessions, self.by_agent):
            known.clear()
        self.requests.clear()

    def _restore(self) -> None:
        for at, agent in self.storage.agents():
            self.agents[agent.latest["id"]] = agent
            self._note(agent.latest["id"], at)
        for at, body in self.storage.environments():
            environment = json.loads(body)
            self.environments[environment["id"]] = environment
            self._note(environment["id"], at)
        for session in self.storage.sessions():
            self.add_session(session)
            self._last = max(self._last, session.head.created)
        for session_id, seq, processed, raw in self.storage.events():
            self.sessions[session_id].log.restore(seq, json.loads(raw), raw, processed)

    def _note(self, thing: str, at: int) -> None:
        self.created[thing] = at
        self._last = max(self._last, at)

"""Sessions and their one thread: /v1/sessions."""

import unicodedata
from typing import Any

from aiohttp import web

from router.runtime.local.catalog import agent_version, model_config
from router.runtime.local.engine import Engine
from router.runtime.local.inbound import check_initial_events
from router.runtime.local.model import Head, Live, Session
from router.runtime.local.paging import CREATED_AT, Query, cut_page
from router.runtime.local.resources import mount
from router.runtime.local.wire import ApiError, Json, bad_request, new_id, not_found, read_object
from router.runtime.local.world import World

_CREATE = {
    "agent",
    "environment_id",
    "budget",
    "initial_events",
    "metadata",
    "resources",
    "title",
    "vault_ids",
}
_UPDATE = {"agent", "budget", "metadata", "title", "vault_ids"}
_AGENT_OVERRIDES = ("model", "system", "tools", "mcp_servers", "skills")
_SNAPSHOT = (
    "id",
    "name",
    "version",
    "description",
    "model",
    "system",
    "tools",
    "mcp_servers",
    "skills",
    "multiagent",
    "execution_identity",
)
_LIST = {
    "agent_id",
    "agent_version",
    "deployment_id",
    "memory_store_id",
    "include_archived",
    "statuses[]",
    "limit",
    "order",
    "page",
    *CREATED_AT,
}
_STATUSES = {"rescheduling", "running", "idle", "terminated"}
_MOST_TITLE = 80
_MOST_PAIRS, _MOST_KEY, _MOST_VALUE = 16, 64, 512


class Sessions:
    """The routes of sessions and threads."""

    def __init__(self, world: World, engine: Engine) -> None:
        """Reads `world`, acts through `engine`."""
        self._world = world
        self._engine = engine

    def routes(self) -> list[web.RouteDef]:
        """All routes, each named as the client's method."""
        session = "/v1/sessions/{session_id}"
        thread = f"{session}/threads/{{thread_id}}"
        return [
            web.post("/v1/sessions", self.create, name="sessions.create"),
            web.get("/v1/sessions", self.list_sessions, name="sessions.list"),
            web.get(session, self.retrieve, name="sessions.retrieve"),
            web.post(session, self.update, name="sessions.update"),
            web.delete(session, self.delete, name="sessions.delete"),
            web.post(f"{session}/archive", self.archive, name="sessions.archive"),
            web.get(f"{session}/threads", self.list_threads, name="threads.list"),
            web.get(thread, self.retrieve_thread, name="threads.retrieve"),
        ]

    async def create(self, request: web.Request) -> web.Response:
        """POST /v1/sessions; with initial events the session runs at once."""
        body = await read_object(request)
        if unknown := sorted(body.keys() - _CREATE):
            raise bad_request(f"{unknown[0]}: extra inputs are not permitted")
        initial = body.get("initial_events") or []
        events = check_initial_events(initial, self._world.files) if initial else []
        session = self._made(body)
        self._mount(session, _listed(body, "resources"))
        self._engine.open(session, events)
        return web.json_response(session.view(self._world.pace.now()))

    async def list_sessions(self, request: web.Request) -> web.Response:
        """GET /v1/sessions, newest first unless asked otherwise."""
        query = Query(request, _LIST)
        descending = query.order("desc") == "desc"
        rows = self._filtered(query)
        page = cut_page(
            rows[::-1] if descending else rows,
            lambda session: [session.head.created],
            cursor=query.text("page"),
            limit=query.number("limit", 20, 1000),
            descending=descending,
        )
        answer = page.json(lambda session: self._world.view(session, "sessions.list"))
        return web.json_response(answer | {"prev_page": page.prev_page})

    async def retrieve(self, request: web.Request) -> web.Response:
        """GET /v1/sessions/{id}."""
        return web.json_response(self._world.view(self._session(request), "sessions.retrieve"))

    async def update(self, request: web.Request) -> web.Response:
        """POST /v1/sessions/{id}: what changed goes out as `session.updated`."""
        session, body = self._session(request), await read_object(request)
        if unknown := sorted(body.keys() - _UPDATE):
            raise bad_request(f"{unknown[0]}: extra inputs are not permitted")
        if session.live.status == "terminated":
            raise bad_request(f"Session {session.id} is terminated and cannot be changed.")
        changed = _changes(session, body)
        if changed:
            for name, value in changed.items():
                setattr(session.head, name, value)
            session.log.emit("session.updated", **changed)
        if "budget" in body:
            self._engine.lift_cap(session)
        else:
            self._world.commit(session, head=True)
        return web.json_response(self._world.view(session, "sessions.update"))

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE /v1/sessions/{id}; a 400 while it runs."""
        session = self._session(request)
        self._engine.delete(session)
        return web.json_response({"id": session.id, "type": "session_deleted"})

    async def archive(self, request: web.Request) -> web.Response:
        """POST /v1/sessions/{id}/archive; a 400 while it runs."""
        session = self._session(request)
        if session.head.archived is None:
            self._engine.archive(session)
        return web.json_response(self._world.view(session, "sessions.archive"))

    async def list_threads(self, request: web.Request) -> web.Response:
        """GET /v1/sessions/{id}/threads: the primary thread."""
        query = Query(request, {"statuses[]", "limit", "page"})
        session, statuses = self._session(request), query.many("statuses")
        thread = session.thread_view(self._world.pace.now())
        rows = [thread] if not statuses or thread["status"] in statuses else []
        return web.json_response({"data": rows, "next_page": None})

    async def retrieve_thread(self, request: web.Request) -> web.Response:
        """GET /v1/sessions/{id}/threads/{tid}."""
        session = self._session(request)
        if request.match_info["thread_id"] != session.head.thread_id:
            raise not_found(f"Thread {request.match_info['thread_id']}")
        return web.json_response(session.thread_view(self._world.pace.now()))

    def _session(self, request: web.Request) -> Session:
        return self._world.session(request.match_info["session_id"])

    def _made(self, body: Json) -> Session:
        title = body.get("title")
        _check_title(title)
        head = Head(
            id=new_id("sesn"),
            thread_id=new_id("sthr"),
            agent=self._snapshot(body.get("agent")),
            environment_id=self._environment(body.get("environment_id")),
            created=self._world.tick(),
            title=title,
            metadata=_metadata(body.get("metadata") or {}, {}),
            resources=[],
            vault_ids=_listed(body, "vault_ids"),
            budget=body.get("budget"),
        )
        return Session(head, Live(updated=head.created))

    def _mount(self, session: Session, wanted: list[Any]) -> None:
        try:
            for index, resource in enumerate(wanted):
                mount(self._world, session, resource, f"resources[{index}].")
        except ApiError:
            self._world.files.drop_session(session.id)
            raise

    def _environment(self, environment_id: object) -> str:
        if not isinstance(environment_id, str):
            raise bad_request("environment_id: field required")
        environment = self._world.environment(environment_id)
        if environment["archived_at"] is not None:
            message = f"Environment {environment_id} is archived."
            raise ApiError(400, message, code="environment_archived")
        return environment_id

    def _snapshot(self, reference: object) -> Json:
        """The agent as the session keeps it, whatever becomes of the agent later."""
        wanted = {"id": reference} if isinstance(reference, str) else reference
        if not isinstance(wanted, dict) or not isinstance(wanted.get("id"), str):
            raise bad_request("agent: must be an agent id or an object with one")
        agent = self._world.agent(wanted["id"])
        if agent.latest["archived_at"] is not None:
            raise bad_request(f"Agent {wanted['id']} is archived.")
        version = wanted.get("version")
        chosen = agent.latest if version is None else agent_version(agent, version)
        snapshot = {"type": "agent"} | {name: chosen[name] for name in _SNAPSHOT}
        if wanted.get("type") == "agent_with_overrides":
            snapshot |= {name: wanted[name] for name in _AGENT_OVERRIDES if name in wanted}
            snapshot["model"] = model_config(snapshot["model"])
        return snapshot

    def _filtered(self, query: Query) -> list[Session]:
        agent_id, version = query.text("agent_id"), query.text("agent_version")
        statuses, inside = set(query.many("statuses")), query.created_between()
        if unknown := statuses - _STATUSES:
            raise bad_request(f"statuses[]: {min(unknown)} is no status")
        if query.text("deployment_id") or query.text("memory_store_id"):
            return []
        archived = query.flag("include_archived")
        known = self._world.sessions.values()
        return [
            session
            for session in (known if agent_id is None else self._world.by_agent.get(agent_id, []))
            if not session.head.deleted
            and (archived or session.head.archived is None)
            and (not statuses or session.live.status in statuses)
            and (version is None or str(session.head.agent["version"]) == version)
            and inside(session.head.created)
        ]


def _changes(session: Session, body: Json) -> Json:
    if "vault_ids" in body:
        raise bad_request("vault_ids: Not yet supported")
    changed: Json = {}
    if "title" in body:
        _check_title(body["title"])
        changed["title"] = body["title"]
    if body.get("metadata") is not None:
        changed["metadata"] = _metadata(body["metadata"], session.head.metadata)
    if body.get("agent") is not None:
        changed["agent"] = _agent_change(session, body["agent"])
    if "budget" in body:
        changed["budget"] = body["budget"]
    head = session.head
    return {name: value for name, value in changed.items() if value != getattr(head, name)}


def _agent_change(session: Session, change: object) -> Json:
    if session.live.status != "idle":
        raise bad_request("agent: only an idle session's agent can be changed")
    if not isinstance(change, dict) or change.keys() - {"tools", "mcp_servers"}:
        raise bad_request("agent: only tools and mcp_servers can be changed")
    return session.head.agent | change


def _listed(body: Json, name: str) -> list[Any]:
    value = body.get(name) or []
    if not isinstance(value, list):
        raise bad_request(f"{name}: must be an array")
    return value


def _check_title(title: object) -> None:
    if title is None:
        return
    if not isinstance(title, str) or len(title) > _MOST_TITLE:
        raise bad_request(f"title: at most {_MOST_TITLE} characters")
    if any(unicodedata.category(char) == "Cc" for char in title):
        raise bad_request("title: no control characters")


def _metadata(patch: object, old: dict[str, str]) -> dict[str, str]:
    """The old pairs with the patch applied; null removes a key."""
    if not isinstance(patch, dict):
        raise bad_request("metadata: must be an object")
    pairs: Json = old | patch
    merged = {key: value for key, value in pairs.items() if value is not None}
    if len(merged) > _MOST_PAIRS:
        raise bad_request(f"metadata: at most {_MOST_PAIRS} pairs")
    for key, value in merged.items():
        if not isinstance(value, str) or len(key) > _MOST_KEY or len(value) > _MOST_VALUE:
            raise bad_request(f"metadata.{key}: text of at most {_MOST_VALUE} characters")
    return merged

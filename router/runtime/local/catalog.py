"""Agents and environments: /v1/agents and /v1/environments."""

from typing import Any

from aiohttp import web

from router.runtime.local.model import Agent
from router.runtime.local.paging import CREATED_AT, Query, cut_page
from router.runtime.local.toolbox import check_toolbox
from router.runtime.local.wire import (
    ApiError,
    Json,
    bad_request,
    new_id,
    now_us,
    read_object,
    stamp,
)
from router.runtime.local.world import World

_AGENT_DEFAULTS: Json = {
    "description": None,
    "system": None,
    "tools": [],
    "mcp_servers": [],
    "skills": [],
    "metadata": {},
    "multiagent": None,
    "execution_identity": {"type": "service_account"},
}
_ENVIRONMENT_DEFAULTS: Json = {
    "description": None,
    "config": {"type": "cloud", "networking": {"type": "unrestricted"}},
    "metadata": {},
    "scope": "organization",
}
_LIST = ("limit", "page", "include_archived", *CREATED_AT)


class Catalog:
    """The routes of agents and environments."""

    def __init__(self, world: World) -> None:
        """Reads and writes `world`."""
        self._world = world

    def routes(self) -> list[web.RouteDef]:
        """All routes, each named as the client's method."""
        agent, environment = "/v1/agents/{agent_id}", "/v1/environments/{environment_id}"
        return [
            web.post("/v1/agents", self.create_agent, name="agents.create"),
            web.get("/v1/agents", self.list_agents, name="agents.list"),
            web.get(agent, self.retrieve_agent, name="agents.retrieve"),
            web.post(agent, self.update_agent, name="agents.update"),
            web.post(f"{agent}/archive", self.archive_agent, name="agents.archive"),
            web.get(f"{agent}/versions", self.list_versions, name="agents.versions.list"),
            web.post("/v1/environments", self.create_environment, name="environments.create"),
            web.get("/v1/environments", self.list_environments, name="environments.list"),
            web.get(environment, self.retrieve_environment, name="environments.retrieve"),
            web.post(environment, self.update_environment, name="environments.update"),
            web.delete(environment, self.delete_environment, name="environments.delete"),
            web.post(
                f"{environment}/archive", self.archive_environment, name="environments.archive"
            ),
        ]

    async def create_agent(self, request: web.Request) -> web.Response:
        """POST /v1/agents."""
        body = _fields(await read_object(request), {"model", "name", *_AGENT_DEFAULTS})
        for name in ("model", "name"):
            if not body.get(name):
                raise bad_request(f"{name}: field required")
        at = stamp(now_us())
        agent: Json = {"type": "agent", "id": new_id("agent"), "version": 1}
        agent |= _AGENT_DEFAULTS | _given(body, _AGENT_DEFAULTS) | _model_and_name(body)
        agent |= {"created_at": at, "updated_at": at, "archived_at": None}
        check_toolbox(agent)
        self._world.put_agent(Agent([agent]))
        return web.json_response(agent)

    async def list_agents(self, request: web.Request) -> web.Response:
        """GET /v1/agents, newest first."""
        latest = {agent_id: agent.latest for agent_id, agent in self._world.agents.items()}
        return self._listed(request, latest, most=100)

    async def retrieve_agent(self, request: web.Request) -> web.Response:
        """GET /v1/agents/{id}, the newest version or the one asked for."""
        version = Query(request, {"version"}).text("version")
        agent = self._world.agent(request.match_info["agent_id"])
        return web.json_response(agent.latest if version is None else agent_version(agent, version))

    async def update_agent(self, request: web.Request) -> web.Response:
        """POST /v1/agents/{id}: a new version; `version` is an optimistic lock (409).

        What is left out stays, null clears it; metadata is patched, all else replaced whole.
        """
        known = {"model", "name", "version", *_AGENT_DEFAULTS}
        body = _fields(await read_object(request), known)
        agent = self._world.agent(request.match_info["agent_id"])
        if agent.latest["archived_at"] is not None:
            raise bad_request(f"Agent {agent.latest['id']} is archived.")
        if body.get("version") not in (None, agent.latest["version"]):
            raise ApiError(409, f"The agent is at version {agent.latest['version']}.")
        changed = agent.latest | _replaced(agent.latest, body) | _model_and_name(body)
        check_toolbox(changed)
        changed |= {"version": agent.latest["version"] + 1, "updated_at": stamp(now_us())}
        self._world.put_agent(Agent([*agent.versions, changed]))
        return web.json_response(changed)

    async def archive_agent(self, request: web.Request) -> web.Response:
        """POST /v1/agents/{id}/archive, for good."""
        agent = self._world.agent(request.match_info["agent_id"])
        at = agent.latest["archived_at"] or stamp(now_us())
        archived = agent.latest | {"archived_at": at, "updated_at": at}
        self._world.put_agent(Agent([*agent.versions[:-1], archived]))
        return web.json_response(archived)

    async def list_versions(self, request: web.Request) -> web.Response:
        """GET /v1/agents/{id}/versions, newest first."""
        query = Query(request, ("limit", "page"))
        agent = self._world.agent(request.match_info["agent_id"])
        page = cut_page(
            agent.versions[::-1],
            lambda version: [version["version"]],
            cursor=query.text("page"),
            limit=query.number("limit", 20, 100),
            descending=True,
        )
        return web.json_response(page.json(dict))

    async def create_environment(self, request: web.Request) -> web.Response:
        """POST /v1/environments."""
        body = _fields(await read_object(request), {"name", *_ENVIRONMENT_DEFAULTS})
        if not body.get("name"):
            raise bad_request("name: field required")
        at = stamp(now_us())
        environment: Json = {"type": "environment", "id": new_id("env"), "name": body["name"]}
        environment |= _ENVIRONMENT_DEFAULTS | _given(body, _ENVIRONMENT_DEFAULTS)
        environment |= {"created_at": at, "updated_at": at, "archived_at": None}
        self._world.put_environment(environment)
        return web.json_response(environment)

    async def list_environments(self, request: web.Request) -> web.Response:
        """GET /v1/environments, newest first."""
        return self._listed(request, self._world.environments, most=1000)

    async def retrieve_environment(self, request: web.Request) -> web.Response:
        """GET /v1/environments/{id}."""
        return web.json_response(self._environment(request))

    async def update_environment(self, request: web.Request) -> web.Response:
        """POST /v1/environments/{id}."""
        body = _fields(await read_object(request), {"name", *_ENVIRONMENT_DEFAULTS})
        environment = self._environment(request)
        if environment["archived_at"] is not None:
            message = f"Environment {environment['id']} is archived."
            raise ApiError(400, message, code="environment_archived")
        changed = environment | _given(body, ("name", *_ENVIRONMENT_DEFAULTS))
        changed |= {"updated_at": stamp(now_us())}
        self._world.put_environment(changed)
        return web.json_response(changed)

    async def archive_environment(self, request: web.Request) -> web.Response:
        """POST /v1/environments/{id}/archive."""
        environment = self._environment(request)
        at = environment["archived_at"] or stamp(now_us())
        archived = environment | {"archived_at": at, "updated_at": at}
        self._world.put_environment(archived)
        return web.json_response(archived)

    async def delete_environment(self, request: web.Request) -> web.Response:
        """DELETE /v1/environments/{id}."""
        environment_id = self._environment(request)["id"]
        self._world.drop_environment(environment_id)
        return web.json_response({"id": environment_id, "type": "environment_deleted"})

    def _environment(self, request: web.Request) -> Json:
        return self._world.environment(request.match_info["environment_id"])

    def _listed(self, request: web.Request, things: dict[str, Json], *, most: int) -> web.Response:
        query, created = Query(request, _LIST), self._world.created
        inside, archived = query.created_between(), query.flag("include_archived")
        rows = [
            thing
            for thing_id, thing in reversed(things.items())
            if inside(created[thing_id]) and (archived or thing["archived_at"] is None)
        ]
        page = cut_page(
            rows,
            lambda thing: [created[thing["id"]]],
            cursor=query.text("page"),
            limit=query.number("limit", 20, most),
            descending=True,
        )
        return web.json_response(page.json(dict))


def agent_version(agent: Agent, version: object) -> Json:
    """One version of an agent; a 400 for a version that is none."""
    for one in agent.versions:
        if str(one["version"]) == str(version):
            return one
    raise bad_request(f"version: agent {agent.latest['id']} has no version {version}")


def model_config(model: object) -> Json:
    """A model as agents carry it: an id alone becomes a configuration."""
    if isinstance(model, str):
        return {"id": model, "speed": "standard"}
    if isinstance(model, dict) and isinstance(model.get("id"), str):
        return {"speed": "standard", **model}
    raise bad_request("model: must be a model id or an object with one")


def _fields(body: Json, known: set[str]) -> Json:
    if unknown := sorted(body.keys() - known):
        raise bad_request(f"{unknown[0]}: extra inputs are not permitted")
    return body


def _given(body: Json, names: Any) -> Json:
    return {name: body[name] for name in names if body.get(name) is not None}


def _replaced(agent: Json, body: Json) -> Json:
    """The fields of an agent that an update names, as they are after it."""
    named = {name: body[name] for name in _AGENT_DEFAULTS if name in body}
    if isinstance(patch := named.get("metadata"), dict):
        patched = agent["metadata"] | patch
        named["metadata"] = {key: value for key, value in patched.items() if value is not None}
    cleared = {name: _AGENT_DEFAULTS[name] for name, value in named.items() if value in (None, "")}
    return named | cleared


def _model_and_name(body: Json) -> Json:
    changed = _given(body, ("name",))
    return changed | {"model": model_config(body["model"])} if body.get("model") else changed

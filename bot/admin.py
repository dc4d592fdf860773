"""What the administrative commands do; each returns what it prints."""

from pathlib import Path
from typing import Any

from bot import places
from router.behaviour import AgentSettings
from router.errors import ConfigurationError, RuntimeFailure
from router.runtime.client import Runtime
from router.settings import Settings
from store import agents, database, members
from store.agents import Agent

ROLES = ("viewer", "member", "admin", "owner")


async def add_workspace(settings: Settings, data_dir: Path | None, name: str) -> dict[str, Any]:
    """Makes a workspace; one of that name stays as it is."""
    async with places.visited(settings, data_dir) as place:
        connection = await database.connect(place.dsn)
        try:
            workspace = await members.ensure_workspace(connection, name)
        finally:
            await connection.close()
    return {"id": str(workspace.id), "name": workspace.name}


async def add_member(
    settings: Settings, data_dir: Path | None, workspace: str, user_id: str, role: str
) -> dict[str, Any]:
    """Gives a person a role in a workspace."""
    if role not in ROLES:
        raise ConfigurationError(f"--role must be one of {', '.join(ROLES)}")
    async with places.visited(settings, data_dir) as place:
        connection = await database.connect(place.dsn)
        try:
            found = await _workspace(connection, workspace)
            await members.put_member(connection, found.id, user_id, role)
        finally:
            await connection.close()
    return {"workspace": workspace, "user_id": user_id, "role": role}


async def add_agent(  # noqa: PLR0913  # the options of one command
    settings: Settings,
    data_dir: Path | None,
    *,
    workspace: str,
    name: str,
    runtime_agent: str | None,
    environment: str | None,
    model: str | None,
    system: str | None,
    default: bool,
) -> dict[str, Any]:
    """Deploys an agent that exists at the runtime, or makes one there first."""
    runtime_agent, environment = await _at_runtime(
        settings, name, runtime_agent, environment, model, system
    )
    async with places.visited(settings, data_dir) as place:
        connection = await database.connect(place.dsn)
        try:
            found = await _workspace(connection, workspace)
            agent = await agents.put(connection, found.id, name, runtime_agent, environment)
            installs = await agents.make_default(connection, found.id, agent.id) if default else 0
        finally:
            await connection.close()
    return shown(agent) | {"default_of_installs": installs}


async def set_agent(
    settings: Settings, data_dir: Path | None, workspace: str, name: str, wanted: str
) -> dict[str, Any]:
    """Replaces an agent's settings, given as JSON."""
    agent_settings = AgentSettings.parse(wanted)
    async with places.visited(settings, data_dir) as place:
        connection = await database.connect(place.dsn)
        try:
            found = await _workspace(connection, workspace)
            stored = agent_settings.stored()
            agent = await agents.set_settings(connection, found.id, name, stored)
        finally:
            await connection.close()
    if agent is None:
        raise ConfigurationError(f"there is no agent {name!r} in {workspace!r}")
    return shown(agent)


async def list_agents(settings: Settings, data_dir: Path | None) -> list[dict[str, Any]]:
    """All deployed agents."""
    async with places.visited(settings, data_dir) as place:
        connection = await database.connect(place.dsn)
        try:
            return [shown(agent) for agent in await agents.every(connection)]
        finally:
            await connection.close()


def shown(agent: Agent) -> dict[str, Any]:
    """An agent as the command prints it."""
    return {
        "id": str(agent.id),
        "name": agent.name,
        "status": agent.status,
        "agent_id": agent.anthropic_agent_id,
        "environment_id": agent.anthropic_environment_id,
        "settings": agent.settings,
    }


async def _workspace(connection: database.Connection, name: str) -> members.Workspace:
    found = await members.find_workspace(connection, name)
    if found is None:
        raise ConfigurationError(
            f"there is no workspace {name!r}: make it with `threadline workspaces add {name}`"
        )
    return found


async def _at_runtime(  # the options of one command
    settings: Settings,
    name: str,
    runtime_agent: str | None,
    environment: str | None,
    model: str | None,
    system: str | None,
) -> tuple[str, str]:
    """The runtime's ids, made if --model is given. ConfigurationError for every other mixture."""
    given = runtime_agent is not None and environment is not None
    if given == (model is not None) or (runtime_agent is None) != (environment is None):
        raise ConfigurationError("give --agent-id and --environment-id, or --model and --system")
    if runtime_agent is not None and environment is not None:
        return runtime_agent, environment
    runtime = runtime_of(settings)
    try:
        made = await runtime.create_agent(
            name=name, model=str(model), system=system or "You answer in a Slack thread."
        )
        return made, await runtime.create_environment(name=name)
    except RuntimeFailure as failure:
        raise ConfigurationError(f"the runtime did not make the agent: {failure}") from failure
    finally:
        await runtime.close()


def runtime_of(settings: Settings) -> Runtime:
    """A client for a few calls."""
    if settings.anthropic_api_key is None:
        raise ConfigurationError("set ANTHROPIC_API_KEY (the key of the agent runtime)")
    return Runtime(
        api_key=settings.anthropic_api_key.get_secret_value(),
        base_url=settings.anthropic_base_url,
        max_streams=1,
    )

"""What the administrative commands do; each returns what it prints."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from bot import places
from router.behaviour import AgentSettings
from router.errors import ConfigurationError, RuntimeFailure
from router.settings import Settings
from router.tools import TOOLS
from store import agents, database, installs, keys, members
from store.agents import Agent
from store.database import Connection
from store.installs import Install

if TYPE_CHECKING:
    from router.runtime.client import Runtime

ROLES = ("viewer", "member", "admin", "owner")
_INVITE = (
    "if the bot is not in that channel, type /invite with its name there: until then nothing can be "
    "posted; `threadline doctor` checks it"
)
_CHANNEL = re.compile(r"[CG][A-Z0-9]+")


async def add_workspace(settings: Settings, data_dir: Path | None, name: str) -> dict[str, Any]:
    """Makes a workspace; one of that name stays as it is."""
    async with _database(settings, data_dir) as connection:
        workspace = await members.ensure_workspace(connection, name)
    return {"id": str(workspace.id), "name": workspace.name}


async def set_escalation_channel(
    settings: Settings,
    data_dir: Path | None,
    workspace: str,
    channel_id: str | None,
    team: str | None,
) -> dict[str, Any]:
    """Sets the channel in which agents' questions are asked too; None: in their threads only."""
    if channel_id is not None and not _CHANNEL.fullmatch(channel_id):
        raise ConfigurationError(
            f"{channel_id!r} is no channel's id: it is like C0123ABCD, and Slack shows it at the end "
            "of the channel's details"
        )
    async with _database(settings, data_dir) as connection:
        found = await _workspace(connection, workspace)
        install = await _install(connection, found.id, team)
        await installs.set_escalation_channel(connection, install.id, channel_id)
    return {
        "workspace": workspace,
        "team": install.tenant_id,
        "escalation_channel": channel_id,
        "next": _INVITE if channel_id else "questions are asked in their own threads only",
    }


async def add_member(
    settings: Settings, data_dir: Path | None, workspace: str, user_id: str, role: str
) -> dict[str, Any]:
    """Gives a person a role in a workspace."""
    if role not in ROLES:
        raise ConfigurationError(f"--role must be one of {', '.join(ROLES)}")
    async with _database(settings, data_dir) as connection:
        found = await _workspace(connection, workspace)
        await members.put_member(connection, found.id, user_id, role)
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
    install_tools: bool = False,
) -> dict[str, Any]:
    """Deploys an agent that exists at the runtime, or makes one there first.

    One that is made has the tools of Threadline; `install_tools` puts them on one that exists.
    """
    runtime_agent, environment = await _at_runtime(
        settings, name, runtime_agent, environment, model, system
    )
    installed = await _install_tools(settings, runtime_agent) if install_tools else []
    async with _database(settings, data_dir) as connection:
        found = await _workspace(connection, workspace)
        agent = await agents.put(connection, found.id, name, runtime_agent, environment)
        count = await agents.make_default(connection, found.id, agent.id) if default else 0
    return shown(agent) | {"default_of_installs": count, "tools_installed": installed}


async def set_agent(
    settings: Settings, data_dir: Path | None, workspace: str, name: str, wanted: str
) -> dict[str, Any]:
    """Replaces an agent's settings, given as JSON."""
    agent_settings = AgentSettings.parse(wanted)
    async with _database(settings, data_dir) as connection:
        found = await _workspace(connection, workspace)
        stored = agent_settings.stored()
        agent = await agents.set_settings(connection, found.id, name, stored)
    if agent is None:
        raise ConfigurationError(f"there is no agent {name!r} in {workspace!r}")
    return shown(agent)


async def list_agents(settings: Settings, data_dir: Path | None) -> list[dict[str, Any]]:
    """All deployed agents."""
    async with _database(settings, data_dir) as connection:
        return [shown(agent) for agent in await agents.every(connection)]


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


async def list_members(
    settings: Settings, data_dir: Path | None, workspace: str
) -> list[dict[str, Any]]:
    """The people of a workspace, the newest first."""
    async with _database(settings, data_dir) as connection:
        found = await _workspace(connection, workspace)
        people = await members.page(connection, found.id)
    return [{"user_id": p.user_id, "role": p.role, "since": _time(p.created_at)} for p in people]


async def add_key(
    settings: Settings, data_dir: Path | None, workspace: str, agent: str, new: tuple[str, str]
) -> dict[str, Any]:
    """Makes a key of a name and a role for an agent; the only time that anybody sees it."""
    name, role = new
    if role not in keys.ROLES:
        raise ConfigurationError(f"--role must be one of {', '.join(keys.ROLES)}")
    if not name.strip():
        raise ConfigurationError("--name says what the key is for")
    async with _database(settings, data_dir) as connection:
        found = await _workspace(connection, workspace)
        agent_id = await _agent_id(connection, found, agent)
        wanted = keys.NewKey(found.id, agent_id, name.strip(), role)
        made, token = await keys.make(connection, wanted)
    return {"key": token} | _shown_key(made)


async def list_keys(
    settings: Settings, data_dir: Path | None, workspace: str, agent: str | None
) -> list[dict[str, Any]]:
    """The keys of a workspace, or of one agent of it; without what was shown once."""
    async with _database(settings, data_dir) as connection:
        found = await _workspace(connection, workspace)
        agent_id = await _agent_id(connection, found, agent) if agent else None
        return [_shown_key(key) for key in await keys.every(connection, found.id, agent_id)]


async def revoke_key(settings: Settings, data_dir: Path | None, prefix: str) -> dict[str, Any]:
    """Ends a key at once."""
    async with _database(settings, data_dir) as connection:
        workspace_id = await keys.workspace_of(connection, prefix)
        if workspace_id is None or not await keys.revoke(connection, workspace_id, prefix):
            raise ConfigurationError(
                f"there is no working key {prefix!r}: `threadline keys list` shows them by prefix"
            )
    return {"prefix": prefix, "revoked": True}


def _shown_key(key: keys.ApiKey) -> dict[str, Any]:
    return {
        "prefix": key.prefix,
        "name": key.name,
        "role": key.role,
        "agent": str(key.deployed_agent_id),
        "created_at": _time(key.created_at),
        "last_used_at": _time(key.last_used_at),
        "revoked_at": _time(key.revoked_at),
    }


def _time(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds") if at else None


@asynccontextmanager
async def _database(settings: Settings, data_dir: Path | None) -> AsyncIterator[Connection]:
    """One connection to the database of the installation."""
    async with places.visited(settings, data_dir) as place:
        connection = await database.connect(place.dsn)
        try:
            yield connection
        finally:
            await connection.close()


async def _workspace(connection: Connection, name: str) -> members.Workspace:
    found = await members.find_workspace(connection, name)
    if found is None:
        raise ConfigurationError(
            f"there is no workspace {name!r}: make it with `threadline workspaces add {name}`"
        )
    return found


async def _agent_id(connection: Connection, workspace: members.Workspace, name: str) -> UUID:
    agent = await agents.named(connection, workspace.id, name)
    if agent is None:
        raise ConfigurationError(f"there is no agent {name!r} in {workspace.name!r}")
    return agent.id


async def _install(connection: Connection, workspace_id: UUID, team: str | None) -> Install:
    """The install of a workspace that is meant: the only one, else that of the Slack team."""
    active = [
        i
        for i in await installs.every(connection)
        if i.workspace_id == workspace_id and i.status == "active"
    ]
    meant = [i for i in active if team in (None, i.tenant_id)]
    if len(meant) == 1:
        return meant[0]
    if not active:
        raise ConfigurationError(
            "Slack is not installed there yet: start `threadline serve` with SLACK_BOT_TOKEN first"
        )
    teams = ", ".join(i.tenant_id for i in active)
    raise ConfigurationError(f"name the Slack team with --team, one of {teams}")


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
            name=name,
            model=str(model),
            system=system or "You answer in a Slack thread.",
            tools=TOOLS,
        )
        return made, await runtime.create_environment(name=name)
    except RuntimeFailure as failure:
        raise ConfigurationError(f"the runtime did not make the agent: {failure}") from failure
    finally:
        await runtime.close()


async def _install_tools(settings: Settings, runtime_agent: str) -> list[str]:
    """Puts our tools on an agent of the runtime; the names of those that it lacked."""
    runtime = runtime_of(settings)
    try:
        return [t["name"] for t in TOOLS if await runtime.install_tool(runtime_agent, t)]
    except RuntimeFailure as failure:
        raise ConfigurationError(f"the runtime did not take the tools: {failure}") from failure
    finally:
        await runtime.close()


def runtime_of(settings: Settings) -> "Runtime":
    """A client for a few calls."""
    # The SDK takes seconds to load, and most commands need no runtime.
    from router.runtime.client import Runtime  # noqa: PLC0415

    if settings.anthropic_api_key is None:
        raise ConfigurationError("set ANTHROPIC_API_KEY (the key of the agent runtime)")
    return Runtime(
        api_key=settings.anthropic_api_key.get_secret_value(),
        base_url=settings.anthropic_base_url,
        max_streams=1,
    )

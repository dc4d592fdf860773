"""What a demo finds in its database: a workspace with people, an agent of the runtime, prompts."""

from typing import Any, Final

from bot.signin import people
from router.errors import ConfigurationError, RuntimeFailure
from router.runtime.client import Runtime
from router.settings import Settings
from router.tools import TOOLS
from store import agents, database, members
from store.agents import Agent
from store.database import Connection

WORKSPACE = "default"
_AGENT = "demo"

Suggested = dict[str, Any]

# What the local runtime does is its script's (`router/runtime/local/brain.py`): `!` and a word.
SCRIPTED: Final[Suggested] = {
    "greeting": "Four things to try first",
    "prompts": [
        {
            "title": "Watch an answer with a table and code grow",
            "message": "Show me everything you can write, slowly enough to watch. !slow 8 3",
        },
        {
            "title": "Use a tool that I have to approve",
            "message": "Please list the files of the workspace. !ask bash",
        },
        {
            "title": "Ask a person before going on",
            "message": "Prepare the release. "
            "!escalate May the release go out on Friday? | Yes | No | After the last test",
        },
        {
            "title": "Write for so long that I press Stop",
            "message": "Write until somebody stops you. !slow 60 6",
        },
    ],
}
# A real model is asked in plain words, and decides by itself.
REAL: Final[Suggested] = {
    "greeting": "Four things to try first",
    "prompts": [
        {
            "title": "Watch an answer with a table and code grow",
            "message": "Compare three ways to sort a list: a table of their costs, then each of them "
            "in Python.",
        },
        {
            "title": "Use a tool",
            "message": "Find out which files are in your workspace, and tell me what is in there.",
        },
        {
            "title": "Ask a person before going on",
            "message": "Choose a day for our release. Ask a person whether Friday suits before you "
            "decide.",
        },
        {
            "title": "Write for so long that I press Stop",
            "message": "Write 2,000 words about rivers.",
        },
    ],
}
_OURS = (SCRIPTED, REAL)


async def seed(dsn: str, settings: Settings, *, scripted: bool, shared: bool) -> str:
    """The name of the agent that answers; what is there already stays.

    An agent without suggested prompts gets some, and those of a demo with another runtime give way;
    but in a database that is `shared`, only an agent that is made here. Nor does anybody become a
    member there.
    ConfigurationError where the runtime does not make it.
    """
    connection = await database.connect(dsn)
    key = settings.anthropic_api_key
    runtime = Runtime(
        api_key=key.get_secret_value() if key else "",
        base_url=settings.anthropic_base_url,
        max_streams=1,
    )
    try:
        workspace = await members.ensure_workspace(connection, WORKSPACE)
        if not shared:
            await people.add(connection, workspace.id)
        deployed = [a for a in await agents.every(connection) if a.workspace_id == workspace.id]
        agent = await _found(runtime, deployed)
        ours = agent is None or not shared
        if agent is None:
            made = await runtime.create_agent(
                name=_AGENT,
                model="claude-sonnet-5-5",
                system="You answer in a Slack thread.",
                tools=TOOLS,
            )
            environment = await runtime.create_environment(name=_AGENT)
            agent = await agents.put(connection, workspace.id, _AGENT, made, environment)
        if ours:
            await _suggest(connection, agent, SCRIPTED if scripted else REAL)
    except RuntimeFailure as failure:
        raise ConfigurationError(f"the runtime did not make the agent: {failure}") from failure
    finally:
        await runtime.close()
        await connection.close()
    return agent.name


async def _found(runtime: Runtime, deployed: list[Agent]) -> Agent | None:
    """The first of the agents that the runtime has."""
    for agent in deployed:
        try:
            await runtime.check_agent(agent.anthropic_agent_id)
        except RuntimeFailure:
            continue
        return agent
    return None


async def _suggest(connection: Connection, agent: Agent, suggested: Suggested) -> None:
    """Suggests what there is to try, unless somebody has chosen other prompts."""
    chosen = agent.settings.get("prompts")
    if chosen is None or chosen in [ours["prompts"] for ours in _OURS]:
        changed = agent.settings | suggested
        if changed != agent.settings:
            await agents.set_settings(connection, agent.workspace_id, agent.name, changed)

"""The work of the routes for agents and their keys."""

from datetime import datetime
from uuid import UUID

from router.api import cursors
from router.api.call import Answer, Call
from router.api.problems import CONFLICT, Problem, not_found
from router.api.schemas import InWorkspace, ListingInWorkspace, Nothing
from router.api.schemas_agents import (
    AgentOut,
    AgentPage,
    CreateAgent,
    CreateKey,
    KeyList,
    KeyOut,
    NewKeyOut,
    UpdateAgent,
)
from store import agents, keys
from store.agents import Agent, NameTaken, NewAgent
from store.keys import NewKey


async def create(call: Call[InWorkspace, CreateAgent]) -> Answer:
    """Deploys an agent; Problem conflict where its name is taken."""
    wanted = call.body
    new = NewAgent(
        id=call.work_id,
        workspace_id=call.workspace_id,
        name=wanted.name,
        anthropic_agent_id=wanted.anthropic_agent_id,
        anthropic_environment_id=wanted.anthropic_environment_id,
        settings=wanted.settings.stored(),
    )
    try:
        made = await agents.create(call.connection, new)
    except NameTaken:
        raise _taken(wanted.name) from None
    return Answer(_shown(made), location=f"/dashboard/agents/{made.id}")


async def listed(call: Call[ListingInWorkspace, Nothing]) -> Answer:
    """A page of a workspace's agents, newest first; a key sees its own alone."""
    query, bound = call.query, call.principal.agent_id
    if bound is not None:
        only = await agents.find(call.connection, call.workspace_id, bound)
        return Answer(AgentPage(data=[_shown(only)] if only else []))
    rows = await agents.page(
        call.connection,
        call.workspace_id,
        after=cursors.read(query.cursor, UUID),
        limit=query.limit + 1,
    )
    page, cursor = cursors.page(rows, query.limit, _place)
    return Answer(AgentPage(data=[_shown(row) for row in page], next_cursor=cursor))


async def read(call: Call[Nothing, Nothing]) -> Answer:
    """One agent."""
    found = await agents.find(call.connection, call.workspace_id, call.agent_id)
    if found is None:
        raise not_found("agent")
    return Answer(_shown(found))


async def update(call: Call[Nothing, UpdateAgent]) -> Answer:
    """Changes what is given, pausing included; Problem conflict where the name is taken."""
    wanted = call.body
    try:
        changed = await agents.change(
            call.connection,
            call.workspace_id,
            call.agent_id,
            name=wanted.name,
            settings=wanted.settings.stored() if wanted.settings is not None else None,
            status=wanted.status,
        )
    except NameTaken:
        raise _taken(str(wanted.name)) from None
    if changed is None:
        raise not_found("agent")
    return Answer(_shown(changed))


async def make_key(call: Call[Nothing, CreateKey]) -> Answer:
    """A key for programs. Its text is nowhere but in this one answer."""
    wanted, maker = call.body, call.principal.user_id
    new = NewKey(call.workspace_id, call.agent_id, wanted.name, wanted.role, maker)
    made, token = await keys.make(call.connection, new)
    said = KeyOut.model_validate(made).model_dump()
    return Answer(NewKeyOut(**said, token=token), kept=NewKeyOut(**said, token=None))


async def every_key(call: Call[Nothing, Nothing]) -> Answer:
    """All keys of an agent: they are few."""
    found = await keys.every(call.connection, call.workspace_id, call.agent_id)
    return Answer(KeyList(data=[KeyOut.model_validate(key) for key in found]))


async def revoke_key(call: Call[Nothing, Nothing]) -> Answer:
    """Ends a key at once; one that was revoked stays so."""
    found = await keys.every(call.connection, call.workspace_id, call.agent_id)
    key = next((one for one in found if one.id == call.path["key_id"]), None)
    if key is None:
        raise not_found("key")
    await keys.revoke(call.connection, call.workspace_id, key.prefix)
    after = await keys.every(call.connection, call.workspace_id, call.agent_id)
    return Answer(next(KeyOut.model_validate(one) for one in after if one.id == key.id))


def _shown(agent: Agent) -> AgentOut:
    return AgentOut.model_validate(agent)


def _place(agent: Agent) -> tuple[datetime, UUID]:
    return agent.created_at, agent.id


def _taken(name: str) -> Problem:
    return Problem(CONFLICT, f"Another agent of this workspace is called {name!r}.")

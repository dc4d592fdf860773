"""Which agent answers on an install that is made after its workspace's agents."""

from uuid import UUID

import asyncpg
import pytest

from store import agents, installs, members
from store.database import Connection
from store.installs import NewInstall


async def installed(connection: Connection, workspace_id: UUID) -> UUID | None:
    new = NewInstall(workspace_id, "A1", "T1", "T1", None, "UBOT", "B1", ["chat:write"])
    install_id = await installs.put(connection, new, b"sealed")
    await installs.adopt_default_agent(connection, install_id)
    return (await installs.get(connection, install_id)).default_agent_id


async def test_the_workspaces_default_answers_on_later_installs(connection: Connection):
    workspace = await members.ensure_workspace(connection, "acme")
    await agents.put(connection, workspace.id, "first", "agent_1", "env_1")
    second = await agents.put(connection, workspace.id, "second", "agent_2", "env_2")
    assert await agents.make_default(connection, workspace.id, second.id) == 0
    assert await installed(connection, workspace.id) == second.id


async def test_the_only_agent_answers_where_none_was_chosen(connection: Connection):
    workspace = await members.ensure_workspace(connection, "acme")
    only = await agents.put(connection, workspace.id, "only", "agent_1", "env_1")
    assert await installed(connection, workspace.id) == only.id


async def test_of_several_agents_none_is_chosen_by_chance(connection: Connection):
    workspace = await members.ensure_workspace(connection, "acme")
    for name in ("first", "second"):
        await agents.put(connection, workspace.id, name, f"agent_{name}", "env")
    assert await installed(connection, workspace.id) is None


async def test_a_choice_stays_when_the_app_is_installed_again(connection: Connection):
    workspace = await members.ensure_workspace(connection, "acme")
    first = await agents.put(connection, workspace.id, "first", "agent_1", "env_1")
    await agents.make_default(connection, workspace.id, first.id)
    assert await installed(connection, workspace.id) == first.id
    await agents.put(connection, workspace.id, "second", "agent_2", "env_2")
    assert await installed(connection, workspace.id) == first.id


async def test_an_agent_of_another_workspace_cannot_be_the_default(connection: Connection):
    ours = await members.ensure_workspace(connection, "ours")
    theirs = await members.ensure_workspace(connection, "theirs")
    agent = await agents.put(connection, theirs.id, "theirs", "agent_1", "env_1")
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await agents.make_default(connection, ours.id, agent.id)

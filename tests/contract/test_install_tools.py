"""Our client puts a tool on an agent of the runtime: once, and nothing else of it changes."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from router.errors import RuntimeGone, RuntimeRefused, RuntimeUnclear
from router.runtime.client import Runtime
from router.runtime.local import LocalRuntime
from router.tools import ESCALATE, ESCALATE_TO_HUMAN, TOOLS
from tests.support import eventually

OTHERS = [
    {
        "type": "agent_toolset_20260401",
        "default_config": {"enabled": True, "permission_policy": {"type": "always_ask"}},
        "configs": [{"name": "bash", "type": "bash", "enabled": False}],
    },
    {"type": "custom", "name": "t", "description": "d", "input_schema": {"type": "object"}},
]


@pytest.fixture
async def local() -> AsyncIterator[LocalRuntime]:
    async with LocalRuntime() as runtime:
        yield runtime


@pytest.fixture
async def client(local: LocalRuntime) -> AsyncIterator[Runtime]:
    made = Runtime(api_key="local", base_url=local.url, max_streams=1)
    yield made
    await made.close()


def agent(local: LocalRuntime):
    (only,) = local.state()["agents"]
    return only


def names(local: LocalRuntime) -> list[str]:
    return [tool.get("name") or tool["type"] for tool in agent(local)["tools"]]


async def test_an_agent_is_made_with_the_tools_it_is_given(local, client):
    await client.create_agent(name="a", model="m", system="s", tools=TOOLS)
    assert agent(local)["tools"] == list(TOOLS)


async def test_a_tool_is_added_once_beside_all_others(local, client):
    made = await client.create_agent(name="a", model="m", system="s", tools=OTHERS)
    assert await client.install_tool(made, ESCALATE_TO_HUMAN)
    assert agent(local)["tools"] == [*OTHERS, ESCALATE_TO_HUMAN]
    assert (agent(local)["version"], agent(local)["system"]) == (2, "s")
    assert not await client.install_tool(made, ESCALATE_TO_HUMAN)
    assert agent(local)["version"] == 2


async def test_a_tool_of_the_same_name_stays_as_somebody_made_it(local, client):
    own = ESCALATE_TO_HUMAN | {"description": "Our own words."}
    made = await client.create_agent(name="a", model="m", system="s", tools=[own])
    assert not await client.install_tool(made, ESCALATE_TO_HUMAN)
    assert agent(local)["tools"] == [own]


async def test_what_somebody_else_changed_meanwhile_is_read_again(local, client):
    made = await client.create_agent(name="a", model="m", system="s", tools=OTHERS)
    local.world.pace.set_rate(0)
    local.fault("stall", route="agents.retrieve", times=3, seconds=1)
    added = [ESCALATE_TO_HUMAN | {"name": name} for name in ("one", "two", "three")]
    async with asyncio.TaskGroup() as tasks:
        for tool in added:
            tasks.create_task(client.install_tool(made, tool))
        await eventually(lambda: len(local.world.pace._sleepers) == 3)
        local.advance(1)
    assert set(names(local)) == {"agent_toolset_20260401", "t", "one", "two", "three"}
    assert (agent(local)["version"], len(names(local))) == (4, 5)
    assert local.requests("agents.update") > 3  # they met


async def test_a_lost_answer_is_looked_into(local, client):
    made = await client.create_agent(name="a", model="m", system="s", tools=OTHERS)
    local.fault("drop_after", route="agents.update")
    assert await client.install_tool(made, ESCALATE_TO_HUMAN)
    assert names(local) == ["agent_toolset_20260401", "t", ESCALATE]
    assert agent(local)["version"] == 2


async def test_what_cannot_be_done_is_told(local, client):
    with pytest.raises(RuntimeGone):
        await client.install_tool("agent_none", ESCALATE_TO_HUMAN)
    made = await client.create_agent(name="a", model="m", system="s")
    with pytest.raises(RuntimeRefused):
        await client.install_tool(made, ESCALATE_TO_HUMAN | {"name": "not a name"})
    local.fault("drop_before", route="agents.update", times=3)
    with pytest.raises(RuntimeUnclear):
        await client.install_tool(made, ESCALATE_TO_HUMAN)

"""The commands for what is asked of people: tools on an agent, the channel in which questions are asked."""

from collections.abc import AsyncIterator
from pathlib import Path

import anthropic
import pytest

from router.tools import ESCALATE, TOOLS
from tests.chaos.processes import Fleet, Processes, processes, serving
from tests.harness import World

pytestmark = pytest.mark.timeout(120)

CHANNEL = ("workspaces", "escalation-channel")


@pytest.fixture
async def commands(tmp_path: Path) -> AsyncIterator[Processes]:
    async with processes(tmp_path) as made:
        yield made


@pytest.fixture
def fleet(here: World, commands: Processes) -> Fleet:
    return Fleet(here, commands)


# ------------------------------------------------------------------ tools


async def test_an_agent_that_is_made_carries_the_tool(commands: Processes, here: World):
    result = await commands.run(
        *("agents", "add", "--workspace", "default", "--name", "poet", "--json"),
        *("--model", "claude-sonnet-5-5"),
        **serving(here),
    )
    assert result.code == 0, result.stderr
    assert here.runtime.state()["agents"][-1]["tools"] == list(TOOLS)


async def test_tools_are_put_on_an_agent_that_exists_once(commands: Processes, here: World):
    made = here.runtime.state()["agents"][-1]
    add = (
        *("agents", "add", "--workspace", "default", "--name", "helper", "--json"),
        *("--agent-id", made["id"], "--environment-id", "env_1"),
    )
    plain = await commands.run(*add, **serving(here))
    assert (plain.code, plain.json()["tools_installed"]) == (0, [])
    assert here.runtime.state()["agents"][-1] == made
    first = await commands.run(*add, "--install-tools", **serving(here))
    assert (first.code, first.json()["tools_installed"]) == (0, [tool["name"] for tool in TOOLS])
    again = await commands.run(*add, "--install-tools", **serving(here))
    assert (again.code, again.json()["tools_installed"]) == (0, [])
    changed = here.runtime.state()["agents"][-1]
    assert (changed["tools"], changed["version"]) == (list(TOOLS), 1 + len(TOOLS))


async def test_tools_that_cannot_be_installed_are_told_and_nothing_is_deployed(
    commands: Processes, here: World
):
    add = ("agents", "add", "--workspace", "default", "--name", "new", "--install-tools")
    ids = ("--agent-id", "agent_none", "--environment-id", "env_1")
    result = await commands.run(*add, *ids, **serving(here))
    assert (result.code, "did not take the tools" in result.stderr) == (2, True)
    without_a_key = serving(here) | {"ANTHROPIC_API_KEY": ""}
    result = await commands.run(*add, *ids, **without_a_key)
    assert result.code == 2
    assert not await here.rows("SELECT 1 FROM deployed_agents WHERE name = 'new'")


async def test_the_local_runtime_takes_the_tool_as_the_sdk_types_it(here: World):
    client = anthropic.AsyncAnthropic(api_key="local", base_url=here.runtime.url)
    made = await client.beta.agents.create(
        name="typed",
        model="claude-sonnet-5-5",
        tools=[*TOOLS],  # type: ignore[list-item]  # plain dicts of the documented shape
    )
    tool, *others = made.tools
    assert [one.type for one in others] == ["custom"] * 3
    assert isinstance(tool, anthropic.types.beta.BetaManagedAgentsCustomTool)
    assert (tool.name, tool.input_schema.required) == (ESCALATE, ["question"])
    await client.close()


# ------------------------------------------------------------------ the channel


async def test_a_workspace_chooses_its_escalation_channel(fleet: Fleet, commands: Processes):
    here, env = fleet.here, serving(fleet.here)
    early = await commands.run(*CHANNEL, "default", "C0RANDOM", **env)
    assert (early.code, "SLACK_BOT_TOKEN" in early.stderr) == (2, True)
    await fleet.installed()

    chosen = await commands.run(*CHANNEL, "default", "C0RANDOM", "--json", **env)
    assert chosen.code == 0, chosen.stderr
    assert chosen.json()["escalation_channel"] == "C0RANDOM"
    assert "/invite" in chosen.json()["next"]
    assert await stored(here) == "C0RANDOM"
    assert "/invite" in (await commands.run(*CHANNEL, "default", "C0RANDOM", **env)).stdout
    cleared = await commands.run(*CHANNEL, "default", "--clear", "--json", **env)
    assert (cleared.code, cleared.json()["escalation_channel"]) == (0, None)
    assert await stored(here) is None


async def stored(here: World) -> str | None:
    row = await here.row("SELECT escalation_channel_id AS channel FROM oauth_installs")
    channel: str | None = row["channel"]
    return channel


async def test_of_several_installs_the_team_is_named(fleet: Fleet, commands: Processes):
    here, env = fleet.here, serving(fleet.here)
    await fleet.installed()
    await here.connection.execute(
        "INSERT INTO oauth_installs (id, workspace_id, api_app_id, tenant_id, bot_user_id,"
        " bot_token) SELECT gen_random_uuid(), workspace_id, api_app_id, 'T0SECOND', 'U0B', 'x'"
        " FROM oauth_installs"
    )
    either = await commands.run(*CHANNEL, "default", "C0RANDOM", **env)
    assert (either.code, "--team" in either.stderr, "T0SECOND" in either.stderr) == (2, True, True)
    wrong = await commands.run(*CHANNEL, "default", "C0RANDOM", "--team", "T0NONE", **env)
    assert wrong.code == 2
    named = await commands.run(*CHANNEL, "default", "C0RANDOM", "--team", "T0SECOND", **env)
    assert named.code == 0, named.stderr
    chosen = await here.rows(
        "SELECT tenant_id FROM oauth_installs WHERE escalation_channel_id IS NOT NULL"
    )
    assert [row["tenant_id"] for row in chosen] == ["T0SECOND"]


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["default", "#general"], "no channel's id"),
        (["default", "c0random"], "no channel's id"),
        (["default", "C0RANDOM\n"], "no channel's id"),
        (["default", "D0ADA"], "no channel's id"),
        (["default"], "or --clear"),
        (["default", "C0RANDOM", "--clear"], "or --clear"),
        (["nobody", "C0RANDOM"], "there is no workspace"),
    ],
    ids=["name", "case", "newline", "dm", "nothing", "both", "workspace"],
)
async def test_what_is_no_channel_is_told_and_exits_2(commands, here, argv, says):
    result = await commands.run(*CHANNEL, *argv, **serving(here))
    assert result.code == 2
    assert says in result.stderr
    assert "Traceback" not in result.stderr


async def test_doctor_looks_whether_questions_can_be_asked_there(fleet: Fleet, commands: Processes):
    env = serving(fleet.here)
    await (await fleet.installed()).kill()

    async def examined(channel: str) -> tuple[int | None, dict[str, str]]:
        await commands.run(*CHANNEL, "default", channel, **env)
        result = await commands.run("doctor", "--json", **env)
        rows = [r for r in result.json() if r["check"].startswith("escalation channel")]
        return result.code, rows[0] if rows else {}

    assert await examined("--clear") == (0, {})
    code, fine = await examined("C0RANDOM")
    assert (code, fine["state"]) == (0, "ok")
    code, outside = await examined("C0NOBOT")
    assert (code, outside["state"], "not in C0NOBOT" in outside["says"]) == (1, "failed", True)
    assert "/invite" in outside["mend"]
    code, nowhere = await examined("C0NOWHERE")
    assert (code, "channel_not_found" in nowhere["says"]) == (1, True)

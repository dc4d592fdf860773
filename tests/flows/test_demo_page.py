"""The page of `threadline demo`: opened where somebody can see it, with something to try."""

import asyncio
import os
import pty
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from bot import seeding
from bot.browser import can_open
from router.behaviour import AgentSettings
from router.runtime.local import brain
from store import agents, members
from store.database import Connection
from tests.harness import World, environment
from tests.support import eventually

pytestmark = pytest.mark.timeout(120)

_ROOT = Path(__file__).parents[2]
_SCREEN = {"DISPLAY": ":0"}


# ------------------------------------------------------------------ opening


@pytest.mark.parametrize(
    ("environ", "platform", "terminal", "opens"),
    [
        (_SCREEN, "linux", True, True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True, True),
        ({}, "linux", True, False),
        ({}, "darwin", True, True),
        (_SCREEN, "linux", False, False),
        (_SCREEN | {"CI": "true"}, "linux", True, False),
        ({"SSH_CONNECTION": "1 2 3 4"}, "darwin", True, False),
    ],
    ids=["a screen", "wayland", "no screen", "a Mac", "no terminal", "CI", "from afar"],
)
def test_a_browser_is_opened_where_somebody_sits(environ, platform, terminal, opens):
    assert can_open(environ, platform, terminal=terminal) is opens


class Terminal:
    """What was written to a terminal, so far."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._said = descriptor, b""
        os.set_blocking(descriptor, False)

    def text(self) -> str:
        with suppress(BlockingIOError):
            self._said += os.read(self._descriptor, 65536)
        return self._said.decode(errors="replace")  # the end may be half a letter


@asynccontextmanager
async def on_a_terminal(argv: list[str], env: dict[str, str]) -> AsyncIterator[Terminal]:
    """A command with a terminal of its own, until Ctrl-C."""
    primary, secondary = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", *argv),
        cwd=_ROOT,
        env=env,
        stdin=secondary,
        stdout=secondary,
        stderr=secondary,
        start_new_session=True,
    )
    os.close(secondary)
    try:
        yield Terminal(primary)
    finally:
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0
        os.close(primary)


@pytest.mark.parametrize(
    "asked", [True, pytest.param(False, marks=pytest.mark.long)], ids=["as usual", "--no-open"]
)
async def test_on_a_terminal_the_page_is_opened_and_its_address_said_first(
    data_dir: Path, tmp_path: Path, *, asked: bool
):
    """The browser never ends, which keeps nobody."""
    opened, script = tmp_path / "opened", tmp_path / "browser"
    script.write_text(f'#!/bin/sh\necho "$1" > {opened}.new; mv {opened}.new {opened}; sleep 60\n')
    script.chmod(0o755)
    env = {k: v for k, v in environment(**_SCREEN).items() if k not in {"CI", "SSH_CONNECTION"}}
    argv = ["demo", "--data-dir", str(data_dir), *([] if asked else ["--no-open"])]
    async with on_a_terminal(argv, env | {"BROWSER": f"{script} %s &"}) as terminal:
        await eventually(lambda: "/_control/message" in terminal.text(), 60, "the welcome")
        first = re.search(r"(Open\w*) \S*?(http://127\.0\.0\.1:\d+/)", terminal.text())
        assert first
        assert terminal.text().startswith(f"{'Opened' if asked else 'Open'} ")
        if asked:
            await eventually(opened.exists, says="the browser")
            assert opened.read_text() == f"{first[2]}\n"
        async with aiohttp.ClientSession() as http, http.get(first[2]) as response:
            assert response.content_type == "text/html"
    assert asked or not opened.exists()


# ------------------------------------------------------------------ what there is to try


async def _agent(connection: Connection, agent: str = "demo") -> AgentSettings:
    (found,) = [a for a in await agents.every(connection) if a.name == agent]
    return AgentSettings.model_validate(found.settings)


async def test_a_newcomer_is_shown_four_things_to_try(here: World):
    """Old data has an agent without suggestions; what else was set stays."""
    await agents.set_settings(here.connection, here.workspace_id, "demo", {"footer": True})
    await seeding.seed(here.dsn, here.settings(), scripted=True, shared=False)
    found = await _agent(here.connection)
    assert found.footer
    assert found.greeting
    assert len(found.prompts) == 4
    grows, asks, escalates, goes_on = (
        brain.script([prompt.message])[0] for prompt in found.prompts
    )
    assert isinstance(grows, brain.Answer)
    assert grows.seconds >= 5
    assert "| --- |" in grows.text
    assert "```python" in grows.text
    assert isinstance(asks, brain.Answer)
    assert [call.ask for call in asks.calls] == [True]
    assert isinstance(escalates, brain.Answer)
    assert [call.name for call in escalates.calls] == ["escalate_to_human"]
    assert escalates.calls[0].input["choices"] == ["Yes", "No", "After the last test"]
    assert isinstance(goes_on, brain.Answer)
    assert goes_on.seconds >= 30


async def test_with_a_real_runtime_they_are_plain_words_and_what_somebody_chose_stays(here: World):
    await seeding.seed(here.dsn, here.settings(), scripted=True, shared=False)
    await seeding.seed(here.dsn, here.settings(), scripted=False, shared=False)
    real = await _agent(here.connection)
    assert len(real.prompts) == 4
    assert not [prompt for prompt in real.prompts if "!" in prompt.message]
    chosen = {"prompts": [{"title": "Mine", "message": "mine"}]}
    await agents.set_settings(here.connection, here.workspace_id, "demo", chosen)
    await seeding.seed(here.dsn, here.settings(), scripted=True, shared=False)
    assert [prompt.title for prompt in (await _agent(here.connection)).prompts] == ["Mine"]


async def test_in_a_database_that_others_share_only_an_agent_of_our_own_is_given_some(here: World):
    connection = here.connection
    assert await seeding.seed(here.dsn, here.settings(), scripted=True, shared=True) == "demo"
    assert (await _agent(connection)).prompts == ()
    here.runtime.reset()
    workspace = await members.ensure_workspace(connection, "default")
    await connection.execute("UPDATE deployed_agents SET name = 'theirs'")
    assert workspace.id == here.workspace_id
    assert await seeding.seed(here.dsn, here.settings(), scripted=True, shared=True) == "demo"
    assert len((await _agent(connection)).prompts) == 4
    assert (await _agent(connection, "theirs")).prompts == ()

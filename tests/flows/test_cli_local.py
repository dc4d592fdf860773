"""`threadline local`: the stand-ins for Slack and the runtime, as processes."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.chaos.processes import Processes, processes


@pytest.fixture
async def commands(tmp_path: Path) -> AsyncIterator[Processes]:
    async with processes(tmp_path) as made:
        yield made


async def test_the_local_runtime_keeps_its_state_where_it_is_told(commands, tmp_path):
    folder = tmp_path / "stand ins"
    process = commands.start("local", "runtime", "--data-dir", str(folder))
    url = (await process.ready())["url"]
    async with aiohttp.ClientSession() as http, http.get(f"{url}/_control/state") as response:
        assert (await response.json())["sessions"] == []
    process.signal(signal.SIGINT)
    assert await process.ended() == 0
    assert (folder / "runtime.sqlite3").exists()


async def test_the_local_slack_tells_what_an_app_needs_and_keeps_it(commands, tmp_path):
    argv = ("local", "slack", "--data-dir", str(tmp_path / "data"))
    said = []
    for _ in range(2):
        process = commands.start(*argv)
        told = await process.ready()
        assert told["api_url"] == f"{told['url']}/api/"
        said.append((told["bot_token"], told["signing_secret"]))
        headers = {"Authorization": f"Bearer {told['bot_token']}"}
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.post(f"{told['api_url']}auth.test") as response,
        ):
            assert (await response.json())["ok"] is True
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0
    assert said[0] == said[1]

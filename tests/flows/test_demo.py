"""`threadline demo` until Ctrl-C: what a newcomer starts first."""

import random
import re
import signal
import socket
from contextlib import ExitStack, suppress
from pathlib import Path

import aiohttp
import pytest

from bot.demo import Narrator
from router import clock
from tests.chaos.processes import ENCRYPTION_KEYS
from tests.flows.demo_room import FOREIGN, demo, serving
from tests.flows.streams import ask_for_a_stream
from tests.harness import World
from tests.supabase import SECRET, shared
from tests.support import eventually

pytestmark = pytest.mark.timeout(240)

_USUAL_PORTS = (3000, 3001, 3002)
needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no /proc here")


@needs_proc
async def test_a_killed_worker_is_followed_by_another_and_none_outlives_the_demo(
    commands, data_dir
):
    async with aiohttp.ClientSession() as http:
        room = await demo(commands, data_dir, http)
        (first,) = room.workers()
        asked = await room.say("@threadline !slow 60")
        await eventually(lambda: room.answers(asked["ts"]), 40, "the answer to grow")
        session = (await room.behind(asked))["session"]
        assert session["lease_owner"] == f"{socket.gethostname()}:{first}"
        says = await room.order("kill_worker")
        assert f"Killed process {first}." in says

        async def answered() -> bool:
            await room.hurry()
            return [text[-5:] for text in await room.answers(asked["ts"])] == ["show."]

        await eventually(answered, 40, "the whole answer")
        (second,) = room.workers()
        assert second != first
        await room.process.kill()
        await eventually(lambda: not room.workers(), 40, "the end of the worker")
        await eventually(lambda: not serving(data_dir), 40, "the end of the database")


async def test_ctrl_c_while_the_worker_is_still_starting_is_quiet(commands, data_dir):
    async with aiohttp.ClientSession() as http:
        await (await demo(commands, data_dir, http)).stop()


@needs_proc
async def test_ctrl_c_in_the_middle_of_an_answer_is_quiet_and_the_next_start_finishes_it(
    commands, data_dir
):
    async with aiohttp.ClientSession() as http:
        room = await demo(commands, data_dir, http)
        asked = await room.say("@threadline !slow 60")
        await eventually(lambda: room.answers(asked["ts"]), 40, "the answer to grow")
        await room.stop()
        assert room.workers() == []
        room = await demo(commands, data_dir, http)

        async def answered() -> bool:
            await room.hurry()
            return [text[-5:] for text in await room.answers(asked["ts"])] == ["show."]

        await eventually(answered, 40, "the whole answer")
        await room.stop()


async def test_it_stops_on_ctrl_c_and_the_next_start_finds_everything(commands, data_dir):
    async with aiohttp.ClientSession() as http:
        room = await demo(commands, data_dir, http, **FOREIGN)
        asked = await room.say("@threadline hello")

        async def answered(*texts: str) -> bool:
            return await room.answers(asked["ts"]) == [f'You said: "{t}"' for t in texts]

        await eventually(lambda: answered("hello"), 40)

        # A second one says where the first is, and leaves it alone.
        for argv in (["demo"], ["demo", "--once"], ["serve"]):
            env = {"SLACK_SIGNING_SECRET": "not-shown", "ANTHROPIC_API_KEY": "not-shown"}
            second = await commands.run(*argv, "--data-dir", str(data_dir), **env)
            assert second.code == 2
            assert f"already runs on {data_dir} at {room.where['page']}" in second.stderr

        (before,) = await room.sessions()
        await room.stop()
        room = await demo(commands, data_dir, http)
        await room.say("and again", thread_ts=asked["ts"])
        await eventually(lambda: answered("hello", "and again"), 40)
        (after,) = await room.sessions()
        assert after["id"] == before["id"]
        await room.stop()


async def test_it_shows_where_everything_is_and_what_is_said(commands, data_dir):
    process = commands.start("demo", "--data-dir", str(data_dir))
    await eventually(lambda: "/_control/message" in process.stdout, 60)
    shown = process.stdout
    named = r"^  (sign in|threadline|slack|runtime) +(http://\S+)$"
    where = dict(re.findall(named, shown, re.MULTILINE))
    assert set(where) == {"sign in", "threadline", "slack", "runtime"}
    assert where["sign in"] == f"{where['threadline']}/signin"
    assert str(data_dir) in shown
    async with aiohttp.ClientSession() as http:
        # The very line that is shown to the newcomer.
        curl = re.search(r"curl -s (\S+) -H '([^:]+): ([^']+)' -d '([^']+)'", shown)
        assert curl
        url, name, value, body = curl.groups()
        async with http.post(url, data=body, headers={name: value}) as response:
            assert (await response.json())["ok"] is True
        await eventually(lambda: 'general · threadline: You said: "hello"' in process.stdout, 40)
        assert "general · ada: <@U0THREADLINE> hello" in process.stdout
    process.signal(signal.SIGINT)
    assert await process.ended() == 0
    assert "Stopped." in process.stdout


async def test_an_answer_is_told_once_it_is_whole(here: World):
    narrator = Narrator(here.slack)
    async with here.app():
        asked = await ask_for_a_stream(here)
        told = narrator.news()
        assert not [line for line in told if "threadline:" in line]
        while not any("sentence 12 " in line for line in told):
            told += narrator.news()
            await clock.sleep(0.01)
        await here.answers(asked.channel, asked.ts, 1)
    assert [line[:40] for line in told if "threadline:" in line] == [
        "general · threadline: This is sentence 1"
    ]


async def test_a_taken_port_is_replaced_by_a_free_one_unless_it_was_asked_for(commands, data_dir):
    taken = set()
    with ExitStack() as stack:
        for usual in _USUAL_PORTS:
            with suppress(OSError):  # somebody else's may be free again by the time we ask for it
                stack.enter_context(socket.create_server(("127.0.0.1", usual)))
                taken.add(usual)
        asked = str(stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1])
        place = ("--data-dir", str(data_dir))
        refused = await commands.run("demo", *place, PORT=asked)
        assert refused.code == 2
        assert f"cannot listen on 127.0.0.1:{asked}" in refused.stderr
        assert "Traceback" not in refused.stderr
        process = commands.start("demo", "--json", *place)
        where = await process.ready()
    ports = {int(where[name].rpartition(":")[2]) for name in ("threadline", "slack", "runtime")}
    assert not ports & {*taken, int(asked)}


async def test_a_free_port_that_was_asked_for_is_used(commands, data_dir):
    port = _free_port()
    process = commands.start("demo", "--json", "--data-dir", str(data_dir), PORT=str(port))
    assert (await process.ready())["threadline"] == f"http://127.0.0.1:{port}"


def _free_port() -> int:
    """Below those that are given to whoever asks for any: another test might be given it next."""
    while True:
        port = random.randrange(20_000, 30_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


async def test_what_is_used_for_real_is_told(commands, dsn, data_dir):
    env = {
        "DATABASE_URL": dsn,
        "THREADLINE_ENCRYPTION_KEYS": ENCRYPTION_KEYS,
        "SUPABASE_JWT_SECRET": SECRET,
    }
    argv = ("demo", "--use", "database", "--data-dir", str(data_dir))
    process = commands.start(*argv, **env)
    await eventually(lambda: re.search(r"real +database\n", process.stdout), 60)
    await _only_real_sessions_count(process.stdout)
    nothing = await commands.run(*argv)
    assert nothing.code == 2
    assert "set DATABASE_URL" in nothing.stderr
    for use in ("runtime", "slack"):
        missing = await commands.run("demo", "--use", use, "--data-dir", f"{data_dir}-{use}")
        assert missing.code == 2
        assert "Traceback" not in missing.stderr, missing.stderr


async def _only_real_sessions_count(shown: str) -> None:
    """Nobody signs in by a press where the database is not the demo's own, or is made a member."""
    (url,) = re.findall(r"threadline +(http://\S+)", shown)
    assert "sign in" not in shown
    bearer = {"Authorization": f"Bearer {shared()}"}
    async with aiohttp.ClientSession() as http:
        async with http.post(f"{url}/signin", headers={"Origin": url}) as response:
            assert response.status == 404
        async with http.get(f"{url}/dashboard/me", headers=bearer) as response:
            assert (await response.json())["workspaces"] == []

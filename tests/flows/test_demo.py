"""`threadline demo`: what a newcomer starts first, and what `--once` proves."""

import json
import os
import random
import re
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot import scenes
from bot.demo import Narrator
from bot.script import (
    Script,
)
from router import clock
from store.embedded import temporary_data_dir
from tests.chaos.processes import ENCRYPTION_KEYS, Process, Processes, processes
from tests.harness import World
from tests.supabase import SECRET, shared
from tests.support import eventually

pytestmark = pytest.mark.timeout(240)

_USUAL_PORTS = (3000, 3001, 3002)
# What would break a demo that read it; PORT alone may count.
_FOREIGN = {
    "DATABASE_URL": "postgresql://127.0.0.1:1/none",
    "SLACK_BOT_TOKEN": "xoxb-not-ours",
    "SLACK_SIGNING_SECRET": "not-ours-either",
    "SLACK_API_URL": "http://127.0.0.1:1/api/",
    "ANTHROPIC_API_KEY": "sk-ant-not-ours",
    "ANTHROPIC_BASE_URL": "http://127.0.0.1:1",
    "THREADLINE_ENCRYPTION_KEYS": "nonsense",
    "THREADLINE_LEASE_SECONDS": "-1",
    "HOST": "192.0.2.1",
    "LOG_LEVEL": "loud",
}


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with temporary_data_dir() as folder:
        yield folder


@pytest.fixture
async def commands(data_dir: Path, tmp_path: Path) -> AsyncIterator[Processes]:
    """Ended before the data folder goes."""
    del data_dir
    async with processes(tmp_path) as made:
        yield made


# ------------------------------------------------------------------ --once


async def test_once_plays_a_conversation_shows_it_and_exits_0(commands):
    result = await commands.run("demo", "--once", **_FOREIGN)
    assert (result.code, result.stderr) == (0, "")
    assert re.search(r"ada +Which planet is the largest\?\n +threadline +You said:", result.stdout)
    assert "grace  <@U0THREADLINE> count to three" in result.stdout
    assert len(re.findall(r"sesn_\w+", result.stdout)) == 13
    assert "One session per thread" in result.stdout
    assert "wrong" not in result.stdout
    shown = " ".join(result.stdout.split())
    assert re.search(r"!slow 2\.5 threadline .* seen it grows: \d+, \d+, \d+", shown)
    assert "seen a card shows the step bash: in progress, and complete at the end" in shown
    assert "seen grace presses Stop" in shown
    assert "threadline Stopped by grace." in shown
    waited = re.escape(
        "grace we release on Monday "
        "seen threadline marks it while it waits :hourglass_flowing_sand: "
        "seen edited while it waited; it read: we release on Friday "
        "seen the mark goes when its turn begins "
        "threadline (to grace alone) "
    ).replace(":hourglass_flowing_sand:", r"\S+")  # the console may draw it
    assert re.search(waited + ".*Yours is number 2 of those that wait", shown)
    assert 'threadline You said: "did the tests pass?" and "we release on Monday"' in shown
    _shows_who_decided_and_what_the_agent_heard(shown)
    assert re.search(
        r"ada@example\.com wrote from outside of Slack: And what is planned for Monday\? "
        r'threadline You said: "And what is planned for Monday\?"',
        shown,
    )


def _shows_who_decided_and_what_the_agent_heard(once: str) -> None:
    assert re.search(
        r"threadline The agent wants to use bash\. command: ls -l /workspace "
        r"Asked for by @ada\. Approved by @ada in Slack [\d: UTC-]+; the agent was told\. "
        r"seen while it waits it offers: Approve, Deny seen linus presses Approve "
        r"threadline \(to linus alone\) This is not yours to decide\. .*May decide: @ada\. "
        r"seen ada presses Approve, and the buttons go threadline bash was allowed and ran\.",
        once,
    )
    assert re.search(
        r"Asked for by @grace\. Denied by @grace in Slack [\d: UTC-]+; the agent was told\. "
        r"Reason: Keep the notes as they are\. .* "
        r"threadline edit was denied: .* They said: Keep the notes as they are\.",
        once,
    )
    assert re.search(
        r"The agent asks: May the release go out on Friday\? .* Answered by @ada in Slack .* "
        r"ada Yes, after the last test\. threadline .*Yes, after the last test\.",
        once,
    )


@pytest.mark.long  # two more conversations
async def test_once_in_json_and_again_on_the_same_data(commands, data_dir):
    for _ in range(2):
        result = await commands.run("demo", "--once", "--json", "--data-dir", str(data_dir))
        report = result.json()
        assert (result.code, report["wrong"]) == (0, [])
        assert [len(t["said"]) for t in report["threads"]] == [
            6,
            4,
            4,
            3,
            2,
            3,
            3,
            4,
            11,
            8,
            6,
            5,
            4,
        ]
        assert len({s["runtime"] for s in report["sessions"]}) == 13
        assert len({s["id"] for s in report["sessions"]}) == 13


@pytest.mark.long
async def test_once_fails_where_the_database_does_not_keep_one_session_per_thread(
    commands, connection, dsn
):
    await connection.execute("DROP INDEX agent_sessions_one_per_thread")
    result = await commands.run(
        *("demo", "--once", "--use", "database", "--json"),
        DATABASE_URL=dsn,
        THREADLINE_ENCRYPTION_KEYS=ENCRYPTION_KEYS,
    )
    assert result.code == 1
    wrong = result.json()["wrong"]
    assert "no answer to 'Which planet is the largest?' in 20 s" in wrong[0]
    assert wrong[0].endswith("Threadline said 503, 503, 503, 503")


@pytest.mark.parametrize("answers", ["at once", pytest.param("slowly", marks=pytest.mark.long)])
async def test_with_a_real_runtime_no_scene_depends_on_its_words(
    here: World, monkeypatch: pytest.MonkeyPatch, answers: str
):
    """The local one stands in for it; an answer may be whole before it can be stopped."""
    if answers == "slowly":
        monkeypatch.setattr(scenes, "_LONG", "!slow 3")
    async with here.app():
        report = await Script(here.slack, None).play()
    assert report.wrong == []
    said = {t["title"]: [line["text"] for line in t["said"]] for t in report.threads}
    left_out = {title for title, texts in said.items() if "a real agent decides" in texts[0]}
    assert (len(said), len(left_out)) == (12, 4)
    *_, stopped, waited = (texts for title, texts in said.items() if title not in left_out)
    if answers == "at once":
        assert stopped[-1] == waited[-1] == scenes._TOO_SOON
    else:
        assert stopped[-1].startswith("Stopped by grace.")
        assert waited[-1] == 'You said: "did the tests pass?" and "we release on Monday"'


# ------------------------------------------------------------------ until Ctrl-C


class Room:
    """The local Slack of a demo, over its control routes."""

    def __init__(self, http: aiohttp.ClientSession, process: Process, where: dict[str, Any]):
        self.process, self.where = process, where
        self._http = http

    async def say(self, text: str, **more: str) -> dict[str, Any]:
        body = {"user": "ada", "channel": "general", "text": text} | more
        url = f"{self.where['slack']}/_control/message"
        async with self._http.post(url, json=body) as response:
            said: dict[str, Any] = await response.json()
        assert said["ok"], said
        return said

    async def answers(self, thread_ts: str) -> list[str]:
        state = await self._state("slack")
        bot = state["workspace"]["bot_user_id"]
        return [
            m["text"] for m in state["messages"] if m["thread_ts"] == thread_ts and m["user"] == bot
        ]

    async def sessions(self) -> list[dict[str, Any]]:
        return list((await self._state("runtime"))["sessions"])

    async def _state(self, which: str) -> dict[str, Any]:
        async with self._http.get(f"{self.where[which]}/_control/state") as response:
            state: dict[str, Any] = await response.json()
        return state

    async def order(self, kind: str) -> str:
        url = f"{self.where['slack']}/_page/order"
        async with self._http.post(url, json={"kind": kind}) as response:
            answer: dict[str, Any] = await response.json()
        assert answer["ok"], answer
        return str(answer["says"])

    def workers(self) -> list[int]:
        """The living processes that this demo has started to work for it, or that it left behind."""
        return [
            int(path.parent.name)
            for path in Path("/proc").glob("[0-9]*/environ")
            if _is_worker(path.parent, self.mark)
        ]

    @property
    def mark(self) -> str:
        return self.process.env["MARK"]

    async def behind(self, asked: dict[str, Any]) -> dict[str, Any]:
        """What the page's inspector is shown of a thread."""
        place = {"viewer": "test", "channel": asked["channel"], "thread_ts": asked["ts"]}
        async with self._http.post(f"{self.where['slack']}/_page/watch", json=place) as response:
            assert (await response.json())["ok"]
        async with self._http.get(f"{self.where['slack']}/_page/feed?viewer=test") as feed:
            event = b""
            while event != b"event: behind\n":
                event = await feed.content.readline()
            shown: dict[str, Any] = json.loads((await feed.content.readline())[len(b"data: ") :])
        return shown

    async def stop(self) -> None:
        """Ctrl-C, which a terminal tells everybody in the foreground."""
        os.killpg(self.process.pid, signal.SIGINT)
        assert await self.process.ended() == 0
        assert self.process.stderr == ""


def _is_worker(proc: Path, mark: str) -> bool:
    try:
        command, environ = ((proc / name).read_bytes() for name in ("cmdline", "environ"))
    except OSError:  # it has ended meanwhile, or is none of ours
        return False
    return b"bot.understudy" in command and f"MARK={mark}".encode() in environ.split(b"\0")


def _serving(data_dir: Path) -> bool:
    """Whether a PostgreSQL still serves what is there."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            if b"%s/postgres\0" % bytes(data_dir) in path.read_bytes():
                return True
    return False


async def demo(
    commands: Processes, data_dir: Path, http: aiohttp.ClientSession, **env: str
) -> Room:
    argv = ("demo", "--json", "--data-dir", str(data_dir))
    process = commands.start(*argv, **{"MARK": secrets.token_hex(8)} | env)
    return Room(http, process, await process.ready())


needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no /proc here")


@needs_proc
async def test_a_killed_worker_is_followed_by_another_and_none_outlives_the_demo(
    commands, data_dir
):
    async with aiohttp.ClientSession() as http:
        room = await demo(commands, data_dir, http)
        (first,) = room.workers()
        asked = await room.say("@threadline !slow 6")
        await eventually(lambda: room.answers(asked["ts"]), 40, "the answer to grow")
        session = (await room.behind(asked))["session"]
        assert session["lease_owner"] == f"{socket.gethostname()}:{first}"
        says = await room.order("kill_worker")
        assert f"Killed process {first}." in says

        async def answered() -> bool:
            return [text[-5:] for text in await room.answers(asked["ts"])] == ["show."]

        await eventually(answered, 40, "the whole answer")
        (second,) = room.workers()
        assert second != first
        await room.process.kill()
        await eventually(lambda: not room.workers(), 40, "the end of the worker")
        await eventually(lambda: not _serving(data_dir), 40, "the end of the database")


async def test_ctrl_c_while_the_worker_is_still_starting_is_quiet(commands, data_dir):
    async with aiohttp.ClientSession() as http:
        await (await demo(commands, data_dir, http)).stop()


@needs_proc
async def test_ctrl_c_in_the_middle_of_an_answer_is_quiet_and_the_next_start_finishes_it(
    commands, data_dir
):
    async with aiohttp.ClientSession() as http:
        room = await demo(commands, data_dir, http)
        asked = await room.say("@threadline !slow 6")
        await eventually(lambda: room.answers(asked["ts"]), 40, "the answer to grow")
        await room.stop()
        assert room.workers() == []
        room = await demo(commands, data_dir, http)

        async def answered() -> bool:
            return [text[-5:] for text in await room.answers(asked["ts"])] == ["show."]

        await eventually(answered, 40, "the whole answer")
        await room.stop()


async def test_it_stops_on_ctrl_c_and_the_next_start_finds_everything(commands, data_dir):
    async with aiohttp.ClientSession() as http:
        room = await demo(commands, data_dir, http, **_FOREIGN)
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
        asked = await here.slack.say("ada", "general", "@threadline !slow 2")
        told: list[str] = []
        while not any("sentence 12 " in line for line in told):
            told += narrator.news()
            await clock.sleep(0.01)
        await here.answers(asked.channel, asked.ts, 1)
    assert any(call.method == "chat.appendStream" for call in here.slack.calls)
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

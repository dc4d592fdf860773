"""A demo that a test has started: its local Slack, its sessions, its workers."""

import json
import os
import secrets
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp

from tests.chaos.processes import Process, Processes

# What would break a demo that read it; PORT alone may count.
FOREIGN = {
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

    async def hurry(self) -> None:
        """The next words of what the agent takes its time for come at once."""
        url = f"{self.where['runtime']}/_control/clock"
        for _ in range(20):
            async with self._http.post(url, json={"advance": 10}) as response:
                assert response.status == 200, await response.text()

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


def serving(data_dir: Path) -> bool:
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

"""A whole Threadline for a test: the local Slack, the local runtime, a database, the app over them."""

import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Unpack
from uuid import UUID

from bot.app import ROLES, App, Config, running
from bot.local import LocalSlack, Pressed
from bot.local.interactions import Pressing
from bot.local.interactive import pressable
from bot.local.model import Ephemeral, Message
from bot.local.surfaces import OpenView, Warned
from bot.manifest import EVENT_SCOPES, REQUIRED_SCOPES
from bot.sealing import Keyring
from router.runtime.client import Runtime
from router.runtime.local import LocalRuntime
from router.settings import Settings
from router.turns.engine import Timing
from store import agents, database, members
from tests.support import eventually

KEYRING = Keyring({"test": b"k" * 32})
# Short waits for conditions; nothing in a test waits for these to pass except crash recovery.
TIMING = Timing(
    lease=5.0,
    settle=0.2,
    grace=0.2,
    quiet=1.0,
    paused=0.5,
    sweep=0.1,
    disagree=2.0,
    waits=0.1,
    awaiting=timedelta(seconds=0.3),
    outputs=(0.05, 0.2),
)


@dataclass
class World:
    """Everything outside the app, alive for one test. `row` and `rows` read the database."""

    dsn: str
    slack: LocalSlack
    runtime: LocalRuntime
    connection: database.Connection
    runtime_data: Path | None = None
    workspace_id: UUID = field(init=False)
    agent_id: UUID = field(init=False)
    apps: list[App] = field(default_factory=list)

    def settings(self, **changes: Any) -> Settings:
        """Settings that point at the local servers."""
        values: dict[str, Any] = {
            "slack_bot_token": self.slack.bot_token,
            "slack_signing_secret": self.slack.signing_secret,
            "slack_api_url": self.slack.api_url,
            "anthropic_api_key": "local",
            "anthropic_base_url": self.runtime.url,
            "port": 0,
        }
        return Settings(**(values | changes))

    @asynccontextmanager
    async def app(
        self, *, roles: frozenset[str] = ROLES, timing: Timing = TIMING, **settings: Any
    ) -> AsyncIterator[App]:
        """A process of Threadline inside this one; Slack's events go to the newest with ingress."""
        config = Config(self.settings(**settings), self.dsn, KEYRING, roles=roles, timing=timing)
        async with running(config) as app:
            self.apps.append(app)
            if "ingress" in roles:
                self.slack.request_url = f"{app.url}/slack/events"
            if config.settings.slack_bot_token and not self.slack.workspace.faults._orders:
                # a busy machine may take longer to say whose the token is than the start waits for it
                await eventually(lambda: self.rows("SELECT FROM oauth_installs"))
            yield app
        self.apps.remove(app)

    async def close(self) -> None:
        """Ends what a test may have replaced on the way."""
        await self.runtime.__aexit__(None, None, None)
        await self.connection.close()

    @asynccontextmanager
    async def runtime_away(self) -> AsyncIterator[None]:
        """The runtime is stopped; afterwards it runs again, on the same port and data."""
        port = int(self.runtime.url.rpartition(":")[2])
        await self.runtime.__aexit__(None, None, None)
        try:
            with kept(port):
                yield
        finally:
            self.runtime = await LocalRuntime(port=port, data=self.runtime_data).__aenter__()

    async def rows(self, query: str, *arguments: Any) -> list[dict[str, Any]]:
        """Rows of the database, for arranging and for what no person sees."""
        return [dict(row) for row in await self.connection.fetch(query, *arguments)]

    async def row(self, query: str, *arguments: Any) -> dict[str, Any]:
        """The one row."""
        (only,) = await self.rows(query, *arguments)
        return only

    def bot_posts(self, channel: str, thread_ts: str) -> list[str]:
        """What the bot has said in a thread, as a person sees it."""
        return [
            m.text
            for m in self.slack.replies(channel, thread_ts)
            if m.user == self.slack.bot_user_id
        ]

    def shown(self, channel: str, thread_ts: str) -> list[str]:
        """The bot's posts in a thread with all that their blocks show, references included."""
        return [
            shown(m)
            for m in self.slack.replies(channel, thread_ts)
            if m.user == self.slack.bot_user_id
        ]

    def buttons(self, channel: str, thread_ts: str) -> list[tuple[str, str]]:
        """What can be pressed in a thread: the ts of each message, with the button's label."""
        return [
            (message.ts, element["text"]["text"])
            for message in self.slack.replies(channel, thread_ts)
            for _, element in pressable(message.blocks)
            if element["type"] == "button"
        ]

    async def click(self, user: str, on: str, label: str, **how: Unpack[Pressing]) -> list[Pressed]:
        """Press the button of that label in a message (its ts) or a view (its id)."""
        return await self.slack.click(user, on, **(how | {"text": label}))

    async def submit(self, user: str, **values: Any) -> Pressed:
        """Wait for a person's modal, fill it in by block_id or action_id, and submit it."""
        views = await eventually(lambda: self.open_views(user), says=f"a modal before {user}")
        return await self.slack.submit(user, views[-1].id, values)

    def open_views(self, user: str) -> list[OpenView]:
        """A person's open modals, the one on top last."""
        return self.slack.open_views(user)

    def warnings(self, user: str | None = None) -> list[Warned]:
        """What went wrong before people's eyes, because the app did not answer as it must."""
        return self.slack.warnings(user)

    async def answers(
        self, channel: str, thread_ts: str, count: int, timeout: float = 30
    ) -> list[str]:
        """The bot's posts in a thread once there are that many and all is at rest; fails on more."""
        await eventually(
            lambda: len(self.bot_posts(channel, thread_ts)) >= count,
            timeout,
            f"{count} answers in {thread_ts}, seen {self.bot_posts(channel, thread_ts)}",
        )
        await self.at_rest(timeout)
        posts = self.bot_posts(channel, thread_ts)
        assert len(posts) == count, posts
        return posts

    async def at_rest(self, timeout: float = 30) -> None:
        """Waits until no event is on its way, no session wants a worker, no delivery is open."""
        await self.slack.settle()
        await eventually(self._is_at_rest, timeout, "everything at rest")
        await self.slack.settle()

    async def _is_at_rest(self) -> bool:
        busy: int = await self.connection.fetchval(
            "SELECT (SELECT count(*) FROM agent_sessions WHERE ready_at IS NOT NULL"
            " OR lease_owner IS NOT NULL)"
            " + (SELECT count(*) FROM slack_outbox WHERE state IN ('pending', 'sending'))"
        )
        return busy == 0

    async def session(self) -> dict[str, Any]:
        """The one session there is."""
        return await self.row("SELECT * FROM agent_sessions")

    async def turns(self) -> list[dict[str, Any]]:
        """All turns, in order."""
        return await self.rows("SELECT * FROM agent_turns ORDER BY started_at, number")

    def sent_texts(self) -> list[str]:
        """The texts of all user messages that the runtime received, without our marker blocks."""
        return [
            block["text"]
            for session in self.runtime.sessions()
            for event in self.runtime.received(session["id"])
            if event["type"] == "user.message"
            for block in event["content"]
            if block["type"] == "text" and not block["text"].startswith("<input ")
        ]


@contextmanager
def kept(port: int) -> Iterator[None]:
    """Nobody listens on the port, and nobody else is given it, as one that is free might be."""
    with socket.socket() as ours:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ours.bind(("127.0.0.1", port))
        yield


def shown(message: Message | Ephemeral) -> str:
    """What a person reads of a post: the texts of its blocks, else its plain text."""
    return "\n".join(_texts(message.blocks)) or message.text


def _texts(blocks: list[dict[str, Any]]) -> Iterator[str]:
    for block in blocks:
        text = block.get("text")
        yield from [text] if isinstance(text, str) else _texts([text] if text else [])
        yield from _texts(block.get("elements") or [])


@asynccontextmanager
async def world(
    dsn: str, *, runtime_data: Path | None = None, **slack: Any
) -> AsyncIterator[World]:
    """The outside world of a test, with one deployed agent; Slack grants what the manifest asks.

    `runtime_data` is the file that the runtime's state is in where it is to be stopped on the way.
    """
    options: dict[str, Any] = {
        "retry_delays": (0.05, 0.1, 0.2),
        "limits": False,
        "scopes": sorted(REQUIRED_SCOPES),
        "subscriptions": sorted(EVENT_SCOPES),
    }
    async with LocalSlack(**(options | slack)) as local_slack, AsyncExitStack() as stack:
        connection = await database.connect(dsn)
        runtime = await LocalRuntime(data=runtime_data).__aenter__()
        made = World(dsn, local_slack, runtime, connection, runtime_data)
        stack.push_async_callback(made.close)
        made.workspace_id, made.agent_id = await _deploy(connection, runtime.url)
        yield made
        assert not local_slack.unknown_methods, local_slack.unknown_methods


async def _deploy(connection: database.Connection, url: str) -> tuple[UUID, UUID]:
    client = Runtime(api_key="local", base_url=url, max_streams=1)
    try:
        agent = await client.create_agent(name="demo", model="claude-sonnet-5-5", system="Help.")
        environment = await client.create_environment(name="demo")
    finally:
        await client.close()
    workspace = await members.ensure_workspace(connection, "default")
    deployed = await agents.put(connection, workspace.id, "demo", agent, environment)
    return workspace.id, deployed.id


def environment(**changes: str) -> dict[str, str]:
    """The environment for a child process: ours, with nothing that configures it but `changes`."""
    return {k: v for k, v in os.environ.items() if not k.startswith("COV")} | changes

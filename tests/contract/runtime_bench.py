"""A local runtime with a real client beside it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import anthropic
from anthropic import AsyncAnthropic
from anthropic.resources.beta.sessions import AsyncSessions

from router.runtime.local import LocalRuntime
from tests.support import eventually

BETA = {"anthropic-beta": "managed-agents-2026-04-01", "Authorization": "Bearer key"}


def message(text: str, *more: str) -> Any:
    blocks = [{"type": "text", "text": one} for one in (text, *more)]
    return {"type": "user.message", "content": blocks}


def confirm(event_id: str, result: str = "allow", **more: str) -> Any:
    return {"type": "user.tool_confirmation", "tool_use_id": event_id, "result": result, **more}


INTERRUPT: Any = {"type": "user.interrupt"}


@dataclass
class Bench:
    runtime: LocalRuntime
    client: AsyncAnthropic
    agent_id: str
    environment_id: str

    @property
    def api(self) -> AsyncSessions:
        return self.client.beta.sessions

    async def session(self, *texts: str, **more: Any) -> str:
        """A new session, running with these texts if there are any."""
        if texts:
            more["initial_events"] = [message(text) for text in texts]
        made = await self.api.create(
            agent=self.agent_id, environment_id=self.environment_id, **more
        )
        return made.id

    async def send(self, session_id: str, *events: Any) -> Any:
        sent = await self.api.events.send(session_id, events=list(events))
        return sent.data

    async def say(self, session_id: str, *texts: str) -> Any:
        return await self.send(session_id, *(message(text) for text in texts))

    async def idle(self, session_id: str, reason: str = "end_turn", times: int = 1) -> Any:
        """The newest idle event once that many have this stop reason."""

        async def found() -> Any:
            events = [e async for e in self.api.events.list(session_id, limit=1000)]
            idles = [e for e in events if e.type == "session.status_idle"]
            fitting = [e for e in idles if e.stop_reason.type == reason]
            return len(fitting) >= times and fitting[-1]

        return await eventually(found, says=f"idle with {reason}")

    async def history(self, session_id: str, **query: Any) -> list[Any]:
        return [event async for event in self.api.events.list(session_id, limit=1000, **query)]

    async def types(self, session_id: str, **query: Any) -> list[str]:
        return [event.type for event in await self.history(session_id, **query)]

    async def texts(self, session_id: str) -> list[str]:
        """What the agent said."""
        events = await self.history(session_id, types=["agent.message"])
        return [event.content[0].text for event in events]

    async def raw(self, method: str, path: str, **more: Any) -> tuple[int, Any, Any]:
        """A request without the client: status, JSON, headers."""
        more.setdefault("headers", BETA)
        async with (
            aiohttp.ClientSession() as http,
            http.request(method, self.runtime.url + path, **more) as response,
        ):
            return response.status, json.loads(await response.text()), response.headers


def make_client(url: str, transport: str = "httpx2", **more: Any) -> AsyncAnthropic:
    if transport == "aiohttp":
        more["http_client"] = anthropic.DefaultAioHttpClient()
    more.setdefault("timeout", 60.0)  # to connect too, for which it allows five seconds by itself
    return AsyncAnthropic(api_key="key", base_url=url, max_retries=0, **more)


@asynccontextmanager
async def open_bench(transport: str = "httpx2", **options: Any) -> AsyncIterator[Bench]:
    async with (
        LocalRuntime(**options) as runtime,
        make_client(runtime.url, transport) as client,
    ):
        agent = await client.beta.agents.create(model="claude-sonnet-5-5", name="Helper")
        environment = await client.beta.environments.create(name="place")
        yield Bench(runtime, client, agent.id, environment.id)

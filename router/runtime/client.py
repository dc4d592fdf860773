"""The runtime's API over the anthropic SDK: no retries, errors that say what is known.

The SDK re-sends a POST whose answer was lost, which can double a turn, so its retries are off and
every failure is sorted into the tree of `router.errors`. What every turn asks goes past the SDK's models
(router.runtime.wire). Streams have connections of their own, and so have files: with one pool for all,
a thousand open streams would leave none for a Stop.

Reads, of which a stream's opening and each page of a list are one, and creates of sessions wait for
permits; a send never does (platform.claude.com/docs/en/managed-agents/reference, "Rate limits").
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Literal
from urllib.parse import quote

import httpx2
from anthropic import AsyncAnthropic, DefaultAioHttpClient

from router.errors import RuntimeUnclear
from router.runtime.budget import Budget, Need
from router.runtime.failures import sorted_errors
from router.runtime.files import Files, as_form
from router.runtime.permits import Permits
from router.runtime.wire import Wire
from store.budgets import Kind

Event = dict[str, Any]
Tool = dict[str, Any]
Hook = Callable[[httpx2.Request], Awaitable[None]]

_CONNECT_SECONDS = 5.0
_STREAM_SILENCE_SECONDS = 600.0
_TRANSFER_SILENCE_SECONDS = 60.0
_CALLS = 100
_TRANSFERS = 20
_PAGE = 1000
_RECENT = 100
_INSTALL_TRIES = 3
_trusted = cache(httpx2.create_ssl_context)  # read once: there are many certificates to parse


@dataclass(frozen=True, slots=True)
class RuntimeSession:
    """A session of the runtime, as far as we care."""

    id: str
    status: str
    usage: dict[str, Any]
    metadata: dict[str, str]
    archived: bool = False

    @property
    def over(self) -> bool:
        """True once it takes nothing any more."""
        return self.archived or self.status == "terminated"


@dataclass(frozen=True, slots=True)
class PageWanted:
    """Which events of a session, and from where on; `page` is what the page before named."""

    types: tuple[str, ...] = ()
    order: Literal["asc", "desc"] = "asc"
    limit: int = 50
    page: str | None = None


class Runtime:
    """Calls to the runtime; `files` are its files. Each raises a RuntimeFailure.

    `deadline` is in seconds, and not for what a file holds.

    Without a budget, as for a few calls made by hand, no call waits for a permit. With one, a call
    that does may raise what the database raises.
    """

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str,
        max_streams: int,
        deadline: float = 8.0,
        budget: Budget | None = None,
    ) -> None:
        quick = httpx2.Timeout(deadline, connect=3.0)
        self._calls, self._wire = _client(api_key, base_url, _CALLS, quick)
        silence = httpx2.Timeout(_STREAM_SILENCE_SECONDS, connect=_CONNECT_SECONDS)
        self._streams, self._stream_wire = _client(api_key, base_url, max_streams, silence)
        slow = httpx2.Timeout(_TRANSFER_SILENCE_SECONDS, connect=_CONNECT_SECONDS)
        self._transfers, _ = _client(api_key, base_url, _TRANSFERS, slow, as_form)
        self._permits = Permits(budget)
        self.files = Files(self._calls, self._transfers, self._permits)
        self.deadline = deadline

    async def close(self) -> None:
        """Closes every connection."""
        await self._calls.close()
        await self._streams.close()
        await self._transfers.close()

    # -------------------------------------------------------------- agents

    async def create_agent(
        self, *, name: str, model: str, system: str, tools: Sequence[Tool] = ()
    ) -> str:
        """A new agent's id."""
        with sorted_errors():
            agent = await self._calls.beta.agents.create(
                name=name,
                model=model,
                system=system,
                tools=list(tools),  # type: ignore[arg-type]  # plain dicts of the documented shape
            )
        return agent.id

    async def install_tool(self, agent_id: str, tool: Tool) -> bool:
        """Puts a custom tool on an agent; False if one of that name is there.

        An update replaces all tools, so all are sent, and only on top of the version that they were
        read from (platform.claude.com/docs/en/api/beta/agents/update). An agent that somebody else
        changed meanwhile is read again, and RuntimeUnclear after a few times.
        """
        for attempt in range(1, _INSTALL_TRIES + 1):
            with sorted_errors():
                agent = await self._calls.beta.agents.retrieve(agent_id)
            there = [t.to_dict(mode="json", warnings=False) for t in agent.tools]
            if any(t["type"] == "custom" and t["name"] == tool["name"] for t in there):
                return attempt > 1
            try:
                with sorted_errors():
                    await self._calls.beta.agents.update(
                        agent_id,
                        version=agent.version,
                        tools=[*there, tool],  # type: ignore[list-item]  # as above
                    )
            except RuntimeUnclear:
                if attempt == _INSTALL_TRIES:
                    raise
            else:
                break
        return True

    async def create_environment(self, *, name: str) -> str:
        """A new cloud environment's id."""
        with sorted_errors():
            environment = await self._calls.beta.environments.create(name=name)
        return environment.id

    async def check_agent(self, agent_id: str) -> None:
        """Raises when the key is wrong or the agent does not exist."""
        with sorted_errors():
            await self._calls.beta.agents.retrieve(agent_id)

    async def check_key(self) -> None:
        """Raises when the runtime cannot be reached or the key is wrong."""
        with sorted_errors():
            await self._calls.beta.agents.list(limit=1)

    # -------------------------------------------------------------- sessions

    def room(self, kind: Kind) -> int:
        """How many more requests may wait for their permits here before it gets crowded."""
        return self._permits.room(kind)

    async def may_create(self, need: Need) -> None:
        """Returns with the permit for one `create_session`: before its intent is written."""
        await self._permits.take("create", need)

    async def create_session(
        self, *, agent_id: str, environment_id: str, title: str, metadata: dict[str, str]
    ) -> str:
        """A new runtime session's id, after `may_create`. RuntimeUnclear: look for its metadata."""
        async with self._permits.limited("create"):
            session = await self._wire.post(
                "/v1/sessions",
                {
                    "agent": agent_id,
                    "environment_id": environment_id,
                    "title": title,
                    "metadata": metadata,
                },
            )
        return str(session["id"])

    async def find_sessions(
        self, need: Need, *, agent_id: str, since: datetime, metadata: dict[str, str]
    ) -> list[str]:
        """Sessions of an agent made since then that carry this metadata, oldest first."""
        pages = self._calls.beta.sessions.list(
            agent_id=agent_id, created_at_gte=since, order="asc", limit=100
        )
        return [
            session.id
            for session in await self._permits.whole(need, pages)
            if metadata.items() <= (session.metadata or {}).items()
        ]

    async def session(self, need: Need, session_id: str) -> RuntimeSession:
        """The session as it is now."""
        async with self._permits.read(need):
            found = await self._calls.beta.sessions.retrieve(session_id)
        usage = found.usage.to_dict(mode="json", warnings=False)
        archived = found.archived_at is not None
        return RuntimeSession(found.id, found.status, usage, found.metadata or {}, archived)

    async def sessions_running(self, need: Need) -> list[str]:
        """All sessions that run, or will again by themselves, at the runtime."""
        pages = self._calls.beta.sessions.list(statuses=["running", "rescheduling"], limit=100)
        return [session.id for session in await self._permits.whole(need, pages)]

    async def rename_session(self, session_id: str, title: str) -> None:
        """Gives a session another title."""
        with sorted_errors():
            await self._calls.beta.sessions.update(session_id, title=title)

    async def archive_session(self, session_id: str) -> None:
        """Archives a session that is not running; archiving again changes nothing."""
        with sorted_errors():
            await self._calls.beta.sessions.archive(session_id)

    # -------------------------------------------------------------- events

    async def send(self, session_id: str, events: list[Event]) -> list[Event]:
        """Sends user events in one request; the events as the runtime took them, with ids."""
        with sorted_errors():
            answer = await self._wire.post(_events_of(session_id), {"events": events})
        return answer.get("data") or []

    async def history(self, need: Need, session_id: str, since: datetime | None) -> list[Event]:
        """Events in the order in which they were processed, from `since` on, all pages."""
        asked: dict[str, Any] = {"order": "asc", "limit": _PAGE, **_from(since)}
        events: list[Event] = []
        while True:
            async with self._permits.read(need):
                page = await self._wire.get(_events_of(session_id), **asked)
            events += page.get("data") or []
            if not (following := page.get("next_page")):
                return events
            asked["page"] = following

    async def events_page(
        self, need: Need, session_id: str, wanted: PageWanted
    ) -> tuple[list[Event], str | None]:
        """One page of the events, and what the next is asked for with; RuntimeRefused: a bad page."""
        asked: dict[str, Any] = {"order": wanted.order, "limit": wanted.limit}
        asked |= {"types": list(wanted.types)} if wanted.types else {}
        asked |= {"page": wanted.page} if wanted.page else {}
        async with self._permits.read(need):
            page = await self._calls.beta.sessions.events.list(session_id, **asked)
        return [e.to_dict(mode="json", warnings=False) for e in page.data], page.next_page

    async def recent_user_events(self, need: Need, session_id: str) -> list[Event]:
        """The newest events that we sent, those still queued at the runtime included."""
        async with self._permits.read(need):
            page = await self._calls.beta.sessions.events.list(
                session_id,
                order="desc",
                limit=_RECENT,
                types=[
                    "user.message",
                    "user.interrupt",
                    "user.tool_confirmation",
                    "user.custom_tool_result",
                ],
            )
        return [e.to_dict(mode="json", warnings=False) for e in page.data]

    async def newest_events(self, need: Need, session_id: str, count: int) -> list[Event]:
        """The newest events of all kinds, at most a page of them, oldest first; queued ones last."""
        async with self._permits.read(need):
            page = await self._calls.beta.sessions.events.list(
                session_id, order="desc", limit=min(count, _PAGE)
            )
        return [e.to_dict(mode="json", warnings=False) for e in reversed(page.data)]

    async def held_calls(self, need: Need, session_id: str) -> set[str] | None:
        """The calls that the newest status says are held; None where it waits for nobody."""
        async with self._permits.read(need):
            page = await self._calls.beta.sessions.events.list(
                session_id,
                order="desc",
                limit=1,
                types=[
                    "session.status_idle",
                    "session.status_running",
                    "session.status_rescheduled",
                    "session.status_terminated",
                ],
            )
        newest = page.data[0].to_dict(mode="json", warnings=False) if page.data else {}
        stop: Any = newest.get("stop_reason") or {}
        return set(stop.get("event_ids") or []) if stop.get("type") == "requires_action" else None

    @asynccontextmanager
    async def stream(self, need: Need, session_id: str) -> AsyncIterator[AsyncIterator[Event]]:
        """The live tail, open when entered. It may end at any time, and then says nothing more."""
        async with AsyncExitStack() as stack:
            async with self._permits.read(need):
                events = await self._opened(stack, session_id)
            with sorted_errors():
                yield events

    async def _opened(self, stack: AsyncExitStack, session_id: str) -> AsyncIterator[Event]:
        """A stream may be silent for long once it is open; until then it is a call like others."""
        path = f"{_events_of(session_id)}/stream"
        opening = self._stream_wire.stream(path, event_deltas=["agent.message"])
        try:
            async with asyncio.timeout(self.deadline):
                return await stack.enter_async_context(opening)
        except TimeoutError as late:
            raise RuntimeUnclear("the stream was not opened in time") from late


def _client(
    api_key: str, base_url: str, connections: int, timeout: httpx2.Timeout, *hooks: Hook
) -> tuple[AsyncAnthropic, Wire]:
    http = DefaultAioHttpClient(
        base_url=base_url,
        timeout=timeout,
        verify=_trusted(),
        limits=httpx2.Limits(max_connections=connections, max_keepalive_connections=50),
        event_hooks={"request": list(hooks)},
    )
    sdk = AsyncAnthropic(
        api_key=api_key, base_url=base_url, max_retries=0, timeout=timeout, http_client=http
    )
    return sdk, Wire(sdk, http)


def _events_of(session_id: str) -> str:
    return f"/v1/sessions/{quote(session_id, safe='')}/events"


def _from(since: datetime | None) -> dict[str, Any]:
    """A minute earlier than asked: the runtime's history may trail."""
    return {"created_at[gte]": (since - timedelta(seconds=60)).isoformat()} if since else {}

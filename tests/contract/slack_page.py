"""A reader of the page's feed."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from bot.local import LocalSlack

Json = dict[str, Any]


@dataclass
class Feed:
    """One connection of a page; `frames` is what came so far."""

    response: aiohttp.ClientResponse
    frames: list[tuple[str, Json]] = field(default_factory=list)

    async def next(self) -> tuple[str, Json]:
        """The next frame; EOFError at the end of the feed."""
        event = ""
        while True:
            line = (await self.response.content.readline()).decode()
            if not line:
                raise EOFError
            name, _, value = line.rstrip("\n").partition(": ")
            if name == "event":
                event = value
            elif name == "data":
                self.frames.append((event, json.loads(value)))
                return self.frames[-1]

    async def hello(self) -> Json:
        """The next frame, which is a hello."""
        event, data = await self.next()
        assert event == "hello", data
        return data

    async def changes(self, wanted: Callable[[Json], Any]) -> Json:
        """The first frame of changes, of those to come, that is the wanted one."""
        while True:
            event, data = await self.next()
            if event == "changes" and wanted(data):
                return data

    async def message(self, ts: str) -> Json:
        """A message, the next time that it is told of."""
        changed = await self.changes(lambda data: any(m["ts"] == ts for m in told(data)))
        return next(m for m in changed["messages"] if m["ts"] == ts)

    async def until_its_end(self) -> None:
        while True:
            try:
                await self.next()
            except EOFError:
                return


def told(changes: Json) -> list[Json]:
    """The messages in a frame of changes."""
    messages: list[Json] = changes.get("messages", [])
    return messages


@asynccontextmanager
async def feeding(slack: LocalSlack, viewer: str = "one") -> AsyncIterator[Feed]:
    """A page's connection; its lines may be long."""
    query = {"viewer": viewer}
    async with (
        aiohttp.ClientSession(slack.url, read_bufsize=2**24) as http,
        http.get("/_page/feed", params=query) as response,
    ):
        assert response.status == 200
        yield Feed(response)

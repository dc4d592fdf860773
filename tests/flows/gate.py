"""A door before the local Slack, so that a file can be slow, odd, or a way to somewhere else."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.local.model import Message
from tests.harness import World

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Named = dict[str, Any]


class Gate:
    """Answers the paths that it was told, and passes everything else on to Slack."""

    url: str

    def __init__(self, behind: str) -> None:
        self._behind = behind
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []

    @property
    def api_url(self) -> str:
        """SLACK_API_URL for whoever is to come through here."""
        return f"{self.url}/api/"

    def at(self, path: str, answer: Answer) -> str:
        """The address of a path that is answered so."""
        self.answers[path] = answer
        return f"{self.url}{path}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        self.asked.append(request.path)
        if (answer := self.answers.get(request.path)) is not None:
            return await answer(request)
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                request.method,
                f"{self._behind}{request.path_qs}",
                data=await request.read(),
                headers={k: v for k, v in request.headers.items() if k.lower() != "host"},
            ) as passed,
        ):
            body = await passed.read()
            kept = {"content-type", "retry-after", "x-oauth-scopes"}
            headers = {k: v for k, v in passed.headers.items() if k.lower() in kept}
            return web.Response(body=body, status=passed.status, headers=headers)


@asynccontextmanager
async def gate(here: World) -> AsyncIterator[Gate]:
    """A gate before the world's Slack."""
    made = Gate(here.slack.api_url.removesuffix("/api/"))
    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{path:.*}", made.handle)
    async with TestServer(app, host="127.0.0.1") as server:
        made.url = f"http://127.0.0.1:{server.port}"
        yield made


def sending(content: bytes, status: int = 200, **headers: str) -> Answer:
    """An answer with that content; `_` in the names of headers stands for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=content, status=status, headers=named)

    return answer


class Slow:
    """A file that comes once `go` is set; `begun` is set by whoever asks for it."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self.times = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Sends the first bytes at once, the others when it may."""
        self.times += 1
        response = web.StreamResponse(headers={"Content-Length": str(len(self._content))})
        await response.prepare(request)
        await response.write(self._content[:8])
        self.begun.set()
        await self.go.wait()
        await response.write(self._content[8:])
        return response


async def share(
    here: World,
    text: str,
    *urls: str | None,
    channel: str = "general",
    thread_ts: str | None = None,
    **said_of: Any,
) -> Message:
    """A message of ada's whose files are said to lie there; None: where they really are.

    `said_of` is what else its event says of each.
    """
    ids = [await here.slack.upload("ada", f"file{n}.bin", b"\0kept") for n, _ in enumerate(urls)]
    said = await here.slack.say(
        "ada", channel, text, file_ids=ids, thread_ts=thread_ts, deliver=False
    )
    for envelope in here.slack.envelopes(said.ts):
        files = envelope["event"].get("files", [])
        for file, url in zip(files, urls, strict=True):
            file.update(said_of)
            if url is not None:
                file.update(url_private_download=url, url_private=url)
        assert await here.slack.deliver(envelope) == 200
    return said

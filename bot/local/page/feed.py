"""The page's one connection: server-sent events, from a hello with everything to every change."""

import asyncio
import secrets
from contextlib import suppress

from aiohttp import web

from bot.local.model import Json
from bot.local.page.behind import Behind
from bot.local.page.frames import Frames
from bot.local.page.viewers import Place, Viewer, Viewers
from bot.local.routes import only_loopback

PACE_SECONDS = 0.04  # at most one frame of changes in this time
BEAT_SECONDS = 15.0  # a comment where nothing happens, so that a dead connection is noticed
LOOK_SECONDS = 0.3  # how often to look behind the thread that somebody watches

_HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}


class Feed:
    """Serves `GET /_page/feed`."""

    def __init__(self, viewers: Viewers, frames: Frames) -> None:
        self._viewers = viewers
        self._frames = frames

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One page, until it or the server goes away.

        Nothing is collected while a page does not read: what it is sent next is the state then.
        """
        only_loopback(request)
        response = web.StreamResponse(headers=_HEADERS)
        await response.prepare(request)
        viewer_id = request.query.get("viewer") or secrets.token_hex(8)
        with self._viewers.joined(viewer_id) as viewer:
            async with asyncio.TaskGroup() as group:
                looking = group.create_task(self._look_behind(viewer))
                # Whoever has left need not be told.
                with suppress(ConnectionError):
                    await self._tell(viewer, response)
                looking.cancel()
        return response

    async def _tell(self, viewer: Viewer, response: web.StreamResponse) -> None:
        while not viewer.ended:
            if await viewer.woken_within(BEAT_SECONDS):
                for frame in self._frames.due(viewer):
                    await response.write(frame)
                await asyncio.sleep(PACE_SECONDS)
            else:
                self._frames.grown_old(viewer)
                await response.write(b": beat\n\n")

    async def _look_behind(self, viewer: Viewer) -> None:
        while True:
            place = await viewer.looking()
            if self._frames.behind is not None:
                viewer.see(place, await _behind(self._frames.behind, place))
            await asyncio.sleep(LOOK_SECONDS)


async def _behind(behind: Behind, place: Place) -> Json:
    channel, thread_ts = place
    where: Json = {"channel": channel, "thread_ts": thread_ts}
    try:
        found = await behind.of(channel, thread_ts)
    except Exception as failure:  # noqa: BLE001  # the page says that whatever is there failed
        return where | {"session": None, "failure": type(failure).__name__}
    return where | {"session": None} | (found or {})

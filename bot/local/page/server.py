"""The routes of the page, beside the control routes that its gestures go through."""

from typing import Any

from aiohttp import web

from bot.local.changes import WHOLE
from bot.local.model import Json, SlackError
from bot.local.page import static_files
from bot.local.page.behind import Behind
from bot.local.page.feed import Feed
from bot.local.page.frames import Frames
from bot.local.page.reading import Reading
from bot.local.page.uploads import Uploads
from bot.local.page.viewers import Viewers
from bot.local.routes import Body, answered, read_body
from bot.local.workspace import Workspace


class WatchBody(Body):
    """A page looks behind a thread from now on; without a `thread_ts` behind none."""

    viewer: str
    channel: str = ""
    thread_ts: str | None = None


class OrderBody(Body):
    """One of the orders that `hello` lists."""

    kind: str


class Page:
    """The page of one workspace; `behind` is what its inspector can look at besides."""

    def __init__(self, workspace: Workspace, behind: Behind | None = None) -> None:
        self._workspace = workspace
        self._frames = Frames(workspace)
        self._frames.behind = behind
        self._viewers = Viewers(workspace.state.changes)

    @property
    def behind(self) -> Behind | None:
        """What the page can look behind."""
        return self._frames.behind

    @behind.setter
    def behind(self, behind: Behind | None) -> None:
        self._frames.behind = behind
        self._workspace.state.changes.mark(WHOLE)

    def serve(self, application: web.Application) -> None:
        """Add the page to an application."""
        feed, reading = Feed(self._viewers, self._frames), Reading(self._workspace)
        uploads = Uploads(self._workspace)
        application.add_routes(
            [
                web.get("/", static_files.index),
                web.get("/_page/static/{path:.*}", static_files.static),
                # A HEAD of the feed would never end.
                web.get("/_page/feed", feed.handle, allow_head=False),
                web.get("/_page/history", reading.history),
                web.get("/_page/thread", reading.thread),
                web.get("/_page/envelope", reading.envelope),
                web.post("/_page/watch", self._watch),
                web.post("/_page/order", self._order),
                web.post("/_page/upload", uploads.take),
                web.get("/_page/files/{id}", uploads.show),
            ]
        )
        application.on_response_prepare.append(static_files.guard)
        application.on_shutdown.append(self._close)

    async def _watch(self, request: web.Request) -> web.Response:
        return await answered(self._watched, await read_body(request, WatchBody))

    def _watched(self, body: WatchBody) -> Json:
        place = None
        if body.thread_ts is not None:
            place = (self._workspace.channel(body.channel).id, body.thread_ts)
        self._viewers.watch(body.viewer, place)
        return {}

    async def _order(self, request: web.Request) -> web.Response:
        return await answered(self._ordered, await read_body(request, OrderBody))

    async def _ordered(self, body: OrderBody) -> Json:
        behind = self.behind
        if behind is None or body.kind not in [one["kind"] for one in behind.orders]:
            raise SlackError("order_not_found")
        return {"says": await behind.order(body.kind)}

    async def _close(self, _application: Any) -> None:
        self._viewers.close()

"""What stands at a file's `url_private`: the content for the bot's token, else a sign-in page."""

from urllib.parse import quote

from aiohttp import web

from bot.local.files import SCOPE, StoredFile, send_content
from bot.local.workspace import Workspace

_SIGN_IN = "<!doctype html><title>Sign in | Slack</title><h1>Sign in to your workspace</h1>"


class PrivateFiles:
    """Serves `/files-pri/{team}-{id}/{name}` and `/files-pri/{team}-{id}/download/{name}`.

    A request without the bot's token, or with one that lacks `files:read`, is not refused but
    sent to a page of HTML, as Slack does.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def routes(self) -> list[web.RouteDef]:
        """All of them, to be added to an application."""
        return [
            web.get("/files-pri/{place}/download/{name}", self._download),
            web.get("/files-pri/{place}/{name}", self._show),
            web.get("/signin", self._sign_in),
        ]

    async def _show(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, saved=False)

    async def _download(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, saved=True)

    async def _sign_in(self, _request: web.Request) -> web.Response:
        return web.Response(text=_SIGN_IN, content_type="text/html")

    async def _answer(self, request: web.Request, *, saved: bool) -> web.StreamResponse:
        if not self._may_read(request):
            raise web.HTTPFound(f"{self._workspace.url}/signin?redir={quote(request.path)}")
        file = self._file(request.match_info["place"])
        content = self._workspace.files.content(file)
        return await send_content(request, file, content, saved=saved)

    def _may_read(self, request: web.Request) -> bool:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        ours = scheme.lower() == "bearer" and token == self._workspace.bot_token
        granted = SCOPE in self._workspace.settings.scopes
        return ours and granted and self._workspace.token_error is None

    def _file(self, place: str) -> StoredFile:
        file = self._workspace.files.get(place.rpartition("-")[2])
        if file is None or file.deleted:
            raise web.HTTPNotFound
        return file

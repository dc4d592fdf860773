"""Files that a person attaches on the page, and sees there."""

from pathlib import PurePosixPath

from aiohttp import web

from bot.local.files import MAX_BYTES, send_content
from bot.local.model import Json, SlackError
from bot.local.routes import answered, only_loopback
from bot.local.workspace import Workspace

_MAX_NAME = 255
# Shown in place; everything else is saved. SVG is a document that may hold scripts.
_PICTURES = frozenset({"image/avif", "image/gif", "image/jpeg", "image/png", "image/webp"})


class Uploads:
    """Serves `POST /_page/upload` and `GET /_page/files/{id}`."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    async def take(self, request: web.Request) -> web.Response:
        """Keep a file of at most 20 MB, sent as the raw body, until a message names it."""
        only_loopback(request)
        return await answered(self._taken, request)

    async def _taken(self, request: web.Request) -> Json:
        person = self._workspace.user(request.query.get("user", ""))
        name = _name(request.query.get("name", ""))
        kept = self._workspace.files.keep(name, person.id, await _content(request))
        shown = {"id": kept.id, "name": kept.name, "mimetype": kept.mimetype, "size": kept.size}
        return {"file": shown}

    async def show(self, request: web.Request) -> web.StreamResponse:
        """A file, from which nothing can run."""
        only_loopback(request)
        kept = self._workspace.files.get(request.match_info["id"])
        if kept is None or kept.deleted:
            raise web.HTTPNotFound
        return await send_content(
            request,
            kept,
            self._workspace.files.content(kept),
            saved=kept.mimetype not in _PICTURES,
            cache="private, max-age=31536000, immutable",
        )


def _name(given: str) -> str:
    """The file's own name, without a path; SlackError `invalid_name` when there is none."""
    name = PurePosixPath(given.replace("\\", "/")).name
    if name in ("", "..") or len(name) > _MAX_NAME or not name.isprintable():
        raise SlackError("invalid_name")
    return name


async def _content(request: web.Request) -> bytes:
    if (request.content_length or 0) > MAX_BYTES:
        raise SlackError("file_too_large")
    content = bytearray()
    async for piece in request.content.iter_any():
        content += piece
        if len(content) > MAX_BYTES:
            raise SlackError("file_too_large")
    return bytes(content)

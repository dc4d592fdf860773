"""Where the app's files arrive: the URL that files.getUploadURLExternal gives out.

docs.slack.dev/messaging/working-with-files, "Uploading files": the URL is the permission, bytes come
raw or as a form, and until files.completeUploadExternal nobody sees the file. The status of a
refusal is our reading.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial

from aiohttp import BodyPartReader, web

from bot.local.door import Door, Outcome
from bot.local.files import PIECE, Ticket
from bot.local.workspace import Workspace

METHOD = "upload_url"  # the name that faults and recorded calls go by
_GONE, _REFUSED = 404, 400


class Tickets:
    """Gives out tickets, and serves `POST /upload/v1/{ticket}`; recorded as calls of `upload_url`."""

    def __init__(self, workspace: Workspace, door: Door) -> None:
        self._workspace = workspace
        self._door = door

    def issue(self, name: str, size: int) -> Ticket:
        """A ticket for a file of our app's, which is there without content from now on."""
        return self._workspace.files.expect(name, self._workspace.who.bot_user_id, size)

    def url(self, ticket: Ticket) -> str:
        """Where its bytes are to be sent."""
        return f"{self._workspace.url}/upload/v1/{ticket.id}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Take the bytes, or fail as a fault switch has it."""
        ticket = self._workspace.files.tickets.get(request.match_info["ticket"])
        size = 0
        if ticket is not None and not ticket.arrived:
            async for piece in _pieces(request):
                if size + len(piece) <= ticket.size:
                    self._workspace.files.fill(ticket, size, piece)
                size += len(piece)
        args = {"file": ticket.file, "length": size} if ticket is not None else {}
        work = partial(self._taken, ticket, size)
        response = await self._door.through(request, METHOD, args, work)
        if response.status == web.HTTPOk.status_code:
            return web.Response(text=f"OK - {size}")
        return response

    def _taken(self, ticket: Ticket | None, size: int) -> Outcome:
        if ticket is None:
            return Outcome({"ok": False, "error": "invalid_url"}, _GONE)
        if ticket.arrived:
            return Outcome({"ok": False, "error": "used_url"}, _GONE)
        if size != ticket.size:
            return Outcome({"ok": False, "error": "length_mismatch"}, _REFUSED)
        self._workspace.files.tickets.put(replace(ticket, arrived=True))
        return Outcome({"ok": True})


async def _pieces(request: web.Request) -> AsyncIterator[bytes]:
    """The bytes of a file, raw or in the first part of a form."""
    if request.content_type != "multipart/form-data":
        async for piece in request.content.iter_chunked(PIECE):
            yield piece
        return
    part = await (await request.multipart()).next()
    while isinstance(part, BodyPartReader) and (chunk := await part.read_chunk(PIECE)):
        yield bytes(chunk)

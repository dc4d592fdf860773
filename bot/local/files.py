"""Files as Slack hosts them (docs.slack.dev/reference/objects/file-object)."""

import mimetypes
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from urllib.parse import quote

from aiohttp import web

from bot.local.model import Json, User
from bot.local.shelf import Shelf
from bot.local.state import State

MAX_BYTES = 20 * 1024 * 1024
PIECE = 1024 * 1024  # SQLite walks through what lies before each piece
SCOPE = "files:read"
_UNKNOWN = "application/octet-stream"
# Of a file that is only named, nothing but the name is true.
_NAMED_BYTES = 1_024


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An uploaded file; its content is read from the state, and of one `deleted` there is none.

    `created` is 0 where nobody knows it.
    """

    id: str
    name: str
    mimetype: str
    size: int
    user: str
    title: str = ""
    created: int = 0
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Ticket:
    """The right of our app to bring the bytes of one file, and then to have it shared, once each."""

    id: str
    file: str
    size: int
    arrived: bool = False
    used: bool = False


class Files:
    """The uploaded files of a workspace, and the tickets for those that are to come."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.tickets = Shelf(state, "upload_tickets", Ticket)

    def keep(self, name: str, user: str, content: bytes) -> StoredFile:
        """Keep a file; its kind is told by its name."""
        kept = StoredFile(
            new_id(), name, mimetype(name), len(content), user, created=int(time.time())
        )
        self._state.put_file(kept.id, asdict(kept), content)
        return kept

    def expect(self, name: str, user: str, size: int) -> Ticket:
        """A ticket for a file that is there from now on, but for its content."""
        file = StoredFile(new_id(), name, mimetype(name), size, user, created=int(time.time()))
        self._state.put_file(file.id, asdict(file), None)
        return self.tickets.put(Ticket(secrets.token_urlsafe(24), file.id, size))

    def fill(self, ticket: Ticket, start: int, piece: bytes) -> None:
        """Keep a piece of the content that was expected."""
        self._state.fill_file(ticket.file, start, piece)

    def retitle(self, file_id: str, title: str) -> StoredFile:
        """Give a file that there is a title; without one it keeps its name."""
        return self._changed(file_id, title=title)

    def delete(self, file_id: str) -> None:
        """Take away what is in a file that there is."""
        self._changed(file_id, deleted=True)
        self._state.empty_file(file_id)

    def _changed(self, file_id: str, **fields: object) -> StoredFile:
        changed = StoredFile(**{**(self._state.file(file_id) or {}), **fields})
        self._state.change_file(file_id, asdict(changed))
        return changed

    def get(self, file_id: str) -> StoredFile | None:
        """The file of that id, or None."""
        body = self._state.file(file_id)
        return None if body is None else StoredFile(**body)

    def content(self, kept: StoredFile) -> Iterator[bytes]:
        """What is in it, in pieces."""
        return self._state.file_content(kept.id, PIECE)


def new_id() -> str:
    """An id for a file."""
    return f"F0{secrets.token_hex(4).upper()}"


def mimetype(name: str) -> str:
    """The kind of a file by its name."""
    return mimetypes.guess_type(name, strict=False)[0] or _UNKNOWN


def named(name: str, user: User) -> StoredFile:
    """A file of which there is no more than a name."""
    kind = mimetype(name)
    return StoredFile(
        new_id(), name, "text/plain" if kind == _UNKNOWN else kind, _NAMED_BYTES, user.id
    )


def file_json(file: StoredFile, user: User, base: str, *, external: bool) -> Json:
    """A file as a `file_share` message carries it; in Slack Connect only its id is told.

    `base` is where this server can be reached.
    """
    if external:
        return {"id": file.id, "mode": "file_access", "file_access": "check_file_info"}
    kind = file.name.rpartition(".")[2].lower() if "." in file.name else "text"
    place, name = f"{base}/files-pri/{user.team_id}-{file.id}", quote(file.name, safe="")
    return {
        "id": file.id,
        "created": file.created or int(time.time()),
        "timestamp": file.created or int(time.time()),
        "name": file.name,
        "title": file.title or file.name,
        "mimetype": file.mimetype,
        "filetype": kind,
        "pretty_type": kind.upper(),
        "user": user.id,
        "editable": False,
        "size": file.size,
        "mode": "hosted",
        "is_external": False,
        "external_type": "",
        "is_public": True,
        "public_url_shared": False,
        "display_as_bot": False,
        "username": "",
        "url_private": f"{place}/{name}",
        "url_private_download": f"{place}/download/{name}",
        "file_access": "visible",
    }


async def send_content(
    request: web.Request,
    file: StoredFile,
    content: Iterator[bytes],
    *,
    saved: bool,
    cache: str = "",
) -> web.StreamResponse:
    """Answers with a file, from which nothing can run; `cache` says how long it may be kept."""
    manner = "attachment" if saved else "inline"
    response = web.StreamResponse(
        headers={
            "Content-Type": file.mimetype,
            "Content-Length": str(file.size),
            "Content-Disposition": f"{manner}; filename*=UTF-8''{quote(file.name, safe='')}",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox; default-src 'none'",
        }
    )
    if cache:
        response.headers["Cache-Control"] = cache
    await response.prepare(request)
    for piece in content:
        await response.write(piece)
    return response

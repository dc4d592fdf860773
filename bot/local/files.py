"""Files as Slack hosts them (docs.slack.dev/reference/objects/file-object)."""

import mimetypes
import secrets
import time
from dataclasses import asdict, dataclass
from urllib.parse import quote

from aiohttp import web

from bot.local.model import Json, User
from bot.local.state import State

MAX_BYTES = 20 * 1024 * 1024
SCOPE = "files:read"
_UNKNOWN = "application/octet-stream"
# Of a file that is only named, nothing but the name is true.
_NAMED_BYTES = 1_024


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An uploaded file; its content is read from the state."""

    id: str
    name: str
    mimetype: str
    size: int
    user: str


class Files:
    """The uploaded files of a workspace."""

    def __init__(self, state: State) -> None:
        self._state = state

    def keep(self, name: str, user: str, content: bytes) -> StoredFile:
        """Keep a file; its kind is told by its name."""
        kept = StoredFile(new_id(), name, mimetype(name), len(content), user)
        self._state.put_file(kept.id, asdict(kept), content)
        return kept

    def get(self, file_id: str) -> StoredFile | None:
        """The file of that id, or None."""
        body = self._state.file(file_id)
        return None if body is None else StoredFile(**body)

    def content(self, kept: StoredFile) -> bytes:
        """What is in it."""
        return self._state.file_content(kept.id)


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
        "created": int(time.time()),
        "timestamp": int(time.time()),
        "name": file.name,
        "title": file.name,
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


def content_of(file: StoredFile, content: bytes, *, saved: bool) -> web.Response:
    """The answer that carries a file."""
    manner = "attachment" if saved else "inline"
    headers = {
        "Content-Type": file.mimetype,
        "Content-Disposition": f"{manner}; filename*=UTF-8''{quote(file.name, safe='')}",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
    }
    return web.Response(body=content, headers=headers)

"""The Files API: /v1/files (platform.claude.com/docs/en/build-with-claude/files)."""

import mimetypes
import re
from pathlib import PurePosixPath
from urllib.parse import quote

from aiohttp import BodyPartReader, MultipartReader, StreamReader, web
from aiohttp.http import HttpProcessingError

from router.runtime.local.content import PIECE, Draft, new_name
from router.runtime.local.gateway import MOST_FILE_BYTES
from router.runtime.local.paging import Query, cut_page
from router.runtime.local.shelf import File
from router.runtime.local.wire import (
    REQUEST_ID,
    WHOLE,
    ApiError,
    bad_request,
    now_us,
)
from router.runtime.local.world import World

_PAGE, _MOST, _MOST_IDS = 20, 1000, 100
_MOST_NAME = 255
_FORBIDDEN = re.compile(r'[<>:"|?*\\/\x00-\x1f\x7f]')
_SOONEST, _LATEST = 3600, 7_776_000
_MOST_FIELD = 1024
_CONTENT = "file.content"  # what a `cut_stream` in the middle of a download is ordered by


class Files:
    """The routes of files."""

    def __init__(self, world: World) -> None:
        """Reads and writes `world`."""
        self._world = world

    def routes(self) -> list[web.RouteDef]:
        """All routes, each named as the client's method."""
        file = "/v1/files/{file_id}"
        return [
            web.post("/v1/files", self.upload, name="files.upload"),
            web.get("/v1/files", self.list_files, name="files.list"),
            web.get(file, self.retrieve, name="files.retrieve_metadata"),
            web.delete(file, self.delete, name="files.delete"),
            web.get(f"{file}/content", self.download, name="files.download"),
        ]

    async def upload(self, request: web.Request) -> web.Response:
        """POST /v1/files: a form with `file`, and perhaps `expires_in_seconds`."""
        if request.content_type != "multipart/form-data":
            raise bad_request("The request body must be multipart/form-data.")
        blob, seconds, said = new_name(), None, None
        with self._world.files.contents.draft(blob) as draft:
            try:
                async for part in await _parts(request):
                    if not isinstance(part, BodyPartReader):
                        raise bad_request("The form must not hold forms.")
                    if part.name == "file" and said is None:
                        said = _named(part)
                        await _copy(part, draft)
                    elif part.name == "expires_in_seconds":
                        seconds = await _seconds(part)
                    else:
                        raise bad_request(f"{part.name}: extra inputs are not permitted")
            except (ValueError, HttpProcessingError) as broken:
                raise bad_request(f"The form is broken: {broken}") from None
            if said is None:
                raise bad_request("file: field required")
        file = self._world.files.uploaded(*said, blob, draft.size, seconds)
        return web.json_response(file.view())

    async def list_files(self, request: web.Request) -> web.Response:
        """GET /v1/files, newest first; those of a session with its `scope_id`."""
        query = Query(request, {"ids[]", "limit", "page", "scope_id"})
        scope, ids = query.text("scope_id"), set(query.many("ids"))
        rows = [f for f in self._shown(scope) if scope is None or f.session == scope]
        if ids:
            if len(ids) > _MOST_IDS or query.text("page") or query.text("limit"):
                raise bad_request(
                    f"ids[]: at most {_MOST_IDS}, and neither limit nor page with them"
                )
            data = [file.view() for file in rows if file.id in ids]
            return web.json_response({"data": data, "next_page": None})
        page = cut_page(
            rows,
            lambda file: [file.made],
            cursor=query.text("page"),
            limit=query.number("limit", _PAGE, _MOST),
            descending=True,
        )
        return web.json_response(page.json(File.view))

    async def retrieve(self, request: web.Request) -> web.Response:
        """GET /v1/files/{id}."""
        return web.json_response(self._file(request).view())

    async def delete(self, request: web.Request) -> web.Response:
        """DELETE /v1/files/{id}; the copies that sessions were given stay."""
        file = self._file(request)
        self._world.files.drop(file)
        return web.json_response({"id": file.id, "type": "file_deleted"})

    async def download(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/files/{id}/content; a 400 for what no agent made."""
        file = self._file(request)
        if not file.output:
            message = f"File {file.id} cannot be downloaded."
            raise ApiError(400, message, code="file_not_downloadable")
        response = web.StreamResponse(
            headers={
                "Content-Type": file.type,
                "Content-Length": str(file.size),
                "Content-Disposition": f"attachment; filename*=UTF-8''{quote(file.name, safe='')}",
                "request-id": request[REQUEST_ID],
            }
        )
        cut = self._world.faults.take(
            "cut_stream", route="files.download", session_id=file.session, event_type=_CONTENT
        )
        await response.prepare(request)
        for piece in self._world.files.contents.pieces(file.blob):
            if cut is not None and request.transport is not None:
                await response.write(piece[: len(piece) // 2])
                request.transport.abort()
                break
            await response.write(piece)
        return response

    def _file(self, request: web.Request) -> File:
        return self._world.files.get(request.match_info["file_id"])

    def _shown(self, scope: str | None) -> list[File]:
        """Newest first; what agents made a moment ago may be missing (a fault)."""
        files = list(self._world.files)
        lag = self._world.faults.take("files_lag", route="files.list", session_id=scope)
        if lag is None:
            return files
        until = now_us() - int(lag.seconds * 1e6)
        return [file for file in files if not file.output or file.made <= until]


async def _parts(request: web.Request) -> MultipartReader:
    whole = request.get(WHOLE)
    if whole is None:
        return await request.multipart()
    stream = StreamReader(request.protocol, PIECE)
    stream.feed_data(whole)
    stream.feed_eof()
    return MultipartReader(request.headers, stream)


async def _copy(part: BodyPartReader, draft: Draft) -> None:
    while piece := await part.read_chunk(PIECE):
        draft.write(piece)
        if draft.size > MOST_FILE_BYTES:
            raise ApiError(413, f"The file is larger than {MOST_FILE_BYTES // 2**20} MB.")


async def _seconds(part: BodyPartReader) -> int:
    text = (await part.read_chunk(_MOST_FIELD)).decode(errors="replace").strip()
    if not text.isdecimal() or not _SOONEST <= int(text) <= _LATEST:
        raise bad_request(f"expires_in_seconds: must be between {_SOONEST} and {_LATEST}")
    return int(text)


def _named(part: BodyPartReader) -> tuple[str, str]:
    """The name and the type of a file as the form says them."""
    kind = part.headers.get("Content-Type", "application/octet-stream").partition(";")[0].strip()
    name = PurePosixPath(part.filename or "").name
    name = name or "unnamed" + (mimetypes.guess_extension(kind) or "")
    if len(name) > _MOST_NAME or _FORBIDDEN.search(name):
        raise bad_request("file: invalid filename")
    return name, kind

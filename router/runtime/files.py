"""The runtime's Files API: what agents are given, and what they make. Nothing is held in memory.

An upload and a mount count as creates, a list and a download as reads; on which side of
platform.claude.com/docs/en/managed-agents/reference, "Rate limits", they are is not said there.
"""

import re
import secrets
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx2
from anthropic import AsyncAnthropic
from anthropic.types.beta import BetaFileMetadata

from router.errors import RuntimeFailure, RuntimeRefused
from router.runtime.budget import Need
from router.runtime.failures import sorted_errors
from router.runtime.permits import Permits

_BETA = "managed-agents-2026-04-01"
_UPLOADS = "/mnt/session/uploads"
_BOUNDARY = "x-form-boundary"
_PAGE = 1000
_PIECE = 64 * 1024
_MOST_NAME = 255
# platform.claude.com/docs/en/build-with-claude/files, "Error handling": such a name is refused
_FORBIDDEN = re.compile(r'[<>:"|?*\\/\x00-\x1f\x7f]')


@dataclass(frozen=True, slots=True)
class RuntimeFile:
    """A file at the runtime; `type` is its media type as whoever made it said, `size` in bytes."""

    id: str
    name: str
    type: str
    size: int
    made_at: datetime


@dataclass(frozen=True, slots=True)
class Mounted:
    """A session's own copy of a file: its ids as a resource and as a file, and where it lies."""

    id: str
    file_id: str
    path: str


@dataclass(frozen=True, slots=True)
class Upload:
    """What an upload says of a file. After `expires` (an hour to ninety days) it is gone."""

    name: str
    type: str
    expires: timedelta


class Files:
    """The files behind one key. Each call raises a RuntimeFailure."""

    def __init__(self, calls: AsyncAnthropic, transfers: AsyncAnthropic, permits: Permits) -> None:
        """`transfers` sends what `as_form` has made a form of."""
        self._calls = calls
        self._transfers = transfers
        self._permits = permits

    async def upload(self, need: Need, content: AsyncIterable[bytes], said: Upload) -> str:
        """The id of a new file with this content, which is sent as it comes.

        Raises what `content` raises; then, as after RuntimeUnclear, there may be a file that nobody
        knows the id of, until it expires. The name is kept as far as the runtime takes it.
        """
        source, boundary = _Source(content), secrets.token_hex(16)
        try:
            async with self._permits.waited("create", need):
                made = await self._transfers.post(
                    "/v1/files",
                    cast_to=BetaFileMetadata,
                    content=_form(boundary, said, source),
                    options={
                        "headers": {_BOUNDARY: boundary, "Content-Type": "application/binary"}
                    },
                )
        except RuntimeFailure:
            if source.failure is not None:
                raise source.failure from None
            raise
        return made.id

    async def add_resource(
        self, need: Need, session_id: str, file_id: str, mount_path: str
    ) -> Mounted:
        """Mounts a file in a session; what is mounted there already is left, and answered.

        `mount_path` is absolute, and is put below the runtime's folder for uploads
        (platform.claude.com/docs/en/managed-agents/files).
        """
        try:
            async with self._permits.waited("create", need):
                made = await self._calls.beta.sessions.resources.add(
                    session_id, file_id=file_id, type="file", mount_path=mount_path
                )
        except RuntimeRefused:
            found = await self.mounted(need, session_id)
            there = [one for one in found if one.path in {mount_path, _UPLOADS + mount_path}]
            if not there:
                raise
            return there[0]
        return Mounted(made.id, made.file_id, made.mount_path)

    async def mounted(self, need: Need, session_id: str) -> list[Mounted]:
        """The files that a session was given."""
        pages = self._calls.beta.sessions.resources.list(session_id, limit=_PAGE)
        found = await self._permits.whole(need, pages)
        return [Mounted(r.id, r.file_id, r.mount_path) for r in found if r.type == "file"]

    async def outputs(self, need: Need, session_id: str) -> list[RuntimeFile]:
        """The files that a session made, oldest first.

        The newest may be missing for some seconds after the turn that made them. Copies of files
        that the session was given belong to it as well, but cannot be downloaded.
        """
        pages = self._calls.beta.files.list(scope_id=session_id, limit=_PAGE, betas=[_BETA])
        found = [one for one in await self._permits.whole(need, pages) if one.downloadable]
        made = [
            RuntimeFile(one.id, one.filename, one.mime_type, one.size_bytes, one.created_at)
            for one in found
        ]
        return sorted(made, key=lambda one: one.made_at)

    @asynccontextmanager
    async def content(self, need: Need, file_id: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """What a file holds, in pieces, open when entered.

        RuntimeGone: there is no such file any more; RuntimeRefused: it may not be downloaded.
        """
        async with AsyncExitStack() as stack:
            async with self._permits.read(need):
                download = self._transfers.beta.files.with_streaming_response.download(
                    file_id, extra_headers={"Accept-Encoding": "identity"}
                )
                answer = await stack.enter_async_context(download)
            with sorted_errors():
                yield answer.iter_bytes(_PIECE)

    async def delete(self, file_id: str) -> None:
        """Deletes a file; RuntimeGone where there is none."""
        with sorted_errors():
            await self._calls.beta.files.delete(file_id)


async def as_form(request: httpx2.Request) -> None:
    """Says that a request's body is a form.

    The SDK makes forms only of what can be read at once, and lets nobody else name this type.
    """
    boundary = request.headers.pop(_BOUNDARY, None)
    if boundary is not None:
        request.headers["Content-Type"] = f"multipart/form-data; boundary={boundary}"


class _Source:
    """Content, and what reading it raised, which the transport does not tell."""

    def __init__(self, content: AsyncIterable[bytes]) -> None:
        self._content = content
        self.failure: Exception | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._content:
                yield piece
        except Exception as failure:
            self.failure = failure
            raise


async def _form(boundary: str, said: Upload, content: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """RFC 7578: when it expires, then the file."""
    yield (
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="expires_in_seconds"\r\n\r\n'
        f"{int(said.expires.total_seconds())}\r\n"
        f"--{boundary}\r\n"
        f'Content-Disposition: form-data; name="file"; filename="{_taken_name(said.name)}"\r\n'
        f"Content-Type: {said.type}\r\n\r\n"
    ).encode()
    async for piece in content:
        yield piece
    yield f"\r\n--{boundary}--\r\n".encode()


def _taken_name(name: str) -> str:
    """The name as the runtime takes it, with its ending; never empty."""
    clean = _FORBIDDEN.sub("_", name).strip()
    stem, dot, ending = clean.rpartition(".")
    if len(clean) > _MOST_NAME and dot and len(ending) < _MOST_NAME // 2:
        return stem[: _MOST_NAME - len(ending) - 1] + dot + ending
    return clean[:_MOST_NAME] or "unnamed"

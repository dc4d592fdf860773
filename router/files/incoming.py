"""Bringing the files of one message along: out of Slack, straight into the runtime, once each.

row pending ▸ fetched from Slack and, as it comes in, sent on ▸ row read ▸ resources mounted ▸ row ready

Whoever goes on after a crash does what the rows say is missing: a file whose upload was not written
down is fetched again, and the copy that nobody knows of expires at the runtime.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from typing import Any, Protocol, Self
from uuid import UUID

import structlog

from router import clock
from router.clock import Backoff
from router.errors import FileAway, FileReason, FileRefused, RuntimeFailure, RuntimeRefused
from router.files import kinds
from router.ports import FileSource
from store import database, input_files
from store.database import Connection
from store.input_files import FoundFile, InputFile, NewFile
from store.inputs import Input
from store.leases import Lease, LeaseLost

_log = structlog.get_logger(__name__)

TRIES = 3
_BACKOFF = Backoff(first=0.5, most=5.0)
_PATIENCE_SECONDS = 15.0  # the whole turn waits meanwhile


class Uploads(Protocol):
    """The runtime, as far as files go. Raises RuntimeFailure."""

    async def upload(self, chunks: AsyncIterator[bytes], name: str, media_type: str) -> str:
        """A file as it comes in, in one request that is not repeated; its id."""
        ...

    async def mount(self, session_id: str, file_id: str, path: str) -> None:
        """Puts a file where a session sees it; one that is there already is as good."""
        ...


class Writing(Protocol):
    """Opens a fenced transaction of the holder."""

    def __call__(self, *, progress: bool) -> AbstractAsyncContextManager[Connection]:
        """`progress`: the next holder will not have to do the same again, should this one die now."""
        ...


@dataclass(frozen=True, slots=True)
class Carrier:
    """What carries files: from where, to where, and how it is written down."""

    source: FileSource
    uploads: Uploads
    writing: Writing
    lease: Lease
    install_id: UUID


async def prepare(carrier: Carrier, item: Input, runtime_session: str) -> list[InputFile]:
    """The files of a message, or those that an edit has added, each ready or refused, in their order.

    Raises RuntimeFailure where the runtime is in the way, with everything that was done kept.
    """
    named: list[dict[str, Any]] = item.body.get("files") or []
    if not named:
        return []
    new = [_new(place, file) for place, file in enumerate(named)]
    async with carrier.writing(progress=False) as connection:
        await input_files.begin(connection, carrier.lease, item.id, new)
    sources = {n.slack_file_id: file for n, file in zip(new, named, strict=True)}
    for file in await _files(carrier, item, sources):
        if file.state == "pending":
            await _bring(carrier, file, sources[file.slack_file_id])
    for file in await _files(carrier, item, sources):
        if file.state == "uploaded" or (file.mounted_in or runtime_session) != runtime_session:
            await _mount(carrier, file, runtime_session)
    return await _files(carrier, item, sources)


def _new(place: int, file: Mapping[str, Any]) -> NewFile:
    known = file.get("id")
    reason: FileReason | None = "too_many" if place >= kinds.FILES else None
    if not known:
        reason = "unreadable"
    return NewFile(str(known or f"file {place}"), str(file.get("name") or "file"), reason)


async def _files(
    carrier: Carrier, item: Input, named: Mapping[str, Mapping[str, Any]]
) -> list[InputFile]:
    """Those that the message still names: an edit may have taken some out of one that waits."""
    async with carrier.writing(progress=False) as connection:
        files = await input_files.of(connection, carrier.lease, [item.id])
    return [file for file in files if file.slack_file_id in named]


async def _bring(carrier: Carrier, file: InputFile, source: Mapping[str, Any]) -> None:
    """Fetches a file, a few times where Slack is in the way."""
    while not await _tried(carrier, file, source):
        pass


async def _tried(carrier: Carrier, file: InputFile, source: Mapping[str, Any]) -> bool:
    """One try, counted before it begins, since it may be what kills us; False to try again."""
    async with carrier.writing(progress=False) as connection:
        tries = await input_files.attempt(connection, carrier.lease, file)
    try:
        found = await _fetched(carrier, file, source, tries)
    except FileRefused as refused:
        await _refuse(carrier, file, refused.reason, str(refused))
    except RuntimeRefused as refused:
        await _refuse(carrier, file, "not_taken", str(refused))
    except FileAway as away:
        if tries < TRIES:
            wait = away.retry_after or _BACKOFF.after(tries)
            await clock.sleep(min(wait, _PATIENCE_SECONDS))
            return False
        await _refuse(carrier, file, "failed", str(away))
    except RuntimeFailure:
        await _uncount(carrier, file)
        raise
    except asyncio.CancelledError:
        with suppress(LeaseLost, *database.ERRORS):  # then it counts, as if we had died
            await _uncount(carrier, file)
        raise
    else:
        async with carrier.writing(progress=True) as connection:
            await input_files.read(connection, carrier.lease, file, found)
    return True


async def _uncount(carrier: Carrier, file: InputFile) -> None:
    """The file is not to blame."""
    async with carrier.writing(progress=False) as connection:
        await input_files.uncount(connection, carrier.lease, file)


async def _fetched(
    carrier: Carrier, file: InputFile, source: Mapping[str, Any], tries: int
) -> FoundFile:
    """A file, read to its end: a text is kept whole, all else goes on to the runtime."""
    if tries > TRIES:
        raise FileRefused("failed", "nobody lived to tell of the last try")
    async with carrier.source.open_file(carrier.install_id, source) as opened:
        name = opened.name or file.name
        passing = _Passing(opened.chunks)
        await passing.fill(kinds.TEXT_BYTES + 1)
        if passing.ended and (text := kinds.whole(passing.held)):
            return FoundFile(name, text.kind, text.media_type, text.size, content=text.text)
        declared = kinds.media_type(passing.held)
        if declared.startswith("image/"):
            await passing.fill(kinds.HEAD_BYTES)
        head = passing.held[: kinds.HEAD_BYTES]
        try:
            sent = await carrier.uploads.upload(passing, name, declared)
        except RuntimeFailure as failure:
            raise passing.failure or failure from failure
        if passing.failure is not None:
            raise passing.failure
        # in a thread: whoever made a file can make looking for an image's size take a while
        last, size = passing.tail, passing.size
        read = await asyncio.to_thread(kinds.streamed, head, last, size, locked=passing.locked)
    return FoundFile(name, read.kind, read.media_type, read.size, runtime_file_id=sent)


async def _mount(carrier: Carrier, file: InputFile, runtime_session: str) -> None:
    path = kinds.mount_path(file.slack_file_id, file.name)
    try:
        await carrier.uploads.mount(runtime_session, str(file.runtime_file_id), path)
    except RuntimeRefused as refused:
        await _refuse(carrier, file, "not_taken", str(refused))
    else:
        async with carrier.writing(progress=True) as connection:
            await input_files.mounted(connection, carrier.lease, file, path, runtime_session)


async def _refuse(carrier: Carrier, file: InputFile, reason: FileReason, why: str) -> None:
    _log.info("file.refused", file=file.slack_file_id, reason=reason, why=why)
    async with carrier.writing(progress=True) as connection:
        await input_files.refuse(connection, carrier.lease, file, reason)


class _Passing:
    """The chunks of a file on their way: the first are held for a look, all are looked through.

    Whoever sends them on wraps what goes wrong with them into an error of their own; `failure` is it.
    """

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self.held = b""
        self.tail = b""
        self.size = 0
        self.locked = False
        self.ended = False
        self.failure: FileRefused | FileAway | None = None
        self._gave_held = False

    async def fill(self, most: int) -> None:
        """Holds at least so many of the first bytes, or all that there are."""
        while len(self.held) < most and not self.ended:
            self.held += await self._take()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if not self._gave_held:
            self._gave_held = True
            return self.held
        chunk = await self._take()
        if self.ended:
            raise StopAsyncIteration
        return chunk

    async def _take(self) -> bytes:
        """The next chunk; empty, and `ended`, behind the last."""
        try:
            chunk = await self._next()
        except (FileRefused, FileAway) as failure:
            self.failure = failure
            raise
        self.ended = not chunk
        return chunk

    async def _next(self) -> bytes:
        chunk = b"" if self.ended else await anext(self._chunks, b"")
        self.size += len(chunk)
        if self.size > kinds.FILE_BYTES:
            raise FileRefused("too_large")
        seen = self.tail + chunk
        self.locked = self.locked or kinds.LOCK in seen
        self.tail = seen[-kinds.TAIL_BYTES :]
        return chunk

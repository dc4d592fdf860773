"""Brings a file that an agent made into its thread, once; `body` of a delivery of kind `file`.

pending ▸ ticket (slack_file kept, tries) ▸ bytes, from the runtime to Slack as they come ▸ completing
(kept) ▸ complete ▸ shown in the thread ▸ sent

Until `completing` is kept nothing can have been shared: a later attempt begins anew, with a ticket of
its own, and what was brought before is seen by nobody. From then on no other ticket is asked for: the
file is looked for by files.info, and where it is not there the same one is completed again, which
Slack takes once. So it may be that nobody can tell, and the thread is told so; but none is shared
twice. Slack shares in its own time and may answer before: what stands behind in the lane waits for it.

docs.slack.dev/messaging/working-with-files, …/methods/files.getUploadURLExternal,
…/methods/files.completeUploadExternal, …/methods/files.info
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any, Protocol, Self

import aiohttp
import structlog
from yarl import URL

from bot.addresses import judged, origin
from bot.finishing import Permit
from bot.outcome import SlackRefused, says_install_is_over
from bot.payload import Json, part
from bot.slack import Slack
from router import clock
from router.errors import FileRefused, RuntimeFailure, RuntimeGone, RuntimeRefused
from router.notices import Notice, Trouble, about
from router.runtime.budget import Need
from store import database, outputs_sent
from store.database import Pool
from store.outbox import Delivery

_log = structlog.get_logger(__name__)

GET_URL, COMPLETE = "files.getUploadURLExternal", "files.completeUploadExternal"
_INFO = "files.info"
_PATIENCE_SECONDS = 3.0
_UPLOAD_SECONDS = 90.0
_CONNECT_SECONDS = 5.0
_CALLS = timedelta(seconds=30)  # for the calls behind what is kept
_TRIES = 5
_AWAY_ATTEMPTS, _AWAY = 8, timedelta(minutes=10)
_LOOKS_SECONDS = (0.0, 0.5, 1.0, 2.0)
_LOOKS_APART_SECONDS = 2.0
_UNSURE = timedelta(seconds=60)
_MOST_NAME = 255
_NOT_THERE = "file_not_found"
_DELETED = "file_deleted"
_NOT_ALLOWED = ("missing_scope", "not_allowed_token_type", "no_permission", "access_denied")
_NO_ROOM = (
    "file_upload_size_restricted",
    "file_uploads_disabled",
    "file_uploads_except_images_disabled",
    "file_type_not_allowed",
    "restricted_action",
    "storage_limit_reached",
)
_TROUBLES = dict.fromkeys(_NOT_ALLOWED, Trouble.OUTPUT_NOT_ALLOWED) | dict.fromkeys(
    _NO_ROOM, Trouble.OUTPUT_NO_ROOM
)


class NotShared(Exception):
    """A file is not shared by this attempt. With a `notice` it never will be: that is said instead."""

    def __init__(self, why: str, notice: Notice | None = None) -> None:
        super().__init__(why)
        self.notice = notice


class Contents(Protocol):
    """Where what agents made is read: `router.runtime.files.Files`."""

    def content(
        self, need: Need, file_id: str
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """What a file holds, in pieces. Raises a RuntimeFailure, also on the way."""
        ...


@dataclass(frozen=True, slots=True)
class Ends:
    """Where bytes come from, and the address of Slack's API, whose origin they may go to."""

    contents: Contents
    api_url: str


@dataclass(frozen=True, slots=True)
class _File:
    """A file at the runtime."""

    id: str
    name: str
    size: int

    @classmethod
    def of(cls, body: Json) -> Self:
        """The file of a delivery."""
        return cls(str(body["file"]), str(body["name"]), int(body["size"]))

    @property
    def shown_name(self) -> str:
        """Its name on one line."""
        plain = "".join(c if c.isprintable() else "_" for c in self.name).strip()
        return plain[:_MOST_NAME] or "file"


@dataclass(frozen=True, slots=True)
class _Seen:
    """A file that was shared. `ts`: its message; None where that cannot be known."""

    ts: str | None


class _Broken(Exception):
    """The bytes did not arrive."""


class Uploading:
    """Shares files. Raises NotShared, and as every call to Slack does, but for most refusals."""

    def __init__(self, pool: Pool, slack: Slack, permit: Permit, ends: Ends) -> None:
        self._pool = pool
        self._slack = slack
        self._permit = permit
        self._contents = ends.contents
        self._home = origin(ends.api_url)

    async def share(self, delivery: Delivery) -> str | None:
        """The ts of the message that shows the file, where that can be known."""
        kept = delivery.body
        try:
            if "completing" in kept:
                seen = await self._settle(delivery, str(kept["slack_file"]))
            else:
                slack_file = await self._bring(delivery, _File.of(kept))
                seen = await self._complete(delivery, slack_file)
        except SlackRefused as refused:
            if says_install_is_over(refused.error):
                raise
            trouble = _TROUBLES.get(refused.error, Trouble.OUTPUT_REFUSED)
            raise _never(delivery, trouble, refused.error) from refused
        return seen.ts

    # -------------------------------------------------------------- the bytes

    async def _bring(self, delivery: Delivery, file: _File) -> str:
        """Slack's id of the file, whose bytes have arrived there, seen by nobody."""
        tries = int(delivery.body.get("tries") or 0) + 1
        if tries > _TRIES:  # so many have died over it
            raise _never(delivery, Trouble.OUTPUT_NOT_SHARED, "too many tries")
        async with self._content(delivery, file) as pieces:
            await self._permit(delivery, GET_URL, within=_PATIENCE_SECONDS)
            given = await self._slack.ask(
                delivery.install_id,
                "files_getUploadURLExternal",
                filename=file.shown_name,
                length=file.size,
            )
            slack_file, target = str(given["file_id"]), self._target(delivery, given)
            left = timedelta(seconds=_UPLOAD_SECONDS) + _CALLS
            await self._keep(delivery, {"slack_file": slack_file, "tries": tries}, left)
            try:
                await _send(target, pieces, file.size)
            except _Broken as broken:
                if tries >= _TRIES:
                    raise _never(delivery, Trouble.OUTPUT_NOT_SHARED, str(broken)) from broken
                raise NotShared(str(broken)) from broken
        return slack_file

    @asynccontextmanager
    async def _content(
        self, delivery: Delivery, file: _File
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        try:
            async with self._contents.content(Need.LIVE, file.id) as pieces:
                yield pieces
        except RuntimeGone as gone:
            raise _never(delivery, Trouble.OUTPUT_GONE, str(gone)) from gone
        except RuntimeFailure as failure:
            waited = clock.now() - delivery.created_at > _AWAY
            over = waited and delivery.attempts > _AWAY_ATTEMPTS
            if over or isinstance(failure, RuntimeRefused):
                raise _never(delivery, Trouble.OUTPUT_NOT_SHARED, str(failure)) from failure
            raise NotShared(str(failure)) from failure

    def _target(self, delivery: Delivery, given: Any) -> URL:
        """Where Slack wants the bytes; they go to nobody else."""
        try:
            return judged(str(given["upload_url"]), self._home)
        except FileRefused as refused:
            raise _never(delivery, Trouble.OUTPUT_NOT_SHARED, str(refused)) from refused

    # -------------------------------------------------------------- the sharing

    async def _complete(self, delivery: Delivery, slack_file: str) -> _Seen:
        await self._permit(delivery, COMPLETE, within=_PATIENCE_SECONDS)
        now = clock.now().isoformat()
        await self._keep(delivery, {"slack_file": slack_file, "completing": now}, _CALLS)
        await self._ask_to_share(delivery, slack_file)
        return await self._shown(delivery, slack_file)

    async def _ask_to_share(self, delivery: Delivery, slack_file: str) -> None:
        thread = {"thread_ts": delivery.thread_ts} if delivery.thread_ts else {}
        title = _File.of(delivery.body).shown_name
        await self._slack.ask(
            delivery.install_id,
            "files_completeUploadExternal",
            files=[{"id": slack_file, "title": title}],
            channel_id=delivery.channel_id,
            **thread,
        )

    async def _shown(self, delivery: Delivery, slack_file: str) -> _Seen:
        """Returns once the thread shows a file that Slack has agreed to share."""
        for wait in _LOOKS_SECONDS:
            await clock.sleep(wait)
            if seen := await self._look(delivery, slack_file, agreed=True):
                return seen
        await self._keep(delivery, {"completed": True}, _CALLS)
        raise NotShared("Slack does not show it yet")

    async def _settle(self, delivery: Delivery, slack_file: str) -> _Seen:
        """An earlier attempt may have shared the file."""
        agreed = bool(delivery.body.get("completed"))
        for look in range(2):
            if look:
                await clock.sleep(_LOOKS_APART_SECONDS)
            if seen := await self._look(delivery, slack_file, agreed=agreed):
                _log.info("delivery.found", delivery_id=str(delivery.delivery_id), slack_ts=seen.ts)
                return seen
        why = "Slack does not show it"
        if not agreed:
            try:
                await self._permit(delivery, COMPLETE, within=_PATIENCE_SECONDS)
                await self._ask_to_share(delivery, slack_file)
                return await self._shown(delivery, slack_file)
            except SlackRefused as refused:
                if says_install_is_over(refused.error):
                    raise
                why = refused.error  # also where the first was taken: that may show later
        since = datetime.fromisoformat(str(delivery.body["completing"]))
        if clock.now() - since > _UNSURE:
            raise _never(delivery, Trouble.OUTPUT_UNSURE, why)
        raise NotShared(why)

    async def _look(self, delivery: Delivery, slack_file: str, *, agreed: bool) -> _Seen | None:
        """The message that shows the file. `agreed`: where we may not look, Slack's word has to do."""
        await self._permit(delivery, _INFO, within=_PATIENCE_SECONDS)
        try:
            answer = await self._slack.ask(delivery.install_id, "files_info", file=slack_file)
        except SlackRefused as refused:
            if says_install_is_over(refused.error):
                raise
            known = refused.error == _DELETED or (agreed and refused.error != _NOT_THERE)
            return _Seen(None) if known else None
        return _share_in(part(dict(answer.data), "file"), delivery)

    async def _keep(self, delivery: Delivery, known: Json, left: timedelta) -> None:
        async with database.borrow(self._pool) as connection:
            if not await outputs_sent.note(connection, delivery, known, left):
                raise NotShared("another attempt has begun")


def _never(delivery: Delivery, trouble: Trouble, why: str) -> NotShared:
    """Not shared for good, and what the thread is told."""
    file = _File.of(delivery.body)
    told = about(trouble, delivery.delivery_id, files=[(file.name, file.size)])
    return NotShared(why, told)


def _share_in(file: Json, delivery: Delivery) -> _Seen | None:
    """The message that a file of files.info has in the delivery's thread."""
    for by_channel in part(file, "shares").values():
        for share in by_channel.get(delivery.channel_id) or []:
            if share.get("thread_ts") == delivery.thread_ts:
                return _Seen(str(share["ts"]))
    return None


# ------------------------------------------------------------------ bytes on their way


async def _send(target: URL, pieces: AsyncIterator[bytes], size: int) -> None:
    """Posts so many bytes as they come. Raises _Broken, and what `pieces` raises."""
    source = _Source(pieces, size)
    try:
        async with (
            asyncio.timeout(_UPLOAD_SECONDS),
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
            ) as session,
            session.post(
                target,
                data=source.read(),
                headers={
                    "Content-Type": "application/octet-stream",
                    "Content-Length": str(size),
                },
                allow_redirects=False,
            ) as response,
        ):
            status = response.status
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        if source.failure is not None:
            raise source.failure from error
        raise _Broken(type(error).__name__) from error
    if status != HTTPStatus.OK:
        raise _Broken(f"HTTP {status}")


class _Source:
    """Bytes of a known number, and what reading them raised, which the transport does not tell."""

    def __init__(self, pieces: AsyncIterator[bytes], size: int) -> None:
        self._pieces = pieces
        self._left = size
        self.failure: Exception | None = None

    async def read(self) -> AsyncIterator[bytes]:
        """The bytes, one by one as they come."""
        try:
            async for piece in self._pieces:
                self._left -= len(piece)
                self._check(over=False)
                yield piece
            self._check(over=True)
        except Exception as failure:
            self.failure = failure
            raise

    def _check(self, *, over: bool) -> None:
        """Slack was told how many there are."""
        if self._left < 0 or (over and self._left):
            raise _Broken("its size has changed")

"""Reads the files that people share, with the install's token, from Slack and from nowhere else.

The address of a file comes out of an event, and each redirect out of an answer: either could lead
anywhere. So every address is judged before anything is sent to it, by the very parts that are
connected to; a stranger gets neither token nor request. Nothing that is declared of a file, in its
event or in a header, is believed: what comes in is counted, and undone from no encoding.

docs.slack.dev/reference/objects/file-object, …/messaging/working-with-files: `url_private` takes the
bot's token, and shows a sign-in page to whoever may not read.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urljoin, urlsplit
from uuid import UUID

import aiohttp
import structlog
from yarl import URL

from bot.addresses import judged, origin
from bot.budget import Budgets
from bot.outcome import SlackAway, SlackLimited, SlackRefused, SlackUnclear
from bot.payload import Json, part, text_of
from bot.slack import Slack
from router import clock
from router.errors import FileAway, FileReason, FileRefused
from router.files.kinds import FILE_BYTES
from router.ports import OpenedFile

_log = structlog.get_logger(__name__)

_HOPS = 5
_CHUNK = 64 * 1024
_AT_ONCE = 20
_PERMIT_SECONDS = 3.0
_LOOK_SECONDS = 0.3
_INFO = "files.info"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_OK, _TOO_MANY, _THEIR_FAULT = 200, 429, 500
_REFUSALS: dict[int, FileReason] = {
    401: "no_access",
    403: "no_access",
    404: "deleted",
    410: "deleted",
}
# docs.slack.dev/reference/methods/files.info
_NOT_THERE = frozenset({"file_not_found", "file_deleted"})
_MODES: dict[str | None, FileReason] = {
    "tombstone": "deleted",
    "hidden_by_limit": "no_access",
}
_HTML = re.compile(rb"\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html)\b", re.IGNORECASE | re.DOTALL)
# A canvas is handed out as the page that it is.
_PAGES = frozenset({"text/html", "application/vnd.slack-docs"})
_NEVER_HTML = ("image/", "audio/", "video/", "application/pdf", "application/zip")


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: to connect, for the next bytes to come, and for all the waiting for one file."""

    connect: float = 5.0
    silence: float = 10.0
    whole: float = 60.0


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A file as Slack describes it."""

    id: str
    name: str | None
    mimetype: str | None
    url: str


class Fetching:
    """Implements `router.ports.FileSource`. Use as an async context manager."""

    def __init__(self, slack: Slack, budgets: Budgets, api_url: str, pace: Pace = Pace()) -> None:
        self._slack = slack
        self._budgets = budgets
        self._pace = pace
        self._home = origin(api_url)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            connector=aiohttp.TCPConnector(limit=_AT_ONCE),
            cookie_jar=aiohttp.DummyCookieJar(),  # what one install is given is not shown to others
            headers={"Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._pace.connect),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def open_file(
        self, install_id: UUID, file: Mapping[str, Any]
    ) -> AsyncIterator[OpenedFile]:
        """A file of an input's body. Raises FileRefused, FileAway, and the database's errors."""
        wanted = await self._wanted(install_id, dict(file))
        try:
            token = await self._slack.token(install_id)
        except SlackRefused as refused:
            raise FileRefused("no_access", refused.error) from refused
        left = _Patience(self._pace)
        response = await self._answer(wanted, token, left)
        try:
            yield OpenedFile(wanted.name, _chunks(response, wanted, left))
        finally:
            response.close()

    # -------------------------------------------------------------- what Slack says of it

    async def _wanted(self, install_id: UUID, file: Json) -> _Wanted:
        """The file, asked about where the event says too little (Slack Connect)."""
        if reason := _MODES.get(text_of(file, "mode")):
            raise FileRefused(reason)
        file_id, url = str(file.get("id") or ""), text_of(file, "url")
        if url is None or file.get("access") == "check_file_info":
            file = part(await self._info(install_id, file_id), "file")
            if reason := _MODES.get(text_of(file, "mode")):
                raise FileRefused(reason)
            url = text_of(file, "url_private_download") or text_of(file, "url_private")
        if url is None:
            raise FileRefused("no_access", "no address")
        name = text_of(file, "name") or text_of(file, "title")
        return _Wanted(file_id, name, text_of(file, "mimetype"), url)

    async def _info(self, install_id: UUID, file_id: str) -> Json:
        """docs.slack.dev/reference/methods/files.info, within the budget."""
        until = clock.monotonic() + _PERMIT_SECONDS
        while not await self._budgets.take(install_id, _INFO):
            if clock.monotonic() >= until:
                raise FileAway("no permit for files.info")
            await clock.sleep(clock.jittered(_LOOK_SECONDS))
        try:
            self._slack.circuits.check(install_id)
            answer = await self._slack.ask(install_id, "files_info", file=file_id)
        except SlackRefused as refused:
            gone = refused.error in _NOT_THERE
            raise FileRefused("deleted" if gone else "no_access", refused.error) from refused
        except SlackLimited as limited:
            await self._budgets.empty(install_id, _INFO, limited.retry_after)
            raise FileAway(str(limited), retry_after=limited.retry_after) from limited
        except (SlackAway, SlackUnclear) as error:
            raise FileAway(str(error)) from error
        return dict(answer.data)

    # -------------------------------------------------------------- the request

    async def _answer(
        self, wanted: _Wanted, token: str, left: "_Patience"
    ) -> aiohttp.ClientResponse:
        """The answer behind at most five redirects, none of them followed unjudged."""
        address = wanted.url
        for hop in range(_HOPS + 1):
            target = judged(address, self._home)
            response = await self._get(target, token, left)
            if response.status not in _REDIRECTS:
                try:
                    _check(response, wanted, redirected=hop > 0)
                except BaseException:
                    response.close()
                    raise
                return response
            response.close()
            if not (location := response.headers.get("Location")):
                raise FileRefused("unreadable", "a redirect to nowhere")
            address = urljoin(str(target), location)
        raise FileRefused("unreadable", "too many redirects")

    async def _get(self, target: URL, token: str, left: "_Patience") -> aiohttp.ClientResponse:
        if self._session is None:
            raise RuntimeError("Fetching is used as a context manager")
        headers = {"Authorization": f"Bearer {token}"}
        with _as_away():
            async with left.waiting():
                return await self._session.get(target, headers=headers, allow_redirects=False)


def _check(response: aiohttp.ClientResponse, wanted: _Wanted, *, redirected: bool) -> None:
    """Raises where the answer is not the file."""
    status = response.status
    if status == _TOO_MANY or status >= _THEIR_FAULT:
        wait = response.headers.get("Retry-After", "")
        raise FileAway(f"HTTP {status}", retry_after=float(wait) if wait.isdecimal() else None)
    if status != _OK:
        raise FileRefused(_REFUSALS.get(status, "unreadable"), f"HTTP {status}")
    if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise FileRefused("unreadable", "an encoding that nobody asked for")
    if (response.content_length or 0) > FILE_BYTES:
        raise FileRefused("too_large")
    if response.content_type == "text/html" and _is_sign_in(
        response, wanted, redirected=redirected
    ):
        raise FileRefused("no_access", "a page instead of the file")


def _is_sign_in(response: aiohttp.ClientResponse, wanted: _Wanted, *, redirected: bool) -> bool:
    """A page where no page was shared, or not from where it was shared."""
    if wanted.mimetype not in _PAGES:
        return True
    return redirected and wanted.id not in urlsplit(str(response.url)).path


async def _chunks(
    response: aiohttp.ClientResponse, wanted: _Wanted, left: "_Patience"
) -> AsyncIterator[bytes]:
    """The content as it comes in, counted; none of the chunks is empty."""
    size = 0
    while True:
        with _as_away():
            async with left.waiting():
                chunk = await response.content.read(_CHUNK)
        if not chunk:
            return
        if not size and _HTML.match(chunk) and (wanted.mimetype or "").startswith(_NEVER_HTML):
            raise FileRefused("no_access", "a page instead of the file")
        size += len(chunk)
        if size > FILE_BYTES:
            raise FileRefused("too_large")
        yield chunk


class _Patience:
    """How long Slack may keep us waiting for one file: what others take in between does not count."""

    def __init__(self, pace: Pace) -> None:
        self._silence = pace.silence
        self._left = pace.whole

    @asynccontextmanager
    async def waiting(self) -> AsyncIterator[None]:
        """A wait for Slack; TimeoutError where it takes too long, alone or with those before."""
        began = clock.monotonic()
        try:
            async with asyncio.timeout(min(self._silence, self._left)):
                yield
        finally:
            self._left -= clock.monotonic() - began


@contextmanager
def _as_away() -> Iterator[None]:
    """A connection that fails says nothing of the file."""
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise FileAway(type(error).__name__) from error

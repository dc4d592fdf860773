"""What was said before: a thread from its end, and what links lead to, for who may see it.

conversations.replies gives the oldest first, has no way back, and up to 999 at once
(docs.slack.dev/reference/methods/conversations.replies), so one call reads whole threads of that
many. Of a longer one the first page tells how many there are and until when (the root's `reply_count`
and `latest_reply`): what is left is one more page, or far behind, and then the next call begins at a
time (`oldest`) after which most of a page is expected, and is followed to the end. Four calls at the
most: an app that Slack grants one a minute gets what that shows, and says so.
"""

import asyncio
import re
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import structlog

from bot.budget import Budgets
from bot.incoming import InstallIdentity
from bot.install import InstallBook
from bot.mrkdwn import clean, decode, mentions
from bot.naming import Names, ids_in, named, spelt_in, with_names
from bot.outcome import TROUBLE, SlackLimited
from bot.remembering import Remembered
from bot.seeing import Seeing
from bot.slack import Slack
from bot.standing import Standings
from bot.surfaces import Surfaces
from router import clock
from router.context.quoting import MESSAGES, Linked, Record, Said
from router.ports import Thread
from store import database

_log = structlog.get_logger(__name__)

_SECONDS = 5.0
_NAMES_SECONDS = 1.5
_LOOK_SECONDS = 0.25
_CALLS = 4
_PAGE = 999
_FURTHER = 4  # times as far back, where that was too near
_EXPECTED = 600  # behind a guessed time: more than are quoted, and room to be wrong
_TICK = 0.000001
_AROUND = 15  # where one is asked for: a thread's root may come along, and count
_LINKS = 5
_ADDRESS_SECONDS = 3600.0
_ON_ITS_WAY_SECONDS = 120.0  # Slack sends an event again at once, and after a minute
_REPLIES, _HISTORY = "conversations.replies", "conversations.history"
_SPOKEN = frozenset({None, "bot_message", "file_share", "me_message", "thread_broadcast"})
_LINK = re.compile(
    r"https://([a-z0-9.-]+)/archives/([CGD][A-Z0-9]+)/p([0-9]{10})([0-9]{6})"
    r"(?:\?[^\s<>|)\]]*)?"
)
_IN_THREAD = re.compile(r"[?&;]thread_ts=([0-9]{10}\.[0-9]{6})(?![0-9])")
_TROUBLE: tuple[type[Exception], ...] = (*TROUBLE, TimeoutError, *database.ERRORS)
_Message = dict[str, Any]


@dataclass(slots=True)
class _Seen:
    """What the calls for a thread have shown; `messages` reach to its `tail`, or are all of them."""

    root: _Message | None = None
    messages: dict[str, _Message] = field(default_factory=dict)
    tail: bool = False
    whole: bool = False
    unread: int = 0


class ThreadReading:
    """Implements `router.ports.ThreadSource`."""

    def __init__(
        self, slack: Slack, book: InstallBook, budgets: Budgets, standings: Standings
    ) -> None:
        self._slack = slack
        self._book = book
        self._budgets = budgets
        self._surfaces = Surfaces(slack)
        self._seeing = Seeing(self._surfaces, budgets, standings)
        self._names = Names(slack, budgets)
        self._addresses: Remembered[str] = Remembered()

    # -------------------------------------------------------------- a thread

    async def earlier(self, thread: Thread, before_ts: str) -> Record:
        """What was said in a thread before a message, but for our own posts; never raises."""
        if before_ts == thread.root_ts:
            return Record()
        seen = _Seen()
        try:
            async with asyncio.timeout(_SECONDS):
                await self._read(thread, before_ts, seen)
        except _TROUBLE as error:
            _log.info("thread.not_read", error=f"{type(error).__name__}: {error}")
        return await self._record(thread, seen)

    async def _read(self, thread: Thread, before_ts: str, seen: _Seen) -> None:
        first, more = await self._page(thread, latest=before_ts)
        seen.root = first.pop(thread.root_ts, None) or {}
        if not more:
            seen.messages, seen.tail = first, True
            return
        total = int(seen.root.get("reply_count") or 0)
        remaining = max(total - len(first), 1)
        low = max(map(float, first), default=float(thread.root_ts))
        end = min(float(before_ts), float(seen.root.get("latest_reply") or before_ts))
        since = low
        if remaining > _PAGE:
            since = max(low, end - (end - low) * _EXPECTED / remaining)
        await self._leap(thread, (low, since, end), before_ts, seen)
        if seen.whole:
            seen.messages = first | seen.messages
        elif seen.tail:  # the message that asks, and later ones, are among the replies as well
            seen.unread = max(total - len(seen.messages) - 1, 1)

    async def _leap(
        self, thread: Thread, where: tuple[float, float, float], before_ts: str, seen: _Seen
    ) -> None:
        """Reads from a time on to the end, then what is before that, until it is enough."""
        low, since, end = where
        upto, calls = float(before_ts), _CALLS - 1
        while calls > 0:
            pages, calls = await self._between(thread, since, upto, calls)
            if pages is None:
                return
            seen.messages |= pages
            seen.tail, seen.whole = True, since <= low
            if seen.whole or len(seen.messages) >= MESSAGES:
                return
            upto, since = since + _TICK, max(low, end - (end - since) * _FURTHER)

    async def _between(
        self, thread: Thread, since: float, upto: float, calls: int
    ) -> tuple[dict[str, _Message] | None, int]:
        """All between two times, or None where there are too many; and the calls that are left."""
        pages: dict[str, _Message] = {}
        span = {"latest": f"{upto:.6f}", "oldest": f"{since:.6f}"}
        for left in range(calls - 1, -1, -1):
            page, cursor = await self._page(thread, **span)
            page.pop(thread.root_ts, None)
            pages |= page
            if not cursor:
                return pages, left
            span["cursor"] = cursor
        return None, 0

    async def _page(self, thread: Thread, **where: str) -> tuple[dict[str, _Message], str]:
        """A page by ts, root and repeats included as Slack likes; and where the next begins."""
        await self._permit(thread.install_id, _REPLIES)
        answer = await self._ask(
            thread.install_id,
            _REPLIES,
            channel=thread.channel_id,
            ts=thread.root_ts,
            limit=_PAGE,
            **where,
        )
        found = {str(m["ts"]): m for m in answer.get("messages") or [] if m.get("ts")}
        cursor = (answer.get("response_metadata") or {}).get("next_cursor")
        return found, str(cursor or "")

    async def _record(self, thread: Thread, seen: _Seen) -> Record:
        install = await self._install(thread.install_id)
        if install is None:
            return Record(failed=True)
        newest = [seen.messages[ts] for ts in sorted(seen.messages, key=float)]
        kept = [m for m in newest if is_said(m) and not _is_ours(m, install)]
        cut, kept = max(0, len(kept) - MESSAGES), kept[-MESSAGES:]
        root = seen.root if seen.root and is_said(seen.root) else None
        root = None if root and _is_ours(root, install) else root
        quoted = [*([root] if root else []), *kept]
        coming = _coming(thread, install, [*quoted, *newest])
        said = [
            replace(one, comes=one.ts in coming)
            for one in await self._said(thread.install_id, quoted)
        ]
        return Record(
            root=said.pop(0) if root else None,
            messages=tuple(said),
            cut=cut,
            unread=seen.unread,
            failed=not seen.tail,
        )

    async def _install(self, install_id: UUID) -> InstallIdentity | None:
        try:
            known = await self._book.get(install_id)
        except database.ERRORS:
            return None
        return known.identity if known else None

    async def _said(self, install_id: UUID, messages: list[_Message]) -> list[Said]:
        """Messages with the names of whom they are by and whom they speak of."""
        ids = [str(m["user"]) for m in messages if m.get("user") and not is_bots(m)]
        ids += [one for m in messages for one in ids_in(text_of(m))]
        names = await self._names.find(install_id, ids, _NAMES_SECONDS)
        return [_as_said(m, names) for m in messages]

    # -------------------------------------------------------------- links

    async def linked(self, install_id: UUID, text: str, user_id: str) -> list[Linked]:
        """What up to five links to messages lead to, as that person could see it; never raises."""
        places = {m[0]: m for m in _LINK.finditer(text)}
        found: dict[str, _Message] = {}
        try:
            async with asyncio.timeout(_SECONDS):
                for url, link in list(places.items())[:_LINKS]:
                    message = await self._behind(install_id, link, user_id)
                    if message is not None:
                        found[url] = message
        except TimeoutError:
            _log.info("link.not_read", error="TimeoutError")
        said = dict(zip(found, await self._said(install_id, list(found.values())), strict=True))
        return [Linked(url, said.get(url)) for url in list(places)[:_LINKS]]

    # -------------------------------------------------------------- names

    async def named(self, install_id: UUID, text: str) -> str:
        """A message's text with the names of those whom it mentions by their ids; never raises."""
        names = await self._names.find(install_id, spelt_in(text), _NAMES_SECONDS)
        return with_names(text, names)

    async def _behind(self, install_id: UUID, link: re.Match[str], user_id: str) -> _Message | None:
        channel_id, ts = link[2], f"{link[3]}.{link[4]}"
        thread = _IN_THREAD.search(link[0])
        try:
            if not await self._is_home(install_id, link[1]):
                return None
            if not await self._seeing.may_see(install_id, channel_id, user_id):
                return None
            return await self._message(install_id, channel_id, thread[1] if thread else None, ts)
        except _TROUBLE as error:
            _log.info("link.not_read", error=f"{type(error).__name__}: {error}")
            return None

    async def _is_home(self, install_id: UUID, host: str) -> bool:
        """Whether that is the workspace of the install."""
        address = await self._addresses.ask(
            install_id, lambda: self._surfaces.address(install_id), _ADDRESS_SECONDS
        )
        return address.rstrip("/") == f"https://{host}"

    async def _message(
        self, install_id: UUID, channel_id: str, root_ts: str | None, ts: str
    ) -> _Message | None:
        method = _REPLIES if root_ts else _HISTORY
        where = {"ts": root_ts} if root_ts else {}
        await self._permit(install_id, method)
        answer = await self._ask(
            install_id,
            method,
            channel=channel_id,
            oldest=ts,
            latest=ts,
            inclusive=True,
            limit=_AROUND,
            **where,
        )
        found = [m for m in answer.get("messages") or [] if m.get("ts") == ts and is_said(m)]
        return found[0] if found else None

    # -------------------------------------------------------------- calls

    async def _permit(self, install_id: UUID, method: str) -> None:
        """Waits for a permit; whoever calls has set how long."""
        while not await self._budgets.take(install_id, method):
            await clock.sleep(clock.jittered(_LOOK_SECONDS))

    async def _ask(self, install_id: UUID, method: str, **arguments: Any) -> Any:
        self._slack.circuits.check(install_id)
        try:
            return await self._slack.ask(install_id, method.replace(".", "_"), **arguments)
        except SlackLimited as limited:
            await self._budgets.empty(install_id, method, limited.retry_after)
            raise


def is_said(message: dict[str, Any]) -> bool:
    """Somebody's words, or files; no join, no topic, and nothing that was deleted."""
    return message.get("subtype") in _SPOKEN and not message.get("hidden")


def _is_ours(message: _Message, install: InstallIdentity) -> bool:
    theirs = (message.get("user"), message.get("bot_id"), message.get("app_id"))
    ours = (install.bot_user_id, install.bot_id, install.api_app_id)
    return any(t is not None and t == o for t, o in zip(theirs, ours, strict=True))


def is_bots(message: dict[str, Any]) -> bool:
    """Whether a bot said it."""
    return bool(message.get("bot_id") or message.get("bot_profile"))


def _coming(thread: Thread, install: InstallIdentity, messages: list[_Message]) -> set[str]:
    """The messages to us, by ts, whose events may still be on their way behind that of a later one.

    What we have said something after has come: if it is no input, it is not going to be one.
    """
    since = clock.now().timestamp() - _ON_ITS_WAY_SECONDS
    since = max([since, *(float(m["ts"]) for m in messages if _is_ours(m, install))])
    direct = thread.channel_id.startswith("D")
    return {
        str(m["ts"])
        for m in messages
        if float(m["ts"]) > since
        and not is_bots(m)
        and (direct or mentions(str(m.get("text") or ""), install.bot_user_id))
    }


def _as_said(message: _Message, names: dict[str, str]) -> Said:
    files = [f for f in message.get("files") or [] if isinstance(f, dict)]
    return Said(
        ts=str(message["ts"]),
        author=_author(message, names),
        text=decode(named(text_of(message), names), ""),
        bot=is_bots(message),
        edited=bool(message.get("edited")),
        files=tuple(clean(str(f.get("name") or f.get("id") or "")) for f in files),
    )


def _author(message: _Message, names: dict[str, str]) -> str:
    name, user = author_of(message, names), clean(str(message.get("user") or ""))
    return name if is_bots(message) or name == user else f"{name} ({user})"


def author_of(message: dict[str, Any], names: dict[str, str]) -> str:
    """What its author is called: the id where no name is known."""
    if is_bots(message):
        profile = message.get("bot_profile") or {}
        name = message.get("username") or profile.get("name") or message.get("bot_id")
        return clean(str(name or "a bot"))
    user = str(message.get("user") or "")
    return clean(names.get(user, user))


def text_of(message: dict[str, Any]) -> str:
    """What it says, also where a bot says it in attachments only."""
    text = str(message.get("text") or "")
    if text:
        return text
    attached = [a for a in message.get("attachments") or [] if isinstance(a, dict)]
    return "\n".join(str(a.get("fallback") or a.get("text") or "") for a in attached).strip()

"""What an agent's own calls read of Slack: channels, their messages, and who can see them.

Nothing waits for these reads but the agent, so they take no permit that a delivery may need, and what
Slack refuses, limits or does not answer is told to the agent, who can try again.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import structlog

from bot.budget import Budgets
from bot.mrkdwn import clean, decode
from bot.naming import Names, ids_in, named
from bot.outcome import TROUBLE, SlackAway, SlackLimited, SlackRefused, SlackUnclear
from bot.remembering import Remembered
from bot.seeing import Seeing, is_public
from bot.slack import Slack
from bot.standing import Standings
from bot.surfaces import Surfaces
from bot.thread_reading import author_of, is_bots, is_said, text_of
from router import clock
from router.errors import NotReadable
from router.ports import Channel, Message, Page
from store import database

_log = structlog.get_logger(__name__)

_SECONDS = 6.0
_NAMES_SECONDS = 1.5
_LOOK_SECONDS = 0.25
_OURS_SECONDS = 60.0
_OURS_PAGES, _OURS_PAGE = 10, 999
_MOST_AT_ONCE = 20  # people of one turn who are asked about
_AWAY_SECONDS = 30.0
_ID = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_REPLIES, _HISTORY, _OURS = (
    "conversations_replies",
    "conversations_history",
    "users_conversations",
)
_TROUBLE: tuple[type[Exception], ...] = (*TROUBLE, TimeoutError, *database.ERRORS)


class ChannelReading:
    """Implements `router.ports.ChannelSource`."""

    def __init__(self, slack: Slack, budgets: Budgets, standings: Standings) -> None:
        surfaces = Surfaces(slack)
        self._slack = slack
        self._budgets = budgets
        self._seeing = Seeing(surfaces, budgets, standings)
        self._names = Names(slack, budgets)
        self._ours: Remembered[dict[str, str]] = Remembered()

    async def channel(self, install_id: UUID, wanted: str) -> Channel:
        """The channel of that id, or, of those that the bot is in, of that name."""
        async with _told():
            channel_id = wanted if is_id(wanted) else await self._id_of(install_id, wanted)
            record = await self._seeing.channel(install_id, channel_id)
        return Channel(
            id=channel_id,
            name=clean(str(record.get("name") or channel_id)),
            public=is_public(record),
            inside=bool(record.get("is_member") or record.get("is_im")),
            archived=bool(record.get("is_archived")),
        )

    async def _id_of(self, install_id: UUID, name: str) -> str:
        """Private channels that the bot is not in have no name for it, public ones are not listed."""
        ours = await self._ours.ask(install_id, lambda: self._list_ours(install_id), _OURS_SECONDS)
        found = ours.get(name.removeprefix("#").casefold())
        if found is None:
            raise NotReadable("channel_not_found")
        return found

    async def _list_ours(self, install_id: UUID) -> dict[str, str]:
        """The channels that the bot is in, by name.

        docs.slack.dev/reference/methods/users.conversations
        """
        found: dict[str, str] = {}
        cursor: str | None = None
        for _ in range(_OURS_PAGES):
            answer = await self._ask(
                install_id,
                _OURS,
                types="public_channel,private_channel",
                exclude_archived=True,
                limit=_OURS_PAGE,
                cursor=cursor,
            )
            for one in answer.get("channels") or []:
                found[str(one.get("name") or "").casefold()] = str(one["id"])
            cursor = (answer.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                break
        return found

    async def may_see(self, install_id: UUID, channel_id: str, users: Sequence[str]) -> bool:
        """Whether all of these people can see a channel; False where that cannot be found out."""
        if len(users) > _MOST_AT_ONCE:
            return False
        try:
            async with asyncio.timeout(_SECONDS):
                for user in users:
                    if not await self._seeing.may_see(install_id, channel_id, user):
                        return False
        except _TROUBLE as error:
            _log.info("channel.not_judged", error=f"{type(error).__name__}: {error}")
            return False
        return True

    # -------------------------------------------------------------- messages

    async def history(
        self, install_id: UUID, channel_id: str, limit: int, before: str | None
    ) -> Page:
        """Messages of a channel, newest first (docs.slack.dev/reference/methods/conversations.history)."""
        span = {"latest": before} if before else {}
        async with _told():
            answer = await self._ask(install_id, _HISTORY, channel=channel_id, limit=limit, **span)
            return await self._page(install_id, answer, _messages(answer))

    async def replies(
        self, install_id: UUID, channel_id: str, root_ts: str, limit: int, after: str | None
    ) -> Page:
        """A thread, oldest first; its root, which Slack puts on every page, only at the beginning.

        docs.slack.dev/reference/methods/conversations.replies
        """
        span = {"oldest": after} if after else {}
        async with _told():
            answer = await self._ask(
                install_id, _REPLIES, channel=channel_id, ts=root_ts, limit=limit, **span
            )
            found = _messages(answer)
            if after:
                found = [m for m in found if m["ts"] != root_ts]
            return await self._page(install_id, answer, found)

    async def _page(self, install_id: UUID, answer: Any, found: list[dict[str, Any]]) -> Page:
        """What was said; what was not, a join or a topic, counts only for where the next page begins."""
        more = bool((answer.get("response_metadata") or {}).get("next_cursor"))
        said = [m for m in found if is_said(m)]
        ids = [str(m["user"]) for m in said if m.get("user") and not is_bots(m)]
        ids += [one for m in said for one in ids_in(text_of(m))]
        names = await self._names.find(install_id, ids, _NAMES_SECONDS)
        return Page(
            tuple(_message(m, names) for m in said),
            str(found[-1]["ts"]) if more and found else None,
        )

    # -------------------------------------------------------------- calls

    async def _ask(self, install_id: UUID, name: str, **arguments: Any) -> Any:
        method = name.replace("_", ".")
        while not await self._budgets.take_spare(install_id, method):
            await clock.sleep(clock.jittered(_LOOK_SECONDS))
        self._slack.circuits.check(install_id)
        try:
            return await self._slack.ask(install_id, name, **arguments)
        except SlackLimited as limited:
            await self._budgets.empty(install_id, method, limited.retry_after)
            raise


def is_id(wanted: str) -> bool:
    """Whether that is a channel's id; names have no capital letters."""
    return wanted[:1] in ("C", "G") and set(wanted) <= _ID


@asynccontextmanager
async def _told() -> AsyncIterator[None]:
    """What goes wrong as the agent hears of it; without the database nothing is concluded."""
    try:
        async with asyncio.timeout(_SECONDS):
            yield
    except SlackRefused as refused:
        raise NotReadable(refused.error) from refused
    except SlackLimited as limited:
        raise NotReadable("rate_limited", retry_after=limited.retry_after) from limited
    except TimeoutError as late:
        raise NotReadable("rate_limited", retry_after=_AWAY_SECONDS) from late
    except (SlackAway, SlackUnclear) as away:
        _log.info("channel.not_read", error=f"{type(away).__name__}: {away}")
        raise NotReadable("slack_away", retry_after=_AWAY_SECONDS) from away


def _messages(answer: Any) -> list[dict[str, Any]]:
    return [m for m in answer.get("messages") or [] if m.get("ts")]


def _message(message: dict[str, Any], names: dict[str, str]) -> Message:
    files = [f for f in message.get("files") or [] if isinstance(f, dict)]
    author_id = str((message.get("bot_id") if is_bots(message) else message.get("user")) or "")
    return Message(
        ts=str(message["ts"]),
        author_id=clean(author_id),
        author=author_of(message, names),
        text=decode(named(text_of(message), names), ""),
        bot=is_bots(message),
        edited=bool(message.get("edited")),
        thread_ts=message.get("thread_ts"),
        replies=int(message.get("reply_count") or 0),
        files=tuple(clean(str(f.get("name") or f.get("id") or "")) for f in files),
    )

"""What people and channels are called, asked of Slack once and remembered for a while."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from uuid import UUID

from bot.budget import Budgets
from bot.outcome import SlackAway, SlackLimited, SlackRefused, SlackUnclear
from bot.remembering import Remembered
from bot.slack import Slack
from bot.standing import name_of
from bot.surfaces import Surfaces
from store import database

_SECONDS = 600.0
_AT_ONCE = 40  # more ids than these in one text stay ids
_USERS, _CHANNELS = "users.info", "conversations.info"
_MENTION = re.compile(r"<@([UWB][A-Z0-9]+)>")
_CHANNEL = re.compile(r"<#([CGD][A-Z0-9]+)\|?>")
_SPELT = re.compile(r"(?<!\w)(@(?=[UW])|#(?=[CGD]))([UWCGD][A-Z0-9]{5,})(?!\w)")
_TROUBLE: tuple[type[Exception], ...] = (
    SlackRefused,
    SlackLimited,
    SlackAway,
    SlackUnclear,
    *database.ERRORS,
)


class Names:
    """Finds names. What cannot be found out in time goes by its id, and is asked for again."""

    def __init__(self, slack: Slack, budgets: Budgets) -> None:
        self._surfaces = Surfaces(slack)
        self._budgets = budgets
        self._known: Remembered[str] = Remembered()

    async def find(self, install_id: UUID, ids: Iterable[str], seconds: float) -> dict[str, str]:
        """The names of people and channels, as many as are known or found in so many seconds."""
        wanted = list(dict.fromkeys(ids))
        asked = [i for i in wanted if self._known.get((install_id, i)) is None][:_AT_ONCE]
        try:
            async with asyncio.timeout(seconds), asyncio.TaskGroup() as tasks:
                for one in asked:
                    tasks.create_task(self._look(install_id, one))
        except TimeoutError:
            pass  # whom it kept waiting goes by the id
        found = {i: self._known.get((install_id, i)) for i in wanted}
        return {i: name for i, name in found.items() if name}

    async def _look(self, install_id: UUID, one: str) -> None:
        is_channel = one[0] in "CGD"
        method = _CHANNELS if is_channel else _USERS
        ask = self._channel if is_channel else self._person
        try:
            if await self._budgets.take_spare(install_id, method):
                await self._known.ask((install_id, one), _asking(ask, install_id, one), _SECONDS)
        except SlackLimited as limited:
            await self._budgets.empty(install_id, method, limited.retry_after)
        except _TROUBLE:
            return

    async def _person(self, install_id: UUID, user_id: str) -> str:
        return name_of(await self._surfaces.record(install_id, user_id)) or user_id

    async def _channel(self, install_id: UUID, channel_id: str) -> str:
        record = await self._surfaces.channel(install_id, channel_id)
        return str(record.get("name") or channel_id)


def _asking(
    ask: Callable[[UUID, str], Awaitable[str]], install_id: UUID, one: str
) -> Callable[[], Awaitable[str]]:
    return lambda: ask(install_id, one)


def ids_in(text: str) -> list[str]:
    """Who and what a raw text of Slack's mentions without a name."""
    return [*_MENTION.findall(text), *_CHANNEL.findall(text)]


def named(text: str, names: dict[str, str]) -> str:
    """The raw text with a label at each mention that has a name."""
    text = _MENTION.sub(lambda m: f"<@{m[1]}|{_label(names.get(m[1], m[1]))}>", text)
    return _CHANNEL.sub(lambda m: f"<#{m[1]}|{_label(names.get(m[1], m[1]))}>", text)


def spelt_in(text: str) -> list[str]:
    """Who and what a decoded text mentions by an id."""
    return [found[2] for found in _SPELT.finditer(text)]


def with_names(text: str, names: dict[str, str]) -> str:
    """A decoded text with the name of each such id, which stays beside it: a mention needs the id."""

    def beside(found: re.Match[str]) -> str:
        name = names.get(found[2])
        return f"{found[1]}{_label(name)} ({found[2]})" if name and name != found[2] else found[0]

    return _SPELT.sub(beside, text)


def _label(name: str) -> str:
    return re.sub(r"[<>|&\s]+", " ", name).strip()

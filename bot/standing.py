"""What a person is in a place, asked of Slack and remembered for a moment: who may decide there.

A moment only: whoever was deactivated, or taken out of a group, may not decide ten minutes later.
"""

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import structlog

from bot.incoming import InstallIdentity
from bot.install import InstallBook
from bot.outcome import TROUBLE
from bot.remembering import Remembered
from bot.slack import Slack
from bot.surfaces import LOOK_SECONDS, Surfaces
from router.ports import Standing
from store import database

_log = structlog.get_logger(__name__)

_SECONDS = 50.0
_TROUBLE: tuple[type[Exception], ...] = (*TROUBLE, TimeoutError, *database.ERRORS)


class Standings:
    """Finds out what people are. `of` never raises: what it cannot find out is `known=False`."""

    def __init__(self, slack: Slack, book: InstallBook) -> None:
        self._surfaces = Surfaces(slack)
        self._book = book
        self._people: Remembered[Mapping[str, Any]] = Remembered()
        self._groups: Remembered[frozenset[str]] = Remembered()
        self._members: Remembered[bool] = Remembered()

    def is_remembered(self, install_id: UUID, user_id: str) -> bool:
        """Whether the person's record need not be asked for."""
        return self._people.get((install_id, user_id)) is not None

    async def of(
        self,
        install_id: UUID,
        channel_id: str,
        user_id: str,
        groups: frozenset[str],
        *,
        inside: bool | None = None,
    ) -> Standing:
        """What a person is in a channel; `inside` where that is known, or does not matter.

        All questions go at once, so that it takes no longer than the slowest of them.
        """
        if inside is None and channel_id.startswith("D"):
            inside = True
        try:
            return await self._found_out(install_id, channel_id, user_id, groups, inside)
        except* _TROUBLE as errors:
            _log.warning("standing.unknown", user=user_id, errors=_names(errors))
        return Standing(user_id, user_id, known=False)

    async def _found_out(
        self,
        install_id: UUID,
        channel_id: str,
        user_id: str,
        groups: frozenset[str],
        inside: bool | None,  # noqa: FBT001  # None is its third value
    ) -> Standing:
        async with asyncio.timeout(2 * LOOK_SECONDS), asyncio.TaskGroup() as tasks:
            install = tasks.create_task(self._book.get(install_id))
            record = tasks.create_task(self._record(install_id, user_id))
            joined = {g: tasks.create_task(self._in_group(install_id, g)) for g in groups}
            member = (
                tasks.create_task(self._is_member(install_id, channel_id, user_id))
                if inside is None
                else None
            )
        known = install.result()
        if known is None:
            return Standing(user_id, user_id, known=False)
        return _standing(
            user_id,
            record.result(),
            known.identity,
            inside=bool(inside) if member is None else member.result(),
            groups=frozenset(g for g, people in joined.items() if user_id in people.result()),
        )

    async def _record(self, install_id: UUID, user_id: str) -> Mapping[str, Any]:
        return await self._people.ask(
            (install_id, user_id), lambda: self._surfaces.record(install_id, user_id), _SECONDS
        )

    async def _in_group(self, install_id: UUID, group: str) -> frozenset[str]:
        return await self._groups.ask(
            (install_id, group), lambda: self._surfaces.in_group(install_id, group), _SECONDS
        )

    async def _is_member(self, install_id: UUID, channel_id: str, user_id: str) -> bool:
        return await self._members.ask(
            (install_id, channel_id, user_id),
            lambda: self._surfaces.is_member(install_id, channel_id, user_id),
            _SECONDS,
        )


def _standing(
    user_id: str,
    record: Mapping[str, Any],
    install: InstallIdentity,
    *,
    inside: bool,
    groups: frozenset[str],
) -> Standing:
    """docs.slack.dev/reference/objects/user-object; a record that names no team proves nothing."""
    organisation = (record.get("enterprise_user") or {}).get("enterprise_id")
    theirs = {record.get("team_id"), organisation} - {None, ""}
    ours = {install.tenant_id, install.team_id, install.enterprise_id}
    return Standing(
        user_id=user_id,
        name=name_of(record) or user_id,
        known=bool(theirs),
        external=bool(record.get("is_stranger")) or not theirs & ours,
        guest=bool(record.get("is_restricted") or record.get("is_ultra_restricted")),
        bot=bool(record.get("is_bot")) or user_id == "USLACKBOT",
        deactivated=bool(record.get("deleted")),
        admin=any(record.get(f"is_{rank}") for rank in ("admin", "owner", "primary_owner")),
        in_channel=inside,
        groups=groups,
    )


def name_of(record: Mapping[str, Any]) -> str:
    """What a person is called, by Slack's record of them; empty where it does not say."""
    profile = record.get("profile") or {}
    name = profile.get("display_name") or profile.get("real_name") or record.get("name")
    return str(name or "")


def _names(errors: BaseExceptionGroup[Exception]) -> list[str]:
    return sorted({f"{type(e).__name__}: {e}" for e in errors.exceptions})

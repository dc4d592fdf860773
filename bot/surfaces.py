"""Slack's methods around what people press: forms, homes, and what a person is in a place.

Whoever pressed waits, and a trigger lives 3 s (docs.slack.dev/interactivity/handling-user-interaction),
so every call has a short deadline of its own; past it the call is SlackUnclear.
"""

import asyncio
from typing import Any
from uuid import UUID

from bot.outcome import SlackRefused, SlackUnclear
from bot.slack import Slack

LOOK_SECONDS = 0.8
_OPEN_SECONDS = 2.0
_SHOW_SECONDS = 4.0  # nobody's trigger waits for it
_PAGE = 1_000
_MOST_PAGES = 20
_NO_SUCH_GROUP = frozenset({"no_such_subteam", "subteam_not_found"})


class Surfaces:
    """Raises as every call to Slack does (bot.outcome)."""

    def __init__(self, slack: Slack) -> None:
        self._slack = slack

    async def open(self, install_id: UUID, trigger_id: str, view: dict[str, Any]) -> str:
        """Shows a form to whom the trigger belongs; its id.

        docs.slack.dev/reference/methods/views.open
        """
        answer = await self._ask(
            _OPEN_SECONDS, install_id, "views_open", trigger_id=trigger_id, view=view
        )
        return str(answer["view"]["id"])

    async def update(self, install_id: UUID, view_id: str, view: dict[str, Any]) -> None:
        """Shows something else in a form (docs.slack.dev/reference/methods/views.update)."""
        await self._ask(_OPEN_SECONDS, install_id, "views_update", view_id=view_id, view=view)

    async def publish(self, install_id: UUID, user_id: str, view: dict[str, Any]) -> None:
        """Shows a person's home tab (docs.slack.dev/reference/methods/views.publish)."""
        self._slack.circuits.check(install_id)
        await self._ask(_SHOW_SECONDS, install_id, "views_publish", user_id=user_id, view=view)

    async def suggest(
        self, install_id: UUID, channel_id: str, title: str | None, prompts: list[dict[str, str]]
    ) -> None:
        """Sets what a direct message suggests to say; without `thread_ts`, which agents may not give.

        docs.slack.dev/reference/methods/assistant.threads.setSuggestedPrompts
        """
        self._slack.circuits.check(install_id)
        await self._ask(
            _SHOW_SECONDS,
            install_id,
            "assistant_threads_setSuggestedPrompts",
            channel_id=channel_id,
            prompts=prompts,
            title=title,
        )

    async def address(self, install_id: UUID) -> str:
        """Where the install's workspace is on the web, with a slash at the end.

        docs.slack.dev/reference/methods/auth.test
        """
        self._slack.circuits.check(install_id)
        answer = await self._ask(LOOK_SECONDS, install_id, "auth_test")
        return str(answer.get("url") or "")

    async def in_group(self, install_id: UUID, group: str) -> frozenset[str]:
        """Who is in a user group; nobody where it is gone or disabled.

        docs.slack.dev/reference/methods/usergroups.users.list
        """
        self._slack.circuits.check(install_id)
        try:
            answer = await self._ask(
                LOOK_SECONDS, install_id, "usergroups_users_list", usergroup=group
            )
        except SlackRefused as refused:
            if refused.error in _NO_SUCH_GROUP:
                return frozenset()
            raise
        return frozenset(map(str, answer.get("users") or ()))

    async def is_member(self, install_id: UUID, channel_id: str, user_id: str) -> bool:
        """Whether somebody is in a channel (docs.slack.dev/reference/methods/conversations.members).

        SlackUnclear for a channel with more members than can be read in time.
        """
        self._slack.circuits.check(install_id)
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            answer = await self._ask(
                LOOK_SECONDS,
                install_id,
                "conversations_members",
                channel=channel_id,
                limit=_PAGE,
                cursor=cursor,
            )
            if user_id in (answer.get("members") or ()):
                return True
            cursor = (answer.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                return False
        raise SlackUnclear("too many members")

    async def channel(self, install_id: UUID, channel_id: str) -> dict[str, Any]:
        """Slack's record of a conversation (docs.slack.dev/reference/methods/conversations.info)."""
        self._slack.circuits.check(install_id)
        answer = await self._ask(LOOK_SECONDS, install_id, "conversations_info", channel=channel_id)
        return dict(answer["channel"])

    async def permalink(self, install_id: UUID, channel_id: str, ts: str) -> str:
        """Where a message is found (docs.slack.dev/reference/methods/chat.getPermalink)."""
        self._slack.circuits.check(install_id)
        answer = await self._ask(
            LOOK_SECONDS, install_id, "chat_getPermalink", channel=channel_id, message_ts=ts
        )
        return str(answer.get("permalink") or "")

    async def record(self, install_id: UUID, user_id: str) -> dict[str, Any]:
        """Slack's record of a person, in time or not at all."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                return dict(await self._slack.user(install_id, user_id))
        except TimeoutError as late:
            raise SlackUnclear("TimeoutError") from late

    async def _ask(self, seconds: float, install_id: UUID, method: str, **arguments: Any) -> Any:
        try:
            async with asyncio.timeout(seconds):
                return await self._slack.ask(install_id, method, **arguments)
        except TimeoutError as late:
            raise SlackUnclear("TimeoutError") from late

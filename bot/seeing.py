"""Who can see a channel, asked of Slack and remembered for a moment: no agent is a way around it."""

from typing import Any
from uuid import UUID

from bot.budget import Budgets
from bot.outcome import SlackLimited
from bot.remembering import Remembered
from bot.standing import Standings
from bot.surfaces import Surfaces
from router import clock

_SECONDS = 50.0
_LOOK_SECONDS = 0.25
_INFO = "conversations.info"


class Seeing:
    """Raises as every call to Slack does (bot.outcome); whoever calls sets how long it may take."""

    def __init__(self, surfaces: Surfaces, budgets: Budgets, standings: Standings) -> None:
        self._surfaces = surfaces
        self._budgets = budgets
        self._standings = standings
        self._channels: Remembered[dict[str, Any]] = Remembered()

    async def channel(self, install_id: UUID, channel_id: str) -> dict[str, Any]:
        """Slack's record of a channel, not older than a minute."""
        return await self._channels.ask(
            (install_id, channel_id), lambda: self._ask(install_id, channel_id), _SECONDS
        )

    async def may_see(self, install_id: UUID, channel_id: str, user_id: str) -> bool:
        """A public channel is open to the people of the workspace, any other to those in it."""
        channel = await self.channel(install_id, channel_id)
        standing = await self._standings.of(
            install_id, channel_id, user_id, frozenset(), inside=False
        )
        if not standing.known or standing.deactivated or standing.bot:
            return False
        if is_public(channel) and not standing.external and not standing.guest:
            return True
        return await self._surfaces.is_member(install_id, channel_id, user_id)

    async def _ask(self, install_id: UUID, channel_id: str) -> dict[str, Any]:
        while not await self._budgets.take(install_id, _INFO):
            await clock.sleep(clock.jittered(_LOOK_SECONDS))
        try:
            return await self._surfaces.channel(install_id, channel_id)
        except SlackLimited as limited:
            await self._budgets.empty(install_id, _INFO, limited.retry_after)
            raise


def is_public(channel: dict[str, Any]) -> bool:
    """docs.slack.dev/reference/objects/conversation-object; what it does not say counts against it."""
    return channel.get("is_channel") is True and channel.get("is_private") is False

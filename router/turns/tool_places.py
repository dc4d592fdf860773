"""Where an agent's own calls to Slack may go, by its settings and by who asked.

No agent is a way around who may see what: a channel that is not public is read and written only for
people who are in it, and where it is not theirs it is told of as if it did not exist. The conversation
that the agent is in needs no such look: who speaks there sees it.
"""

import re
from dataclasses import dataclass
from uuid import UUID

from router import outside
from router.errors import NotReadable
from router.ports import Channel
from router.turns.engine import Engine, Holding
from router.turns.tool_results import Refused
from store.inputs import Input

_PERSON = re.compile(r"@.*|[DUW][A-Z0-9]+")


@dataclass(frozen=True, slots=True)
class Askers:
    """Whom a turn answers: people in Slack, by id, and the names of those outside."""

    users: list[str]
    outside: list[str]


def askers_of(asked: list[Input]) -> Askers:
    """Whom a turn answers, by the messages that it is about."""
    others = {outside.is_from(i.body) for i in asked} - {""}
    users = {str(i.body.get("user")) for i in asked if not outside.is_from(i.body)}
    return Askers(sorted(users), sorted(others))


class Places:
    """Finds channels for the calls of one turn. Raises Refused for what is not to be had."""

    def __init__(self, engine: Engine, holding: Holding, askers: Askers) -> None:
        self._engine = engine
        self._held = holding.held
        self._settings = holding.behaviour.slack_tools
        self._askers = askers

    @property
    def install_id(self) -> UUID:
        """The Slack app through which the session speaks. Refused where it is not in Slack."""
        if self._held.slack_install_id is None:
            raise Refused("not_in_slack")
        return self._held.slack_install_id

    @property
    def own(self) -> Channel:
        """The channel of the own thread, of which nothing has to be found out."""
        own = str(self._held.slack_channel_id)
        return Channel(own, own, public=False, inside=True)

    async def channel(self, wanted: str | None) -> Channel:
        """The channel that is meant, None for the own one, if the agent may go there."""
        own = self.own.id
        if wanted is None or wanted == own:
            return await self._own_with_its_name()
        if _PERSON.fullmatch(wanted):
            raise Refused("direct_message")
        channel = await self._found(wanted)
        if channel.id == own:
            return channel
        if not _allows(self._settings.channels, channel):
            raise Refused("not_allowed" if channel.public else "channel_not_found", wanted)
        if not channel.inside:
            raise Refused("not_in_channel", wanted)
        if not await self._all_see(channel):
            raise Refused("channel_not_found", wanted)
        return channel

    def check_outside(self, channel: Channel) -> None:
        """Who speaks from outside of Slack sees the own thread, and nothing else of the channel."""
        if channel.id == self._held.slack_channel_id and self._askers.outside:
            raise Refused("outside")

    async def _own_with_its_name(self) -> Channel:
        try:
            return await self._engine.channels.channel(self.install_id, self.own.id)
        except NotReadable:  # which refuses nothing here
            return self.own

    async def _found(self, wanted: str) -> Channel:
        try:
            return await self._engine.channels.channel(self.install_id, wanted)
        except NotReadable as error:
            raise Refused(error.reason, wanted, retry_after=error.retry_after) from error

    async def _all_see(self, channel: Channel) -> bool:
        users = self._askers.users
        if not channel.public and (self._askers.outside or not users):
            return False
        return await self._engine.channels.may_see(self.install_id, channel.id, users)


def _allows(allowed: object, channel: Channel) -> bool:
    """Names, and `all`, are for public channels only."""
    if allowed == "all":
        return channel.public
    names = allowed if isinstance(allowed, tuple) else ()
    called = {str(name).removeprefix("#").casefold() for name in names}
    return channel.id in names or (channel.public and channel.name.casefold() in called)

"""What a person's home tab is made of: read from the rows, judged by what Slack says they are.

Shown is only what they may decide, by the policy that is judged again at the click; what cannot be
found out is left out, and said. No connection is held while Slack is asked.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog

from bot import home
from bot.conversation import SlackConversation
from bot.home import Content, Home, Item
from bot.install import InstallBook, KnownInstall
from bot.outcome import SlackAway, SlackLimited, SlackRefused, SlackUnclear
from bot.plain import Json
from bot.surfaces import Surfaces
from router import clock, policy
from router.notices import Trouble, words
from router.ports import Standing
from store import approvals, database, homes
from store.approvals import Approval
from store.database import Pool
from store.homes import Recent, Waiting

_log = structlog.get_logger(__name__)

_MOST_LOOKS = 12  # channels and groups that one page asks Slack about
_ADDRESS_SECONDS = 3600.0
_TROUBLE = (SlackRefused, SlackLimited, SlackAway, SlackUnclear)
_NOT_KNOWN = "Slack did not say just now who you are. Press Refresh in a minute."


@dataclass(frozen=True, slots=True)
class _Look:
    """What of a person depends on a place: whether they are in the channel, in which of the groups."""

    channel: str
    groups: frozenset[str]
    inside: bool | None


class HomeReader:
    """Makes home tabs. Raises the database's errors; where Slack does not answer, less is shown."""

    def __init__(
        self, pool: Pool, book: InstallBook, surfaces: Surfaces, conversation: SlackConversation
    ) -> None:
        self._pool = pool
        self._book = book
        self._surfaces = surfaces
        self._conversation = conversation
        self._addresses: dict[UUID, tuple[float, str]] = {}

    async def view(self, install_id: UUID, user_id: str) -> Json | None:
        """The home tab of a person as it is now; None for whom there is none.

        People from outside whom the install keeps out, and guests that it does not let begin, are
        shown a sentence and nothing that anybody said or asked.
        """
        install = await self._book.get(install_id)
        if install is None:
            return None
        me = await self._standing(install_id, user_id, _Look("", frozenset(), inside=False))
        if not me.known:
            return home.notice(_NOT_KNOWN)
        if me.bot or me.deactivated:
            return None
        person = await self._conversation.person(install_id, user_id)
        if person.outsider:
            return home.notice(words(Trouble.STRANGER))
        if not person.welcome:
            return home.notice(words(Trouble.GUEST))
        content = await self._content(install, user_id, me)
        return home.page(content, await self._home(install))

    async def _home(self, install: KnownInstall) -> Home:
        row = install.row
        address = await self._address(row.id)
        return Home(address, row.bot_user_id, row.api_app_id, row.team_id, clock.now())

    async def _content(self, install: KnownInstall, user_id: str, me: Standing) -> Content:
        recent, all_sessions, candidates = await self._rows(install, user_id, me)
        mine, partly = await self._mine(install.row.id, user_id, me, candidates)
        shown = mine[: home.MOST_WAITING]
        return Content(
            waiting=await self._items(shown),
            all_waiting=len(mine),
            sessions=recent,
            all_sessions=all_sessions,
            partly=partly,
        )

    async def _rows(
        self, install: KnownInstall, user_id: str, me: Standing
    ) -> tuple[list[Recent], int, list[Waiting]]:
        rules = [f"user:{user_id}", "channel", *(["admins"] if me.admin else [])]
        whose = (install.row.workspace_id, install.row.id, user_id)
        async with database.borrow(self._pool) as connection:
            recent, found = await homes.sessions(connection, *whose, home.MOST_SESSIONS)
            asked = [
                *await homes.approvals(connection, *whose, rules),
                *await homes.questions(connection, *whose, rules),
            ]
        return recent, found, sorted(asked, key=lambda one: one.asked.asked_at)

    async def _items(self, shown: list[Waiting]) -> list[Item]:
        """With who is for it already, where it takes several."""
        several = [
            one.asked
            for one in shown
            if isinstance(one.asked, Approval) and int(one.asked.policy.get("quorum", 1)) > 1
        ]
        voters = {}
        if several:
            async with database.borrow(self._pool) as connection:
                voters = {row.id: await approvals.voters(connection, row) for row in several}
        return [Item(one, voters.get(one.asked.id, ())) for one in shown]

    # -------------------------------------------------------------- who may decide

    async def _mine(
        self, install_id: UUID, user_id: str, me: Standing, candidates: Sequence[Waiting]
    ) -> tuple[list[Waiting], bool]:
        """What the person may decide; and whether something could not be found out."""
        looks = {one.asked.id: _looks(one, user_id, me) for one in candidates}
        wanted = list(dict.fromkeys(look for some in looks.values() for look in some))
        async with asyncio.TaskGroup() as tasks:
            asked = {
                look: tasks.create_task(self._standing(install_id, user_id, look))
                for look in wanted[:_MOST_LOOKS]
            }
        known = {look: task.result() for look, task in asked.items()}
        mine = []
        partly = len(wanted) > len(known)
        for one in candidates:
            people = [me, *(known[look] for look in looks[one.asked.id] if look in known)]
            if any(_may(one, person) for person in people):
                mine.append(one)
            elif not all(person.known for person in people):
                partly = True
        return mine, partly

    async def _standing(self, install_id: UUID, user_id: str, look: _Look) -> Standing:
        return await self._conversation.standings.of(
            install_id, look.channel, user_id, look.groups, inside=look.inside
        )

    async def _address(self, install_id: UUID) -> str:
        """Where the workspace is on the web, remembered for an hour; empty where Slack cannot say."""
        until, address = self._addresses.get(install_id, (0.0, ""))
        if until > clock.monotonic():
            return address
        try:
            address = await self._surfaces.address(install_id)
        except _TROUBLE as error:
            _log.info("home.without_links", error=f"{type(error).__name__}: {error}")
            return ""
        self._addresses[install_id] = (clock.monotonic() + _ADDRESS_SECONDS, address)
        return address


def _may(one: Waiting, person: Standing) -> bool:
    return policy.objection(one.asked.policy["who"], one.asked.requesters, person) is None


def _looks(one: Waiting, user_id: str, me: Standing) -> list[_Look]:
    """What has to be asked of Slack before it is known whether that waits for this person.

    Nothing for whom no channel and no group would make a difference. A direct message with our bot
    has one member, who began its sessions.
    """
    who = one.asked.policy["who"]
    why = policy.objection(who, one.asked.requesters, me)
    if why != "not_named":
        return []
    groups = policy.groups_of(who)
    channels = [c for c in (one.home, one.elsewhere) if c] if "channel" in who else []
    looks = [_look(channel, groups, mine=one.whose == user_id) for channel in channels]
    return looks or ([_Look("", groups, inside=False)] if groups else [])


def _look(channel: str, groups: frozenset[str], *, mine: bool) -> _Look:
    return _Look(channel, groups, inside=mine if channel.startswith("D") else None)

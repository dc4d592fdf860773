"""What the router asks of Slack beside durable messages: status, people, the parts of a reply."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

import structlog

from bot import cutting, render
from bot.budget import Budgets
from bot.incoming import InstallIdentity
from bot.install import InstallBook
from bot.outcome import SlackAway, SlackLimited, SlackRefused, SlackUnclear
from bot.slack import Slack
from bot.standing import Standings
from router import clock
from router.behaviour import Mentions
from router.loops import Stop, every
from router.ports import Person, Standing, Status, Thread
from store import database

_log = structlog.get_logger(__name__)

_SET_STATUS = "agents.sessions.setStatus"
_NO_PERMIT_SECONDS = 0.5  # each look costs a trip, and a busy workspace wants hundreds a second
_PEOPLE = 10_000
_PERSON_SECONDS = 600.0
_TROUBLE: tuple[type[Exception], ...] = (
    SlackRefused,
    SlackLimited,
    SlackAway,
    SlackUnclear,
    *database.ERRORS,
)


class SlackConversation:
    """Implements `router.ports.Conversation`. `standings`: what it knows of people, to be shared."""

    def __init__(
        self, slack: Slack, book: InstallBook, budgets: Budgets, deliver: Callable[[], None]
    ) -> None:
        self._slack = slack
        self._book = book
        self._budgets = budgets
        self._deliver = deliver
        self.standings = Standings(slack, book)
        self._alarm = asyncio.Event()
        self._none_until: dict[UUID, float] = {}
        self._wanted: defaultdict[UUID, dict[Thread, tuple[Status, str | None]]]
        self._wanted = defaultdict(dict)
        self._under_way: dict[Thread, asyncio.Event] = {}
        self._people: dict[tuple[UUID, str], tuple[float, Person]] = {}

    async def run(self, stop: Stop) -> None:
        """Shows what is wanted, as far as there are permits, until `stop`."""
        await every(1.0, self.show_wanted, stop, wake=self._alarm)

    async def show_status(self, thread: Thread, status: Status, title: str | None) -> None:
        """Shows what the agent is doing, now or soon; best effort, and only the newest counts."""
        self._wanted[thread.install_id][thread] = (status, title)
        self._alarm.set()

    async def show_wanted(self) -> None:
        """Shows what is wanted now and what there was no permit for before; ends go first."""
        now = clock.monotonic()
        asking = [i for i in self._wanted if self._none_until.get(i, 0.0) <= now]
        async with asyncio.TaskGroup() as tasks:
            for install_id in asking:
                await self._show_all(install_id, tasks)

    async def _show_all(self, install_id: UUID, tasks: asyncio.TaskGroup) -> None:
        """An install's, as far as there are permits: without any it rests, and no other one does."""
        wanted = self._wanted[install_id]
        for thread in sorted(wanted, key=lambda thread: wanted[thread][0] == "processing"):
            if not await self._may_show(install_id):
                self._none_until[install_id] = clock.monotonic() + _NO_PERMIT_SECONDS
                return
            newest = wanted.pop(thread, None)  # somebody else may have shown it meanwhile
            if newest is not None:
                tasks.create_task(self._in_turn(thread, newest))
        if not self._wanted[install_id]:
            del self._wanted[install_id]
        self._none_until.pop(install_id, None)

    async def _may_show(self, install_id: UUID) -> bool:
        """Without the database there is no permit: what is wanted stays so, and a stop goes on."""
        try:
            return await self._budgets.take(install_id, _SET_STATUS)
        except database.ERRORS as error:
            _log.warning("status.later", error=f"{type(error).__name__}: {error}")
            return False

    async def _in_turn(self, thread: Thread, newest: tuple[Status, str | None]) -> None:
        """A thread's statuses reach Slack one after the other, or a late one would stay the last."""
        under_way = self._under_way.get(thread)
        done = self._under_way[thread] = asyncio.Event()
        try:
            if under_way is not None:
                await under_way.wait()
            await self._show(thread, *newest)
        finally:
            done.set()
            if self._under_way[thread] is done:
                del self._under_way[thread]

    async def _show(self, thread: Thread, status: Status, title: str | None) -> None:
        """Shows a status; what Slack may take later stays wanted unless there is a newer one.

        A thread whose end is not shown would say for an hour that the agent works.
        """
        try:
            await self._set(thread, status, title)
        except SlackRefused as refused:
            _log.info("status.not_shown", status=status, error=refused.error)
        except _TROUBLE as error:
            self._wanted[thread.install_id].setdefault(thread, (status, title))
            _log.info("status.later", status=status, error=f"{type(error).__name__}: {error}")

    async def _set(self, thread: Thread, status: Status, title: str | None) -> None:
        try:
            await self._slack.set_status(
                thread.install_id, thread.channel_id, thread.root_ts, status, title
            )
        except SlackLimited as limited:
            await self._budgets.empty(thread.install_id, _SET_STATUS, limited.retry_after)
            raise

    async def person(self, install_id: UUID, user_id: str) -> Person:
        """Who that is, remembered for ten minutes; the bare id when Slack cannot say."""
        remembered = self._people.get((install_id, user_id))
        if remembered and remembered[0] > clock.monotonic():
            return remembered[1]
        try:
            record = await self._slack.user(install_id, user_id)
            install = await self._book.get(install_id)
        except _TROUBLE as error:
            _log.info("person.unknown", user=user_id, error=f"{type(error).__name__}: {error}")
            return Person(user_id, user_id)
        profile = record.get("profile") or {}
        name = profile.get("display_name") or profile.get("real_name") or record.get("name")
        guest = bool(record.get("is_restricted") or record.get("is_ultra_restricted"))
        allowed = install is None or install.row.allow_guests
        person = Person(
            user_id,
            str(name or user_id),
            welcome=allowed or not guest,
            outsider=install is not None and _is_outsider(record, install.identity),
        )
        if len(self._people) >= _PEOPLE:
            self._people.pop(next(iter(self._people)))
        self._people[install_id, user_id] = (clock.monotonic() + _PERSON_SECONDS, person)
        return person

    async def standing(
        self, install_id: UUID, channel_id: str, user_id: str, groups: frozenset[str]
    ) -> Standing:
        """What a person may be trusted with in a channel; `known=False` where Slack cannot say."""
        return await self.standings.of(install_id, channel_id, user_id, groups)

    def parts(self, markdown: str, *, after: str = "", mentions: Mentions = "none") -> list[str]:
        """Agent text, made inert and split into the messages it will be posted as.

        `after`: what of the same answer stands in earlier messages; code or a table that it began
        goes on. `mentions`: those that stay.
        """
        if not markdown.strip():
            return []
        return render.parts(cutting.opening(after, markdown) + markdown, mentions=mentions)

    def deliveries_wait(self) -> None:
        """Wakes the delivery of this process."""
        self._deliver()


def _is_outsider(record: Mapping[str, Any], install: InstallIdentity) -> bool:
    """As `bot.events` judges who speaks, by the person's record: an unknown team means ours.

    docs.slack.dev/reference/objects/user-object
    """
    team = record.get("team_id")
    organisation = (record.get("enterprise_user") or {}).get("enterprise_id")
    theirs = {team, organisation} - {None}
    if not theirs or theirs & {install.tenant_id, install.team_id, install.enterprise_id}:
        return False
    if install.external_policy == "allow_list":
        return install.allowed_external.isdisjoint(theirs | {record.get("id")})
    return install.external_policy == "reject"

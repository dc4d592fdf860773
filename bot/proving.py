"""Whether what was pressed is what it says: the row, its workspace, its channel, its very message.

The value of a button only names a row. That it was pressed where that row's card stands is proven
here, against the signed payload and what was written down when the card was posted.
"""

from dataclasses import dataclass
from uuid import UUID

from bot import cards
from bot.install import KnownInstall
from bot.presses import FROM_HOME, Press, Submission
from router import humans
from router.humans import CHANNEL, Asked, Ref
from store import approvals, calls, database, escalations, homes, outbox
from store.database import Connection, Pool
from store.escalations import Escalation
from store.outbox import Place

_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class Proven:
    """What a press or a form is about, and where its card stands.

    `from_home`: pressed on somebody's home tab, so that its cards stand in `others` as well as in
    `place`; `not_in`: the direct messages among these that are not that person's.
    """

    ref: Ref
    asked: Asked
    place: Place
    rest: str = ""
    from_home: bool = False
    others: tuple[Place, ...] = ()
    not_in: frozenset[str] = frozenset()

    @property
    def who(self) -> list[str]:
        """Whom the stored policy lets decide."""
        return list(self.asked.policy["who"])

    @property
    def is_elsewhere(self) -> bool:
        """Whether the card stands in the escalation channel."""
        return self.place.slack_conversation_key.startswith("escalation:")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A turn that waits for people, what it waits for, and where its messages stand."""

    agent_id: UUID
    turn_id: UUID
    asked: list[Asked]
    place: Place


async def of_press(pool: Pool, press: Press, install: KnownInstall) -> Proven | None:
    """What was pressed; None where it is not what it says."""
    value, _, rest = press.value.partition(":")
    ref = _ref(value, press.action.partition(".")[0])
    if ref is None:
        return None
    async with database.within(pool, _SECONDS) as connection:
        asked = await _asked(connection, ref, install)
        if asked is None:
            return None
        for place, where in await _places(connection, asked):
            key = humans.post_key(ref.kind, ref.id, ref.card_no, where)
            if await _stands(connection, place, key, press, install):
                return Proven(ref, asked, place, rest)
    return None


async def of_home(pool: Pool, press: Press, install: KnownInstall) -> Proven | None:
    """What was pressed on a home tab of ours, as Slack says; None where this install has no card."""
    value, _, rest = press.value.partition(":")
    ref = _ref(value, press.action.partition(".")[0])
    if ref is None:
        return None
    async with database.within(pool, _SECONDS) as connection:
        return await _at_home(connection, ref, rest, press.user_id, install)


async def _at_home(
    connection: Connection, ref: Ref, rest: str, user_id: str, install: KnownInstall
) -> Proven | None:
    asked = await _asked(connection, ref, install)
    if asked is None:
        return None
    found = [place for place, _ in await _places(connection, asked)]
    here = [place for place in found if place.install_id == install.row.id]
    if not here:
        return None
    direct = {place.channel_id for place in here if place.channel_id.startswith("D")}
    if direct and await homes.whose(connection, ref.deployed_agent_id, asked.session_id) == user_id:
        direct = set()
    first, *others = here
    return Proven(
        ref,
        asked,
        first,
        rest,
        from_home=True,
        others=tuple(others),
        not_in=frozenset(direct),
    )


async def of_form(pool: Pool, form: Submission, install: KnownInstall) -> Proven | None:
    """What a form is about; where it was opened was proven then, and its metadata is ours."""
    value, _, where = form.value.removesuffix(FROM_HOME).partition(":")
    ref = _ref(value, form.form.partition(".")[0])
    if ref is None:
        return None
    async with database.within(pool, _SECONDS) as connection:
        if form.home:
            return await _at_home(connection, ref, "", form.user_id, install)
        asked = await _asked(connection, ref, install)
        places = await _places(connection, asked) if asked is not None else []
    for place, name in places:
        if asked is not None and name == (f":{where}" if where else ""):
            return Proven(ref, asked, place) if place.install_id == install.row.id else None
    return None


def metadata(proven: Proven) -> str:
    """What a form about it carries."""
    if proven.from_home:
        return proven.ref.opaque() + FROM_HOME
    return proven.ref.opaque() + (CHANNEL if proven.is_elsewhere else "")


async def of_turn(pool: Pool, press: Press, install: KnownInstall) -> Waiting | None:
    """The turn that a waiting message's button names; None where it is not what it says."""
    try:
        agent_id, turn_id = cards.unpacked(press.value)
    except ValueError:
        return None
    async with database.within(pool, _SECONDS) as connection:
        asked: list[Asked] = [
            *await approvals.of_turn(connection, agent_id, turn_id),
            *await escalations.of_turn(connection, agent_id, turn_id),
        ]
        if not asked or asked[0].workspace_id != install.row.workspace_id:
            return None
        place = await calls.place(connection, agent_id, asked[0].session_id)
        key = f"card:waiting:{turn_id}"
        if place is None or not await _stands(connection, place, key, press, install):
            return None
    return Waiting(agent_id, turn_id, asked, place)


# ------------------------------------------------------------------ one by one


def _ref(value: str, kind: str) -> Ref | None:
    try:
        ref = Ref.parse(value)
    except ValueError:
        return None
    return ref if ref.kind == kind else None


async def _asked(connection: Connection, ref: Ref, install: KnownInstall) -> Asked | None:
    """The row, if it has that card and belongs to the workspace of the install that Slack named."""
    found: Asked | None
    if ref.kind == "approval":
        found = await approvals.get(connection, ref.deployed_agent_id, ref.id)
    else:
        found = await escalations.get(connection, ref.deployed_agent_id, ref.id)
    if found is None or found.workspace_id != install.row.workspace_id:
        return None
    return found if 0 < ref.card_no <= humans.card_of(found) else None


async def _places(connection: Connection, asked: Asked) -> list[tuple[Place, str]]:
    home = await calls.place(connection, asked.deployed_agent_id, asked.session_id)
    return [*([(home, "")] if home is not None else []), *_elsewhere(asked)]


def _elsewhere(asked: Asked) -> list[tuple[Place, str]]:
    there = humans.channel_of(asked) if isinstance(asked, Escalation) else None
    return [(there, CHANNEL)] if there is not None else []


async def _stands(
    connection: Connection, place: Place, key: str, press: Press, install: KnownInstall
) -> bool:
    """Whether the card of that key is the message that was pressed.

    A press may come before the post is written down: then it has to be a message of ours there.
    """
    if (place.install_id, place.channel_id) != (install.row.id, press.channel_id):
        return False
    ts = await outbox.ts_of(connection, place, key)
    if ts is not None:
        return ts == press.message_ts
    return press.ours and press.thread_ts in (place.thread_ts, place.thread_ts or press.message_ts)

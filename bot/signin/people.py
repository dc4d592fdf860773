"""Who can sign in: the members of the demo's workspace, among them people of the local Slack."""

from dataclasses import dataclass
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

from bot.local import seed
from store import members
from store.database import Connection

# The people of the local Slack who are members, one for each role: by their names there.
_ROLES: Final = {"grace": "viewer", "ada": "member", "admin": "admin", "owner": "owner"}
_ORDER = tuple(_ROLES.values())
_HUES = 7  # people have the colours that the local Slack gives them


@dataclass(frozen=True, slots=True)
class Person:
    """A member. `name` is short, `called` what people read, `hue` their colour (0 to 7).

    Who was added by hand is called by their id.
    """

    user_id: str
    name: str
    called: str
    role: str
    hue: int = 0

    @property
    def email(self) -> str | None:
        """An address for who is of the local Slack."""
        return None if self.name == self.user_id else f"{self.name}@example.com"


@dataclass(frozen=True, slots=True)
class _Known:
    name: str
    real_name: str
    hue: int = 0


_KNOWN: Final = {
    str(uuid5(NAMESPACE_URL, f"slack:{user.team_id}/{user.id}")): _Known(
        user.name, user.real_name, 1 + place % _HUES
    )
    for place, user in enumerate(seed.users(seed.TEAM_ID))
    if user.name in _ROLES
}


async def add(connection: Connection, workspace_id: UUID) -> None:
    """Makes members of the local Slack's people; who is one already keeps their role."""
    there = {member.user_id for member in await members.page(connection, workspace_id)}
    for user_id, known in _KNOWN.items():
        if user_id not in there:
            await members.put_member(connection, workspace_id, user_id, _ROLES[known.name])


async def every(connection: Connection, workspace: str) -> list[Person]:
    """The members of the workspace of that name, those who may do least first."""
    found = await members.find_workspace(connection, workspace)
    if found is None:
        return []
    people = [_person(one.user_id, one.role) for one in await members.page(connection, found.id)]
    return sorted(people, key=lambda one: (_ORDER.index(one.role), one.called))


def _person(user_id: str, role: str) -> Person:
    known = _KNOWN.get(user_id, _Known(user_id, user_id))
    return Person(user_id, known.name, known.real_name, role, known.hue)

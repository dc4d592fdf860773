"""The reactions to a message (docs.slack.dev/reference/methods/reactions.add)."""

import re

from bot.local.model import Json, SlackError

# Slack names both errors and states neither number; these are what people have met.
MAX_NAMES = 50
MAX_NAMES_OF_ONE = 23
_NAME = re.compile(r"[a-z0-9_+'-]{1,100}(::skin-tone-[2-6])?\Z")


def with_reaction(reactions: list[Json], user: str, name: str) -> list[Json]:
    """The reactions with one more; SlackError as reactions.add has it."""
    _check(name)
    users = _users(reactions)
    if user in users.get(name, []):
        raise SlackError("already_reacted")
    if sum(user in those for those in users.values()) >= MAX_NAMES_OF_ONE:
        raise SlackError("too_many_reactions")
    if name not in users and len(users) >= MAX_NAMES:
        raise SlackError("too_many_emoji")
    return _listed(users | {name: [*users.get(name, []), user]})


def without_reaction(reactions: list[Json], user: str, name: str) -> list[Json]:
    """The reactions without one; SlackError as reactions.remove has it."""
    _check(name)
    users = _users(reactions)
    if user not in users.get(name, []):
        raise SlackError("no_reaction")
    return _listed(users | {name: [one for one in users[name] if one != user]})


def _check(name: str) -> None:
    if not _NAME.match(name):
        raise SlackError("invalid_name")


def _users(reactions: list[Json]) -> dict[str, list[str]]:
    return {one["name"]: one["users"] for one in reactions}


def _listed(users: dict[str, list[str]]) -> list[Json]:
    return [
        {"name": name, "users": those, "count": len(those)}
        for name, those in users.items()
        if those
    ]

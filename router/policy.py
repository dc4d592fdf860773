"""Pure: whether a person may decide, by the policy that was stored with what they decide on."""

from collections.abc import Sequence

from router.ports import Standing

_PREFIX_GROUP, _PREFIX_USER = "group:", "user:"


def groups_of(who: Sequence[str]) -> frozenset[str]:
    """The user groups that a policy names, by id."""
    return frozenset(w.removeprefix(_PREFIX_GROUP) for w in who if w.startswith(_PREFIX_GROUP))


def objection(who: Sequence[str], requesters: Sequence[str], person: Standing) -> str | None:
    """Why this person may not decide; None if they may.

    Bots and deactivated people never may. People from outside only where they are named one by one,
    guests there too and where they asked themselves: neither belongs to "the channel" or a group.
    """
    if not person.known:
        return "unknown"
    if person.bot or person.deactivated:
        return "bot" if person.bot else "deactivated"
    if f"{_PREFIX_USER}{person.user_id}" in who:
        return None
    if person.external:
        return "external"
    if "requester" in who and person.user_id in requesters:
        return None
    if person.guest:
        return "guest"
    allowed = (
        ("admins" in who and person.admin)
        or ("channel" in who and person.in_channel)
        or bool(groups_of(who) & person.groups)
    )
    return None if allowed else "not_named"

"""Pure: who may decide and who did, as one line of Slack's markup made of ids and words of ours.

The one place where cards have markup: every id is checked, and of every name only letters stay.
docs.slack.dev/messaging/formatting-message-text
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from bot.plain import Json

_PERSON = re.compile(r"[UW][A-Z0-9]{1,30}")
_GROUP = re.compile(r"S[A-Z0-9]{1,30}")
_CHANNEL = re.compile(r"[CG][A-Z0-9]{1,30}")
_LINK = re.compile(r"https://[a-z0-9.-]+/archives/[A-Za-z0-9/?=&._-]+")
_NOT_A_LETTER = re.compile(r"[^\w .'()-]|_")
_LONGEST_NAME = 60
_OUTSIDE = ("member:", "key:")  # how router.api.auth names those who ask through the API
_MOST = 10
_PLACES = {
    "slack": "in Slack",
    "rest": "through the API",
    "dashboard": "on the dashboard",
    "runtime": "at the agent's service",
    "threadline": "",
}
_KINDS = {"admins": "admins of this workspace", "channel": "people in this channel"}


def context(*lines: str) -> Json:
    """A small line below; nothing in it becomes a link by itself."""
    elements = [{"type": "mrkdwn", "text": text, "verbatim": True} for text in lines if text]
    return {"type": "context", "elements": elements}


def person(user: str | None, name: str = "") -> str:
    """A mention, which Slack shows as the person's name; without an id of Slack's the name itself."""
    if user and _PERSON.fullmatch(user):
        return f"<@{user}>"
    if user and not name and user.startswith(_OUTSIDE):
        return "somebody outside of Slack"
    return " ".join(_NOT_A_LETTER.sub("", name or user or "").split())[:_LONGEST_NAME]


def channel(channel_id: str) -> str:
    """A channel by its name; a direct message in words, since it has none."""
    return f"<#{channel_id}>" if _CHANNEL.fullmatch(channel_id) else "a direct message"


def thread(channel_id: str, link: str | None) -> str:
    """A thread, as a link of Slack's own where there is one; else the channel that it is in."""
    if link and _LINK.fullmatch(link):
        return f"<{link}|this thread>"
    return channel(channel_id)


def may(who: Sequence[str], requesters: Sequence[str]) -> str:
    """Whom a policy lets decide, in words."""
    named: dict[str, None] = {}
    for one in who:
        named |= dict.fromkeys(_may(one, requesters))
    words = list(named)
    return _listed(words, "or") if words else "nobody"


def _may(one: str, requesters: Sequence[str]) -> list[str]:
    if one == "requester":
        return [named for user in requesters if (named := person(user))] or ["whoever asked"]
    if one in _KINDS:
        return [_KINDS[one]]
    kind, _, name = one.partition(":")
    if kind == "group" and _GROUP.fullmatch(name):
        return [f"members of <!subteam^{name}>"]
    return [named] if kind == "user" and (named := person(name)) else []


def called(owner: str | None, requesters: Sequence[str]) -> str:
    """The owner of a question, mentioned; empty without one."""
    kind, _, name = (owner or "").partition(":")
    if kind == "group" and _GROUP.fullmatch(name):
        return f"<!subteam^{name}>"
    return may([owner], requesters) if owner else ""


def names(people: Sequence[dict[str, Any]]) -> str:
    """Those people, by what was kept of them."""
    return _listed([one for by in people if (one := _actor(by))], "and")


def done(word: str, by: dict[str, Any] | None, at: datetime | None) -> str:
    """Who did it, when and from where."""
    name, place = _actor(by), _PLACES.get(str((by or {}).get("origin")), "")
    parts = [word, f"by {name}" if name else "", place, moment(at) if at else ""]
    return " ".join(part for part in parts if part)


def moment(at: datetime) -> str:
    """A moment, in the clock of whoever reads it."""
    fallback = at.strftime("%Y-%m-%d %H:%M UTC")
    return f"<!date^{int(at.timestamp())}^{{date_short_pretty}} at {{time}}|{fallback}>"


def _actor(by: dict[str, Any] | None) -> str:
    return person((by or {}).get("user"), str((by or {}).get("name") or ""))


def _listed(words: list[str], last: str) -> str:
    if len(words) > _MOST:
        words = [*words[: _MOST - 1], f"{len(words) - _MOST + 1} more"]
    if len(words) < 2:  # noqa: PLR2004  # one needs no "and"
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"

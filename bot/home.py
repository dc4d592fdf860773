"""Pure: a person's home tab, from what waits for them and what they began.

docs.slack.dev/reference/views/home-tab-views: at most 100 blocks. What waits is shown by its own card
(bot.cards), so it says and hides the same here as in its thread; all that others wrote is plain text.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bot import cards, deciders
from bot.plain import Json, line, plain, section
from bot.presses import HOME
from router.humans import Ref, card_of, kind_of
from store.approvals import Approval
from store.homes import Recent, Waiting

MOST_WAITING = 8
MOST_SESSIONS = 10
_TITLE = 140
_NAME = 60
_ADDRESS = re.compile(r"https://[a-z0-9.-]+/")
_ID = re.compile(r"[A-Z][A-Z0-9]{1,30}")
_TS = re.compile(r"[0-9]{1,12}\.[0-9]{1,9}")
_LIVE = {"running": "Working", "awaiting_human": "Waiting for a person"}
_ENDED = {"interrupted": "Stopped", "failed": "Ended with an error"}


@dataclass(frozen=True, slots=True)
class Home:
    """Where a home tab is shown: what its links begin with, and whom to write to.

    `address` is the workspace's on the web, empty where it is not known: then nothing is linked.
    """

    address: str
    bot_user_id: str
    api_app_id: str
    team_id: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Item:
    """Something that waits for the person; `voters` are those who are for it already."""

    waiting: Waiting
    voters: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Content:
    """What is to be shown: the first of what waits and of the sessions, and how many there are.

    `partly`: of some things it could not be found out whether they wait for this person.
    """

    waiting: Sequence[Item] = ()
    all_waiting: int = 0
    sessions: Sequence[Recent] = ()
    all_sessions: int = 0
    partly: bool = False


def page(content: Content, home: Home) -> Json:
    """The home tab."""
    return _view(
        [
            _top(home),
            *_waiting(content, home),
            {"type": "divider"},
            *_sessions(content, home),
            *_start(home),
        ]
    )


def notice(text: str) -> Json:
    """A home tab that says one thing, and can be asked again."""
    return _view([section(text) | {"accessory": _refresh()}])


def _view(blocks: list[Json]) -> Json:
    return {"type": "home", "callback_id": HOME, "blocks": blocks}


def _top(home: Home) -> Json:
    says = f"What waits for you, and what you began, as of {deciders.moment(home.at)}."
    return {"type": "section", "text": _marked(says), "accessory": _refresh()}


def _refresh() -> Json:
    return {
        "type": "button",
        "action_id": "home.refresh",
        "text": plain("Refresh"),
        "value": "now",
        "accessibility_label": "Show this page as it is now",
    }


# ------------------------------------------------------------------ what waits


def _waiting(content: Content, home: Home) -> list[Json]:
    blocks: list[Json] = [{"type": "header", "text": plain("Waiting for you")}]
    shown = content.waiting[:MOST_WAITING]
    if not shown:
        blocks.append(section("Nothing waits for you."))
    for place, item in enumerate(shown):
        blocks += [{"type": "divider"}] * (place > 0) + _item(item, home)
    if (more := content.all_waiting - len(shown)) > 0:
        blocks.append(_small(f"… and {more} more; they come up here as these are settled."))
    if content.partly:
        blocks.append(_small("Slack did not answer everything just now: there may be more."))
    return blocks


def _item(item: Item, home: Home) -> list[Json]:
    """Its card, with where and when it was asked, and the way there."""
    waiting = item.waiting
    *says, buttons = _card(item)
    link = _link(waiting.home, waiting.thread_ts, home)
    ref = Ref(
        kind_of(waiting.asked),
        waiting.asked.deployed_agent_id,
        waiting.asked.id,
        card_of(waiting.asked),
    )
    elements = [*buttons["elements"], *([_open("Open thread", link)] if link else [])]
    actions = buttons | {"block_id": f"waiting:{ref.opaque()}", "elements": elements}
    return [*says, _where(waiting), actions]


def _card(item: Item) -> list[Json]:
    asked = item.waiting.asked
    if isinstance(asked, Approval):
        return cards.approval(asked, list(item.voters), asked.card_no).blocks
    return cards.escalation(asked, None, elsewhere=False, in_thread=False).blocks


def _where(waiting: Waiting) -> Json:
    channel = waiting.home or waiting.elsewhere
    place = f"In {deciders.channel(channel)}, " if channel else ""
    asked = f"{place}{deciders.moment(waiting.asked.asked_at)}"
    return {"type": "context", "elements": [_marked(asked), plain(line(waiting.agent, _NAME))]}


# ------------------------------------------------------------------ sessions


def _sessions(content: Content, home: Home) -> list[Json]:
    blocks: list[Json] = [{"type": "header", "text": plain("Recent sessions")}]
    shown = content.sessions[:MOST_SESSIONS]
    if not shown:
        blocks.append(section("You have not begun one yet."))
    for session in shown:
        blocks += _session(session, home)
    if (more := content.all_sessions - len(shown)) > 0:
        blocks.append(_small(f"… and {more} more."))
    return blocks


def _session(session: Recent, home: Home) -> list[Json]:
    title: Json = section(line(session.title or "New conversation", _TITLE))
    if link := _link(session.channel_id, session.thread_ts, home):
        title["accessory"] = _open("Open thread", link)
    moved = deciders.moment(session.at)
    says = f"{status(session)} · {deciders.channel(session.channel_id)} · {moved}"
    elements = [_marked(says), plain(line(session.agent, _NAME))]
    return [title, {"type": "context", "elements": elements}]


def status(session: Recent) -> str:
    """How a session stands, in a word."""
    if session.status == "archived":
        return "Closed"
    if session.turn in _LIVE:
        return _LIVE[session.turn]
    if session.turn is None or session.status == "running":
        return "Working"
    return _ENDED.get(session.turn, "Answered")


def _start(home: Home) -> list[Json]:
    """How to begin something new."""
    bot = deciders.person(home.bot_user_id)
    blocks = [
        deciders.context(
            f"To begin a session, write to me under Messages, or mention {bot} in a channel."
        )
    ]
    if home.team_id and _ID.fullmatch(home.team_id) and _ID.fullmatch(home.api_app_id):
        # docs.slack.dev/interactivity/deep-linking, "Opening a direct message with your app or bot"
        url = f"https://slack.com/app_redirect?app={home.api_app_id}&team={home.team_id}"
        blocks.append({"type": "actions", "elements": [_open("Write to me", url)]})
    return blocks


# ------------------------------------------------------------------ parts


def _link(channel_id: str | None, ts: str | None, home: Home) -> str | None:
    """Where a message is on the web, as docs.slack.dev/reference/methods/chat.getPermalink spells it.

    Spelt here, since each home tab would cost as many calls as it has links.
    """
    if not channel_id or not ts or not _ID.fullmatch(channel_id) or not _TS.fullmatch(ts):
        return None
    if not _ADDRESS.fullmatch(home.address):
        return None
    return f"{home.address}archives/{channel_id}/p{ts.replace('.', '')}"


def _open(label: str, url: str) -> Json:
    return {"type": "button", "action_id": "home.open", "text": plain(label), "url": url}


def _small(text: str) -> Json:
    return {"type": "context", "elements": [plain(text)]}


def _marked(text: str) -> Json:
    return {"type": "mrkdwn", "text": text, "verbatim": True}

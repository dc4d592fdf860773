"""How the page is shown what the workspace holds."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from bot.local import seed
from bot.local.chunks import stream_blocks
from bot.local.control_interactions import shown_view
from bot.local.model import Channel, Json, Message, Status, User
from bot.local.shapes import message_json
from bot.local.state import State
from bot.local.workspace import Workspace

_USER = ("id", "name", "real_name", "team_id", "kind", "bot_id", "deleted")
_SHOWN_STATUS = {"processing": "Working…", "suspended": "Waiting for a person"}


def who(workspace: Workspace) -> Json:
    """The installation."""
    us = workspace.who
    return {
        "team_id": us.team_id,
        "team_name": seed.TEAM_NAME,
        "bot_user_id": us.bot_user_id,
        "bot_id": us.bot_id,
        "api_app_id": us.api_app_id,
        "app_name": workspace.state.users[us.bot_user_id].real_name,
    }


def user(account: User) -> Json:
    """An account."""
    return {name: getattr(account, name) for name in _USER}


def channel(state: State, place: Channel) -> Json:
    """A conversation, with its newest message and how far everybody has read."""
    newest = {"latest": state.latest(place.id), "read": state.reads.get(place.id, {})}
    return asdict(place) | newest


def message(state: State, said: Message) -> Json:
    """A message; of a stream also its parts as the app sent them."""
    shown = message_json(state, said, metadata=True)
    shown |= {"channel": said.channel, "tasks": said.tasks, "parts": []}
    stream = said.stream
    if stream is None:
        return shown | {"plan": "", "display": "", "stopped_by": ""}
    laid_out = stream_blocks(stream)
    # What the app has put in the place of a stream since then is no longer made of its parts.
    if stream.parts and said.blocks[: len(laid_out)] == laid_out:
        below = said.blocks[len(laid_out) :]
        shown["parts"] = [*stream.parts, *([{"blocks": below}] if below else [])]
    names = {"plan": stream.plan, "display": stream.display, "stopped_by": stream.stopped_by}
    return shown | names


def session(workspace: Workspace, known: Status) -> Json:
    """An agent session, with what its thread shows now."""
    status = workspace.sessions.shown(known.channel, known.thread_ts) or known.status
    return {
        "channel": known.channel,
        "thread_ts": known.thread_ts,
        "status": status,
        "title": known.title,
        "shown": _SHOWN_STATUS.get(status),
    }


def views(workspace: Workspace, user_id: str) -> list[Json]:
    """A person's open modals, the one on top last."""
    return [shown_view(view) for view in workspace.surfaces.stack(user_id)]


def home(workspace: Workspace, user_id: str) -> Json | None:
    """A person's home tab."""
    published = workspace.surfaces.home(user_id)
    return None if published is None else shown_view(published)


def prompts(workspace: Workspace) -> Json:
    """The suggested prompts by channel; those of a whole channel before those of a thread."""
    shown: Json = {}
    for one in workspace.surfaces.prompts:
        known = shown.get(one.channel)
        if one.thread_ts is None or known is None or known["thread_ts"] is not None:
            told = {"title": one.title, "thread_ts": one.thread_ts, "prompts": one.prompts}
            shown[one.channel] = told
    return shown


def records(found: Iterable[Any]) -> list[Json]:
    """Records as they are."""
    return [asdict(one) for one in found]


def since(log: Any, seen: int, most: int) -> list[Any]:
    """The newest `most` records of a log with a number above `seen`, oldest first."""
    fresh: list[Any] = []
    for record in reversed(log):
        if record.seq <= seen or len(fresh) == most:
            break
        fresh.append(record)
    return fresh[::-1]

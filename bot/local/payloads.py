"""The payloads of interactions (docs.slack.dev/reference/interaction-payloads).

Where the pages are silent, recorded payloads decide: the two teams of a modal that a stranger
opens, the missing message of an ephemeral one, the null team of an org-wide install.
"""

import secrets
from typing import Any

from bot.local import seed
from bot.local.elements import CHOSEN
from bot.local.interactive import held, state_of
from bot.local.model import Channel, Ephemeral, Json, Message, User
from bot.local.shapes import message_json
from bot.local.surfaces import OpenView, ResponseUrl
from bot.local.workspace import Workspace

# What Slack tells of a channel instead of a name.
_NAMES = {"im": "directmessage", "group": "privategroup"}
_TOLD = ("action_id", "block_id", "text", "value", "url", "style", "confirm")


def view_json(workspace: Workspace, view: OpenView, *, filled: bool = False) -> Json:
    """A view as answers and payloads show it; `filled` with all its inputs."""
    who = workspace.who
    values = state_of(view.body["blocks"], view.values) if filled else {}
    return {
        "id": view.id,
        "team_id": view.team,
        "state": {"values": values},
        "hash": view.hash,
        "previous_view_id": view.previous,
        "root_view_id": view.root,
        "app_id": who.api_app_id,
        "app_installed_team_id": who.team_id,
        "bot_id": who.bot_id,
        **view.body,
    }


def common(workspace: Workspace, kind: str, user: User, team: str, *, org: bool) -> Json:
    """What every interaction says of the app, the person and the installation."""
    return {
        "type": kind,
        "user": {
            "id": user.id,
            "username": user.name,
            "name": user.name,
            "team_id": user.team_id,
        },
        "api_app_id": workspace.who.api_app_id,
        "token": workspace.who.verification_token,
        "team": None if org else {"id": team, "domain": _domain(workspace, team)},
        "enterprise": {"id": seed.ORG_ID, "name": seed.ORG_NAME} if org else None,
        "is_enterprise_install": org,
    }


def _domain(workspace: Workspace, team: str) -> str:
    return seed.DOMAIN if team == workspace.who.team_id else team.lower()


def on_message(workspace: Workspace, message: Message | Ephemeral, values: Json) -> Json:
    """Where in a channel something was pressed; of an ephemeral message only that it was one."""
    ephemeral = isinstance(message, Ephemeral)
    container: Json = {"type": "message", "message_ts": message.ts, "channel_id": message.channel}
    container |= {"is_ephemeral": ephemeral}
    if (thread_ts := _thread(workspace, message)) is not None:
        container["thread_ts"] = thread_ts
    told: Json = {"container": container, "channel": channel(workspace, message.channel)}
    if isinstance(message, Message):
        told["message"] = message_json(workspace.state, message)
    return told | {"state": {"values": values}}


def _thread(workspace: Workspace, message: Message | Ephemeral) -> str | None:
    if message.thread_ts is not None or isinstance(message, Ephemeral):
        return message.thread_ts
    return message.ts if workspace.state.reply_ts(message.channel, message.ts) else None


def channel(workspace: Workspace, channel_id: str) -> Json:
    """A channel as interactions name it."""
    place: Channel = workspace.state.channels[channel_id]
    return {"id": place.id, "name": _NAMES.get(place.kind, place.name)}


def on_view(workspace: Workspace, view: OpenView) -> Json:
    """In which view something was pressed."""
    shown = view_json(workspace, view, filled=True)
    return {"container": {"type": "view", "view_id": view.id}, "view": shown}


def action(block: Json, element: Json, value: Any, ts: str) -> Json:
    """One entry of `actions`: what was pressed, or what was chosen in it."""
    placed = {"type": element["type"], "block_id": block["block_id"], "action_ts": ts}
    told = {name: element[name] for name in _TOLD if name in element}
    if element["type"] in CHOSEN:
        return told | placed | held(element, value)
    if "text" in told:
        told["text"] = {"emoji": True} | told["text"]
    return told | placed


def response_url(workspace: Workspace, user: User, place: str, original: str | None) -> str:
    """A URL that the app may answer at, five times within half an hour."""
    token = secrets.token_urlsafe(18)
    now = workspace.clock.now()
    workspace.surfaces.urls.put(ResponseUrl(token, user.id, place, now, original))
    number = secrets.randbelow(10**12)
    return f"{workspace.url}/actions/{workspace.who.team_id}/{number}/{token}"

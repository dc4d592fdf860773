"""How users, channels and messages look in answers and events."""

from bot.local.model import Channel, Json, Message, User
from bot.local.state import State

_UPDATED = 1_780_000_000
_REPLY_USERS = 5


def user_json(user: User, home_team: str) -> Json:
    """A user as `users.info` shows it (docs.slack.dev/reference/objects/user-object)."""
    shown: Json = {
        "id": user.id,
        "team_id": user.team_id,
        "name": user.name,
        "deleted": user.deleted,
        "real_name": user.real_name,
        "tz": "Etc/UTC",
        "tz_label": "Coordinated Universal Time",
        "tz_offset": 0,
        "profile": {
            "real_name": user.real_name,
            "display_name": user.name,
            "real_name_normalized": user.real_name,
            "display_name_normalized": user.name,
            "team": user.team_id,
        },
        "is_bot": user.bot_id is not None,
        "is_app_user": False,
        "updated": _UPDATED,
    }
    if not user.deleted:
        shown |= _rank(user)
    if user.bot_id is not None:
        shown["profile"] |= {"bot_id": user.bot_id, "api_app_id": user.app_id}
    if user.team_id != home_team:
        shown["is_stranger"] = True
    return shown


def _rank(user: User) -> Json:
    # Of a deactivated account Slack tells none of these.
    return {
        "is_admin": user.kind in ("admin", "owner"),
        "is_owner": user.kind == "owner",
        "is_primary_owner": user.kind == "owner",
        "is_restricted": user.kind in ("guest", "solo_guest"),
        "is_ultra_restricted": user.kind == "solo_guest",
    }


def bot_json(user: User) -> Json:
    """A bot as `bots.info` shows it."""
    return {
        "id": user.bot_id,
        "deleted": False,
        "name": user.name,
        "updated": _UPDATED,
        "app_id": user.app_id,
        "user_id": user.id,
        "icons": {"image_48": "https://a.slack-edge.com/img/plugins/app/bot_48.png"},
    }


def channel_json(channel: Channel, home_team: str, bot_user_id: str) -> Json:
    """A conversation as `conversations.info` shows it."""
    shown: Json = {
        "id": channel.id,
        "created": _UPDATED,
        "is_archived": channel.archived,
        "is_im": channel.kind == "im",
        "is_mpim": channel.kind == "mpim",
        "is_private": channel.kind != "channel",
        "is_channel": channel.kind == "channel",
        "is_group": channel.kind == "group",
        "is_ext_shared": bool(channel.shared_with),
        "is_shared": bool(channel.shared_with),
        "is_org_shared": False,
        "context_team_id": home_team,
    }
    if channel.kind == "im":
        shown["user"] = next(member for member in channel.members if member != bot_user_id)
        return shown
    return shown | {
        "name": channel.name,
        "name_normalized": channel.name,
        "is_general": channel.name == "general",
        "is_member": bot_user_id in channel.members,
        "shared_team_ids": [home_team, *channel.shared_with],
        "topic": {"value": "", "creator": "", "last_set": 0},
        "purpose": {"value": "", "creator": "", "last_set": 0},
    }


def bot_profile(user: User) -> Json:
    """What a message of a bot says of its author."""
    icons = {"image_48": "https://a.slack-edge.com/img/plugins/app/bot_48.png"}
    return {
        "id": user.bot_id,
        "app_id": user.app_id,
        "user_id": user.id,
        "name": user.name,
        "icons": icons,
        "deleted": False,
        "updated": _UPDATED,
        "team_id": user.team_id,
    }


def message_json(state: State, message: Message, *, metadata: bool = False) -> Json:
    """A message as listings, answers and events show it; `channel` is for the caller to add."""
    shown: Json = {"type": "message"}
    for name in ("subtype", "user", "bot_id", "username", "client_msg_id"):
        if (value := getattr(message, name)) is not None:
            shown[name] = value
    shown |= {"text": message.text, "ts": message.ts, "team": message.team}
    for name in ("blocks", "attachments", "files", "edited", "reactions", "streaming_state"):
        if value := getattr(message, name):
            shown[name] = value
    if message.files:
        shown |= {"upload": False, "display_as_bot": False}
    if metadata and message.metadata is not None:
        shown["metadata"] = message.metadata
    return shown | _author(state, message) | _thread(state, message)


def _author(state: State, message: Message) -> Json:
    user = state.users.get(message.user or "")
    if message.bot_id is None or user is None:
        return {}
    return {"app_id": user.app_id, "bot_profile": bot_profile(user)}


def _thread(state: State, message: Message) -> Json:
    if message.thread_ts is not None:
        root = state.message(message.channel, message.thread_ts)
        parent = {"parent_user_id": root.user} if root is not None and root.user else {}
        return {"thread_ts": message.thread_ts} | parent
    replies = state.reply_ts(message.channel, message.ts)
    if not replies:
        return {}
    authors = (m.user or m.bot_id or "" for m in state.pick(message.channel, replies))
    distinct = list(dict.fromkeys(authors))
    return {
        "thread_ts": message.ts,
        "reply_count": len(replies),
        "reply_users_count": len(distinct),
        "latest_reply": replies[-1],
        "reply_users": distinct[:_REPLY_USERS],
        "is_locked": False,
    }

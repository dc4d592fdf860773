"""auth, conversations, users and bots: what our app reads."""

import base64
import binascii
from collections.abc import Sequence

from bot.local.arguments import Arguments
from bot.local.model import Channel, Json, Message, SlackError
from bot.local.shapes import bot_json, channel_json, message_json, user_json
from bot.local.workspace import Workspace

_MAX_PAGE = 1_000
_MAX_UNLISTED_PAGE = 15
_ENDS = ("0000000000.000000", "9999999999.999999")
_CURSOR = "next_ts:"
# docs.slack.dev/reference/methods/users.conversations: what a type is here, and its scope
_KINDS = {
    "public_channel": ("channel", "channels"),
    "private_channel": ("group", "groups"),
    "mpim": ("mpim", "mpim"),
    "im": ("im", "im"),
}


class Reading:
    """The reading methods; each takes the call's arguments and returns its answer."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def auth_test(self, _args: Arguments) -> Json:
        """auth.test: who the token belongs to."""
        who = self._workspace.who
        return {
            "url": "https://local-workspace.slack.com/",
            "team": "Local workspace",
            "user": self._workspace.user(who.bot_user_id).name,
            "team_id": who.team_id,
            "user_id": who.bot_user_id,
            "bot_id": who.bot_id,
            "is_enterprise_install": False,
        }

    def replies(self, args: Arguments) -> Json:
        """conversations.replies: a thread, oldest first, its root at the top of each page."""
        channel = self._readable(args)
        root = self._workspace.state.message(channel.id, args.need("ts"))
        if root is None:
            raise SlackError("thread_not_found")
        stamps = self._workspace.state.reply_ts(channel.id, root.ts)
        low, high = stamps.bounds(*_range(args), inclusive=args.flag("inclusive"))
        low = max(low, stamps.after(_cursor(args)))
        end = min(high, low + self._limit(args, _MAX_PAGE))
        page = stamps[low:end]
        messages = self._fresh([root, *self._workspace.state.pick(channel.id, page)], args)
        return self._listed(messages, args) | _more(page[-1] if end < high else "")

    def history(self, args: Arguments) -> Json:
        """conversations.history: the channel itself, newest first."""
        channel = self._readable(args)
        stamps = self._workspace.state.top_ts(channel.id)
        low, high = stamps.bounds(*_range(args), inclusive=args.flag("inclusive"))
        if cursor := _cursor(args):
            high = min(high, stamps.before(cursor))
        start = max(low, high - self._limit(args, 100))
        page = stamps[start:high][::-1]
        messages = self._fresh(self._workspace.state.pick(channel.id, page), args)
        return self._listed(messages, args) | _more(page[-1] if start > low else "")

    def permalink(self, args: Arguments) -> Json:
        """chat.getPermalink: where a message is found on the web."""
        channel = self._visible(args.need("channel"))
        message = self._workspace.state.message(channel.id, args.need("message_ts"))
        if message is None:
            raise SlackError("message_not_found")
        place = f"{channel.id}/p{message.ts.replace('.', '')}"
        return {
            "channel": channel.id,
            "permalink": f"https://local-workspace.slack.com/archives/{place}",
        }

    def info(self, args: Arguments) -> Json:
        """conversations.info."""
        channel = self._visible(args.text("channel"))
        who = self._workspace.who
        shown = channel_json(channel, who.team_id, who.bot_user_id)
        if args.flag("include_num_members"):
            shown["num_members"] = len(channel.members)
        return {"channel": shown}

    def members(self, args: Arguments) -> Json:
        """conversations.members, a page at a time."""
        channel = self._visible(args.text("channel"))
        members = sorted(channel.members)
        cursor = _cursor(args)
        left = [member for member in members if member > cursor]
        limit = args.number("limit", 100, _MAX_PAGE)
        page, rest = left[:limit], left[limit:]
        return {"members": page} | _more(page[-1] if rest else "", has_more=False)

    def ours(self, args: Arguments) -> Json:
        """users.conversations: what our app is in, of the kinds asked for, a page at a time."""
        kinds = _kinds(args.text("types") or "public_channel")
        for kind in kinds:
            self._workspace.need_scope(f"{_KINDS[kind][1]}:read")
        who = self._workspace.who
        cursor, limit = _cursor(args), args.number("limit", 100, _MAX_PAGE - 1)
        found = sorted(
            (one for one in self._workspace.state.channels.values() if self._is_ours(one, kinds)),
            key=lambda one: one.id,
        )
        left = [
            one
            for one in found
            if one.id > cursor and not (one.archived and args.flag("exclude_archived"))
        ]
        page, rest = left[:limit], left[limit:]
        shown = [channel_json(one, who.team_id, who.bot_user_id) for one in page]
        return {"channels": shown} | _more(page[-1].id if rest else "", has_more=False)

    def _is_ours(self, channel: Channel, kinds: list[str]) -> bool:
        inside = self._workspace.who.bot_user_id in channel.members
        return inside and any(channel.kind == _KINDS[kind][0] for kind in kinds)

    def open(self, args: Arguments) -> Json:
        """conversations.open: a direct message with one user, a group message with several."""
        channel = self._opened(args)
        shown: Json = {"id": channel.id}
        if args.flag("return_im"):
            who = self._workspace.who
            shown = channel_json(channel, who.team_id, who.bot_user_id)
        return {"channel": shown, "no_op": False, "already_open": False}

    def user_info(self, args: Arguments) -> Json:
        """users.info."""
        user = self._workspace.state.users.get(args.text("user"))
        if user is None:
            raise SlackError("user_not_found")
        return {"user": user_json(user, self._workspace.who.team_id)}

    def bot_info(self, args: Arguments) -> Json:
        """bots.info."""
        for user in self._workspace.state.users.values():
            if user.bot_id is not None and user.bot_id == args.text("bot"):
                return {"bot": bot_json(user)}
        raise SlackError("bot_not_found")

    def _opened(self, args: Arguments) -> Channel:
        if "channel" in args:
            return self._visible(args.text("channel"))
        ids = [one for one in args.text("users").split(",") if one]
        if not ids:
            raise SlackError("users_list_not_supplied")
        users = [self._workspace.state.users.get(one) for one in ids]
        known = [user for user in users if user is not None]
        if len(known) < len(users):
            raise SlackError("user_not_found")
        if any(user.deleted for user in known):
            raise SlackError("user_disabled")
        if len(known) == 1:
            return self._workspace.dm(known[0])
        return self._workspace.add_mpim(known)

    def _visible(self, name: str) -> Channel:
        channel = self._workspace.channel(name)
        inside = self._workspace.who.bot_user_id in channel.members
        if not inside and channel.kind != "channel":
            raise SlackError("channel_not_found")
        return channel

    def _readable(self, args: Arguments) -> Channel:
        channel = self._visible(args.text("channel"))
        if self._workspace.who.bot_user_id not in channel.members:
            raise SlackError("not_in_channel")
        return channel

    def _limit(self, args: Arguments, default: int) -> int:
        unlisted = self._workspace.settings.unlisted
        most = _MAX_UNLISTED_PAGE if unlisted else _MAX_PAGE
        return min(args.number("limit", default, _MAX_PAGE), most)

    def _fresh(self, messages: Sequence[Message], args: Arguments) -> list[Message]:
        method = "conversations.replies" if "ts" in args else "conversations.history"
        stale = self._workspace.faults.take(frozenset(["stale"]), method)
        if stale is None:
            return list(messages)
        shown_until = self._workspace.clock.now() - stale.seconds
        return [message for message in messages if message.at <= shown_until]

    def _listed(self, messages: Sequence[Message], args: Arguments) -> Json:
        metadata = args.flag("include_all_metadata")
        state = self._workspace.state
        return {"messages": [message_json(state, one, metadata=metadata) for one in messages]}


def _kinds(types: str) -> list[str]:
    kinds = [one.strip() for one in types.split(",") if one.strip()]
    if not kinds or not _KINDS.keys() >= set(kinds):
        raise SlackError("invalid_types")
    return kinds


def _range(args: Arguments) -> tuple[str, str]:
    return args.stamp("oldest", _ENDS[0]), args.stamp("latest", _ENDS[1])


def _cursor(args: Arguments) -> str:
    if "cursor" not in args:
        return ""
    try:
        text = base64.b64decode(args.text("cursor"), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as broken:
        raise SlackError("invalid_cursor") from broken
    if not text.startswith(_CURSOR):
        raise SlackError("invalid_cursor")
    return text.removeprefix(_CURSOR)


def _more(last: str, *, has_more: bool = True) -> Json:
    cursor = base64.b64encode(f"{_CURSOR}{last}".encode()).decode() if last else ""
    answer: Json = {"response_metadata": {"next_cursor": cursor}}
    return answer | ({"has_more": bool(last)} if has_more else {})

"""agents.sessions.*: what a thread shows of its agent (docs.slack.dev/ai/agent-sessions)."""

from bot.local.arguments import Arguments
from bot.local.model import Channel, Json, SlackError, invalid_arguments
from bot.local.sessions import STATUSES, checked_title
from bot.local.webapi_chat import warning
from bot.local.workspace import Workspace

CUSTOM = frozenset({"icon_emoji", "icon_url", "username"})
_STOP_EVENT = "agent_session_stopped"


class Agents:
    """The methods under `agents.sessions.`."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def set_status(self, args: Arguments) -> Json:
        """agents.sessions.setStatus; the first call for a thread makes its session."""
        channel, thread_ts = self._session(args)
        status = args.text("status")
        if status not in STATUSES:
            raise SlackError("invalid_status")
        if "initiator_user_id" in args:
            self._workspace.user(args.text("initiator_user_id"))
        if any(name in args for name in CUSTOM):
            self._workspace.need_scope("chat:write.customize")
        title = checked_title(args.text("title"))
        now = self._workspace.sessions.set_status(channel.id, thread_ts, status, title)
        answer: Json = {"status": status, "agent_status": status}
        answer |= {"title": now.title} if now.title else {}
        if _STOP_EVENT not in self._workspace.settings.subscriptions:
            answer |= warning(f"missing_{_STOP_EVENT}_event_subscription")
        return answer

    def rename(self, args: Arguments) -> Json:
        """agents.sessions.rename; every thread of a direct message has a session.

        Only a person's new title is told by an event, so this one is not.
        """
        title = checked_title(args.text("title"))
        if not title:
            raise invalid_arguments("missing required field: title")
        channel, thread_ts = self._session(args)
        known = self._workspace.sessions.known(channel.id, thread_ts)
        if known is None and channel.kind != "im":
            raise SlackError("session_not_found")
        self._workspace.sessions.rename(channel.id, thread_ts, title)
        return {"title": title}

    def _session(self, args: Arguments) -> tuple[Channel, str]:
        if not self._workspace.agent_features:
            raise SlackError("feature_disabled")
        channel = self._workspace.channel(args.text("channel_id"))
        if self._workspace.who.bot_user_id not in channel.members:
            raise SlackError("not_authorized")
        if "thread_ts" not in args:
            raise SlackError("thread_ts_required")
        root = self._workspace.state.message(channel.id, args.text("thread_ts"))
        if root is None or root.thread_ts is not None:
            raise invalid_arguments("thread_ts is not the root of a thread")
        return channel, root.ts

"""agents.sessions.*: what a thread shows of its agent (docs.slack.dev/ai/agent-sessions)."""

import time

from bot.local.arguments import Arguments
from bot.local.model import Channel, Json, SlackError, Status, invalid_arguments
from bot.local.webapi_chat import warning
from bot.local.workspace import Workspace

STATUSES = frozenset({"processing", "active", "suspended", "closed"})
MAX_TITLE = 200
PROCESSING_SECONDS = 3_600.0  # then Slack takes "Working…" away by itself
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
        known = self._workspace.state.sessions.get((channel.id, thread_ts))
        title = known.title if known else _title(args) or None
        self._record(channel, thread_ts, status, title)
        answer: Json = {"status": status, "agent_status": status}
        answer |= {"title": title} if title else {}
        if _STOP_EVENT not in self._workspace.settings.subscriptions:
            answer |= warning(f"missing_{_STOP_EVENT}_event_subscription")
        return answer

    def rename(self, args: Arguments) -> Json:
        """agents.sessions.rename; every thread of a direct message has a session."""
        title = _title(args)
        if not title:
            raise invalid_arguments("missing required field: title")
        channel, thread_ts = self._session(args)
        known = self._workspace.state.sessions.get((channel.id, thread_ts))
        if known is None and channel.kind != "im":
            raise SlackError("session_not_found")
        self._record(channel, thread_ts, known.status if known else "active", title)
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

    def _record(self, channel: Channel, thread_ts: str, status: str, title: str | None) -> None:
        clock = self._workspace.clock.now()
        change = Status(channel.id, thread_ts, status, title, time.time(), clock)
        self._workspace.state.add_status(change)


def shown_status(workspace: Workspace, channel: str, thread_ts: str) -> str | None:
    """What the thread shows now: its last status, with `processing` ended after an hour."""
    last = workspace.state.sessions.get((channel, thread_ts))
    if last is None:
        return None
    over = workspace.clock.now() - last.clock >= PROCESSING_SECONDS
    return "active" if last.status == "processing" and over else last.status


def _title(args: Arguments) -> str:
    title = args.text("title")
    if len(title) > MAX_TITLE:
        raise invalid_arguments(f"must be less than {MAX_TITLE + 1} characters: title")
    return title

"""What a thread shows of its agent (docs.slack.dev/ai/agent-sessions)."""

import time

from bot.local.clock import Clock
from bot.local.model import Status, invalid_arguments
from bot.local.state import State

STATUSES = frozenset({"processing", "active", "suspended", "closed"})
MAX_TITLE = 200
PROCESSING_SECONDS = 3_600.0  # then Slack takes "Working…" away by itself


class Sessions:
    """The agent sessions of all threads; every change is kept in the state."""

    def __init__(self, state: State, clock: Clock) -> None:
        self._state = state
        self._clock = clock

    def known(self, channel: str, thread_ts: str) -> Status | None:
        """The last change of that thread's session; None when it has none."""
        return self._state.sessions.get((channel, thread_ts))

    def set_status(self, channel: str, thread_ts: str, status: str, title: str = "") -> Status:
        """Change the status; `title` counts only for a new session."""
        known = self.known(channel, thread_ts)
        return self._record(channel, thread_ts, status, known.title if known else title or None)

    def rename(self, channel: str, thread_ts: str, title: str) -> Status:
        """Change the title, and leave the status as it is."""
        known = self.known(channel, thread_ts)
        return self._record(channel, thread_ts, known.status if known else "active", title)

    def shown(self, channel: str, thread_ts: str) -> str | None:
        """What the thread shows now: its last status, with `processing` ended after an hour."""
        last = self.known(channel, thread_ts)
        if last is None:
            return None
        over = self._clock.now() - last.clock >= PROCESSING_SECONDS
        return "active" if last.status == "processing" and over else last.status

    def _record(self, channel: str, thread_ts: str, status: str, title: str | None) -> Status:
        change = Status(channel, thread_ts, status, title, time.time(), self._clock.now())
        self._state.add_status(change)
        return change


def checked_title(title: str) -> str:
    """The title, unless it is too long (`invalid_arguments`)."""
    if len(title) > MAX_TITLE:
        raise invalid_arguments(f"must be less than {MAX_TITLE + 1} characters: title")
    return title

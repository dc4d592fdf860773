"""How often each Web API method may be called (docs.slack.dev/apis/web-api/rate-limits)."""

import math
from collections import deque
from collections.abc import Callable

WINDOW_SECONDS = 60.0
POST_BURST = 5  # "short bursts" above one post a second and channel; the size is our reading

_TIER_1, _TIER_2, _TIER_3, _TIER_4 = 1, 20, 50, 100
_SPECIAL = 300  # "several hundred a minute"
_PER_MINUTE = {
    "auth.test": _SPECIAL,
    "chat.postMessage": _SPECIAL,
    "chat.postEphemeral": _TIER_4,
    "chat.update": _TIER_3,
    "chat.delete": _TIER_3,
    "chat.getPermalink": _TIER_4,
    "chat.startStream": _TIER_2,
    "chat.appendStream": _TIER_4,
    "chat.stopStream": _TIER_2,
    "reactions.add": _TIER_3,
    "reactions.remove": _TIER_2,
    "reactions.get": _TIER_3,
    "apps.connections.open": _TIER_3,
    "agents.sessions.setStatus": _TIER_3,
    "agents.sessions.rename": _TIER_3,
    "conversations.replies": _TIER_3,
    "conversations.history": _TIER_3,
    "conversations.info": _TIER_3,
    "conversations.open": _TIER_3,
    "conversations.members": _TIER_4,
    "users.conversations": _TIER_3,
    "users.info": _TIER_4,
    "usergroups.users.list": _TIER_2,
    "views.open": _TIER_4,
    "views.update": _TIER_4,
    "views.push": _TIER_4,
    "views.publish": _TIER_4,
    "bots.info": _TIER_3,
    "files.info": _TIER_4,
    "files.getUploadURLExternal": _TIER_4,
    "files.completeUploadExternal": _TIER_4,
    "assistant.threads.setSuggestedPrompts": _TIER_4,
}
# Commercially distributed apps outside the Marketplace, since 2025-05-29.
_UNLISTED = {"conversations.replies": _TIER_1, "conversations.history": _TIER_1}


class Limits:
    """Counts calls per method, and posts per channel, for one app in one workspace."""

    def __init__(self, now: Callable[[], float], *, unlisted: bool = False) -> None:
        self._now = now
        self._per_minute = _PER_MINUTE | (_UNLISTED if unlisted else {})
        self._calls: dict[str, deque[float]] = {}
        self._posts: dict[str, tuple[float, float]] = {}

    def take(self, method: str, channel: str) -> int:
        """Seconds until the call may be repeated; 0 when it may go ahead, and then it counts."""
        wait = self._window(method)
        if not wait and method == "chat.postMessage":
            wait = self._bucket(channel)
        if wait:
            return max(1, math.ceil(wait))
        self._calls[method].append(self._now())
        return 0

    def left(self, method: str) -> int | None:
        """How many more calls would go ahead now; None for a method without a limit."""
        most = self._per_minute.get(method)
        return None if most is None else max(0, most - len(self._recent(method)))

    def _window(self, method: str) -> float:
        calls = self._recent(method)
        full = len(calls) >= self._per_minute[method]
        return calls[0] + WINDOW_SECONDS - self._now() if full else 0.0

    def _recent(self, method: str) -> deque[float]:
        calls, begun = self._calls.setdefault(method, deque()), self._now() - WINDOW_SECONDS
        while calls and calls[0] <= begun:
            calls.popleft()
        return calls

    def _bucket(self, channel: str) -> float:
        now = self._now()
        tokens, since = self._posts.get(channel, (float(POST_BURST), now))
        tokens = min(POST_BURST, tokens + now - since)
        if tokens < 1:
            return 1 - tokens
        self._posts[channel] = (tokens - 1, now)
        return 0.0

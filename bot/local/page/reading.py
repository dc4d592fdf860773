"""What the page reads piece by piece: history, threads, and the events in full."""

from aiohttp import web

from bot.local.index import Thread
from bot.local.model import Json, SlackError
from bot.local.page import shapes
from bot.local.routes import answered, only_loopback
from bot.local.workspace import Workspace

_MOST = 200
_MOST_DIGITS = 18
_HISTORY, _THREAD = 50, 100


class Reading:
    """Serves `GET /_page/history`, `/_page/thread` and `/_page/envelope`."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    async def history(self, request: web.Request) -> web.Response:
        """A page of what stands in a channel: the newest, or next to `before` or `after`."""
        only_loopback(request)
        return await answered(self._history, dict(request.query))

    async def thread(self, request: web.Request) -> web.Response:
        """A thread's root and a page of its replies: the newest, or those before `before`."""
        only_loopback(request)
        return await answered(self._thread, dict(request.query))

    async def envelope(self, request: web.Request) -> web.Response:
        """An event by its `event_id`, or an interaction by its delivery's `seq`, and where to."""
        only_loopback(request)
        return await answered(self._envelope, dict(request.query))

    def _history(self, asked: dict[str, str]) -> Json:
        place = self._workspace.channel(asked.get("channel", "")).id
        stamps = self._workspace.state.top_ts(place)
        return self._paged(place, stamps, asked, _HISTORY)

    def _thread(self, asked: dict[str, str]) -> Json:
        place = self._workspace.channel(asked.get("channel", "")).id
        state, root_ts = self._workspace.state, asked.get("ts", "")
        page = self._paged(place, state.reply_ts(place, root_ts), asked, _THREAD)
        root = state.message(place, root_ts)
        return {"root": shapes.message(state, root) if root else None, **page}

    def _paged(self, place: str, stamps: Thread, asked: dict[str, str], default: int) -> Json:
        self._workspace.streams.expire()
        limit = _limit(asked, default)
        if "after" in asked:
            first = stamps.after(asked["after"])
            chosen, more = stamps[first : first + limit], first + limit < len(stamps)
        else:
            last = stamps.before(asked["before"]) if "before" in asked else len(stamps)
            chosen, more = stamps[max(0, last - limit) : last], last > limit
        state = self._workspace.state
        shown = [shapes.message(state, one) for one in state.pick(place, chosen)]
        return {"messages": shown, "more": more}

    def _envelope(self, asked: dict[str, str]) -> Json:
        envelope = self._interaction(asked["seq"]) if "seq" in asked else self._event(asked)
        if envelope is None:
            raise SlackError("event_not_found")
        return {"envelope": envelope, "url": self._workspace.courier.request_url}

    def _event(self, asked: dict[str, str]) -> Json | None:
        event_id = asked.get("event_id", "")
        about = self._workspace.ledger.about(event_id)
        return next((one for one in about if one["event_id"] == event_id), None)

    def _interaction(self, seq: str) -> Json | None:
        return self._workspace.courier.interaction(int(seq)) if _is_number(seq) else None


def _limit(asked: dict[str, str], default: int) -> int:
    wanted = asked.get("limit", str(default))
    if not _is_number(wanted) or int(wanted) < 1:
        raise SlackError("invalid_limit")
    return min(int(wanted), _MOST)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS

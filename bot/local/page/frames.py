"""What a page is told: everything at first, then what changed."""

import json
from collections.abc import Callable, Iterable
from typing import Any

from bot.local.changes import WHOLE
from bot.local.model import Json
from bot.local.page import shapes
from bot.local.page.behind import Behind
from bot.local.page.viewers import Dirty, Viewer
from bot.local.workspace import Workspace

_LOGGED = 300
_WARNED = 50
_Tell = Callable[[Iterable[Any]], Json]


class Frames:
    """Builds the frames of server-sent events from a workspace as it is at that moment."""

    def __init__(self, workspace: Workspace) -> None:
        self.behind: Behind | None = None
        self._workspace = workspace
        self._tells: dict[str, _Tell] = {
            "users": self._users,
            "user_groups": self._groups,
            "channels": self._channels,
            "reads": self._channels,
            "messages": self._messages,
            "gone": self._gone,
            "sessions": self._sessions,
            "ephemerals": self._ephemerals,
            "ephemerals_gone": lambda stamps: {"ephemerals_gone": list(stamps)},
            "views": self._views,
            "prompts": self._prompts,
            "warnings": self._warnings,
            "faults": lambda _: {"faults": workspace.faults.standing()},
        }

    def due(self, viewer: Viewer) -> list[bytes]:
        """The frames that this page has not been sent yet."""
        # Whatever is over by now ends when somebody looks.
        self._workspace.streams.expire()
        dirty, frames = viewer.take(), []
        if WHOLE in dirty:
            frames.append(_frame("hello", self._hello(viewer)))
        elif changed := self._changed(viewer, dirty):
            frames.append(_frame("changes", changed))
        if (behind := viewer.take_behind()) is not None:
            frames.append(_frame("behind", behind))
        return frames

    def grown_old(self, viewer: Viewer) -> None:
        """Mark what time alone may have changed."""
        self._workspace.streams.expire()
        for place, known in self._workspace.state.sessions.items():
            if known.status == "processing":
                viewer.marked("sessions", place)

    # -------------------------------------------------------------------- hello

    def _hello(self, viewer: Viewer) -> Json:
        workspace, state = self._workspace, self._workspace.state
        viewer.calls = viewer.deliveries = 0
        surfaces = workspace.surfaces
        people = {view.user for view in surfaces.views}
        homes = {one: shapes.home(workspace, one) for one in people}
        return {
            "boot": state.changes.boot,
            "who": shapes.who(workspace),
            "users": [shapes.user(one) for one in state.users.values()],
            "groups": shapes.records(surfaces.groups),
            "channels": [shapes.channel(state, one) for one in state.channels.values()],
            "sessions": [shapes.session(workspace, one) for one in state.sessions.values()],
            "ephemerals": shapes.records(state.ephemerals[-_LOGGED:]),
            "views": {one: shown for one in people if (shown := shapes.views(workspace, one))},
            "homes": {one: home for one, home in homes.items() if home is not None},
            "prompts": shapes.prompts(workspace),
            "warnings": shapes.records(list(surfaces.warnings)[-_WARNED:]),
            "deliveries": self._deliveries(viewer),
            "calls": self._calls(viewer),
            "faults": workspace.faults.standing(),
            "shortcuts": [],
            "orders": [dict(one) for one in self.behind.orders] if self.behind else [],
            "behind": self.behind is not None,
            "socket_mode": workspace.courier.socket_mode,
            "request_url": workspace.courier.request_url,
        }

    # ------------------------------------------------------------------ changes

    def _changed(self, viewer: Viewer, dirty: Dirty) -> Json:
        changed: Json = {}
        places = dirty.pop("reads", {})
        if places:
            dirty["channels"] = dirty.get("channels", {}) | places
        for topic, keys in dirty.items():
            if topic in self._tells:
                changed |= self._tells[topic](keys)
        if "calls" in dirty:
            changed["calls"] = self._calls(viewer)
        if "deliveries" in dirty:
            changed["deliveries"] = self._deliveries(viewer)
        return changed

    def _calls(self, viewer: Viewer) -> list[Json]:
        fresh = shapes.since(self._workspace.calls, viewer.calls, _LOGGED)
        viewer.calls = fresh[-1].seq if fresh else viewer.calls
        return shapes.records(fresh)

    def _deliveries(self, viewer: Viewer) -> list[Json]:
        log = self._workspace.courier.deliveries
        fresh = shapes.since(log, viewer.deliveries, _LOGGED)
        viewer.deliveries = fresh[-1].seq if fresh else viewer.deliveries
        return shapes.records(fresh)

    def _users(self, keys: Iterable[Any]) -> Json:
        return {"users": [shapes.user(self._workspace.state.users[key]) for key in keys]}

    def _groups(self, keys: Iterable[Any]) -> Json:
        groups = (self._workspace.surfaces.groups.get(key) for key in keys)
        return {"groups": shapes.records(group for group in groups if group is not None)}

    def _channels(self, keys: Iterable[Any]) -> Json:
        state = self._workspace.state
        return {"channels": [shapes.channel(state, state.channels[key]) for key in keys]}

    def _messages(self, keys: Iterable[Any]) -> Json:
        state = self._workspace.state
        standing = (state.message(*key) for key in keys)
        shown = [shapes.message(state, one) for one in standing if one is not None]
        return {"messages": shown} if shown else {}

    def _gone(self, keys: Iterable[Any]) -> Json:
        return {"gone": [{"channel": channel, "ts": ts} for channel, ts in keys]}

    def _sessions(self, keys: Iterable[Any]) -> Json:
        known = (self._workspace.state.sessions[key] for key in keys)
        return {"sessions": [shapes.session(self._workspace, one) for one in known]}

    def _ephemerals(self, keys: Iterable[Any]) -> Json:
        wanted = set(keys)
        standing = [one for one in self._workspace.state.ephemerals if one.ts in wanted]
        return {"ephemerals": shapes.records(standing)} if standing else {}

    def _views(self, keys: Iterable[Any]) -> Json:
        people, workspace = list(keys), self._workspace
        return {
            "views": {one: shapes.views(workspace, one) for one in people},
            "homes": {one: shapes.home(workspace, one) for one in people},
        }

    def _prompts(self, keys: Iterable[Any]) -> Json:
        all_of_them = shapes.prompts(self._workspace)
        places = {key.partition("/")[0] for key in keys}
        return {"prompts": {place: all_of_them.get(place) for place in places}}

    def _warnings(self, keys: Iterable[Any]) -> Json:
        warnings = (self._workspace.surfaces.warnings.get(key) for key in keys)
        return {"warnings": shapes.records(one for one in warnings if one is not None)[-_WARNED:]}


def _frame(event: str, data: Json) -> bytes:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"event: {event}\ndata: {text}\n\n".encode(errors="replace")

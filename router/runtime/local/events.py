"""Events of a session: list, send, stream."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress

from aiohttp import web

from router.runtime.local.engine import Engine
from router.runtime.local.faults import Fault
from router.runtime.local.log import NEVER, Entry
from router.runtime.local.model import Session
from router.runtime.local.paging import CREATED_AT, Query, cut_page
from router.runtime.local.streams import Listener
from router.runtime.local.wire import (
    REQUEST_ID,
    bad_request,
    dump,
    frame,
    not_found,
    now_us,
    read_object,
)
from router.runtime.local.world import World

_LIST = {"types[]", "order", "limit", "page", *CREATED_AT}
_DELTAS = frozenset({"agent.message", "agent.thinking"})
_MOST_DELTAS = 100
_PAGE, _MOST = 100, 1000
_PING = frame("ping", '{"type":"ping"}')


class Events:
    """The routes of events; the one thread's events are the session's."""

    def __init__(self, world: World, engine: Engine, *, ping_seconds: float) -> None:
        """A stream without news sends a ping every `ping_seconds`."""
        self._world = world
        self._engine = engine
        self._ping_seconds = ping_seconds

    def routes(self) -> list[web.RouteDef]:
        """All routes, each named as the client's method."""
        session = "/v1/sessions/{session_id}"
        thread = f"{session}/threads/{{thread_id}}"
        return [
            web.get(f"{session}/events", self.list_events, name="events.list"),
            web.post(f"{session}/events", self.send, name="events.send"),
            web.get(f"{session}/events/stream", self.stream, name="events.stream"),
            web.get(f"{thread}/events", self.list_events, name="threads.events.list"),
            web.get(f"{thread}/stream", self.stream, name="threads.events.stream"),
        ]

    async def list_events(self, request: web.Request) -> web.Response:
        """GET …/events: by processing time, queued ones last (first when descending).

        Queued events count as later than any `created_at` bound.
        """
        query, session = Query(request, _LIST), self._session(request)
        descending = query.order("asc") == "desc"
        rows = list(self._history(session, query))
        page = cut_page(
            rows[::-1] if descending else rows,
            lambda entry: entry.key,
            cursor=query.text("page"),
            limit=query.number("limit", _PAGE, _MOST),
            descending=descending,
        )
        data = ",".join(entry.raw for entry in page.rows)
        text = f'{{"data":[{data}],"next_page":{dump(page.next_page)}}}'
        return web.Response(text=text, content_type="application/json")

    async def send(self, request: web.Request) -> web.Response:
        """POST …/events; every call adds, nothing is recognised as sent before."""
        body = await read_object(request)
        replies = self._engine.send(self._session(request), body.get("events"))
        text = f'{{"data":[{",".join(replies)}]}}'
        return web.Response(text=text, content_type="application/json")

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """GET …/events/stream: what is said from now on, headers at once."""
        session = self._session(request)
        wanted = Query(request, {"event_deltas[]"}).many("event_deltas")
        if len(wanted) > _MOST_DELTAS or not _DELTAS.issuperset(wanted):
            raise bad_request(f"event_deltas[]: at most {_MOST_DELTAS} of {sorted(_DELTAS)}")
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-cache",
                "request-id": request[REQUEST_ID],
            }
        )
        listener = self._world.hub.open(session.id, frozenset(wanted))
        try:
            with suppress(ConnectionResetError):  # the reader has gone, in the middle of a write
                await response.prepare(request)
                await self._relay(request, response, listener)
        finally:
            self._world.hub.close(listener)
        return response

    async def _relay(
        self, request: web.Request, response: web.StreamResponse, listener: Listener
    ) -> None:
        while True:
            if not await listener.listen(self._ping_seconds):
                await response.write(listener.held_back + _PING)
                listener.held_back = b""
            if listener.cut:
                await _reset(request)
                return
            cut = None
            batch: list[bytes] = []
            while listener.frames and cut is None:
                kind, data = listener.frames.popleft()
                batch.append(self._said(listener, kind, data))
                cut = self._cut(listener, kind)
            if batch:
                await response.write(b"".join(batch))
            if cut is not None:
                if not cut.clean:
                    await _reset(request)
                return
            if listener.ended:
                return

    def _said(self, listener: Listener, kind: str, data: bytes) -> bytes:
        """What leaves for one event: the one before it may have been held back, it may come twice."""
        mine = {"route": "events.stream", "session_id": listener.session_id, "event_type": kind}
        if self._world.faults.take("duplicate", **mine) is not None:
            data += data
        if not listener.held_back and self._world.faults.take("reorder", **mine) is not None:
            listener.held_back = data
            return b""
        said, listener.held_back = data + listener.held_back, b""
        return said

    def _cut(self, listener: Listener, kind: str) -> Fault | None:
        return self._world.faults.take(
            "cut_stream", route="events.stream", session_id=listener.session_id, event_type=kind
        )

    def _history(self, session: Session, query: Query) -> Iterator[Entry]:
        types, inside = set(query.many("types")), query.created_between()
        last, before = self._horizon(session)
        for place, entry in enumerate(session.log.history()):
            time = NEVER if entry.processed is None else entry.processed
            listed = not types or entry.kind in types
            if listed and place < last and time <= before and inside(time):
                yield entry

    def _horizon(self, session: Session) -> tuple[int, int]:
        """How many events show, and up to what time: a lagging history lacks the newest."""
        shown = len(session.log.done) + len(session.log.queued)
        lag = self._world.faults.take("history_lag", route="events.list", session_id=session.id)
        if lag is None:
            return shown, NEVER
        if lag.seconds:
            return shown, now_us() - int(lag.seconds * 1e6)
        return shown - lag.events, NEVER

    def _session(self, request: web.Request) -> Session:
        session = self._world.session(request.match_info["session_id"])
        thread_id = request.match_info.get("thread_id")
        if thread_id not in {None, session.head.thread_id}:
            raise not_found(f"Thread {thread_id}")
        return session


async def _reset(request: web.Request) -> None:
    """Breaks the connection once what was written has left."""
    await asyncio.sleep(0)
    if request.transport is not None:
        request.transport.abort()

"""A session's events as they happen: server-sent events, from any place, without gap or repeat.

A reader goes through these states, and is at any time told from where to go on (`id:`, see `places`):

  asked       the place is read: a bad one is a problem, before anything is sent
  joining     it waits for what it lacks (`channel.join`); heartbeats go out meanwhile
  catching up that is sent in order, each frame with a place of this reader's own
  following   the ring's frames as they are, or, while the place that it came with says more than this
              process knows, each checked against that place and with a place of its own
  dropped     it reads too slowly: a last frame says how to go on
  revoked     it may no longer read (`hub`): a last frame says so
  over        the session is archived: its last frame was sent; asking again is answered with 204

A stream ends by itself after some minutes, so that who may no longer read does not go on for ever;
readers of server-sent events come back by themselves, with the last id that they read.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import web
from pydantic import ValidationError

from router import clock
from router.api import frames
from router.api.channel import Channel, Snapshot
from router.api.context import Context
from router.api.hub import Seat
from router.api.places import BadPlace, Delivered, Lane, Mark, Place
from router.api.problems import invalid
from router.api.ring import Item, Viewer
from router.api.schemas_events import StreamQuery
from router.api.upstream import Pace
from router.loops import wait_for
from store.sessions_read import Session

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",  # nginx would hold frames back
}
_CHUNK = 65_536
_LAST_WORDS_SECONDS = 5.0


async def serve(context: Context, session: Session, request: web.Request) -> web.StreamResponse:
    """The live tail; query `deltas=true`, `last_event_id=`, header Last-Event-ID, which counts more.

    Problem invalid for a place that is none of this session's, unavailable where there is no room.
    """
    query = _query(request)
    place = _place(request.headers.get("Last-Event-ID") or query.last_event_id, session)
    if place.ended and session.status == "archived":
        return web.Response(status=HTTPStatus.NO_CONTENT)  # who gets that asks no more
    async with context.hub.viewing(session, context.principal) as seat:
        response = web.StreamResponse(headers=HEADERS)
        await response.prepare(request)
        if request.method != "HEAD":
            reader = _Reader(request, response, seat, context.hub.pace)
            await reader.run(place, deltas=query.deltas)
    return response


def _query(request: web.Request) -> StreamQuery:
    try:
        return StreamQuery.model_validate(dict(request.query))
    except ValidationError as wrong:
        errors = wrong.errors(include_url=False, include_context=False, include_input=False)
        raise invalid(
            {"loc": ["query", *error["loc"]], "msg": error["msg"]} for error in errors
        ) from None


def _place(text: str | None, session: Session) -> Place:
    if not text:
        return Place()
    try:
        return Place.read(text, session.id)
    except BadPlace as bad:
        raise invalid([{"loc": ["header", "Last-Event-ID"], "msg": str(bad)}]) from None


class _TooSlow(Exception):
    """The reader does not take what is written to it."""


class _Revoked(Exception):
    """The reader may not read any more."""


@dataclass(frozen=True, slots=True)
class _Own:
    """How a reader goes on that knows more than this process: by its own place, until `ages`."""

    delivered: Delivered
    runtime_until: int
    ours_until: int

    def ages(self, place: Place) -> bool:
        """True once what this reader was given elsewhere is too old to come again."""
        old = place.runtime.since >= self.runtime_until
        return old and place.ours.since >= self.ours_until


class _Reader:
    """One response, from the first byte to the last."""

    def __init__(
        self, request: web.Request, response: web.StreamResponse, seat: Seat, pace: Pace
    ) -> None:
        self._request, self._response = request, response
        self._seat, self._channel, self._pace = seat, seat.channel, pace
        self._until = clock.monotonic() + clock.jittered(pace.longest)
        self._session_id = seat.channel.watched.id
        self._place = ""

    async def run(self, place: Place, *, deltas: bool) -> None:
        """Returns when the reader is gone, dropped or revoked, or has everything."""
        try:
            await self._write(frames.GREETING)
            await self._serve(Delivered(place), deltas=deltas)
        except _TooSlow:
            await self._end(frames.dropped(self._place))
        except _Revoked:
            await self._end(frames.access_ended())
        except ConnectionResetError:
            return  # they have gone, in the middle of a write

    async def _serve(self, delivered: Delivered, *, deltas: bool) -> None:
        self._place = delivered.place().written(self._session_id)
        viewer = await self._catch_up(delivered, deltas=deltas)
        if viewer is None:
            return
        self._seat.viewer = viewer
        try:
            await self._follow(viewer, _own(self._channel, viewer, delivered))
        finally:
            self._channel.leave(viewer)

    # -------------------------------------------------------------- catching up

    async def _catch_up(self, delivered: Delivered, *, deltas: bool) -> Viewer | None:
        """None when this process is stopping, or the reader has gone."""
        viewer = None
        while viewer is None:
            snapshot = await self._joined(delivered.place())
            if snapshot is None:
                return None
            await self._tell(snapshot, delivered)
            viewer = self._channel.enter(snapshot, deltas=deltas)
        return viewer

    async def _joined(self, place: Place) -> Snapshot | None:
        answer = self._channel.join(place)
        patience = min(self._pace.heartbeat, self._pace.rights)
        try:
            while not self._channel.closing:
                self._judge()
                done, _ = await asyncio.wait([answer], timeout=patience)
                if done:
                    return None if answer.cancelled() else answer.result()
                await self._write(frames.HEARTBEAT)
        finally:
            answer.cancel()
        return None

    async def _tell(self, snapshot: Snapshot, delivered: Delivered) -> None:
        chunk = bytearray()
        for told in snapshot.told:
            if delivered.knows(told.mark):
                continue
            delivered.add(told.mark, last=told.last)
            self._place = delivered.place().written(self._session_id)
            chunk += frames.placed(self._place, told.lines)
            if len(chunk) >= _CHUNK:
                await self._write(bytes(chunk))
                await clock.sleep(0)  # a long history is not everybody's business
                chunk.clear()
        if chunk:
            await self._write(bytes(chunk))

    # -------------------------------------------------------------- following

    async def _follow(self, viewer: Viewer, own: _Own | None) -> None:
        while clock.monotonic() < self._until and not self._channel.closing:
            viewer.awake.clear()
            self._judge()
            items = self._channel.behind(viewer)
            if viewer.dropped or items is None:
                raise _TooSlow
            if items:
                own = await self._pass_on(viewer, items, own)
            elif self._channel.over:
                return
            elif not await wait_for(viewer.awake, self._pace.heartbeat):
                await self._write(frames.HEARTBEAT)

    async def _pass_on(self, viewer: Viewer, items: list[Item], own: _Own | None) -> _Own | None:
        """Writes as much as fits into one chunk; what is not written counts as not read."""
        chunk, item = bytearray(), items[0]
        for item in items:
            if item.mark is None:
                chunk += item.frame if viewer.deltas and item.begun >= viewer.began else b""
            elif own is None:
                self._place = item.place
                chunk += item.frame
            else:
                chunk += self._by_own_place(own, item, item.mark)
                own = None if own.ages(Place.read(item.place, self._session_id)) else own
            if len(chunk) >= _CHUNK:
                break
        if chunk:
            await self._write(bytes(chunk), viewer)
        self._channel.has_read(viewer, item)
        return own

    def _by_own_place(self, own: _Own, item: Item, mark: Mark) -> bytes:
        if own.delivered.knows(mark):
            return b""
        own.delivered.add(mark, last=item.last)
        self._place = own.delivered.place().written(self._session_id)
        return frames.placed(self._place, item.lines)

    def _judge(self) -> None:
        if self._seat.revoked:
            raise _Revoked

    # -------------------------------------------------------------- writing

    async def _write(self, data: bytes, viewer: Viewer | None = None) -> None:
        try:
            async with asyncio.timeout(self._pace.stall) as limit:
                if viewer is not None:
                    viewer.writing = limit
                await self._response.write(data)
        except TimeoutError:
            raise _TooSlow from None
        finally:
            if viewer is not None:
                viewer.writing = None

    async def _end(self, last: bytes) -> None:
        """Says why, behind what was written before; who does not read that either is cut off."""
        try:
            async with asyncio.timeout(_LAST_WORDS_SECONDS):
                await self._response.write(last)
                await self._response.write_eof()
        except (TimeoutError, ConnectionResetError):
            if self._request.transport is not None:
                self._request.transport.abort()


def _own(channel: Channel, viewer: Viewer, delivered: Delivered) -> _Own | None:
    """None where what this process told until the reader joined is all that the reader knows.

    What it told since then counts as not known: that is what stands in the ring before the reader.
    """
    here, came = channel.place(), delivered.place()
    marks = [item.mark for item in channel.behind(viewer) or [] if item.mark is not None]
    again = [mark for mark in marks if delivered.knows(mark)]
    runtime = _more(came.runtime, here.runtime, channel.has)
    ours = _more(came.ours, here.ours, channel.has)
    if not (runtime or ours or again):
        return None
    if any(not mark.ours for mark in again):
        runtime = came.runtime.at + 1
    if any(mark.ours for mark in again):
        ours = came.ours.at + 1
    return _Own(delivered, runtime, ours)


def _more(came: Lane, here: Lane, known: Callable[[bytes], bool]) -> int:
    """Until when a place says more than is known here; 0 if it does not."""
    more = here.at < came.at or not all(map(known, (*came.ids, *came.queued)))
    return came.at + 1 if more else 0

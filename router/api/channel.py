"""What one session's viewers in this process share: what happened, in one order, each thing once.

States of a channel, and what is read in which order:

  waiting    the session has no runtime session yet: only our rows are read
  attaching  the runtime's stream is opened first, its history listed after: what happens in between is
             on the stream. The stream ends, at any time: attaching again
  live       the stream is followed; a while after each attach the history is listed again, since it
             trails, and so it is when a session that runs has been silent for long
  over       archived: the history once more, then the last frame
  gone       the runtime forgot its session: as waiting, until ours has another

Events come from the stream, from lists and, those of ours, from our rows. `_publish` lets each of them
into the ring once, by its mark, whichever way it comes. Lists go back a window before the newest that
is known, rows by less, so what is older has been seen, or is too late (`places`).

A viewer joins with a place. If the ring goes back that far it is served from memory; else from a list,
made for all who wait at that moment: they get what it shows and what is in the ring, without what they
have, and go on at the ring's end as it was then. What a list shows and the channel did not know is
published before that, so nothing of it comes again.

There is one order for all who watch here, whenever they came: that in which things were let in, and
before those, by time, what is older than this channel. `order` remembers it for longer than the ring.
Between replicas there is no such order: what one hears live another may learn from a list.

A viewer that was given all that its place lacks has, as far back as places remember, just what the
ring was given: so a frame's place is written once for all of them. `stream` tells who is no such
viewer.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from router import clock
from router.api import frames
from router.api.frames import Told
from router.api.places import OUR_WINDOW, RUNTIME_WINDOW, Delivered, Mark, Place
from router.api.ring import Item, Ring, Viewer
from router.loops import wait_for
from router.runtime.client import Event
from store.session_steps import State, Step

_PATIENCE_SECONDS = 1.0
_MOST_SEEN = 4_096


@dataclass(frozen=True, slots=True)
class Watched:
    """The session that is watched."""

    workspace_id: UUID
    deployed_agent_id: UUID
    id: UUID


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that somebody who joins may lack, in order; `number` is what follows it in the ring."""

    told: tuple[Told, ...]
    number: int


@dataclass(frozen=True, slots=True)
class Read:
    """What was listed, and from where on; None: all there is."""

    events: list[Event]
    steps: list[Step]
    runtime_since: datetime | None
    ours_since: datetime | None


@dataclass(frozen=True, slots=True)
class Joining:
    """Somebody who waits for a list from their place on."""

    place: Place
    answer: "asyncio.Future[Snapshot]"


class _Known:
    """What was let in of one lane. `floor`: from then on all of it is in the ring."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._at: dict[bytes, int] = {}
        self._queued: dict[bytes, None] = {}
        self.newest: int | None = None
        self.floor: int | None = None

    def has(self, key: bytes) -> bool:
        return key in self._at or key in self._queued

    def knows(self, mark: Mark) -> bool:
        return self.has(mark.key) or (mark.at is None and mark.twin in self._at)

    @property
    def oldest(self) -> int:
        """How far back lists go."""
        return self.back_from(self.newest or 0)

    def back_from(self, at: int) -> int:
        """A window before that."""
        return max(0, at - self._window)

    def begin(self, fresh: list[Told], since: datetime | None, places: list[int]) -> None:
        """Before the first list: from where on the ring has it all, and what is known to be older."""
        if self.floor is None:
            times = [told.mark.at for told in fresh if told.mark.at is not None]
            read_from = self.back_from(frames.micros(since)) if since is not None else 0
            self.floor = max(read_from, self.back_from(max(times, default=0)))
        if self.newest is None and any(places):
            self.newest = max(places)

    def add(self, mark: Mark) -> None:
        if mark.at is None:
            self._queued[mark.key] = None
            return
        if mark.twin is not None:
            self._queued.pop(mark.twin, None)
        self._at[mark.key] = mark.at
        self.newest = max(self.newest or 0, mark.at)
        if len(self._at) > _MOST_SEEN:
            since = self.newest - 2 * self._window
            self._at = {key: at for key, at in self._at.items() if at >= since}

    def lost(self, mark: Mark) -> None:
        """It is not in the ring any more."""
        if mark.at is not None and self.floor is not None:
            self.floor = max(self.floor, mark.at + 1)


class _Order:
    """In which order things were let in, for so many of the newest."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}

    def add(self, mark: Mark, number: int) -> None:
        self._numbers[mark.key] = number
        if len(self._numbers) > 2 * _MOST_SEEN:
            self._numbers = dict(list(self._numbers.items())[_MOST_SEEN:])

    def sort(self, told: Iterable[Told]) -> list[Told]:
        """As those heard them who were there: what was not let in is older than all that was."""
        by_time = frames.in_order(told)
        return sorted(by_time, key=lambda one: (one.last, self._numbers.get(one.mark.key, -1)))


class Channel:
    """One session as this process knows it. Its upstream is read elsewhere (`upstream`)."""

    def __init__(self, watched: Watched) -> None:
        self.watched = watched
        self.state: State | None = None
        self.closing = False
        self.over = False
        self.changed = asyncio.Event()
        self.joined = asyncio.Event()
        self._ring, self._order = Ring(), _Order()
        self._runtime, self._ours = _Known(RUNTIME_WINDOW), _Known(OUR_WINDOW)
        self._delivered = Delivered(Place())
        self._viewers: dict[Viewer, None] = {}
        self._waiting: list[Joining] = []
        self._given = False
        self._previews: dict[str, int] = {}
        self._progress = asyncio.Event()

    # -------------------------------------------------------------- viewers

    def join(self, place: Place) -> "asyncio.Future[Snapshot]":
        """What somebody at that place lacks, once it is known."""
        answer: asyncio.Future[Snapshot] = asyncio.get_running_loop().create_future()
        if self._reaches(place):
            answer.set_result(self._snapshot(()))
        else:
            self._waiting.append(Joining(place, answer))
            self.joined.set()
        return answer

    def enter(self, snapshot: Snapshot, *, deltas: bool) -> Viewer | None:
        """A viewer that goes on behind its snapshot; None if the ring has gone on too far since."""
        if snapshot.number < self._ring.first:
            return None
        viewer = Viewer(
            snapshot.number, self._ring.before(snapshot.number), deltas, snapshot.number
        )
        self._viewers[viewer] = None
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """They watch no more."""
        self._viewers.pop(viewer, None)
        self._progress.set()

    def behind(self, viewer: Viewer) -> list[Item] | None:
        """What they have not read yet; None if some of that is gone."""
        return self._ring.behind(viewer)

    def has_read(self, viewer: Viewer, item: Item) -> None:
        """They have everything up to there."""
        viewer.number, viewer.end = item.number + 1, item.end
        self._progress.set()

    def has(self, key: bytes) -> bool:
        """True for the hash of what was let in here, if that is not too long ago."""
        return self._runtime.has(key) or self._ours.has(key)

    def place(self) -> Place:
        """The place behind everything that was let in."""
        return self._delivered.place()

    def close(self) -> None:
        """Everybody is to go and watch elsewhere."""
        self.closing = True
        for joining in self._waiting:
            joining.answer.cancel()
        self._wake()

    # -------------------------------------------------------------- joining

    @property
    def begun(self) -> bool:
        """True once the first list was let in."""
        return self._given

    @property
    def awaited(self) -> bool:
        """True if somebody waits for a list."""
        return any(not one.answer.done() for one in self._waiting)

    def take_waiting(self) -> list[Joining]:
        """Those who wait for a list, of whom the caller takes care."""
        waiting, self._waiting = self._waiting, []
        return [one for one in waiting if not one.answer.done()]

    def put_back(self, waiting: list[Joining]) -> None:
        """They have to wait on."""
        self._waiting = waiting + self._waiting
        self.joined.set()

    def runtime_since(self, waiting: Iterable[Joining]) -> datetime | None:
        """From where on the runtime's history is wanted; None: all of it. A window before is read."""
        wanted = [joining.place.runtime.at for joining in waiting]
        known = self._runtime.newest
        return _earliest(wanted if known is None else [*wanted, known])

    def ours_since(self, waiting: Iterable[Joining] = ()) -> datetime | None:
        """From where on our rows are wanted, the window included."""
        wanted = [joining.place.ours.since for joining in waiting]
        known = self._ours.oldest if self._ours.newest is not None else None
        return _earliest(wanted if known is None else [*wanted, known])

    async def give(self, read: Read, to: list[Joining]) -> None:
        """Lets in what is new of a list, and hands all of it to those who waited for it."""
        listed = frames.in_order(map(frames.of_runtime, read.events))
        stepped = _told(read.steps)
        fresh = self._fresh(self._ours, stepped), self._fresh(self._runtime, listed)
        self._ours.begin(fresh[0], read.ours_since, [one.place.ours.at for one in to])
        self._runtime.begin(fresh[1], read.runtime_since, [one.place.runtime.at for one in to])
        self._given = True
        for told in frames.in_order([*fresh[0], *fresh[1]]):
            self._publish(told)
            await self.room()
        snapshot = self._snapshot([*listed, *stepped])
        for joining in to:
            if not joining.answer.done():
                joining.answer.set_result(snapshot)

    def _reaches(self, place: Place) -> bool:
        """True if everything from that place on is in the ring."""
        floors = (self._runtime.floor, place.runtime.since), (self._ours.floor, place.ours.since)
        return all(floor is not None and floor <= since for floor, since in floors)

    def _snapshot(self, listed: Iterable[Told]) -> Snapshot:
        found = {one.mark.key: one for one in listed}
        for item in self._ring.all():
            if item.mark is not None:
                found.setdefault(item.mark.key, Told(item.mark, item.lines, item.last))
        news = (t for t in found.values() if t.mark.at is not None or t.mark.twin not in found)
        return Snapshot(tuple(self._order.sort(news)), self._ring.next)

    # -------------------------------------------------------------- letting in

    def live(self, event: Event) -> None:
        """An event of the stream."""
        if event["type"] in frames.PREVIEWS:
            self._preview(event)
            return
        if event["type"] == "span.model_request_end":
            self._previews.clear()
        self._previews.pop(event.get("id") or "", None)
        self._publish(frames.of_runtime(event))

    def steps(self, steps: list[Step]) -> None:
        """Rows of ours, of which some may be known."""
        for told in self._fresh(self._ours, _told(steps)):
            self._publish(told)

    def note(self, state: State | None) -> None:
        """The session's row as it is now; `changed` is set when there is something to do about it."""
        before, self.state = self.state, state
        if before is None or state is None or _what_matters(before) != _what_matters(state):
            self.changed.set()

    def finish(self) -> None:
        """Tells the last of an archived session."""
        assert self.state is not None  # noqa: S101  # the caller has seen that it is archived
        assert self.state.archived_at is not None  # noqa: S101  # likewise
        told = frames.of_archive(self.watched.id, self.state.archived_at)
        self._publish(told)
        self.over = True
        self._wake()

    def forget_previews(self) -> None:
        """The stream that showed them is over; no other goes on with them."""
        self._previews.clear()

    async def room(self) -> None:
        """Waits a moment for those who are far behind, and drops who does not come up."""
        until = clock.monotonic() + _PATIENCE_SECONDS
        while (slow := self._slow()) and (left := until - clock.monotonic()) > 0:
            self._progress.clear()
            await wait_for(self._progress, left)
        for viewer in slow:
            viewer.drop()
            self._viewers.pop(viewer, None)

    def _slow(self) -> list[Viewer]:
        return [viewer for viewer in self._viewers if self._ring.is_slow(viewer)]

    def _fresh(self, known: _Known, listed: list[Told]) -> list[Told]:
        """What of a list may be new to the ring: all that is not from before the window.

        The first list is for those who waited for it: nobody else hears of what was long ago.
        """
        since = known.oldest
        if known.newest is None and not self._given:
            since = known.back_from(max((told.mark.at or 0 for told in listed), default=0))
        return [told for told in listed if told.mark.at is None or told.mark.at >= since]

    def _publish(self, told: Told) -> None:
        known = self._ours if told.mark.ours else self._runtime
        if known.knows(told.mark):
            return
        known.add(told.mark)
        self._order.add(told.mark, self._ring.next)
        self._delivered.add(told.mark, last=told.last)
        place = self._delivered.place().written(self.watched.id)
        frame = frames.placed(place, told.lines)
        lines_at = len(frame) - len(told.lines)
        self._add(
            Item(
                self._ring.next,
                self._ring.end + len(frame),
                frame,
                lines_at,
                told.mark,
                place,
                last=told.last,
            )
        )

    def _preview(self, event: Event) -> None:
        if not any(viewer.deltas for viewer in self._viewers):
            return
        number = self._ring.next
        if event["type"] == "event_start":
            self._previews[event["event"]["id"]] = number
            begun: int | None = number
        else:
            begun = self._previews.get(event["event_id"])
        if begun is not None:
            frame = frames.lines(event["type"], event)
            self._add(Item(number, self._ring.end + len(frame), frame, begun=begun))

    def _add(self, item: Item) -> None:
        for gone in self._ring.add(item):
            if gone.mark is not None:
                (self._ours if gone.mark.ours else self._runtime).lost(gone.mark)
        self._wake()

    def _wake(self) -> None:
        for viewer in self._viewers:
            viewer.awake.set()


def _what_matters(state: State) -> tuple[str | None, bool]:
    return state.anthropic_session_id, state.archived_at is not None


def _told(steps: list[Step]) -> list[Told]:
    return [told for step in steps if (told := frames.of_step(step)) is not None]


def _earliest(times: list[int]) -> datetime | None:
    """The earliest of them; None for all time, and where there is none."""
    first = min(times, default=0)
    return frames.when(first) if first else None

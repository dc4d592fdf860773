"""Who looks at the page, and what each has yet to be told."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from bot.local.changes import WHOLE, Changes, Key
from bot.local.model import Json

Place = tuple[str, str]
Dirty = dict[str, dict[Key, None]]

# More than that of one kind is told by showing everything anew.
MOST_KEYS = 2_000
_MOST_PLACES = 64


class Viewer:
    """One open page: the keys of what changed since it was last told, each once.

    `calls` and `deliveries` are the numbers of the last records it was told of.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.deliveries = 0
        self.ended = False
        self.place: Place | None = None
        self._dirty: Dirty = {WHOLE: {"": None}}
        self._woken = asyncio.Event()
        self._woken.set()
        self._looks = asyncio.Event()
        self._behind: Json | None = None
        self._told_behind = True

    def marked(self, topic: str, key: Key) -> None:
        """Something changed."""
        keys = self._dirty.setdefault(topic, {})
        keys[key] = None
        if len(keys) > MOST_KEYS or topic == WHOLE:
            self._dirty = {WHOLE: {"": None}}
        self._woken.set()

    def take(self) -> Dirty:
        """What changed since the last call."""
        dirty, self._dirty = self._dirty, {}
        self._woken.clear()
        return {WHOLE: {"": None}} if WHOLE in dirty else dirty

    async def woken_within(self, seconds: float) -> bool:
        """Wait until there is something to tell; False when there was nothing for so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return False
        return True

    def end(self) -> None:
        """Close the page's connection."""
        self.ended = True
        self._woken.set()

    # ------------------------------------------------------------------- behind

    def look(self, place: Place | None) -> None:
        """The page shows what is behind that thread from now on; None: behind none."""
        self.place, self._behind = place, None
        if place is None:
            self._looks.clear()
        else:
            self._looks.set()

    async def looking(self) -> Place:
        """Wait until the page looks at a thread; which."""
        while self.place is None:
            await self._looks.wait()
        return self.place

    def see(self, place: Place, behind: Json) -> None:
        """What is behind the thread now; told when it is not what it was."""
        if place == self.place and behind != self._behind:
            self._behind, self._told_behind = behind, False
            self._woken.set()

    def take_behind(self) -> Json | None:
        """What is behind the thread, if the page was not told yet."""
        if self._told_behind or self.place is None:
            return None
        self._told_behind = True
        return self._behind


class Viewers:
    """Every open page by its own id; one that connects again takes the place of its old self."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._open: dict[str, Viewer] = {}
        self._places: dict[str, Place] = {}

    @contextmanager
    def joined(self, viewer_id: str) -> Iterator[Viewer]:
        """A page while it is connected."""
        self._end(viewer_id)
        viewer = self._open[viewer_id] = Viewer()
        viewer.look(self._places.get(viewer_id))
        self._changes.watch(viewer.marked)
        try:
            yield viewer
        finally:
            self._changes.unwatch(viewer.marked)
            if self._open.get(viewer_id) is viewer:
                del self._open[viewer_id]

    def watch(self, viewer_id: str, place: Place | None) -> None:
        """That page looks at another thread; also one that is about to connect."""
        self._places.pop(viewer_id, None)
        if place is not None:
            self._places[viewer_id] = place
        while len(self._places) > _MOST_PLACES:
            del self._places[next(iter(self._places))]
        if viewer_id in self._open:
            self._open[viewer_id].look(place)

    def close(self) -> None:
        """Close all connections."""
        for viewer_id in list(self._open):
            self._end(viewer_id)

    def _end(self, viewer_id: str) -> None:
        if viewer_id in self._open:
            self._open[viewer_id].end()

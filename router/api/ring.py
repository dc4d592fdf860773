"""The newest frames of one session, the same bytes for all who watch it, and how far each has read.

Nobody has a queue of their own: a viewer is a number in the ring. Who is more than MOST_FRAMES or
MOST_BYTES behind is slow; whoever adds waits a moment for them and then goes on without.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from itertools import islice

from router.api.places import Mark

MOST_FRAMES = 256
MOST_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Item:
    """A frame. `end`: how many bytes there were up to here; `lines_at`: where its `id:` is over.

    `mark` is None for a preview, and `begun` the number of that preview's first frame.
    """

    number: int
    end: int
    frame: bytes
    lines_at: int = 0
    mark: Mark | None = None
    place: str = ""
    begun: int = 0
    last: bool = False

    @property
    def lines(self) -> bytes:
        """The frame without its place."""
        return self.frame[self.lines_at :]


@dataclass(eq=False, slots=True)
class Viewer:
    """Somebody who watches: `began` was the first frame for them, `number` is the next.

    `end`: how many bytes they have.
    """

    number: int
    end: int
    deltas: bool
    began: int
    awake: asyncio.Event = field(default_factory=asyncio.Event)
    dropped: bool = False
    writing: asyncio.Timeout | None = None

    def drop(self) -> None:
        """Ends what is being written to them."""
        self.dropped = True
        self.awake.set()
        if self.writing is not None:
            self.writing.reschedule(asyncio.get_running_loop().time())


class Ring:
    """Twice as long as anybody may be behind, so that who is waited for finds what they need."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self.next = 0
        self.end = 0

    def add(self, item: Item) -> list[Item]:
        """Adds the next one, and answers what had to go for it."""
        self._items.append(item)
        self.next, self.end = item.number + 1, item.end
        gone = []
        while len(self._items) > 2 * MOST_FRAMES or self.end - self._begin > 2 * MOST_BYTES:
            if len(self._items) == 1:
                break
            gone.append(self._items.popleft())
        return gone

    @property
    def _begin(self) -> int:
        first = self._items[0]
        return first.end - len(first.frame)

    @property
    def first(self) -> int:
        """The number of the oldest frame that is there."""
        return self._items[0].number if self._items else self.next

    def before(self, number: int) -> int:
        """How many bytes there were before a frame that is there, or is the next."""
        if number == self.next:
            return self.end
        item = self._items[number - self.first]
        return item.end - len(item.frame)

    def all(self) -> list[Item]:
        """Everything that is there."""
        return list(self._items)

    def behind(self, viewer: Viewer) -> list[Item] | None:
        """What they have not read yet; None if some of that is gone."""
        if viewer.number < self.first:
            return None
        return list(islice(self._items, viewer.number - self.first, None))

    def is_slow(self, viewer: Viewer) -> bool:
        """True if they are farther behind than they may be."""
        return self.next - viewer.number > MOST_FRAMES or self.end - viewer.end > MOST_BYTES

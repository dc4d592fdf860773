"""The messages in memory, found by where they stand."""

from bisect import bisect_left, bisect_right, insort

from bot.local.model import Message


class Thread(list[str]):
    """The ts of a thread's replies, or of a channel's top level, in order."""

    def bounds(self, oldest: str, latest: str, *, inclusive: bool) -> tuple[int, int]:
        """The slice after `oldest` and before `latest`, with the ends themselves if `inclusive`."""
        low, high = (bisect_left, bisect_right) if inclusive else (bisect_right, bisect_left)
        return low(self, oldest), high(self, latest)

    def after(self, cursor: str) -> int:
        """The place of the first ts behind `cursor`."""
        return bisect_right(self, cursor)

    def before(self, cursor: str) -> int:
        """The place behind the last ts before `cursor`."""
        return bisect_left(self, cursor)

    def drop(self, ts: str) -> None:
        """Forget one ts that may or may not be here."""
        place = bisect_left(self, ts)
        if place < len(self) and self[place] == ts:
            del self[place]


class Index:
    """Every message, by channel and ts, by thread, and by channel."""

    def __init__(self) -> None:
        self.messages: dict[tuple[str, str], Message] = {}
        self._top: dict[str, Thread] = {}
        self._threads: dict[tuple[str, str], Thread] = {}
        self._everywhere: dict[str, Thread] = {}

    def put(self, message: Message) -> bool:
        """Add a message or replace the one of its place; whether it is new."""
        key = (message.channel, message.ts)
        known = key in self.messages
        self.messages[key] = message
        if not known:
            for stamps in self._places(message):
                insort(stamps, message.ts)
        return not known

    def drop(self, message: Message) -> None:
        """Forget a message."""
        del self.messages[message.channel, message.ts]
        for stamps in self._places(message):
            stamps.drop(message.ts)

    def _places(self, message: Message) -> list[Thread]:
        places = [self._everywhere.setdefault(message.channel, Thread())]
        if message.thread_ts is not None:
            thread = (message.channel, message.thread_ts)
            places.append(self._threads.setdefault(thread, Thread()))
        if message.thread_ts is None or message.subtype == "thread_broadcast":
            places.append(self._top.setdefault(message.channel, Thread()))
        return places

    def replies(self, channel: str, root: str) -> Thread:
        """The ts of a thread's replies, without its root."""
        return self._threads.get((channel, root)) or Thread()

    def top(self, channel: str) -> Thread:
        """The ts of what stands in the channel itself."""
        return self._top.get(channel) or Thread()

    def latest(self, channel: str) -> str | None:
        """The ts of the newest message of a channel, in a thread or not."""
        stamps = self._everywhere.get(channel)
        return stamps[-1] if stamps else None

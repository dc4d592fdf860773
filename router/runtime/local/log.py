"""The events of one session: processed ones by time, queued ones behind them."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from router.runtime.local.wire import Json, dump, new_id, now_us, stamp

# Behind every processing time, so that queued events sort last.
NEVER = 1 << 62


@dataclass(slots=True)
class Entry:
    """One event. `seq` is its place in order of receipt, `processed` its time or None."""

    seq: int
    body: Json
    processed: int | None
    raw: str = ""

    @property
    def kind(self) -> str:
        """The event's type."""
        return str(self.body["type"])

    @property
    def key(self) -> list[int]:
        """Its place in the history."""
        return [NEVER if self.processed is None else self.processed, self.seq]


@dataclass(frozen=True, slots=True)
class Fresh:
    """An event as it was when it was said: user events are said twice."""

    entry: Entry
    kind: str
    raw: str


@dataclass(slots=True)
class EventLog:
    """Appended to only; `fresh` holds what no one outside has seen yet."""

    done: list[Entry] = field(default_factory=list)
    queued: dict[int, Entry] = field(default_factory=dict)
    fresh: list[Fresh] = field(default_factory=list)
    seq: int = 0
    last: int = 0

    def emit(self, kind: str, **fields: object) -> str:
        """Adds an event of the runtime's own; answers its id."""
        event_id = str(fields.pop("id", None) or new_id("sevt"))
        entry = self._add({"type": kind, "id": event_id, **fields})
        self._settle(entry)
        return event_id

    def receive(self, body: Json, *, queue: bool) -> Entry:
        """Adds a user event under a new id, queued or processed on receipt."""
        entry = self._add(body)
        if queue:
            body["processed_at"] = None
            self.queued[entry.seq] = entry
            self._say(entry)
        else:
            self._settle(entry)
        return entry

    def process(self, entry: Entry) -> None:
        """Gives a queued event its time and says it again under the same id."""
        del self.queued[entry.seq]
        self._settle(entry)

    def waiting(self, *kinds: str) -> list[Entry]:
        """The queued events of these types, in order of receipt."""
        return [entry for entry in self.queued.values() if entry.kind in kinds]

    def drain(self) -> list[Fresh]:
        """What was said since the last call."""
        fresh, self.fresh = self.fresh, []
        return fresh

    def history(self) -> Iterator[Entry]:
        """All events by processing time, queued ones last."""
        yield from self.done
        yield from self.queued.values()

    def newest(self, count: int) -> list[str]:
        """The last events of the history, as JSON."""
        last = [*self.done[-count:], *self.queued.values()]
        return [entry.raw for entry in last[-count:]]

    def received(self) -> list[Entry]:
        """The events that users sent, in order of receipt."""
        users = (e for e in self.history() if e.kind.startswith(("user.", "system.")))
        return sorted(users, key=lambda entry: entry.seq)

    def restore(self, seq: int, body: Json, raw: str, processed: int | None) -> None:
        """Puts back an event from storage; callers go by processing time."""
        entry = Entry(seq, body, processed, raw)
        self.seq = max(self.seq, seq)
        if processed is None:
            self.queued[seq] = entry
        else:
            self.last = max(self.last, processed)
            self.done.append(entry)

    def tick(self) -> int:
        """A time in microseconds after every earlier one of this session."""
        self.last = max(now_us(), self.last + 1)
        return self.last

    def _add(self, body: Json) -> Entry:
        self.seq += 1
        return Entry(self.seq, body, None)

    def _settle(self, entry: Entry) -> None:
        entry.processed = self.tick()
        entry.body["processed_at"] = stamp(entry.processed)
        self.done.append(entry)
        self._say(entry)

    def _say(self, entry: Entry) -> None:
        entry.raw = dump(entry.body)
        self.fresh.append(Fresh(entry, entry.kind, entry.raw))

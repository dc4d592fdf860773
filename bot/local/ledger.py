"""The events that arose, for tests to look at and to deliver again."""

from bot.local.deliver import message_ts
from bot.local.model import Json

_KEPT = 20_000


class Ledger:
    """The newest 20,000 envelopes, by event_id and by the message they are about."""

    def __init__(self) -> None:
        self._envelopes: dict[str, Json] = {}
        self._events_of: dict[str, list[str]] = {}

    def keep(self, envelopes: list[Json]) -> list[Json]:
        """Remember these; returns them."""
        for envelope in envelopes:
            self._envelopes[envelope["event_id"]] = envelope
            self._events_of.setdefault(message_ts(envelope) or "", []).append(envelope["event_id"])
        while len(self._envelopes) > _KEPT:
            self._forget(next(iter(self._envelopes)))
        return envelopes

    def about(self, ts_or_event_id: str) -> list[Json]:
        """The events about a message, in the order they arose, or the one event of that id."""
        if ts_or_event_id in self._envelopes:
            return [self._envelopes[ts_or_event_id]]
        return [self._envelopes[one] for one in self._events_of.get(ts_or_event_id, ())]

    def clear(self) -> None:
        """Forget all of them."""
        self._envelopes.clear()
        self._events_of.clear()

    def _forget(self, event_id: str) -> None:
        ts = message_ts(self._envelopes.pop(event_id)) or ""
        self._events_of[ts].remove(event_id)
        if not self._events_of[ts]:
            del self._events_of[ts]

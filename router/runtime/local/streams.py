"""Live streams: what is said in a session, to everyone who listens now."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from router.runtime.local.wire import dump, frame


@dataclass(eq=False, slots=True)
class Listener:
    """One open stream. `deltas` are the event types it wants previewed; `held_back`: a late frame."""

    session_id: str
    deltas: frozenset[str]
    frames: deque[tuple[str, bytes]] = field(default_factory=deque)
    awake: asyncio.Event = field(default_factory=asyncio.Event)
    previews: set[str] = field(default_factory=set)
    held_back: bytes = b""
    ended: bool = False
    cut: bool = False

    def say(self, kind: str, data: bytes) -> None:
        """Queues one frame."""
        self.frames.append((kind, data))
        self.awake.set()

    def end(self) -> None:
        """Ends the stream once its queue is empty."""
        self.ended = True
        self.awake.set()

    def break_off(self) -> None:
        """Has the stream reset, whatever it still had to say."""
        self.cut = True
        self.awake.set()

    async def listen(self, seconds: float) -> bool:
        """Waits for frames or the end; False when so many seconds passed without."""
        try:
            async with asyncio.timeout(seconds):
                await self.awake.wait()
        except TimeoutError:
            return False
        self.awake.clear()
        return True


class Hub:
    """All open streams by session."""

    def __init__(self) -> None:
        """No streams."""
        self._listeners: dict[str, set[Listener]] = defaultdict(set)

    def open(self, session_id: str, deltas: frozenset[str]) -> Listener:
        """A stream that hears everything from now on."""
        listener = Listener(session_id, deltas)
        self._listeners[session_id].add(listener)
        return listener

    def close(self, listener: Listener) -> None:
        """The stream is gone."""
        listeners = self._listeners[listener.session_id]
        listeners.discard(listener)
        if not listeners:
            del self._listeners[listener.session_id]

    def counts(self) -> dict[str, int]:
        """Open streams by session."""
        return {session_id: len(open_) for session_id, open_ in self._listeners.items()}

    def wants(self, session_id: str, kind: str) -> bool:
        """Whether any stream of the session asked for previews of this type."""
        return any(kind in listener.deltas for listener in self._listeners.get(session_id, ()))

    def publish(self, session_id: str, events: Iterable[tuple[str, str]]) -> None:
        """Says events, given as type and JSON, to every stream of the session."""
        listeners = self._listeners.get(session_id)
        if not listeners:
            return
        for kind, raw in events:
            data = frame(kind, raw)
            for listener in listeners:
                listener.say(kind, data)
                if kind == "span.model_request_end":
                    listener.previews.clear()

    def start_preview(self, session_id: str, kind: str, event_id: str) -> None:
        """Says `event_start` to the streams that asked for such previews."""
        body = {"type": "event_start", "event": {"type": kind, "id": event_id}}
        for listener in self._listeners.get(session_id, ()):
            if kind in listener.deltas:
                listener.previews.add(event_id)
                listener.say("event_start", frame("event_start", dump(body)))

    def preview(self, session_id: str, event_id: str, text: str) -> None:
        """Says a fragment to the streams that heard this event's start."""
        delta = {"type": "content_delta", "index": 0, "content": {"type": "text", "text": text}}
        body = {"type": "event_delta", "event_id": event_id, "delta": delta}
        for listener in self._listeners.get(session_id, ()):
            if event_id in listener.previews:
                listener.say("event_delta", frame("event_delta", dump(body)))

    def end_session(self, session_id: str) -> None:
        """Ends the streams of a session that was deleted."""
        for listener in self._listeners.get(session_id, ()):
            listener.end()

    def cut_all(self) -> None:
        """Breaks every stream off."""
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.break_off()

    def end_all(self) -> None:
        """Ends every stream."""
        for session_id in list(self._listeners):
            self.end_session(session_id)

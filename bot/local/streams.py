"""The streamed messages that are still open, and how they end."""

from collections.abc import Callable
from dataclasses import replace

from bot.local.clock import Clock
from bot.local.model import Message, Stream, StreamingState
from bot.local.state import State

# Undocumented: 306 s in one measurement, "about 5 minutes" in all others, whatever is appended.
STREAM_SECONDS = 300.0


class Streams:
    """Keeps track of open streams; `change` stores an edit and sends its events."""

    def __init__(
        self, state: State, clock: Clock, change: Callable[[Message, Message], None]
    ) -> None:
        self._state = state
        self._clock = clock
        self._change = change
        self.restore()

    def restore(self) -> None:
        """Take the open streams from the state, as after a restart or a reset."""
        self._open = {
            (message.channel, message.ts): message.stream.started
            for message in self._state.messages()
            if message.stream is not None and message.streaming_state == "in_progress"
        }

    def opened(self, message: Message, stream: Stream) -> None:
        """Watch a new stream until it ends."""
        self._open[message.channel, message.ts] = stream.started

    def finish(
        self, before: Message, after: Message, state: StreamingState = "completed"
    ) -> Message:
        """End a stream; returns it as it looks from now on, which is `after` in that state."""
        self._open.pop((before.channel, before.ts), None)
        after = replace(after, streaming_state=state)
        self._change(before, after)
        return after

    def expire(self, *, everything: bool = False) -> None:
        """End the streams whose time is over (or all): errored, with the text so far."""
        due = self._clock.now() - STREAM_SECONDS
        for key, started in list(self._open.items()):
            if everything or started <= due:
                message = self._taken(key)
                if message is not None:
                    self.finish(message, message, "errored")

    def stop(self, channel: str, thread_ts: str, user: str) -> list[str]:
        """A person stops the streams of a thread; returns their ts."""
        stopped = []
        for key in list(self._open):
            message = self._state.message(*key)
            if message is None or message.stream is None:
                continue
            if (message.channel, message.thread_ts) == (channel, thread_ts):
                stream = replace(message.stream, stopped_by=user)
                self.finish(message, replace(message, stream=stream))
                stopped.append(message.ts)
        return stopped

    def _taken(self, key: tuple[str, str]) -> Message | None:
        del self._open[key]
        message = self._state.message(*key)
        # Somebody may have deleted it meanwhile.
        return message if message is not None and message.stream is not None else None

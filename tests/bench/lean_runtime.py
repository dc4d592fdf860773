"""A runtime for benches: answers at once, or streams at a steady pace, and takes hardly any CPU for it.

    python -m tests.bench.lean_runtime

It says where it listens. Sessions, their streams, histories and sends behave as those of the local
runtime (`router.runtime.local`), whose events these are; nothing is checked and nothing is kept on disk.
An answer names the notes of the messages that it answers. `POST /_bench/mode`: `{"words_a_second": 1}`
makes answers of words without end until an interrupt, `{"pause": 0.5}` waits before the answer.
`GET /_bench/heard` tells when what was received and sent, on the clock that all processes share.
"""

import asyncio
import json
import random
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any
from urllib.parse import parse_qs, urlsplit

from bot.process import run
from tests.bench import wire
from tests.bench.wire import Request

_NOTE = re.compile(rb"note-[0-9]+-[0-9]+")
_USAGE = {
    "input_tokens": 13,
    "output_tokens": 12,
    "cache_read_input_tokens": 0,
    "cache_creation": {"ephemeral_5m_input_tokens": 3500, "ephemeral_1h_input_tokens": 0},
    "list_cost": {"amount": "1", "currency": "USD"},
    "active_seconds": 0.1,
}
_AGENT = {
    "type": "agent",
    "id": "agent_lean",
    "name": "lean",
    "version": 1,
    "description": None,
    "model": {"id": "claude-sonnet-5-5", "speed": "standard"},
    "system": None,
    "tools": [],
    "mcp_servers": [],
    "skills": [],
    "multiagent": None,
}
_WORDS = " and so the answer goes on,"
_ids = count(1)


def _id() -> str:
    return f"sevt_{next(_ids):024d}"


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _frame(kind: str, event: bytes) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), event)


@dataclass(slots=True, eq=False)
class Session:
    """A session; `history` holds when each event was, and what."""

    id: str
    title: str
    metadata: dict[str, str]
    agent: str
    created: float
    history: list[tuple[float, bytes]] = field(default_factory=list)
    streams: list[asyncio.Transport] = field(default_factory=list)
    running: bool = False
    saying: asyncio.TimerHandle | None = None
    message: str = ""
    said: list[str] = field(default_factory=list)

    def view(self) -> bytes:
        """As the API shows it."""
        shown: dict[str, Any] = {
            "type": "session",
            "id": self.id,
            "status": "running" if self.running else "idle",
            "title": self.title,
            "metadata": self.metadata,
            "agent": _AGENT | {"id": self.agent},
            "environment_id": "env_lean",
            "resources": [],
            "vault_ids": [],
            "stats": {"active_seconds": 0.0, "duration_seconds": 0.0},
            "usage": _USAGE,
            "outcome_evaluations": [],
            "created_at": _stamp(self.created),
            "updated_at": _stamp(self.created),
            "archived_at": None,
        }
        return json.dumps(shown).encode()


class Runtime:
    """All sessions."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self._of: dict[asyncio.Transport, Session] = {}
        self._words_a_second = 0.0
        self._pause = 0.0
        self._heard: dict[str, list[Any]] = {}
        self._times = False
        self._requests = 0
        self._last = 0.0
        self._counts: dict[str, int] = {}

    def gone(self, transport: asyncio.Transport) -> None:
        """A stream was closed."""
        session = self._of.pop(transport, None)
        if session is not None:
            session.streams.remove(transport)

    def answer(self, request: Request) -> bytes | None:
        """Every route."""
        parts = urlsplit(request.path)
        path = parts.path.strip("/").split("/")
        if path[0] == "_bench":
            return self._bench(path[1], request)
        self._requests += 1
        if len(path) == 2:  # v1/sessions
            return self._listed() if request.method == b"GET" else self._created(request)
        session = self.sessions[path[2]]
        match path[3:]:
            case ["events", "stream"]:
                self._opened(session, request)
                return None
            case ["events"] if request.method == b"GET":
                return self._history(session, parts.query)
            case ["events"]:
                return self._sent(session, request)
            case _:
                return wire.ok(session.view())

    # -------------------------------------------------------------- the bench's own routes

    def _bench(self, what: str, request: Request) -> bytes:
        if what == "mode":
            mode = request.json()
            self._words_a_second = mode.get("words_a_second", 0.0)
            self._pause = mode.get("pause", 0.0)
            self._times = mode.get("times", False)
            self._heard = {}
            return wire.ok(b"{}")
        if what == "times":
            self._times, self._heard = True, {}
            return wire.ok(b"{}")
        if what == "end":
            for session in self.sessions.values():
                if session.saying is not None:
                    self._end(session)
            return wire.ok(b"{}")
        found = {
            "sessions": len(self.sessions),
            "streams": len(self._of),
            "saying": sum(s.saying is not None for s in self.sessions.values()),
            "requests": self._requests,
            "counts": self._counts,
            "heard": self._heard,
        }
        return wire.ok(json.dumps(found).encode())

    def _note(self, session: Session, what: str, more: Any = None) -> None:
        if self._times:
            self._heard.setdefault(session.id, []).append([what, time.monotonic(), more])

    def _count(self, what: str) -> None:
        self._counts[what] = self._counts.get(what, 0) + 1

    # -------------------------------------------------------------- the API's

    def _created(self, request: Request) -> bytes:
        self._count("create")
        asked = request.json()
        session = Session(
            id=f"sesn_{len(self.sessions):024d}",
            title=asked.get("title", ""),
            metadata=asked.get("metadata", {}),
            agent=str(asked["agent"]),
            created=self._now(),
        )
        self.sessions[session.id] = session
        self._note(session, "create")
        return wire.ok(session.view())

    def _listed(self) -> bytes:
        running = b",".join(s.view() for s in self.sessions.values() if s.running)
        return wire.ok(b'{"data":[%b],"next_page":null,"prev_page":null}' % running)

    def _opened(self, session: Session, request: Request) -> None:
        self._count("stream")
        self._note(session, "stream")
        session.streams.append(request.on)
        self._of[request.on] = session
        request.on.write(wire.STREAM)

    def _history(self, session: Session, query: str) -> bytes:
        self._count("history")
        since = parse_qs(query).get("created_at[gte]", [""])[0]
        from_ = datetime.fromisoformat(since).timestamp() if since else 0.0
        found = b",".join(event for at, event in session.history if at >= from_)
        return wire.ok(b'{"data":[%b],"next_page":null}' % found)

    def _sent(self, session: Session, request: Request) -> bytes:
        self._count("send")
        given = request.json()["events"]
        taken = [event | {"id": _id(), "processed_at": None} for event in given]
        kinds = [event["type"] for event in given]
        notes = [note.decode() for note in _NOTE.findall(request.body)]
        self._note(session, "send", [kinds[-1], notes])
        for stream in session.streams:
            frames = b"".join(_frame(e["type"], json.dumps(e).encode()) for e in taken)
            stream.write(wire.chunk(frames))
        loop = asyncio.get_running_loop()
        if "user.interrupt" in kinds:
            loop.call_soon(self._interrupt, session, taken)
        else:
            loop.call_later(self._pause, self._work, session, taken, notes)
        return wire.ok(json.dumps({"data": taken}).encode())

    # -------------------------------------------------------------- turns

    def _work(self, session: Session, taken: list[dict[str, Any]], notes: list[str]) -> None:
        """Begins a turn, and ends it at once unless words are to come."""
        session.running, session.said = True, []
        session.message = _id()
        events = [{"type": "session.status_running"}, *taken, {"type": "span.model_request_start"}]
        start = {"type": "agent.message", "id": session.message}
        first = json.dumps({"type": "event_start", "event": start}).encode()
        self._emit(session, events, _frame("event_start", first))
        if not self._words_a_second:
            session.said.append("This answers " + " ".join(notes))
            self._end(session, words=_frame("event_delta", _delta(session, session.said[0])))
            return
        loop = asyncio.get_running_loop()
        wait = random.uniform(0, 1 / self._words_a_second)  # no secret
        session.saying = loop.call_later(wait, self._say, session)

    def _say(self, session: Session) -> None:
        session.said.append(_WORDS)
        self._note(session, "words", len(session.said) * len(_WORDS))
        self._write(session, _frame("event_delta", _delta(session, _WORDS)))
        loop = asyncio.get_running_loop()
        wait = random.uniform(0.9, 1.1) / self._words_a_second  # no secret
        session.saying = loop.call_later(wait, self._say, session)

    def _interrupt(self, session: Session, taken: list[dict[str, Any]]) -> None:
        self._end(session, before=taken)

    def _end(
        self, session: Session, *, words: bytes = b"", before: list[dict[str, Any]] | None = None
    ) -> None:
        if session.saying is not None:
            session.saying.cancel()
            session.saying = None
        text = "".join(session.said)
        said = {
            "type": "agent.message",
            "id": session.message,
            "content": [{"type": "text", "text": text}],
        }
        events = [
            *(before or []),
            *([] if before else [said]),
            {"type": "span.model_request_end", "is_error": False, "model_usage": _USAGE},
            {"type": "session.usage", "usage": _USAGE},
            {"type": "session.status_idle", "stop_reason": {"type": "end_turn"}},
        ]
        session.running = False
        self._note(session, "idle")
        self._emit(session, events, words, first=True)

    def _emit(
        self, session: Session, events: list[dict[str, Any]], extra: bytes, *, first: bool = False
    ) -> None:
        """Processed events, and fragments, which no history has, before or behind them."""
        frames = list(self._processed(session, events))
        self._write(session, b"".join([extra, *frames] if first else [*frames, extra]))

    def _processed(self, session: Session, events: list[dict[str, Any]]) -> Iterator[bytes]:
        for event in events:
            at = self._now()
            whole = {"id": _id()} | event | {"processed_at": _stamp(at)}
            shown = json.dumps(whole).encode()
            session.history.append((at, shown))
            yield _frame(whole["type"], shown)

    def _write(self, session: Session, frames: bytes) -> None:
        for stream in session.streams:
            stream.write(wire.chunk(frames))

    def _now(self) -> float:
        """Never the same twice."""
        self._last = max(time.time(), self._last + 0.000_002)
        return self._last


def _delta(session: Session, words: str) -> bytes:
    content = {"type": "text", "text": words}
    delta = {"type": "content_delta", "index": 0, "content": content}
    event = {"type": "event_delta", "event_id": session.message, "delta": delta}
    return json.dumps(event).encode()


async def _main() -> None:
    runtime = Runtime()
    url = await wire.serve(runtime.answer, runtime.gone)
    sys.stdout.write(f"{json.dumps({'url': url})}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    run(_main())

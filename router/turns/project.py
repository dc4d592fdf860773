"""Pure: what a session's events say about the turn in flight.

Events are kept by id, in whatever order and however often they come: history trails behind status,
user events come twice under one id (queued, then processed), a re-list repeats what was live. So
every answer is computed from what was seen, by the runtime's own processed times, and replaying the
turn from its beginning gives the same answers.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from xml.sax.saxutils import quoteattr

from store.usage import Usage

Event = dict[str, Any]

_MARKER = re.compile(r'\A<input id="([0-9a-f-]{36}(?:\.\d+)?)"')
_ENDLESS = frozenset({"retries_exhausted", "budget_reached"})


def marker(send_key: str, person: str, at: str) -> str:
    """The first text block of every message we send: whose it is, when, and how we find it again."""
    return f'<input id="{send_key}" from={quoteattr(person)} at="{at}"/>'


def sending_of(event: Event) -> str | None:
    """The send key that a user.message carries, if it is one of ours."""
    for block in event.get("content") or []:
        found = _MARKER.match(block.get("text") or "")
        if found:
            return found[1]
    return None


@dataclass(frozen=True, slots=True)
class HeldCall:
    """A tool call that waits for somebody's answer. `custom`: the answer is its result."""

    event_id: str
    tool: str
    custom: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """The turn is over. `read`: the runtime took up some of it.

    `flushed`: send keys that the runtime threw away unread.
    """

    reason: str
    text: str
    at: datetime | None
    usage: dict[str, Any] | None
    interrupted: bool = False
    read: bool = True
    flushed: frozenset[str] = frozenset()


@dataclass(slots=True)
class Projection:
    """What is known of a session's events after `place`, the end of the turn before."""

    place: datetime | None
    _events: dict[str, Event] = field(default_factory=dict)
    _times: dict[str, datetime] = field(default_factory=dict)

    def see(self, event: Event) -> None:
        """Takes an event in; a processed one replaces the same while it was queued."""
        key = event.get("id") or f"{event['type']}:{event.get('processed_at')}"
        at = _time(event)
        if at is not None:
            self._times[key] = at
            self._events.pop(f"{event['type']}:None", None)  # an interrupt's id may be empty
        elif key in self._times:
            return
        self._events[key] = event

    # -------------------------------------------------------------- our own events

    @property
    def stopping(self) -> bool:
        """True while an interrupt that was sent is not known to have been processed.

        What is sent then could be what it stops.
        """
        if self._newest("session.status_terminated", "session.deleted") is not None:
            return False
        return any(
            e["type"] == "user.interrupt" and key not in self._times
            for key, e in self._events.items()
        )

    def relisted(self) -> None:
        """The history was listed: at rest, an interrupt that it shows as unread waits no more."""
        if self.at_rest():
            self._events = {
                key: e
                for key, e in self._events.items()
                if e["type"] != "user.interrupt" or key in self._times
            }

    def arrived(self) -> dict[str, str]:
        """The sendings that the runtime has, read or not, by send key, with their event ids."""
        mine = ((sending_of(e), e) for e in self._events.values() if e["type"] == "user.message")
        return {key: str(e["id"]) for key, e in mine if key is not None}

    def answered(self) -> set[str]:
        """The calls that somebody has answered."""
        answers = ("user.tool_confirmation", "user.custom_tool_result")
        return {
            str(e.get("tool_use_id") or e.get("custom_tool_use_id"))
            for e in self._events.values()
            if e["type"] in answers
        }

    def _read(self, inputs: Iterable[str]) -> dict[str, datetime]:
        arrived = self.arrived()
        return {i: self._times[arrived[i]] for i in inputs if arrived.get(i) in self._times}

    # -------------------------------------------------------------- answers

    def held(self) -> list[HeldCall]:
        """The calls that the newest idle says are waiting and that nobody has answered."""
        newest = self._newest("session.status_idle", "session.status_running")
        if newest is None or _stop(newest) != "requires_action":
            return []
        waiting = set(newest["stop_reason"].get("event_ids") or []) - self.answered()
        return [_call(self._events[i]) for i in sorted(waiting) if i in self._events]

    def ended(self, inputs: set[str]) -> Ended | None:
        """The end of the turn that these sendings make, or None while it goes on.

        An idle ends a turn only when none of its inputs is unread: an interrupt followed by a
        message gives an idle for the interrupt and then runs on. Where the runtime gave up, what it
        had not read was thrown away.
        """
        read = self._read(inputs)
        terminated = self._newest("session.status_terminated", "session.deleted")
        if terminated is not None:
            return self._end("terminated", terminated, read, inputs)
        idle = self._newest("session.status_idle")
        if idle is None or _stop(idle) == "requires_action":
            return None
        unread = inputs - read.keys()
        if unread and _stop(idle) not in _ENDLESS:
            return None
        if any(at > self._at(idle) for at in read.values()):
            return None
        return self._end(_stop(idle), idle, read, inputs)

    def _end(self, reason: str, last: Event, read: dict[str, datetime], inputs: set[str]) -> Ended:
        begun = min(read.values(), default=None)
        text = "\n\n".join(self._texts(begun)) if begun else ""
        interrupted = self._interrupted(read)
        return Ended(
            reason=reason if text or reason != "end_turn" or interrupted else "no_text",
            text=text,
            at=_time(last),
            usage=self.usage(),
            interrupted=interrupted,
            read=bool(read),
            flushed=frozenset(inputs - read.keys()),
        )

    def _interrupted(self, read: dict[str, datetime]) -> bool:
        """True if an interrupt cut the turn short: after all that was read, before its idle.

        One before that made way for a message of the turn; one after that came too late.
        """
        newest = max(read.values(), default=self.place)
        for event in self._new():
            if newest is not None and self._at(event) < newest:
                continue
            if event["type"] == "user.interrupt":
                return True
            if event["type"] == "session.status_idle" and _stop(event) != "requires_action":
                return False
        return False

    def at_rest(self) -> bool:
        """True when the runtime would take a message: it is not running and holds no call."""
        newest = self._newest("session.status_idle", "session.status_running")
        return newest is None or _stop(newest) not in ("None", "requires_action")

    def usage(self) -> dict[str, Any] | None:
        """The newest cumulative usage of this turn, if the runtime has told it."""
        newest = self._newest("session.usage")
        return newest.get("usage") if newest else None

    def _texts(self, begun: datetime) -> Iterator[str]:
        for event in self._new():
            if event["type"] == "agent.message" and self._at(event) >= begun:
                text = "".join(
                    b["text"] for b in event.get("content") or [] if b.get("type") == "text"
                )
                if text.strip():
                    yield text

    # -------------------------------------------------------------- order

    def _new(self) -> list[Event]:
        """Processed events after the place, in the runtime's order."""
        keys = [k for k, at in self._times.items() if self.place is None or at > self.place]
        return [self._events[k] for k in sorted(keys, key=lambda k: self._times[k])]

    def _newest(self, *types: str) -> Event | None:
        found = [e for e in self._new() if e["type"] in types]
        return found[-1] if found else None

    def _at(self, event: Event) -> datetime:
        at = _time(event)
        assert at is not None  # noqa: S101  # only processed events are asked
        return at


def _time(event: Event) -> datetime | None:
    value = event.get("processed_at")
    return datetime.fromisoformat(value) if value else None


def _stop(idle: Event) -> str:
    return str((idle.get("stop_reason") or {}).get("type"))


def _call(event: Event) -> HeldCall:
    server = event.get("mcp_server_name")
    name = str(event.get("name"))
    return HeldCall(
        event_id=str(event["id"]),
        tool=f"{server}.{name}" if server else name,
        custom=event["type"] == "agent.custom_tool_use",
    )


# ------------------------------------------------------------------ usage


def usage_between(before: dict[str, Any] | None, after: dict[str, Any]) -> Usage:
    """What was used between two of the runtime's cumulative snapshots; never less than nothing."""
    old, new = _counts(before or {}), _counts(after)
    spent = {name: max(new[name] - old[name], Decimal(0)) for name in new}
    return Usage(
        input_tokens=int(spent["input"]),
        output_tokens=int(spent["output"]),
        cache_read_tokens=int(spent["cache_read"]),
        cache_write_tokens=int(spent["cache_write"]),
        runtime_ms=int(spent["active"] * 1000),
        cost_cents=spent["cents"],
    )


def _counts(snapshot: dict[str, Any]) -> dict[str, Decimal]:
    creation = snapshot.get("cache_creation") or {}
    cost = snapshot.get("list_cost") or {}
    return {
        "input": _number(snapshot.get("input_tokens")),
        "output": _number(snapshot.get("output_tokens")),
        "cache_read": _number(snapshot.get("cache_read_input_tokens")),
        "cache_write": _number(creation.get("ephemeral_5m_input_tokens"))
        + _number(creation.get("ephemeral_1h_input_tokens")),
        "active": _number(snapshot.get("active_seconds")),
        "cents": _number(cost.get("amount")),
    }


def _number(value: object) -> Decimal:
    return Decimal(str(value)) if value is not None else Decimal(0)

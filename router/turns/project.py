"""Pure: what a session's events say about the turn in flight.

Events are kept by id, in whatever order and however often they come: history trails behind status,
user events come twice under one id (queued, then processed), a re-list repeats what was live. So
every answer is computed from what was seen, by the runtime's own processed times, and replaying the
turn from its beginning gives the same answers.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from xml.sax.saxutils import quoteattr

from store.usage import Usage

Event = dict[str, Any]

_MARKER = re.compile(r'\A<input id="([0-9a-f-]{36}(?:\.\d+)?)"')
_NEVER = datetime.max.replace(tzinfo=UTC)
SEPARATOR = "\n\n"
_ENDLESS = frozenset({"retries_exhausted", "budget_reached"})
# Tools of the runtime's own toolset that leave no file behind.
_READERS = frozenset({"read", "glob", "grep", "web_fetch", "web_search"})
# What others do who work in the same place, subagents and workflows, is not among a session's events.
_OTHERS = ("session.thread_created", "agent.thread_message_", "workflow_run.")


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
    server: str | None
    custom: bool
    arguments: dict[str, Any]

    @property
    def name(self) -> str:
        """The tool as people know it: with its server, where it has one."""
        return f"{self.server}.{self.tool}" if self.server else self.tool


@dataclass(frozen=True, slots=True)
class Segment:
    """What a turn says between two pauses for people, as the place of it in all that the turn says.

    `pause`: the idle that ends it; None for the last.
    """

    pause: str | None
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The turn is over. `read`: the runtime took up some of it.

    `flushed`: send keys that the runtime threw away unread. `restarted`: on the way some of the
    answer was begun and given up, so what was shown live need not be a part of `text`. `error`: that
    of the last `session.error`, if the runtime gave up on it. `messages`: all of ours that were seen
    to be read, as send keys and event ids, be they the turn's or not. `wrote`: files may have been
    written on the way.
    """

    reason: str
    text: str
    at: datetime | None
    usage: dict[str, Any] | None
    interrupted: bool = False
    restarted: bool = False
    read: bool = True
    flushed: frozenset[str] = frozenset()
    error: dict[str, Any] | None = None
    messages: tuple[tuple[str, str], ...] = ()
    segments: tuple[Segment, ...] = ()
    answers: dict[str, str] = field(default_factory=dict)
    wrote: bool = False

    @property
    def cause(self) -> str | None:
        """The error in a line, for the logs."""
        return f"{self.error.get('type')}: {self.error.get('message')}" if self.error else None


@dataclass(slots=True)
class Projection:
    """What is known of a session's events after `place`, the end of the turn before."""

    place: datetime | None
    _events: dict[str, Event] = field(default_factory=dict)
    _times: dict[str, datetime] = field(default_factory=dict)
    _unread: set[str] = field(default_factory=set)
    _void: set[str] = field(default_factory=set)

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
        """True while an interrupt that was sent has not come to its end, the idle behind it.

        What is sent then could be what it stops, or would hide that something was stopped.
        """
        if self._newest("session.status_terminated", "session.deleted") is not None:
            return False
        if not self._interrupts_under_way() <= self._void:
            return True
        newest = self._newest("user.interrupt", "session.status_idle", "session.status_running")
        return newest is not None and newest["type"] == "user.interrupt" and not self.at_rest()

    def _interrupts_under_way(self) -> set[str]:
        return {
            key
            for key, e in self._events.items()
            if e["type"] == "user.interrupt" and key not in self._times
        }

    def relisted(self) -> None:
        """The history was listed: one that two looks at rest show as unread is waited for no more.

        At its budget's cap a session takes interrupts and ignores them (docs/budgets "Events
        accepted at the cap"); two looks, because histories trail.
        """
        unread = self._interrupts_under_way() if self.at_rest() else set()
        self._void |= unread & self._unread
        self._unread = unread

    def forget_interrupts(self) -> None:
        """No turn is in flight: what is under way was for one that has ended."""
        self._void |= self._interrupts_under_way()

    def arrived(self) -> dict[str, str]:
        """The sendings that the runtime has, read or not, by send key, with their event ids.

        Of one that it has more than once it is the copy that was read first.
        """
        return dict(reversed(self._ours()))

    def _ours(self) -> list[tuple[str, str]]:
        """Our messages, as send keys and event ids: in the order in which they were read, then others."""
        mine = [
            (key, str(e["id"]))
            for e in self._events.values()
            if e["type"] == "user.message" and (key := sending_of(e)) is not None
        ]
        return sorted(mine, key=lambda one: self._times.get(one[1], _NEVER))

    def answered(self) -> set[str]:
        """The calls that somebody has answered."""
        answers = ("user.tool_confirmation", "user.custom_tool_result")
        return {_answered_by(e) for e in self._events.values() if e["type"] in answers}

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

    def is_behind(self) -> bool:
        """True while the newest idle still names calls that are answered: a newer one is coming.

        Of many calls it names a few at a time, so what waits next is known only then.
        """
        newest = self._newest("session.status_idle", "session.status_running")
        if newest is None or _stop(newest) != "requires_action":
            return False
        return bool(set(newest["stop_reason"].get("event_ids") or []) & self.answered())

    def call(self, event_id: str) -> HeldCall | None:
        """A call of a tool, if it was seen."""
        event = self._events.get(event_id)
        return _call(event) if event else None

    def waits(self, event_id: str) -> bool | None:
        """Whether a call waits for an answer; None where what was seen does not tell.

        What is older than the newest idle, and not named by it, waits no more.
        """
        if event_id in self.answered():
            return False
        newest = self._newest("session.status_idle", "session.status_running")
        asked = self._times.get(event_id)
        if newest is None or asked is None or asked > self._at(newest):
            return None
        if newest["type"] == "session.status_running":
            return None
        return event_id in (newest["stop_reason"].get("event_ids") or [])

    def answers(self) -> dict[str, str]:
        """How calls were answered, whoever did it, by the calls' event ids."""
        types = ("user.tool_confirmation", "user.custom_tool_result")
        found = [e for e in self._events.values() if e["type"] in types]
        return {_answered_by(e): _answer_in_words(e) for e in found}

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
        text, segments = self._said(begun)
        interrupted = self._interrupted(read)
        silent = segments[-1].start == segments[-1].end
        return Ended(
            reason="no_text" if silent and reason == "end_turn" and not interrupted else reason,
            text=text,
            at=_time(last),
            usage=self.usage(),
            interrupted=interrupted,
            restarted=begun is not None and self._restarted(begun),
            read=bool(read),
            flushed=frozenset(inputs - read.keys()),
            error=self._given_up_on(begun) if begun else None,
            messages=tuple(one for one in self._ours() if one[1] in self._times),
            segments=tuple(segments),
            answers=self.answers(),
            wrote=begun is not None and any(map(_may_write, self._since(begun))),
        )

    def paused(self, inputs: set[str]) -> tuple[str, tuple[Segment, ...]]:
        """What the turn of these sendings has said so far, up to the pause that it is in."""
        begun = min(self._read(inputs).values(), default=None)
        text, segments = self._said(begun)
        return text, tuple(segments[:-1])

    def _said(self, begun: datetime | None) -> tuple[str, list[Segment]]:
        """All that was said since then, and its segments."""
        text, segments, start = "", list[Segment](), 0
        for event in self._since(begun) if begun else []:
            if event["type"] == "agent.message" and (words := _words(event)):
                text = f"{text}{SEPARATOR}{words}" if text else words
            elif _stop(event) == "requires_action":
                segments.append(Segment(str(event["id"]), start, len(text)))
                start = len(text)
        return text, [*segments, Segment(None, start, len(text))]

    def _given_up_on(self, begun: datetime) -> dict[str, Any] | None:
        """The last error of the turn that the runtime did not try again after."""
        errors = [
            e["error"]
            for e in self._new()
            if e["type"] == "session.error" and self._at(e) >= begun and e.get("error")
        ]
        final = [e for e in errors if (e.get("retry_status") or {}).get("type") != "retrying"]
        return final[-1] if final else None

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

    def _restarted(self, begun: datetime) -> bool:
        return any(
            e["type"] == "user.interrupt"
            or (e["type"] == "span.model_request_end" and bool(e.get("is_error")))
            for e in self._new()
            if self._at(e) > begun
        )

    def at_rest(self) -> bool:
        """True when the runtime would take a message: it is not running and holds no call."""
        newest = self._newest("session.status_idle", "session.status_running")
        return newest is None or _stop(newest) not in ("None", "requires_action")

    def usage(self) -> dict[str, Any] | None:
        """The newest cumulative usage of this turn, if the runtime has told it."""
        newest = self._newest("session.usage")
        return newest.get("usage") if newest else None

    # -------------------------------------------------------------- order

    def _new(self) -> list[Event]:
        """Processed events after the place, in the runtime's order."""
        keys = [k for k, at in self._times.items() if self.place is None or at > self.place]
        return [self._events[k] for k in sorted(keys, key=lambda k: self._times[k])]

    def _since(self, begun: datetime) -> list[Event]:
        return [e for e in self._new() if self._at(e) >= begun]

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


def _may_write(event: Event) -> bool:
    """A call that runs where the agent's files are: no event says whether one was written.

    A shell leaves files without naming their folder, so what a call says of itself is not asked.
    """
    if event["type"] == "agent.tool_use":
        return event.get("name") not in _READERS
    return str(event["type"]).startswith(_OTHERS)


def _words(event: Event) -> str:
    text = "".join(b["text"] for b in event.get("content") or [] if b.get("type") == "text")
    return text if text.strip() else ""


def _stop(idle: Event) -> str:
    return str((idle.get("stop_reason") or {}).get("type"))


def _answered_by(event: Event) -> str:
    """The call that an answer is for."""
    return str(event.get("tool_use_id") or event.get("custom_tool_use_id"))


def _answer_in_words(event: Event) -> str:
    match event.get("result"), event.get("deny_message"):
        case "allow", _:
            return "allowed there"
        case "deny", str(reason):
            return f"denied there: {reason}"
        case "deny", _:
            return "denied there"
        case _:
            return "answered there"


def _call(event: Event) -> HeldCall:
    return HeldCall(
        event_id=str(event["id"]),
        tool=str(event.get("name")),
        server=event.get("mcp_server_name"),
        custom=event["type"] == "agent.custom_tool_use",
        arguments=event.get("input") or {},
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

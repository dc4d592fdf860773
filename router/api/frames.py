"""Pure: events of the runtime and steps of ours, as frames of server-sent events.

html.spec.whatwg.org/multipage/server-sent-events.html: a frame without `id:` leaves the reader's
Last-Event-ID as it was, so what is never shown again (previews, our remarks) carries none.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from router import redaction
from router.api.places import Mark, hashed
from router.runtime.client import Event
from store.session_steps import Step

PREVIEWS = frozenset({"event_start", "event_delta"})
ARCHIVED = "threadline.session_archived"
DROPPED = "threadline.dropped"
ACCESS_ENDED = "threadline.access_ended"
HEARTBEAT = b": still here\n\n"
# a reader that was cut off comes back after a second
GREETING = b"retry: 1000\n\n"

_CALLS = frozenset({"agent.tool_use", "agent.mcp_tool_use", "agent.custom_tool_use"})
# what is told of the audit; the rest of it is about cards
_NAMES = {
    ("approval", "asked"): "threadline.approval_asked",
    ("approval", "reissued"): "threadline.approval_asked",
    ("approval", "voted"): "threadline.approval_voted",
    ("approval", "allowed"): "threadline.approval_decided",
    ("approval", "denied"): "threadline.approval_decided",
    ("approval", "expired"): "threadline.approval_expired",
    ("approval", "closed"): "threadline.approval_closed",
    ("approval", "void"): "threadline.approval_closed",
    ("escalation", "asked"): "threadline.escalation_asked",
    ("escalation", "answered"): "threadline.escalation_answered",
    ("escalation", "cancelled"): "threadline.escalation_cancelled",
    ("escalation", "closed"): "threadline.escalation_cancelled",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Told:
    """Something to be told once: `lines` are its frame without the `id:`."""

    mark: Mark
    lines: bytes
    last: bool = False


def of_runtime(event: Event) -> Told:
    """An event of the runtime, whole."""
    event = shown(event)
    return Told(mark_of(event), lines(event["type"], event))


def of_step(step: Step) -> Told | None:
    """A step of ours; None for what is not told."""
    said = _input(step) if step.subject == "input" else _decision(step)
    if said is None:
        return None
    body = {"id": str(step.id), "at": stamp(step.at), **said}
    mark = Mark(hashed(f"step {step.id}"), micros(step.at), ours=True)
    return Told(mark, lines(body["type"], body))


def of_archive(session_id: UUID, at: datetime) -> Told:
    """The end of a session, which is the last that is told of it."""
    body = {"type": ARCHIVED, "id": str(session_id), "at": stamp(at)}
    mark = Mark(hashed(f"archived {session_id}"), micros(at), ours=True)
    return Told(mark, lines(ARCHIVED, body), last=True)


def in_order(told: Iterable[Told]) -> list[Told]:
    """By time; what is queued at the runtime stands behind that, and the last of all at the end."""
    return sorted(told, key=lambda one: (one.last, one.mark.at is None, one.mark.at or 0))


def lines(name: str, body: dict[str, Any]) -> bytes:
    """A frame's name and data. Nothing in either can end the frame: JSON escapes line ends."""
    plain = "".join(name.split())
    return f"event: {plain}\ndata: {json.dumps(body, separators=(',', ':'))}\n\n".encode()


def placed(place: str, rest: bytes) -> bytes:
    """A frame with its place."""
    return b"id: %s\n%s" % (place.encode(), rest)


def dropped(place: str) -> bytes:
    """The last frame for who reads too slowly: what was not read is not lost."""
    body = {
        "type": DROPPED,
        "reason": "You read more slowly than events came.",
        "resume": "Ask for this stream again, with the last id that you read as Last-Event-ID.",
        "last_event_id": place,
    }
    return lines(DROPPED, body)


def access_ended() -> bytes:
    """The last frame for who may no longer read."""
    reason = "Your API key was revoked, or you no longer belong to this workspace."
    return lines(ACCESS_ENDED, {"type": ACCESS_ENDED, "reason": reason})


# ------------------------------------------------------------------ events of the runtime


def shown(event: Event) -> Event:
    """The event as people are shown it: without what looks like a secret in a call's arguments."""
    if event["type"] in _CALLS and isinstance(event.get("input"), dict):
        return event | {"input": redaction.shown(event["input"])}
    return event


def mark_of(event: Event) -> Mark:
    """What tells it from others: its id and whether it was processed; its content without an id.

    Interrupts may have an empty id; two are told apart by the time of their processing.
    """
    at = _processed(event)
    name = event.get("id") or ""
    if not name:
        body = json.dumps(event, sort_keys=True)
        return Mark(hashed(f"runtime without an id {body}"), at)
    done, queued = hashed(f"runtime {name}"), hashed(f"runtime {name} queued")
    return Mark(queued, None, twin=done) if at is None else Mark(done, at, twin=queued)


def _processed(event: Event) -> int | None:
    said = event.get("processed_at")
    if not isinstance(said, str):
        return None
    try:
        return max(0, micros(datetime.fromisoformat(said)))
    except (ValueError, TypeError):
        return None


def micros(at: datetime) -> int:
    """A time as a number, which no rounding changes."""
    return (at - _EPOCH) // _MICROSECOND


def when(number: int) -> datetime:
    """The reverse."""
    return _EPOCH + number * _MICROSECOND


def stamp(at: datetime) -> str:
    """A time as it is answered (RFC 3339)."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


# ------------------------------------------------------------------ steps of ours


def _input(step: Step) -> dict[str, Any]:
    return {
        "type": "threadline.input_queued",
        "input_id": str(step.id),
        "kind": step.action,
        **step.says,
    }


def _decision(step: Step) -> dict[str, Any] | None:
    name = _NAMES.get((step.subject, step.action))
    if name is None:
        return None
    about = step.says
    if step.action != "answered":
        about = {key: value for key, value in about.items() if key != "answer"}
    return {
        "type": name,
        f"{step.subject}_id": str(step.subject_id),
        "action": step.action,
        "origin": step.origin,
        "actor": step.actor,
        "detail": step.detail,
        **about,
    }

"""Faults to order: what goes wrong, where, how often, and for how long."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

FaultKind = Literal[
    "drop_after",
    "drop_before",
    "late_effect",
    "cut_stream",
    "duplicate",
    "reorder",
    "history_lag",
    "files_lag",
    "status_lag",
    "unknown_event",
    "rate_limit",
    "overloaded",
    "server_error",
    "unavailable",
    "unauthorized",
    "unpaid",
    "forbidden",
    "too_large",
    "refused",
    "stall",
    "silence",
    "gone",
    "blank_interrupt_id",
]


class Fault(BaseModel):
    """One fault to order.

    Kinds:

    - `drop_after`: the request takes effect, then its connection is reset
    - `drop_before`: the connection is reset and nothing happened
    - `late_effect`: the request takes effect `seconds` later, though nobody waits for its answer then
    - `cut_stream`: a stream is reset (or, `clean`, ended) right after an event of type `event_type`;
      with the type `file.content` it is a download that is reset, in the middle
    - `duplicate`, `reorder`: an event of that type (of any, without one) is said twice on a stream, or
      behind the one that follows it, at the latest with the next ping
    - `history_lag`: events.list lacks the newest `events` events, or those of the last `seconds`;
      queued ones count as the newest
    - `files_lag`: files.list lacks what agents made in the last `seconds`; the platform is said to be
      one to three seconds behind (anthropics/skills, managed-agents-environments, "Session outputs")
    - `status_lag`: an idle session still shows as running (each showing is a hit), and cannot be
      archived or deleted
    - `unknown_event`: an event of type `event_type` is emitted in the middle of a turn
    - `rate_limit`, `overloaded`, `server_error`, `unavailable`: 429, 529, 500, 503, nothing happened
    - `unauthorized`, `unpaid`, `forbidden`, `too_large`, `refused`: 401, 402, 403, 413, 400, likewise
    - `stall`: the request takes effect and is answered `seconds` later
    - `silence`: the request is never answered, and nothing happened
    - `gone`: the session named does not exist (404)
    - `blank_interrupt_id`: a `user.interrupt` is stored and shown with an empty id
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: FaultKind
    route: str = Field(
        "*", description="e.g. events.send, sessions.create, events.stream; * is any"
    )
    times: int | None = Field(1, ge=1, description="how many requests it hits; null: until cleared")
    session_id: str | None = Field(None, description="hits this session only")
    events: int = Field(1, ge=0, description="history_lag: how many are missing")
    seconds: float = Field(0.0, ge=0, description="stall, late_effect, *_lag: how long")
    retry_after: float | None = Field(None, ge=0, description="the header of that name, in seconds")
    lasts: float | None = Field(None, gt=0, description="over after so many seconds")
    event_type: str | None = Field(
        None, description="cut_stream, duplicate, reorder, unknown_event: which type"
    )
    clean: bool = Field(
        default=False, description="cut_stream: end the stream instead of resetting it"
    )


@dataclass(slots=True)
class ActiveFault:
    """A fault that was ordered, and how often it has struck; `over` is when it ends by itself."""

    fault: Fault
    hits: int = 0
    over: float | None = None

    @property
    def spent(self) -> bool:
        """Whether it will strike no more."""
        return self.fault.times is not None and self.hits >= self.fault.times


@dataclass(slots=True)
class FaultBoard:
    """The faults in force, oldest first; `now` is the time that those run by that last for a while."""

    now: Callable[[], float]
    active: list[ActiveFault] = field(default_factory=list)

    def order(self, fault: Fault) -> ActiveFault:
        """Puts a fault in force; the answer counts its hits."""
        over = None if fault.lasts is None else self.now() + fault.lasts
        active = ActiveFault(fault, over=over)
        self.active.append(active)
        return active

    def in_force(self) -> list[ActiveFault]:
        """The faults that are not over."""
        now = self.now()
        self.active = [a for a in self.active if a.over is None or now < a.over]
        return self.active

    def clear(self) -> None:
        """Ends every fault."""
        self.active.clear()

    def take(
        self,
        kind: FaultKind,
        *,
        route: str = "*",
        session_id: str | None = None,
        event_type: str | None = None,
    ) -> Fault | None:
        """The first fault of the kind that applies here; this counts as a hit."""
        if not self.active:
            return None
        for active in self.in_force():
            fault = active.fault
            if fault.kind == kind and _applies(fault, route, session_id, event_type):
                active.hits += 1
                if active.spent:
                    self.active.remove(active)
                return fault
        return None


def _applies(fault: Fault, route: str, session_id: str | None, event_type: str | None) -> bool:
    return (
        (fault.route in {"*", route} or route == "*")
        and (fault.session_id is None or fault.session_id == session_id)
        and (event_type is None or _wanted(fault) in {None, event_type})
    )


def _wanted(fault: Fault) -> str | None:
    """The type of event that the fault is about; None: any."""
    any_will_do = fault.kind in {"duplicate", "reorder"}
    return fault.event_type or (None if any_will_do else "span.model_request_start")

"""What may be done to a `Machine`, how often beside the others, and with what."""

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.chaos.machine_people import CHANNELS, PEOPLE


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a `Machine`, and how long the world then moves on before the next one."""

    name: str
    arguments: dict[str, Any]
    pause: float

    def told(self) -> str:
        """How a failure names it."""
        arguments = [f"{name}={value!r}" for name, value in self.arguments.items()]
        return f"{self.name}({', '.join([*arguments, f'pause={self.pause}'])})"


_ANY = st.integers(0, 99)
_NO_PAUSE = st.just(0.0)
_PAUSE = st.sampled_from([0.0, 0.0, 0.01, 0.05, 0.3])
_WORDS = st.sampled_from(["plain", "plain", "slow", "tool", "retrying", "ask", "ask", "long"])
_TWINS = st.sampled_from(["message_first", "mention_first", "together"])
_VERDICT = st.sampled_from(["allow", "allow", "deny"])
_HOW = st.sampled_from(["once", "once", "once", "twice", "against", "stranger"])
_TIMES = st.sampled_from([1, 1, 3])
# An effect whose answer is lost is what most of the work is about.
_LOST, _OTHER = ("drop_after", "error_after"), ("drop_before", "error_before", "ratelimit")
_SLACK_FAULTS = [
    *((kind, "chat.postMessage") for kind in _LOST * 4 + _OTHER),
    *((kind, "chat.startStream") for kind in _LOST * 2 + _OTHER),
    *((kind, method) for kind in _LOST for method in ("chat.update", "chat.stopStream")),
    *(("stall_after", method) for method in ("chat.postMessage", "chat.startStream")),
    ("error_after", "chat.appendStream"),
    ("ratelimit", "chat.update"),
    ("error_before", "conversations.replies"),
    ("stale", None),
    ("duplicate", None),
    ("reorder", None),
]
_AWAY = ("drop_before", "server_error", "unavailable", "rate_limit", "overloaded")
_RUNTIME_FAULTS = [
    *(("drop_after", route) for route in ("events.send", "sessions.create") * 4),
    *((kind, route) for kind in _AWAY for route in ("events.send", "sessions.create")),
    *(("stall", route) for route in ("events.send", "sessions.create", "events.list")),
    *((kind, "events.list") for kind in ("drop_before", "unavailable")),
    ("unavailable", "events.stream"),
    *((kind, "*") for kind in ("cut_stream", "duplicate", "reorder")),
    ("history_lag", "events.list"),
]


def _step(name: str, pause: st.SearchStrategy[float] = _PAUSE, **arguments: Any) -> Any:
    return st.builds(Step, st.just(name), st.fixed_dictionaries(arguments), pause)


START = Step("replicas.start", {}, 0.0)
ASK = _step(
    "people.ask",
    where=st.sampled_from([*PEOPLE, *CHANNELS]),
    words=_WORDS,
    twins=_TWINS,
    duplicate=st.sampled_from([0, 0, 1]),
)
_REPLY = _step("people.reply", which=_ANY, who=_ANY, words=_WORDS, mention=st.booleans())
_SLACK = _step("nature.slack_fault", _NO_PAUSE, fault=st.sampled_from(_SLACK_FAULTS), times=_TIMES)
_RUNTIME = _step(
    "nature.runtime_fault", _NO_PAUSE, fault=st.sampled_from(_RUNTIME_FAULTS), times=_TIMES
)
_STEPS = [
    (4, ASK),
    (6, _REPLY),
    (2, _step("people.edit", which=_ANY, words=_WORDS, twins=_TWINS)),
    (1, _step("people.delete", which=_ANY)),
    (2, _step("people.halt", which=_ANY, button=st.booleans())),
    (1, _step("people.redeliver", which=_ANY)),
    (6, _step("deciders.decide", which=_ANY, verdict=_VERDICT, how=_HOW)),
    (1, _step("deciders.change_course", which=_ANY)),
    (2, _step("replicas.start")),
    (2, _step("replicas.kill", which=_ANY)),
    (1, _step("replicas.stop", which=_ANY)),
    (1, _step("replicas.route", which=_ANY)),
    (1, _step("nature.lose_leases")),
    (4, _SLACK),
    (4, _RUNTIME),
    (1, _step("nature.hold")),
    (2, _step("nature.release")),
    (2, _step("nature.advance", seconds=st.sampled_from([0.3, 2.0, 10.0, 30.0]))),
]
_WEIGHED = [step for weight, step in _STEPS for _ in range(weight)]
ANY_STEP = st.sampled_from(range(len(_WEIGHED))).flatmap(_WEIGHED.__getitem__)

"""Random interleavings of people, replicas, faults and time, checked against a simple model.

A failure names its seed and its steps. `pytest --hypothesis-seed=N` tries the same steps again; as
they meet real sockets and a real database, they need not meet at the same moments, so that a rare
failure may take a few tries to come back.
"""

import random
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, Phase, seed, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from bot import delivery, previewing
from tests.chaos.machine import CHANNELS, PEOPLE, Machine

pytestmark = [pytest.mark.chaos, pytest.mark.long]

_ANY = st.integers(0, 99)
_PAUSE = st.sampled_from([0.0, 0.0, 0.01, 0.05, 0.3])
_WORDS = st.sampled_from(["plain", "plain", "slow", "tool", "retrying", "ask"])
_TWINS = st.sampled_from(["message_first", "mention_first", "together"])
_TIMES = st.sampled_from([1, 1, 3])
# An effect whose answer is lost is what most of the work is about.
_LOST, _OTHER = ("drop_after", "error_after"), ("drop_before", "error_before", "ratelimit")
_SLACK_FAULTS = [
    *((kind, "chat.postMessage") for kind in _LOST * 4 + _OTHER),
    *((kind, "chat.startStream") for kind in _LOST * 2 + _OTHER),
    *((kind, method) for kind in _LOST for method in ("chat.update", "chat.stopStream")),
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
    ("cut_stream", "*"),
    ("history_lag", "events.list"),
]


@dataclass(frozen=True, slots=True)
class Step:
    """What a `Machine` is to do, and how long the world then moves on before the next one."""

    name: str
    arguments: dict[str, Any]
    pause: float

    def __str__(self) -> str:
        arguments = [f"{name}={value!r}" for name, value in self.arguments.items()]
        return f"{self.name}({', '.join([*arguments, f'pause={self.pause}'])})"


def _step(name: str, pause: st.SearchStrategy[float] = _PAUSE, **arguments: Any) -> Any:
    return st.builds(Step, st.just(name), st.fixed_dictionaries(arguments), pause)


_ASK = _step(
    "ask",
    where=st.sampled_from([*PEOPLE, *CHANNELS]),
    words=_WORDS,
    twins=_TWINS,
    duplicate=st.sampled_from([0, 0, 1]),
)
# How often each is done, beside the others, and with what.
_STEPS = [
    (4, _ASK),
    (6, _step("reply", which=_ANY, who=_ANY, words=_WORDS, mention=st.booleans())),
    (2, _step("edit", which=_ANY, words=_WORDS, twins=_TWINS)),
    (1, _step("delete", which=_ANY)),
    (2, _step("halt", which=_ANY, button=st.booleans())),
    (1, _step("redeliver", which=_ANY)),
    (2, _step("start")),
    (2, _step("kill", which=_ANY)),
    (1, _step("stop", which=_ANY)),
    (1, _step("route", which=_ANY)),
    (1, _step("lose_leases")),
    (4, _step("slack_fault", st.just(0.0), fault=st.sampled_from(_SLACK_FAULTS), times=_TIMES)),
    (4, _step("runtime_fault", st.just(0.0), fault=st.sampled_from(_RUNTIME_FAULTS), times=_TIMES)),
    (1, _step("hold")),
    (2, _step("release")),
    (2, _step("advance", seconds=st.sampled_from([0.3, 2.0, 10.0, 30.0]))),
]
_WEIGHED = [step for weight, step in _STEPS for _ in range(weight)]


class Interleaving(RuleBasedStateMachine):
    """One rule for all steps, so that they come as often as they are weighed."""

    def __init__(self, postgres_dsn: str, template: str) -> None:
        super().__init__()
        self._machine = Machine(postgres_dsn, template)
        self._steps: list[str] = []
        self._broken = False

    def _do(self, name: str, work: Coroutine[Any, Any, None], pause: float = 0.0) -> None:
        self._steps.append(name)
        try:
            self._machine.do(work)
            self._machine.do(self._machine.wait(pause))
        except BaseException:
            self._broken = True
            raise

    @initialize(count=st.integers(1, 2), asked=st.lists(_ASK, min_size=1, max_size=3))
    def begin(self, count: int, asked: list[Step]) -> None:
        for _ in range(count):
            self._do("start", self._machine.start())
        for one in asked:
            self.step(one)

    @rule(one=st.sampled_from(range(len(_WEIGHED))).flatmap(_WEIGHED.__getitem__))
    def step(self, one: Step) -> None:
        self._do(str(one), getattr(self._machine, one.name)(**one.arguments), one.pause)

    # -------------------------------------------------------------- the end

    def teardown(self) -> None:
        try:
            if not self._broken:
                self._do("rest", self._machine.come_to_rest())
                found = self._machine.do(self._machine.complaints())
                assert not found, "\n".join([*found, "after: " + "; ".join(self._steps)])
        finally:
            self._machine.close()


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Previews begin at once, and looks at Slack follow each other fast: its listings trail less."""
    monkeypatch.setattr(previewing, "_START_AFTER_SECONDS", 0.02)
    monkeypatch.setattr(previewing, "_LOOKS_APART_SECONDS", 0.3)
    monkeypatch.setattr(delivery, "_LOOKS_APART_SECONDS", 0.3)


def _try(pytestconfig: pytest.Config, postgres_dsn: str, template: str, **limits: Any) -> None:
    given = pytestconfig.getoption("--hypothesis-seed", default=None)
    chosen = int(given) if given else random.SystemRandom().randrange(2**32)
    sys.stdout.write(f"--hypothesis-seed={chosen}\n")
    machine = seed(chosen)(partial(Interleaving, postgres_dsn, template))
    run_state_machine_as_test(  # any callable that makes one will do
        cast("type[RuleBasedStateMachine]", machine),
        settings=settings(
            deadline=None,
            database=None,
            print_blob=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            **limits,
        ),
    )


@pytest.mark.timeout(300)
def test_any_interleaving(pytestconfig: pytest.Config, postgres_dsn: str, template: str):
    _try(pytestconfig, postgres_dsn, template, max_examples=12, stateful_step_count=15)


@pytest.mark.timeout(7200)
def test_many_interleavings(pytestconfig: pytest.Config, postgres_dsn: str, template: str):
    _try(pytestconfig, postgres_dsn, template, max_examples=400, stateful_step_count=40)

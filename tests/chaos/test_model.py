"""Random interleavings of people, replicas, faults and time, checked against a simple model.

A failure ends the run at once and says how to have the same steps again: the seed makes the
examples, and `MODEL_ONLY` picks one of them. As they meet real sockets and a real database, they
need not meet at the same moments, so that a rare failure may take a few tries to come back.
`MODEL_EXAMPLES` and `MODEL_STEPS` make the long run longer or shorter.
"""

import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import cast

import pytest
from hypothesis import HealthCheck, Phase, seed, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)
from typing_extensions import override

from bot import delivery, previewing
from tests.chaos.machine import Machine
from tests.chaos.model_steps import ANY_STEP, ASK, START, Step

pytestmark = [
    pytest.mark.chaos,
    # A replica that is killed while it connects to PostgreSQL closes nothing.
    pytest.mark.filterwarnings(
        "ignore:.*Connection.__del__:pytest.PytestUnraisableExceptionWarning"
    ),
]

# The first examples of this seed reach most of what there is, also calls that people decide on.
_FIXED_SEED = 7


class Broken(BaseException):
    """A promise is broken, or a step failed. Not an Exception: hypothesis would try it again."""


class Interleaving(RuleBasedStateMachine):
    """One rule for all steps, so that they come as often as they are weighed."""

    def __init__(self, postgres_dsn: str, template: str, numbers: "count[int]", only: int) -> None:
        super().__init__()
        self._number = next(numbers)
        wanted = only in (0, self._number)
        self._machine = Machine(postgres_dsn, template) if wanted else None
        self._steps: list[str] = []
        self._wrong: list[str] = []

    @initialize(replicas=st.integers(1, 2), asked=st.lists(ASK, min_size=1, max_size=3))
    def begin(self, replicas: int, asked: list[Step]) -> None:
        for one in [START] * replicas + asked:
            self.step(one)

    @rule(one=ANY_STEP)
    def step(self, one: Step) -> None:
        self._steps.append(one.told())
        if self._machine is None:
            return
        with self._telling():
            self._machine.step(one.name, one.pause, **one.arguments)

    @override
    def teardown(self) -> None:
        if self._machine is None:
            return
        try:
            with self._telling():
                if not self._wrong and (found := self._machine.complaints()):
                    raise self._told(*found)
        finally:
            with self._telling():
                self._machine.close()

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise self._told(repr(error)) from error

    def _told(self, *wrong: str) -> Broken:
        self._wrong += wrong
        what = "\n".join(self._wrong)
        return Broken(f"example {self._number}: {what}\nafter: {'; '.join(self._steps)}")


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Previews begin at once, and looks at Slack follow each other fast: its listings trail less."""
    monkeypatch.setattr(previewing, "_START_AFTER_SECONDS", 0.02)
    monkeypatch.setattr(previewing, "_LOOKS_APART_SECONDS", 0.3)
    monkeypatch.setattr(delivery, "_LOOKS_APART_SECONDS", 0.3)


class Trial:
    """Runs examples of a seed: `--hypothesis-seed`, else the one that is given."""

    def __init__(self, config: pytest.Config, postgres_dsn: str, template: str) -> None:
        self._given = config.getoption("--hypothesis-seed", default=None)
        self._dsn, self._template = postgres_dsn, template

    def run(self, name: str, otherwise: int, examples: int, steps: int) -> None:
        """Fails with the seed and the example that broke a promise."""
        chosen = int(self._given) if self._given else otherwise
        sys.stdout.write(f"--hypothesis-seed={chosen}\n")
        only = int(os.environ.get("MODEL_ONLY", "0"))
        made = partial(Interleaving, self._dsn, self._template, count(1), only)
        limits = settings(
            deadline=None,
            database=None,
            max_examples=examples,
            stateful_step_count=steps,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        try:
            run_state_machine_as_test(  # any callable that makes one will do
                cast("type[RuleBasedStateMachine]", seed(chosen)(made)), settings=limits
            )
        except Broken as broken:
            number = str(broken).partition(":")[0].removeprefix("example ")
            again = (
                f"MODEL_ONLY={number} MODEL_EXAMPLES={examples} MODEL_STEPS={steps}"
                f" pytest -n 0 {__file__}::{name} --hypothesis-seed={chosen}"
            )
            raise AssertionError(f"{broken}\nagain: {again}") from broken.__cause__


@pytest.fixture
def trial(pytestconfig: pytest.Config, postgres_dsn: str, template: str) -> Trial:
    return Trial(pytestconfig, postgres_dsn, template)


@pytest.mark.timeout(180)
def test_some_interleavings(trial: Trial):
    trial.run("test_some_interleavings", _FIXED_SEED, examples=5, steps=12)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_many_interleavings(trial: Trial):
    examples = int(os.environ.get("MODEL_EXAMPLES", "400"))
    steps = int(os.environ.get("MODEL_STEPS", "40"))
    chosen = random.SystemRandom().randrange(2**32)
    trial.run("test_many_interleavings", chosen, examples, steps)

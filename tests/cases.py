"""Which cases of a matrix `make test` runs, and which are left to `make test-long`."""

from collections.abc import Collection, Sequence
from typing import Any

import pytest


def long(*cases: Any) -> list[Any]:
    """Cases for `make test-long`: they differ from the others in little."""
    return [_case(case, pytest.mark.long) for case in cases]


def few_of(cases: Sequence[Any], few: Collection[Any]) -> list[Any]:
    """All of them, in order; those that are not among the few are long."""
    assert all(case in cases for case in few)
    return [_case(case) if case in few else _case(case, pytest.mark.long) for case in cases]


few_or_all = pytest.mark.parametrize(
    "most", [2, pytest.param(1_000, marks=pytest.mark.long)], ids=["two of a kind", "all"]
)
"""For tests that take many errors in one go."""


def of_each(most: int, *kinds: Sequence[str]) -> tuple[str, ...]:
    """At most so many errors of each kind, none of them twice."""
    return tuple(dict.fromkeys(error for kind in kinds for error in kind[:most]))


def _case(case: Any, *marks: pytest.MarkDecorator) -> Any:
    return pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=marks)

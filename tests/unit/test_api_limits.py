"""Limits: how often one principal may ask, in one process."""

import pytest

from router.api import limits
from router.api.limits import Limits, Strangers
from router.api.problems import Problem


class Clock:
    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def allowed(
    limit: Limits, method: str = "GET", principal: str = "member:a", most: int = 2000
) -> int:
    """How many requests get through before one does not."""
    for count in range(most):
        try:
            limit.take(principal, method)
        except Problem:
            return count
    return most


def test_reads_and_writes_have_a_minutes_worth_each():
    limit = Limits(now=Clock())
    assert allowed(limit) == 600
    assert allowed(limit, "POST") == 120
    assert allowed(limit, "DELETE") == 0


def test_what_turned_away_is_told_when_to_come_back_and_then_let_in():
    clock = Clock()
    limit = Limits(now=clock)
    allowed(limit, "POST")
    with pytest.raises(Problem) as refused:
        limit.take("member:a", "POST")
    assert (refused.value.status, refused.value.kind.slug) == (429, "too-many-requests")
    clock.at += int(refused.value.headers["Retry-After"])
    limit.take("member:a", "POST")


def test_it_fills_with_time_and_never_above_a_minutes_worth():
    clock = Clock()
    limit = Limits(now=clock)
    allowed(limit)
    clock.at += 6
    assert allowed(limit) == 60
    clock.at += 3600
    assert allowed(limit) == 600


def test_asking_too_often_does_not_put_off_the_time():
    clock = Clock()
    limit = Limits(now=clock)
    allowed(limit, "POST")
    let_in = 0
    for _ in range(90):
        clock.at += 0.01
        let_in += allowed(limit, "POST")
    assert let_in == 1


def test_one_principal_takes_nothing_from_another():
    limit = Limits(now=Clock())
    allowed(limit)
    assert allowed(limit, principal="key:b") == 600


def test_memory_is_bounded_and_the_idle_make_room(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "_MOST_BUCKETS", 3)
    limit = Limits(now=Clock())
    allowed(limit, principal="busy")
    for other in range(20):
        limit.take(f"member:{other}", "GET")
        with pytest.raises(Problem):
            limit.take("busy", "GET")
    assert len(limit._buckets) == 3


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_what_changes_nothing_is_a_read(method: str):
    assert allowed(Limits(now=Clock()), method) == 600


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "get", "PURGE"])
def test_everything_else_is_a_write(method: str):
    assert allowed(Limits(now=Clock()), method) == 120


# ------------------------------------------------------------------ strangers


def turned_away(strangers: Strangers, remote: str | None) -> bool:
    try:
        strangers.take(remote)
    except Problem:
        return True
    return False


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("fe80::1%eth0", "fe80::2", True),
        ("", None, True),
        ("unix socket", "another", False),
    ],
)
def test_strangers_are_told_apart_by_what_a_subscriber_has(
    one: str, other: str | None, *, same: bool
):
    strangers = Strangers(1, now=Clock())
    assert not turned_away(strangers, one)
    assert turned_away(strangers, one)
    assert turned_away(strangers, other) is same


def test_many_strangers_cost_a_bounded_memory_and_nothing_of_those_we_know(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(limits, "_MOST_BUCKETS", 3)
    strangers, known = Strangers(1, now=Clock()), Limits(reads=1, now=Clock())
    known.take("member:a", "GET")
    for number in range(100):
        strangers.take(f"192.0.2.{number}")
    assert len(strangers._limits._buckets) == 3
    with pytest.raises(Problem):
        known.take("member:a", "GET")

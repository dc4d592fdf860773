import time
from datetime import UTC, datetime

import pytest

from store.ids import new_id


def test_ids_sort_as_they_were_made_within_a_millisecond_too():
    made = [new_id() for _ in range(20_000)]
    assert made == sorted(set(made))


def test_an_id_is_of_version_7_and_tells_its_time():
    before = datetime.now(UTC)
    made = [new_id() for _ in range(100)]
    assert {(one.version, one.variant) for one in made} == {(7, "specified in RFC 4122")}
    told = datetime.fromtimestamp((made[0].int >> 80) / 1000, UTC)
    assert abs((told - before).total_seconds()) < 60


def test_they_go_on_sorting_where_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch):
    before = new_id()
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000)
    assert before < new_id() < new_id()

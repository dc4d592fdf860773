"""Places in a stream: what they say, that they come back as they were, and what is refused."""

import base64
from uuid import UUID

import pytest
from hypothesis import given, strategies as st

from router.api.places import (
    MOST,
    MOST_TEXT,
    RUNTIME_WINDOW,
    BadPlace,
    Delivered,
    Lane,
    Mark,
    Place,
    hashed,
)

SESSION, OTHER = UUID(int=1), UUID(int=2)
NOW = 1_790_000_000_000_000
SECOND = 1_000_000


def mark(name: str, at: int | None, *, ours: bool = False) -> Mark:
    done, queued = hashed(name), hashed(f"{name} queued")
    return Mark(queued, None, ours, done) if at is None else Mark(done, at, ours, queued)


def reread(delivered: Delivered) -> Delivered:
    """As another process has it."""
    return Delivered(Place.read(delivered.place().written(SESSION), SESSION))


_hashes = st.binary(min_size=6, max_size=6)


@st.composite
def lanes(draw: st.DrawFn) -> Lane:
    at = draw(st.integers(0, 2**63))
    since = draw(st.integers(max(0, at - RUNTIME_WINDOW), at))
    ids = draw(st.dictionaries(_hashes, st.integers(since, at), max_size=200))
    return Lane(at, since, ids, draw(st.frozensets(_hashes, max_size=200)) - ids.keys())


@given(st.builds(Place, lanes(), lanes(), st.booleans()))
def test_a_place_comes_back_as_it_was(place):
    assert Place.read(place.written(SESSION), SESSION) == place


@given(st.builds(Place, lanes(), lanes(), st.booleans()), st.data())
def test_a_place_that_was_changed_is_refused(place, data):
    raw = bytearray(base64.urlsafe_b64decode(place.written(SESSION) + "=="))
    index = data.draw(st.integers(0, len(raw) - 1))
    raw[index] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadPlace):
        Place.read(base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("="), SESSION)


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda b: base64.b64encode(b).decode()))
def test_anything_else_is_refused_and_nothing_worse(text):
    with pytest.raises(BadPlace):
        Place.read(text, SESSION)


def test_a_place_of_another_session_is_refused():
    with pytest.raises(BadPlace):
        Place.read(Place().written(OTHER), SESSION)


def test_what_is_too_long_is_refused_unread():
    with pytest.raises(BadPlace):
        Place.read("A" * (MOST_TEXT + 1), SESSION)


def test_the_longest_place_fits_into_a_header():
    delivered = Delivered(Place())
    for number in range(1_000):
        delivered.add(mark(f"event {number}", NOW + number))
        delivered.add(mark(f"queued {number}", None))
        delivered.add(mark(f"row {number}", NOW + number, ours=True))
    assert len(delivered.place().written(SESSION)) < MOST_TEXT


def test_what_was_delivered_is_known_elsewhere_and_what_came_late_is_not():
    delivered = Delivered(Place())
    delivered.add(mark("a", NOW))
    delivered.add(mark("c", NOW + 2 * SECOND))
    delivered.add(mark("row", NOW, ours=True))
    there = reread(delivered)
    assert there.knows(mark("a", NOW))
    assert there.knows(mark("c", NOW + 2 * SECOND))
    assert there.knows(mark("row", NOW, ours=True))
    assert not there.knows(mark("b", NOW + SECOND))
    assert not there.knows(mark("row", NOW))


def test_what_is_older_than_the_window_counts_as_delivered():
    delivered = Delivered(Place())
    delivered.add(mark("old", NOW - 2 * RUNTIME_WINDOW))
    delivered.add(mark("new", NOW))
    assert reread(delivered).knows(mark("old", NOW - 2 * RUNTIME_WINDOW))
    assert reread(delivered).knows(mark("never seen", NOW - RUNTIME_WINDOW - 1))
    assert not reread(delivered).knows(mark("never seen", NOW - RUNTIME_WINDOW + 1))


def test_a_user_event_counts_once_as_queued_and_once_as_processed():
    delivered = Delivered(Place())
    delivered.add(mark("said", None))
    assert reread(delivered).knows(mark("said", None))
    assert not reread(delivered).knows(mark("said", NOW))
    delivered.add(mark("said", NOW))
    assert reread(delivered).knows(mark("said", NOW))
    assert reread(delivered).knows(mark("said", None)), "old news"


def test_what_is_queued_for_long_stays_known_across_places():
    delivered = Delivered(Place())
    delivered.add(mark("said", None))
    for minute in range(5):
        delivered.add(mark(f"event {minute}", NOW + minute * RUNTIME_WINDOW))
        delivered = reread(delivered)
    assert delivered.knows(mark("said", None))


def test_the_ids_of_an_old_place_are_kept_for_as_long_as_they_may_come_again():
    delivered = Delivered(Place())
    delivered.add(mark("a", NOW))
    delivered.add(mark("b", NOW + RUNTIME_WINDOW // 2))
    there = reread(delivered)
    there.add(mark("c", NOW + RUNTIME_WINDOW))
    assert reread(there).knows(mark("a", NOW))
    assert reread(there).knows(mark("b", NOW + RUNTIME_WINDOW // 2))


def test_of_very_many_the_newest_are_kept_and_the_others_count_as_delivered():
    delivered = Delivered(Place())
    for number in range(MOST * 3):
        delivered.add(mark(f"event {number}", NOW + number))
        assert delivered.knows(mark(f"event {number}", NOW + number))
    there = reread(delivered)
    assert all(there.knows(mark(f"event {n}", NOW + n)) for n in range(MOST * 3))
    assert not there.knows(mark("late", NOW + MOST * 3 - 2))


def test_many_at_the_same_moment_do_not_grow_a_place():
    delivered = Delivered(Place())
    for number in range(MOST * 3):
        delivered.add(mark(f"event {number}", NOW))
    assert len(delivered.place().runtime.ids) <= MOST + 1


def test_an_end_is_part_of_the_place():
    delivered = Delivered(Place())
    delivered.add(mark("row", NOW, ours=True), last=True)
    assert Place.read(delivered.place().written(SESSION), SESSION).ended


def test_a_full_place_forgets_one_by_one_after_it_was_read_again():
    delivered = Delivered(Place())
    for number in range(MOST):
        delivered.add(mark(f"event {number}", NOW + 10 * number))
    there = reread(delivered)
    there.add(mark("next", NOW + 10 * MOST))
    assert there.knows(mark(f"event {MOST - 1}", None)), "it is known as processed"
    assert not there.knows(mark("late", NOW + 10 * MOST - 15)), "nobody was given that"

"""What one session's readers share: each event once, and all of it for who joins."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from router.api import frames, ring
from router.api.channel import Channel, Read, Snapshot, Watched
from router.api.frames import Told
from router.api.places import Delivered, Place
from router.api.ring import Viewer
from router.runtime.client import Event
from store.session_steps import State, Step

SESSION = UUID(int=7)


def event(name: str, second: int | None, kind: str = "agent.message") -> Event:
    at = None if second is None else f"2026-01-01T00:{second // 60:02}:{second % 60:02}Z"
    return {"type": kind, "id": name, "processed_at": at}


def read(*events: Event) -> Read:
    return Read(list(events), [], None, None)


def ids(snapshot: Snapshot) -> list[str]:
    return [told.lines.decode().split('"id":"')[1].split('"')[0] for told in snapshot.told]


@pytest.fixture
def channel() -> Channel:
    return Channel(Watched(UUID(int=1), UUID(int=2), SESSION))


def step(name: UUID, second: int) -> Step:
    at = datetime(2026, 1, 1, 0, second // 60, second % 60, tzinfo=UTC)
    says: dict[str, Any] = {"text": "hello"}
    return Step(SESSION, name, "input", name, "message", None, None, "", at, says)


async def joined(channel: Channel, *listed: Event, place: Place | None = None) -> Snapshot:
    answer = channel.join(place or Place())
    if not answer.done():
        await channel.give(read(*listed), channel.take_waiting())
    return answer.result()


async def test_who_joins_gets_what_only_the_stream_has_shown_too(channel):
    await channel.give(read(event("old", 0), event("a", 100)), [])
    channel.live(event("b", 101))
    assert ids(await joined(channel, event("old", 0), event("a", 100))) == ["old", "a", "b"]


async def test_what_a_list_shows_first_is_told_to_all_and_once(channel):
    snapshot = await joined(channel, event("a", 100))
    viewer = channel.enter(snapshot, deltas=False)
    assert viewer is not None
    assert ids(await joined(channel, event("old", 0), event("a", 100), event("b", 101))) == [
        "old",
        "a",
        "b",
    ]
    channel.live(event("b", 101))
    [item] = channel.behind(viewer) or []
    assert b'"b"' in item.lines


def behind(channel: Channel, viewer: Viewer) -> list[str]:
    items = channel.behind(viewer) or []
    return ids(Snapshot(tuple(Told(i.mark, i.lines) for i in items if i.mark is not None), 0))


async def test_whoever_joins_gets_things_in_the_order_in_which_the_others_got_them(channel):
    """What a list shows late is older than what was told before it."""
    first = await joined(channel, event("a", 100), event("b", 101))
    viewer = channel.enter(first, deltas=False)
    assert viewer is not None
    channel.live(event("d", 103))
    channel.steps([step(UUID(int=9), 102)])
    everything = [event(name, at) for name, at in (("old", 1), ("a", 100), ("b", 101), ("c", 102))]
    later = await joined(channel, *everything, event("d", 103))
    told = ["a", "b", "d", str(UUID(int=9)), "c"]
    assert ids(first) + behind(channel, viewer) == told
    assert ids(later) == ["old", *told]


async def test_the_first_list_is_one_order_of_ours_and_the_runtimes(channel):
    answer = channel.join(Place())
    rows = [step(UUID(int=9), 101), step(UUID(int=8), 99)]
    listed = Read([event("a", 100), event("b", 102)], rows, None, None)
    await channel.give(listed, channel.take_waiting())
    again = await joined(channel, event("a", 100), event("b", 102))
    assert ids(answer.result()) == ids(again) == [str(UUID(int=8)), "a", str(UUID(int=9)), "b"]


async def test_the_order_is_remembered_for_longer_than_the_frames(channel, monkeypatch):
    monkeypatch.setattr(ring, "MOST_FRAMES", 2)
    names = ["a", "z", "b", "c", "d", "e", "f"]
    listed = []
    await channel.give(read(), [])
    for second, name in enumerate(names):
        listed.append(event(name, 100 - second))
        channel.live(listed[-1])
    assert ids(await joined(channel, *reversed(listed))) == names


@pytest.mark.parametrize(("behind", "told"), [(1, True), (59, True), (61, False)])
async def test_who_comes_back_gets_what_is_listed_up_to_a_window_late(
    channel: Channel, behind: int, *, told: bool
):
    await joined(channel, event("a", 100 - behind - 1), event("z", 100))
    place = Place.read(channel.place().written(SESSION), SESSION)
    elsewhere = Channel(channel.watched)
    late = [event("a", 100 - behind - 1), event("late", 100 - behind), event("z", 100)]
    snapshot = await joined(elsewhere, *late, place=place)
    lacking = [one for one in snapshot.told if not Delivered(place).knows(one.mark)]
    assert ids(Snapshot(tuple(lacking), 0)) == (["late"] if told else [])


async def test_that_it_was_queued_is_no_news_once_it_was_processed(channel):
    viewer = channel.enter(await joined(channel), deltas=False)
    assert viewer is not None
    channel.live(event("said", 5, "user.message"))
    channel.live(event("said", None, "user.message"))
    assert len(channel.behind(viewer) or []) == 1
    channel.live(event("more", None, "user.message"))
    channel.live(event("more", 6, "user.message"))
    assert len(channel.behind(viewer) or []) == 3
    assert ids(await joined(channel)) == ["said", "more"]


async def test_who_comes_back_soon_needs_no_list(channel):
    await joined(channel, event("a", 100), event("b", 101))
    assert channel.join(channel.place()).done()
    assert not channel.join(Place()).done()


async def test_the_end_stands_behind_everything(channel):
    channel.note(State(SESSION, None, "archived", datetime(2026, 1, 1, tzinfo=UTC)))
    await joined(channel)
    channel.finish()
    channel.live(event("late", 200))
    told = (await joined(channel)).told
    assert [one.last for one in told] == [False, True]
    assert channel.place().ended


def test_what_is_queued_stands_behind_what_was_processed():
    told = [frames.of_runtime(e) for e in (event("q", None), event("b", 2), event("a", 1))]
    assert ids(Snapshot(tuple(frames.in_order(told)), 0)) == ["a", "b", "q"]


@pytest.mark.parametrize("name", ["a\nid: forged", "a\r\ndata: {}", "two\n\nframes"])
def test_nothing_that_is_told_can_end_its_frame(name: str):
    body: dict[str, Any] = {"type": name, "text": "a\n\nevent: forged\r\n"}
    lines = frames.lines(name, body)
    assert lines.count(b"\n") == 3
    assert lines.endswith(b"\n\n")
    assert b"\r" not in lines


def test_two_interrupts_without_an_id_are_two():
    marks = {frames.mark_of(event("", second, "user.interrupt")).key for second in (1, 2, 2)}
    assert len(marks) == 2


@pytest.mark.parametrize(
    "at", ["", "yesterday", "2026-01-01T00:00:00", 5, None, "1969-01-01T00:00:00Z"]
)
def test_a_time_that_is_none_breaks_nothing(at: Any):
    mark = frames.mark_of({"type": "x", "id": "a", "processed_at": at})
    assert mark.at in (None, 0)

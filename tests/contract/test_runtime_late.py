"""Requests that take effect late, events that come twice or out of order: as the real client sees it."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import anthropic
import pytest

from tests.contract.runtime_bench import Bench, open_bench
from tests.support import eventually


@pytest.fixture
async def bench():
    async with open_bench("aiohttp") as opened:
        yield opened


async def left(bench: Bench, call: Coroutine[Any, Any, Any]) -> None:
    """Has a call go out, and waits no longer for its answer once its effect is on its way."""
    async with asyncio.TaskGroup() as group:
        calling = group.create_task(call)
        await eventually(lambda: bench.runtime.world.pace._sleepers)
        calling.cancel()


async def test_a_send_may_take_effect_when_nobody_waits_for_it_any_more(bench: Bench):
    session_id = await bench.session()
    fault = bench.runtime.fault("late_effect", route="events.send", seconds=600)
    await left(bench, bench.say(session_id, "hello"))
    assert fault.hits == 1
    assert await bench.types(session_id) == []
    bench.runtime.advance(600)
    await eventually(lambda: len(bench.runtime.received(session_id)) == 1)
    await bench.idle(session_id)


async def test_whoever_waits_for_it_gets_the_answer(bench: Bench):
    bench.runtime.fault("late_effect", route="sessions.create", seconds=0.05)
    session_id = await bench.session(metadata={"ours": "7"})
    assert [s["id"] for s in bench.runtime.sessions()] == [session_id]


async def test_an_effect_may_be_refused_when_its_time_has_come(bench: Bench):
    bench.runtime.fault("late_effect", route="events.send", seconds=0.05)
    with pytest.raises(anthropic.NotFoundError):
        await bench.say("sesn_none", "hello")


async def test_what_is_late_for_ever_does_not_outlive_the_server():
    async with open_bench("aiohttp") as bench:
        late = bench.runtime.fault("late_effect", route="sessions.create", seconds=6000)
        await left(bench, bench.session())
        assert late.hits == 1


async def heard(bench: Bench) -> list[str]:
    """What a stream says of a short turn."""
    session_id = await bench.session()
    stream = await bench.api.events.stream(session_id)
    await bench.say(session_id, "hello")
    kinds: list[str] = []
    async for event in stream:
        kinds.append(event.type)
        if kinds[-1] == "session.status_idle":
            break
    await stream.close()
    return kinds


async def test_an_event_may_come_twice(bench: Bench):
    plain = await heard(bench)
    fault = bench.runtime.fault("duplicate", event_type="agent.message")
    where = plain.index("agent.message")
    assert await heard(bench) == [*plain[:where], "agent.message", *plain[where:]]
    assert fault.hits == 1


async def test_an_event_may_come_behind_the_next_one(bench: Bench):
    plain = await heard(bench)
    fault = bench.runtime.fault("reorder", event_type="agent.message")
    where = plain.index("agent.message")
    swapped = [plain[where + 1], plain[where]]
    assert await heard(bench) == [*plain[:where], *swapped, *plain[where + 2 :]]
    assert fault.hits == 1


async def test_the_last_event_may_come_with_the_next_ping():
    async with open_bench("aiohttp", ping_seconds=0.05) as bench:
        bench.runtime.fault("reorder", event_type="session.status_idle")
        assert (await heard(bench))[-1] == "session.status_idle"

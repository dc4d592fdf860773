"""The live tail over real HTTP, against the local runtime with all that goes wrong on the way."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from tests.flows.watching import PACE, Reader, Replica, Stage, everything, reading, stage
from tests.store import factories
from tests.support import eventually

_CUTS = 50
_TYPES = (
    "session.status_running",
    "user.message",
    "agent.message",
    "agent.tool_use",
    "agent.tool_result",
    "span.model_request_start",
    "span.model_request_end",
    "session.status_idle",
    "event_delta",
)


@pytest.fixture
async def here(dsn: str) -> AsyncIterator[Stage]:
    async with stage(dsn) as made:
        yield made


# ------------------------------------------------------------------ many, and cut off


async def test_two_hundred_viewers_of_a_session_cost_one_upstream(here):
    await here.say("hello")
    await eventually(here.rests)
    here.runtime.world.pace.set_rate(0)
    here.runtime.fault("stall", route="events.list", seconds=1)  # until all of them wait for it
    async with here.replica() as replica, reading(here, replica, 200) as readers:
        await eventually(lambda: all(r.comments for r in readers), says="all of them there")
        here.runtime.world.pace.set_rate(1)
        await eventually(lambda: all(r.processed() == here.processed() for r in readers), 40)
        lists = here.runtime.requests("events.list")
        await here.say("!tool bash")
        await everything(here, *readers)
        assert here.runtime.streams(here.runtime_id) == 1
        assert here.runtime.requests("events.stream") == 1
        assert lists <= 10, "who comes at the same time shares a list"
        assert len({tuple(reader.sequence()) for reader in readers}) == 1
        assert replica.hub.viewers == 200
    await eventually(lambda: here.runtime.streams() == 0)


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 12))]
)
@pytest.mark.timeout(180)  # as long as fifty cuts take where everything else runs beside them
async def test_nobody_misses_or_repeats_anything_when_the_upstream_is_cut_fifty_times(here, seed):
    dice = random.Random(seed)
    cuts: list[Any] = []
    pace = replace(PACE, settle=(60.0,))  # the list that follows an attach has to do
    async with here.replica(pace) as one, here.replica(pace) as two:
        readers = [here.reader() for _ in range(12)]
        async with asyncio.TaskGroup() as tasks:
            for number, reader in enumerate(readers):
                restless = number % 3 != 0
                luck = random.Random(dice.random())
                tasks.create_task(_read_until_done(reader, [one, two], luck, restless=restless))
            while sum(cut.hits for cut in cuts) < _CUTS:
                clean = dice.random() < 0.5
                cuts.append(
                    here.runtime.fault("cut_stream", event_type=dice.choice(_TYPES), clean=clean)
                )
                if here.rests():
                    await here.say(dice.choice(["!long 20", "!tool bash", "!slow 0.3 3", "hello"]))
                await asyncio.sleep(dice.random() * 0.05)
            here.runtime.clear_faults()
            await here.say("!tool bash")
            await everything(here, *readers)
            async with reading(here, one, 2) as late:
                await everything(here, *late)
                steady = [reader.sequence() for reader in [*readers[::3], *late]]
                assert steady == [steady[0]] * 6, "one order at one replica, whenever one came"
            for reader in readers:
                reader.ended = True
            await here.say("goodbye")  # whoever reads wakes up and sees that it is over
    for reader in readers:
        reader.once()


async def _read_until_done(
    reader: Reader, replicas: list[Replica], luck: random.Random, *, restless: bool
) -> None:
    """Reads on and on; the restless go away after some frames and come back, here or elsewhere."""
    done = False
    while not done:
        replica = luck.choice(replicas) if restless else replicas[0]
        many = luck.randint(1, 40) if restless else None
        task = asyncio.ensure_future(reader.read(replica.url, many, deltas="true"))
        while not task.done() and not (done := reader.ended):
            await asyncio.wait([task], timeout=0.05)
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.parametrize("kind", ["duplicate", "reorder"])
async def test_what_the_runtime_says_twice_or_in_another_order_is_told_once(here, kind):
    async with here.replica() as replica, reading(here, replica, 2) as readers:
        await eventually(lambda: here.runtime.streams() == 1)
        for event_type in ("agent.message", "user.message", "agent.tool_use", "agent.tool_result"):
            here.runtime.fault(kind, event_type=event_type, times=3)
        for _ in range(3):
            await here.say("!tool bash")
            await eventually(here.rests)
        async with reading(here, replica) as late:
            await everything(here, *readers, *late)
            told = [reader.sequence() for reader in (*readers, *late)]
            assert told == [told[0]] * 3, "one order at one replica, whenever one came"


async def test_what_history_and_stream_both_lacked_comes_a_little_later(here):
    async with here.replica() as replica, reading(here, replica) as readers:
        await here.say("hello")
        await everything(here, *readers)
        # the cut loses what follows, and the list after it does not show that yet
        here.runtime.fault("cut_stream", event_type="session.status_running")
        here.runtime.fault("history_lag", route="events.list", events=100)
        await here.say("!tool bash")
        await everything(here, *readers)


async def test_a_place_of_another_replica_holds_where_the_history_lags(here):
    """What the reader was given elsewhere comes to this process only after they came."""
    async with here.replica() as one, here.replica() as two:
        async with reading(here, one) as [reader]:
            await eventually(lambda: here.runtime.streams() == 1)
            await here.say("hello")
            await everything(here, reader)
        lists = here.runtime.requests("events.list")
        here.runtime.fault("history_lag", route="events.list", events=3, times=1)
        for text in ("again", "and again"):
            async with asyncio.TaskGroup() as tasks:
                task = tasks.create_task(reader.read(two.url))
                await eventually(lambda: here.runtime.requests("events.list") >= lists + 3)
                await here.say(text)
                await everything(here, reader)
                task.cancel()


async def test_a_message_that_waits_for_long_is_not_told_again_to_who_comes_back(here):
    here.runtime.hold()
    await here.say("first")
    await eventually(here.runtime.held)
    await here.say("second")
    async with here.replica() as replica:
        reader = here.reader()
        for number in range(3):
            async with asyncio.TaskGroup() as tasks:
                task = tasks.create_task(reader.read(replica.url))
                await factories.message(here.db, here.session, body={"text": f"{number}"})
                await eventually(
                    lambda number=number: any(  # type: ignore[misc,arg-type]  # mypy takes it for object
                        frame.data.get("text") == str(number) for frame in reader.told()
                    )
                )
                task.cancel()
        said = [f for f in reader.told() if f.event == "user.message"]
        assert [bool(f.data.get("processed_at")) for f in said] == [True, False]
        here.runtime.release()
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(reader.read(replica.url))
            await everything(here, reader)
            task.cancel()


async def test_interrupts_without_an_id_are_told_apart(here):
    here.runtime.fault("blank_interrupt_id", times=2)
    async with here.replica() as replica, reading(here, replica) as [reader]:
        for _ in range(2):
            await here.say("!slow 30")
            await eventually(lambda: not here.rests())
            await here.client.send(here.runtime_id, [{"type": "user.interrupt"}])
            await eventually(here.rests)

        def seen() -> bool:
            stops = [f for f in reader.told() if f.event == "user.interrupt"]
            return len([f for f in stops if f.data.get("processed_at")]) == 2

        await eventually(seen)


# ------------------------------------------------------------------ deltas, secrets, heartbeats


async def test_deltas_come_when_asked_for_and_are_no_places(here):
    async with here.replica() as replica, reading(here, replica) as [plain]:
        async with reading(here, replica, deltas="true") as [rich]:
            await eventually(lambda: replica.hub.viewers == 2 and rich.comments + 1)
            await here.say("hello")
            await everything(here, plain, rich)
            await here.say("!slow 0.3 2")
            await everything(here, plain, rich)
        assert {f.event for f in plain.frames}.isdisjoint({"event_start", "event_delta"})
        previews = [f for f in rich.frames if f.event in {"event_start", "event_delta"}]
        assert {f.event for f in previews} == {"event_start", "event_delta"}
        assert {f.id for f in previews} == {None}
        assert all(f.id for f in rich.told())


async def test_secrets_in_the_arguments_of_a_call_are_not_told(here):
    async with here.replica() as replica, reading(here, replica) as [reader]:
        await here.say("!ask secret")
        await eventually(lambda: "agent.tool_use" in reader.names())
        [call] = [f for f in reader.told() if f.event == "agent.tool_use"]
        assert "EXAMPLE" not in str(call.data)
        assert call.data["input"]["env"]["REGION"] == "eu"


async def test_a_reader_without_news_hears_that_somebody_is_there(here):
    pace = replace(PACE, heartbeat=0.05)
    async with here.replica(pace) as replica, reading(here, replica) as [reader]:
        await eventually(lambda: reader.comments > 3)
        assert reader.frames == []

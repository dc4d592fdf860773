"""Every fault switch, as the real client sees it."""

import asyncio
from typing import Any

import aiohttp
import anthropic
import httpx2
import pytest

from tests.contract.runtime_bench import INTERRUPT, Bench, message, open_bench
from tests.support import eventually


@pytest.fixture(params=["httpx2", "aiohttp"])
async def bench(request):
    async with open_bench(request.param) as opened:
        yield opened


async def test_a_send_may_take_effect_and_lose_its_answer(bench):
    session_id = await bench.session()
    fault = bench.runtime.fault("drop_after", route="events.send")
    with pytest.raises(anthropic.APIConnectionError):
        await bench.say(session_id, "hello")
    assert fault.hits == 1
    assert [event["type"] for event in bench.runtime.received(session_id)] == ["user.message"]
    await bench.idle(session_id)
    await bench.say(session_id, "works again")


async def test_the_clients_own_retry_doubles_a_message(bench):
    session_id = await bench.session()
    bench.runtime.fault("drop_after", route="events.send")
    retrying = bench.client.with_options(max_retries=2)
    await retrying.beta.sessions.events.send(session_id, events=[message("hello")])
    assert len(bench.runtime.received(session_id)) == 2


async def test_a_create_may_take_effect_and_lose_its_answer(bench):
    bench.runtime.fault("drop_after", route="sessions.create")
    with pytest.raises(anthropic.APIConnectionError):
        await bench.session(metadata={"ours": "7"})
    (made,) = [one async for one in bench.api.list(agent_id=bench.agent_id)]
    assert made.metadata == {"ours": "7"}


async def test_a_request_may_be_dropped_before_it_takes_effect(bench):
    session_id = await bench.session()
    bench.runtime.fault("drop_before", route="events.send")
    bench.runtime.fault("drop_before", route="sessions.create")
    with pytest.raises(anthropic.APIConnectionError):
        await bench.say(session_id, "hello")
    with pytest.raises(anthropic.APIConnectionError):
        await bench.session()
    assert bench.runtime.received(session_id) == []
    assert len(bench.runtime.sessions()) == 1


@pytest.mark.parametrize("kind", ["session.status_running", "span.model_request_start"])
async def test_a_stream_may_be_reset_in_the_middle_of_a_turn(bench, kind):
    session_id = await bench.session()
    bench.runtime.fault("cut_stream", event_type=kind)
    stream = await bench.api.events.stream(session_id)
    heard: list[str] = []

    async def listen() -> None:
        with pytest.raises((httpx2.HTTPError, aiohttp.ClientError)):
            await _listen(stream, heard)

    # What nobody has read yet when the connection breaks, aiohttp throws away.
    async with asyncio.TaskGroup() as group:
        group.create_task(listen())
        await bench.say(session_id, "hello")
    assert heard[-1] == kind
    await bench.idle(session_id)
    again = await bench.api.events.stream(session_id)
    await bench.say(session_id, "more")
    assert [event.type async for event in _until_idle(again)][-1] == "session.status_idle"


async def test_a_stream_may_end_cleanly_in_the_middle_of_a_turn(bench):
    session_id = await bench.session()
    bench.runtime.fault("cut_stream", clean=True, session_id=session_id)
    stream = await bench.api.events.stream(session_id)
    await bench.say(session_id, "hello")
    heard: list[str] = []
    await _listen(stream, heard)
    assert heard[-1] == "span.model_request_start"


async def test_history_may_lag_behind_status(bench):
    session_id = await bench.session("hello")
    await bench.idle(session_id)
    bench.runtime.fault("history_lag", events=1, times=2)
    assert (await bench.api.retrieve(session_id)).status == "idle"
    assert (await bench.types(session_id))[-1] == "session.usage"
    assert (await bench.types(session_id, order="desc"))[0] == "session.usage"
    assert (await bench.types(session_id))[-1] == "session.status_idle"
    bench.runtime.fault("history_lag", seconds=600)
    assert await bench.types(session_id) == []


async def test_lagging_history_lacks_queued_messages_first(bench):
    bench.runtime.hold()
    session_id = await bench.session("first")
    await eventually(lambda: bench.runtime.held() == [session_id])
    await bench.say(session_id, "second")
    bench.runtime.fault("history_lag", events=1)
    assert len(await bench.history(session_id, types=["user.message"])) == 1
    assert len(await bench.history(session_id, types=["user.message"])) == 2


async def test_status_may_lag_behind_idle(bench):
    session_id = await bench.session("hello")
    await bench.idle(session_id)
    bench.runtime.fault("status_lag", times=4)
    assert (await bench.api.retrieve(session_id)).status == "running"
    assert [one.status async for one in bench.api.list()] == ["running"]
    for refused in (bench.api.archive, bench.api.delete):
        with pytest.raises(anthropic.BadRequestError, match="while it is running"):
            await refused(session_id)
    assert (await bench.api.retrieve(session_id)).status == "idle"
    await bench.api.archive(session_id)


async def test_an_event_of_a_type_newer_than_the_client_survives(bench):
    session_id = await bench.session()
    bench.runtime.fault("unknown_event", times=2)
    stream = await bench.api.events.stream(session_id)
    await bench.say(session_id, "hello")
    events = [event async for event in _until_idle(stream)]
    (odd,) = [event for event in events if event.type == "agent.hologram"]
    assert odd.id.startswith("sevt_")
    assert odd.to_dict()["payload"] == {"note": "a type newer than the client"}
    assert odd.id in {event.id for event in await bench.history(session_id)}
    named = await bench.session()
    bench.runtime.clear_faults()
    bench.runtime.fault("unknown_event", event_type="agent.song", session_id=named)
    await bench.say(named, "hello")
    await bench.idle(named)
    assert "agent.song" in await bench.types(named)


@pytest.mark.parametrize(
    ("kind", "status", "error"),
    [
        ("rate_limit", 429, "rate_limit_error"),
        ("overloaded", 529, "overloaded_error"),
        ("server_error", 500, "api_error"),
        ("unavailable", 503, "api_error"),
    ],
)
async def test_refusals_by_order(bench, kind, status, error):
    session_id = await bench.session()
    bench.runtime.fault(kind, route="events.send", retry_after=1.5)
    assert (await bench.api.retrieve(session_id)).status == "idle"
    with pytest.raises(anthropic.APIStatusError) as refused:
        await bench.say(session_id, "hello")
    assert (refused.value.status_code, refused.value.type) == (status, error)
    assert refused.value.response.headers["retry-after"] == "1.5"
    assert bench.runtime.received(session_id) == []
    await bench.say(session_id, "hello")


async def test_an_answer_may_stall():
    async with open_bench(pace=0) as bench:
        session_id = await bench.session()
        bench.runtime.fault("stall", route="events.send", seconds=30)
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(bench.say(session_id, "hello"))
            await bench.idle(session_id)
            assert not sending.done()
            bench.runtime.advance(30)
        assert sending.result()[0].type == "user.message"


async def test_a_request_may_never_be_answered(bench):
    session_id = await bench.session()
    bench.runtime.fault("silence", times=None)
    impatient = bench.client.with_options(timeout=0.1)
    with pytest.raises(anthropic.APITimeoutError):
        await impatient.beta.sessions.events.send(session_id, events=[message("hello")])
    with pytest.raises(anthropic.APITimeoutError):
        await impatient.beta.sessions.retrieve(session_id)
    bench.runtime.clear_faults()
    assert bench.runtime.received(session_id) == []
    assert (await bench.api.retrieve(session_id)).status == "idle"


async def test_a_session_may_be_gone(bench):
    gone, there = await bench.session(), await bench.session()
    bench.runtime.fault("gone", session_id=gone, times=None)
    for call in (bench.api.retrieve, bench.say, bench.api.events.stream, bench.history):
        with pytest.raises(anthropic.NotFoundError):
            await call(gone)
    await bench.say(there, "hello")


async def test_faults_strike_as_often_as_ordered(bench):
    fault = bench.runtime.fault("overloaded", times=2, route="agents.list")
    for _ in range(2):
        with pytest.raises(anthropic.InternalServerError):
            await bench.client.beta.agents.list()
    await bench.client.beta.agents.list()
    assert fault.spent


async def test_an_interrupt_may_have_an_empty_id(bench):
    session_id = await bench.session()
    bench.runtime.fault("blank_interrupt_id")
    (sent,) = await bench.send(session_id, INTERRUPT)
    assert sent.id == ""
    (listed,) = await bench.history(session_id, types=["user.interrupt"])
    assert listed.id == ""


async def _listen(stream: Any, heard: list[str]) -> None:
    async for event in stream:
        heard += [event.type]


async def _until_idle(stream: Any) -> Any:
    async for event in stream:
        yield event
        if event.type == "session.status_idle":
            await stream.close()
            return


async def test_a_running_turn_survives_a_reset_of_its_client(bench: Bench):
    bench.runtime.hold()
    session_id = await bench.session("hello")
    # For as long as it takes: aiohttp itself repeats a GET whose kept-alive connection broke.
    bench.runtime.fault("drop_before", times=None)
    with pytest.raises(anthropic.APIConnectionError):
        await bench.api.retrieve(session_id)
    bench.runtime.clear_faults()
    bench.runtime.release()
    await bench.idle(session_id)

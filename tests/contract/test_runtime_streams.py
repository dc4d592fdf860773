"""Streams: live tail, previews, pings, reconnecting; and that the client knows every event."""

import asyncio
import math
from typing import Any, get_args

import anthropic
import httpx2
import pytest
from anthropic.lib.sessions import accumulate_managed_agents_event
from anthropic.types.beta.sessions import BetaManagedAgentsSessionEvent

from router.runtime.local import LocalRuntime, server
from tests.contract.runtime_bench import (
    BETA,
    INTERRUPT,
    Bench,
    confirm,
    make_client,
    message,
    open_bench,
)
from tests.support import eventually

DELTAS = ["agent.message", "agent.thinking"]


@pytest.fixture(params=["httpx2", "aiohttp"])
async def bench(request):
    async with open_bench(request.param) as opened:
        yield opened


async def hear(stream: Any, until: str = "session.status_idle") -> list[Any]:
    """The events of a stream up to one of that type."""
    heard = []
    async for event in stream:
        heard.append(event)
        if event.type == until:
            break
    await stream.close()
    return heard


async def test_a_stream_is_the_live_tail_only(bench):
    session_id = await bench.session("before")
    await bench.idle(session_id)
    stream = await bench.api.events.stream(session_id)
    await bench.say(session_id, "after")
    heard = await hear(stream)
    whole = await bench.history(session_id)
    assert {e.id for e in heard} == {e.id for e in whole[10:]}


async def test_headers_come_at_once_so_that_open_then_list_misses_nothing(bench):
    bench.runtime.hold()
    session_id = await bench.session("hello")
    await eventually(lambda: bench.runtime.held() == [session_id])
    stream = await bench.api.events.stream(session_id)
    seen = {e.id for e in await bench.history(session_id)}
    bench.runtime.release()
    heard = await hear(stream)
    assert seen | {e.id for e in heard} == {e.id for e in await bench.history(session_id)}


async def test_previews_fold_into_the_message(bench):
    session_id = await bench.session()
    stream = await bench.api.events.stream(session_id, event_deltas=DELTAS)
    await bench.say(session_id, "!long 2")
    heard = await hear(stream)
    snapshot, folded = None, None
    for event in heard:
        if event.type == "agent.message":
            folded = snapshot
        snapshot = accumulate_managed_agents_event(snapshot, event)
    (final,) = [e for e in heard if e.type == "agent.message"]
    assert folded is not None
    assert snapshot is not None
    assert (folded.id, folded.content[0].text) == (final.id, final.content[0].text)
    assert snapshot.content == final.content
    starts = [(e.event.type, e.event.id) for e in heard if e.type == "event_start"]
    thought = next(e for e in heard if e.type == "agent.thinking")
    assert starts == [("agent.thinking", thought.id), ("agent.message", final.id)]
    order = [e.type for e in heard]
    assert order.index("span.model_request_start") < order.index("event_start")
    assert order.count("event_delta") > 3
    assert {"event_start", "event_delta"}.isdisjoint(await bench.types(session_id))


async def test_previews_only_for_the_streams_and_types_that_asked(bench):
    session_id = await bench.session()
    plain = await bench.api.events.stream(session_id)
    thinking = await bench.api.events.stream(session_id, event_deltas=["agent.thinking"])
    await bench.say(session_id, "hello")
    assert not [e for e in await hear(plain) if e.type.startswith("event_")]
    assert [e.type for e in await hear(thinking) if e.type.startswith("event_")] == ["event_start"]


async def test_a_slow_answer_follows_the_pace():
    async with open_bench(pace=0) as bench:
        session_id = await bench.session()
        stream = await bench.api.events.stream(session_id, event_deltas=["agent.message"])
        await bench.say(session_id, "!slow 24")
        await hear(stream, until="event_start")
        late = await bench.api.events.stream(session_id, event_deltas=["agent.message"])
        await eventually(lambda: _older(bench, session_id))
        # A stream that came in the middle has no start to fold fragments into, so it gets none.
        assert not [e for e in await hear(late) if e.type == "event_delta"]


async def test_an_interrupt_leaves_a_preview_without_its_message():
    async with open_bench(pace=0) as bench:
        session_id = await bench.session()
        stream = await bench.api.events.stream(session_id, event_deltas=["agent.message"])
        await bench.say(session_id, "!slow")
        started = asyncio.Event()

        async def listen() -> list[str]:
            kinds: list[str] = []
            async for event in stream:
                kinds.append(event.type)
                if event.type == "event_start":
                    started.set()
                if event.type == "session.status_idle":
                    return kinds
            return kinds

        async with asyncio.TaskGroup() as group:
            heard = group.create_task(listen())
            await started.wait()
            await bench.send(session_id, INTERRUPT)
        kinds = heard.result()
        assert "agent.message" not in kinds
        assert kinds.index("event_start") < kinds.index("span.model_request_end")
        await stream.close()


async def test_infinite_pace_waits_for_nothing():
    async with open_bench(pace=math.inf) as bench:
        session_id = await bench.session("!slow 86400")
        await bench.idle(session_id)


async def test_pings_keep_a_quiet_stream_alive():
    async with open_bench(ping_seconds=0.02) as bench:
        session_id = await bench.session()
        stream = await bench.api.events.stream(session_id)
        url = f"{bench.runtime.url}/v1/sessions/{session_id}/events/stream"
        async with httpx2.AsyncClient(headers=BETA) as http, http.stream("GET", url) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            assert response.headers["request-id"].startswith("req_")
            lines = response.aiter_lines()
            assert [await anext(lines) for _ in range(6)] == [
                "event: ping", 'data: {"type":"ping"}', "",
            ] * 2  # fmt: skip
        # The client never shows those of its own stream.
        await bench.say(session_id, "hello")
        assert (await hear(stream))[0].type == "user.message"


async def test_a_deleted_session_ends_its_streams(bench):
    session_id = await bench.session()
    stream = await bench.api.events.stream(session_id)
    await bench.api.delete(session_id)
    assert [event.type async for event in stream] == ["session.deleted"]
    await eventually(lambda: bench.runtime.streams() == 0)


async def test_closed_streams_are_not_counted(bench):
    session_id = await bench.session()
    streams = [await bench.api.events.stream(session_id) for _ in range(3)]
    assert (bench.runtime.streams(), bench.runtime.streams(session_id)) == (3, 3)
    for stream in streams:
        await stream.close()
    await eventually(lambda: bench.runtime.streams() == 0)


async def test_a_stopped_server_ends_streams_cleanly(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(server, "_SHUTDOWN_SECONDS", 60.0)
    async with LocalRuntime() as runtime:
        client = make_client(runtime.url)
        agent = await client.beta.agents.create(model="claude-sonnet-5-5", name="A")
        place = await client.beta.environments.create(name="E")
        session = await client.beta.sessions.create(agent=agent.id, environment_id=place.id)
        stream = await client.beta.sessions.events.stream(session.id)
    assert [event async for event in stream] == []
    with pytest.raises(anthropic.APIConnectionError):
        await client.beta.agents.list()
    await client.close()


async def test_the_threads_stream_is_the_sessions(bench):
    session_id = await bench.session()
    (thread,) = [one async for one in bench.api.threads.list(session_id)]
    stream = await bench.api.threads.events.stream(thread.id, session_id=session_id)
    await bench.say(session_id, "hello")
    assert (await hear(stream))[0].type == "user.message"


async def test_the_client_knows_every_event_by_its_own_class(bench):
    """Each event, as it went over the wire, holds in the client's own model of that type."""
    models = {model.model_fields["type"].annotation: model for model in _event_models()}
    known = {get_args(literal)[0]: model for literal, model in models.items()}
    events = [event for words in _CONVERSATIONS for event in await _talk(bench, words)]
    for event in events:
        known[event["type"]].model_validate(event)
    assert {event["type"] for event in events} == {
        "user.message", "user.interrupt", "user.tool_confirmation", "user.custom_tool_result",
        "system.message", "agent.message", "agent.thinking", "agent.tool_use",
        "agent.tool_result", "agent.mcp_tool_use", "agent.mcp_tool_result",
        "agent.custom_tool_use", "session.error", "session.status_rescheduled",
        "session.status_running", "session.status_idle", "session.status_terminated",
        "session.thread_status_running", "session.thread_status_idle",
        "session.thread_status_rescheduled", "session.thread_status_terminated",
        "session.updated", "session.usage", "session.deleted", "span.model_request_start",
        "span.model_request_end",
    }  # fmt: skip


_SYSTEM: Any = {"type": "system.message", "content": [{"type": "text", "text": "Be brief."}]}
_CONVERSATIONS: list[list[Any]] = [
    [message("hello"), _SYSTEM],
    [message("!tool")],
    [message("!tool github.search")],
    [message("!ask")],
    [message("!ask github.create_issue")],
    [message("!custom")],
    [message("!slow 60"), INTERRUPT],
    [message("!error retrying")],
    [message("!error exhausted")],
    [message("!refuse")],
    [message("!budget")],
    [message("!error terminal")],
]


def _older(bench: Bench, session_id: str) -> bool:
    """A second later; whether the session is idle now."""
    bench.runtime.advance(1)
    return bench.runtime.world.session(session_id).live.status == "idle"


def _event_models() -> list[Any]:
    union = get_args(BetaManagedAgentsSessionEvent)[0]
    deleted = anthropic.types.beta.sessions.BetaManagedAgentsSessionDeletedEvent
    return [*get_args(union), deleted]


async def _talk(bench: Bench, events: list[Any]) -> list[Any]:
    """Sends the events one by one, answers what waits, ends the session; all its events."""
    session_id = await bench.session()
    await bench.api.update(session_id, title="A title")
    await bench.send(session_id, *events[:2] if _SYSTEM in events else events[:1])
    if INTERRUPT in events:
        await bench.send(session_id, INTERRUPT)
    while bench.runtime.world.session(session_id).live.status != "terminated":
        idle = await eventually(lambda: _last_idle(bench, session_id))
        if idle["stop_reason"]["type"] != "requires_action":
            break
        for event_id in idle["stop_reason"]["event_ids"]:
            await bench.send(session_id, _answer(bench, session_id, event_id))
    await bench.api.delete(session_id)
    return list(bench.runtime.events(session_id))


def _last_idle(bench: Bench, session_id: str) -> Any:
    session = bench.runtime.world.session(session_id)
    if session.live.status == "terminated":
        return {"stop_reason": {"type": "terminated"}}
    last = bench.runtime.events(session_id)[-1]
    return session.live.status == "idle" and last["type"] == "session.status_idle" and last


def _answer(bench: Bench, session_id: str, event_id: str) -> Any:
    events = bench.runtime.events(session_id)
    (asked,) = [event for event in events if event["id"] == event_id]
    if asked["type"] == "agent.custom_tool_use":
        content = [{"type": "text", "text": "shipped"}]
        kind = "user.custom_tool_result"
        return {"type": kind, "custom_tool_use_id": event_id, "content": content}
    return confirm(event_id)

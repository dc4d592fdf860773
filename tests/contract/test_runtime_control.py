"""The control routes over HTTP, and what the oracle sees."""

from typing import Any

import pytest

from tests.contract.runtime_bench import INTERRUPT, Bench, message, open_bench
from tests.support import eventually


@pytest.fixture
async def bench():
    async with open_bench(pace=0) as opened:
        yield opened


async def control(bench: Bench, route: str, /, **body: Any) -> tuple[int, Any]:
    status, answer, _ = await bench.raw("POST", f"/_control/{route}", json=body, headers={})
    return status, answer


async def test_state_holds_what_an_oracle_needs(bench):
    session_id = await bench.session("hello", metadata={"ours": "7"})
    await bench.idle(session_id)
    await bench.send(session_id, INTERRUPT, message("!ask"))
    await bench.idle(session_id, "requires_action")
    stream = await bench.api.events.stream(session_id)
    status, state, _ = await bench.raw("GET", "/_control/state", headers={})
    await stream.close()
    assert status == 200
    (session,) = state["sessions"]
    assert (session["id"], session["metadata"]) == (session_id, {"ours": "7"})
    kinds = ["user.message", "user.interrupt", "user.message"]
    assert [event["type"] for event in session["received"]] == kinds
    assert session["events"][-1]["stop_reason"]["event_ids"] == session["waiting_on"]
    assert state["requests"]["events.send"] == 1
    assert state["requests"]["sessions.create"] == 1
    assert state["streams"] == {session_id: 1}
    assert [agent["id"] for agent in state["agents"]] == [bench.agent_id]


async def test_faults_are_ordered_over_http(bench):
    body = {"kind": "overloaded", "route": "agents.list", "times": None}
    assert await control(bench, "fault", **body) == (200, {"ok": True})
    assert (await bench.raw("GET", "/v1/agents"))[0] == 529
    (fault,) = bench.runtime.state()["faults"]
    assert (fault["kind"], fault["hits"]) == ("overloaded", 1)
    await control(bench, "fault", kind="clear")
    assert (await bench.raw("GET", "/v1/agents"))[0] == 200


async def test_the_gate_over_http(bench):
    await control(bench, "fault", kind="hold")
    session_id = await bench.session("hello")
    await eventually(lambda: bench.runtime.held() == [session_id])
    await control(bench, "fault", kind="release")
    await bench.idle(session_id)


async def test_interrupts_that_are_held_are_taken_and_stop_what_runs_once_they_are_released(bench):
    await control(bench, "fault", kind="hold")
    await control(bench, "fault", kind="hold_interrupts")
    session_id = await bench.session("one")
    await eventually(bench.runtime.held)
    (taken,) = await bench.send(session_id, INTERRUPT)
    await control(bench, "fault", kind="release")
    await bench.idle(session_id)
    await control(bench, "fault", kind="hold")
    await bench.say(session_id, "two")
    await eventually(bench.runtime.held)
    assert taken.processed_at is None
    assert [e.processed_at for e in await bench.history(session_id, types=["user.interrupt"])] == [
        None
    ]
    await control(bench, "fault", kind="release_interrupts")
    await bench.idle(session_id, times=2)
    await control(bench, "fault", kind="release")
    assert await bench.texts(session_id) == ['You said: "one"']


async def test_the_clock_over_http(bench):
    session_id = await bench.session("!slow 100")

    async def aged():
        assert (await control(bench, "clock", advance=10))[0] == 200
        session = await bench.api.retrieve(session_id)
        return bool(session.status == "idle")

    await eventually(aged)


async def test_reset_forgets_everything(bench):
    bench.runtime.hold()
    await bench.session("hello")
    stream = await bench.api.events.stream(bench.runtime.sessions()[0]["id"])
    bench.runtime.fault("stall")
    assert await control(bench, "reset") == (200, {"ok": True})
    # The stream may still tell what was said before, but it ends.
    assert {event.type async for event in stream} <= {"session.status_running"}
    state = bench.runtime.state()
    empty = {"agents", "environments", "sessions", "faults", "held"}
    assert all(state[part] == [] for part in empty)
    await eventually(lambda: bench.runtime.streams() == 0)


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("fault", {"kind": "meteor"}),
        ("fault", {"kind": "stall", "colour": "red"}),
        ("fault", {"kind": "stall", "times": 0}),
        ("clock", {}),
        ("clock", {"advance": -1}),
        ("reset", {"what": "all"}),
    ],
)
async def test_orders_that_do_not_fit_are_422(bench, what, body):
    status, answer = await control(bench, what, **body)
    assert status == 422
    assert answer[0]["msg"]


async def test_control_routes_answer_to_loopback_names_only(bench):
    status, _, _ = await bench.raw("GET", "/_control/state", headers={"Host": "evil.example"})
    assert status == 403


async def test_the_description_names_every_route(bench):
    status, document, _ = await bench.raw("GET", "/_control/openapi.json", headers={})
    assert (status, document["openapi"]) == (200, "3.1.0")
    assert set(document["paths"]) == {
        f"/_control/{name}" for name in ("fault", "clock", "reset", "state", "openapi.json")
    }
    fault = document["paths"]["/_control/fault"]["post"]["requestBody"]
    (first, *_) = fault["content"]["application/json"]["schema"]["anyOf"]
    assert first["$ref"].rsplit("/", 1)[1] in document["components"]["schemas"]

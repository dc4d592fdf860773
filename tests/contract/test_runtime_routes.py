"""Every route of the local runtime, driven by the real client over both of its transports."""

import io
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import anthropic
import pytest

from router.runtime.local import LocalRuntime
from tests.contract.runtime_bench import BETA, make_client, message, open_bench


@pytest.fixture(params=["httpx2", "aiohttp"])
async def bench(request):
    async with open_bench(request.param) as opened:
        yield opened


async def test_agents(bench):
    agents = bench.client.beta.agents
    tools = [
        {"type": "custom", "name": "t", "description": "d", "input_schema": {"type": "object"}}
    ]
    made = await agents.create(
        model={"id": "claude-opus-5-5"},
        name="A",
        system="Be kind.",
        tools=tools,
        metadata={"a": "b"},
    )
    assert (made.type, made.version, made.model.id, made.archived_at) == (
        "agent",
        1,
        "claude-opus-5-5",
        None,
    )
    changed = await agents.update(made.id, name="B", version=1)
    assert (changed.version, changed.name, changed.system) == (2, "B", "Be kind.")
    with pytest.raises(anthropic.ConflictError):
        await agents.update(made.id, name="C", version=1)
    assert (await agents.retrieve(made.id)).name == "B"
    assert (await agents.retrieve(made.id, version=1)).name == "A"
    assert [one.version async for one in agents.versions.list(made.id)] == [2, 1]
    assert [one.id async for one in agents.list()] == [made.id, bench.agent_id]
    assert (await agents.archive(made.id)).archived_at is not None
    assert [one.id async for one in agents.list()] == [bench.agent_id]
    assert len([one async for one in agents.list(include_archived=True)]) == 2
    with pytest.raises(anthropic.BadRequestError):
        await agents.update(made.id, name="D")
    with pytest.raises(anthropic.NotFoundError):
        await agents.retrieve("agent_none")


async def test_an_update_of_an_agent_replaces_what_it_names_and_keeps_the_rest(bench):
    agents = bench.client.beta.agents
    tools = [
        {"type": "agent_toolset_20260401", "configs": [{"name": "bash", "enabled": False}]},
        {"type": "custom", "name": "t", "description": "d", "input_schema": {"type": "object"}},
    ]
    fields = {"system": "Be kind.", "tools": tools, "metadata": {"a": "b", "c": "d"}}
    made = await agents.create(model="claude-opus-5-5", name="A", **fields)
    kept = await agents.update(made.id, description="D", metadata={"a": None, "e": "f"})
    assert [t.to_dict() for t in kept.tools] == [t.to_dict() for t in made.tools]
    assert (kept.system, kept.metadata) == ("Be kind.", {"c": "d", "e": "f"})
    fewer = await agents.update(made.id, version=2, tools=tools[1:])
    assert [t.type for t in fewer.tools] == ["custom"]
    cleared = await agents.update(made.id, tools=None, system=None, description="")
    assert (cleared.tools, cleared.system, cleared.description) == ([], None, None)
    assert [len(one.tools) async for one in agents.versions.list(made.id)] == [0, 1, 2, 2]


@pytest.mark.parametrize(
    ("tools", "says"),
    [
        ([{"type": "spoon"}], "tools\\[0\\].type"),
        ([{"type": "custom", "name": "a b"}], "tools\\[0\\].name"),
        ([{"type": "custom", "name": "a"}], "description"),
        ([{"type": "custom", "name": "a", "description": "d"}], "input_schema"),
        (
            [
                {
                    "type": "custom",
                    "name": "a",
                    "description": "d",
                    "input_schema": {"type": "object"},
                }
            ]
            * 2,
            "unique",
        ),
        ([{"type": "agent_toolset_20260401"}] * 257, "at most 256"),
    ],
    ids=["type", "name", "description", "schema", "twice", "many"],
)
async def test_tools_that_the_platform_does_not_take(bench, tools, says):
    agents = bench.client.beta.agents
    with pytest.raises(anthropic.BadRequestError, match=says):
        await agents.create(model="claude-opus-5-5", name="A", tools=tools)
    with pytest.raises(anthropic.BadRequestError, match=says):
        await agents.update(bench.agent_id, tools=tools)
    assert (await agents.retrieve(bench.agent_id)).version == 1


async def test_a_server_that_no_tool_uses_is_refused(bench):
    server = {"type": "url", "name": "jira", "url": "https://mcp.example.com"}
    agents = bench.client.beta.agents
    with pytest.raises(anthropic.BadRequestError, match="jira"):
        await agents.update(bench.agent_id, mcp_servers=[server])
    used = [{"type": "mcp_toolset", "mcp_server_name": "jira"}]
    changed = await agents.update(bench.agent_id, mcp_servers=[server], tools=used)
    assert [one.name for one in changed.mcp_servers] == ["jira"]


async def test_environments(bench):
    environments = bench.client.beta.environments
    made = await environments.create(name="E", description="d", metadata={"k": "v"})
    assert (made.type, made.name, made.config.type) == ("environment", "E", "cloud")
    assert (await environments.update(made.id, name="F")).name == "F"
    assert (await environments.retrieve(made.id)).name == "F"
    assert [one.id async for one in environments.list()] == [made.id, bench.environment_id]
    assert (await environments.archive(made.id)).archived_at is not None
    with pytest.raises(anthropic.BadRequestError) as refused:
        await environments.update(made.id, name="G")
    assert refused.value.error_code == "environment_archived"
    with pytest.raises(anthropic.BadRequestError):
        await bench.api.create(agent=bench.agent_id, environment_id=made.id)
    assert (await environments.delete(made.id)).type == "environment_deleted"
    with pytest.raises(anthropic.NotFoundError):
        await environments.retrieve(made.id)


async def test_session_life(bench):
    made = await bench.api.create(
        agent={"type": "agent", "id": bench.agent_id, "version": 1},
        environment_id=bench.environment_id,
        title="First",
        metadata={"one": "1", "two": "2"},
    )
    assert (made.status, made.title, made.agent.id) == ("idle", "First", bench.agent_id)
    assert made.usage.list_cost is not None
    assert made.usage.list_cost.amount == "0"
    changed = await bench.api.update(made.id, title="Second", metadata={"one": None, "three": "3"})
    assert (changed.title, changed.metadata) == ("Second", {"two": "2", "three": "3"})
    (updated,) = await bench.history(made.id)
    assert (updated.type, updated.title) == ("session.updated", "Second")
    assert (await bench.api.retrieve(made.id)).title == "Second"
    archived = await bench.api.archive(made.id)
    assert (archived.status, archived.archived_at is None) == ("terminated", False)
    assert (await bench.types(made.id))[-1] == "session.status_terminated"
    with pytest.raises(anthropic.BadRequestError):
        await bench.say(made.id, "hello?")
    assert (await bench.api.delete(made.id)).type == "session_deleted"
    with pytest.raises(anthropic.NotFoundError):
        await bench.api.retrieve(made.id)


async def test_initial_events_run_at_once(bench):
    made = await bench.api.create(
        agent=bench.agent_id,
        environment_id=bench.environment_id,
        initial_events=[message("one"), message("two")],
    )
    assert made.status == "running"
    await bench.idle(made.id)
    assert await bench.texts(made.id) == ['You said: "one" and "two"']


async def test_an_agent_may_be_overridden_for_one_session(bench):
    made = await bench.api.create(
        agent={
            "type": "agent_with_overrides",
            "id": bench.agent_id,
            "model": "claude-haiku-5-5",
            "system": "Short.",
        },
        environment_id=bench.environment_id,
    )
    assert (made.agent.model.id, made.agent.system) == ("claude-haiku-5-5", "Short.")


async def test_sessions_are_listed_by_agent_status_and_time(bench):
    other = await bench.client.beta.agents.create(model="claude-sonnet-5-5", name="Other")
    before = datetime.now(UTC)
    ids = [await bench.session() for _ in range(3)]
    lone = await bench.api.create(agent=other.id, environment_id=bench.environment_id)
    bench.runtime.hold()
    running = await bench.session("hello")
    await bench.api.archive(ids[0])

    async def listed(**query: Any) -> list[str]:
        return [one.id async for one in bench.api.list(**query)]

    assert await listed() == [running, lone.id, ids[2], ids[1]]
    assert await listed(order="asc", include_archived=True) == [*ids, lone.id, running]
    assert await listed(agent_id=other.id) == [lone.id]
    assert await listed(statuses=["running", "rescheduling"]) == [running]
    assert await listed(statuses=["terminated"], include_archived=True) == [ids[0]]
    assert await listed(created_at_gte=before - timedelta(seconds=60), agent_id=other.id) == [
        lone.id
    ]
    assert await listed(created_at_gt=lone.created_at) == [running]
    assert await listed(created_at_lt=before) == []
    assert await listed(created_at_lte=lone.created_at, order="asc") == [*ids[1:], lone.id]
    assert await listed(agent_id="agent_none") == []


async def test_pages_of_sessions_go_both_ways(bench):
    ids = [await bench.session() for _ in range(5)][::-1]
    first = await bench.api.list(limit=2)
    assert ([one.id for one in first.data], first.prev_page) == (ids[:2], None)
    second = await bench.api.list(limit=2, page=first.next_page)
    assert [one.id for one in second.data] == ids[2:4]
    back = await bench.api.list(limit=2, page=second.prev_page)
    assert [one.id for one in back.data] == ids[:2]
    await bench.session()
    assert [one.id async for one in bench.api.list(limit=2)][1:] == ids
    with pytest.raises(anthropic.BadRequestError):
        await bench.api.list(page="nonsense")


async def test_pages_of_events_keep_their_place(bench):
    session_id = await bench.session("one")
    await bench.idle(session_id)
    every = [event.id for event in await bench.history(session_id)]
    paged = [event.id async for event in bench.api.events.list(session_id, limit=3)]
    assert paged == every
    down = [event.id async for event in bench.api.events.list(session_id, limit=4, order="desc")]
    assert down == every[::-1]
    whole = await bench.history(session_id)
    later = await bench.history(session_id, created_at_gt=whole[3].processed_at)
    assert [event.id for event in later] == every[4:]
    first = await bench.history(session_id, created_at_lte=whole[3].processed_at)
    assert [event.id for event in first] == every[:4]
    assert await bench.types(session_id, types=["user.message", "agent.message"]) == [
        "user.message",
        "agent.message",
    ]


async def test_the_primary_thread(bench):
    session_id = await bench.session("one")
    await bench.idle(session_id)
    threads = [one async for one in bench.api.threads.list(session_id)]
    assert [(one.status, one.parent_thread_id) for one in threads] == [("idle", None)]
    thread = await bench.api.threads.retrieve(threads[0].id, session_id=session_id)
    assert thread.session_id == session_id
    events = [e async for e in bench.api.threads.events.list(thread.id, session_id=session_id)]
    assert [e.id for e in events] == [e.id for e in await bench.history(session_id)]
    with pytest.raises(anthropic.NotFoundError):
        await bench.api.threads.retrieve("sthr_none", session_id=session_id)


async def test_running_sessions_are_neither_archived_nor_deleted(bench):
    bench.runtime.hold()
    session_id = await bench.session("hello")
    with pytest.raises(anthropic.BadRequestError, match="while it is running"):
        await bench.api.archive(session_id)
    with pytest.raises(anthropic.BadRequestError, match="while it is running"):
        await bench.api.delete(session_id)
    bench.runtime.release()
    await bench.idle(session_id)
    await bench.api.delete(session_id)


@pytest.mark.parametrize(
    ("headers", "status", "kind"),
    [
        ({"anthropic-beta": BETA["anthropic-beta"]}, 401, "authentication_error"),
        ({"Authorization": "Bearer key"}, 404, "not_found_error"),
        ({"x-api-key": "key", "anthropic-beta": f"other, {BETA['anthropic-beta']}"}, 200, None),
    ],
)
async def test_keys_and_the_beta_header(headers, status, kind):
    async with open_bench() as bench:
        found, body, answer = await bench.raw("GET", "/v1/agents?beta=true", headers=headers)
        assert (found, body.get("error", {}).get("type")) == (status, kind)
        assert answer["request-id"].startswith("req_")
        if kind is not None:
            assert body["request_id"] == answer["request-id"]


async def test_a_given_key_is_the_only_one():
    async with LocalRuntime(api_key="secret") as runtime, make_client(runtime.url) as client:
        with pytest.raises(anthropic.AuthenticationError):
            await client.beta.agents.list()
        right = client.with_options(api_key="secret")
        assert (await right.beta.agents.list()).data == []


async def test_wrong_requests_are_refused_in_the_envelope():
    async with open_bench() as bench:
        session_id = await bench.session()
        events = f"/v1/sessions/{session_id}/events"
        wrong: list[tuple[str, str, dict[str, Any], int]] = [
            ("GET", f"{events}?after=x", {}, 400),
            ("GET", f"{events}?limit=1001", {}, 400),
            ("GET", f"{events}?order=up", {}, 400),
            ("GET", f"{events}?created_at[gt]=now", {}, 400),
            ("GET", f"{events}/stream?event_deltas[]=user.message", {}, 400),
            ("GET", "/v1/sessions?include_archived=maybe", {}, 400),
            ("GET", "/v1/sessions?statuses[]=asleep", {}, 400),
            ("POST", events, {"data": b"{"}, 400),
            ("POST", events, {"data": b"[]"}, 400),
            ("POST", "/v1/agents", {"data": rb'{"model":"m","name":"\ud83d"}'}, 400),
            ("POST", "/v1/sessions", {"json": {"agent": bench.agent_id}}, 400),
            ("POST", "/v1/agents", {"json": {"name": "A"}}, 400),
            ("POST", "/v1/agents", {"json": {"name": "A", "model": "m", "colour": "red"}}, 400),
            ("PUT", "/v1/agents", {}, 405),
            ("GET", "/v1/vaults", {}, 404),
            ("POST", events, {"data": io.BytesIO(b" " * (32 * 1024 * 1024 + 1))}, 413),
        ]
        for method, path, more, status in wrong:
            found, body, headers = await bench.raw(method, path, **more)
            assert (found, body["type"]) == (status, "error"), (method, path)
            assert body["request_id"] == headers["request-id"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"title": "x" * 81},
        {"title": "a\nb"},
        {"metadata": {str(n): "v" for n in range(17)}},
        {"metadata": {"k" * 65: "v"}},
        {"metadata": {"k": "v" * 513}},
        {"agent": "agent_none"},
        {"environment_id": "env_none"},
        {"agent": {"type": "agent", "id": None}},
        {"initial_events": [{"type": "user.interrupt"}]},
        {"initial_events": [message("x")] * 51},
        {"resources": "all"},
        {"colour": "red"},
    ],
)
async def test_sessions_that_cannot_be_made(wrong):
    async with open_bench() as bench:
        body = {"agent": bench.agent_id, "environment_id": bench.environment_id} | wrong
        status, answer, _ = await bench.raw("POST", "/v1/sessions", json=body)
        assert status in {400, 404}
        assert answer["error"]["message"]
        assert bench.runtime.sessions() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "user.message"},
        {"type": "user.message", "content": []},
        {"type": "user.message", "content": "text"},
        {"type": "user.message", "content": [{"type": "text", "text": ""}]},
        {"type": "user.message", "content": [{"type": "redacted"}]},
        {"type": "user.message", "content": None},
        {"type": "user.message", "content": [{"type": "text", "text": "x"}], "id": "mine"},
        {"type": "user.define_outcome", "description": "x", "rubric": {}},
        {"type": "agent.message", "content": []},
        {"type": "user.tool_confirmation", "tool_use_id": "sevt_none", "result": "allow"},
        {"type": "user.custom_tool_result", "custom_tool_use_id": "sevt_none"},
        {"type": "user.tool_result", "tool_use_id": "sevt_none"},
        {},
        "text",
    ],
)
async def test_events_that_may_not_be_sent(wrong):
    async with open_bench() as bench:
        session_id = await bench.session()
        path = f"/v1/sessions/{session_id}/events"
        for events in ([wrong], [message("right"), wrong], []):
            status, answer, _ = await bench.raw("POST", path, json={"events": events})
            assert (status, answer["error"]["type"]) == (400, "invalid_request_error")
        assert bench.runtime.received(session_id) == []


@pytest.mark.timeout(180)  # 1,500 requests, one after the other
async def test_limits_per_minute():
    async with open_bench(limits=True, pace=0) as bench:
        for _ in range(298):
            await bench.session()
        with pytest.raises(anthropic.RateLimitError) as refused:
            await bench.session()
        assert refused.value.response.headers["retry-after"] == "60"
        session_id = bench.runtime.sessions()[0]["id"]
        for _ in range(1200):
            await bench.api.retrieve(session_id)
        with pytest.raises(anthropic.RateLimitError):
            await bench.api.events.stream(session_id)
        await bench.say(session_id, "sends are not limited")
        bench.runtime.advance(60)
        await bench.api.retrieve(session_id)


async def test_without_limits_nothing_is_counted():
    async with open_bench(pace=math.inf) as bench:
        for _ in range(310):
            await bench.session()
        assert bench.runtime.requests("sessions.create") == 310

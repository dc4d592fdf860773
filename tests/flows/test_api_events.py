"""A session's history, page by page, from the real local runtime; who decided is in our rows."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from router.api import events
from router.api.auth.principals import Principal
from router.api.context import Context
from router.api.hub import Hub
from router.api.problems import Problem
from router.api.schemas_events import EventsPage, EventsQuery
from store import sessions_read
from tests.flows.watching import Stage, stage
from tests.store import factories, tenants
from tests.support import eventually

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ADA = {"origin": "slack", "user": "U0ADA", "name": "Ada", "team": "T1"}


@pytest.fixture
async def here(dsn: str) -> AsyncIterator[Stage]:
    async with stage(dsn) as made:
        yield made


async def page(here: Stage, **query: Any) -> EventsPage:
    principal = Principal(here.on.workspace_id, "viewer", "member", "bearer", user_id="u")
    context = Context(here.pool, here.client, Hub(here.pool, here.client), principal)
    of = (here.on.workspace_id, here.on.agent_id, here.session["id"])
    session = await sessions_read.get(here.db, *of)
    assert session is not None
    return await events.page(context, session, EventsQuery(**query))


async def refused(here: Stage, **query: Any) -> int:
    with pytest.raises(Problem) as problem:
        await page(here, **query)
    return problem.value.status


async def all_pages(here: Stage, **query: Any) -> list[dict[str, Any]]:
    """The events of all pages, one after the other."""
    found, cursor = [], None
    while True:
        got = await page(here, cursor=cursor, **query)
        found += [item.event for item in got.data]
        cursor = got.next_cursor
        if cursor is None:
            return found


async def said(here: Stage, *texts: str) -> None:
    for text in texts:
        await here.say(text)
        await eventually(here.rests)


async def test_all_pages_are_the_whole_history_in_either_order(here):
    await said(here, "hello", "!tool bash")
    whole = here.runtime.events(here.runtime_id)
    assert await all_pages(here, limit=3) == whole
    assert await all_pages(here, limit=3, order="desc") == whole[::-1]
    assert await all_pages(here, limit=100) == whole


async def test_pages_stay_where_they_are_when_more_happens(here):
    await said(here, "hello")
    before = here.runtime.events(here.runtime_id)
    first = await page(here, limit=4, order="desc")
    await said(here, "more")
    second = await page(here, limit=4, order="desc", cursor=first.next_cursor)
    assert [item.event for item in first.data + second.data] == before[::-1][:8]


async def test_only_the_types_that_are_asked_for(here):
    await said(here, "hello", "!tool bash")
    wanted = ["agent.message", "agent.tool_use"]
    found = await all_pages(here, type=wanted, limit=1)
    assert found
    assert found == [e for e in here.runtime.events(here.runtime_id) if e["type"] in wanted]


async def test_before_there_is_a_runtime_session_the_page_is_empty(here):
    here.session = await here.new_session()
    assert await page(here) == EventsPage(data=[], next_cursor=None)
    assert here.runtime.requests("events.list") == 0


async def test_of_a_runtime_session_that_is_gone_the_page_is_empty(here):
    here.runtime.fault("gone", route="events.list")
    assert await page(here) == EventsPage(data=[])


async def ask(here: Stage, text: str, kind: str) -> str:
    """A call that waits; its id."""
    await here.say(text)

    def held() -> str | None:
        calls = [e["id"] for e in here.runtime.events(here.runtime_id) if e["type"] == kind]
        return calls[-1] if calls and here.rests() else None

    found = await eventually(held)
    assert found
    return str(found)


async def test_a_call_and_its_confirmation_say_who_decided(here):
    call = await ask(here, "!ask bash", "agent.tool_use")
    turn = await factories.turn(here.db, here.session)
    below = {
        "deployed_agent_id": here.on.agent_id,
        "workspace_id": here.on.workspace_id,
        "session_id": here.session["id"],
        "turn_id": turn["id"],
    }
    row = await tenants.approval(here.db, below, runtime_event_id=call)
    decisions = {item.event["type"]: item.decision for item in (await page(here)).data}
    waiting = decisions["agent.tool_use"]
    assert waiting is not None
    assert (waiting.state, waiting.verdict, waiting.decided_by) == ("pending", None, None)
    await here.db.execute(
        "UPDATE agent_approvals SET state = 'allowed', verdict = 'allow', decided_at = $1,"
        " decided_by = $2::text::jsonb, reason = 'fine' WHERE id = $3",
        NOW,
        '{"origin": "slack", "user": "U0ADA", "name": "Ada", "team": "T1"}',
        row["id"],
    )
    confirmation = {"type": "user.tool_confirmation", "tool_use_id": call, "result": "allow"}
    await here.client.send(here.runtime_id, [confirmation])
    await eventually(lambda: here.rests() and "agent.tool_result" in _types(here))
    decisions = {item.event["type"]: item.decision for item in (await page(here)).data}
    for kind in ("agent.tool_use", "user.tool_confirmation"):
        told = decisions[kind]
        assert told is not None
        assert (told.kind, told.id, told.verdict) == ("approval", row["id"], "allow")
        assert (told.decided_by, told.decided_at, told.reason) == (ADA, NOW, "fine")
    assert decisions["agent.tool_result"] is None


def _types(here: Stage) -> set[str]:
    return {event["type"] for event in here.runtime.events(here.runtime_id)}


async def test_a_question_says_who_answered(here):
    call = await ask(here, "!escalate Which one?", "agent.custom_tool_use")
    turn = await factories.turn(here.db, here.session)
    below = {
        "deployed_agent_id": here.on.agent_id,
        "workspace_id": here.on.workspace_id,
        "session_id": here.session["id"],
        "turn_id": turn["id"],
    }
    answered = {"state": "answered", "answer": "That one.", "decided_by": ADA, "decided_at": NOW}
    row = await tenants.escalation(here.db, below, runtime_event_id=call, **answered)
    [told] = [item.decision for item in (await page(here)).data if item.decision]
    assert (told.kind, told.id, told.answer) == ("escalation", row["id"], "That one.")
    assert (told.state, told.decided_by, told.decided_at) == ("answered", ADA, NOW)


async def test_another_sessions_decision_on_an_event_of_that_name_is_not_shown(here):
    call = await ask(here, "!ask bash", "agent.tool_use")
    other = await here.new_session()
    turn = await factories.turn(here.db, other)
    below = {
        "deployed_agent_id": here.on.agent_id,
        "workspace_id": here.on.workspace_id,
        "session_id": other["id"],
        "turn_id": turn["id"],
    }
    await tenants.approval(here.db, below, runtime_event_id=call)
    assert [item for item in (await page(here)).data if item.decision] == []


async def test_secrets_in_the_arguments_of_a_call_are_not_shown(here):
    await ask(here, "!ask secret", "agent.tool_use")
    [call] = [i.event for i in (await page(here, type=["agent.tool_use"])).data]
    assert "EXAMPLE" not in str(call)
    assert call["input"]["env"]["REGION"] == "eu"


async def test_a_cursor_holds_for_its_own_list_alone(here):
    await said(here, "hello")
    cursor = (await page(here, limit=2)).next_cursor
    assert cursor is not None
    assert (await page(here, limit=5, cursor=cursor)).data
    assert await refused(here, limit=2, cursor=cursor, order="desc") == 422
    assert await refused(here, limit=2, cursor=cursor, type=["agent.message"]) == 422
    here.session = await here.new_session(anthropic_session_id=here.runtime_id)
    assert await refused(here, limit=2, cursor=cursor) == 422


@pytest.mark.parametrize(
    "cursor",
    ["x", "nonsense", "AAAA", "28423762-1861-4951-9420-23d6c67446df", "A" * 1_999],
)
async def test_what_is_no_cursor_is_a_problem_before_the_runtime_hears_of_it(here, cursor):
    assert await refused(here, cursor=cursor) == 422
    assert here.runtime.requests("events.list") == 0


@pytest.mark.parametrize("kind", ["rate_limit", "overloaded", "server_error", "unavailable"])
async def test_a_runtime_in_trouble_is_told_as_such(here, kind):
    here.runtime.fault(kind, route="events.list")
    assert await refused(here) == 503


async def test_a_runtime_that_does_not_answer_is_not_waited_for_long(here, monkeypatch):
    monkeypatch.setattr(events, "_SECONDS", 0.2)
    here.runtime.fault("silence", route="events.list")
    assert await refused(here) == 503

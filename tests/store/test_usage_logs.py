"""Calls of our own tools on record."""

from datetime import UTC, datetime

import asyncpg
import pytest

from store import usage_logs
from store.ids import new_id
from store.usage_logs import Call
from tests.store import factories


async def test_a_call_is_written_once_and_has_its_answer_then(db, on):
    session = await factories.session(db, on)
    held = await factories.held(db, session)
    turn = await factories.turn(db, session)
    call = Call(
        new_id(), turn["id"], "sevt_1", "slack_post_message", "queued", None, "C1", ["U1"], 5
    )
    assert await usage_logs.answered(db, held.lease, ["sevt_1"]) == set()
    assert await usage_logs.add(db, held, call)
    again = Call(
        new_id(), turn["id"], "sevt_1", "slack_post_message", "done", None, "C1", ["U1"], 9
    )
    assert not await usage_logs.add(db, held, again)
    assert await usage_logs.answered(db, held.lease, ["sevt_1", "sevt_2"]) == {"sevt_1"}
    row = await db.fetchrow("SELECT status, latency_ms, cost_cents FROM usage_logs")
    assert tuple(row.values()) == ("queued", 5, 0)


@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        ({"status": "refused"}, "refused_has_a_reason"),
        ({"reason": "not_allowed"}, "refused_has_a_reason"),
        ({"status": "lost"}, "usage_logs_status_check"),
        ({"provider": "mail"}, "usage_logs_provider_check"),
        ({"latency_ms": -1}, "usage_logs_latency_ms_check"),
    ],
)
async def test_what_no_call_comes_to_is_refused(db, on, columns, constraint):
    session = await factories.session(db, on)
    turn = await factories.turn(db, session)
    with pytest.raises(asyncpg.CheckViolationError) as raised:
        await factories.tool_call(db, session, turn, **columns)
    assert raised.value.constraint_name == constraint


async def test_what_has_become_of_a_post(db, on):
    session = await factories.session(db, on)
    held = await factories.held(db, session)
    sent = {"state": "sent", "slack_ts": "1.0", "ended_at": datetime.now(UTC)}
    await factories.delivery(db, session, effect_key="tool:1", **sent)
    fate = await usage_logs.fate(db, held.lease, "tool:1")
    assert fate is not None
    assert (fate.state, fate.slack_ts, fate.error) == ("sent", "1.0", None)
    assert await usage_logs.fate(db, held.lease, "tool:2") is None

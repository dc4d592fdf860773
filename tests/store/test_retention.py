"""What is cleared: texts that are over and old, of one agent, a batch at a time, never waited for."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from store import budgets, inputs, outbox, previews, retention, threads, turns
from store.database import Connection, Record
from store.ids import new_id
from store.outbox import Effect
from store.previews import Part
from store.threads import Unclaimed
from tests.store import factories
from tests.store.factories import Ground

_AGE = timedelta(days=30)
_NOW = datetime.now(UTC)
_OLD, _YOUNG = _NOW - timedelta(days=31), _NOW - timedelta(days=29)
_MANY = 1000


@pytest.fixture
async def session(db: Connection, on: Ground) -> Record:
    return await factories.session(db, on)


@pytest.fixture
async def turn(db: Connection, session: Record) -> Record:
    ended = {"state": "completed", "stop_reason": "end_turn", "ended_at": _OLD}
    return await factories.turn(db, session, **ended)


async def _whole(db: Connection, table: str) -> list[Record]:
    return await db.fetch(f"SELECT * FROM {table} ORDER BY 1")


async def _kept(db: Connection, table: str) -> set[Any]:
    """The ids of the rows that still have a body."""
    return {row[0] for row in await _whole(db, table) if row["body"] is not None}


# ------------------------------------------------------------------ inputs


async def test_inputs_that_ended_long_ago_lose_their_body_and_nothing_else(db, session, turn, on):
    for state in ("done", "withdrawn", "refused"):
        await factories.message(
            db,
            session,
            state=state,
            turn_id=turn["id"] if state == "done" else None,
            ended_at=_OLD,
            client_key=f"client {state}",
        )
    before = await _whole(db, "session_inputs")
    assert await retention.clear_inputs(db, on.agent_id, _AGE, _MANY) == 3
    after = await _whole(db, "session_inputs")
    assert [dict(row) | {"body": None} for row in before] == [dict(row) for row in after]
    assert await retention.clear_inputs(db, on.agent_id, _AGE, _MANY) == 0


async def test_inputs_that_are_young_or_open_keep_their_body(db, session, on):
    live = await factories.turn(db, session)
    rows = [
        await factories.message(db, session, **columns, accepted_at=_OLD)
        for columns in (
            {"state": "done", "turn_id": live["id"], "ended_at": _YOUNG},
            {"state": "queued"},
            {"state": "sending", "turn_id": live["id"], "sending_deadline": _OLD},
            {"state": "sent", "turn_id": live["id"], "sent_at": _OLD},
        )
    ]
    assert await retention.clear_inputs(db, on.agent_id, _AGE, _MANY) == 0
    assert await _kept(db, "session_inputs") == {row["id"] for row in rows}


async def test_only_the_named_agents_rows_are_cleared(db, session, on):
    elsewhere = await factories.ground(db)
    theirs = await factories.session(db, elsewhere)
    await factories.message(db, session, state="refused", ended_at=_OLD)
    other = await factories.message(db, theirs, state="refused", ended_at=_OLD)
    assert await retention.clear_inputs(db, on.agent_id, _AGE, _MANY) == 1
    assert await _kept(db, "session_inputs") == {other["id"]}


@pytest.mark.parametrize("state", ["queued", "sending", "sent"])
async def test_an_open_input_cannot_lose_its_body(db, session, state):
    live = await factories.turn(db, session)
    deadline = _NOW if state == "sending" else None
    row = await factories.message(
        db, session, state=state, turn_id=live["id"], sending_deadline=deadline
    )
    with pytest.raises(asyncpg.CheckViolationError, match="cleared_only_when_over"):
        await db.execute("UPDATE session_inputs SET body = NULL WHERE id = $1", row["id"])


@pytest.mark.parametrize("state", ["pending", "sending"])
async def test_an_open_delivery_cannot_lose_its_body(db, session, state):
    claim = {"claimed_by": "me", "deadline": _NOW} if state == "sending" else {}
    row = await factories.delivery(db, session, state=state, **claim)
    with pytest.raises(asyncpg.CheckViolationError, match="cleared_only_when_delivered"):
        await db.execute(
            "UPDATE slack_outbox SET body = NULL WHERE delivery_id = $1", row["delivery_id"]
        )


async def test_of_a_cleared_message_an_edit_knows_no_text_and_brings_none_back(db, session, on):
    row = await factories.message(db, session, state="refused", ended_at=_OLD)
    await retention.clear_inputs(db, on.agent_id, _AGE, _MANY)
    (known,) = await inputs.known(db, [(on.agent_id, row["dedupe_key"], None)])
    assert (known.text, known.state) == (None, "refused")
    await inputs.note_revision(db, known, Decimal(9), "newer words", ["F1"])
    (known,) = await inputs.known(db, [(on.agent_id, row["dedupe_key"], None)])
    assert (known.text, known.files, known.revision) == (None, None, Decimal(9))
    assert await _kept(db, "session_inputs") == set()


# ------------------------------------------------------------------ batches


async def test_a_batch_takes_the_oldest_and_no_more_than_it_may(db, session, on):
    rows = [
        await factories.message(db, session, state="refused", ended_at=_OLD - timedelta(hours=n))
        for n in (1, 4, 3, 2)
    ]
    assert await retention.clear_inputs(db, on.agent_id, _AGE, 2) == 2
    assert await _kept(db, "session_inputs") == {rows[0]["id"], rows[3]["id"]}


@pytest.mark.parametrize("table", ["session_inputs", "slack_outbox"])
async def test_batches_side_by_side_pass_over_each_others_rows(db, connect, session, on, table):
    other = await connect()
    clear = retention.clear_inputs if table == "session_inputs" else retention.clear_deliveries
    make = factories.message if table == "session_inputs" else factories.delivery
    state = "refused" if table == "session_inputs" else "sent"
    for _ in range(4):
        await make(db, session, state=state, ended_at=_OLD)
    async with db.transaction():
        assert await clear(db, on.agent_id, _AGE, 3) == 3
        assert await clear(other, on.agent_id, _AGE, 3) == 1
    assert await _kept(db, table) == set()


# $1 agent, $2 workspace, $3 session, $4 since when
_OLD_INPUTS = """
INSERT INTO session_inputs (id, deployed_agent_id, workspace_id, session_id, kind, body, order_key,
    dedupe_key, state, ended_at)
SELECT gen_random_uuid(), $1, $2, $3, 'message', '{"text": "Hi"}', n, 'msg ' || n, 'refused',
       $4::timestamptz - n * interval '1 second'
FROM generate_series(1, 5000) n
"""
# $1 agent, $2 workspace, $3 session, $4 since when, $5 install
_OLD_DELIVERIES = """
INSERT INTO slack_outbox (delivery_id, deployed_agent_id, workspace_id, session_id, install_id,
    slack_conversation_key, channel_id, effect_key, lane, kind, body, state, ended_at)
SELECT gen_random_uuid(), $1, $2, $3, $5, 'key', 'C1', 'reply ' || n, 'reply', 'reply',
       '{"markdown": "Hi"}', 'sent', $4::timestamptz - n * interval '1 second'
FROM generate_series(1, 5000) n
"""


@pytest.mark.parametrize("table", ["session_inputs", "slack_outbox"])
async def test_a_batch_reads_no_more_rows_than_it_clears(db, session, on, table):
    common = [on.agent_id, on.workspace_id, session["id"], _OLD]
    if table == "session_inputs":
        statement = retention._CLEAR_INPUTS
        await db.execute(_OLD_INPUTS, *common)
    else:
        statement = retention._CLEAR_DELIVERIES
        await db.execute(_OLD_DELIVERIES, *common, on.install_id)
    await db.execute(f"ANALYZE {table}")
    explain = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}"
    plan = await db.fetchval(explain, on.agent_id, _AGE, 50)
    scans = [n for n in _nodes(json.loads(plan)[0]["Plan"]) if "Scan" in n["Node Type"]]
    assert {n["Index Name"] for n in scans} == {f"{table}_kept", f"{table}_pkey"}, plan
    assert [n["Actual Rows"] * n["Actual Loops"] for n in scans] == [50, 50], plan
    assert [n.get("Rows Removed by Filter", 0) for n in scans] == [0, 0], plan


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from _nodes(below)


# ------------------------------------------------------------------ deliveries


async def test_deliveries_that_ended_long_ago_lose_their_body_and_nothing_else(db, session, on):
    for columns in (
        {"state": "sent", "slack_ts": "1.0"},
        {"state": "dead", "error": "is_archived"},
    ):
        await factories.delivery(db, session, **columns, ended_at=_OLD)
    stranger = {"deployed_agent_id": on.install_id, "session_id": None, "lane": "side"}
    await factories.delivery(db, session, **stranger, state="sent", ended_at=_OLD)
    before = await _whole(db, "slack_outbox")
    assert on.install_id in (owners := await retention.owners(db, new_id()))
    assert sorted([await retention.clear_deliveries(db, o, _AGE, _MANY) for o in owners]) == [1, 2]
    after = await _whole(db, "slack_outbox")
    assert [dict(row) | {"body": None} for row in before] == [dict(row) for row in after]


async def test_deliveries_that_are_young_or_open_keep_their_body(db, session, on):
    rows = [
        await factories.delivery(db, session, **columns, created_at=_OLD)
        for columns in (
            {"state": "sent", "ended_at": _YOUNG},
            {"state": "pending"},
            {"state": "sending", "claimed_by": "me", "deadline": _OLD},
        )
    ]
    assert await retention.clear_deliveries(db, on.agent_id, _AGE, _MANY) == 0
    assert await _kept(db, "slack_outbox") == {row["delivery_id"] for row in rows}


async def test_of_a_cleared_delivery_the_effect_is_not_written_again(db, session, on):
    row = await factories.delivery(db, session, state="sent", ended_at=_OLD)
    await retention.clear_deliveries(db, on.agent_id, _AGE, _MANY)
    again = Effect(row["effect_key"], "reply", {"markdown": "Hi"}, lane="reply")
    await outbox.add(db, on.place(session["id"], session["slack_conversation_key"]), [again])
    assert [r["state"] for r in await _whole(db, "slack_outbox")] == ["sent"]


# ------------------------------------------------------------------ what goes altogether


async def test_previews_go_once_they_are_old_and_their_turn_is_over(db, on, session):
    held = await factories.held(db, session)
    ended = (await factories.turn(db, session))["id"]
    await previews.begin(db, held, ended, Part(0, 0, "starting", None, _OLD))
    await previews.begin(db, held, ended, Part(1, 9, "starting", None, _YOUNG))
    assert await retention.drop_previews(db, on.agent_id, _AGE, _MANY) == 0
    await turns.end(db, held.lease, ended, "completed", "end_turn", "")
    live = (await factories.turn(db, session))["id"]
    await previews.begin(db, held, live, Part(0, 0, "starting", None, _OLD))
    assert await retention.drop_previews(db, on.agent_id, _AGE, _MANY) == 2
    assert await previews.of_turn(db, held.lease, ended) == []
    assert len(await previews.of_turn(db, held.lease, live)) == 1


async def test_files_go_once_they_are_old_and_their_message_is_over(db, on, session, turn):
    ended = {"state": "done", "turn_id": turn["id"]}
    over = await factories.message(db, session, **ended, ended_at=_OLD)
    young = await factories.message(db, session, **ended, ended_at=_YOUNG)
    waiting = await factories.message(db, session)
    elsewhere = await factories.ground(db)
    theirs = await factories.message(
        db, await factories.session(db, elsewhere), state="refused", ended_at=_OLD
    )
    for message in (over, over, young, waiting, theirs):
        await factories.file(db, message, created_at=_OLD)
    await factories.file(db, over, created_at=_YOUNG)
    assert await retention.drop_input_files(db, on.agent_id, _AGE, 1) == 1
    assert await retention.drop_input_files(db, on.agent_id, _AGE, _MANY) == 1
    kept = {row["input_id"] for row in await _whole(db, "input_files")}
    assert kept == {over["id"], young["id"], waiting["id"], theirs["id"]}


async def test_events_that_no_accept_could_take_in_are_forgotten(db, on):
    for n, created_at in enumerate((_OLD, _NOW)):
        key, event = f"key {n}", {"ts": "1"}
        kept = Unclaimed(key, "msg", on.install_id, deleted=False, revision=Decimal(0), event=event)
        await threads.keep_unclaimed(db, kept)
        await db.execute(
            "UPDATE slack_unclaimed SET created_at = $2 WHERE slack_conversation_key = $1",
            key,
            created_at,
        )
    assert await retention.drop_unclaimed(db, timedelta(hours=26), _MANY) == 1
    assert [r["slack_conversation_key"] for r in await _whole(db, "slack_unclaimed")] == ["key 1"]


async def test_permits_that_are_to_be_had_again_need_no_row(db, on):
    for method, until in (("chat.update", _OLD), ("chat.postMessage C1", _NOW)):
        await budgets.empty(db, on.install_id, method, until)
    assert await retention.drop_budgets(db, timedelta(days=1), _MANY) == 1
    assert [r["method"] for r in await _whole(db, "slack_budgets")] == ["chat.postMessage C1"]

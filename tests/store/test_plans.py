"""On a grown database the hot statements read indexes: with the parameters known, and without."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from store import (
    agents,
    approvals,
    behind,
    database,
    escalations,
    homes,
    input_files,
    inputs,
    leases,
    outbox,
    outputs,
    retention,
    sessions,
    threads,
    turns,
    usage,
    usage_logs,
)
from store.database import Connection
from store.ids import new_id
from tests.store.grown import BIG

_AGENT, _SESSION, _TURN, _INPUT, _DELIVERY, _ASKED_ID = (UUID(int=n) for n in range(1, 7))
_PLACE = (UUID(int=7), UUID(int=8))
_LIMIT = timedelta(seconds=10)


@pytest.fixture
async def reader(grown: str):
    connection = await database.connect(grown)
    yield connection
    await connection.close()


# Statement, its parameters, and an index that it must read.
_READS: dict[str, tuple[str, list[Any], str | None]] = {
    "threads.find": (threads._FIND, [["key 1", "key 2"]], "slack_threads_pkey"),
    "threads.raced": (threads._RACED, [100], "slack_threads_pkey"),
    "leases.ready": (leases._READY, [new_id(), 50], "agent_sessions_ready"),
    "leases.claim": (leases._CLAIM, [_AGENT, _SESSION, "me", _LIMIT, 1.0], "agent_sessions_pkey"),
    "leases.renew": (leases._RENEW, [_AGENT, [_SESSION], [1], _LIMIT], None),
    "leases.fence": (leases._FENCE, [_AGENT, _SESSION, 1], "agent_sessions_pkey"),
    "leases.release": (leases._RELEASE, [_AGENT, _SESSION, _LIMIT, False, False], None),
    "leases.wake_seqs": (leases._WAKE_SEQS, [_AGENT, [_SESSION]], "agent_sessions_pkey"),
    "sessions.any_running": (sessions._ANY_RUNNING, [_LIMIT], "agent_sessions_live"),
    "sessions.wake_disagreeing": (
        sessions._DISAGREEING,
        [["runtime 800", "runtime 1600"], _LIMIT],
        "agent_sessions_live",
    ),
    "inputs.known": (inputs._KNOWN, [[_AGENT], ["msg 1"], ["client 1"]], None),
    "inputs.open": (inputs._OPEN, [_AGENT, _SESSION], "session_inputs_open"),
    "inputs.any_queued": (inputs._ANY_QUEUED, [_AGENT, _SESSION, ["message"]], None),
    "inputs.start_sending": (
        inputs._START,
        [_AGENT, _SESSION, _TURN, ["message"], _LIMIT],
        "session_inputs_open",
    ),
    "inputs.places": (inputs._PLACES, [[_AGENT], [_INPUT]], "session_inputs_open"),
    "inputs.hide_waiting": (inputs._HIDE, [_AGENT, _SESSION], "session_inputs_shown"),
    "inputs.mark_sent": (inputs._SENT, [_AGENT, [_INPUT], ["event"]], None),
    "inputs.withdraw": (inputs._WITHDRAW, [_AGENT, _INPUT], None),
    "inputs.refuse": (inputs._REFUSE, [_AGENT, [_INPUT]], None),
    "input_files.begin": (input_files._BEGIN, [_AGENT, _INPUT, ["F1"], ["a"], [None]], None),
    "input_files.of": (input_files._OF, [_AGENT, [_INPUT]], None),
    "input_files.attempt": (input_files._ATTEMPT, [_AGENT, _INPUT, "F1", 1], None),
    "input_files.refuse": (input_files._REFUSE, [_AGENT, _INPUT, "F1", "deleted"], None),
    "turns.live": (turns._LIVE, [_AGENT, _SESSION], "agent_turns_one_live"),
    "turns.end": (turns._END, [_AGENT, _TURN, "completed", "end_turn", ""], None),
    "turns.unread": (turns._UNREAD, [_LIMIT, 5], "agent_turns_awaiting"),
    "turns.overdue": (turns._OVERDUE, [_LIMIT, 5], "agent_turns_awaiting"),
    "turns.oldest_look": (turns._OLDEST_LOOK, [], "agent_turns_awaiting"),
    "approvals.get": (approvals._GET, [_AGENT, _ASKED_ID], None),
    "approvals.of_turn": (approvals._OF_TURN, [_AGENT, _TURN], None),
    "approvals.vote": (approvals._VOTERS, [_AGENT, _ASKED_ID, 1], "approval_votes_pkey"),
    "approvals.decide": (
        approvals._DECIDE,
        [_AGENT, _ASKED_ID, 1, "allow", {}, None, False],
        None,
    ),
    "approvals.delivered": (approvals._DELIVERED, [_AGENT, [_ASKED_ID], "confirmed"], None),
    "approvals.close": (
        approvals._CLOSE,
        [_AGENT, _TURN, None, {}, "over"],
        "agent_approvals_turn",
    ),
    "approvals.due": (approvals._DUE, [100], "agent_approvals_due"),
    "escalations.get": (escalations._GET, [_AGENT, _ASKED_ID], None),
    "escalations.of_turn": (escalations._OF_TURN, [_AGENT, _TURN], None),
    "escalations.close": (
        escalations._CLOSE,
        [_AGENT, _TURN, None, {}],
        "agent_escalations_turn",
    ),
    "escalations.due": (escalations._DUE, [100], "agent_escalations_due"),
    "usage_logs.answered": (usage_logs._ANSWERED, [_AGENT, _SESSION, ["event"]], None),
    "usage_logs.fate": (usage_logs._FATE, [_AGENT, _SESSION, "reply 1"], None),
    "outbox.due": (outbox._DUE, [new_id(), 50, True], "slack_outbox_open"),
    "outputs.due": (outputs._DUE, [10], "output_looks_due"),
    "outputs.claim": (outputs._CLAIM, [_AGENT, [_SESSION], _LIMIT], "output_looks_pkey"),
    "outputs.known": (outputs._KNOWN, [_AGENT, _SESSION, ["a"], _TURN], "session_outputs_pkey"),
    "outputs.lock": (outputs._LOCK, [_AGENT, _SESSION], "agent_sessions_pkey"),
    "outputs.busy": (outputs._BUSY, [_AGENT, _SESSION], None),
    "outbox.claim": (outbox._CLAIM, [_AGENT, _DELIVERY, "me", _LIMIT], "slack_outbox_line"),
    "outbox.any_reply_open": (
        outbox._ANY_REPLY_OPEN,
        [_AGENT, _SESSION],
        "slack_outbox_line",
    ),
    "outbox.any_reply_after": (
        outbox._ANY_REPLY_AFTER,
        [_AGENT, _SESSION, _DELIVERY],
        "slack_outbox_line",
    ),
    "outbox.withdraw": (outbox._WITHDRAW, [_AGENT, _SESSION, ["key"]], None),
    "outbox.mark_sent": (outbox._SENT, [_AGENT, _DELIVERY, 1, "1.0"], "slack_outbox_pkey"),
    "outbox.doubted": (outbox._DOUBTED, [10], "slack_outbox_look_again"),
    "outbox.put_off": (outbox._PUT_OFF, [_AGENT, [_DELIVERY], _LIMIT], "slack_outbox_pkey"),
    "usage.pending": (usage._PENDING, [20], "agent_compute_usage_pending"),
    "usage.cover": (usage._COVER, [_AGENT, _SESSION], "agent_compute_usage_pending"),
    "retention.clear_inputs": (
        retention._CLEAR_INPUTS,
        [_AGENT, _LIMIT, 500],
        "session_inputs_kept",
    ),
    "retention.drop_input_files": (
        retention._DROP_INPUT_FILES,
        [_AGENT, _LIMIT, 500],
        "input_files_age",
    ),
    "retention.clear_deliveries": (
        retention._CLEAR_DELIVERIES,
        [_AGENT, _LIMIT, 500],
        "slack_outbox_kept",
    ),
    "retention.drop_previews": (
        retention._DROP_PREVIEWS,
        [_AGENT, _LIMIT, 500],
        "slack_previews_age",
    ),
    "homes.sessions": (homes._SESSIONS, [*_PLACE, "U1", 10], "agent_sessions_person"),
    "homes.approvals": (
        homes._APPROVALS,
        [*_PLACE, "U1", ["user:U1", "channel"]],
        "agent_approvals_open",
    ),
    "homes.questions": (
        homes._QUESTIONS,
        [*_PLACE, "U1", ["user:U1", "channel"]],
        "agent_escalations_open",
    ),
    "homes.whose": (homes._WHOSE, [_AGENT, _SESSION], "agent_sessions_pkey"),
    "behind.thread": (behind._THREAD, ["A1", "C1", "7"], "slack_threads_place"),
    "behind.session": (behind._SESSION, [_AGENT, _SESSION], "agent_sessions_pkey"),
    "behind.turns": (behind._TURNS, [_AGENT, _SESSION], None),
    "behind.inputs": (behind._INPUTS, [_AGENT, _SESSION, [_TURN]], "session_inputs_turn"),
    "behind.outbox": (behind._OUTBOX, [_AGENT, _SESSION], "slack_outbox_effect"),
    "behind.approvals": (behind._APPROVALS, [_AGENT, _SESSION], None),
    "behind.escalations": (behind._ESCALATIONS, [_AGENT, _SESSION], None),
    "agents.routes": (agents._ROUTES, [[_AGENT], ["C1"]], None),
}


@pytest.mark.parametrize("name", _READS)
async def test_a_hot_statement_reads_no_big_table_whole(reader: Connection, name: str):
    statement, parameters, index = _READS[name]
    known = await reader.fetchval(f"EXPLAIN (FORMAT JSON) {statement}", *parameters)
    _judge(known, index)
    _judge(await _generic_plan(reader, statement), index)


async def _generic_plan(reader: Connection, statement: str) -> str:
    """The plan that a statement gets after some calls, made for parameters that nobody knows."""
    count = max((int(n) for n in re.findall(r"\$(\d+)", statement)), default=0)
    await reader.execute("SET plan_cache_mode = force_generic_plan")
    await reader.execute(f"PREPARE asked AS {statement}")
    nothing = f"({', '.join(['NULL'] * count)})" if count else ""
    plan: str = await reader.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE asked {nothing}")
    return plan


def _judge(explained: str, index: str | None) -> None:
    nodes = list(_nodes(json.loads(explained)[0]["Plan"]))
    whole = [n for n in nodes if n["Node Type"] == "Seq Scan" and n["Relation Name"] in BIG]
    assert whole == [], explained
    if index:
        assert index in {node.get("Index Name") for node in nodes}, explained


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from _nodes(below)

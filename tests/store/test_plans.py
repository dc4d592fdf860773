"""On a grown database the hot statements read indexes: with the parameters known, and without."""

import asyncio
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from store import (
    agents,
    approvals,
    audit,
    behind,
    database,
    escalations,
    homes,
    inputs,
    leases,
    outbox,
    retention,
    sessions,
    threads,
    turns,
    usage,
)
from store.database import Connection
from store.ids import new_id
from tests.databases import database_named
from tests.store import factories

_BIG = {
    "agent_approvals",
    "agent_compute_usage",
    "agent_escalations",
    "agent_sessions",
    "agent_turns",
    "approval_votes",
    "audit_entries",
    "session_inputs",
    "slack_outbox",
    "slack_previews",
    "slack_threads",
}
_AGENT, _SESSION, _TURN, _INPUT, _DELIVERY, _ASKED_ID = (UUID(int=n) for n in range(1, 7))
_PLACE = (UUID(int=7), UUID(int=8))
_LIMIT = timedelta(seconds=10)

# $1 agent, $2 workspace, $3 install: 20,000 threads at rest, a few of them awake
_SESSIONS = """
INSERT INTO agent_sessions (id, deployed_agent_id, workspace_id, source, slack_install_id,
    slack_channel_id, slack_thread_ts, slack_conversation_key, created_by, anthropic_session_id,
    ready_at, status, lease_owner, lease_expires_at)
SELECT md5('s' || n)::uuid, $1, $2, 'slack', $3, 'C1', n::text, 'key ' || n, 'U' || n % 100,
       'runtime ' || n,
       CASE WHEN n % 400 = 0 THEN now() END, CASE WHEN n % 800 = 0 THEN 'running' ELSE 'idle' END,
       CASE WHEN n % 800 = 0 THEN 'holder' END, CASE WHEN n % 800 = 0 THEN now() END
FROM generate_series(1, 20000) n
"""
_THREADS = """
INSERT INTO slack_threads (slack_conversation_key, deployed_agent_id, workspace_id, session_id,
    api_app_id, channel_id, root_ts, first_ts)
SELECT slack_conversation_key, deployed_agent_id, workspace_id, id, 'A1', 'C1', slack_thread_ts, 1
FROM agent_sessions
"""
_TURNS = """
INSERT INTO agent_turns (id, deployed_agent_id, workspace_id, session_id, number, state,
    stop_reason, ended_at)
SELECT md5('t' || s.id || n)::uuid, s.deployed_agent_id, s.workspace_id, s.id, n, 'completed',
       'end_turn', now()
FROM agent_sessions s, generate_series(1, 2) n
"""
# The third turn of a few threads waits for people.
_AWAITING = """
INSERT INTO agent_turns (id, deployed_agent_id, workspace_id, session_id, number, state, looked_at)
SELECT md5('t' || s.id || 3)::uuid, s.deployed_agent_id, s.workspace_id, s.id, 3, 'awaiting_human',
       now() - interval '1 hour'
FROM agent_sessions s WHERE s.slack_thread_ts::integer % 100 = 0
"""
_APPROVALS = """
INSERT INTO agent_approvals (id, deployed_agent_id, workspace_id, session_id, turn_id,
    runtime_event_id, tool, arguments, arguments_hash, policy, requesters, state, verdict, decided_at,
    expires_at)
SELECT md5('a' || t.id)::uuid, t.deployed_agent_id, t.workspace_id, t.session_id, t.id,
       'event ' || t.id, 'bash', '{}', '', '{}', '{U1}',
       CASE WHEN t.ended_at IS NULL THEN 'pending' ELSE 'confirmed' END,
       CASE WHEN t.ended_at IS NULL THEN NULL ELSE 'allow' END, t.ended_at,
       CASE WHEN t.ended_at IS NULL THEN now() + random() * interval '1 day' END
FROM agent_turns t
"""
_VOTES = """
INSERT INTO approval_votes (deployed_agent_id, approval_id, card_no, person, voter)
SELECT deployed_agent_id, id, 1, 'T1/U1', '{}' FROM agent_approvals
"""
_ESCALATIONS = """
INSERT INTO agent_escalations (id, deployed_agent_id, workspace_id, session_id, turn_id,
    runtime_event_id, question, arguments_hash, policy, requesters, state, answer, decided_at, ping_at)
SELECT md5('e' || t.id)::uuid, t.deployed_agent_id, t.workspace_id, t.session_id, t.id,
       'event ' || t.id, 'Which?', '', '{}', '{U1}',
       CASE WHEN t.ended_at IS NULL THEN 'pending' ELSE 'answered' END,
       CASE WHEN t.ended_at IS NULL THEN NULL ELSE 'blue' END, t.ended_at,
       CASE WHEN t.ended_at IS NULL THEN now() + random() * interval '1 day' END
FROM agent_turns t
"""
_AUDIT = """
INSERT INTO audit_entries (id, deployed_agent_id, workspace_id, session_id, subject, subject_id,
    action, origin, arguments_hash)
SELECT md5('x' || id || n)::uuid, deployed_agent_id, workspace_id, session_id, 'approval', id,
       'asked', 'threadline', ''
FROM agent_approvals, generate_series(1, 2) n
"""
_INPUTS = """
INSERT INTO session_inputs (id, deployed_agent_id, workspace_id, session_id, kind, body, order_key,
    dedupe_key, client_key, state, turn_id, ended_at)
SELECT md5('i' || s.id || n)::uuid, s.deployed_agent_id, s.workspace_id, s.id, 'message',
       '{"text": "Hello"}', n, 'msg ' || s.slack_conversation_key || n,
       'client ' || s.slack_conversation_key || n,
       CASE WHEN s.ready_at IS NULL THEN 'done' ELSE 'queued' END,
       CASE WHEN s.ready_at IS NULL THEN md5('t' || s.id || 1)::uuid END,
       CASE WHEN s.ready_at IS NULL THEN now() END
FROM agent_sessions s, generate_series(1, 3) n
"""
_OUTBOX = """
INSERT INTO slack_outbox (delivery_id, deployed_agent_id, workspace_id, session_id, install_id,
    slack_conversation_key, channel_id, effect_key, lane, position, kind, body, state, ended_at)
SELECT md5('o' || s.id || n)::uuid, s.deployed_agent_id, s.workspace_id, s.id, s.slack_install_id,
       s.slack_conversation_key, 'C1', 'reply ' || n, 'reply', n, 'reply', '{"markdown": "Hi"}',
       CASE WHEN s.ready_at IS NULL THEN 'sent' ELSE 'pending' END,
       CASE WHEN s.ready_at IS NULL THEN now() END
FROM agent_sessions s, generate_series(1, 3) n
"""
_USAGE = """
INSERT INTO agent_compute_usage (turn_id, deployed_agent_id, workspace_id, session_id, state)
SELECT id, deployed_agent_id, workspace_id, session_id,
       CASE WHEN random() < 0.001 THEN 'pending' ELSE 'final' END
FROM agent_turns
"""
_PREVIEWS = """
INSERT INTO slack_previews (deployed_agent_id, workspace_id, session_id, turn_id, part, text_from,
    state, slack_ts, started_at)
SELECT deployed_agent_id, workspace_id, session_id, id, 0, 0, 'closed', '1.0', now()
FROM agent_turns
"""
_ASKED = (_APPROVALS, _VOTES, _ESCALATIONS, _AUDIT)
# $1 install: replies to threads that nobody follows
_UNCLAIMED = """
INSERT INTO slack_unclaimed (slack_conversation_key, dedupe_key, install_id, deleted, revision, event)
SELECT 'unknown ' || n, 'msg', $1, false, 0, jsonb_build_object('ts', n::text)
FROM generate_series(1, 20) n
"""


@pytest.fixture(scope="module")
def grown(postgres_dsn: str, template: str) -> Iterator[str]:
    """A database with months of use in it, read only by the tests."""
    name = f"grown_{uuid4().hex}"
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as own:
        own.run(_on(postgres_dsn, f"CREATE DATABASE {name} TEMPLATE {template}"))
        dsn = database_named(postgres_dsn, name)
        own.run(_grow(dsn))
        yield dsn
        own.run(_on(postgres_dsn, f"DROP DATABASE {name} WITH (FORCE)"))


async def _on(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(statement)
    await connection.close()


async def _grow(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await database._set_codecs(connection)
    on = await factories.ground(connection)
    await connection.execute(_SESSIONS, on.agent_id, on.workspace_id, on.install_id)
    for statement in (_THREADS, _TURNS, _AWAITING, _INPUTS, _OUTBOX, _USAGE, _PREVIEWS, *_ASKED):
        await connection.execute(statement)
    await connection.execute(_UNCLAIMED, on.install_id)
    await connection.execute("ANALYZE")
    await connection.close()


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
    "leases.claim": (leases._CLAIM, [_AGENT, _SESSION, "me", _LIMIT], "agent_sessions_pkey"),
    "leases.renew": (leases._RENEW, [_AGENT, [_SESSION], [1], _LIMIT], None),
    "leases.fence": (leases._FENCE, [_AGENT, _SESSION, 1], "agent_sessions_pkey"),
    "leases.release": (leases._RELEASE, [_AGENT, _SESSION, _LIMIT, False, False], None),
    "leases.wake_seqs": (leases._WAKE_SEQS, [_AGENT, [_SESSION]], "agent_sessions_pkey"),
    "sessions.any_running": (sessions._ANY_RUNNING, [_LIMIT], "agent_sessions_live"),
    "sessions.wake_disagreeing": (
        sessions._STUCK,
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
    "inputs.finish": (inputs._FINISH, [_AGENT, _SESSION, _TURN], None),
    "turns.live": (turns._LIVE, [_AGENT, _SESSION], "agent_turns_one_live"),
    "turns.end": (turns._END, [_AGENT, _TURN, "completed", "end_turn", ""], None),
    "turns.unread": (turns._UNREAD, [_LIMIT, 5], "agent_turns_awaiting"),
    "turns.look": (turns._LOOK, [_LIMIT, 5], "agent_turns_awaiting"),
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
    "audit.of": (audit._OF, [_AGENT, _ASKED_ID], "audit_entries_subject"),
    "outbox.due": (outbox._DUE, [new_id(), 50], "slack_outbox_open"),
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
    "outbox.doubtful": (outbox._DOUBTFUL, [10, _LIMIT], "slack_outbox_look_again"),
    "usage.pending": (usage._PENDING, [20], "agent_compute_usage_pending"),
    "usage.cover": (usage._COVER, [_AGENT, _SESSION], "agent_compute_usage_pending"),
    "retention.clear_inputs": (
        retention._CLEAR_INPUTS,
        [_AGENT, _LIMIT, 500],
        "session_inputs_kept",
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
    whole = [n for n in nodes if n["Node Type"] == "Seq Scan" and n["Relation Name"] in _BIG]
    assert whole == [], explained
    if index:
        assert index in {node.get("Index Name") for node in nodes}, explained


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from _nodes(below)

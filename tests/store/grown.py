"""A database with months of use in it: 20,000 threads at rest, a few of them awake."""

import asyncpg

from store import database
from tests.store import factories

BIG = {
    "agent_approvals",
    "agent_compute_usage",
    "agent_escalations",
    "agent_sessions",
    "agent_turns",
    "approval_votes",
    "audit_entries",
    "input_files",
    "output_looks",
    "session_inputs",
    "session_outputs",
    "slack_outbox",
    "slack_previews",
    "slack_threads",
    "usage_logs",
}
"""Tables that grow with what passes."""

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
# The first message of each thread brought a file along.
_FILES = """
INSERT INTO input_files (deployed_agent_id, workspace_id, session_id, input_id, slack_file_id,
    position, state, name, kind, media_type, size, runtime_file_id)
SELECT deployed_agent_id, workspace_id, session_id, id, 'F1', 1, 'ready', 'a.png', 'image',
       'image/png', 1000, 'file_1'
FROM session_inputs WHERE order_key = 1
"""
# Every turn made a file. A few of the threads are looked at again, one in ten only behind its next turn.
_OUTPUTS = """
INSERT INTO session_outputs (deployed_agent_id, workspace_id, session_id, runtime_file_id, turn_id,
    fate)
SELECT deployed_agent_id, workspace_id, session_id, 'file ' || id, id, 'offered' FROM agent_turns
"""
_LOOKS = """
INSERT INTO output_looks (deployed_agent_id, workspace_id, session_id, turn_id, runtime_session,
    looks_left, due_at)
SELECT s.deployed_agent_id, s.workspace_id, s.id, md5('t' || s.id || 2)::uuid, s.anthropic_session_id,
       1, CASE WHEN s.slack_thread_ts::integer % 400 = 0 THEN now() END
FROM agent_sessions s WHERE s.slack_thread_ts::integer % 10 = 0
"""
_PREVIEWS = """
INSERT INTO slack_previews (deployed_agent_id, workspace_id, session_id, turn_id, part, text_from,
    state, slack_ts, started_at)
SELECT deployed_agent_id, workspace_id, session_id, id, 0, 0, 'closed', '1.0', now()
FROM agent_turns
"""
_TOOLS = """
INSERT INTO usage_logs (id, deployed_agent_id, workspace_id, session_id, turn_id, runtime_event_id,
    tool, provider, status, requesters, latency_ms)
SELECT md5('l' || id)::uuid, deployed_agent_id, workspace_id, session_id, id, 'event ' || id,
       'slack_post_message', 'slack', 'done', '{U1}', 10
FROM agent_turns WHERE number = 1
"""
_ASKED = (_APPROVALS, _VOTES, _ESCALATIONS, _AUDIT)
# $1 install: replies to threads that nobody follows
_UNCLAIMED = """
INSERT INTO slack_unclaimed (slack_conversation_key, dedupe_key, install_id, deleted, revision, event)
SELECT 'unknown ' || n, 'msg', $1, false, 0, jsonb_build_object('ts', n::text)
FROM generate_series(1, 20) n
"""


async def grow(dsn: str) -> None:
    """Fills an empty, migrated database."""
    connection = await asyncpg.connect(dsn)
    await database._set_codecs(connection)
    on = await factories.ground(connection)
    await connection.execute(_SESSIONS, on.agent_id, on.workspace_id, on.install_id)
    talked = (_THREADS, _TURNS, _AWAITING, _INPUTS, _FILES, _OUTBOX, _USAGE, _PREVIEWS, _TOOLS)
    for statement in (*talked, *_ASKED, _OUTPUTS, _LOOKS):
        await connection.execute(statement)
    await connection.execute(_UNCLAIMED, on.install_id)
    await connection.execute("ANALYZE")
    await connection.close()


# What is not at rest: some hundred rows among the tens of thousands.
_AWAKE = {
    "agent_sessions": "ready_at IS NOT NULL OR status <> 'idle'",
    "agent_turns": "ended_at IS NULL",
    "agent_approvals": "decided_at IS NULL",
    "agent_escalations": "decided_at IS NULL",
    "session_inputs": "ended_at IS NULL",
    "slack_outbox": "ended_at IS NULL",
    "agent_compute_usage": "state = 'pending'",
    "output_looks": "due_at IS NOT NULL",
}


async def forget_what_is_awake(dsn: str) -> None:
    """Leaves PostgreSQL with what it counted in an hour in which all was at rest, as it often does."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("SET session_replication_role = replica")
    for table, awake in _AWAKE.items():
        await connection.execute(f"CREATE TEMP TABLE awake AS SELECT * FROM {table} WHERE {awake}")
        await connection.execute(f"DELETE FROM {table} WHERE {awake}")
        await connection.execute(f"VACUUM ANALYZE {table}")
        await connection.execute(f"INSERT INTO {table} SELECT * FROM awake")
        await connection.execute("DROP TABLE awake")
    await connection.close()

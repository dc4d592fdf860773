"""What the rows say of one Slack thread, for whoever looks over the bot's shoulder.

Plain reads, few and bounded. What would let somebody act for us stays out: epochs of leases and
claims, and the part of an owner's name that tells namesakes apart.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from store.database import Connection, Record

Row = dict[str, Any]

# $1 app, $2 channel, $3 the thread's first message
_THREAD = """
SELECT deployed_agent_id, session_id FROM slack_threads
WHERE api_app_id = $1 AND channel_id = $2 AND root_ts = $3
ORDER BY created_at DESC LIMIT 1
"""
# $1 agent, $2 session
_SESSION = """
SELECT s.id, a.name AS agent, s.status, s.source, s.title, s.created_by, s.anthropic_session_id,
       s.slack_channel_id, s.slack_thread_ts, s.ready_at, s.wake_seq,
       regexp_replace(s.lease_owner, ':[^:]*$', '') AS lease_owner, s.lease_expires_at,
       s.barren_claims, s.failures, s.create_started_at, s.place_at, s.usage_snapshot,
       s.next_position, s.archive_requested_at, s.archived_at, s.created_at, s.updated_at
FROM agent_sessions s JOIN deployed_agents a ON a.id = s.deployed_agent_id
WHERE s.deployed_agent_id = $1 AND s.id = $2
"""
# $1 agent, $2 session
_TURNS = """
SELECT t.id, t.number, t.state, t.stop_reason, t.started_at, t.ended_at, t.looked_at,
       u.state AS usage_state, u.input_tokens, u.output_tokens, u.cache_read_tokens,
       u.cache_write_tokens, u.runtime_ms, u.cost_cents
FROM agent_turns t
LEFT JOIN agent_compute_usage u
       ON u.deployed_agent_id = t.deployed_agent_id AND u.turn_id = t.id
WHERE t.deployed_agent_id = $1 AND t.session_id = $2
ORDER BY t.number DESC LIMIT 20
"""
# $1 agent, $2 session, $3 turns. No index leads from a session to all of its inputs: those of the
# turns, the open ones, and those that lately ended without ever having had a turn.
_INPUTS = """
WITH found AS (
    SELECT id FROM session_inputs
    WHERE deployed_agent_id = $1 AND turn_id = ANY($3::uuid[])
    UNION
    SELECT id FROM session_inputs
    WHERE deployed_agent_id = $1 AND session_id = $2 AND ended_at IS NULL
      AND state IN ('queued', 'sending', 'sent')
    UNION
    SELECT id FROM session_inputs
    WHERE deployed_agent_id = $1 AND turn_id IS NULL AND session_id = $2
      AND ended_at > now() - interval '15 minutes'
)
SELECT i.id, i.kind, CASE WHEN length(i.body::text) <= 16000 THEN i.body END AS body,
       length(i.body::text) AS body_characters, i.order_key, i.revision, i.deleted, i.dedupe_key,
       i.state, i.turn_id, i.sending_deadline, i.runtime_event_id, i.flushes, i.slack_event_id,
       i.accepted_at, i.sent_at, i.ended_at, i.shown_waiting
FROM found f JOIN session_inputs i ON i.deployed_agent_id = $1 AND i.id = f.id
ORDER BY i.order_key DESC, i.id DESC LIMIT 50
"""
# $1 agent, $2 session
_OUTBOX = """
SELECT delivery_id, turn_id, channel_id, thread_ts, effect_key, lane, position, kind,
       CASE WHEN length(body::text) <= 16000 THEN body END AS body,
       length(body::text) AS body_characters, state, not_before,
       regexp_replace(claimed_by, ':[^:]*$', '') AS claimed_by, deadline, attempts, unclear,
       slack_ts, error, created_at, ended_at, look_again_at
FROM slack_outbox WHERE deployed_agent_id = $1 AND session_id = $2
ORDER BY created_at DESC, position DESC, delivery_id DESC LIMIT 50
"""
# $1 agent, $2 session
_APPROVALS = """
SELECT id, turn_id, runtime_event_id, card_no, revision, tool, server,
       CASE WHEN length(arguments::text) <= 16000 THEN arguments END AS arguments,
       length(arguments::text) AS arguments_characters, policy, requesters, state, verdict,
       decided_by, decided_at, reason, asked_at, remind_at, expires_at
FROM agent_approvals WHERE deployed_agent_id = $1 AND session_id = $2
ORDER BY asked_at DESC, id DESC LIMIT 50
"""
# $1 agent, $2 session
_ESCALATIONS = """
SELECT id, turn_id, runtime_event_id, revision, left(question, 4000) AS question,
       left(context, 4000) AS context, choices, policy, requesters, state,
       left(answer, 4000) AS answer, decided_by, decided_at, asked_at, pings, ping_at, channel_id
FROM agent_escalations WHERE deployed_agent_id = $1 AND session_id = $2
ORDER BY asked_at DESC, id DESC LIMIT 20
"""


@dataclass(frozen=True, slots=True)
class ThreadRows:
    """The rows of a thread's session, the newest of each kind, oldest first.

    A body too long to be looked at is None; its length stands beside it.
    """

    session: Row
    turns: list[Row]
    inputs: list[Row]
    outbox: list[Row]
    approvals: list[Row]
    escalations: list[Row]


async def of_thread(
    connection: Connection, api_app_id: str, channel_id: str, thread_ts: str
) -> ThreadRows | None:
    """All rows as they were at one moment; None where the thread has no session."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        thread = await connection.fetchrow(_THREAD, api_app_id, channel_id, thread_ts)
        if thread is None:
            return None
        agent_id: UUID = thread["deployed_agent_id"]
        session_id: UUID = thread["session_id"]
        session = await connection.fetchrow(_SESSION, agent_id, session_id)
        if session is None:
            return None
        turns = await connection.fetch(_TURNS, agent_id, session_id)
        numbered = [turn["id"] for turn in turns]
        return ThreadRows(
            session=dict(session),
            turns=_oldest_first(turns),
            inputs=_oldest_first(await connection.fetch(_INPUTS, agent_id, session_id, numbered)),
            outbox=_oldest_first(await connection.fetch(_OUTBOX, agent_id, session_id)),
            approvals=_oldest_first(await connection.fetch(_APPROVALS, agent_id, session_id)),
            escalations=_oldest_first(await connection.fetch(_ESCALATIONS, agent_id, session_id)),
        )


def _oldest_first(rows: list[Record]) -> list[Row]:
    return [dict(row) for row in reversed(rows)]

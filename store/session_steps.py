"""What happened to sessions, as those who watch them are told: inputs, and the audit of what was asked.

Read again and again from a little before the newest that was read: a transaction shows its rows when
it commits, later than the times in them say, by no more than a transaction of ours may last (`borrow`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from store.database import Connection


@dataclass(frozen=True, slots=True)
class State:
    """A session as far as those who watch it need to know."""

    id: UUID
    anthropic_session_id: str | None
    status: str
    archived_at: datetime | None


# $1 workspace, side by side: $2 agents, $3 sessions
_STATES = """
SELECT s.id, s.anthropic_session_id, s.status, s.archived_at
FROM unnest($2::uuid[], $3::uuid[]) AS w (agent, session)
JOIN agent_sessions s ON s.deployed_agent_id = w.agent AND s.id = w.session
WHERE s.workspace_id = $1
"""


async def states(
    connection: Connection, workspace_id: UUID, watched: Sequence[tuple[UUID, UUID]]
) -> dict[UUID, State]:
    """Sessions of a workspace, given as (agent, session), by their ids."""
    rows = await connection.fetch(
        _STATES, workspace_id, [w[0] for w in watched], [w[1] for w in watched]
    )
    return {row["id"]: State(**row) for row in rows}


@dataclass(frozen=True, slots=True)
class Step:
    """A row that was added: an input (`subject` input, `action` its kind), or an audit entry.

    `says` is what it is about: an input's text, who said it and in whose name, or what was asked,
    of which runtime event, and what it came to by now.
    """

    session_id: UUID
    id: UUID
    subject: str
    subject_id: UUID
    action: str
    origin: str | None
    actor: dict[str, Any] | None
    detail: str
    at: datetime
    says: dict[str, Any]


# $1 workspace, side by side: $2 agents, $3 sessions, $4 from when on
_SINCE = """
SELECT w.session AS session_id, step.*
FROM unnest($2::uuid[], $3::uuid[], $4::timestamptz[]) AS w (agent, session, since)
CROSS JOIN LATERAL (
    SELECT i.id, 'input' AS subject, i.id AS subject_id, i.kind AS action, NULL AS origin,
           NULL::jsonb AS actor, '' AS detail, i.accepted_at AS at,
           jsonb_build_object('text', i.body->>'text', 'user', COALESCE(i.body->>'user', i.body->>'by'),
               'speaker', i.body->>'speaker') AS says
    FROM session_inputs i
    WHERE i.workspace_id = $1 AND i.deployed_agent_id = w.agent AND i.session_id = w.session
      AND i.accepted_at >= w.since AND i.kind <> 'decision'
    UNION ALL
    SELECT e.id, e.subject, e.subject_id, e.action, e.origin, e.actor, e.detail, e.at,
           COALESCE(
               (SELECT jsonb_build_object('runtime_event_id', a.runtime_event_id, 'tool', a.tool,
                    'server', a.server)
                FROM agent_approvals a WHERE e.subject = 'approval'
                AND a.deployed_agent_id = w.agent AND a.id = e.subject_id),
               (SELECT jsonb_build_object('runtime_event_id', q.runtime_event_id,
                    'question', q.question, 'answer', q.answer)
                FROM agent_escalations q WHERE e.subject = 'escalation'
                AND q.deployed_agent_id = w.agent AND q.id = e.subject_id),
               '{}'::jsonb)
    FROM audit_entries e
    WHERE e.workspace_id = $1 AND e.deployed_agent_id = w.agent AND e.session_id = w.session
      AND e.at >= w.since
) AS step
ORDER BY step.at, step.id
"""
_EVER = datetime(1970, 1, 1, tzinfo=UTC)


async def since(
    connection: Connection,
    workspace_id: UUID,
    watched: Sequence[tuple[UUID, UUID, datetime | None]],
) -> list[Step]:
    """The steps of sessions, given as (agent, session, from when on or None for all), in order."""
    rows = await connection.fetch(
        _SINCE,
        workspace_id,
        [w[0] for w in watched],
        [w[1] for w in watched],
        [w[2] or _EVER for w in watched],
    )
    return [Step(**row) for row in rows]


# ------------------------------------------------------------------ who decided on an event


@dataclass(frozen=True, slots=True)
class Asked:
    """What people were asked about an event of the runtime, and what it came to."""

    kind: Literal["approval", "escalation"]
    runtime_event_id: str
    id: UUID
    state: str
    verdict: Literal["allow", "deny"] | None
    answer: str | None
    reason: str | None
    decided_by: dict[str, Any] | None
    decided_at: datetime | None
    asked_at: datetime


# $1 workspace, $2 agent, $3 session, $4 runtime events
_ASKED = """
SELECT 'approval' AS kind, runtime_event_id, id, state, verdict, NULL AS answer, reason, decided_by,
       decided_at, asked_at
FROM agent_approvals
WHERE workspace_id = $1 AND deployed_agent_id = $2 AND session_id = $3
  AND runtime_event_id = ANY($4::text[])
UNION ALL
SELECT 'escalation', runtime_event_id, id, state, NULL, answer, NULL, decided_by, decided_at, asked_at
FROM agent_escalations
WHERE workspace_id = $1 AND deployed_agent_id = $2 AND session_id = $3
  AND runtime_event_id = ANY($4::text[])
"""


async def asked(
    connection: Connection,
    workspace_id: UUID,
    agent_id: UUID,
    session_id: UUID,
    events: Sequence[str],
) -> dict[str, Asked]:
    """What was asked about these events of a session's, by the event's id."""
    rows = await connection.fetch(_ASKED, workspace_id, agent_id, session_id, list(events))
    return {row["runtime_event_id"]: Asked(**row) for row in rows}

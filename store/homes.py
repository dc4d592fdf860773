"""What a person's home tab shows: their newest sessions, and what waits for people of their kind.

Read-only lists over all agents of one install, bounded before anything is joined to them; whether
the person may decide is judged above, since that takes Slack.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from store.approvals import Approval
from store.database import Connection, Record
from store.escalations import Escalation


@dataclass(frozen=True, slots=True)
class Recent:
    """A session that somebody began; `turn` is the state of its newest turn, `at` its last move."""

    agent: str
    title: str | None
    status: str
    turn: str | None
    channel_id: str
    thread_ts: str
    at: datetime


# $1 workspace, $2 install, $3 person, $4 how many at the most
_SESSIONS = """
SELECT d.name AS agent, s.title, s.status, t.state AS turn, s.slack_channel_id AS channel_id,
       s.slack_thread_ts AS thread_ts, COALESCE(t.ended_at, t.started_at, s.created_at) AS at,
       count(*) OVER () AS found
FROM (
    SELECT id, deployed_agent_id, title, status, slack_channel_id, slack_thread_ts, created_at
    FROM agent_sessions
    WHERE slack_install_id = $2 AND created_by = $3 AND workspace_id = $1
    ORDER BY created_at DESC LIMIT 50
) s
JOIN deployed_agents d ON d.id = s.deployed_agent_id AND d.workspace_id = $1
LEFT JOIN LATERAL (
    SELECT t.state, t.started_at, t.ended_at FROM agent_turns t
    WHERE t.deployed_agent_id = s.deployed_agent_id AND t.session_id = s.id
    ORDER BY t.number DESC LIMIT 1
) t ON true
ORDER BY at DESC LIMIT $4
"""


async def sessions(
    connection: Connection, workspace_id: UUID, install_id: UUID, user_id: str, limit: int
) -> tuple[list[Recent], int]:
    """Of the fifty sessions that a person began last, those that moved last, and how many there are."""
    rows = await connection.fetch(_SESSIONS, workspace_id, install_id, user_id, limit)
    found = [
        Recent(**{name: value for name, value in row.items() if name != "found"}) for row in rows
    ]
    return found, rows[0]["found"] if rows else 0


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits for people, and where in this install it was asked.

    `home` is the channel of its thread, `elsewhere` another channel where it was asked too;
    `whose` began the session.
    """

    asked: Approval | Escalation
    agent: str
    home: str | None
    thread_ts: str | None
    elsewhere: str | None
    whose: str | None


# $1 workspace, $2 install, $3 person, $4 rules that may mean them
_APPROVALS = """
SELECT a.id, a.deployed_agent_id, a.workspace_id, a.session_id, a.turn_id, a.runtime_event_id,
    a.card_no, a.revision, a.tool, a.server, a.arguments, a.arguments_hash, a.policy, a.requesters,
    a.state, a.verdict, a.decided_by, a.decided_at, a.reason, a.asked_at, a.remind_at, a.expires_at,
    d.name AS agent, s.slack_channel_id AS home, s.slack_thread_ts AS thread_ts,
    NULL AS elsewhere, s.created_by AS whose
FROM (
    SELECT id, deployed_agent_id, workspace_id, session_id, turn_id, runtime_event_id, card_no,
        revision, tool, server, arguments, arguments_hash, policy, requesters, state, verdict,
        decided_by, decided_at, reason, asked_at, remind_at, expires_at
    FROM agent_approvals
    WHERE workspace_id = $1 AND state = 'pending' AND asked_at > '-infinity'
    ORDER BY asked_at DESC LIMIT 200
) a
JOIN LATERAL (
    SELECT slack_channel_id, slack_thread_ts, created_by FROM agent_sessions
    WHERE deployed_agent_id = a.deployed_agent_id AND id = a.session_id AND slack_install_id = $2
    LIMIT 1
) s ON true
JOIN LATERAL (
    SELECT count(*) AS mine FROM approval_votes v
    WHERE v.deployed_agent_id = a.deployed_agent_id AND v.approval_id = a.id
      AND v.card_no = a.card_no AND v.voter->>'user' = $3
) v ON v.mine = 0
JOIN deployed_agents d ON d.id = a.deployed_agent_id AND d.workspace_id = $1
WHERE EXISTS (
    SELECT FROM jsonb_array_elements_text(a.policy->'who') w
    WHERE w = ANY($4::text[]) OR w LIKE 'group:%' OR w = 'requester' AND $3 = ANY(a.requesters)
)
ORDER BY a.asked_at, a.id LIMIT 50
"""


async def approvals(
    connection: Connection, workspace_id: UUID, install_id: UUID, user_id: str, rules: list[str]
) -> list[Waiting]:
    """Held calls whose policy may let a person decide, oldest first; none that they voted for.

    Of the 200 that were asked last in the workspace.
    """
    rows = await connection.fetch(_APPROVALS, workspace_id, install_id, user_id, rules)
    return [_waiting(row, Approval) for row in rows]


# $1 workspace, $2 install, $3 person, $4 rules that may mean them
_QUESTIONS = """
SELECT e.id, e.deployed_agent_id, e.workspace_id, e.session_id, e.turn_id, e.runtime_event_id,
    e.revision, e.question, e.context, e.choices, e.arguments_hash, e.policy, e.requesters, e.state,
    e.answer, e.decided_by, e.decided_at, e.asked_at, e.pings, e.ping_at, e.channel_install_id,
    e.channel_id, d.name AS agent, s.slack_channel_id AS home, s.slack_thread_ts AS thread_ts,
    CASE WHEN e.channel_install_id = $2 THEN e.channel_id END AS elsewhere, s.created_by AS whose
FROM (
    SELECT id, deployed_agent_id, workspace_id, session_id, turn_id, runtime_event_id, revision,
        question, context, choices, arguments_hash, policy, requesters, state, answer, decided_by,
        decided_at, asked_at, pings, ping_at, channel_install_id, channel_id
    FROM agent_escalations
    WHERE workspace_id = $1 AND state = 'pending' AND asked_at > '-infinity'
    ORDER BY asked_at DESC LIMIT 200
) e
LEFT JOIN LATERAL (
    SELECT slack_channel_id, slack_thread_ts, created_by FROM agent_sessions
    WHERE deployed_agent_id = e.deployed_agent_id AND id = e.session_id AND slack_install_id = $2
    LIMIT 1
) s ON true
JOIN deployed_agents d ON d.id = e.deployed_agent_id AND d.workspace_id = $1
WHERE (s.slack_channel_id IS NOT NULL OR e.channel_install_id = $2)
  AND EXISTS (
    SELECT FROM jsonb_array_elements_text(e.policy->'who') w
    WHERE w = ANY($4::text[]) OR w LIKE 'group:%' OR w = 'requester' AND $3 = ANY(e.requesters)
)
ORDER BY e.asked_at, e.id LIMIT 50
"""


async def questions(
    connection: Connection, workspace_id: UUID, install_id: UUID, user_id: str, rules: list[str]
) -> list[Waiting]:
    """Questions whose policy may let a person answer, oldest first.

    Of the 200 that were asked last in the workspace.
    """
    rows = await connection.fetch(_QUESTIONS, workspace_id, install_id, user_id, rules)
    return [_waiting(row, Escalation) for row in rows]


def _waiting(row: Record, kind: type[Approval] | type[Escalation]) -> Waiting:
    place = {name: row[name] for name in _PLACE}
    asked = kind(**{name: value for name, value in row.items() if name not in _PLACE})
    return Waiting(asked, **place)


_PLACE = ("agent", "home", "thread_ts", "elsewhere", "whose")


# $1 agent, $2 session
_WHOSE = "SELECT created_by FROM agent_sessions WHERE deployed_agent_id = $1 AND id = $2"


async def whose(connection: Connection, agent_id: UUID, session_id: UUID) -> str | None:
    """Who began a session; in a direct message that is its only member beside us."""
    user_id: str | None = await connection.fetchval(_WHOSE, agent_id, session_id)
    return user_id

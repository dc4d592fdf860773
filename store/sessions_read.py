"""Sessions as lists and pages show them: of one agent of one workspace, newest first."""

from dataclasses import dataclass, field
from datetime import datetime
from itertools import product
from typing import Any, Self
from uuid import UUID

from store import tenancy
from store.database import Connection, Record

STATUSES = ("idle", "running", "archived")
SOURCES = ("dashboard", "slack", "schedule", "webhook")


@dataclass(frozen=True, slots=True)
class Session:
    """A session without what only its worker needs."""

    id: UUID
    deployed_agent_id: UUID
    workspace_id: UUID
    anthropic_session_id: str | None
    status: str
    source: str
    title: str | None
    created_by: str | None
    slack_team_id: str | None
    slack_channel_id: str | None
    slack_thread_ts: str | None
    slack_conversation_key: str | None
    usage_snapshot: dict[str, Any] | None
    archive_requested_at: datetime | None
    archived_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list is narrowed to. The range takes in its start and leaves out its end."""

    statuses: tuple[str, ...] = field(default=STATUSES)
    sources: tuple[str, ...] = field(default=SOURCES)
    title: str | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None


# $1 workspace, $2 agent, $3 session
_GET = """
SELECT id, deployed_agent_id, workspace_id, anthropic_session_id, status, source, title, created_by,
    slack_team_id, slack_channel_id, slack_thread_ts, slack_conversation_key, usage_snapshot,
    archive_requested_at, archived_at, created_at, updated_at
FROM agent_sessions WHERE workspace_id = $1 AND deployed_agent_id = $2 AND id = $3
"""


async def get(
    connection: Connection, workspace_id: UUID, agent_id: UUID, session_id: UUID
) -> Session | None:
    """The session of that id, if it is the agent's and the agent the workspace's."""
    row = await connection.fetchrow(_GET, workspace_id, agent_id, session_id)
    return Session(*row) if row else None


@dataclass(frozen=True, slots=True)
class Seen:
    """What somebody is at an agent, and the session there that they asked for, if it is there.

    The role is null for who was named by their workspace alone.
    """

    workspace_id: UUID
    role: str | None
    session: Session | None

    @classmethod
    def of(cls, row: Record) -> Self:
        """From a row: the workspace, the role, and the columns of the session, null without one."""
        theirs, role, *columns = row
        return cls(theirs, role, Session(*columns) if columns[0] else None)


# $1 agent, $2 session, $3 person, or null and $4 workspace
_SEEN = """
SELECT f.workspace_id AS theirs, f.role,
    (f.found).id, (f.found).deployed_agent_id, (f.found).workspace_id,
    (f.found).anthropic_session_id, (f.found).status, (f.found).source, (f.found).title,
    (f.found).created_by, (f.found).slack_team_id, (f.found).slack_channel_id,
    (f.found).slack_thread_ts, (f.found).slack_conversation_key, (f.found).usage_snapshot,
    (f.found).archive_requested_at, (f.found).archived_at, (f.found).created_at,
    (f.found).updated_at
FROM threadline_session($1, $2, $3, $4) AS f
"""


async def seen(
    connection: Connection, agent_id: UUID, session_id: UUID, who: str | UUID
) -> Seen | None:
    """The session as a person sees it, or a program of that workspace: in one round trip, as the tenant.

    None where the agent is not theirs. Not inside of another transaction, which it would narrow to the
    end. Raises what `tenancy.as_tenant` raises.
    """
    person, workspace_id = (who, None) if isinstance(who, str) else (None, who)
    with tenancy.becoming():
        row = await connection.fetchrow(_SEEN, agent_id, session_id, person, workspace_id)
    return None if row is None else Seen.of(row)


# Merged from a run of the index for each source and status: no filter but the title's reads along.
# lower() knows ASCII alone where the database's locale is C: the other letters that are looked for are
# named side by side.
# $1 workspace, $2 agent, $3 sources and $4 statuses side by side, $5 text in the title in small letters, $6 its letters
# beyond ASCII as capitals, $7 as small ones, $8 created from, $9 created before, $10 and $11 after this
# row, $12 how many at the most
_PAGE = """
SELECT s.id, s.deployed_agent_id, s.workspace_id, s.anthropic_session_id, s.status, s.source, s.title,
    s.created_by, s.slack_team_id, s.slack_channel_id, s.slack_thread_ts, s.slack_conversation_key,
    s.usage_snapshot, s.archive_requested_at, s.archived_at, s.created_at, s.updated_at
FROM unnest($3::text[], $4::text[]) AS f (source, status) CROSS JOIN LATERAL (
    SELECT * FROM agent_sessions
    WHERE workspace_id = $1 AND deployed_agent_id = $2
      AND source = f.source AND status = f.status
      AND created_at >= COALESCE($8::timestamptz, '-infinity')
      AND created_at < COALESCE($9::timestamptz, 'infinity')
      AND (created_at, id) < (COALESCE($10::timestamptz, 'infinity'),
                              COALESCE($11::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
      AND ($5::text IS NULL OR strpos(translate(lower(title), $6, $7), $5) > 0)
    ORDER BY created_at DESC, id DESC LIMIT $12
) AS s
ORDER BY s.created_at DESC, s.id DESC LIMIT $12
"""


async def page(
    connection: Connection,
    workspace_id: UUID,
    agent_id: UUID,
    filters: Filters,
    *,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Session]:
    """An agent's sessions, newest first, from the one that is `after` (created_at, id) in that order.

    Ask for one more than you show: if it comes, there is another page. With a title it may read all
    sessions of the agent that the other filters leave.
    """
    at, id_ = after or (None, None)
    runs = list(product(dict.fromkeys(filters.sources), dict.fromkeys(filters.statuses)))
    title = filters.title.lower() if filters.title else None
    rows = await connection.fetch(
        _PAGE,
        workspace_id,
        agent_id,
        [source for source, _ in runs],
        [status for _, status in runs],
        title,
        *_beyond_ascii(title or ""),
        filters.created_from,
        filters.created_before,
        at,
        id_,
        limit,
    )
    return [Session(*row) for row in rows]


def _beyond_ascii(text: str) -> tuple[str, str]:
    """The letters of a small text that lower() may not know, as capitals and as they are."""
    letters = [one for one in set(text) if not one.isascii() and len(one.upper()) == 1]
    return "".join(one.upper() for one in letters), "".join(letters)

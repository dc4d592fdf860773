"""Sessions: created or woken by an accept, written by the holder of their lease, archived."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from store import tenancy
from store.database import Connection
from store.leases import Lease, Ready
from store.sessions_read import Seen, Session
from store.sweeps import by_agent


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session as an accept wants it: reused if its thread has one, created otherwise."""

    id: UUID
    deployed_agent_id: UUID
    workspace_id: UUID
    title: str
    created_by: str
    slack_install_id: UUID
    slack_team_id: str | None
    slack_channel_id: str
    slack_thread_ts: str
    slack_conversation_key: str


@dataclass(frozen=True, slots=True)
class Woken:
    """A session that was there, or is now, and was made ready. `busy`: a turn is in flight."""

    slack_conversation_key: str
    id: UUID
    busy: bool


# side by side, sorted by key: $1 ids, $2 agents, $3 workspaces, $4 titles, $5 makers, $6 installs,
# $7 teams, $8 channels, $9 threads, $10 keys
_WAKE = """
INSERT INTO agent_sessions (id, deployed_agent_id, workspace_id, title, created_by, source,
    slack_install_id, slack_team_id, slack_channel_id, slack_thread_ts, slack_conversation_key,
    ready_at, wake_seq)
SELECT s.id, s.agent, s.workspace, s.title, s.maker, 'slack', s.install, s.team, s.channel,
       s.thread, s.key, now(), 1
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::uuid[], $7::text[],
            $8::text[], $9::text[], $10::text[])
     AS s (id, agent, workspace, title, maker, install, team, channel, thread, key)
ORDER BY s.key
ON CONFLICT (deployed_agent_id, slack_conversation_key) WHERE slack_conversation_key IS NOT NULL
DO UPDATE SET wake_seq = agent_sessions.wake_seq + 1,
              ready_at = LEAST(agent_sessions.ready_at, excluded.ready_at)
WHERE agent_sessions.status <> 'archived' AND agent_sessions.archive_requested_at IS NULL
RETURNING slack_conversation_key, id, status = 'running' AS busy
"""


async def wake_or_create(connection: Connection, wanted: list[NewSession]) -> dict[str, Woken]:
    """One session per thread, made ready; keys distinct. Archived ones are left out.

    The rows are locked in the order of their keys: two batches in two orders would deadlock.
    """
    rows = await connection.fetch(
        _WAKE,
        [s.id for s in wanted],
        [s.deployed_agent_id for s in wanted],
        [s.workspace_id for s in wanted],
        [s.title for s in wanted],
        [s.created_by for s in wanted],
        [s.slack_install_id for s in wanted],
        [s.slack_team_id for s in wanted],
        [s.slack_channel_id for s in wanted],
        [s.slack_thread_ts for s in wanted],
        [s.slack_conversation_key for s in wanted],
    )
    return {row["slack_conversation_key"]: Woken(**row) for row in rows}


# ------------------------------------------------------------------ from outside of Slack

# $1 id, $2 agent, $3 workspace, $4 title, $5 maker
_CREATE = """
INSERT INTO agent_sessions (id, deployed_agent_id, workspace_id, title, created_by, source)
VALUES ($1, $2, $3, $4, $5, 'dashboard')
RETURNING id, deployed_agent_id, workspace_id, anthropic_session_id, status, source, title, created_by,
    slack_team_id, slack_channel_id, slack_thread_ts, slack_conversation_key, usage_snapshot,
    archive_requested_at, archived_at, created_at, updated_at
"""


async def create(
    connection: Connection, id_: UUID, of: tuple[UUID, UUID], title: str | None, maker: str
) -> Session:
    """A session without a Slack thread, `of` an agent and its workspace; it waits for a message."""
    agent_id, workspace_id = of
    row = await connection.fetchrow(_CREATE, id_, agent_id, workspace_id, title, maker)
    assert row is not None  # noqa: S101  # an INSERT without a condition
    return Session(*row)


# $1 agent, $2 session, $3 person, or null and $4 workspace, $5 roles that may, $6 title, $7 maker
_CREATE_FOR = """
SELECT f.workspace_id AS theirs, f.role,
    (f.found).id, (f.found).deployed_agent_id, (f.found).workspace_id,
    (f.found).anthropic_session_id, (f.found).status, (f.found).source, (f.found).title,
    (f.found).created_by, (f.found).slack_team_id, (f.found).slack_channel_id,
    (f.found).slack_thread_ts, (f.found).slack_conversation_key, (f.found).usage_snapshot,
    (f.found).archive_requested_at, (f.found).archived_at, (f.found).created_at,
    (f.found).updated_at
FROM threadline_new_session($1, $2, $3, $4, $5, $6, $7) AS f
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A session to be made at an agent; `roles`: those of whom it is made for."""

    id: UUID
    agent_id: UUID
    roles: Sequence[str]
    title: str | None
    maker: str


async def create_for(connection: Connection, wanted: Wanted, who: str | UUID) -> Seen | None:
    """Makes a session for a person, or a program of that workspace, as `sessions_read.seen` reads one.

    It is not there for a person of another role; a program's role is judged by who asks.
    """
    person, workspace_id = (who, None) if isinstance(who, str) else (None, who)
    with tenancy.becoming():
        row = await connection.fetchrow(
            _CREATE_FOR,
            wanted.agent_id,
            wanted.id,
            person,
            workspace_id,
            wanted.roles,
            wanted.title,
            wanted.maker,
        )
    return None if row is None else Seen.of(row)


# $1 agent, $2 session, $3 title
_TITLE_ONCE = """
UPDATE agent_sessions SET title = $3 WHERE deployed_agent_id = $1 AND id = $2 AND title IS NULL
"""


async def title_once(connection: Connection, agent_id: UUID, session_id: UUID, title: str) -> None:
    """Names a session that has no title yet."""
    await connection.execute(_TITLE_ONCE, agent_id, session_id, title)


# $1 agent, $2 session
_WAKE_OPEN = """
UPDATE agent_sessions SET wake_seq = wake_seq + 1, ready_at = LEAST(ready_at, now())
WHERE deployed_agent_id = $1 AND id = $2 AND status <> 'archived' AND archive_requested_at IS NULL
RETURNING workspace_id
"""


async def wake_open(connection: Connection, agent_id: UUID, session_id: UUID) -> bool:
    """Makes a session ready and locks its row; False if it takes no messages any more."""
    return await connection.fetchval(_WAKE_OPEN, agent_id, session_id) is not None


# $1 agent, $2 session
_NEXT_POSITION = """
UPDATE agent_sessions SET next_position = next_position + 1
WHERE deployed_agent_id = $1 AND id = $2
RETURNING next_position - 1
"""


async def next_position(connection: Connection, agent_id: UUID, session_id: UUID) -> int:
    """A place behind all that was said so far; the caller has locked the session."""
    place: int = await connection.fetchval(_NEXT_POSITION, agent_id, session_id)
    return place


# ------------------------------------------------------------------ what a holder writes

# $1 agent, $2 session, $3 when the create leaves; null: it is settled
_CREATE_STARTED = """
UPDATE agent_sessions SET create_started_at = $3 WHERE deployed_agent_id = $1 AND id = $2
"""


async def create_started(connection: Connection, lease: Lease, at: datetime | None) -> None:
    """Writes down that a runtime create is about to leave, or what holds where it did not; fenced."""
    await connection.execute(_CREATE_STARTED, lease.deployed_agent_id, lease.session_id, at)


# $1 agent, $2 session, $3 runtime session
_CREATED = """
UPDATE agent_sessions SET anthropic_session_id = $3, create_started_at = NULL
WHERE deployed_agent_id = $1 AND id = $2
"""


async def created(connection: Connection, lease: Lease, runtime_session: str) -> None:
    """Points the session at its runtime session; fenced by the caller."""
    await connection.execute(_CREATED, lease.deployed_agent_id, lease.session_id, runtime_session)


# $1 agent, $2 session
_FORGET = """
UPDATE agent_sessions
SET anthropic_session_id = NULL, create_started_at = NULL, place_at = NULL, usage_snapshot = NULL
WHERE deployed_agent_id = $1 AND id = $2
"""


async def forget_runtime(connection: Connection, lease: Lease) -> None:
    """Drops a runtime session that is gone, so that the next message starts a new one; fenced."""
    await connection.execute(_FORGET, lease.deployed_agent_id, lease.session_id)


# $1 agent, $2 session, $3 place, $4 usage
_TURN_ENDED = """
UPDATE agent_sessions
SET status = 'idle', place_at = COALESCE($3, place_at), usage_snapshot = COALESCE($4, usage_snapshot)
WHERE deployed_agent_id = $1 AND id = $2 AND status = 'running'
"""


async def turn_ended(
    connection: Connection, lease: Lease, place: datetime | None, usage: dict[str, Any] | None
) -> None:
    """Running → idle, with the place in the runtime's history and its usage there; fenced."""
    await connection.execute(_TURN_ENDED, lease.deployed_agent_id, lease.session_id, place, usage)


# $1 agent, $2 session
_TURN_BEGAN = """
UPDATE agent_sessions SET status = 'running'
WHERE deployed_agent_id = $1 AND id = $2 AND status = 'idle'
"""


async def turn_began(connection: Connection, lease: Lease) -> None:
    """Idle → running; fenced by the caller."""
    await connection.execute(_TURN_BEGAN, lease.deployed_agent_id, lease.session_id)


# $1 agent, $2 session, $3 how many positions
_POSITIONS = """
UPDATE agent_sessions SET next_position = next_position + $3
WHERE deployed_agent_id = $1 AND id = $2
RETURNING next_position - $3
"""


async def take_positions(connection: Connection, of: Lease | Ready, count: int) -> int:
    """The first of `count` places in the order of this session's replies; locked by the caller."""
    first: int = await connection.fetchval(_POSITIONS, of.deployed_agent_id, of.session_id, count)
    return first


# ------------------------------------------------------------------ archive

# $1 agent, $2 session
_REQUEST_ARCHIVE = """
UPDATE agent_sessions
SET archive_requested_at = now(), ready_at = now(), wake_seq = wake_seq + 1
WHERE deployed_agent_id = $1 AND id = $2 AND status <> 'archived' AND archive_requested_at IS NULL
"""


async def request_archive(connection: Connection, agent_id: UUID, session_id: UUID) -> bool:
    """Writes down the wish to archive; the holder interrupts first. False if it was there."""
    done = await connection.execute(_REQUEST_ARCHIVE, agent_id, session_id)
    return done == "UPDATE 1"


# $1 agent, $2 session
_ARCHIVE_REQUESTED = """
SELECT archive_requested_at IS NOT NULL FROM agent_sessions WHERE deployed_agent_id = $1 AND id = $2
"""


async def archive_requested(connection: Connection, lease: Lease) -> bool:
    """True once somebody wishes the session archived."""
    wished: bool = await connection.fetchval(
        _ARCHIVE_REQUESTED, lease.deployed_agent_id, lease.session_id
    )
    return wished


# $1 agent, $2 session
_ARCHIVE = """
UPDATE agent_sessions
SET status = 'archived', archived_at = now(), ready_at = NULL, lease_owner = NULL,
    lease_expires_at = NULL
WHERE deployed_agent_id = $1 AND id = $2 AND status = 'idle'
"""


async def archive(connection: Connection, lease: Lease) -> None:
    """Idle → archived, and the lease ends; fenced by the caller."""
    await connection.execute(_ARCHIVE, lease.deployed_agent_id, lease.session_id)


# ------------------------------------------------------------------ the sweep for the deaf

# $1 for how long nobody has touched the row
_ANY_RUNNING = """
SELECT EXISTS (SELECT FROM agent_sessions s WHERE s.status = 'running'
               AND s.created_at > '-infinity' AND s.updated_at < now() - $1::interval AND (
                   SELECT t.state FROM agent_turns t WHERE t.deployed_agent_id = s.deployed_agent_id
                   AND t.session_id = s.id AND t.ended_at IS NULL) IS DISTINCT FROM 'awaiting_human')
"""


async def any_running(connection: Connection, quiet_for: timedelta) -> bool:
    """True if some session runs that nobody has touched for that long, and waits for nobody."""
    found: bool = await connection.fetchval(_ANY_RUNNING, quiet_for)
    return found


# $1 the runtime sessions that are running, $2 for how long nobody has touched the row
_DISAGREEING = """
SELECT s.deployed_agent_id, s.id FROM agent_sessions s
WHERE s.anthropic_session_id <> ALL($1::text[]) AND s.status = 'running'
  AND s.created_at > '-infinity'
  AND s.updated_at < now() - $2::interval AND (
      SELECT t.state FROM agent_turns t WHERE t.deployed_agent_id = s.deployed_agent_id
      AND t.session_id = s.id AND t.ended_at IS NULL) IS DISTINCT FROM 'awaiting_human'
"""
# $1 agent, $2 sessions, $3 for how long nobody has touched the row
_STUCK = """
UPDATE agent_sessions SET ready_at = now(), wake_seq = wake_seq + 1
WHERE deployed_agent_id = $1 AND id = ANY(ARRAY(
    SELECT id FROM agent_sessions
    WHERE deployed_agent_id = $1 AND id = ANY($2::uuid[]) AND status = 'running'
      AND updated_at < now() - $3::interval
    FOR NO KEY UPDATE SKIP LOCKED))
"""


async def wake_disagreeing(connection: Connection, running: list[str], quiet_for: timedelta) -> int:
    """Wakes sessions that run here but not at the runtime, and wait for nobody; the number woken.

    Rows that somebody holds locked are left for the next sweep: only accepts wait for several.
    """
    woken = 0
    found = await connection.fetch(_DISAGREEING, running, quiet_for)
    for agent_id, rows in by_agent(found):
        ids = [row["id"] for row in rows]
        done = await connection.execute(_STUCK, agent_id, ids, quiet_for)
        woken += int(done.rpartition(" ")[2])
    return woken

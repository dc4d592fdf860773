"""Slack threads: the pin to one agent and session, and events that came before their thread."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from store.database import Connection


@dataclass(frozen=True, slots=True)
class Thread:
    """The pin of a Slack thread. `first_ts` is the earliest message that addressed the agent.

    `escalation_id`: what is said there answers that question of the session.
    """

    slack_conversation_key: str
    deployed_agent_id: UUID
    workspace_id: UUID
    session_id: UUID
    muted: bool
    first_ts: Decimal
    escalation_id: UUID | None = None


# $1 conversation keys
_FIND = """
SELECT slack_conversation_key, deployed_agent_id, workspace_id, session_id, muted, first_ts,
       escalation_id
FROM slack_threads WHERE slack_conversation_key = ANY($1::text[])
"""


async def find(connection: Connection, keys: list[str]) -> dict[str, Thread]:
    """The pinned threads among `keys`."""
    rows = await connection.fetch(_FIND, keys)
    return {row["slack_conversation_key"]: Thread(**row) for row in rows}


@dataclass(frozen=True, slots=True)
class Pin:
    """A wish to pin a thread; another process may have been first."""

    thread: Thread
    api_app_id: str
    channel_id: str
    root_ts: str


# side by side: $1 keys, $2 agents, $3 workspaces, $4 sessions, $5 apps, $6 channels, $7 roots,
# $8 first ts, $9 escalations
_PIN = """
INSERT INTO slack_threads (slack_conversation_key, deployed_agent_id, workspace_id, session_id,
                           api_app_id, channel_id, root_ts, first_ts, escalation_id)
SELECT * FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[],
                     $7::text[], $8::numeric[], $9::uuid[])
    AS p (key, agent, workspace, session, app, channel, root, first, escalation)
ORDER BY p.key
ON CONFLICT (slack_conversation_key) DO NOTHING
"""


async def pin(connection: Connection, pins: list[Pin]) -> dict[str, Thread]:
    """Pins threads, keys distinct, and reads back who won."""
    await connection.execute(
        _PIN,
        [p.thread.slack_conversation_key for p in pins],
        [p.thread.deployed_agent_id for p in pins],
        [p.thread.workspace_id for p in pins],
        [p.thread.session_id for p in pins],
        [p.api_app_id for p in pins],
        [p.channel_id for p in pins],
        [p.root_ts for p in pins],
        [p.thread.first_ts for p in pins],
        [p.thread.escalation_id for p in pins],
    )
    return await find(connection, [p.thread.slack_conversation_key for p in pins])


# $1 key, $2 ts
_LOWER = "UPDATE slack_threads SET first_ts = LEAST(first_ts, $2) WHERE slack_conversation_key = $1"


async def lower_first_ts(connection: Connection, key: str, ts: Decimal) -> None:
    """Notes that an earlier message than the known first one addressed the agent."""
    await connection.execute(_LOWER, key, ts)


# $1 key, $2 muted
_SET_MUTED = """
UPDATE slack_threads SET muted = $2 WHERE slack_conversation_key = $1 AND muted <> $2
"""


async def set_muted(connection: Connection, key: str, *, muted: bool) -> bool:
    """Stops or starts following replies without a mention; False if it was so already."""
    return await connection.execute(_SET_MUTED, key, muted) == "UPDATE 1"


# ------------------------------------------------------------------ events before their thread


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """An event that waits for its thread or its message."""

    slack_conversation_key: str
    dedupe_key: str
    install_id: UUID
    deleted: bool
    revision: Decimal
    event: dict[str, Any]


# $1 key, $2 dedupe key, $3 install, $4 deleted, $5 revision, $6 event
_KEEP = """
INSERT INTO slack_unclaimed (slack_conversation_key, dedupe_key, install_id, deleted, revision, event)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (slack_conversation_key, dedupe_key) DO UPDATE
SET deleted = excluded.deleted, revision = excluded.revision, event = excluded.event
WHERE NOT slack_unclaimed.deleted
  AND (excluded.deleted OR excluded.revision > slack_unclaimed.revision)
"""


async def keep_unclaimed(connection: Connection, event: Unclaimed) -> None:
    """Keeps the newest state of a message whose thread has no session yet."""
    await connection.execute(
        _KEEP,
        event.slack_conversation_key,
        event.dedupe_key,
        event.install_id,
        event.deleted,
        event.revision,
        event.event,
    )


# $1 conversation keys
_WAITING = """
SELECT slack_conversation_key, dedupe_key, install_id, deleted, revision, event
FROM slack_unclaimed WHERE slack_conversation_key = ANY($1::text[])
ORDER BY dedupe_key
"""


async def unclaimed(connection: Connection, keys: list[str]) -> list[Unclaimed]:
    """What waits for the given threads."""
    return [Unclaimed(**row) for row in await connection.fetch(_WAITING, keys)]


# side by side: $1 conversation keys, $2 dedupe keys, $3 revisions
_TAKE = """
DELETE FROM slack_unclaimed u
USING unnest($1::text[], $2::text[], $3::numeric[]) AS t (key, dedupe_key, revision)
WHERE u.slack_conversation_key = t.key AND u.dedupe_key = t.dedupe_key AND u.revision <= t.revision
"""


async def drop_unclaimed(connection: Connection, events: list[Unclaimed]) -> None:
    """Drops events that were taken in; one that was revised since stays for the sweep."""
    await connection.execute(
        _TAKE,
        [e.slack_conversation_key for e in events],
        [e.dedupe_key for e in events],
        [e.revision for e in events],
    )


# $1 how many at the most
_RACED = """
SELECT u.slack_conversation_key, u.dedupe_key, u.install_id, u.deleted, u.revision, u.event
FROM slack_unclaimed u JOIN slack_threads t USING (slack_conversation_key)
WHERE u.deleted OR (u.event->>'ts')::numeric >= t.first_ts
ORDER BY u.created_at LIMIT $1
"""


async def raced(connection: Connection, limit: int) -> list[Unclaimed]:
    """Events whose thread came while they were being kept."""
    return [Unclaimed(**row) for row in await connection.fetch(_RACED, limit)]


_EXPIRE = """
DELETE FROM slack_unclaimed
WHERE created_at < now() - interval '25 hours'
   OR NOT deleted AND created_at < now() - interval '5 minutes'
"""


async def expire_unclaimed(connection: Connection) -> None:
    """Forgets replies after five minutes and tombstones after Slack's last delayed event."""
    await connection.execute(_EXPIRE)

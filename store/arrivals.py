"""New words in Slack threads, taken in by one statement: pins, sessions and inputs of a whole batch.

The statement takes its locks in the order of all accepts (see `router.intake`): pins sorted by key,
then sessions sorted by key, then inputs. Each part reads what the part before returned, through a
sort, so none begins before the other has ended. What it cannot settle by itself it leaves alone.
"""

import json
from dataclasses import dataclass
from typing import Any, TypedDict
from uuid import UUID

import asyncpg

from store.database import Connection

# What a database answers that cannot run such a statement, as a cluster of several nodes may.
NOT_HERE: type[Exception] = asyncpg.FeatureNotSupportedError


class Words(TypedDict):
    """Somebody's new words. `begins`: they may begin a thread; `addressed`: they are said to us.

    `session` is the id of the thread's if they may begin it, `input` theirs if they are new. Plain JSON:
    a batch goes as one text, since arrays side by side cost the driver twice as much.
    """

    key: str
    addressed: bool
    begins: bool
    ts: str
    app: str
    install: str
    team: str | None
    channel: str
    root: str
    session: str | None
    title: str
    maker: str
    input: str
    body: dict[str, Any]
    dedupe_key: str
    client_key: str | None
    event: str | None


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of new words.

    Without `session_id` nothing was written, and their thread was or is not `followed`: `muted` says
    whether it is muted. `busy`: a turn is in flight, and the words are not added. `added` is False
    for words that were there.
    """

    slack_conversation_key: str
    known: bool
    muted: bool
    deployed_agent_id: UUID | None
    session_id: UUID | None
    busy: bool
    added: bool


# $1 words, a list of objects, $2 their conversation keys, $3 how long to wait for a lock, with its unit
_TAKE_IN = """
WITH given AS MATERIALIZED (
    SELECT g.*
    FROM json_to_recordset($1::json)
         AS g (key text, addressed boolean, begins boolean, ts numeric, app text, install uuid,
               team text, channel text, root text, session uuid, title text, maker text, input uuid,
               body jsonb, dedupe_key text, client_key text, event text),
         set_config('lock_timeout', $3, true)
), known AS MATERIALIZED (
    SELECT slack_conversation_key AS key, deployed_agent_id AS agent, workspace_id AS workspace,
           session_id AS session, muted, first_ts, escalation_id
    FROM slack_threads WHERE slack_conversation_key = ANY($2::text[])
), pinned AS (
    INSERT INTO slack_threads (slack_conversation_key, deployed_agent_id, workspace_id, session_id,
                               api_app_id, channel_id, root_ts, first_ts)
    SELECT g.key, COALESCE(r.deployed_agent_id, i.default_agent_id), i.workspace_id, g.session,
           g.app, g.channel, g.root, g.ts
    FROM given g
    JOIN oauth_installs i ON i.id = g.install
    LEFT JOIN slack_routes r ON r.install_id = g.install AND r.channel_id = g.channel
    WHERE g.begins AND COALESCE(r.deployed_agent_id, i.default_agent_id) IS NOT NULL
      AND NOT EXISTS (SELECT FROM known k WHERE k.key = g.key)
      AND NOT EXISTS (SELECT FROM slack_unclaimed u WHERE u.slack_conversation_key = g.key)
    ORDER BY g.key
    ON CONFLICT (slack_conversation_key) DO NOTHING
    RETURNING slack_conversation_key AS key, deployed_agent_id AS agent, workspace_id AS workspace,
              session_id AS session
), followed AS (
    SELECT key, agent, workspace, session FROM pinned
    UNION ALL
    SELECT k.key, k.agent, k.workspace, k.session
    FROM known k JOIN given g ON g.key = k.key
    WHERE k.escalation_id IS NULL AND g.ts >= k.first_ts AND (g.addressed OR NOT k.muted)
), woken AS (
    INSERT INTO agent_sessions (id, deployed_agent_id, workspace_id, title, created_by, source,
        slack_install_id, slack_team_id, slack_channel_id, slack_thread_ts, slack_conversation_key,
        ready_at, wake_seq)
    SELECT f.session, f.agent, f.workspace, g.title, g.maker, 'slack', g.install, g.team, g.channel,
           g.root, g.key, now(), 1
    FROM followed f JOIN given g ON g.key = f.key
    ORDER BY g.key
    ON CONFLICT (deployed_agent_id, slack_conversation_key) WHERE slack_conversation_key IS NOT NULL
    DO UPDATE SET wake_seq = agent_sessions.wake_seq + 1,
                  ready_at = LEAST(agent_sessions.ready_at, excluded.ready_at)
    WHERE agent_sessions.status <> 'archived' AND agent_sessions.archive_requested_at IS NULL
    RETURNING slack_conversation_key AS key, deployed_agent_id AS agent, workspace_id AS workspace,
              id, status = 'running' AS busy
), added AS (
    INSERT INTO session_inputs (id, deployed_agent_id, workspace_id, session_id, kind, body,
        order_key, dedupe_key, client_key, slack_event_id)
    SELECT g.input, w.agent, w.workspace, w.id, 'message', g.body, g.ts, g.dedupe_key, g.client_key,
           g.event
    FROM woken w JOIN given g ON g.key = w.key
    WHERE NOT w.busy
    ORDER BY g.key
    ON CONFLICT DO NOTHING
    RETURNING id
)
SELECT g.key AS slack_conversation_key, k.key IS NOT NULL AS known,
       COALESCE(k.muted AND k.escalation_id IS NULL, false) AS muted,
       w.agent AS deployed_agent_id, w.id AS session_id, COALESCE(w.busy, false) AS busy,
       a.id IS NOT NULL AS added
FROM given g
LEFT JOIN known k ON k.key = g.key
LEFT JOIN woken w ON w.key = g.key
LEFT JOIN added a ON a.id = g.input
"""


async def take_in(
    connection: Connection, words: list[Words], lock_seconds: float
) -> dict[str, Taken]:
    """Takes in new words, conversation keys distinct, as a transaction of its own.

    What stands in the way, and is left for a closer look: a thread that others pin just now, one below
    a question's card, one that has an event waiting for it, an archived session, words from before the
    thread's first, no agent. Raises NOT_HERE where a database does not run it.
    """
    rows = await connection.fetch(
        _TAKE_IN,
        json.dumps(words),
        [w["key"] for w in words],
        f"{lock_seconds * 1000:.0f}ms",
    )
    return {row["slack_conversation_key"]: Taken(**row) for row in rows}

"""Inputs: one durable row for each thing that wants a session's attention, one per Slack message.

queued → sending → sent → done; sending → queued (it did not arrive); sent → queued (the runtime
threw it away); queued → withdrawn | refused; sending → refused.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from store.database import Connection
from store.leases import Lease


@dataclass(frozen=True, slots=True)
class NewInput:
    """An input to be added; `dedupe_key` says what it is the same as."""

    id: UUID
    deployed_agent_id: UUID
    workspace_id: UUID
    session_id: UUID
    kind: str
    body: dict[str, Any]
    order_key: Decimal
    dedupe_key: str
    revision: Decimal = Decimal(0)
    client_key: str | None = None
    slack_event_id: str | None = None
    deleted: bool = False
    shown_waiting: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a message when another event of it comes.

    `text` is the newest one seen; None where it was cleared, so that no text is the same. `files`
    are the ids of those that came with it last; None where that is not known any more.
    """

    id: UUID
    deployed_agent_id: UUID
    dedupe_key: str
    client_key: str | None
    state: str
    revision: Decimal
    deleted: bool
    text: str | None
    files: list[str] | None


# side by side: $1 agents, $2 dedupe keys, $3 client keys
_KNOWN = """
SELECT i.id, i.deployed_agent_id, i.dedupe_key, i.client_key, i.state, i.revision, i.deleted,
       COALESCE(i.body->>'newest_text', i.body->>'text') AS text,
       COALESCE(i.body->'newest_files', jsonb_path_query_array(i.body->'files', '$[*].id')) AS files
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS w (agent, dedupe_key, client_key)
JOIN session_inputs i ON i.deployed_agent_id = w.agent AND i.dedupe_key = w.dedupe_key
UNION ALL
SELECT i.id, i.deployed_agent_id, i.dedupe_key, i.client_key, i.state, i.revision, i.deleted,
       COALESCE(i.body->>'newest_text', i.body->>'text') AS text,
       COALESCE(i.body->'newest_files', jsonb_path_query_array(i.body->'files', '$[*].id')) AS files
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS w (agent, dedupe_key, client_key)
JOIN session_inputs i ON i.deployed_agent_id = w.agent AND i.client_key = w.client_key
                     AND i.dedupe_key <> w.dedupe_key
"""


async def known(connection: Connection, wanted: list[tuple[UUID, str, str | None]]) -> list[Known]:
    """The rows of messages, by (agent, dedupe key, client key).

    The accept has locked their sessions, and a holder moves inputs only under that lock, so what is
    read stays true until the accept commits.
    """
    rows = await connection.fetch(
        _KNOWN, [w[0] for w in wanted], [w[1] for w in wanted], [w[2] for w in wanted]
    )
    return [Known(**row) for row in rows]


# side by side: $1 ids, $2 agents, $3 workspaces, $4 sessions, $5 kinds, $6 bodies, $7 order keys,
# $8 dedupe keys, $9 revisions, $10 client keys, $11 Slack events, $12 deleted, $13 shown waiting
_ADD = """
INSERT INTO session_inputs (id, deployed_agent_id, workspace_id, session_id, kind, body, order_key,
    dedupe_key, revision, client_key, slack_event_id, deleted, shown_waiting, state, ended_at)
SELECT n.id, n.agent, n.workspace, n.session, n.kind, n.body, n.order_key, n.dedupe_key, n.revision,
       n.client_key, n.event, n.deleted, n.shown,
       CASE WHEN n.deleted THEN 'withdrawn' ELSE 'queued' END,
       CASE WHEN n.deleted THEN now() END
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::jsonb[], $7::numeric[],
            $8::text[], $9::numeric[], $10::text[], $11::text[], $12::boolean[], $13::boolean[])
     AS n (id, agent, workspace, session, kind, body, order_key, dedupe_key, revision, client_key,
           event, deleted, shown)
ON CONFLICT DO NOTHING
RETURNING id
"""


async def add(connection: Connection, new: list[NewInput]) -> set[UUID]:
    """Adds inputs, once each by dedupe key and by client key; the ids of those that were new."""
    rows = await connection.fetch(
        _ADD,
        [n.id for n in new],
        [n.deployed_agent_id for n in new],
        [n.workspace_id for n in new],
        [n.session_id for n in new],
        [n.kind for n in new],
        [n.body for n in new],
        [n.order_key for n in new],
        [n.dedupe_key for n in new],
        [n.revision for n in new],
        [n.client_key for n in new],
        [n.slack_event_id for n in new],
        [n.deleted for n in new],
        [n.shown_waiting for n in new],
    )
    return {row["id"] for row in rows}


# $1 agent, $2 input, $3 body, $4 revision
_REPLACE = """
UPDATE session_inputs SET body = $3, revision = $4
WHERE deployed_agent_id = $1 AND id = $2 AND state = 'queued' AND revision < $4
"""


async def replace(
    connection: Connection, known_input: Known, body: dict[str, Any], revision: Decimal
) -> None:
    """Gives a waiting message its newer text."""
    await connection.execute(
        _REPLACE, known_input.deployed_agent_id, known_input.id, body, revision
    )


# $1 agent, $2 input, $3 revision, $4 text, $5 files
_NOTE_REVISION = """
UPDATE session_inputs
SET revision = $3,
    body = body || jsonb_build_object('newest_text', $4::text, 'newest_files', $5::text[])
WHERE deployed_agent_id = $1 AND id = $2 AND revision < $3
"""


async def note_revision(
    connection: Connection, known_input: Known, revision: Decimal, text: str, files: list[str]
) -> None:
    """Notes which revision was seen, and what it says: twin events change nothing, a way back does.

    A body that was cleared is null and stays so.
    """
    await connection.execute(
        _NOTE_REVISION, known_input.deployed_agent_id, known_input.id, revision, text, files
    )


# $1 agent, $2 input
_WITHDRAW = """
WITH message AS (
    UPDATE session_inputs
    SET deleted = true,
        state = CASE WHEN state = 'queued' THEN 'withdrawn' ELSE state END,
        ended_at = CASE WHEN state = 'queued' THEN t.now ELSE ended_at END
    FROM (SELECT now() AS now) AS t
    WHERE deployed_agent_id = $1 AND id = $2 AND NOT deleted
    RETURNING session_id, dedupe_key
)
UPDATE session_inputs c SET deleted = true, state = 'withdrawn', ended_at = now()
FROM message m
WHERE c.deployed_agent_id = $1 AND c.session_id = m.session_id AND c.ended_at IS NULL
  AND c.state = 'queued'
  AND c.kind = 'correction' AND starts_with(c.dedupe_key, m.dedupe_key || '#')
"""


async def withdraw(connection: Connection, known_input: Known) -> None:
    """Takes back a waiting message that its author deleted, or its corrections; sent is marked."""
    await connection.execute(_WITHDRAW, known_input.deployed_agent_id, known_input.id)


# $1 agent, $2 turn, $3 time
_ANY_BEFORE = """
SELECT EXISTS (SELECT FROM session_inputs WHERE deployed_agent_id = $1 AND turn_id = $2
               AND kind IN ('message', 'correction') AND order_key < $3)
"""


async def any_before(connection: Connection, agent_id: UUID, turn_id: UUID, at: Decimal) -> bool:
    """True if a message of the turn was said before that time."""
    found: bool = await connection.fetchval(_ANY_BEFORE, agent_id, turn_id, at)
    return found


# ------------------------------------------------------------------ what shows that they wait

# side by side: $1 agents, $2 inputs
_PLACES = """
SELECT i.id, (
    SELECT count(*) FROM session_inputs q
    WHERE q.deployed_agent_id = i.deployed_agent_id AND q.session_id = i.session_id
      AND q.ended_at IS NULL AND q.state = 'queued' AND q.kind = 'message'
      AND (q.order_key, q.id) <= (i.order_key, i.id)
) AS place
FROM unnest($1::uuid[], $2::uuid[]) AS w (agent, id)
JOIN session_inputs i ON i.deployed_agent_id = w.agent AND i.id = w.id
"""


async def places(connection: Connection, waiting: list[tuple[UUID, UUID]]) -> dict[UUID, int]:
    """The place of waiting messages, given as (agent, input), among those of their session."""
    rows = await connection.fetch(_PLACES, [w[0] for w in waiting], [w[1] for w in waiting])
    return {row["id"]: row["place"] for row in rows}


# $1 agent, $2 session
_HIDE = """
UPDATE session_inputs SET shown_waiting = false
WHERE deployed_agent_id = $1 AND session_id = $2 AND shown_waiting AND state <> 'queued'
RETURNING id, order_key
"""


async def hide_waiting(
    connection: Connection, agent_id: UUID, session_id: UUID
) -> list[tuple[UUID, Decimal]]:
    """The messages, with their ts, that showed that they wait and wait no more; each only once."""
    rows = await connection.fetch(_HIDE, agent_id, session_id)
    return [(row["id"], row["order_key"]) for row in rows]


# ------------------------------------------------------------------ what a holder does with them


@dataclass(frozen=True, slots=True)
class Input:
    """An open input as its session's holder sees it."""

    id: UUID
    kind: str
    body: dict[str, Any]
    order_key: Decimal
    state: str
    turn_id: UUID | None
    sending_deadline: datetime | None
    flushes: int
    shown_waiting: bool = False

    @property
    def send_key(self) -> str:
        """What tells this sending from all others: a flushed copy stays in the runtime's history."""
        return f"{self.id}.{self.flushes}" if self.flushes else str(self.id)


# $1 agent, $2 session
_OPEN = """
SELECT id, kind, body, order_key, state, turn_id, sending_deadline, flushes, shown_waiting
FROM session_inputs
WHERE deployed_agent_id = $1 AND session_id = $2 AND ended_at IS NULL
  AND state IN ('queued', 'sending', 'sent')
ORDER BY order_key, id
"""


async def open_inputs(connection: Connection, lease: Lease) -> list[Input]:
    """Everything of a session that has not ended, in order."""
    rows = await connection.fetch(_OPEN, lease.deployed_agent_id, lease.session_id)
    return [Input(**row) for row in rows]


# $1 agent, $2 session, $3 kinds
_ANY_QUEUED = """
SELECT EXISTS (SELECT FROM session_inputs WHERE deployed_agent_id = $1 AND session_id = $2
               AND ended_at IS NULL AND state = 'queued' AND kind = ANY($3::text[]))
"""


async def any_queued(connection: Connection, lease: Lease, kinds: list[str]) -> bool:
    """True if an input of these kinds waits; stays true under the caller's fence."""
    found: bool = await connection.fetchval(
        _ANY_QUEUED, lease.deployed_agent_id, lease.session_id, kinds
    )
    return found


# $1 agent, $2 session, $3 kinds
_AGES = """
SELECT now() - max(accepted_at) AS newest, now() - min(accepted_at) AS oldest FROM session_inputs
WHERE deployed_agent_id = $1 AND session_id = $2 AND ended_at IS NULL AND state = 'queued'
  AND kind = ANY($3::text[])
"""


async def ages(
    connection: Connection, lease: Lease, kinds: list[str]
) -> tuple[timedelta, timedelta] | None:
    """How long ago the newest and the oldest waiting input of these kinds came; None without any."""
    row = await connection.fetchrow(_AGES, lease.deployed_agent_id, lease.session_id, kinds)
    return (row["newest"], row["oldest"]) if row and row["newest"] is not None else None


# $1 agent, $2 session, $3 turn, $4 kinds, $5 how long the request may take
_START = """
UPDATE session_inputs
SET state = 'sending', turn_id = $3, sending_deadline = now() + $5::interval
WHERE deployed_agent_id = $1 AND session_id = $2 AND ended_at IS NULL AND state = 'queued'
  AND kind = ANY($4::text[])
RETURNING id, kind, body, order_key, state, turn_id, sending_deadline, flushes, shown_waiting
"""


async def start_sending(
    connection: Connection, lease: Lease, turn_id: UUID, kinds: list[str], limit: timedelta
) -> list[Input]:
    """Queued → sending for all of the given kinds, with the newest text of each, in order; fenced."""
    rows = await connection.fetch(
        _START, lease.deployed_agent_id, lease.session_id, turn_id, kinds, limit
    )
    return sorted((Input(**row) for row in rows), key=lambda i: (i.order_key, i.id))


# $1 agent, $2 inputs and $3 their runtime events side by side
_SENT = """
UPDATE session_inputs i
SET state = 'sent', sending_deadline = NULL, sent_at = now(), runtime_event_id = s.event
FROM unnest($2::uuid[], $3::text[]) AS s (id, event)
WHERE i.deployed_agent_id = $1 AND i.id = s.id AND i.state = 'sending'
"""


async def mark_sent(
    connection: Connection, lease: Lease, events: list[tuple[UUID, str | None]]
) -> None:
    """Sending → sent; fenced by the caller."""
    await connection.execute(
        _SENT, lease.deployed_agent_id, [e[0] for e in events], [e[1] for e in events]
    )


# $1 agent, $2 inputs and $3 runtime events side by side
_NOTE_COPIES = """
WITH copies AS (
    SELECT i.id, s.event
    FROM unnest($2::uuid[], $3::text[]) AS s (id, event)
    JOIN session_inputs i ON i.deployed_agent_id = $1 AND i.id = s.id
    WHERE i.runtime_event_id <> s.event AND NOT COALESCE(i.body->'copies' ? s.event, i.body IS NULL)
), noted AS (
    UPDATE session_inputs i
    SET body = i.body
        || jsonb_build_object('copies', COALESCE(i.body->'copies', '[]'::jsonb) || c.events)
    FROM (SELECT id, jsonb_agg(event) AS events FROM copies GROUP BY id) c
    WHERE i.deployed_agent_id = $1 AND i.id = c.id
)
SELECT id, event FROM copies
"""


async def note_copies(
    connection: Connection, lease: Lease, seen: list[tuple[UUID, str]]
) -> list[tuple[UUID, str]]:
    """Which of these runtime events are further copies of inputs that were sent as another event.

    Each is noted and told only once; of a body that was cleared nothing is told any more. Fenced.
    """
    rows = await connection.fetch(
        _NOTE_COPIES, lease.deployed_agent_id, [s[0] for s in seen], [s[1] for s in seen]
    )
    return [(row["id"], row["event"]) for row in rows]


# $1 agent, $2 inputs
_UNSEND = """
UPDATE session_inputs i
SET state = 'queued', sending_deadline = NULL,
    turn_id = CASE WHEN i.kind IN ('decision', 'interrupt') OR NOT EXISTS (
        SELECT FROM session_inputs m
        WHERE m.deployed_agent_id = i.deployed_agent_id AND m.turn_id = i.turn_id
          AND m.kind IN ('message', 'correction') AND m.state = 'sent'
    ) THEN i.turn_id END
WHERE i.deployed_agent_id = $1 AND i.id = ANY($2::uuid[]) AND i.state = 'sending'
"""


async def unsend(connection: Connection, lease: Lease, inputs: list[UUID]) -> None:
    """Sending → queued, for requests that are known not to have arrived; fenced.

    Messages that were to join a turn which others have begun belong to no turn again.
    """
    await connection.execute(_UNSEND, lease.deployed_agent_id, inputs)


# $1 agent, $2 inputs
_FLUSHED = """
UPDATE session_inputs
SET state = 'queued', sending_deadline = NULL, turn_id = NULL, flushes = flushes + 1
WHERE deployed_agent_id = $1 AND id = ANY($2::uuid[]) AND state IN ('sending', 'sent')
"""


async def requeue_flushed(connection: Connection, lease: Lease, inputs: list[UUID]) -> None:
    """Sent → queued, for inputs that the runtime threw away; fenced by the caller."""
    await connection.execute(_FLUSHED, lease.deployed_agent_id, inputs)


# $1 agent, $2 inputs
_REFUSE = """
UPDATE session_inputs SET state = 'refused', sending_deadline = NULL, ended_at = now()
WHERE deployed_agent_id = $1 AND id = ANY($2::uuid[]) AND state IN ('queued', 'sending', 'sent')
"""


async def refuse(connection: Connection, lease: Lease, inputs: list[UUID]) -> None:
    """Ends inputs that will get no answer; the caller says so in the thread; fenced."""
    await connection.execute(_REFUSE, lease.deployed_agent_id, inputs)


# $1 agent, $2 inputs, $3 turn
_USE = """
UPDATE session_inputs SET state = 'done', turn_id = $3, sending_deadline = NULL, ended_at = now()
WHERE deployed_agent_id = $1 AND id = ANY($2::uuid[]) AND state IN ('queued', 'sending')
"""


async def use(connection: Connection, lease: Lease, inputs: list[UUID], turn_id: UUID) -> None:
    """Ends inputs that were taken as the answer to a question of the turn; fenced by the caller."""
    await connection.execute(_USE, lease.deployed_agent_id, inputs, turn_id)


# $1 agent, $2 input
_REQUEUE_REFUSED = """
UPDATE session_inputs SET state = 'queued', sending_deadline = NULL, flushes = flushes + 1
WHERE deployed_agent_id = $1 AND id = $2 AND state = 'sending'
"""


async def requeue_refused(connection: Connection, lease: Lease, input_id: UUID) -> None:
    """Sending → queued for a decision that the runtime did not take yet; counted. Fenced."""
    await connection.execute(_REQUEUE_REFUSED, lease.deployed_agent_id, input_id)

"""What is cleared once it is over and old: texts, in small batches; and what is kept for ever.

Every table, whether it grows without end, and what holds it:

table                grows with   held by
workspaces …, routes what is set  nothing: rows are few and all of them wanted (also members, agents,
                     up           installs)
slack_threads        threads      kept for ever: one session per thread is a promise without an end
agent_sessions       threads      kept for ever, with the title
agent_turns          turns        kept for ever: numbers, times and keywords, no readable text
session_inputs       messages     kept for ever, for their keys; `clear_inputs` takes the body
input_files          files        `drop_input_files`, once their input is over and old
session_outputs      outputs      kept for ever, for their keys: ids, no readable text
output_looks         sessions     one row each at the most; gone when nothing is expected there
slack_outbox         replies      kept for ever, for their keys; `clear_deliveries` takes the body
agent_compute_usage  turns        kept for ever: it is the record of what was used
usage_logs           tool calls   kept for ever: as the one above, no readable text
slack_previews       streams      `drop_previews`, once their turn is over
slack_unclaimed      early events threads.expire_unclaimed, after 5 minutes or 25 hours;
                                  `drop_unclaimed` takes what that could not get at
slack_budgets        channels     `drop_budgets`: a time that has passed says no more than no row
runtime_budgets      keys         nothing: two rows for each key of the runtime
api_keys             what is set  nothing: they are few, and a revoked one is still to be seen
                     up
idempotency_keys     requests     idempotency.cleanup, after a day
schema_migrations    releases     nothing

A body that was cleared is null. Only open inputs are sent and only open deliveries go out, so nobody
misses it, but for the edit of a message so old: there is no text left to compare it with, and it goes
in as a correction. It may be one, and then the person waits for an answer.

A batch takes the rows of one agent that nobody else has locked, and so never waits. It finds them
by the indexes `…_kept`, which hold only what is still to be cleared.
"""

from datetime import timedelta
from uuid import UUID

from store.database import Connection

# $1 a random starting place
_OWNERS = """
SELECT id FROM (SELECT id FROM deployed_agents UNION SELECT id FROM oauth_installs) AS o
ORDER BY (id < $1), id
"""


async def owners(connection: Connection, start: UUID) -> list[UUID]:
    """Under whose ids rows are kept: agents, and installs for what was said to strangers."""
    return [row["id"] for row in await connection.fetch(_OWNERS, start)]


# The rows are named by an array, whose length PostgreSQL takes to be small: a join would be planned
# for a third of the table.

# $1 agent, $2 age, $3 how many at the most
_CLEAR_INPUTS = """
UPDATE session_inputs SET body = NULL
WHERE deployed_agent_id = $1 AND id = ANY(ARRAY(
    SELECT id FROM session_inputs
    WHERE deployed_agent_id = $1 AND ended_at < now() - $2::interval AND body IS NOT NULL
    ORDER BY ended_at LIMIT $3
    FOR NO KEY UPDATE SKIP LOCKED))
"""


async def clear_inputs(connection: Connection, agent_id: UUID, age: timedelta, limit: int) -> int:
    """Takes text and files from an agent's inputs that ended so long ago, oldest first; how many."""
    return _count(await connection.execute(_CLEAR_INPUTS, agent_id, age, limit))


# $1 agent, $2 age, $3 how many at the most
_DROP_INPUT_FILES = """
DELETE FROM input_files
WHERE deployed_agent_id = $1 AND ctid = ANY(ARRAY(
    SELECT f.ctid FROM input_files f
    JOIN session_inputs i ON i.deployed_agent_id = f.deployed_agent_id AND i.id = f.input_id
    WHERE f.deployed_agent_id = $1 AND f.created_at < now() - $2::interval
      AND i.ended_at < now() - $2::interval
    ORDER BY f.created_at LIMIT $3
    FOR UPDATE OF f SKIP LOCKED))
"""


async def drop_input_files(
    connection: Connection, agent_id: UUID, age: timedelta, limit: int
) -> int:
    """Forgets the files of inputs that ended so long ago, names and texts included; how many."""
    return _count(await connection.execute(_DROP_INPUT_FILES, agent_id, age, limit))


# $1 agent, $2 age, $3 how many at the most
_CLEAR_DELIVERIES = """
UPDATE slack_outbox SET body = NULL
WHERE deployed_agent_id = $1 AND delivery_id = ANY(ARRAY(
    SELECT delivery_id FROM slack_outbox
    WHERE deployed_agent_id = $1 AND ended_at < now() - $2::interval AND body IS NOT NULL
    ORDER BY ended_at LIMIT $3
    FOR NO KEY UPDATE SKIP LOCKED))
"""


async def clear_deliveries(
    connection: Connection, agent_id: UUID, age: timedelta, limit: int
) -> int:
    """Takes what was said from deliveries that were sent or buried so long ago; how many."""
    return _count(await connection.execute(_CLEAR_DELIVERIES, agent_id, age, limit))


# $1 agent, $2 age, $3 how many at the most
_DROP_PREVIEWS = """
DELETE FROM slack_previews
WHERE deployed_agent_id = $1 AND turn_id = ANY(ARRAY(
    SELECT p.turn_id FROM slack_previews p
    WHERE p.deployed_agent_id = $1 AND p.started_at < now() - $2::interval
      AND NOT EXISTS (SELECT FROM agent_turns t WHERE t.deployed_agent_id = $1
                      AND t.session_id = p.session_id AND t.id = p.turn_id AND t.ended_at IS NULL)
    ORDER BY p.started_at LIMIT $3
    FOR UPDATE SKIP LOCKED))
"""


async def drop_previews(connection: Connection, agent_id: UUID, age: timedelta, limit: int) -> int:
    """Forgets where previews stood that began so long ago and whose turn is over; how many.

    A turn's parts go together, so they may be a few more than `limit`.
    """
    return _count(await connection.execute(_DROP_PREVIEWS, agent_id, age, limit))


# $1 age, $2 how many at the most
_DROP_UNCLAIMED = """
DELETE FROM slack_unclaimed u
USING (
    SELECT slack_conversation_key, dedupe_key FROM slack_unclaimed
    WHERE created_at < now() - $1::interval ORDER BY created_at LIMIT $2
) AS o
WHERE u.slack_conversation_key = o.slack_conversation_key AND u.dedupe_key = o.dedupe_key
"""


async def drop_unclaimed(connection: Connection, age: timedelta, limit: int) -> int:
    """Forgets events kept for so long, which every accept has failed to take in; how many."""
    return _count(await connection.execute(_DROP_UNCLAIMED, age, limit))


# $1 age, $2 how many at the most
_DROP_BUDGETS = """
DELETE FROM slack_budgets WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM slack_budgets WHERE spent_until < now() - $1::interval LIMIT $2
    FOR UPDATE SKIP LOCKED))
"""


async def drop_budgets(connection: Connection, age: timedelta, limit: int) -> int:
    """Forgets permits spent so long ago: all of them are to be had, as without a row; how many.

    Reads the table whole. It has a row per method and channel used since, and an index on the time
    would make each permit dearer.
    """
    return _count(await connection.execute(_DROP_BUDGETS, age, limit))


def _count(done: str) -> int:
    return int(done.rpartition(" ")[2])

"""What agents wrote to their outputs: when to look, and what was seen already.

none ──a turn ends that may have written──▶ due, 3 left ──look──▶ due, 2 left ──look──▶ owed, 1 left
 ▲                                              ▲                                         │
 └────────────────────look────────── due, 1 left ◀────────the next turn ends, whatever it did

A look that is due is claimed by putting it off: whoever dies over it leaves it to the next. It moves
on by compare-and-set of the time that its claim gave it, under the session's lock; the end of another
turn sets that time anew, and so takes it from a look that was under way.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from store.database import Connection
from store.leases import Lease, Ready
from store.outbox import Place
from store.sweeps import by_agent

Fate = Literal["offered", "too_large", "too_many", "empty"]
LOOKS = 3  # after a turn that may have written: two soon, and one behind the turn after it


@dataclass(frozen=True, slots=True)
class Look:
    """A claimed look at a session's outputs; `turn_id` is the last turn that ended there."""

    deployed_agent_id: UUID
    workspace_id: UUID
    session_id: UUID
    turn_id: UUID
    runtime_session: str
    looks_left: int
    due_at: datetime
    failures: int

    @property
    def of(self) -> Ready:
        """The session."""
        return Ready(self.deployed_agent_id, self.session_id)


# $1 agent, $2 session, $3 turn, $4 looks, $5 how long from now
_PLAN = """
INSERT INTO output_looks AS l (deployed_agent_id, workspace_id, session_id, turn_id, runtime_session,
    looks_left, due_at, asked_at)
SELECT s.deployed_agent_id, s.workspace_id, s.id, $3, s.anthropic_session_id, $4::smallint,
       now() + $5::interval, now()
FROM agent_sessions s
WHERE s.deployed_agent_id = $1 AND s.id = $2 AND s.anthropic_session_id IS NOT NULL
  AND s.slack_install_id IS NOT NULL
ON CONFLICT (deployed_agent_id, session_id) DO UPDATE
SET turn_id = excluded.turn_id, runtime_session = excluded.runtime_session,
    looks_left = GREATEST(l.looks_left, excluded.looks_left), due_at = excluded.due_at, failures = 0,
    asked_at = excluded.asked_at
"""


async def plan(
    connection: Connection, lease: Lease, turn_id: UUID, wait: timedelta, *, looks: int
) -> None:
    """The next look is due in a while, and that many at the least are left; fenced by the caller.

    Nothing for a session that does not speak in Slack.
    """
    await connection.execute(_PLAN, lease.deployed_agent_id, lease.session_id, turn_id, looks, wait)


# $1 how many at the most
_DUE = """
SELECT deployed_agent_id, session_id FROM output_looks
WHERE due_at <= now() ORDER BY due_at LIMIT $1
"""
# $1 agent, $2 sessions, $3 when they come again if nobody has looked by then. While a turn is under
# way its own end will ask; should that end not come to it, ever longer waits do.
_CLAIM = """
UPDATE output_looks l
SET due_at = CASE WHEN w.busy THEN w.later ELSE w.back END
FROM (
    SELECT k.session_id, now() + $3::interval AS back,
        now() + LEAST(GREATEST(now() - k.asked_at, interval '1 second'), interval '10 minutes')
            AS later,
        EXISTS (SELECT FROM agent_turns t WHERE t.deployed_agent_id = $1
                AND t.session_id = k.session_id AND t.ended_at IS NULL) AS busy
    FROM output_looks k
    WHERE k.deployed_agent_id = $1 AND k.session_id = ANY($2::uuid[]) AND k.due_at <= now()
    FOR NO KEY UPDATE OF k SKIP LOCKED
) AS w
WHERE l.deployed_agent_id = $1 AND l.session_id = w.session_id
RETURNING l.deployed_agent_id, l.workspace_id, l.session_id, l.turn_id, l.runtime_session,
    l.looks_left, l.due_at, l.failures, w.busy
"""


async def claim(connection: Connection, limit: int, put_off: timedelta) -> list[Look]:
    """Looks to make now; nobody else is given them for a while. None at a session in a turn."""
    claimed: list[Look] = []
    for agent_id, rows in by_agent(await connection.fetch(_DUE, limit)):
        ids = [row["session_id"] for row in rows]
        for row in await connection.fetch(_CLAIM, agent_id, ids, put_off):
            values = dict(row)
            if not values.pop("busy"):
                claimed.append(Look(**values))
    return claimed


# ------------------------------------------------------------------ how a look ends

# $1 agent, $2 session, $3 when it was due, $4 how long until the second
_MOVE_ON = """
UPDATE output_looks
SET looks_left = looks_left - 1, failures = 0, due_at = CASE WHEN looks_left > 2 THEN next.at END
FROM (SELECT now() + $4::interval AS at) AS next
WHERE deployed_agent_id = $1 AND session_id = $2 AND due_at = $3 AND looks_left > 1
"""
# $1 agent, $2 session, $3 when it was due
_END = """
DELETE FROM output_looks WHERE deployed_agent_id = $1 AND session_id = $2 AND due_at = $3
"""


async def move_on(connection: Connection, look: Look, second: timedelta) -> bool:
    """The look was made; False where it is ours no more, and nothing may come of it."""
    if look.looks_left == 1:
        return await end(connection, look)
    done = await connection.execute(
        _MOVE_ON, look.deployed_agent_id, look.session_id, look.due_at, second
    )
    return done == "UPDATE 1"


async def end(connection: Connection, look: Look) -> bool:
    """Nothing is expected there any more; False where the look is ours no more."""
    done = await connection.execute(_END, look.deployed_agent_id, look.session_id, look.due_at)
    return done == "DELETE 1"


# $1 agent, $2 session, $3 when it was due, $4 how long from now; null: behind the next turn
_PUT_OFF = """
UPDATE output_looks
SET due_at = now() + $4::interval, failures = CASE WHEN $4 IS NULL THEN 0 ELSE failures + 1 END
WHERE deployed_agent_id = $1 AND session_id = $2 AND due_at = $3
"""


async def put_off(connection: Connection, look: Look, wait: timedelta | None) -> None:
    """The look could not be made: again after `wait`, or, None, behind the next turn."""
    await connection.execute(_PUT_OFF, look.deployed_agent_id, look.session_id, look.due_at, wait)


# ------------------------------------------------------------------ what a look finds

# $1 agent, $2 session
_LOCK = """
SELECT s.deployed_agent_id, s.workspace_id, s.id AS session_id, s.slack_install_id AS install_id,
    s.slack_conversation_key, s.slack_channel_id AS channel_id, s.slack_thread_ts AS thread_ts
FROM agent_sessions s
WHERE s.deployed_agent_id = $1 AND s.id = $2 AND s.slack_install_id IS NOT NULL
FOR NO KEY UPDATE
"""
# $1 agent, $2 session
_BUSY = """
SELECT EXISTS (SELECT FROM agent_turns
               WHERE deployed_agent_id = $1 AND session_id = $2 AND ended_at IS NULL)
"""


async def lock(connection: Connection, look: Look) -> Place | None:
    """Where the session speaks, locked; None where it does not, or a turn of it is under way."""
    row = await connection.fetchrow(_LOCK, look.deployed_agent_id, look.session_id)
    if row is None or await connection.fetchval(_BUSY, look.deployed_agent_id, look.session_id):
        return None
    return Place(**row)


# $1 agent, $2 session, $3 runtime files, $4 turn
_KNOWN = """
SELECT COALESCE(array_agg(runtime_file_id) FILTER (WHERE runtime_file_id = ANY($3::text[])), '{}')
           AS ids,
       count(*) FILTER (WHERE turn_id = $4 AND fate = 'offered') AS offered
FROM session_outputs WHERE deployed_agent_id = $1 AND session_id = $2
"""


@dataclass(frozen=True, slots=True)
class Known:
    """Which files were seen before, and how many of the turn's were offered."""

    ids: frozenset[str]
    offered: int


async def known(connection: Connection, look: Look, ids: Iterable[str]) -> Known:
    """What is known of these files and of the turn, true until the lock is given up."""
    row = await connection.fetchrow(
        _KNOWN, look.deployed_agent_id, look.session_id, list(ids), look.turn_id
    )
    assert row is not None  # noqa: S101  # a count is always a row
    return Known(frozenset(row["ids"]), row["offered"])


# $1 agent, $2 workspace, $3 session, $4 turn, side by side: $5 runtime files, $6 fates
_ADD = """
INSERT INTO session_outputs (deployed_agent_id, workspace_id, session_id, turn_id, runtime_file_id,
    fate)
SELECT $1, $2, $3, $4, f.id, f.fate FROM unnest($5::text[], $6::text[]) AS f (id, fate)
"""


async def add(connection: Connection, look: Look, fates: dict[str, Fate]) -> None:
    """Notes what became of files that were not known."""
    await connection.execute(
        _ADD,
        look.deployed_agent_id,
        look.workspace_id,
        look.session_id,
        look.turn_id,
        list(fates),
        list(fates.values()),
    )

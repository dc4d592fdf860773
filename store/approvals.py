"""Approvals: one row for each call that the runtime holds until somebody decides.

pending → allowed | denied → confirmed | void; pending → closed (decided elsewhere, or the turn is
over) | expired; expired and void → pending, on a new card. Every function that moves a row is called
with the session's row locked: by the fence of its holder, or by `calls.wake`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from store.database import Connection
from store.leases import Held, Lease

Verdict = Literal["allow", "deny"]


@dataclass(frozen=True, slots=True)
class NewApproval:
    """A held call as it is asked for. `verdict`: decided at once, by `decided_by`."""

    id: UUID
    turn_id: UUID
    runtime_event_id: str
    tool: str
    server: str | None
    arguments: dict[str, Any]
    arguments_hash: bytes
    policy: dict[str, Any]
    requesters: list[str]
    remind: timedelta | None = None
    expire: timedelta | None = None
    verdict: Verdict | None = None
    decided_by: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Approval:
    """A held call. `arguments` are as shown, their secrets taken out; the hash is of the whole.

    `revision` grows with everything that is written on its cards; `card_no` counts the cards.
    """

    id: UUID
    deployed_agent_id: UUID
    workspace_id: UUID
    session_id: UUID
    turn_id: UUID
    runtime_event_id: str
    card_no: int
    revision: int
    tool: str
    server: str | None
    arguments: dict[str, Any]
    arguments_hash: bytes
    policy: dict[str, Any]
    requesters: list[str]
    state: str
    verdict: str | None
    decided_by: dict[str, Any] | None
    decided_at: datetime | None
    reason: str | None
    asked_at: datetime
    remind_at: datetime | None
    expires_at: datetime | None

    @property
    def name(self) -> str:
        """The tool as people know it: with its server, where it has one."""
        return f"{self.server}.{self.tool}" if self.server else self.tool


# $1 id, $2 agent, $3 workspace, $4 session, $5 turn, $6 event, $7 tool, $8 server, $9 arguments,
# $10 their hash, $11 policy, $12 requesters, $13 remind after, $14 expire after, $15 verdict, $16 by
_ADD = """
INSERT INTO agent_approvals (id, deployed_agent_id, workspace_id, session_id, turn_id,
    runtime_event_id, tool, server, arguments, arguments_hash, policy, requesters, remind_at,
    expires_at, state, verdict, decided_by, decided_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, now() + $13::interval,
    now() + $14::interval, CASE $15::text WHEN 'allow' THEN 'allowed' WHEN 'deny' THEN 'denied'
    ELSE 'pending' END, $15, $16, CASE WHEN $15::text IS NOT NULL THEN now() END)
ON CONFLICT DO NOTHING
"""


async def add(connection: Connection, held: Held, new: NewApproval) -> bool:
    """Writes a held call down; False if it is known. Fenced by the caller."""
    done = await connection.execute(
        _ADD,
        new.id,
        held.deployed_agent_id,
        held.workspace_id,
        held.id,
        new.turn_id,
        new.runtime_event_id,
        new.tool,
        new.server,
        new.arguments,
        new.arguments_hash,
        new.policy,
        new.requesters,
        None if new.verdict else new.remind,
        None if new.verdict else new.expire,
        new.verdict,
        new.decided_by,
    )
    return done == "INSERT 0 1"


# $1 agent, $2 approval
_GET = """
SELECT id, deployed_agent_id, workspace_id, session_id, turn_id, runtime_event_id, card_no,
    revision, tool, server, arguments, arguments_hash, policy, requesters, state, verdict,
    decided_by, decided_at, reason, asked_at, remind_at, expires_at
FROM agent_approvals WHERE deployed_agent_id = $1 AND id = $2
"""


async def get(connection: Connection, agent_id: UUID, approval_id: UUID) -> Approval | None:
    """The approval of that id, if the agent has it."""
    row = await connection.fetchrow(_GET, agent_id, approval_id)
    return Approval(**row) if row else None


# $1 agent, $2 turn
_OF_TURN = """
SELECT id, deployed_agent_id, workspace_id, session_id, turn_id, runtime_event_id, card_no,
    revision, tool, server, arguments, arguments_hash, policy, requesters, state, verdict,
    decided_by, decided_at, reason, asked_at, remind_at, expires_at
FROM agent_approvals WHERE deployed_agent_id = $1 AND turn_id = $2 ORDER BY id
"""


async def of_turn(connection: Connection, agent_id: UUID, turn_id: UUID) -> list[Approval]:
    """All that a turn asked for, in the order of the asking."""
    return [Approval(**row) for row in await connection.fetch(_OF_TURN, agent_id, turn_id)]


# ------------------------------------------------------------------ deciding

# $1 agent, $2 approval, $3 card, $4 person, $5 voter
_VOTE = """
WITH mine AS (
    INSERT INTO approval_votes (deployed_agent_id, approval_id, card_no, person, voter)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT DO NOTHING RETURNING voter
)
SELECT voter, false AS mine FROM approval_votes
WHERE deployed_agent_id = $1 AND approval_id = $2 AND card_no = $3
UNION ALL SELECT voter, true FROM mine
"""


@dataclass(frozen=True, slots=True)
class Votes:
    """Who is for it, oldest first; `counted`: the vote that was cast is one more."""

    voters: list[dict[str, Any]]
    counted: bool


async def vote(
    connection: Connection, approval: Approval, person: str, voter: dict[str, Any]
) -> Votes:
    """Casts a vote for it, once per person and card."""
    rows = await connection.fetch(
        _VOTE, approval.deployed_agent_id, approval.id, approval.card_no, person, voter
    )
    return Votes([row["voter"] for row in rows], any(row["mine"] for row in rows))


# $1 agent, $2 approval, $3 card
_VOTERS = """
SELECT voter FROM approval_votes
WHERE deployed_agent_id = $1 AND approval_id = $2 AND card_no = $3 ORDER BY at, person
"""


async def voters(connection: Connection, approval: Approval) -> list[dict[str, Any]]:
    """Who is for it so far, oldest first."""
    rows = await connection.fetch(
        _VOTERS, approval.deployed_agent_id, approval.id, approval.card_no
    )
    return [row["voter"] for row in rows]


# $1 agent, $2 approval, $3 card, $4 verdict, $5 by, $6 reason, $7 an expired one too
_DECIDE = """
UPDATE agent_approvals
SET state = CASE $4::text WHEN 'allow' THEN 'allowed' ELSE 'denied' END, verdict = $4,
    decided_by = $5, decided_at = now(), reason = $6, revision = revision + 1, remind_at = NULL,
    expires_at = NULL
WHERE deployed_agent_id = $1 AND id = $2 AND card_no = $3
  AND (state = 'pending' OR $7 AND state = 'expired')
RETURNING revision
"""


async def decide(  # what a decision is made of
    connection: Connection,
    approval: Approval,
    verdict: Verdict,
    by: dict[str, Any],
    reason: str | None,
    *,
    expired: bool = False,
) -> int | None:
    """Pending → allowed | denied: the first decision wins. The new revision; None if it lost."""
    revision: int | None = await connection.fetchval(
        _DECIDE,
        approval.deployed_agent_id,
        approval.id,
        approval.card_no,
        verdict,
        by,
        reason,
        expired,
    )
    return revision


# $1 agent, $2 approval
_REVISE = """
UPDATE agent_approvals SET revision = revision + 1
WHERE deployed_agent_id = $1 AND id = $2
RETURNING id, deployed_agent_id, workspace_id, session_id, turn_id, runtime_event_id, card_no,
    revision, tool, server, arguments, arguments_hash, policy, requesters, state, verdict,
    decided_by, decided_at, reason, asked_at, remind_at, expires_at
"""


async def revise(connection: Connection, approval: Approval) -> Approval:
    """Notes that its card is to be written anew."""
    row = await connection.fetchrow(_REVISE, approval.deployed_agent_id, approval.id)
    assert row is not None  # noqa: S101  # approvals are never deleted
    return Approval(**row)


# $1 agent, $2 approval, $3 session, $4 tool, $5 server, $6 arguments' hash or nothing, $7 by
_GRANT = """
INSERT INTO approval_grants (deployed_agent_id, approval_id, session_id, tool, server,
    arguments_hash, granted_by)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT DO NOTHING
"""


async def grant(
    connection: Connection, approval: Approval, by: dict[str, Any], *, any_arguments: bool
) -> None:
    """Lets later calls of the tool pass in this session; without it only with equal arguments."""
    await connection.execute(
        _GRANT,
        approval.deployed_agent_id,
        approval.id,
        approval.session_id,
        approval.tool,
        approval.server or "",
        b"" if any_arguments else approval.arguments_hash,
        by,
    )


@dataclass(frozen=True, slots=True)
class Grant:
    """What a session may do without asking; an empty hash stands for any arguments."""

    tool: str
    server: str
    arguments_hash: bytes
    granted_by: dict[str, Any]

    def covers(self, tool: str, server: str | None, arguments_hash: bytes) -> bool:
        """True for a call that needs no other approval."""
        same_tool = (self.tool, self.server) == (tool, server or "")
        return same_tool and self.arguments_hash in (b"", arguments_hash)


# $1 agent, $2 session
_GRANTS = """
SELECT tool, server, arguments_hash, granted_by FROM approval_grants
WHERE deployed_agent_id = $1 AND session_id = $2
"""


async def grants(connection: Connection, lease: Lease) -> list[Grant]:
    """What was approved for the whole session."""
    rows = await connection.fetch(_GRANTS, lease.deployed_agent_id, lease.session_id)
    return [Grant(**row) for row in rows]


# ------------------------------------------------------------------ what becomes of a decision

# $1 agent, $2 approvals, $3 state
_DELIVERED = """
UPDATE agent_approvals SET state = $3, revision = revision + 1
WHERE deployed_agent_id = $1 AND id = ANY($2::uuid[]) AND state IN ('allowed', 'denied')
RETURNING id, deployed_agent_id, workspace_id, session_id, turn_id, runtime_event_id, card_no,
    revision, tool, server, arguments, arguments_hash, policy, requesters, state, verdict,
    decided_by, decided_at, reason, asked_at, remind_at, expires_at
"""


async def delivered(
    connection: Connection, lease: Lease, ids: list[UUID], state: Literal["confirmed", "void"]
) -> list[Approval]:
    """Allowed | denied → confirmed, or void where the runtime took no decision any more. Fenced."""
    rows = await connection.fetch(_DELIVERED, lease.deployed_agent_id, ids, state)
    return [Approval(**row) for row in rows]


# $1 agent, $2 turn, $3 events, $4 by, $5 reason
_CLOSE = """
UPDATE agent_approvals
SET state = CASE WHEN state IN ('pending', 'expired') THEN 'closed' ELSE 'void' END,
    decided_by = COALESCE(decided_by, $4), decided_at = LEAST(decided_at, now()),
    reason = COALESCE(reason, $5), revision = revision + 1, remind_at = NULL, expires_at = NULL
WHERE deployed_agent_id = $1 AND turn_id = $2
  AND state IN ('pending', 'expired', 'allowed', 'denied')
  AND ($3::text[] IS NULL OR runtime_event_id = ANY($3::text[]))
RETURNING id, deployed_agent_id, workspace_id, session_id, turn_id, runtime_event_id, card_no,
    revision, tool, server, arguments, arguments_hash, policy, requesters, state, verdict,
    decided_by, decided_at, reason, asked_at, remind_at, expires_at
"""


async def close(
    connection: Connection,
    lease: Lease,
    turn_id: UUID,
    events: list[str] | None,
    by: dict[str, Any],
    reason: str,
) -> list[Approval]:
    """Ends what is open of a turn, all of it or some events: nobody waits for it any more. Fenced."""
    rows = await connection.fetch(_CLOSE, lease.deployed_agent_id, turn_id, events, by, reason)
    return [Approval(**row) for row in rows]


# $1 agent, $2 approval, $3 arguments, $4 their hash, $5 remind after, $6 expire after
_ASK_AGAIN = """
UPDATE agent_approvals
SET state = 'pending', verdict = NULL, decided_by = NULL, decided_at = NULL, reason = NULL,
    card_no = card_no + 1, revision = revision + 1, arguments = $3, arguments_hash = $4,
    asked_at = now(), remind_at = now() + $5::interval, expires_at = now() + $6::interval
WHERE deployed_agent_id = $1 AND id = $2 AND state IN ('expired', 'void', 'allowed', 'denied')
RETURNING id, deployed_agent_id, workspace_id, session_id, turn_id, runtime_event_id, card_no,
    revision, tool, server, arguments, arguments_hash, policy, requesters, state, verdict,
    decided_by, decided_at, reason, asked_at, remind_at, expires_at
"""


async def ask_again(  # what a call is asked with
    connection: Connection,
    approval: Approval,
    arguments: dict[str, Any],
    arguments_hash: bytes,
    remind: timedelta | None,
    expire: timedelta | None,
) -> Approval | None:
    """Expired | void → pending on a new card; so does a decision on other arguments than are held."""
    row = await connection.fetchrow(
        _ASK_AGAIN,
        approval.deployed_agent_id,
        approval.id,
        arguments,
        arguments_hash,
        remind,
        expire,
    )
    return Approval(**row) if row else None


# ------------------------------------------------------------------ time

# $1 how many at the most
_DUE = """
SELECT id, deployed_agent_id, workspace_id, session_id, turn_id, runtime_event_id, card_no,
    revision, tool, server, arguments, arguments_hash, policy, requesters, state, verdict,
    decided_by, decided_at, reason, asked_at, remind_at, expires_at
FROM agent_approvals
WHERE (remind_at IS NOT NULL OR expires_at IS NOT NULL) AND LEAST(remind_at, expires_at) <= now()
ORDER BY LEAST(remind_at, expires_at) LIMIT $1
"""


async def due(connection: Connection, limit: int) -> list[Approval]:
    """Those whose reminder or end has come."""
    return [Approval(**row) for row in await connection.fetch(_DUE, limit)]


# $1 agent, $2 approval, $3 card
_EXPIRE = """
UPDATE agent_approvals
SET state = 'expired', remind_at = NULL, expires_at = NULL, revision = revision + 1
WHERE deployed_agent_id = $1 AND id = $2 AND card_no = $3 AND state = 'pending'
  AND expires_at <= now()
RETURNING revision
"""


async def expire(connection: Connection, approval: Approval) -> int | None:
    """Pending → expired once its time is over; the new revision, None if it is not so (any more)."""
    revision: int | None = await connection.fetchval(
        _EXPIRE, approval.deployed_agent_id, approval.id, approval.card_no
    )
    return revision


# $1 agent, $2 approval, $3 card
_REMINDED = """
UPDATE agent_approvals SET remind_at = NULL
WHERE deployed_agent_id = $1 AND id = $2 AND card_no = $3 AND state = 'pending'
  AND remind_at <= now()
"""


async def reminded(connection: Connection, approval: Approval) -> bool:
    """Notes that the reminder is being sent; False if it was, or nothing waits any more."""
    done = await connection.execute(
        _REMINDED, approval.deployed_agent_id, approval.id, approval.card_no
    )
    return done == "UPDATE 1"

"""The audit of what people were asked, and of what an agent did in Slack by its own calls.

Every step, who took it, from where, on which arguments.
"""

from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from store.database import Connection
from store.ids import new_id

Origin = Literal["slack", "rest", "dashboard", "runtime", "threadline"]


@dataclass(frozen=True, slots=True)
class Subject:
    """What an entry is about: an approval, an escalation or a tool's call, as it was then."""

    deployed_agent_id: UUID
    workspace_id: UUID
    session_id: UUID
    kind: Literal["approval", "escalation", "tool"]
    id: UUID
    card_no: int
    arguments_hash: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One step. `actor` is None for what came about by itself."""

    action: str
    origin: Origin
    actor: dict[str, Any] | None = None
    detail: str = ""


# $1 id, $2 agent, $3 workspace, $4 session, $5 subject, $6 its id, $7 card, $8 action, $9 origin,
# $10 actor, $11 arguments' hash, $12 detail
_ADD = """
INSERT INTO audit_entries (id, deployed_agent_id, workspace_id, session_id, subject, subject_id,
    card_no, action, origin, actor, arguments_hash, detail)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
"""


async def add(connection: Connection, subject: Subject, entry: Entry) -> None:
    """Writes a step down, in the transaction that it is about."""
    await connection.execute(
        _ADD,
        new_id(),
        subject.deployed_agent_id,
        subject.workspace_id,
        subject.session_id,
        subject.kind,
        subject.id,
        subject.card_no,
        entry.action,
        entry.origin,
        entry.actor,
        subject.arguments_hash,
        entry.detail,
    )

"""Two tenants that have a row of every kind, and what the tests ask of their tables."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from store import idempotency, keys, members
from store.database import Connection, Record
from store.ids import new_id
from store.keys import NewKey
from tests.store import factories
from tests.store.factories import Ground, insert

# What belongs to no tenant.
NOBODYS = {"runtime_budgets", "schema_migrations"}
_NOW = datetime(2026, 1, 1, tzinfo=UTC)

_TABLES = """
SELECT c.relname AS name, c.relrowsecurity AND c.relforcerowsecurity AS walled,
       ARRAY(SELECT polname FROM pg_policy p WHERE p.polrelid = c.oid ORDER BY polname) AS policies
FROM pg_class c WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
ORDER BY c.relname
"""


async def tables(db: Connection) -> list[Record]:
    """Every table that there is, but for nobody's."""
    return [row for row in await db.fetch(_TABLES) if row["name"] not in NOBODYS]


async def furnished(db: Connection) -> Ground:
    """A tenant with a row in every table."""
    on = await factories.ground(db)
    session = await factories.session(db, on)
    turn = await factories.turn(db, session)
    below = {
        "deployed_agent_id": on.agent_id,
        "workspace_id": on.workspace_id,
        "session_id": session["id"],
    }
    await members.put_member(db, on.workspace_id, "person", "member")
    said = await factories.message(db, session)
    await factories.file(db, said)
    await factories.delivery(db, session)
    await factories.usage(db, turn)
    await factories.output(db, session, turn)
    await factories.look(db, session, turn)
    await _asked(db, below | {"turn_id": turn["id"]})
    await _in_slack(db, on, below | {"turn_id": turn["id"]}, session["slack_conversation_key"])
    await keys.make(db, NewKey(on.workspace_id, on.agent_id, "program", "member"))
    asked = idempotency.Asked(on.agent_id, on.workspace_id, "key:1", "POST /", "k", b"hash")
    await idempotency.begin(db, asked, factories.LEASE)
    return on


async def approval(db: Connection, below: dict[str, Any], **columns: Any) -> Record:
    """A pending approval of a session's turn."""
    values = below | {
        "id": new_id(),
        "runtime_event_id": f"event {new_id()}",
        "tool": "bash",
        "arguments": {},
        "arguments_hash": b"",
        "policy": {},
        "requesters": ["U1"],
    }
    return await insert(db, "agent_approvals", **values | columns)


async def escalation(db: Connection, below: dict[str, Any], **columns: Any) -> Record:
    """A pending question of a session's turn."""
    values = below | {
        "id": new_id(),
        "runtime_event_id": f"event {new_id()}",
        "question": "Which?",
        "arguments_hash": b"",
        "policy": {},
        "requesters": ["U1"],
    }
    return await insert(db, "agent_escalations", **values | columns)


async def _asked(db: Connection, below: dict[str, Any]) -> None:
    asked = await approval(db, below)
    await escalation(db, below)
    agent = {"deployed_agent_id": below["deployed_agent_id"], "approval_id": asked["id"]}
    await insert(db, "approval_votes", **agent, card_no=1, person="T1/U1", voter={})
    granted = {"session_id": below["session_id"], "tool": "bash", "granted_by": {}}
    await insert(db, "approval_grants", **agent, **granted)
    entry = {name: value for name, value in below.items() if name != "turn_id"} | {
        "id": new_id(),
        "subject": "approval",
        "subject_id": asked["id"],
        "action": "asked",
        "origin": "threadline",
        "arguments_hash": b"",
    }
    await insert(db, "audit_entries", **entry)
    called = {"id": new_id(), "runtime_event_id": f"event {new_id()}", "requesters": ["U1"]}
    served = {"tool": "slack_post_message", "provider": "slack", "status": "done", "latency_ms": 1}
    await insert(db, "usage_logs", **below, **called, **served)


async def _in_slack(db: Connection, on: Ground, below: dict[str, Any], key: str) -> None:
    of = {"deployed_agent_id": on.agent_id, "workspace_id": on.workspace_id}
    await insert(db, "slack_routes", **of, install_id=on.install_id, channel_id="C1")
    place = {"api_app_id": "A1", "channel_id": "C1", "root_ts": "1.0", "first_ts": 1}
    thread = of | place | {"slack_conversation_key": key, "session_id": below["session_id"]}
    await insert(db, "slack_threads", **thread)
    early = {"slack_conversation_key": f"early {key}", "dedupe_key": "1", "deleted": False}
    await insert(
        db, "slack_unclaimed", **early, install_id=on.install_id, revision=0, event={"ts": "1"}
    )
    await insert(
        db, "slack_budgets", install_id=on.install_id, method="chat.update", spent_until=_NOW
    )
    part = {"part": 0, "text_from": 0, "state": "starting", "started_at": _NOW}
    await insert(db, "slack_previews", **below, **part)


@asynccontextmanager
async def ordinary_owner(db: Connection) -> AsyncIterator[str]:
    """A role that no policy spares, the owner of every table until the end."""
    role = f"owner_{uuid4().hex}"
    await db.execute(f"CREATE ROLE {role} LOGIN NOSUPERUSER NOBYPASSRLS")
    await db.execute(f"GRANT CREATE, USAGE ON SCHEMA public TO {role}")
    for row in await db.fetch(_TABLES):
        await db.execute(f"ALTER TABLE {row['name']} OWNER TO {role}")
    try:
        yield role
    finally:
        await db.execute(f"REASSIGN OWNED BY {role} TO CURRENT_USER")
        await db.execute(f"DROP OWNED BY {role}")
        await db.execute(f"DROP ROLE {role}")

"""Real rows with defaults: each factory inserts what it names, and takes columns to differ in."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID

from store import leases
from store.database import Connection, Record
from store.ids import new_id
from store.inputs import NewInput
from store.leases import Held, Ready
from store.outbox import Place
from store.sessions import NewSession

LEASE = timedelta(seconds=15)
_number = count(1)


async def insert(db: Connection, table: str, **columns: Any) -> Record:
    """The row as the database made it."""
    names = ", ".join(columns)
    places = ", ".join(f"${n}" for n in range(1, len(columns) + 1))
    row = await db.fetchrow(
        f"INSERT INTO {table} ({names}) VALUES ({places}) RETURNING *", *columns.values()
    )
    assert row is not None
    return row


async def workspace(db: Connection) -> UUID:
    made = new_id()
    await insert(db, "workspaces", id=made, name=f"workspace {next(_number)}")
    return made


async def agent(db: Connection, workspace_id: UUID, **columns: Any) -> UUID:
    values = {
        "id": (made := new_id()),
        "workspace_id": workspace_id,
        "name": f"agent {next(_number)}",
        "anthropic_agent_id": "agent_1",
        "anthropic_environment_id": "env_1",
    }
    await insert(db, "deployed_agents", **values | columns)
    return made


async def install(
    db: Connection, workspace_id: UUID, default_agent_id: UUID | None, **columns: Any
) -> UUID:
    values = {
        "id": (made := new_id()),
        "workspace_id": workspace_id,
        "api_app_id": "A1",
        "tenant_id": f"T{next(_number)}",
        "bot_user_id": "UBOT",
        "bot_token": b"sealed",
        "default_agent_id": default_agent_id,
    }
    await insert(db, "oauth_installs", **values | columns)
    return made


@dataclass(frozen=True, slots=True)
class Ground:
    """A workspace with one agent, the default of one install."""

    workspace_id: UUID
    agent_id: UUID
    install_id: UUID

    def place(self, session_id: UUID | None, key: str = "thread") -> Place:
        return Place(
            self.agent_id, self.workspace_id, session_id, self.install_id, key, "C1", "1.000000"
        )

    def new_session(self, key: str, **changes: Any) -> NewSession:
        """What an accept asks for."""
        values: dict[str, Any] = {
            "id": new_id(),
            "deployed_agent_id": self.agent_id,
            "workspace_id": self.workspace_id,
            "title": "Hello",
            "created_by": "U1",
            "slack_install_id": self.install_id,
            "slack_team_id": "T1",
            "slack_channel_id": "C1",
            "slack_thread_ts": "1.000000",
            "slack_conversation_key": key,
        }
        return NewSession(**values | changes)

    def new_input(self, session_id: UUID, **changes: Any) -> NewInput:
        number = next(_number)
        values: dict[str, Any] = {
            "id": new_id(),
            "deployed_agent_id": self.agent_id,
            "workspace_id": self.workspace_id,
            "session_id": session_id,
            "kind": "message",
            "body": {"text": f"message {number}", "user": "U1"},
            "order_key": Decimal(number),
            "dedupe_key": f"message {number}",
        }
        return NewInput(**values | changes)


async def ground(db: Connection) -> Ground:
    workspace_id = await workspace(db)
    agent_id = await agent(db, workspace_id)
    return Ground(workspace_id, agent_id, await install(db, workspace_id, agent_id))


async def session(db: Connection, on: Ground, **columns: Any) -> Record:
    """A Slack session of a thread of its own, ready for a worker."""
    key = columns.get("slack_conversation_key", f"thread {next(_number)}")
    values = {
        "id": new_id(),
        "deployed_agent_id": on.agent_id,
        "workspace_id": on.workspace_id,
        "source": "slack",
        "title": "Hello",
        "slack_install_id": on.install_id,
        "slack_channel_id": "C1",
        "slack_thread_ts": "1.000000",
        "slack_conversation_key": key,
        "wake_seq": 1,
    }
    row = await insert(db, "agent_sessions", **values | columns)
    if "ready_at" in columns or row["status"] == "archived":
        return row
    return await _update(db, row, "ready_at = now()")


async def _update(db: Connection, row: Record, change: str) -> Record:
    changed = await db.fetchrow(
        f"UPDATE agent_sessions SET {change} WHERE id = $1 RETURNING *", row["id"]
    )
    assert changed is not None
    return changed


def ready(row: Record) -> Ready:
    return Ready(row["deployed_agent_id"], row["id"])


async def held(db: Connection, row: Record, owner: str = "holder") -> Held:
    """The session claimed."""
    found = await leases.claim(db, ready(row), owner, LEASE)
    assert found is not None
    return found


async def expire(db: Connection, row: Record) -> None:
    """Ends the session's lease as time would."""
    await _update(db, row, "lease_expires_at = now() - interval '1 second'")


async def turn(db: Connection, of: Record, **columns: Any) -> Record:
    values = {
        "id": new_id(),
        "deployed_agent_id": of["deployed_agent_id"],
        "workspace_id": of["workspace_id"],
        "session_id": of["id"],
        "number": next(_number),
    }
    return await insert(db, "agent_turns", **values | columns)


async def message(db: Connection, of: Record, **columns: Any) -> Record:
    """A queued input."""
    number = next(_number)
    values = {
        "id": new_id(),
        "deployed_agent_id": of["deployed_agent_id"],
        "workspace_id": of["workspace_id"],
        "session_id": of["id"],
        "kind": "message",
        "body": {"text": f"message {number}", "user": "U1"},
        "order_key": Decimal(number),
        "dedupe_key": f"message {number}",
    }
    return await insert(db, "session_inputs", **values | columns)


async def file(db: Connection, of: Record, **columns: Any) -> Record:
    """A pending file of an input."""
    number = next(_number)
    values = {
        "deployed_agent_id": of["deployed_agent_id"],
        "workspace_id": of["workspace_id"],
        "session_id": of["session_id"],
        "input_id": of["id"],
        "slack_file_id": f"F{number}",
        "position": number,
        "name": f"file {number}",
    }
    return await insert(db, "input_files", **values | columns)


async def output(db: Connection, of: Record, turn: Record, **columns: Any) -> Record:
    """A file that an agent made, and that was offered."""
    values = {
        "deployed_agent_id": of["deployed_agent_id"],
        "workspace_id": of["workspace_id"],
        "session_id": of["id"],
        "runtime_file_id": f"file_{next(_number)}",
        "turn_id": turn["id"],
        "fate": "offered",
    }
    return await insert(db, "session_outputs", **values | columns)


async def look(db: Connection, of: Record, turn: Record, **columns: Any) -> Record:
    """A look at a session's outputs that is due."""
    values = {
        "deployed_agent_id": of["deployed_agent_id"],
        "workspace_id": of["workspace_id"],
        "session_id": of["id"],
        "turn_id": turn["id"],
        "runtime_session": "sesn_1",
        "looks_left": 3,
        "due_at": datetime(2026, 1, 1, tzinfo=UTC),
    }
    return await insert(db, "output_looks", **values | columns)


async def tool_call(db: Connection, of: Record, turn: Record, **columns: Any) -> Record:
    """A call of a tool of ours that has its answer."""
    values = {
        "id": new_id(),
        "deployed_agent_id": of["deployed_agent_id"],
        "workspace_id": of["workspace_id"],
        "session_id": of["id"],
        "turn_id": turn["id"],
        "runtime_event_id": f"sevt_{next(_number)}",
        "tool": "slack_post_message",
        "provider": "slack",
        "status": "done",
        "requesters": ["U1"],
        "latency_ms": 10,
    }
    return await insert(db, "usage_logs", **values | columns)


async def delivery(db: Connection, of: Record, **columns: Any) -> Record:
    """A pending reply, next in the line of its session."""
    number = next(_number)
    values = {
        "delivery_id": new_id(),
        "deployed_agent_id": of["deployed_agent_id"],
        "workspace_id": of["workspace_id"],
        "session_id": of["id"],
        "install_id": of["slack_install_id"],
        "slack_conversation_key": of["slack_conversation_key"],
        "channel_id": of["slack_channel_id"],
        "effect_key": f"effect {number}",
        "lane": "reply",
        "position": number,
        "kind": "reply",
        "body": {"markdown": "Hi"},
    }
    return await insert(db, "slack_outbox", **values | columns)


async def usage(db: Connection, of: Record, **columns: Any) -> Record:
    """The usage row of a turn, settled unless told otherwise."""
    values = {
        "turn_id": of["id"],
        "deployed_agent_id": of["deployed_agent_id"],
        "workspace_id": of["workspace_id"],
        "session_id": of["session_id"],
        "state": "final",
    }
    return await insert(db, "agent_compute_usage", **values | columns)

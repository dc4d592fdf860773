"""Steps that the tests of approvals and escalations share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from router.approvals import Approvals
from router.escalations import Escalations
from router.humans import Actor, Clicker, Ref
from router.ports import Standing
from router.runtime.client import Runtime
from store import approvals, database, escalations
from store.approvals import Approval
from store.escalations import Escalation
from store.leases import Ready
from tests.harness import World
from tests.support import eventually


def clicker(user: str = "U0ADA", **standing: Any) -> Clicker:
    """Somebody at a door that is not Slack, with what they are."""
    return Clicker(Actor("rest", user, user), Standing(user, user, **standing))


@dataclass
class Doors:
    """The doors for people's decisions, over a process's pool."""

    approvals: Approvals
    escalations: Escalations


@asynccontextmanager
async def doors(here: World) -> AsyncIterator[Doors]:
    """The doors, and the wake-up of whoever runs: the sweep finds what they decided."""

    def on_ready(ready: list[Ready]) -> None:
        for app in here.apps:
            app.worker.offer(ready)

    pool = await database.open_pool(here.dsn, size=4)
    try:
        yield Doors(
            Approvals(pool, on_ready, lambda: None), Escalations(pool, on_ready, lambda: None)
        )
    finally:
        await pool.close()


async def approvals_in(here: World, state: str, count: int) -> list[Approval]:
    """The approvals of that state, oldest first, once there are so many."""

    async def found() -> list[Approval]:
        rows = await here.rows("SELECT id FROM agent_approvals WHERE state = $1 ORDER BY id", state)
        assert len(rows) == count
        read = [await approvals.get(here.connection, here.agent_id, r["id"]) for r in rows]
        return [row for row in read if row is not None]

    return await eventually(found, says=f"{count} approvals that are {state}")


async def question(here: World, state: str = "pending") -> Escalation:
    """The only escalation, once it is in that state."""

    async def found() -> Escalation:
        rows = await here.rows("SELECT id, state FROM agent_escalations")
        assert len(rows) == 1
        row = rows[0]
        assert row["state"] == state
        asked = await escalations.get(here.connection, here.agent_id, row["id"])
        assert asked is not None
        return asked

    return await eventually(found, says=f"an escalation that is {state}")


def ref(asked: Approval | Escalation) -> Ref:
    """What its card's buttons name."""
    if isinstance(asked, Approval):
        return Ref("approval", asked.deployed_agent_id, asked.id, asked.card_no)
    return Ref("escalation", asked.deployed_agent_id, asked.id)


async def awaits_people(here: World) -> None:
    """Returns once the only session waits for people: nobody holds it, nothing is to be delivered."""

    async def waits() -> bool:
        live = await here.rows("SELECT state FROM agent_turns WHERE ended_at IS NULL")
        session = await here.session()
        return [t["state"] for t in live] == ["awaiting_human"] and session["lease_owner"] is None

    await eventually(waits, says="a turn that awaits a human")
    await here.at_rest()


async def actions(here: World, subject: UUID) -> list[str]:
    """What the record says was done with it, in order."""
    steps = "SELECT action FROM audit_entries WHERE subject_id = $1 ORDER BY at, id"
    return [r["action"] for r in await here.connection.fetch(steps, subject)]


def confirmations(here: World) -> list[dict[str, Any]]:
    """All confirmations and results that the runtime received."""
    kinds = ("user.tool_confirmation", "user.custom_tool_result")
    return [
        event
        for session in here.runtime.sessions()
        for event in here.runtime.received(session["id"])
        if event["type"] in kinds
    ]


@asynccontextmanager
async def console(here: World) -> AsyncIterator[Runtime]:
    """Somebody at the runtime's own console, who knows nothing of us."""
    client = Runtime(api_key="local", base_url=here.runtime.url, max_streams=1)
    try:
        yield client
    finally:
        await client.close()


async def set_behaviour(here: World, **settings: Any) -> None:
    """Changes the agent's settings."""
    await here.connection.execute(
        "UPDATE deployed_agents SET settings = $2 WHERE id = $1", here.agent_id, settings
    )

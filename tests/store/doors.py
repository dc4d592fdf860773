"""Running intakes, each on a pool of its own as each process has, and what arrives at them."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import count
from typing import Any

from router.intake import Intake
from router.loops import Stop
from router.routing import Arrival, Outcome
from store import database
from store.database import Connection, Record
from tests.store.factories import Ground

_number = count(1)


@asynccontextmanager
async def intake(dsn: str) -> AsyncIterator[Intake]:
    """An intake that runs."""
    pool = await database.open_pool(dsn, size=4)
    door = Intake(pool, on_ready=lambda _: None, on_notice=lambda: None)
    stop = Stop()
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(door.run(stop))
            yield door
            stop.say()
    finally:
        await database.close_pool(pool)


def new_thread(*, age: int = 0) -> str:
    """The ts of a root that is so many seconds old, unlike any other's.

    Young ones may have been overtaken, and are that for two minutes only.
    """
    return f"{int(time.time()) - age}.{next(_number):06}"


def arrival(on: Ground, root: str, seconds: int = 0, **changes: Any) -> Arrival:
    """A mention in the thread of `root`, that many seconds after it."""
    ts = Decimal(root) + seconds
    values: dict[str, Any] = {
        "install_id": on.install_id,
        "conversation_key": f"A1:T1:C1:{root}",
        "api_app_id": "A1",
        "team_id": "T1",
        "channel_id": "C1",
        "root_ts": root,
        "ts": ts,
        "dedupe_key": f"msg:A1:T1:C1:{ts}",
        "user_id": "U1",
        "text": f"text of {ts}",
    }
    return Arrival(**values | changes)


async def in_order(door: Intake, arrivals: Iterable[Arrival]) -> list[Outcome]:
    """Each accepted before the next one comes."""
    return [await door.accept(one) for one in arrivals]


async def texts(db: Connection, root: str, *states: str) -> list[str]:
    """The texts of a thread's inputs in their order, those in the given states or all open ones."""
    found = await db.fetch(
        "SELECT i.body->>'text' AS text FROM session_inputs i"
        " JOIN agent_sessions s ON s.id = i.session_id"
        " WHERE s.slack_thread_ts = $1 AND i.state = ANY($2::text[]) ORDER BY i.order_key, i.id",
        root,
        list(states or ("queued", "sending", "sent")),
    )
    return [row["text"] for row in found]


async def rows(db: Connection, root: str) -> list[Record]:
    """All inputs of a thread, in their order."""
    return await db.fetch(
        "SELECT i.* FROM session_inputs i JOIN agent_sessions s ON s.id = i.session_id"
        " WHERE s.slack_thread_ts = $1 ORDER BY i.order_key, i.id",
        root,
    )

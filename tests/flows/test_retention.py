"""Old texts go while the service runs: what is young stays, and the threads go on as before."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.app import App
from bot.local.model import Message
from router.loops import Stop
from router.retention import Retention
from store import database
from store.database import Pool
from tests.harness import TIMING, World
from tests.support import eventually

CORRECTION = "(Correction of my earlier message, which should read:)\n"
_OFTEN = replace(TIMING, retention=0.1)
_KEEP = timedelta(days=30)
_BODIES = """
SELECT body FROM session_inputs WHERE session_id = $1
UNION ALL SELECT body FROM slack_outbox WHERE session_id = $1
"""


async def asked(here: World, text: str) -> Message:
    """A direct message that has its answer."""
    message = await here.slack.say("ada", here.slack.dm("ada"), text)
    await here.answers(message.channel, message.ts, 1)
    return message


async def bodies(here: World, message: Message) -> list[dict[str, Any] | None]:
    """What is still stored of a thread's texts, both ways."""
    session = await here.row("SELECT id FROM agent_sessions WHERE slack_thread_ts = $1", message.ts)
    return [row["body"] for row in await here.rows(_BODIES, session["id"])]


async def age(here: World, message: Message, days: int) -> None:
    """Moves all that a thread has back in time."""
    back = timedelta(days=days)
    for table in ("session_inputs", "slack_outbox", "agent_turns"):
        await here.connection.execute(
            f"UPDATE {table} SET ended_at = ended_at - $2::interval FROM agent_sessions s"
            f" WHERE s.id = {table}.session_id AND s.slack_thread_ts = $1",
            message.ts,
            back,
        )


@asynccontextmanager
async def cleared(here: World, message: Message, **settings: Any) -> AsyncIterator[App]:
    """An app that has just cleared a thread of long ago."""
    async with here.app(timing=_OFTEN, **settings) as app:

        async def gone() -> bool:
            return set(map(str, await bodies(here, message))) == {"None"}

        await eventually(gone, says="the old thread's texts are cleared")
        yield app


async def test_old_texts_are_cleared_young_ones_stay_and_the_thread_goes_on(here: World):
    async with here.app():
        old, young = await asked(here, "long ago"), await asked(here, "of late")
    await age(here, old, 31)
    await age(here, young, 29)
    async with cleared(here, old):
        assert None not in await bodies(here, young)
        await here.slack.say("ada", old.channel, "and now", thread_ts=old.ts)
        answers = await here.answers(old.channel, old.ts, 2)
    assert answers == ['You said: "long ago"', 'You said: "and now"']
    assert len(here.runtime.sessions()) == 2


async def test_the_days_are_those_of_the_setting(here: World):
    async with here.app():
        old, young = await asked(here, "long ago"), await asked(here, "of late")
    await age(here, old, 8)
    await age(here, young, 6)
    async with cleared(here, old, threadline_retention_days=7):
        assert None not in await bodies(here, young)


async def test_an_old_message_that_comes_again_is_still_known(here: World):
    async with here.app():
        old = await asked(here, "long ago")
    await age(here, old, 31)
    async with cleared(here, old):
        for envelope in here.slack.envelopes(old.ts):
            assert await here.slack.deliver(envelope) == 200
        assert len(await here.answers(old.channel, old.ts, 1)) == 1
    assert here.sent_texts() == ["long ago"]
    assert len(await here.rows("SELECT id FROM session_inputs")) == 1


async def test_an_edit_of_a_cleared_message_goes_in_as_a_correction_once(here: World):
    async with here.app():
        old = await asked(here, "long ago")
    await age(here, old, 31)
    async with cleared(here, old):
        await here.slack.edit(old.channel, old.ts, "long, long ago", duplicate=2)
        answers = await here.answers(old.channel, old.ts, 2)
        assert answers[1] == f'You said: "{CORRECTION}long, long ago"'
    rows = await here.rows("SELECT kind, body FROM session_inputs ORDER BY accepted_at")
    assert [(row["kind"], row["body"] is None) for row in rows] == [
        ("message", True),
        ("correction", False),
    ]


async def test_a_deletion_of_a_cleared_message_changes_nothing(here: World):
    async with here.app():
        old = await asked(here, "long ago")
    await age(here, old, 31)
    async with cleared(here, old):
        await here.slack.delete(old.channel, old.ts)
        await here.at_rest()
    assert len(await here.turns()) == 1


# ------------------------------------------------------------------ the loop


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    opened = await database.open_pool(dsn, size=2)
    yield opened
    await database.close_pool(opened)


async def test_it_begins_at_some_moment_of_its_time_and_a_stop_ends_the_wait(
    here: World, pool: Pool
):
    eager = await database.open_pool(here.dsn, size=1)
    stop = Stop()
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(Retention(pool, _KEEP, seconds=360_000).run(stop))
        tasks.create_task(Retention(eager, _KEEP, seconds=0.1).run(stop))
        await eventually(lambda: eager.get_size() == eager.get_idle_size() == 1)
        assert pool.get_size() == 0, "it looked at the database before its time"
        stop.say()
    await database.close_pool(eager)


async def test_a_stop_ends_a_batch_that_is_under_way(here: World, monkeypatch: pytest.MonkeyPatch):
    for patience in ("lock_timeout", "statement_timeout"):
        monkeypatch.setitem(database._SERVER_SETTINGS, patience, "600000")
    pool, stop = await database.open_pool(here.dsn, size=2), Stop()
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks, here.connection.transaction():
        await here.connection.execute("LOCK TABLE session_inputs")
        running = tasks.create_task(Retention(pool, _KEEP, seconds=0.001).run(stop))
        await eventually(lambda: waiting(here))
        stop.say()
        await running  # the lock is still held, and it would wait for that much longer
    await database.close_pool(pool)


async def waiting(here: World) -> bool:
    found: bool = await here.connection.fetchval(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted"
        " AND relation = 'session_inputs'::regclass)"
    )
    return found


async def test_a_backlog_is_cleared_in_one_round_by_batches(here: World, pool: Pool):
    async with here.app():
        old = await asked(here, "long ago")
    await here.connection.execute(
        "INSERT INTO session_inputs (id, deployed_agent_id, workspace_id, session_id, kind, body,"
        " order_key, dedupe_key, state, ended_at) SELECT gen_random_uuid(), deployed_agent_id,"
        " workspace_id, session_id, kind, body, n, 'msg ' || n, 'refused', now()"
        " FROM session_inputs, generate_series(1, 1200) n"
    )
    await age(here, old, 31)
    await Retention(pool, _KEEP, seconds=60).round()
    left = await here.row("SELECT count(*), count(body) AS kept FROM session_inputs")
    assert left == {"count": 1201, "kept": 0}

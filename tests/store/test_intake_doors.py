"""Who is let in, who is told why not, and what a door does when it is overrun or closed."""

import asyncio
from decimal import Decimal

import pytest

from router import intake as intake_module
from router.errors import AcceptUnavailable
from router.intake import Intake
from router.loops import Stop
from router.routing import title_of
from store import database, sessions
from store.leases import Ready
from tests.store import factories
from tests.store.doors import arrival, in_order, intake, new_thread, rows
from tests.store.locks import together
from tests.support import eventually


async def _said(db) -> list[tuple[str, str]]:
    found = await db.fetch("SELECT kind, effect_key FROM slack_outbox ORDER BY effect_key")
    return [tuple(row) for row in found]


async def test_a_first_message_makes_the_session_of_its_thread(dsn, db, on):
    root = new_thread()
    message = arrival(on, root, text="  Hello\nworld", client_key="c1", slack_event_id="Ev1")
    async with intake(dsn) as door:
        outcome = await door.accept(message)
    session = await db.fetchrow("SELECT * FROM agent_sessions")
    assert outcome.session == Ready(on.agent_id, session["id"])
    assert (session["title"], session["created_by"]) == ("Hello", "U1")
    assert (session["slack_thread_ts"], session["slack_channel_id"]) == (root, "C1")
    assert (session["status"], session["wake_seq"]) == ("idle", 1)
    assert session["ready_at"] is not None
    (row,) = await rows(db, root)
    assert row["body"] == {"text": "  Hello\nworld", "user": "U1", "team": None, "files": []}
    assert (row["order_key"], row["client_key"]) == (Decimal(root), "c1")
    assert (row["slack_event_id"], row["dedupe_key"]) == ("Ev1", message.dedupe_key)


async def test_a_channels_own_agent_answers_before_the_default_and_a_pin_before_both(dsn, db, on):
    routed = await factories.agent(db, on.workspace_id)
    root, other = new_thread(), new_thread()
    async with intake(dsn) as door:
        first = await door.accept(arrival(on, root))
        await factories.insert(
            db,
            "slack_routes",
            install_id=on.install_id,
            channel_id="C1",
            workspace_id=on.workspace_id,
            deployed_agent_id=routed,
        )
        pinned = await door.accept(arrival(on, root, 1))
        fresh = await door.accept(arrival(on, other))
    assert first.session
    assert fresh.session
    assert first.session.deployed_agent_id == on.agent_id
    assert pinned.session == first.session
    assert fresh.session.deployed_agent_id == routed


async def test_a_stranger_is_told_once_per_thread_and_starts_no_session(dsn, db, on):
    roots = [new_thread(), new_thread()]
    async with intake(dsn) as door:
        outcomes = await in_order(
            door, [arrival(on, root, n, stranger=True) for root in roots for n in range(3)]
        )
    assert {(o.kind, o.reason) for o in outcomes} == {("refused", "stranger")}
    assert await _said(db) == [("private", "notice:stranger:U1")] * 2
    assert await db.fetchval("SELECT count(*) FROM agent_sessions") == 0


async def test_without_an_agent_the_thread_is_told(dsn, db, on):
    await db.execute("UPDATE oauth_installs SET default_agent_id = NULL")
    message = arrival(on, new_thread())
    async with intake(dsn) as door:
        outcomes = await in_order(door, [message, message])
    assert [(o.kind, o.reason) for o in outcomes] == [("refused", "no_agent")] * 2
    assert await _said(db) == [("notice", f"notice:no_agent:{message.ts}")]
    assert await db.fetchval("SELECT count(*) FROM slack_threads") == 0


async def test_words_are_needed(dsn, db, on):
    async with intake(dsn) as door:
        bare = await door.accept(arrival(on, new_thread(), text=""))
        file_alone = await door.accept(arrival(on, new_thread(), text="", files=({"name": "a"},)))
        silent = await door.accept(arrival(on, new_thread(), text="", addressed=False))
    assert (bare.kind, bare.reason) == ("refused", "bare_mention")
    assert file_alone.kind == "accepted"
    assert (silent.kind, silent.reason) == ("ignored", "empty")
    assert [kind for kind, _ in await _said(db)] == ["notice"]


async def test_an_archived_thread_takes_no_input_and_tells_whoever_addresses_it(dsn, db, on):
    root = new_thread()
    async with intake(dsn) as door:
        first = await door.accept(arrival(on, root))
        assert first.session
        await sessions.request_archive(db, on.agent_id, first.session.session_id)
        mention = arrival(on, root, 5)
        told = await in_order(door, [mention, mention])
        reply = await door.accept(arrival(on, root, 6, addressed=False))
    assert {(o.kind, o.reason) for o in told} == {("refused", "archived")}
    assert (reply.kind, reply.reason) == ("ignored", "archived_unaddressed")
    assert await _said(db) == [("private", f"notice:archived:{mention.ts}")]
    assert len(await rows(db, root)) == 1


async def test_a_full_door_answers_at_once(dsn, on, monkeypatch):
    monkeypatch.setattr(intake_module, "_WAITING", 3)
    pool = await database.open_pool(dsn, size=1)
    door, stop = Intake(pool, lambda _: None, lambda: None), Stop()
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(
            together(*(door.accept(arrival(on, new_thread())) for _ in range(3)))
        )
        await eventually(lambda: len(door._queue) == 3)
        with pytest.raises(AcceptUnavailable, match="too many"):
            await door.accept(arrival(on, new_thread()))
        tasks.create_task(door.run(stop))
        assert {getattr(o, "kind", o) for o in await waiting} == {"accepted"}
        stop.say()
    await database.close_pool(pool)


async def test_a_door_that_closes_tells_those_who_wait_to_come_again(dsn, on):
    pool = await database.open_pool(dsn, size=1)
    door, stop = Intake(pool, lambda _: None, lambda: None), Stop()
    stop.say()
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(together(door.accept(arrival(on, new_thread()))))
        await eventually(lambda: len(door._queue) == 1)
        await door.run(stop)
        (told,) = await waiting
    assert isinstance(told, AcceptUnavailable)
    await database.close_pool(pool)


async def test_a_locked_session_makes_only_its_own_arrival_come_again(dsn, connect, on, _hurried):
    """Each then runs alone, and only the one behind the lock is turned away."""
    locked, free = new_thread(), new_thread()
    holder = await connect()
    async with intake(dsn) as door:
        await door.accept(arrival(on, locked))
        async with holder.transaction():
            await holder.execute("UPDATE agent_sessions SET title = title")
            stuck, passed = await together(
                door.accept(arrival(on, locked, 1)), door.accept(arrival(on, free))
            )
        assert isinstance(stuck, AcceptUnavailable)
        assert getattr(passed, "kind", passed) == "accepted"
        assert (await door.accept(arrival(on, locked, 1))).kind == "accepted"


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Hello", "Hello"),
        ("\n\n  First line \r\nsecond", "First line"),
        ("a\x00b\x1b[31mc\u202ed", "ab[31mcd"),
        ("x" * 100, "x" * 80),
        ("x" * 79 + "  y", "x" * 79),
        ("", "New conversation"),
        ("\u200b", "New conversation"),
    ],
)
def test_a_title_is_the_first_line_printable_and_short(text, title):
    assert title_of(text, 80) == title

"""A turn's beginning and its end, each in one statement that goes by what was looked at before."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from store import holding, inputs, leases, outbox, sessions, turns
from store.database import Connection
from store.leases import Held
from store.outbox import Effect
from store.usage import Usage
from tests.store import factories
from tests.store.factories import LEASE
from tests.store.locks import blocked

_AT = datetime(2026, 1, 2, tzinfo=UTC)
_SAID = (
    Effect("one", "reply", {"markdown": "a"}, lane="reply"),
    Effect("beside", "notice", {"text": "b"}),
    Effect("two", "reply", {"markdown": "c"}, lane="reply"),
)


@pytest.fixture
async def session(db, on):
    return await factories.session(db, on)


async def _begin(db: Connection, held: Held, seq: int | None = None) -> Any:
    seen = held.wake_seq if seq is None else seq
    return await holding.begin_turn(db, held, ["message"], LEASE, seen)


async def _end(db: Connection, held: Held, turn: turns.Turn, seq: int, **more: Any) -> bool | None:
    ending = turns.Ending("completed", "end_turn", "some words", Usage(input_tokens=3), **more)
    return await turns.complete(db, held, turn.id, ending, seq)


async def _arrive(db: Connection, on: Any, row: Any, **what: Any) -> None:
    async with db.transaction():
        await sessions.wake_or_create(db, [on.new_session(row["slack_conversation_key"])])
        await inputs.add(db, [on.new_input(row["id"], **what)])


async def _states(db: Connection) -> list[str]:
    rows = await db.fetch("SELECT state FROM session_inputs ORDER BY order_key, id")
    return [row["state"] for row in rows]


async def _begun(db: Connection, session: Any) -> tuple[Held, turns.Turn]:
    await factories.message(db, session)
    held = await factories.held(db, session)
    begun = await _begin(db, held)
    assert begun is not None
    return held, begun[0]


async def test_what_waits_makes_the_next_turn(db, session):
    await factories.turn(db, session, number=7, state="failed", stop_reason="x", ended_at=_AT)
    first = await factories.message(db, session)
    await factories.message(db, session, kind="decision")
    second = await factories.message(db, session)
    held = await factories.held(db, session)
    turn, batch = await _begin(db, held)
    assert turn.number == 8
    assert turn.state == "running"
    assert [i.id for i in batch] == [first["id"], second["id"]]
    assert {(i.state, i.turn_id) for i in batch} == {("sending", turn.id)}
    assert await _states(db) == ["sending", "queued", "sending"]
    assert await db.fetchval("SELECT status FROM agent_sessions") == "running"


async def test_where_nothing_waits_no_turn_begins(db, session):
    await factories.message(db, session, kind="decision")
    assert await _begin(db, await factories.held(db, session)) is None
    assert await db.fetchval("SELECT status FROM agent_sessions") == "idle"


@pytest.mark.parametrize("why", ["lost", "released", "came"])
async def test_a_holder_that_is_not_the_last_to_know_neither_begins_nor_ends(db, on, session, why):
    held, turn = await _begun(db, session)
    await factories.message(db, session)
    if why == "lost":
        await factories.expire(db, session)
        await factories.held(db, session, "successor")
    elif why == "released":
        await leases.fence(db, held.lease)
        await leases.release(db, held.lease)
    else:
        await _arrive(db, on, session)
    before = await db.fetch("SELECT * FROM agent_sessions"), await _states(db)
    assert await _begin(db, held) is None
    said_at = on.place(session["id"])
    assert await _end(db, held, turn, held.wake_seq, effects=_SAID, said_at=said_at) is None
    assert (await db.fetch("SELECT * FROM agent_sessions"), await _states(db)) == before
    assert await turns.live(db, held.deployed_agent_id, held.id) == turn
    for table in ("slack_outbox", "agent_compute_usage"):
        assert await db.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_an_end_that_waited_for_an_accept_does_not_strand_its_message(
    connect, db, on, session
):
    accept, holder = await connect(), await connect()
    held, turn = await _begun(db, session)
    seen = await holding.at_end(holder, held.lease, turn.id, [], [])
    async with asyncio.TaskGroup() as tasks:
        async with accept.transaction():
            key = session["slack_conversation_key"]
            await sessions.wake_or_create(accept, [on.new_session(key)])
            await inputs.add(accept, [on.new_input(session["id"])])
            ends = tasks.create_task(_end(holder, held, turn, seen.wake_seq))
            await blocked(db, holder)
        assert await ends is None
    seen = await holding.at_end(holder, held.lease, turn.id, [], [])
    assert await _end(holder, held, turn, seen.wake_seq) is True
    assert await _states(db) == ["done", "queued"]


async def test_an_end_is_all_of_it(db, on, session):
    held, turn = await _begun(db, session)
    of_it = {"kind": "interrupt", "body": {"turn": str(turn.id)}}
    await factories.message(db, session, **of_it)
    await db.execute("UPDATE agent_sessions SET next_position = 5, failures = 2")
    more = {"place": _AT, "snapshot": {"input_tokens": 3}, "effects": _SAID}
    assert await _end(db, held, turn, held.wake_seq, said_at=on.place(held.id), **more) is False
    row = await db.fetchrow("SELECT * FROM agent_sessions")
    assert (row["status"], row["ready_at"], row["lease_owner"]) == ("idle", None, None)
    assert (row["place_at"], row["usage_snapshot"]) == (_AT, {"input_tokens": 3})
    assert (row["failures"], row["barren_claims"], row["next_position"]) == (0, 0, 7)
    ended = await db.fetchrow("SELECT * FROM agent_turns")
    assert (ended["state"], ended["stop_reason"]) == ("completed", "end_turn")
    assert ended["ended_at"] is not None
    assert await _states(db) == ["done", "withdrawn"]
    used = await db.fetchrow("SELECT * FROM agent_compute_usage")
    assert (used["turn_id"], used["state"], used["input_tokens"]) == (turn.id, "final", 3)
    said = await db.fetch("SELECT * FROM slack_outbox ORDER BY effect_key")
    assert [(o["effect_key"], o["lane"], o["position"]) for o in said] == [
        ("beside", "side", 0),
        ("one", "reply", 5),
        ("two", "reply", 6),
    ]
    assert {o["turn_id"] for o in said} == {turn.id}
    assert [o["body"].get("by") for o in said] == [None, "holder", "holder"]


@pytest.mark.parametrize(
    "waits",
    [
        "nothing",
        "a message",
        "what was sent of another turn",
        "a decision",
        "an archive",
        "a title",
    ],
)
async def test_who_still_waits_for_a_worker_gets_one(db, session, waits):
    held, turn = await _begun(db, session)
    match waits:
        case "a message":
            await factories.message(db, session)
        case "what was sent of another turn":
            old = await factories.turn(db, session, state="failed", stop_reason="x", ended_at=_AT)
            await factories.message(db, session, state="sent", turn_id=old["id"])
        case "a decision":
            await factories.message(db, session, kind="decision", body={"turn": "another"})
        case "an archive":
            await db.execute("UPDATE agent_sessions SET archive_requested_at = now()")
        case "a title":
            await db.execute("UPDATE agent_sessions SET retitled = true")
        case _:
            pass
    wait = timedelta(seconds=90)
    again = await _end(db, held, turn, held.wake_seq, wait=wait)
    assert again is (waits != "nothing")
    ready = await db.fetchval("SELECT ready_at > now() + interval '60 s' FROM agent_sessions")
    assert bool(ready) is again


async def test_an_end_that_is_known_covers_what_was_pending(db, session):
    held, turn = await _begun(db, session)
    old = await factories.turn(db, session, state="failed", stop_reason="x", ended_at=_AT)
    await factories.usage(db, old, state="pending")
    await _end(db, held, turn, held.wake_seq)
    assert await db.fetch("SELECT FROM agent_compute_usage WHERE state = 'pending'") == []


async def test_effects_that_are_there_are_not_written_again(db, on, session):
    held, turn = await _begun(db, session)
    await outbox.add(db, on.place(held.id), [_SAID[0]])
    await _end(db, held, turn, held.wake_seq, effects=_SAID, said_at=on.place(held.id))
    assert await db.fetchval("SELECT count(*) FROM slack_outbox") == 3


async def test_a_row_that_goes_its_way_is_rewritten_in_its_place(db, on, session):
    """No index holds what changes on the way, so none has to be written."""
    held, turn = await _begun(db, session)
    before = await _rewritten_in_place(db)
    (sent,) = await inputs.open_inputs(db, held.lease)
    await holding.mark_messages_sent(db, held.lease, [(sent.id, "event")])
    await outbox.add(db, on.place(held.id), [_SAID[0]])
    (due,) = await outbox.due(db, turn.id, 1)
    assert await outbox.claim(db, due, "me", LEASE)
    after = await _rewritten_in_place(db)
    assert {name: after[name] - before[name] for name in after} == dict.fromkeys(after, 1)


async def _rewritten_in_place(db: Connection) -> dict[str, int]:
    await db.execute("SELECT pg_stat_force_next_flush()")
    rows = await db.fetch(
        "SELECT relname, n_tup_hot_upd FROM pg_stat_user_tables"
        " WHERE relname IN ('session_inputs', 'slack_outbox')"
    )
    return {row["relname"]: row["n_tup_hot_upd"] for row in rows}

"""Looks at what agents wrote: due, claimed, moved on, and what is known of each file."""

import asyncio
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from store import outbox, outputs, outputs_sent, turns
from store.database import Connection, Record
from store.ids import new_id
from store.leases import Held
from store.outbox import Due, Effect
from store.outputs import LOOKS, Known, Look
from tests.store import factories
from tests.store.conftest import Connect
from tests.store.factories import Ground

_LATER = timedelta(hours=1)
_NOW = timedelta(0)


@pytest.fixture
async def session(db: Connection, on: Ground) -> Record:
    return await factories.session(db, on, anthropic_session_id="sesn_1")


@pytest.fixture
async def held(db: Connection, session: Record) -> Held:
    return await factories.held(db, session)


async def ended(db: Connection, held: Held) -> UUID:
    """A turn that is over."""
    turn = await turns.begin(db, held)
    await turns.end(db, held.lease, turn.id, "completed", "end_turn", "")
    return turn.id


async def row(db: Connection) -> Record | None:
    return await db.fetchrow("SELECT *, due_at <= now() AS is_due FROM output_looks")


async def claimed(db: Connection) -> Look:
    await db.execute("UPDATE output_looks SET due_at = now() WHERE due_at IS NOT NULL")
    (look,) = await outputs.claim(db, 10, _LATER)
    return look


async def test_a_turn_that_wrote_is_looked_at_twice_and_once_behind_the_next(db, held):
    first, second = await ended(db, held), await ended(db, held)
    await outputs.plan(db, held.lease, first, _NOW, looks=LOOKS)
    for left in (3, 2):
        look = await claimed(db)
        assert (look.turn_id, look.runtime_session, look.looks_left) == (first, "sesn_1", left)
        assert await outputs.move_on(db, look, _LATER)
    owed = await row(db)
    assert owed is not None
    assert (owed["looks_left"], owed["due_at"]) == (1, None)
    await outputs.plan(db, held.lease, second, _NOW, looks=1)
    last = await claimed(db)
    assert (last.turn_id, last.looks_left) == (second, 1)
    assert await outputs.move_on(db, last, _LATER)
    assert await row(db) is None


async def test_who_writes_again_is_looked_at_anew(db, held):
    for _ in range(2):
        await outputs.plan(db, held.lease, await ended(db, held), _NOW, looks=LOOKS)
        look = await claimed(db)
        assert look.looks_left == LOOKS
        assert await outputs.move_on(db, look, _LATER)
    await outputs.plan(db, held.lease, await ended(db, held), _NOW, looks=1)
    assert (await claimed(db)).looks_left == LOOKS - 1, "what is left of them is not cut short"


async def test_nothing_is_planned_without_a_runtime_session_or_a_place_in_slack(db, on):
    bare = await factories.held(db, await factories.session(db, on))
    await outputs.plan(db, bare.lease, await ended(db, bare), _NOW, looks=LOOKS)
    assert await row(db) is None


async def test_a_claimed_look_is_nobody_elses(db, held, connect: Connect):
    await outputs.plan(db, held.lease, await ended(db, held), _NOW, looks=LOOKS)
    others = [await connect() for _ in range(4)]
    found = await asyncio.gather(*(outputs.claim(one, 10, _LATER) for one in others))
    assert sum(len(looks) for looks in found) == 1
    assert await outputs.claim(db, 10, _LATER) == []


async def test_a_look_that_nobody_finished_comes_again(db, held):
    await outputs.plan(db, held.lease, await ended(db, held), _NOW, looks=LOOKS)
    lost = await claimed(db)
    again = await claimed(db)
    assert not await outputs.move_on(db, lost, _NOW), "it is another's now"
    assert not await outputs.end(db, lost)
    assert await outputs.move_on(db, again, _NOW)


async def test_the_end_of_another_turn_takes_a_look_away(db, held):
    await outputs.plan(db, held.lease, await ended(db, held), _NOW, looks=LOOKS)
    look = await claimed(db)
    await outputs.plan(db, held.lease, await ended(db, held), _NOW, looks=1)
    assert not await outputs.move_on(db, look, _NOW)


async def test_while_a_turn_is_under_way_nobody_looks(db, held):
    await outputs.plan(db, held.lease, await ended(db, held), _NOW, looks=LOOKS)
    look = await claimed(db)
    live = await turns.begin(db, held)
    assert await outputs.lock(db, look) is None
    await db.execute("UPDATE output_looks SET due_at = now(), asked_at = now() - interval '1 hour'")
    assert await outputs.claim(db, 10, _LATER) == []
    waiting = await row(db)
    assert waiting is not None
    assert not waiting["is_due"]
    await turns.end(db, held.lease, live.id, "completed", "end_turn", "")
    assert await outputs.lock(db, look) is not None


async def test_a_look_that_failed_waits_and_is_given_up_until_the_next_turn(db, held):
    await outputs.plan(db, held.lease, await ended(db, held), _NOW, looks=LOOKS)
    await outputs.put_off(db, await claimed(db), _NOW)
    look = await claimed(db)
    assert look.failures == 1
    await outputs.put_off(db, look, None)
    waiting = await row(db)
    assert waiting is not None
    assert (waiting["due_at"], waiting["failures"]) == (None, 0)
    await outputs.plan(db, held.lease, await ended(db, held), _NOW, looks=1)
    assert await outputs.end(db, await claimed(db))
    assert await row(db) is None


async def test_a_file_is_known_once_it_was_noted(db, held):
    await outputs.plan(db, held.lease, await ended(db, held), _NOW, looks=LOOKS)
    look = await claimed(db)
    assert await outputs.known(db, look, ["a", "b"]) == Known(frozenset(), 0)
    await outputs.add(db, look, {"a": "offered", "b": "too_large"})
    assert await outputs.known(db, look, ["a", "b", "c"]) == Known(frozenset("ab"), 1)
    with pytest.raises(asyncpg.UniqueViolationError):
        await outputs.add(db, look, {"a": "offered"})


async def test_the_files_of_another_turn_take_nothing_from_this_one(db, held):
    for _ in range(2):
        await outputs.plan(db, held.lease, await ended(db, held), _NOW, looks=LOOKS)
        look = await claimed(db)
        assert (await outputs.known(db, look, [])).offered == 0
        await outputs.add(db, look, {f"file of {look.turn_id}": "offered"})


# ------------------------------------------------------------------ deliveries of files


async def test_files_are_left_where_there_is_no_room_for_more(db, session):
    await factories.delivery(db, session, kind="file", lane="side")
    reply = await factories.delivery(db, session)
    found = await outbox.due(db, new_id(), 10)
    assert sorted(one.kind for one in found) == ["file", "reply"]
    (only,) = await outbox.due(db, new_id(), 10, files=False)
    assert only == Due(reply["deployed_agent_id"], reply["delivery_id"])


async def test_what_an_attempt_keeps_is_kept_under_its_claim_alone(db, session):
    sent = await factories.delivery(db, session, kind="file", body={"file": "f"})
    due = Due(sent["deployed_agent_id"], sent["delivery_id"])
    first = await outbox.claim(db, due, "one", _NOW)
    second = await outbox.claim(db, due, "two", _LATER)
    assert first is not None
    assert second is not None
    assert not await outputs_sent.note(db, first, {"slack_file": "F1"}, _LATER)
    await outputs_sent.instead(db, first, {"text": "no"}, "refused")
    assert await outputs_sent.note(db, second, {"slack_file": "F2"}, _NOW)
    assert await outbox.claim(db, due, "three", _LATER) is not None, "so long it may still take"
    kept = await db.fetchrow("SELECT kind, body, unclear FROM slack_outbox")
    assert (kept["kind"], kept["unclear"]) == ("file", True)
    assert kept["body"] == {"file": "f", "slack_file": "F2"}


async def test_a_notice_in_the_place_of_a_file_is_a_delivery_of_its_own(db, on, session):
    sent = await factories.delivery(db, session, kind="file")
    claim = await outbox.claim(
        db, Due(sent["deployed_agent_id"], sent["delivery_id"]), "one", _LATER
    )
    assert claim is not None
    await outputs_sent.instead(db, claim, {"text": "It is gone."}, "gone")
    again = await outbox.claim(db, claim.due, "two", _LATER)
    assert again is not None
    assert (again.kind, again.attempts, again.unclear) == ("notice", 1, False)
    assert (again.effect_key, again.body) == (claim.effect_key, {"text": "It is gone."})
    effect = Effect(claim.effect_key, "file", {}, lane="reply")
    await outbox.add(db, on.place(session["id"], session["slack_conversation_key"]), [effect])
    assert await db.fetchval("SELECT count(*) FROM slack_outbox") == 1

"""The outbox: each effect once, replies of a session in line, an unclear attempt looked into."""

import asyncio
from datetime import timedelta

import pytest

from store import outbox
from store.database import Connection, Record
from store.ids import new_id
from store.outbox import Delivery, Due, Effect
from tests.store import factories
from tests.store.conftest import Connect

_LIMIT = timedelta(seconds=10)


@pytest.fixture
async def session(db, on):
    return await factories.session(db, on)


def _due(row: Record) -> Due:
    return Due(row["deployed_agent_id"], row["delivery_id"])


async def _all_due(db: Connection) -> set[Due]:
    return set(await outbox.due(db, new_id(), 100))


async def _claimed(db: Connection, row: Record) -> Delivery:
    delivery = await outbox.claim(db, _due(row), "deliverer", _LIMIT)
    assert delivery is not None
    return delivery


async def _expire(db: Connection, row: Record) -> None:
    await db.execute(
        "UPDATE slack_outbox SET deadline = now() - interval '1 second' WHERE delivery_id = $1",
        row["delivery_id"],
    )


async def _state(db: Connection, row: Record) -> str:
    state: str = await db.fetchval(
        "SELECT state FROM slack_outbox WHERE delivery_id = $1", row["delivery_id"]
    )
    return state


# ------------------------------------------------------------------ adding


async def test_an_effect_added_again_changes_nothing(db, on, session):
    place = on.place(session["id"])
    reply = Effect("reply:1:0", "reply", {"markdown": "Hi"}, lane="reply", position=3)
    notice = Effect("notice:1:end", "notice", {"text": "Stopped."})
    await outbox.add(db, place, [reply])
    again = Effect("reply:1:0", "reply", {"markdown": "Hi again"}, lane="reply", position=7)
    await outbox.add(db, place, [again, notice, notice])
    rows = await db.fetch("SELECT effect_key, body, position FROM slack_outbox ORDER BY position")
    assert [tuple(row) for row in rows] == [
        ("notice:1:end", {"text": "Stopped."}, 0),
        ("reply:1:0", {"markdown": "Hi"}, 3),
    ]


async def test_an_effect_that_was_delivered_is_not_delivered_again(db, on, session):
    effect = Effect("notice:1:end", "notice", {"text": "Stopped."})
    await outbox.add(db, on.place(session["id"]), [effect])
    (due,) = await outbox.due(db, new_id(), 10)
    delivery = await outbox.claim(db, due, "deliverer", _LIMIT)
    assert delivery
    assert await outbox.mark_sent(db, delivery, "1.000001")
    await outbox.add(db, on.place(session["id"]), [effect])
    assert await _all_due(db) == set()


# ------------------------------------------------------------------ the line of a session


async def test_a_reply_waits_until_the_one_before_it_has_ended(db, session):
    first, second, third = [await factories.delivery(db, session) for _ in range(3)]
    assert await _all_due(db) == {_due(first)}
    for late in (second, third):
        assert await outbox.claim(db, _due(late), "eager", _LIMIT) is None
    delivery = await _claimed(db, first)
    assert await outbox.claim(db, _due(second), "eager", _LIMIT) is None
    await outbox.retry(db, delivery, timedelta(minutes=1), "ratelimited", unclear=False)
    assert await _all_due(db) == set(), "the one that waits for its time holds the line"
    await db.execute("UPDATE slack_outbox SET not_before = now()")
    await outbox.mark_sent(db, await _claimed(db, first), "1.000001")
    assert await _all_due(db) == {_due(second)}


async def test_of_several_those_are_claimed_that_are_to_be_had_without_a_wait(
    connect: Connect, db, on, session
):
    other = await factories.session(db, on)
    first, second = [await factories.delivery(db, session) for _ in range(2)]
    locked = await factories.delivery(db, other)
    holder = await connect()
    async with holder.transaction():
        await holder.execute(
            "SELECT FROM slack_outbox WHERE delivery_id = $1 FOR UPDATE", locked["delivery_id"]
        )
        ids = [row["delivery_id"] for row in (second, locked, first)]
        (found,) = await outbox.claim_some(db, on.agent_id, ids, "several", _LIMIT)
    assert (found.delivery_id, found.attempts, found.unclear) == (first["delivery_id"], 1, False)
    assert await _all_due(db) == {_due(locked)}


async def test_a_dead_reply_does_not_hold_the_line(db, session):
    first, second = [await factories.delivery(db, session) for _ in range(2)]
    await outbox.bury(db, await _claimed(db, first), "channel_not_found")
    assert await _state(db, first) == "dead"
    assert await _all_due(db) == {_due(second)}
    assert (await _claimed(db, second)).attempts == 1
    assert await outbox.dead_by_error(db, timedelta(hours=1)) == {"channel_not_found": 1}


async def test_notices_and_other_sessions_are_not_held(db, on, session):
    await _claimed(db, await factories.delivery(db, session))
    await factories.delivery(db, session)
    notice = await factories.delivery(db, session, lane="side", kind="notice")
    other = await factories.delivery(db, await factories.session(db, on))
    stranger = await factories.delivery(
        db, session, session_id=None, lane="side", kind="private", effect_key="stranger"
    )
    assert await _all_due(db) == {_due(notice), _due(other), _due(stranger)}
    for row in (notice, other, stranger):
        await _claimed(db, row)


async def test_every_lane_keeps_its_own_order_and_holds_no_other(db, on, session):
    reply = await factories.delivery(db, session)
    removal = await factories.delivery(db, session, lane="waiting:1", position=1, kind="reaction")
    addition = await factories.delivery(db, session, lane="waiting:1", position=0, kind="reaction")
    other = await factories.delivery(db, session, lane="waiting:2", position=1, kind="reaction")
    elsewhere = await factories.delivery(
        db, await factories.session(db, on), lane="waiting:1", position=1, kind="reaction"
    )
    assert await _all_due(db) == {_due(row) for row in (reply, addition, other, elsewhere)}
    assert await outbox.claim(db, _due(removal), "eager", _LIMIT) is None
    delivery = await _claimed(db, addition)
    assert _due(removal) not in await _all_due(db)
    await outbox.mark_sent(db, delivery, None)
    assert _due(removal) in await _all_due(db)


async def test_under_two_deliverers_replies_leave_in_order(connect: Connect, db, on):
    sessions = [await factories.session(db, on) for _ in range(4)]
    for session in sessions * 5:
        await factories.delivery(db, session)
    left: list[tuple[object, str]] = []

    async def deliver(connection: Connection) -> None:
        while found := await outbox.due(connection, new_id(), 10):
            for one in found:
                delivery = await outbox.claim(connection, one, "deliverer", _LIMIT)
                if delivery:
                    left.append((delivery.session_id, delivery.effect_key))
                    await outbox.mark_sent(connection, delivery, "1.000001")

    await asyncio.gather(*[deliver(await connect()) for _ in range(2)])
    assert await db.fetchval("SELECT count(*) FROM slack_outbox WHERE state <> 'sent'") == 0
    rows = await db.fetch("SELECT session_id, effect_key FROM slack_outbox ORDER BY position")
    for session in sessions:
        assert [key for id_, key in left if id_ == session["id"]] == [
            row["effect_key"] for row in rows if row["session_id"] == session["id"]
        ]


# ------------------------------------------------------------------ one deliverer at a time


async def test_of_twenty_claimers_one_delivers(connect: Connect, db, session):
    row = await factories.delivery(db, session)
    claimers = [await connect() for _ in range(20)]
    found = await asyncio.gather(*(outbox.claim(c, _due(row), "one", _LIMIT) for c in claimers))
    (delivery,) = [d for d in found if d]
    assert (delivery.claim_epoch, delivery.attempts, delivery.unclear) == (1, 1, False)


async def test_an_attempt_past_its_deadline_is_looked_into_by_the_next(db, session):
    row = await factories.delivery(db, session)
    late = await _claimed(db, row)
    assert await _all_due(db) == set()
    await _expire(db, row)
    assert await _all_due(db) == {_due(row)}
    successor = await _claimed(db, row)
    assert successor.unclear
    assert successor.claim_epoch == 2
    assert not await outbox.mark_sent(db, late, "1.000001")
    await outbox.retry(db, late, timedelta(0), "late", unclear=False)
    await outbox.bury(db, late, "late")
    assert await _state(db, row) == "sending"
    assert await outbox.mark_sent(db, successor, "1.000002")
    ended = await db.fetchrow("SELECT slack_ts, unclear, error FROM slack_outbox")
    assert tuple(ended) == ("1.000002", False, None)


async def test_an_unclear_outcome_is_remembered_until_it_is_settled(db, session):
    row = await factories.delivery(db, session)
    await outbox.retry(db, await _claimed(db, row), timedelta(0), "timeout", unclear=True)
    again = await _claimed(db, row)
    assert (again.unclear, again.attempts) == (True, 2)
    await outbox.retry(db, again, timedelta(0), "not there", unclear=False)
    assert not (await _claimed(db, row)).unclear


async def test_a_retry_waits_for_its_time(db, session):
    row = await factories.delivery(db, session, lane="side", kind="notice")
    await outbox.retry(db, await _claimed(db, row), timedelta(minutes=1), "away", unclear=False)
    assert await _all_due(db) == set()
    assert await outbox.claim(db, _due(row), "eager", _LIMIT) is None

"""Events of one message, and of one thread, in every order in which they may come."""

from itertools import permutations

import pytest

from router import routing
from router.intake import Intake
from router.routing import Arrival
from store import sessions
from store.database import Connection
from tests.store import factories
from tests.store.doors import arrival, in_order, intake, new_thread, rows, texts

# seconds after the message
_FIRST_EDIT = 60
_SECOND_EDIT = 70


@pytest.fixture
def thread() -> str:
    return new_thread()


def _edit(of: Arrival, seconds: int, text: str, **changes) -> Arrival:
    values = {"revision": int(of.ts) + seconds, "text": text, "slack_event_id": f"Ev {text}"}
    return _changed(of, **values | changes)


def _delete(of: Arrival) -> Arrival:
    return _changed(of, deleted=True, text="")


def _changed(of: Arrival, **changes) -> Arrival:
    return Arrival.from_json(of.to_json() | changes)


async def _after(door: Intake, arrivals: tuple[Arrival, ...]) -> None:
    await in_order(door, arrivals)
    await door.move_unclaimed()


async def _begin_turn(db: Connection, root: str) -> None:
    """As a worker does: what is queued leaves for the runtime."""
    session = await db.fetchrow("SELECT * FROM agent_sessions WHERE slack_thread_ts = $1", root)
    assert session
    turn = await db.fetchrow("SELECT * FROM agent_turns WHERE session_id = $1", session["id"])
    turn = turn or await factories.turn(db, session)
    await db.execute(
        "UPDATE session_inputs SET state = 'sent', turn_id = $2"
        " WHERE session_id = $1 AND state = 'queued'",
        session["id"],
        turn["id"],
    )


# ------------------------------------------------------------------ edits before the turn


async def test_a_mention_its_twin_and_their_edit_are_one_message_in_every_order(dsn, db, on):
    async with intake(dsn) as door:
        for order in permutations(range(4)):
            root = new_thread()
            mention = arrival(on, root)
            edit = _edit(mention, _FIRST_EDIT, "edited")
            events = [mention, mention, edit, edit]
            outcomes = await in_order(door, [events[n] for n in order])
            (row,) = await rows(db, root)
            assert (row["body"]["text"], row["revision"]) == ("edited", edit.revision), order
            assert row["state"] == "queued"
            changes = 1 if order[0] in (2, 3) else 2
            assert [o.kind for o in outcomes].count("accepted") == changes, order
    assert await db.fetchval("SELECT count(*) FROM slack_unclaimed") == 0


async def test_of_two_edits_the_newer_text_stays_in_every_order(dsn, db, on):
    async with intake(dsn) as door:
        for order in permutations(range(3)):
            root = new_thread()
            message = arrival(on, root)
            events = [
                message,
                _edit(message, _FIRST_EDIT, "once"),
                _edit(message, _SECOND_EDIT, "twice"),
            ]
            await in_order(door, [events[n] for n in order])
            assert await texts(db, root) == ["twice"], order


@pytest.mark.parametrize("followed", [False, True])
async def test_a_mention_added_by_an_edit_is_one_message_in_every_order(dsn, db, on, followed):
    """In a thread; at the top of a channel the original is ignored before it comes here."""
    async with intake(dsn) as door:
        for order in permutations(range(3)):
            root = new_thread()
            said = arrival(on, root, 10, addressed=False)
            edit = _edit(said, _FIRST_EDIT, "@agent edited", addressed=True)
            events = [said, edit, edit]
            if followed:
                await door.accept(arrival(on, root, text="before"))
            await _after(door, tuple(events[n] for n in order))
            assert await texts(db, root) == ["before", "@agent edited"][not followed :], order
    assert await db.fetchval("SELECT count(*) FROM slack_unclaimed") == 0


async def test_an_edit_that_takes_the_mention_away_changes_what_waits_and_makes_nothing(
    dsn, db, on, thread
):
    mention = arrival(on, thread)
    edit = _edit(mention, _FIRST_EDIT, "never mind", addressed=False, only_if_known=True)
    async with intake(dsn) as door:
        first = await door.accept(edit)
        assert (first.kind, first.reason) == ("ignored", "not_addressed")
        await in_order(door, [mention, edit])
        assert await texts(db, thread) == ["never mind"]
        other = arrival(on, thread, 5, addressed=False)
        edit = _edit(other, _FIRST_EDIT, "unheard", addressed=False, only_if_known=True)
        assert (await door.accept(edit)).kind == "duplicate"
    assert await texts(db, thread) == ["never mind"]


# ------------------------------------------------------------------ edits after it was sent


async def test_edits_of_a_sent_message_make_one_correction_each(dsn, db, on):
    async with intake(dsn) as door:
        for order in permutations(range(4)):
            root = new_thread()
            message = arrival(on, root)
            once = _edit(message, _FIRST_EDIT, "once")
            twice = _edit(message, _SECOND_EDIT, "twice")
            await door.accept(message)
            await _begin_turn(db, root)
            await in_order(door, [[once, once, twice, twice][n] for n in order])
            corrections = await texts(db, root, "queued")
            # the older edit is no news once the newer was seen
            assert corrections == (["once", "twice"] if order[0] in (0, 1) else ["twice"]), order
            original, *rest = await rows(db, root)
            assert (original["kind"], original["body"]["text"]) == ("message", message.text)
            assert {r["kind"] for r in rest} == {"correction"}
            assert rest[-1]["dedupe_key"] == f"{message.dedupe_key}#{twice.revision}"
            assert rest[-1]["order_key"] == twice.revision


@pytest.mark.parametrize("sent", [False, True])
async def test_an_edit_to_the_same_text_is_none(dsn, db, on, thread, sent):
    message = arrival(on, thread)
    async with intake(dsn) as door:
        await door.accept(message)
        if sent:
            await _begin_turn(db, thread)
        edit = _edit(message, _FIRST_EDIT, message.text)
        assert (await door.accept(edit)).kind == "duplicate"
    (row,) = await rows(db, thread)
    assert row["revision"] == edit.revision


async def test_the_way_back_to_the_first_text_is_a_correction_too(dsn, db, on, thread):
    message = arrival(on, thread, text="ten")
    async with intake(dsn) as door:
        await door.accept(message)
        await _begin_turn(db, thread)
        await door.accept(_edit(message, _FIRST_EDIT, "twenty"))
        await _begin_turn(db, thread)
        await door.accept(_edit(message, _FIRST_EDIT + 5, "twenty"))
        await door.accept(_edit(message, _SECOND_EDIT, "ten"))
    assert await texts(db, thread, "queued") == ["ten"]
    assert await texts(db, thread, "sent") == ["ten", "twenty"]


# ------------------------------------------------------------------ deletions


@pytest.mark.parametrize("addressed", [True, False])
async def test_a_deleted_message_waits_in_no_order_of_its_events(dsn, db, on, addressed):
    async with intake(dsn) as door:
        for order in permutations(range(3)):
            root = new_thread()
            message = arrival(on, root, addressed=addressed)
            events = [message, _edit(message, _FIRST_EDIT, "edited"), _delete(message)]
            await _after(door, tuple(events[n] for n in order))
            assert await texts(db, root) == [], order
            await door.accept(arrival(on, root, 20, text="another mention"))
            await _after(door, tuple(events[n] for n in order))
            assert await texts(db, root) == ["another mention"], order


@pytest.mark.parametrize("other", [-5, 5], ids=["earlier", "later"])
async def test_a_deletion_that_came_first_outlives_the_coming_of_the_session(
    dsn, db, on, thread, other
):
    message = arrival(on, thread, 10)
    async with intake(dsn) as door:
        kept = await door.accept(_delete(message))
        assert kept.kind == "kept"
        await door.accept(arrival(on, thread, 10 + other, text="another mention"))
        late = await door.accept(message)
        assert late.kind == "duplicate"
    assert await texts(db, thread) == ["another mention"]


async def test_a_deletion_takes_back_what_waits_and_marks_what_was_sent(dsn, db, on, thread):
    sent, waiting = arrival(on, thread), arrival(on, thread, 5)
    async with intake(dsn) as door:
        await door.accept(sent)
        await _begin_turn(db, thread)
        await door.accept(waiting)
        outcomes = await in_order(door, [_delete(sent), _delete(waiting), _delete(waiting)])
    assert [o.kind for o in outcomes] == ["duplicate", "accepted", "duplicate"]
    assert [(r["state"], r["deleted"]) for r in await rows(db, thread)] == [
        ("sent", True),
        ("withdrawn", True),
    ]


async def test_a_deletion_takes_back_a_correction_that_waits(dsn, db, on, thread):
    message = arrival(on, thread)
    async with intake(dsn) as door:
        await door.accept(message)
        await _begin_turn(db, thread)
        await door.accept(_edit(message, _FIRST_EDIT, "edited"))
        await door.accept(_delete(message))
        await door.accept(_edit(message, _SECOND_EDIT, "edited before it was deleted"))
    assert await texts(db, thread, "queued") == []


# ------------------------------------------------------------------ replies that overtake


async def test_a_reply_that_overtakes_its_mention_is_taken_in_with_it(dsn, db, on):
    async with intake(dsn) as door:
        for order in permutations(range(3)):
            root = new_thread()
            reply = arrival(on, root, 5, addressed=False, text="reply")
            events = [
                arrival(on, root, text="mention"),
                reply,
                _edit(reply, _FIRST_EDIT, "edited reply", addressed=False),
            ]
            await _after(door, tuple(events[n] for n in order))
            assert await texts(db, root) == ["mention", "edited reply"], order
    assert await db.fetchval("SELECT count(*) FROM slack_unclaimed") == 0
    assert await db.fetchval("SELECT bool_and(wake_seq > 0) FROM agent_sessions")


async def test_a_reply_that_raced_is_moved_by_the_sweep(dsn, connect, db, on, thread):
    other = await connect()
    mention, reply = arrival(on, thread), arrival(on, thread, 5, addressed=False)
    async with intake(dsn) as door:
        async with other.transaction():
            found = await routing.follow(other, [mention])
            kept = await door.accept(reply)
            assert (kept.kind, kept.reason) == ("kept", "not_followed")
            (followed,) = found.verdicts
            assert isinstance(followed, routing.Followed)
            key = mention.conversation_key
            await sessions.wake_or_create(
                other, [on.new_session(key, id=followed.thread.session_id, slack_thread_ts=thread)]
            )
        assert await texts(db, thread) == []
        await door.move_unclaimed()
        assert await texts(db, thread) == [reply.text]
        await door.move_unclaimed()
    assert await db.fetchval("SELECT count(*) FROM slack_unclaimed") == 0
    assert await db.fetchval("SELECT wake_seq FROM agent_sessions") == 2


async def test_talk_before_the_mention_is_not_for_the_agent(dsn, db, on, thread):
    before = arrival(on, thread, 3, addressed=False, text="before")
    async with intake(dsn) as door:
        await door.accept(before)
        await door.accept(arrival(on, thread, 5, text="mention"))
        again = await door.accept(before)
        assert (again.kind, again.reason) == ("kept", "before_session")
        await door.move_unclaimed()
        assert await texts(db, thread) == ["mention"]
        await door.accept(arrival(on, thread, 1, text="an earlier mention, late"))
        await door.move_unclaimed()
    assert await texts(db, thread) == ["an earlier mention, late", "before", "mention"]


async def test_a_reply_in_an_old_thread_that_nobody_follows_is_ignored(dsn, db, on):
    reply = arrival(on, new_thread(age=600), 590, addressed=False)
    async with intake(dsn) as door:
        ignored = await door.accept(reply)
    assert (ignored.kind, ignored.reason) == ("ignored", "not_followed")
    assert await db.fetchval("SELECT count(*) FROM slack_unclaimed") == 0


async def test_what_nobody_claims_is_forgotten(dsn, db, on):
    deleted = arrival(on, new_thread())
    reply = arrival(on, new_thread(), 5, addressed=False)
    count = "SELECT count(*) FROM slack_unclaimed"
    async with intake(dsn) as door:
        await in_order(door, [_delete(deleted), reply])
        for age, left in (("4 minutes", 2), ("6 minutes", 1), ("24 hours", 1), ("26 hours", 0)):
            await db.execute(
                "UPDATE slack_unclaimed SET created_at = now() - $1::text::interval", age
            )
            await door.move_unclaimed()
            assert await db.fetchval(count) == left, age


async def test_a_muted_thread_hears_only_mentions(dsn, db, on, thread):
    async with intake(dsn) as door:
        await door.accept(arrival(on, thread, text="mention"))
        await db.execute("UPDATE slack_threads SET muted = true")
        reply = await door.accept(arrival(on, thread, 5, addressed=False))
        assert (reply.kind, reply.reason) == ("ignored", "muted")
        await door.accept(arrival(on, thread, 6, text="mention again"))
    assert await texts(db, thread) == ["mention", "mention again"]


async def test_messages_are_in_the_order_in_which_they_were_written(dsn, db, on, thread):
    async with intake(dsn) as door:
        await in_order(door, [arrival(on, thread, n, text=str(n)) for n in (3, 0, 2, 1)])
    assert await texts(db, thread) == ["0", "1", "2", "3"]

"""What is said below a question's card in the escalation channel, in every order and beside others."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest

from router import intake as intake_module
from router.errors import AcceptUnavailable
from router.routing import Arrival, Followed
from store import escalations, threads
from store.database import Connection, Record
from store.escalations import NewEscalation
from store.ids import new_id
from store.leases import Ready
from store.threads import Pin, Thread
from tests.store import factories
from tests.store.doors import arrival, in_order, intake, new_thread, rows
from tests.store.factories import Ground
from tests.store.locks import together
from tests.support import eventually


@dataclass(frozen=True, slots=True)
class Question:
    """What an agent asks; its card is the root of a thread in another channel."""

    on: Ground
    session: Record
    turn_id: UUID
    id: UUID
    root: str

    def reply(self, text: str = "yes", seconds: int = 5, **changes: Any) -> Arrival:
        """What somebody writes below the card."""
        key = f"A1:T1:C9:{self.root}"
        ts = Decimal(self.root) + seconds
        place = {"conversation_key": key, "channel_id": "C9", "dedupe_key": f"msg:A1:T1:C9:{ts}"}
        told = {"text": text, "addressed": False, "actor_team_id": "T1"} | place
        return arrival(self.on, self.root, seconds, **told | changes)

    async def pin(self, db: Connection) -> None:
        """As delivery does once the card stands in the channel."""
        thread = Thread(
            slack_conversation_key=f"A1:T1:C9:{self.root}",
            deployed_agent_id=self.on.agent_id,
            workspace_id=self.on.workspace_id,
            session_id=self.session["id"],
            muted=False,
            first_ts=Decimal(self.root),
            escalation_id=self.id,
        )
        await threads.pin(db, [Pin(thread, "A1", "C9", self.root)])


async def asked(db: Connection, on: Ground, key: str = "home", **columns: Any) -> Question:
    """A question of a session that nobody holds, its card posted but not pinned yet."""
    session = await factories.session(db, on, slack_conversation_key=key, **columns)
    turn = await factories.turn(db, session, state="running")
    new = NewEscalation(
        id=new_id(),
        turn_id=turn["id"],
        runtime_event_id=f"sevt_{new_id().hex}",
        question="Which one?",
        context="",
        choices=[],
        arguments_hash=b"hash",
        policy={"who": ["channel"]},
        requesters=["U1"],
        ping=None,
        channel_install_id=on.install_id,
        channel_id="C9",
    )
    assert await escalations.add(db, await factories.held(db, session), new)
    await db.execute(
        "UPDATE agent_sessions SET lease_owner = NULL, lease_expires_at = NULL, ready_at = NULL"
        " WHERE id = $1",
        session["id"],
    )
    return Question(on, session, turn["id"], new.id, new_thread())


@pytest.fixture
async def question(db: Connection, on: Ground) -> Question:
    made = await asked(db, on)
    await made.pin(db)
    return made


async def decisions(db: Connection) -> list[tuple[str, str]]:
    """The state and the text of each reply, in order."""
    found = await db.fetch(
        "SELECT state, body->'reply'->>'text' AS text FROM session_inputs"
        " WHERE kind = 'decision' ORDER BY order_key"
    )
    return [tuple(row) for row in found]


def edited(reply: Arrival, text: str, seconds: int = 60) -> Arrival:
    return replace(reply, text=text, revision=reply.ts + seconds)


def deleted(reply: Arrival) -> Arrival:
    return replace(reply, text="", deleted=True)


async def test_a_reply_below_the_card_is_a_decision_of_the_asking_session(dsn, db, on, question):
    reply = question.reply("The second.", client_key="c1", slack_event_id="Ev1")
    async with intake(dsn) as door:
        outcome, again = await in_order(door, [reply, reply])
    assert (outcome.kind, outcome.session) == (
        "accepted",
        Ready(on.agent_id, question.session["id"]),
    )
    assert again.kind == "duplicate"
    (row,) = await db.fetch("SELECT * FROM session_inputs")
    assert (row["kind"], row["state"], row["session_id"]) == (
        "decision",
        "queued",
        question.session["id"],
    )
    assert row["body"] == {
        "turn": str(question.turn_id),
        "reply": {
            "escalation": str(question.id),
            "text": "The second.",
            "user": "U1",
            "team": "T1",
            "root_ts": question.root,
        },
    }
    assert (row["dedupe_key"], row["order_key"]) == (reply.dedupe_key, reply.ts)
    assert (row["client_key"], row["slack_event_id"]) == ("c1", "Ev1")
    session = await db.fetchrow("SELECT * FROM agent_sessions")  # no other one was made
    assert (session["wake_seq"], session["slack_channel_id"]) == (3, "C1")
    assert session["ready_at"] is not None


async def test_with_a_mention_or_without_each_reply_is_one_decision(dsn, db, question):
    async with intake(dsn) as door:
        await in_order(
            door, [question.reply("one", 5), question.reply("two", 6, addressed=True)] * 2
        )
    assert await decisions(db) == [("queued", "one"), ("queued", "two")]
    assert await db.fetchval("SELECT count(*) FROM agent_sessions") == 1


@pytest.mark.parametrize("word", ["stop", "mute", "unmute"])
async def test_words_that_are_commands_elsewhere_are_answers_here(dsn, db, question, word):
    async with intake(dsn) as door:
        await door.accept(question.reply(word, command=word))
        await door.accept(question.reply("go on", 6))
    assert await decisions(db) == [("queued", word), ("queued", "go on")]


async def test_a_new_title_a_stop_button_and_a_file_alone_answer_nothing(dsn, db, question):
    async with intake(dsn) as door:
        outcomes = await in_order(
            door,
            [
                question.reply("A title", command="rename"),
                question.reply("", 6, command="stop"),
                question.reply("", 7, files=({"name": "a"},)),
                question.reply("  \n", 8),
            ],
        )
    assert {o.kind for o in outcomes} <= {"ignored", "duplicate"}
    assert await decisions(db) == []


async def test_an_edit_replaces_what_was_not_taken_in_every_order(dsn, db, question):
    async with intake(dsn) as door:
        for number, order in enumerate(permutations(range(3))):
            reply = question.reply("no", 5 + number)
            events = [reply, edited(reply, "perhaps"), edited(reply, "yes", 61)]
            await in_order(door, [events[n] for n in order])
    assert await decisions(db) == [("queued", "yes")] * 6


async def test_a_deletion_withdraws_what_was_not_taken_in_every_order(dsn, db, question):
    async with intake(dsn) as door:
        for number, order in enumerate(permutations(range(3))):
            reply = question.reply("no", 5 + number)
            events = [reply, edited(reply, "yes"), deleted(reply)]
            await in_order(door, [events[n] for n in order])
    assert [state for state, _ in await decisions(db)] == ["withdrawn"] * 6


async def test_an_edit_that_leaves_no_words_withdraws(dsn, db, question):
    reply = question.reply("no")
    async with intake(dsn) as door:
        await in_order(door, [reply, edited(reply, " ")])
    assert [state for state, _ in await decisions(db)] == ["withdrawn"]


async def test_what_comes_after_it_was_taken_changes_nothing(dsn, db, question):
    reply = question.reply("no")
    async with intake(dsn) as door:
        await door.accept(reply)
        await db.execute(
            "UPDATE session_inputs SET state = 'done', turn_id = $1, ended_at = now()",
            question.turn_id,
        )
        await in_order(door, [reply, edited(reply, "yes"), deleted(reply)])
    assert await decisions(db) == [("done", "no")]


async def test_a_reply_after_the_decision_is_for_the_holder_to_judge(dsn, db, question):
    await db.execute(
        "UPDATE agent_escalations SET state = 'answered', answer = 'x', decided_at = now()"
    )
    async with intake(dsn) as door:
        outcome = await door.accept(question.reply())
    assert outcome.kind == "accepted"
    assert await decisions(db) == [("queued", "yes")]


async def test_of_an_archived_session_the_writer_is_told_where_they_mentioned_us(dsn, db, question):
    await db.execute(
        "UPDATE agent_sessions SET status = 'archived', archived_at = now(), ready_at = NULL"
    )
    async with intake(dsn) as door:
        plain = await door.accept(question.reply())
        mention = await door.accept(question.reply(seconds=6, addressed=True))
    assert (plain.kind, plain.reason) == ("ignored", "archived_unaddressed")
    assert (mention.kind, mention.reason) == ("refused", "archived")
    assert await decisions(db) == []


async def test_a_stranger_answers_nothing(dsn, db, question):
    async with intake(dsn) as door:
        outcome = await door.accept(question.reply(stranger=True))
    assert (outcome.kind, outcome.reason) == ("refused", "stranger")
    assert await decisions(db) == []


# ------------------------------------------------------------------ before the card is pinned


async def test_a_reply_that_overtakes_the_pin_of_its_card_is_moved_by_the_sweep(dsn, db, on):
    made = await asked(db, on)
    reply = made.reply("no")
    async with intake(dsn) as door:
        kept = await in_order(door, [reply, edited(reply, "yes")])
        assert {(o.kind, o.reason) for o in kept} == {("kept", "not_followed")}
        await door.move_unclaimed()
        assert await decisions(db) == []
        await made.pin(db)
        await door.move_unclaimed()
        assert await decisions(db) == [("queued", "yes")]
        await door.move_unclaimed()
        assert await decisions(db) == [("queued", "yes")]
    assert await db.fetchval("SELECT count(*) FROM slack_unclaimed") == 0
    assert await db.fetchval("SELECT count(*) FROM agent_sessions") == 1


async def _on_its_way(db: Connection, made: Question) -> Record:
    """The posting of its card, which a process died in."""
    return await factories.delivery(
        db,
        made.session,
        kind="card",
        lane=f"card:{made.id}:1:channel",
        slack_conversation_key=f"escalation:{made.id}",
        channel_id="C9",
        body={"card": "escalation", "id": str(made.id)},
        state="sending",
        claimed_by="dead",
        deadline=datetime.now(UTC),
    )


async def test_a_mention_that_overtakes_the_pin_of_its_card_comes_again(dsn, db, on):
    made = await asked(db, on)
    card = await _on_its_way(db, made)
    mention = made.reply("the second", addressed=True)
    async with intake(dsn) as door:
        early, beside, top = await together(
            door.accept(mention),
            door.accept(arrival(on, new_thread(), 5)),
            door.accept(_in_channel(on, new_thread(), 0)),
        )
        assert isinstance(early, AcceptUnavailable)
        assert [getattr(o, "kind", o) for o in (beside, top)] == ["accepted"] * 2
        await made.pin(db)
        await db.execute(
            "UPDATE slack_outbox SET state = 'sent', ended_at = now(), claimed_by = NULL,"
            " deadline = NULL WHERE delivery_id = $1",
            card["delivery_id"],
        )
        assert (await door.accept(mention)).kind == "accepted"
        joined = await door.accept(_in_channel(on, new_thread(), 5))
        assert joined.kind == "accepted"
    assert await decisions(db) == [("queued", "the second")]
    assert await db.fetchval("SELECT count(*) FROM agent_sessions") == 1 + 3


async def test_a_thread_from_before_the_question_is_joined_at_once(dsn, db, on):
    made = await asked(db, on)
    await _on_its_way(db, made)
    async with intake(dsn) as door:
        joined = await door.accept(_in_channel(on, new_thread(age=30), 20))
    assert joined.kind == "accepted"
    assert await decisions(db) == []


def _in_channel(on: Ground, root: str, seconds: int) -> Arrival:
    """A mention in the escalation channel that is below no card."""
    key, ts = f"A1:T1:C9:{root}", Decimal(root) + seconds
    place = {"conversation_key": key, "channel_id": "C9", "dedupe_key": f"msg:A1:T1:C9:{ts}"}
    return arrival(on, root, seconds, **place)


async def test_what_waits_for_a_pin_is_not_dropped_by_a_mention_that_raced_with_it(
    dsn, connect, db, on
):
    """The mention sees no thread, waits for the pin that is being made, and finds it then."""
    made, pinning = await asked(db, on), await connect()
    async with intake(dsn) as door:
        await door.accept(made.reply("first", 5))
        transaction = pinning.transaction()
        await transaction.start()
        await made.pin(pinning)

        async def pinned() -> None:
            await _somebody_waits_for(db, pinning)
            await transaction.commit()

        mention, _ = await together(door.accept(made.reply("second", 6, addressed=True)), pinned())
        assert getattr(mention, "kind", mention) == "accepted"
        await door.move_unclaimed()
    assert await decisions(db) == [("queued", "first"), ("queued", "second")]
    assert await db.fetchval("SELECT count(*) FROM agent_sessions") == 1


async def _somebody_waits_for(db: Connection, holder: Connection) -> None:
    await eventually(
        lambda: db.fetchval(
            "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid)))",
            holder.get_server_pid(),
        ),
        says="a pin that waits",
    )


# ------------------------------------------------------------------ beside other arrivals


async def test_a_batch_locks_no_session_for_a_reply_that_is_in_it(connect, db, on, question):
    """Else it would take its locks out of order; what it has found is committed apart."""
    accepting = await connect()
    async with accepting.transaction():
        reply, message = await intake_module._accept(
            accepting, [question.reply(), arrival(on, new_thread())]
        )
        assert isinstance(reply, Followed)
        assert getattr(message, "kind", None) == "accepted"
        assert await db.fetchval(
            "SELECT id FROM agent_sessions WHERE id = $1 FOR UPDATE NOWAIT", question.session["id"]
        )


async def test_replies_and_messages_at_once_close_no_circle(dsn, db, on, _no_second_chance):
    """Their sessions sort by their homes, their threads the other way round."""
    roots = [new_thread() for _ in range(8)]
    made = [await asked(db, on, f"A1:T1:C1:{root}", slack_thread_ts=root) for root in roots]
    for one in reversed(made):
        await one.pin(db)
        await _pin_home(db, one)
    arrivals = [
        wanted
        for n in range(5)
        for one in made
        for wanted in (
            one.reply(f"reply {n}", 5 + n),
            arrival(on, one.session["slack_thread_ts"], 5 + n, text=f"message {n}"),
        )
    ]
    async with intake(dsn) as first, intake(dsn) as second:
        outcomes = await together(
            *(first.accept(a) for a in arrivals), *(second.accept(a) for a in reversed(arrivals))
        )
    assert not [o for o in outcomes if isinstance(o, Exception)]
    assert sorted(await decisions(db)) == sorted([("queued", f"reply {n}") for n in range(5)] * 8)
    assert await db.fetchval("SELECT count(*) FROM session_inputs WHERE kind = 'message'") == 40
    assert await db.fetchval("SELECT count(*) FROM agent_sessions") == 8


async def _pin_home(db: Connection, one: Question) -> None:
    thread = Thread(
        slack_conversation_key=one.session["slack_conversation_key"],
        deployed_agent_id=one.on.agent_id,
        workspace_id=one.on.workspace_id,
        session_id=one.session["id"],
        muted=False,
        first_ts=Decimal(one.session["slack_thread_ts"]),
    )
    await threads.pin(db, [Pin(thread, "A1", "C1", one.session["slack_thread_ts"])])


async def test_a_reply_behind_a_locked_session_comes_again_and_holds_up_nobody(
    dsn, connect, db, on, question, _hurried
):
    holder = await connect()
    root = new_thread()
    async with intake(dsn) as door:
        async with holder.transaction():
            await holder.execute("UPDATE agent_sessions SET title = title")
            stuck, passed = await together(
                door.accept(question.reply()), door.accept(arrival(on, root))
            )
        assert isinstance(stuck, AcceptUnavailable)
        assert getattr(passed, "kind", passed) == "accepted"
        assert (await door.accept(question.reply())).kind == "accepted"
    assert len(await rows(db, root)) == 1


async def test_two_questions_of_one_session_are_answered_apart(dsn, db, on, question):
    session = await db.fetchrow("SELECT * FROM agent_sessions")
    other = await _beside(db, on, session, question)
    async with intake(dsn) as door:
        await together(
            door.accept(question.reply("to the first")), door.accept(other.reply("to the second"))
        )
    found = await db.fetch("SELECT body->'reply' AS reply FROM session_inputs")
    assert {(r["reply"]["escalation"], r["reply"]["text"]) for r in found} == {
        (str(question.id), "to the first"),
        (str(other.id), "to the second"),
    }


async def _beside(db: Connection, on: Ground, session: Record, first: Question) -> Question:
    new = new_id()
    await db.execute(
        "INSERT INTO agent_escalations (id, deployed_agent_id, workspace_id, session_id, turn_id,"
        " runtime_event_id, question, arguments_hash, policy, requesters, channel_install_id,"
        " channel_id) SELECT $2, deployed_agent_id, workspace_id, session_id, turn_id, 'another',"
        " question, arguments_hash, policy, requesters, channel_install_id, channel_id"
        " FROM agent_escalations WHERE id = $1",
        first.id,
        new,
    )
    other = Question(on, session, first.turn_id, new, new_thread())
    await other.pin(db)
    return other

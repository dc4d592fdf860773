"""What the rows of approvals and escalations promise by themselves, whoever writes them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from store import approvals, budgets, escalations, turns
from store.approvals import Approval, NewApproval
from store.database import Connection
from store.escalations import Escalation, NewEscalation
from store.ids import new_id
from store.leases import Held
from tests.store import factories
from tests.store.factories import Ground

BY = {"origin": "slack", "user": "U1", "name": "Ada", "team": "T1"}


async def _asked(db: Connection, on: Ground, **changes: Any) -> tuple[Held, Approval]:
    session = await factories.session(db, on)
    turn = await factories.turn(db, session)
    held = await factories.held(db, session)
    values: dict[str, Any] = {
        "id": new_id(),
        "turn_id": turn["id"],
        "runtime_event_id": "sevt_1",
        "tool": "bash",
        "server": None,
        "arguments": {},
        "arguments_hash": b"hash",
        "policy": {"who": ["requester"]},
        "requesters": ["U1"],
    }
    new = NewApproval(**values | changes)
    assert await approvals.add(db, held, new)
    row = await approvals.get(db, held.deployed_agent_id, new.id)
    assert row is not None
    return held, row


async def _now(db: Connection, row: Approval) -> Approval:
    found = await approvals.get(db, row.deployed_agent_id, row.id)
    assert found is not None
    return found


async def test_a_call_is_asked_about_once(db, on):
    held, row = await _asked(db, on)
    again = NewApproval(new_id(), row.turn_id, "sevt_1", "bash", None, {}, b"", {"who": []}, ["U1"])
    assert not await approvals.add(db, held, again)


async def test_the_first_decision_wins(db, on):
    _, row = await _asked(db, on)
    assert await approvals.decide(db, row, "allow", BY, None) == 1
    assert await approvals.decide(db, row, "deny", BY, "no") is None
    decided = await _now(db, row)
    assert (decided.state, decided.verdict, decided.reason) == ("allowed", "allow", None)


async def test_a_decision_on_an_older_card_is_none(db, on):
    _, row = await _asked(db, on, expire=timedelta(seconds=-1))
    assert await approvals.expire(db, row) == 1
    again = await approvals.ask_again(db, row, {}, b"other", None, None)
    assert again is not None
    assert (again.card_no, again.state, again.arguments_hash) == (2, "pending", b"other")
    assert await approvals.decide(db, row, "allow", BY, None) is None
    assert await approvals.decide(db, again, "deny", BY, "no") is not None


async def test_a_person_has_one_vote_for_each_card(db, on):
    _, row = await _asked(db, on)
    first = await approvals.vote(db, row, "T1/U1", BY)
    again = await approvals.vote(db, row, "T1/U1", BY)
    other = await approvals.vote(db, row, "T1/U2", BY)
    assert [first.counted, again.counted, other.counted] == [True, False, True]
    assert [len(v.voters) for v in (first, again, other)] == [1, 1, 2]


async def test_it_runs_out_only_when_its_time_is_over_and_only_while_it_waits(db, on):
    _, early = await _asked(db, on, expire=timedelta(hours=1))
    assert await approvals.expire(db, early) is None
    assert await approvals.due(db, 10) == []
    _, decided = await _asked(db, on, remind=timedelta(seconds=-1), expire=timedelta(seconds=-1))
    assert [row.id for row in await approvals.due(db, 10)] == [decided.id]
    await approvals.decide(db, decided, "allow", BY, None)
    assert await approvals.due(db, 10) == []
    assert await approvals.expire(db, decided) is None
    assert not await approvals.reminded(db, decided)


async def test_what_is_open_of_a_turn_is_closed_and_what_is_told_is_left(db, on):
    held, row = await _asked(db, on)
    told = NewApproval(new_id(), row.turn_id, "sevt_2", "bash", None, {}, b"", {"who": []}, ["U1"])
    await approvals.add(db, held, told)
    other = await approvals.get(db, held.deployed_agent_id, told.id)
    assert other is not None
    await approvals.decide(db, other, "allow", BY, None)
    await approvals.delivered(db, held.lease, [other.id], "confirmed")
    closed = await approvals.close(db, held.lease, row.turn_id, None, BY, "over")
    assert [(c.id, c.state, c.reason) for c in closed] == [(row.id, "closed", "over")]
    assert (await _now(db, other)).state == "confirmed"


async def test_a_decision_that_was_not_told_at_the_end_is_void_and_keeps_who_decided(db, on):
    held, row = await _asked(db, on)
    await approvals.decide(db, row, "deny", BY, "no")
    (closed,) = await approvals.close(db, held.lease, row.turn_id, None, {"name": "x"}, "over")
    assert (closed.state, closed.decided_by, closed.reason) == ("void", BY, "no")


_CANNOT_BE = [
    ("state = 'allowed', verdict = 'allow'", "open_is_undecided"),
    ("state = 'pending', decided_at = now()", "open_is_undecided"),
    ("state = 'confirmed', decided_at = now()", "decided_says_how"),
    ("state = 'allowed', decided_at = now(), verdict = 'deny'", "verdict_is_the_state"),
    (
        "state = 'closed', decided_at = now(), expires_at = now()",
        "only_open_ones_run_out",
    ),
    ("state = 'maybe'", "agent_approvals_state_check"),
    ("card_no = 0", "agent_approvals_card_no_check"),
]


@pytest.mark.parametrize(("change", "constraint"), _CANNOT_BE)
async def test_an_approval_that_cannot_be_is_refused(db, on, change: str, constraint: str):
    await _asked(db, on)
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await db.execute(f"UPDATE agent_approvals SET {change}")
    assert refused.value.constraint_name == constraint


async def _question(db: Connection, on: Ground, ping: timedelta | None = None) -> Escalation:
    session = await factories.session(db, on)
    turn = await factories.turn(db, session)
    held = await factories.held(db, session)
    new = NewEscalation(
        id=new_id(),
        turn_id=turn["id"],
        runtime_event_id="sevt_1",
        question="which?",
        context="",
        choices=[],
        arguments_hash=b"",
        policy={"who": ["channel"]},
        requesters=["U1"],
        ping=ping,
        channel_install_id=None,
        channel_id=None,
    )
    assert await escalations.add(db, held, new)
    assert not await escalations.add(db, held, new)
    row = await escalations.get(db, held.deployed_agent_id, new.id)
    assert row is not None
    return row


async def test_the_first_answer_wins_and_a_cancelled_question_takes_none(db, on):
    row = await _question(db, on)
    assert await escalations.answer(db, row, "blue", BY) == 1
    assert await escalations.answer(db, row, "red", BY) is None
    assert await escalations.cancel(db, row, BY) is None
    other = await _question(db, on)
    assert await escalations.cancel(db, other, BY) == 1
    assert await escalations.answer(db, other, "red", BY) is None


async def test_people_are_called_once_for_each_time(db, on):
    row = await _question(db, on, ping=timedelta(seconds=-1))
    assert [r.id for r in await escalations.due(db, 10)] == [row.id]
    assert await escalations.pinged(db, row, None)
    assert not await escalations.pinged(db, row, None)
    assert await escalations.due(db, 10) == []


async def test_waiting_turns_are_looked_at_oldest_first_and_each_by_one(db, on, connect):
    """No sooner again than asked for; one that somebody holds locked is left to them."""
    now = datetime.now(UTC)
    for minutes in (1, 3, 2):
        session = await factories.session(db, on, anthropic_session_id=f"sesn_{minutes}")
        looked_at = now - timedelta(minutes=minutes)
        await factories.turn(db, session, state="awaiting_human", looked_at=looked_at)
    age = timedelta(seconds=90)
    assert await turns.unread(db, age, 10) == 2
    assert await turns.oldest_look(db) > timedelta(minutes=2.9)
    other = await connect()
    async with other.transaction():
        (first,) = await turns.take_a_look(other, age, 1)
        assert first.anthropic_session_id == "sesn_3"
        (second,) = await turns.take_a_look(db, age, 2)
        assert second.anthropic_session_id == "sesn_2"
    assert await turns.take_a_look(db, age, 10) == []
    assert await turns.oldest_look(db) < timedelta(minutes=1.9)


async def test_the_looks_of_all_processes_keep_one_pace(db):
    """So many a minute and no more, whoever asks; the burst is five."""
    each = timedelta(hours=1)
    key = b"k" * 32
    first = await budgets.take_some(db, key, "look", 5, each, each * 5)
    second = await budgets.take_some(db, key, "look", 5, each, each * 5)
    assert first.count + second.count == 5

"""What a home tab is read from: one person's, of one install, and never another workspace's."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from router import clock
from store import homes
from store.database import Connection, Record
from store.homes import Recent
from store.ids import new_id
from tests.store import factories
from tests.store.factories import Ground

RULES = ["user:U1", "channel"]


async def asked(
    db: Connection, table: str, of: Record, *, who: tuple[str, ...] = ("requester",), **columns: Any
) -> UUID:
    """Something that waits for people, in a turn of its own."""
    turn = await factories.turn(db, of, state="completed", stop_reason="x", ended_at=clock.now())
    values = {
        "id": (made := new_id()),
        "deployed_agent_id": of["deployed_agent_id"],
        "workspace_id": of["workspace_id"],
        "session_id": of["id"],
        "turn_id": turn["id"],
        "runtime_event_id": f"event {made}",
        "arguments_hash": b"h",
        "policy": {"who": list(who)},
        "requesters": ["U1"],
    }
    await factories.insert(db, table, **values | columns)
    return made


async def approval(db: Connection, of: Record, **columns: Any) -> UUID:
    return await asked(db, "agent_approvals", of, **{"tool": "bash", "arguments": {}} | columns)


async def question(db: Connection, of: Record, **columns: Any) -> UUID:
    return await asked(db, "agent_escalations", of, **{"question": "Which?"} | columns)


async def waiting(db: Connection, on: Ground, user: str = "U1", rules: list[str] = RULES) -> Any:
    whose = (on.workspace_id, on.install_id, user, rules)
    found = [*await homes.approvals(db, *whose), *await homes.questions(db, *whose)]
    return [one.asked.id for one in found]


async def recent(
    db: Connection, on: Ground, user: str = "U1", limit: int = 10
) -> tuple[list[Recent], int]:
    return await homes.sessions(db, on.workspace_id, on.install_id, user, limit)


# ------------------------------------------------------------------ sessions


async def test_a_persons_sessions_come_by_their_last_move(db: Connection):
    on = await factories.ground(db)
    now = clock.now()
    for n, title in enumerate(["old", "older", "oldest"]):
        session = await factories.session(
            db, on, title=title, created_by="U1", created_at=now - timedelta(days=n + 1)
        )
        ended = now - timedelta(hours=3 - n)
        for number in (1, 2):
            await factories.turn(
                db,
                session,
                number=number,
                state="completed" if number == 2 else "failed",
                stop_reason="x",
                started_at=ended,
                ended_at=ended,
            )
    await factories.session(db, on, title="new", created_by="U1")
    await factories.session(db, on, title="another's", created_by="U2")
    found, count = await recent(db, on, limit=3)
    assert [one.title for one in found] == ["new", "oldest", "older"]
    assert [one.turn for one in found] == [None, "completed", "completed"]
    assert count == 4
    assert (found[0].channel_id, found[0].thread_ts, found[0].status) == ("C1", "1.000000", "idle")
    assert await recent(db, on, "U3") == ([], 0)


async def test_no_more_than_fifty_sessions_are_looked_at(db: Connection):
    on = await factories.ground(db)
    for _ in range(55):
        await factories.session(db, on, created_by="U1")
    found, count = await recent(db, on)
    assert (len(found), count) == (10, 50)


async def test_another_install_or_workspace_has_its_own_sessions(db: Connection):
    on, other = await factories.ground(db), await factories.ground(db)
    second = await factories.install(db, on.workspace_id, on.agent_id)
    await factories.session(db, on, created_by="U1", slack_install_id=second)
    await factories.session(db, other, created_by="U1")
    assert await recent(db, on) == ([], 0)
    crossed = Ground(on.workspace_id, on.agent_id, other.install_id)
    assert await recent(db, crossed) == ([], 0)


# ------------------------------------------------------------------ what waits


async def test_what_may_wait_for_a_person_is_found_by_its_policy(db: Connection):
    on = await factories.ground(db)
    session = await factories.session(db, on)
    expected = [
        await approval(db, session),
        await approval(db, session, who=("user:U1",), requesters=["U2"]),
        await approval(db, session, who=("channel",), requesters=["U2"]),
        await approval(db, session, who=("group:S1",), requesters=["U2"]),
    ]
    await approval(db, session, requesters=["U2"])
    await approval(db, session, who=("user:U2", "admins"), requesters=["U1"])
    asks = await question(db, session)
    await question(db, session, requesters=["U2"])
    assert await waiting(db, on) == [*expected, asks]
    admin = await waiting(db, on, "U9", ["user:U9", "admins"])
    assert len(admin) == 2  # the admins', and the group's


async def test_what_is_settled_or_voted_for_waits_no_more(db: Connection):
    on = await factories.ground(db)
    session = await factories.session(db, on)
    await approval(db, session, state="expired")
    await approval(db, session, state="confirmed", verdict="allow", decided_at=clock.now())
    await question(db, session, state="cancelled", decided_at=clock.now())
    voted, again = await approval(db, session), await approval(db, session, card_no=2)
    for row in (voted, again):
        await factories.insert(
            db,
            "approval_votes",
            deployed_agent_id=on.agent_id,
            approval_id=row,
            card_no=1,
            person="T1/U1",
            voter={"user": "U1"},
        )
    assert await waiting(db, on) == [again]


async def test_nothing_waits_for_anybody_of_another_workspace_or_install(db: Connection):
    on, other = await factories.ground(db), await factories.ground(db)
    second = await factories.install(db, on.workspace_id, on.agent_id)
    for who in (("requester",), ("channel",), ("user:U1",), ("group:S1",)):
        session = await factories.session(db, other)
        await approval(db, session, who=who)
        await question(db, session, who=who)
    elsewhere = await factories.session(db, on, slack_install_id=second)
    await approval(db, elsewhere)
    await question(db, elsewhere)
    assert await waiting(db, on) == []
    assert await waiting(db, Ground(on.workspace_id, on.agent_id, other.install_id)) == []
    assert await waiting(db, Ground(other.workspace_id, other.agent_id, on.install_id)) == []


async def test_a_question_waits_where_it_was_asked_beside_its_thread(db: Connection):
    """In the escalation channel of this install, though its thread is another's, or nowhere."""
    on = await factories.ground(db)
    second = await factories.install(db, on.workspace_id, on.agent_id)
    session = await factories.session(db, on, slack_install_id=second)
    asks = await question(db, session, channel_install_id=on.install_id, channel_id="C9")
    [found] = await homes.questions(db, on.workspace_id, on.install_id, "U1", RULES)
    assert (found.asked.id, found.home, found.thread_ts, found.elsewhere) == (
        asks,
        None,
        None,
        "C9",
    )
    [there] = await homes.questions(db, on.workspace_id, second, "U1", RULES)
    assert (there.home, there.thread_ts, there.elsewhere) == ("C1", "1.000000", None)


async def test_who_began_a_session_is_known(db: Connection):
    on = await factories.ground(db)
    session = await factories.session(db, on, created_by="U1")
    assert await homes.whose(db, on.agent_id, session["id"]) == "U1"
    assert await homes.whose(db, new_id(), session["id"]) is None

"""What lists show: whose, in which order, page by page, through every filter."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID

import pytest

from store import (
    agents,
    approvals_read,
    database,
    escalations_read,
    members,
    sessions_read,
    tenancy,
)
from store.agents import Agent, NameTaken, NewAgent
from store.database import Connection, Record
from store.ids import new_id
from store.sessions_read import SOURCES, STATUSES, Filters, Session
from tests.store import factories, tenants
from tests.store.factories import Ground

_START = datetime(2026, 3, 1, tzinfo=UTC)
_EVERYTHING = Filters()


async def _session(
    db: Connection, on: Ground, status: str = "idle", source: str = "slack", **columns: Any
) -> Record:
    values: dict[str, Any] = {"status": status, "source": source, "created_at": _START} | columns
    if status == "archived":
        values |= {"archived_at": _START, "ready_at": None}
    return await factories.session(db, on, **values)


async def _page(
    db: Connection,
    on: Ground,
    filters: Filters = _EVERYTHING,
    after: tuple[datetime, UUID] | None = None,
    limit: int = 50,
) -> list[Session]:
    return await sessions_read.page(
        db, on.workspace_id, on.agent_id, filters, after=after, limit=limit
    )


async def _pages(read: Callable[..., Awaitable[list[Any]]], limit: int) -> list[Any]:
    """All that a list has, so many at a time; `read` takes where to go on and how many."""
    found: list[Any] = []
    after: tuple[datetime, UUID] | None = None
    while page := await read(after, limit):
        found += page
        after = getattr(page[-1], "created_at", None) or page[-1].asked_at, page[-1].id
    return found


# ------------------------------------------------------------------ sessions


async def test_a_session_is_shown_without_what_only_its_worker_needs(db, on):
    row = await _session(db, on, title="Hi", slack_team_id="T1", usage_snapshot={"input": 1})
    found = await sessions_read.get(db, on.workspace_id, on.agent_id, row["id"])
    assert found is not None
    shown = {name: getattr(found, name) for name in found.__slots__}
    assert shown == {name: row[name] for name in shown} | {"usage_snapshot": {"input": 1}}
    hidden = ("lease", "wake", "ready", "place", "position", "barren", "failures")
    assert not [name for name in shown if any(part in name for part in hidden)]


async def test_a_session_is_found_only_under_its_agent_and_workspace(db, on):
    row = await _session(db, on)
    theirs = await factories.ground(db)
    second = await factories.agent(db, on.workspace_id)
    for workspace_id, agent_id in (
        (theirs.workspace_id, on.agent_id),
        (on.workspace_id, theirs.agent_id),
        (on.workspace_id, second),
    ):
        assert await sessions_read.get(db, workspace_id, agent_id, row["id"]) is None
        found = await sessions_read.page(
            db, workspace_id, agent_id, _EVERYTHING, after=None, limit=9
        )
        assert found == []


@pytest.mark.parametrize("limit", [1, 2, 5, 100])
async def test_pages_of_any_size_show_each_session_once_newest_first(db, on, limit):
    kinds = list(product(STATUSES, SOURCES))
    rows = [  # three at each moment, so that the id decides too
        await _session(db, on, *kinds[n // 2 % 12], created_at=_START + timedelta(seconds=n // 3))
        for n in range(24)
    ]
    found = await _pages(lambda after, limit: _page(db, on, after=after, limit=limit), limit)
    rows.sort(key=lambda row: (row["created_at"], row["id"]), reverse=True)
    assert [session.id for session in found] == [row["id"] for row in rows]


async def test_what_comes_in_between_moves_no_page(db, on):
    old = [await _session(db, on, created_at=_START + timedelta(seconds=n)) for n in range(4)]
    first = await _page(db, on, limit=2)
    await _session(db, on, created_at=_START + timedelta(hours=1))
    await db.execute("UPDATE agent_sessions SET updated_at = now(), title = 'other'")
    second = await _page(db, on, after=(first[-1].created_at, first[-1].id), limit=2)
    assert [s.id for s in first + second] == [row["id"] for row in reversed(old)]


async def test_every_filter_and_all_of_them_together(db, on):
    made: dict[int, Record] = {}
    for n, (status, source) in enumerate(product(STATUSES, SOURCES)):
        title = f"About 100% of Ärger_{n}" if n % 2 else None
        made[n] = await _session(
            db, on, status, source, title=title, created_at=_START + timedelta(days=n)
        )

    async def shown(**filters: Any) -> list[int]:
        found = await _page(db, on, Filters(**filters))
        return sorted(n for n, row in made.items() if row["id"] in {s.id for s in found})

    assert await shown() == list(range(12))
    assert await shown(statuses=("running",)) == [4, 5, 6, 7]
    assert await shown(sources=("slack", "slack")) == [1, 5, 9]
    assert await shown(statuses=("idle", "archived"), sources=("webhook",)) == [3, 11]
    assert await shown(statuses=()) == []
    assert await shown(title="ärger_1") == [1, 11]
    assert await shown(title="ÄRGER_1") == [1, 11]
    assert await shown(title="100%") == [1, 3, 5, 7, 9, 11]
    assert await shown(title="%") == [1, 3, 5, 7, 9, 11]
    assert await shown(title="a%e") == []
    third, fifth = made[3]["created_at"], made[5]["created_at"]
    assert await shown(created_from=third, created_before=fifth) == [3, 4]
    assert await shown(created_from=fifth, statuses=("running",), title="about") == [5, 7]


# ------------------------------------------------------------------ approvals and escalations


@pytest.fixture
async def below(db, on):
    session = await factories.session(db, on)
    turn = await factories.turn(db, session)
    return {
        "deployed_agent_id": on.agent_id,
        "workspace_id": on.workspace_id,
        "session_id": session["id"],
        "turn_id": turn["id"],
    }


@pytest.fixture
async def elsewhere(db, on, below):
    """Another session of the agent."""
    session = await factories.session(db, on)
    turn = await factories.turn(db, session)
    return below | {"session_id": session["id"], "turn_id": turn["id"]}


_LISTS: dict[str, tuple[Any, Callable[..., Awaitable[Record]], dict[str, Any]]] = {
    "approvals": (approvals_read, tenants.approval, {"state": "closed", "decided_at": _START}),
    "escalations": (
        escalations_read,
        tenants.escalation,
        {"state": "cancelled", "decided_at": _START},
    ),
}


@pytest.mark.parametrize("kind", _LISTS)
@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_what_was_asked_is_listed_newest_first_page_by_page(
    db, on, below, elsewhere, kind, limit
):
    module, make, over = _LISTS[kind]
    rows = []
    for n in range(8):
        of = (below, elsewhere)[n // 4]
        at = _START + timedelta(seconds=n // 2)
        rows.append(await make(db, of, asked_at=at, **(over if n % 2 else {})))
    rows.sort(key=lambda row: (row["asked_at"], row["id"]), reverse=True)

    async def listed(states: tuple[str, ...], session_id: UUID | None = None) -> list[UUID]:
        whose = (db, on.workspace_id, on.agent_id)

        async def read(after: tuple[datetime, UUID] | None, limit: int) -> list[Any]:
            if session_id is None:
                found = await module.page(*whose, states, after=after, limit=limit)
            else:
                whole = (*whose, session_id, states)
                found = await module.of_session(*whole, after=after, limit=limit)
            return list(found)

        return [one.id for one in await _pages(read, limit)]

    def wanted(states: tuple[str, ...], session_id: UUID | None = None) -> list[UUID]:
        return [
            row["id"]
            for row in rows
            if row["state"] in states and session_id in (None, row["session_id"])
        ]

    for states in (module.STATES, ("pending",), ("pending", "pending", over["state"]), ()):
        assert await listed(states) == wanted(states)
        for of in (below, elsewhere):
            assert await listed(states, of["session_id"]) == wanted(states, of["session_id"])


@pytest.mark.parametrize("kind", _LISTS)
async def test_what_was_asked_is_shown_only_under_its_agent_and_workspace(db, on, below, kind):
    module, make, _ = _LISTS[kind]
    row = await make(db, below)
    theirs = await factories.ground(db)
    found = await module.get(db, on.workspace_id, on.agent_id, row["id"])
    assert found is not None
    assert found.id == row["id"]
    for workspace_id, agent_id in (
        (theirs.workspace_id, on.agent_id),
        (on.workspace_id, theirs.agent_id),
    ):
        whose = (db, workspace_id, agent_id)
        assert await module.get(*whose, row["id"]) is None
        assert await module.page(*whose, module.STATES, after=None, limit=9) == []
        of_session = module.of_session(
            *whose, below["session_id"], module.STATES, after=None, limit=9
        )
        assert await of_session == []


# ------------------------------------------------------------------ agents


def _new_agent(on: Ground, **changes: Any) -> NewAgent:
    values: dict[str, Any] = {
        "id": new_id(),
        "workspace_id": on.workspace_id,
        "name": "helper",
        "anthropic_agent_id": "agent_2",
        "anthropic_environment_id": "env_2",
        "settings": {"busy": "queue"},
    }
    return NewAgent(**values | changes)


async def test_an_agent_is_made_once_under_an_id_and_a_name(db, on):
    new = _new_agent(on)
    made = await agents.create(db, new)
    assert (made.id, made.name, made.status) == (new.id, "helper", "active")
    assert made.settings == {"busy": "queue"}
    assert await agents.create(db, new) == made
    with pytest.raises(NameTaken):
        await agents.create(db, _new_agent(on))
    elsewhere = await factories.ground(db)
    await agents.create(db, _new_agent(elsewhere))


async def test_an_agent_is_found_listed_and_changed_only_in_its_workspace(db, on):
    theirs = await factories.ground(db)
    made = [await agents.create(db, _new_agent(on, name=f"a{n}")) for n in range(3)]
    assert await agents.find(db, on.workspace_id, made[0].id) == made[0]
    assert await agents.find(db, theirs.workspace_id, made[0].id) is None
    assert await agents.change(db, theirs.workspace_id, made[0].id, status="paused") is None

    async def read(after: tuple[datetime, UUID] | None, limit: int) -> list[Agent]:
        return await agents.page(db, on.workspace_id, after=after, limit=limit)

    found = await _pages(read, 2)
    assert [agent.id for agent in found[:3]] == [agent.id for agent in reversed(made)]
    assert [agent.id for agent in found[3:]] == [on.agent_id]


async def test_of_an_agent_only_what_is_given_changes(db, on):
    made = await agents.create(db, _new_agent(on))
    paused = await agents.change(db, on.workspace_id, made.id, status="paused")
    assert paused is not None
    assert (paused.name, paused.status, paused.settings) == ("helper", "paused", made.settings)
    renamed = await agents.change(db, on.workspace_id, made.id, name="aide", settings={})
    assert renamed is not None
    assert (renamed.name, renamed.status, renamed.settings) == ("aide", "paused", {})
    await agents.create(db, _new_agent(on))
    with pytest.raises(NameTaken):
        await agents.change(db, on.workspace_id, made.id, name="helper")


# ------------------------------------------------------------------ members


async def test_the_workspaces_of_a_person_and_the_people_of_a_workspace(db, on):
    theirs = await factories.ground(db)
    for n in range(5):
        await members.put_member(db, on.workspace_id, f"person {n}", "member")
    await members.put_member(db, theirs.workspace_id, "person 0", "owner")
    roles = {m.workspace_id: m.role for m in await members.workspaces_of(db, "person 0")}
    assert roles == {on.workspace_id: "member", theirs.workspace_id: "owner"}
    assert await members.workspaces_of(db, "nobody") == []
    everybody = await members.page(db, on.workspace_id)
    assert [m.user_id for m in everybody] == [f"person {n}" for n in reversed(range(5))]
    found: list[members.Member] = []
    after: tuple[datetime, str] | None = None
    while page := await members.page(db, on.workspace_id, after=after, limit=2):
        found += page
        after = (page[-1].created_at, page[-1].user_id)
    assert found == everybody
    asked = {"person 1", "person 4", "nobody"}
    assert await members.among(db, on.workspace_id, asked) == {"person 1", "person 4"}
    assert await members.among(db, theirs.workspace_id, asked) == set()


# ------------------------------------------------------------------ as a tenant


async def test_a_tenant_reads_all_lists_of_its_own_and_no_others_even_if_it_asks(db, dsn):
    ours, theirs = await tenants.furnished(db), await tenants.furnished(db)
    pool = await database.open_pool(dsn, size=1)

    async def lists(connection: Connection, on: Ground) -> dict[str, list[Any]]:
        whose = (connection, on.workspace_id, on.agent_id)
        return {
            "sessions": await sessions_read.page(*whose, _EVERYTHING, after=None, limit=9),
            "approvals": await approvals_read.page(
                *whose, approvals_read.STATES, after=None, limit=9
            ),
            "escalations": await escalations_read.page(
                *whose, escalations_read.STATES, after=None, limit=9
            ),
            "agents": await agents.page(connection, on.workspace_id, after=None, limit=9),
            "members": await members.page(connection, on.workspace_id),
        }

    async with tenancy.tenant(pool, ours.workspace_id) as connection:
        assert {
            n: len(rows) for n, rows in (await lists(connection, ours)).items()
        } == dict.fromkeys(("sessions", "approvals", "escalations", "agents", "members"), 1)
        assert set(map(tuple, (await lists(connection, theirs)).values())) == {()}
        made = await agents.create(connection, _new_agent(ours))
        changed = await agents.change(connection, ours.workspace_id, made.id, status="paused")
        assert changed is not None
    await database.close_pool(pool)

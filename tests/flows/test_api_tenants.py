"""Who may do what, and that nobody finds anything of another workspace: made from the route table."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import pytest

from router.api import serve
from router.api.auth.principals import ROLES as RANKS
from router.api.limits import Limits
from router.api.route import Myself, Route, Streamed
from router.api.table import ROUTES
from store import keys, members, sessions_read, tenancy
from store.database import Connection
from store.ids import new_id
from store.keys import NewKey
from tests.flows.api import Caller, House, Said, house
from tests.harness import World
from tests.store.factories import agent, insert, workspace
from tests.store.tenants import approval, escalation

QUIET = frozenset({"ingress", "delivery", "api"})
OF_AGENT = [route for route in ROUTES if route.of_agent]
# What is looked for by its id, below an agent that is the caller's own.
DEEPER = [route for route in OF_AGENT if route.path.count("{") > 1]
NAMES = ("session_id", "approval_id", "escalation_id", "key_id")


@dataclass(frozen=True, slots=True)
class Owned:
    """An agent of some workspace, with one of everything that a path can name."""

    agent_id: UUID
    ids: dict[str, UUID]


async def owned(db: Connection, workspace_id: UUID, agent_id: UUID | None = None) -> Owned:
    """One of everything, below a new agent or the one that there is."""
    agent_id = agent_id or await agent(db, workspace_id)
    of = {"deployed_agent_id": agent_id, "workspace_id": workspace_id}
    session = new_id()
    await insert(db, "agent_sessions", **of, id=session, source="dashboard", title="secret")
    turn = new_id()
    await insert(
        db,
        "agent_turns",
        **of,
        id=turn,
        session_id=session,
        number=1,
        state="completed",
        stop_reason="end_turn",
        ended_at=(await db.fetchval("SELECT now()")),
    )
    below = of | {"session_id": session, "turn_id": turn}
    policy = {"who": ["requester"], "quorum": 1, "remember": "no"}
    held = await approval(db, below, policy=policy, requesters=["member:member"])
    asked = await escalation(db, below, policy={"who": ["requester"]}, requesters=["member:member"])
    key, _ = await keys.make(db, NewKey(workspace_id, agent_id, "program", "member"))
    ids = (session, held["id"], asked["id"], key.id)
    return Owned(agent_id, dict(zip(NAMES, ids, strict=True)))


def address(route: Route, agent_id: UUID, ids: dict[str, UUID]) -> str:
    """The route's path with these ids."""
    return route.path.format(agent_id=agent_id, **ids)


async def asked(caller: Caller, route: Route, path: str) -> Said:
    """The route's own example, sent to that address; a stream is hung up on at once."""
    if isinstance(route.work, Streamed):
        async with caller.http.get(
            caller.url + path,
            headers={"Authorization": f"Bearer {caller.token}"} if caller.token else {},
        ) as response:
            raw = await response.read() if response.status != 200 else b""
            body = await response.json(content_type=None) if raw else None
            return Said(response.status, response.headers, body, raw)
    return await caller.call(route.method, path, route.example)


# ------------------------------------------------------------------ other workspaces


@asynccontextmanager
async def two_tenants(here: World) -> AsyncIterator[tuple[House, Owned, Owned]]:
    """Ours and theirs; `owner` owns ours, `stranger` theirs."""
    theirs_id = await workspace(here.connection)
    async with house(here, roles=QUIET) as on:
        await members.put_member(here.connection, theirs_id, "stranger", "owner")
        ours = await owned(here.connection, here.workspace_id, here.agent_id)
        theirs = await owned(here.connection, theirs_id)
        yield on, ours, theirs


@pytest.fixture
async def tenants(here: World) -> AsyncIterator[tuple[House, Owned, Owned]]:
    async with two_tenants(here) as made:
        yield made


async def test_another_workspaces_agent_is_not_there(tenants: tuple[House, Owned, Owned]):
    on, ours, theirs = tenants
    for route in OF_AGENT:
        await _agent_is_not_there(on, ours, theirs, route)


async def _agent_is_not_there(on: House, ours: Owned, theirs: Owned, route: Route) -> None:
    before = await everything(on.here)
    nobody = await asked(on.callers["owner"], route, address(route, uuid4(), ours.ids))
    for ids in (theirs.ids, ours.ids):
        foreign = await asked(on.callers["owner"], route, address(route, theirs.agent_id, ids))
        assert (foreign.status, foreign.slug) == (404, "not-found"), route.operation_id
        assert foreign.raw == nobody.raw
    said = await asked(on.person("stranger"), route, address(route, ours.agent_id, ours.ids))
    assert (said.status, said.slug) == (404, "not-found")
    program = await asked(await on.key("admin"), route, address(route, theirs.agent_id, theirs.ids))
    assert (program.status, program.slug) == (404, "not-found")
    assert await everything(on.here) == before


async def test_another_workspaces_things_are_not_below_our_agent(
    tenants: tuple[House, Owned, Owned],
):
    on, ours, theirs = tenants
    for route in DEEPER:
        await _thing_is_not_there(on, ours, theirs, route)


async def _thing_is_not_there(on: House, ours: Owned, theirs: Owned, route: Route) -> None:
    before = await everything(on.here)
    nobodys = {name: uuid4() for name in NAMES}
    said = [
        await asked(on.callers["owner"], route, address(route, ours.agent_id, ids))
        for ids in (theirs.ids, nobodys)
    ]
    assert [(one.status, one.slug) for one in said] == [(404, "not-found")] * 2
    assert said[0].raw == said[1].raw
    assert await everything(on.here) == before


async def test_another_agents_things_are_not_below_this_one(tenants: tuple[House, Owned, Owned]):
    """Of the same workspace: a path is one thing."""
    on, ours, _ = tenants
    sibling = await owned(on.here.connection, on.here.workspace_id)
    for route in DEEPER:
        said = await asked(on.callers["owner"], route, address(route, ours.agent_id, sibling.ids))
        assert (said.status, said.slug) == (404, "not-found"), route.operation_id


async def test_lists_show_nothing_of_others(tenants: tuple[House, Owned, Owned]):
    on, ours, theirs = tenants
    for path in ("/sessions", "/approvals", "/escalations", "/keys"):
        page = (await on.callers["owner"].get(path)).ok()
        assert {row["workspace_id"] for row in page["data"]} == {str(on.here.workspace_id)}, path
        session = theirs.ids["session_id"]
        if path in ("/approvals", "/escalations"):
            found = await on.callers["owner"].get(f"{path}?session_id={session}")
            assert found.ok()["data"] == []
            mine = await on.callers["owner"].get(f"{path}?session_id={ours.ids['session_id']}")
            assert len(mine.ok()["data"]) == 1
    listed = (await on.callers["owner"].call("GET", "/dashboard/agents")).ok()
    assert [row["id"] for row in listed["data"]] == [str(ours.agent_id)]
    people = (await on.callers["owner"].call("GET", "/dashboard/members")).ok()
    assert {row["user_id"] for row in people["data"]} == set(RANKS)


async def test_a_workspace_that_is_not_ours_is_not_there(tenants: tuple[House, Owned, Owned]):
    on, _, theirs = tenants
    foreign = await on.here.row(
        "SELECT workspace_id FROM deployed_agents WHERE id = $1", theirs.agent_id
    )
    program = await on.key("admin")
    routes = [r for r in ROUTES if not r.of_agent and not isinstance(r.work, Myself)]
    for route, workspace_id in product(routes, (foreign["workspace_id"], uuid4())):
        path = f"{route.path}?workspace_id={workspace_id}"
        said = await asked(on.callers["owner"], route, path)
        assert (said.status, said.slug) == (404, "not-found")
        by_key = await asked(program, route, path)
        assert (by_key.status, by_key.slug) == (404, "not-found")


async def test_who_belongs_to_two_workspaces_names_the_one_that_is_meant(
    tenants: tuple[House, Owned, Owned],
):
    on, _, theirs = tenants
    other = await on.here.row(
        "SELECT workspace_id FROM deployed_agents WHERE id = $1", theirs.agent_id
    )
    await members.put_member(on.here.connection, other["workspace_id"], "viewer", "admin")
    both = on.callers["viewer"]
    unclear = await both.call("GET", "/dashboard/agents")
    assert (unclear.status, unclear.slug) == (422, "invalid")
    assert unclear.body["errors"][0]["loc"] == ["query", "workspace_id"]
    path = f"/dashboard/agents?workspace_id={other['workspace_id']}"
    assert [row["id"] for row in (await both.call("GET", path)).ok()["data"]] == [
        str(theirs.agent_id)
    ]
    # an admin there, a viewer here
    wanted = {"name": "new", "anthropic_agent_id": "a", "anthropic_environment_id": "e"}
    assert (await both.call("POST", path, wanted)).status == 201
    here = f"/dashboard/agents?workspace_id={on.here.workspace_id}"
    assert (await both.call("POST", here, wanted)).slug == "forbidden"
    me = (await both.call("GET", "/dashboard/me")).ok()
    assert {one["role"] for one in me["workspaces"]} == {"viewer", "admin"}


async def everything(here: World) -> list[dict[str, Any]]:
    """All that a request could have changed."""
    tables = ["agent_sessions", "session_inputs", "agent_approvals", "agent_escalations"]
    tables += ["deployed_agents", "slack_outbox", "idempotency_keys", "audit_entries"]
    rows = []
    for table in tables:
        rows += await here.rows(
            f"SELECT '{table}' AS name, t::text AS row FROM {table} t ORDER BY 2"
        )
    return rows


# ------------------------------------------------------------------ roles


async def test_each_role_may_do_what_the_table_says(here: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(serve, "Limits", lambda: Limits(writes=1000))
    async with house(here, roles=QUIET) as on:
        programs = {role: await on.key(role) for role in ("viewer", "member", "admin")}
        for route in ROUTES:
            ours = await owned(here.connection, here.workspace_id, here.agent_id)
            path = address(route, ours.agent_id, ours.ids)
            await _roles_of(on, route, path, programs)


async def _roles_of(on: House, route: Route, path: str, programs: dict[str, Caller]) -> None:
    for role in RANKS:
        said = await asked(on.callers[role], route, path)
        enough = RANKS.index(role) >= RANKS.index(route.role)
        refused = said.status == 403 and "takes the role" in said.body["detail"]
        assert refused == (not enough), (route.operation_id, role, said.raw)
        assert said.status < 500, said.raw
    for role, program in programs.items():
        said = await asked(program, route, path)
        enough = RANKS.index(role) >= RANKS.index(route.role) and not route.people
        refused = said.status == 403 and "not yours to decide" not in said.body["detail"]
        assert refused == (not enough), (route.operation_id, role, said.raw)


async def test_nobody_gets_in_without_proof(here: World):
    async with house(here, roles=QUIET) as on:
        ours = await owned(here.connection, here.workspace_id, here.agent_id)
        for route, token in product(ROUTES, (None, "tl_aaaaaaaa_" + "a" * 43, "a.b.c")):
            path = address(route, ours.agent_id, ours.ids)
            said = await asked(on.caller(token), route, path)
            assert (said.status, said.slug) == (401, "unauthenticated"), route.operation_id
            assert said.headers["WWW-Authenticate"].startswith("Bearer")
            assert said.headers["Cache-Control"] == "no-store"


async def test_without_settings_every_route_says_which_are_missing(here: World):
    async with house(here, roles=QUIET, supabase_jwt_secret=None) as on:
        for route in ROUTES:
            path = address(route, here.agent_id, {name: uuid4() for name in NAMES})
            said = await asked(on.callers["owner"], route, path)
            assert (said.status, said.slug) == (503, "not-configured"), route.operation_id
            assert said.body["variables"] == ["SUPABASE_URL", "SUPABASE_JWT_SECRET"]


async def test_without_settings_slack_goes_on_and_the_documents_are_there(here: World):
    async with house(
        here, roles=frozenset({"ingress", "worker", "delivery", "api"}), supabase_jwt_secret=None
    ) as on:
        asked_ = await here.slack.say("ada", "general", "@threadline hello")
        await here.answers(asked_.channel, asked_.ts, 1)
        nobody = on.caller(None)
        assert (await nobody.call("GET", "/dashboard/anything")).slug == "not-configured"
        document = await nobody.call("GET", "/openapi.json")
        assert document.ok()["openapi"] == "3.1.0"
        known = {"If-None-Match": document.headers["ETag"]}
        assert (await nobody.call("GET", "/openapi.json", headers=known)).status == 304
        page = await nobody.call("GET", "/docs")
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert "sha256-" in page.headers["Content-Security-Policy"]


async def test_a_process_without_the_role_has_no_api(here: World):
    async with house(here, roles=frozenset({"ingress", "worker", "delivery"})) as on:
        for path in ("/dashboard/me", "/openapi.json", "/docs"):
            assert (await on.member.call("GET", path)).status == 404
        assert (await on.member.call("GET", "/healthz")).status == 200


# ------------------------------------------------------------------ the second wall


async def test_the_work_of_a_route_runs_as_the_tenant(here: World, monkeypatch: pytest.MonkeyPatch):
    """Whatever a store function forgot to ask for: as the tenant there is nothing of others."""
    seen: list[tuple[str, int]] = []
    read = sessions_read.get

    async def looking(connection: Connection, *of: Any) -> Any:
        role = await connection.fetchval("SELECT current_user")
        seen.append((role, await connection.fetchval("SELECT count(*) FROM agent_sessions")))
        return await read(connection, *of)

    other = await owned(here.connection, await workspace(here.connection))
    async with house(here, roles=QUIET) as on:
        session = await on.member.session()
        monkeypatch.setattr(sessions_read, "get", looking)
        for _ in range(2):
            (await on.member.post(f"/sessions/{session['id']}/messages", {"text": "hi"})).ok(202)
    assert seen == [("threadline_tenant", 1)] * 2
    assert other.ids["session_id"] != UUID(session["id"])


async def test_where_the_tenants_role_is_missing_the_doors_stay_shut(
    here: World, monkeypatch: pytest.MonkeyPatch
):
    async with house(here, roles=QUIET) as on:
        session, program = await on.member.session(), await on.key()
        for name in ("_AS_TENANT", "_AS_MEMBER"):
            monkeypatch.setattr(tenancy, name, _without_role(getattr(tenancy, name)))
        one = await here.connection.fetchval(
            "SELECT pg_get_functiondef('threadline_enter'::regproc)"
        )
        await here.connection.execute(_without_role(one))
        for caller in (on.member, program):
            for path in ("/sessions", f"/sessions/{session['id']}"):
                said = await caller.get(path)
                assert (said.status, said.slug) == (503, "unavailable"), path
            said = await caller.post("/sessions", {"title": "silent"})
            assert (said.status, said.slug) == (503, "unavailable")


def _without_role(statement: str) -> str:
    assert "'threadline_tenant'" in statement
    return statement.replace("threadline_tenant", "nobody_of_that_name")


# ------------------------------------------------------------------ browsers


async def test_pages_of_other_origins_get_in_only_where_they_are_trusted(here: World):
    trusted, stranger = "https://app.example", "https://evil.example"
    async with house(here, roles=QUIET, threadline_cors_origins=trusted) as on:
        path = on.member.below("/sessions")
        ask = {"Access-Control-Request-Method": "POST"}
        nobody = on.caller(None)
        let_in = await nobody.call("OPTIONS", path, headers=ask | {"Origin": trusted})
        assert let_in.status == 204
        assert let_in.headers["Access-Control-Allow-Origin"] == trusted
        assert let_in.headers["Access-Control-Allow-Methods"] == "GET, POST"
        assert "Idempotency-Key" in let_in.headers["Access-Control-Allow-Headers"]
        kept_out = await nobody.call("OPTIONS", path, headers=ask | {"Origin": stranger})
        assert (kept_out.status, kept_out.slug) == (405, "method-not-allowed")
        read = await on.member.call("GET", path, headers={"Origin": trusted})
        assert read.headers["Access-Control-Allow-Credentials"] == "true"
        foreign = await on.member.call("GET", path, headers={"Origin": stranger})
        assert "Access-Control-Allow-Origin" not in foreign.headers
        assert foreign.headers["X-Content-Type-Options"] == "nosniff"
        assert foreign.headers["Vary"] == "Authorization, Cookie, Origin"


async def test_the_database_away_is_a_problem_that_may_be_tried_again(
    here: World, monkeypatch: pytest.MonkeyPatch
):
    async def away(*_: Any, **__: Any) -> None:
        raise ConnectionRefusedError

    async def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    async with house(here, roles=QUIET) as on:
        monkeypatch.setattr(sessions_read, "page", away)
        said = await on.member.get("/sessions")
        assert (said.status, said.slug, said.headers["Retry-After"]) == (503, "unavailable", "1")
        monkeypatch.setattr(sessions_read, "page", broken)
        bug = await on.member.get("/sessions")
        assert (bug.status, bug.slug) == (500, "internal")
        assert bug.body["reference"] in bug.body["detail"]

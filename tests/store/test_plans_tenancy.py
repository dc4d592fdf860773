"""Behind the second wall the statements read the indexes that they read without it."""

import json
from itertools import product
from typing import Any
from uuid import UUID

import pytest

from store import (
    agents,
    approvals_read,
    database,
    escalations_read,
    idempotency,
    keys,
    members,
    sessions_read,
    tenancy,
)
from store.database import Connection
from store.sessions_read import SOURCES, STATUSES
from tests.store import tenants
from tests.store.test_plans import (
    _AGENT,
    _ASKED_ID,
    _LIMIT,
    _READS,
    _SESSION,
    _generic_plan,
    _judge,
    _nodes,
)

_WORKSPACE = UUID(int=99)
_ALL = [list(SOURCES[:3]), list(STATUSES), None, "", "", *[None] * 4, 51]
# Statement, its parameters, and an index that it must read.
_OF_TENANTS: dict[str, tuple[str, list[Any], str | None]] = {
    "sessions_read.get": (
        sessions_read._GET,
        [_WORKSPACE, _AGENT, _SESSION],
        "agent_sessions_pkey",
    ),
    "sessions_read.page": (
        sessions_read._PAGE,
        [_WORKSPACE, _AGENT, *_ALL],
        "agent_sessions_newest",
    ),
    "approvals_read.get": (approvals_read._GET, [_WORKSPACE, _AGENT, _ASKED_ID], None),
    "approvals_read.page": (
        approvals_read._PAGE,
        [_WORKSPACE, _AGENT, ["pending"], None, None, 51],
        "agent_approvals_newest",
    ),
    "approvals_read.of_session": (
        approvals_read._OF_SESSION,
        [_WORKSPACE, _AGENT, _SESSION, ["pending"], None, None, 51],
        None,
    ),
    "escalations_read.get": (escalations_read._GET, [_WORKSPACE, _AGENT, _ASKED_ID], None),
    "escalations_read.page": (
        escalations_read._PAGE,
        [_WORKSPACE, _AGENT, ["pending"], None, None, 51],
        "agent_escalations_newest",
    ),
    "escalations_read.of_session": (
        escalations_read._OF_SESSION,
        [_WORKSPACE, _AGENT, _SESSION, ["pending"], None, None, 51],
        None,
    ),
    "agents.find": (agents._FIND, [_WORKSPACE, _AGENT], None),
    "agents.page": (agents._PAGE, [_WORKSPACE, None, None, 51], None),
}
# What is asked before a workspace is known, or of all of them: by the product's own login.
_BEFORE: dict[str, tuple[str, list[Any], str | None]] = {
    "tenancy.as_member": (tenancy._AS_MEMBER, [_AGENT, "person"], None),
    "members.workspaces_of": (members._WORKSPACES_OF, ["person"], "workspace_members_user"),
    "keys.find": (keys._FIND, ["tl_abcdefgh"], "api_keys_prefix_key"),
    "idempotency.known": (
        idempotency._KNOWN,
        [_AGENT, _WORKSPACE, "member:1", "POST /", "key"],
        "idempotency_keys_pkey",
    ),
    "idempotency.old": (idempotency._OLD, [_LIMIT, 500], "idempotency_keys_age"),
    "idempotency.cleanup": (
        idempotency._CLEANUP,
        [_AGENT, ["member:1"], ["POST /"], ["key"], _LIMIT],
        "idempotency_keys_pkey",
    ),
}
_MANY_ROWS = {"workspace_members", "idempotency_keys", "api_keys"}
_MANY = """
INSERT INTO workspace_members (workspace_id, user_id, role)
SELECT (SELECT id FROM workspaces), 'person ' || n, 'member' FROM generate_series(1, 5000) n;
INSERT INTO idempotency_keys (deployed_agent_id, workspace_id, principal, route, key, body_hash,
    work_id, claimed_until, status, created_at)
SELECT gen_random_uuid(), (SELECT id FROM workspaces), 'member:1', 'POST /', 'key', '',
       gen_random_uuid(), NULL, 201, now() - n * interval '1 minute' FROM generate_series(1, 5000) n;
INSERT INTO api_keys (id, workspace_id, deployed_agent_id, name, prefix, secret_hash, role)
SELECT gen_random_uuid(), workspace_id, id, 'program', 'tl_' || n, sha256(n::text::bytea), 'member'
FROM deployed_agents, generate_series(1, 5000) n;
ANALYZE workspace_members, idempotency_keys, api_keys
"""


@pytest.fixture
async def owner(grown: str):
    """A login that no policy spares, on the grown database."""
    admin = await database.connect(grown)
    if not await admin.fetchval("SELECT EXISTS (SELECT FROM api_keys)"):
        await admin.execute(_MANY)
    async with tenants.ordinary_owner(admin) as role:
        connection = await database.connect(grown)
        await connection.execute(f"SET SESSION AUTHORIZATION {role}")
        yield connection
        await connection.close()
    await admin.close()


@pytest.fixture
async def tenant(grown: str):
    """The tenant of the grown database, inside a transaction."""
    connection = await database.connect(grown)
    workspace_id = await connection.fetchval("SELECT id FROM workspaces")
    transaction = connection.transaction()
    await transaction.start()
    await tenancy.as_tenant(connection, workspace_id)
    yield connection
    await transaction.rollback()
    await connection.close()


async def _reads_indexes(reader: Connection, statement: str, parameters: list[Any], index) -> None:
    ids = await reader.fetchrow("SELECT workspace_id, id FROM deployed_agents")
    assert ids is not None
    real = dict(zip((_WORKSPACE, _AGENT), ids, strict=True))
    parameters = [real.get(p, p) if isinstance(p, UUID) else p for p in parameters]
    known = await reader.fetchval(f"EXPLAIN (FORMAT JSON) {statement}", *parameters)
    for plan in (known, await _generic_plan(reader, statement)):
        _judge(plan, index)
        nodes = _nodes(json.loads(plan)[0]["Plan"])
        whole = [node for node in nodes if node["Node Type"] == "Seq Scan"]
        assert not _MANY_ROWS & {node["Relation Name"] for node in whole}, plan


@pytest.mark.parametrize("name", _READS | _BEFORE)
async def test_the_policy_for_owners_changes_no_plan(owner: Connection, name: str):
    await _reads_indexes(owner, *(_READS | _BEFORE)[name])


@pytest.mark.parametrize("name", _OF_TENANTS)
async def test_a_tenants_statement_reads_no_big_table_whole(tenant: Connection, name: str):
    await _reads_indexes(tenant, *_OF_TENANTS[name])


async def _read(tenant: Connection, runs: list[tuple[str, str]]) -> int:
    """How many sessions a page of these sources and statuses touched."""
    agent = await tenant.fetchrow("SELECT workspace_id, id FROM deployed_agents")
    assert agent is not None
    plan = await tenant.fetchval(
        f"EXPLAIN (ANALYZE, FORMAT JSON) {sessions_read._PAGE}",
        *agent,
        [source for source, _ in runs],
        [status for _, status in runs],
        *(None, "", "", None, None, None, None, 51),
    )
    nodes = list(_nodes(json.loads(plan)[0]["Plan"]))
    (scan,) = [node for node in nodes if node.get("Index Name") == "agent_sessions_newest"]
    each: int = scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0)
    return each * int(scan["Actual Loops"])


async def test_a_page_touches_no_more_sessions_than_it_may_show(tenant: Connection):
    assert await tenant.fetchval("SELECT count(*) FROM agent_sessions") == 20_000
    assert await _read(tenant, [("slack", "idle")]) == 51
    assert await _read(tenant, [("slack", "running")]) == 25
    assert await _read(tenant, [("slack", "archived")]) == 0
    assert await _read(tenant, [("webhook", "idle")]) == 0
    every = list(product(SOURCES, STATUSES))
    assert 51 <= await _read(tenant, every) <= 51 + 25  # its rows a loop are rounded

"""Ready for Citus: what Citus asks of tables, keys and statements, and how the tables are brought there.

No Citus is at hand where tests run. The rules are read off its sources, and `migrate --citus` is run
against citus_double.sql, which has its functions and its refusals and nothing else of it.
"""

from pathlib import Path

import asyncpg
import pytest

from store import citus
from store.citus import KEYS, PLACES, CitusMissing
from store.database import Connection
from tests.store import factories, shards
from tests.store.test_statements import _STATEMENTS

_DOUBLE = Path(__file__).with_name("citus_double.sql").read_text()
_OURS = {name: text for name, text in _STATEMENTS.items() if not name.startswith("citus.")}

# Statements that look at many agents, or threads, on purpose: each is asked of every worker.
_EVERYWHERE = {
    "approvals._DUE": "the sweep for reminders: which agent has one due is what it asks",
    "escalations._DUE": "the same for questions",
    "escalations._ON_ITS_WAY": "an answer that overtook its question's message; the agent is not known",
    "behind._THREAD": "the page of the demo, by channel and time",
    "homes._APPROVALS": "a person's home, over all agents of their workspace",
    "homes._QUESTIONS": "the same",
    "homes._SESSIONS": "the same",
    "idempotency._OLD": "the cleaning of requests, before it goes agent by agent",
    "leases._READY": "the sweep for ready sessions: once a second and replica",
    "outbox._DEAD": "doctor: what could not be said",
    "outbox._DOUBTED": "the sweep for doubled messages, before it goes agent by agent",
    "outbox._DUE": "the sweep for due deliveries: once a second and replica",
    "outputs._DUE": "the sweep for looks at what agents made, before it goes agent by agent",
    "retention._DROP_UNCLAIMED": "the cleaning of early replies",
    "sessions._ANY_RUNNING": "whether the runtime has to be asked at all",
    "sessions._DISAGREEING": "the sweep for deaf sessions, before it goes agent by agent",
    "threads._EXPIRE": "the cleaning of early replies",
    "threads._RACED": "the sweep for replies that overtook their mention",
    "turns._OLDEST_LOOK": "a gauge",
    "turns._OVERDUE": "the sweep for awaiting turns, before it goes agent by agent",
    "turns._UNREAD": "whether that sweep has work",
    "usage._PENDING": "the sweep for usage to be settled",
}

# ------------------------------------------------------------------ statements

_NAMED = "SELECT title FROM agent_sessions WHERE deployed_agent_id = $1 AND id = $2"


def _is_everywhere(statement: str) -> bool:
    return any(reach.how == "not at all" for reach in shards.reaches(statement))


def test_a_statement_says_on_which_worker_its_rows_lie():
    assert {name for name, text in _OURS.items() if _is_everywhere(text)} == set(_EVERYWHERE)


@pytest.mark.parametrize(
    "statement",
    [
        _NAMED,
        (
            "SELECT FROM agent_sessions s JOIN agent_turns t ON t.deployed_agent_id = s.deployed_agent_id"
            " WHERE s.deployed_agent_id = $1"
        ),
        (
            "UPDATE session_inputs i SET state = 'sent' FROM unnest($1::uuid[], $2::uuid[]) AS n (a, id)"
            " WHERE i.deployed_agent_id = n.a AND i.id = n.id"
        ),
        "INSERT INTO agent_turns (id, deployed_agent_id) VALUES ($1, $2)",
        "DELETE FROM slack_unclaimed WHERE slack_conversation_key = ANY($1::text[])",
        "SELECT FROM slack_threads WHERE (slack_conversation_key, muted) = ($1, $2)",
        (
            "WITH a AS (SELECT deployed_agent_id AS agent FROM agent_turns WHERE deployed_agent_id = $1)"
            " SELECT FROM agent_sessions s JOIN a ON s.deployed_agent_id = a.agent"
        ),
    ],
)
def test_a_key_is_seen_however_it_is_given(statement):
    assert not _is_everywhere(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT title FROM agent_sessions WHERE id = $1",
        "SELECT title FROM agent_sessions WHERE workspace_id = $1 AND id = $2",
        "SELECT title FROM agent_sessions WHERE deployed_agent_id = $1 OR id = $2",
        "SELECT title FROM agent_sessions WHERE NOT deployed_agent_id = $1",
        "SELECT title FROM agent_sessions WHERE deployed_agent_id <> $1",
        "SELECT title FROM agent_sessions WHERE deployed_agent_id = workspace_id",
        (
            "SELECT FROM agent_sessions s JOIN agent_turns t ON t.session_id = s.id"
            " WHERE s.deployed_agent_id = $1"
        ),
        "SELECT FROM agent_sessions s LEFT JOIN agent_turns t ON t.deployed_agent_id = s.deployed_agent_id",
        _NAMED + " AND EXISTS (SELECT FROM agent_turns t WHERE t.session_id = $2)",
        "UPDATE session_inputs SET state = 'sent' WHERE id = ANY($1::uuid[])",
        "DELETE FROM slack_unclaimed WHERE created_at < $1",
        "INSERT INTO agent_turns (id, session_id) VALUES ($1, $2)",
        "SELECT FROM slack_threads WHERE deployed_agent_id = $1",
    ],
)
def test_a_key_that_is_missing_is_missed(statement):
    assert _is_everywhere(statement)


def test_no_statement_locks_rows_on_several_workers():
    assert {
        name: found for name, text in _OURS.items() if (found := shards.locks_across(text))
    } == {}


@pytest.mark.parametrize(
    "strength", ["UPDATE", "NO KEY UPDATE SKIP LOCKED", "SHARE", "KEY SHARE NOWAIT"]
)
@pytest.mark.parametrize(
    ("where", "across"),
    [
        ("deployed_agent_id = $1", False),
        ("status = $1", True),
        ("deployed_agent_id = ANY($1::uuid[])", True),
        ("deployed_agent_id IN (SELECT id FROM deployed_agents WHERE name = $1)", True),
    ],
)
def test_a_lock_over_agents_is_seen(strength, where, across):
    statement = f"SELECT id FROM agent_sessions WHERE {where} ORDER BY id LIMIT 5 FOR {strength}"
    assert bool(shards.locks_across(statement)) is across
    below = (
        f"UPDATE agent_sessions SET title = $2 WHERE deployed_agent_id = $3 AND id IN ({statement})"
    )
    assert bool(shards.locks_across(below)) is across


@pytest.fixture
async def mutable(db: Connection) -> set[str]:
    """Functions that are not immutable, with some arguments at least."""
    rows = await db.fetch("SELECT DISTINCT proname FROM pg_proc WHERE provolatile <> 'i'")
    return {row["proname"] for row in rows}


async def test_no_upsert_calls_what_changes(mutable):
    found = {name: shards.changing_in_upsert(text, mutable) for name, text in _OURS.items()}
    assert {name: calls for name, calls in found.items() if calls} == {}


@pytest.mark.parametrize(
    ("change", "called"),
    [
        ("SET updated_at = now()", {"current_timestamp"}),
        ("SET updated_at = CURRENT_TIMESTAMP", {"current_timestamp"}),
        ("SET updated_at = clock_timestamp()", {"clock_timestamp"}),
        ("SET title = title || random()", {"random"}),
        ("SET title = to_char(excluded.created_at, 'YYYY')", {"to_char"}),
        ("SET title = $3 WHERE agent_sessions.updated_at < now()", {"current_timestamp"}),
        (
            "SET title = COALESCE(upper($3), excluded.title), updated_at = excluded.updated_at",
            set(),
        ),
    ],
)
async def test_an_upsert_that_calls_what_changes_is_seen(mutable, change, called):
    upsert = (
        "INSERT INTO agent_sessions (deployed_agent_id, id, updated_at) VALUES ($1, $2, now())"
        f" ON CONFLICT (deployed_agent_id, id) DO UPDATE {change}"
    )
    assert shards.changing_in_upsert(upsert, mutable) == called


async def test_nothing_that_changes_is_returned_or_waits_in_a_case(mutable):
    for rule in (shards.changing_in_returning, shards.lazily_changing):
        found = {name: rule(text, mutable) for name, text in _OURS.items()}
        assert {name: calls for name, calls in found.items() if calls} == {}


async def test_what_changes_is_seen_there(mutable):
    update = (
        "UPDATE agent_sessions SET title = {} WHERE deployed_agent_id = $1 AND id = $2 RETURNING {}"
    )
    late = update.format("CASE WHEN title IS NULL THEN now()::text END", "id")
    assert shards.lazily_changing(late, mutable) == {"current_timestamp"}
    later = update.format("COALESCE(title, gen_random_uuid()::text)", "id")
    assert shards.lazily_changing(later, mutable) == {"gen_random_uuid"}
    returned = update.format("$3", "now() - created_at")
    assert shards.changing_in_returning(returned, mutable) == {"current_timestamp"}
    plain = update.format("CASE WHEN title IS NULL THEN $3 END", "id")
    assert not shards.lazily_changing(plain, mutable) | shards.changing_in_returning(plain, mutable)


def test_no_row_moves_to_another_worker():
    assert [name for name, text in _OURS.items() if shards.moved(text)] == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE agent_sessions SET deployed_agent_id = $2 WHERE deployed_agent_id = $1",
        (
            "INSERT INTO slack_threads (slack_conversation_key) VALUES ($1)"
            " ON CONFLICT (slack_conversation_key) DO UPDATE SET slack_conversation_key = $2"
        ),
    ],
)
def test_a_row_that_moves_is_seen(statement):
    assert shards.moved(statement)


# ------------------------------------------------------------------ tables

_TABLES = """
SELECT c.relname AS name, ARRAY(SELECT attname::text FROM pg_attribute
                                WHERE attrelid = c.oid AND attnotnull AND attnum > 0) AS columns
FROM pg_class c WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
"""


async def test_every_table_has_its_place(db):
    tables = {row["name"]: row["columns"] for row in await db.fetch(_TABLES)}
    assert set(PLACES) == set(tables)
    for name, place in PLACES.items():
        assert place not in KEYS or KEYS[place] in tables[name], name


@pytest.fixture
async def double(db: Connection) -> Connection:
    """The database as a coordinator that has the double for its Citus."""
    await db.execute(_DOUBLE)
    return db


async def _calls(db: Connection) -> list[str]:
    return [row["call"] for row in await db.fetch("SELECT call FROM citus.calls ORDER BY number")]


async def _keys(db: Connection) -> list[tuple[str, str, str]]:
    rows = await db.fetch(
        "SELECT conrelid::regclass::text, conname::text, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE contype = 'f' ORDER BY 1, 2"
    )
    return [tuple(row) for row in rows]


async def test_every_table_is_brought_to_its_place(double, dsn):
    await factories.session(double, await factories.ground(double))
    before = await _keys(double)
    done = await citus.spread(dsn)
    assert done.tables == [name for name, place in PLACES.items() if place != "outside"]
    calls = await _calls(double)
    assert len(calls) == len(done.tables)
    assert [c for c in calls if c.endswith("beside none")] == [
        "distributed agent_sessions by deployed_agent_id beside none",
        "distributed slack_threads by slack_conversation_key beside none",
    ]
    assert "distributed session_inputs by deployed_agent_id beside agent_sessions" in calls
    assert "distributed slack_unclaimed by slack_conversation_key beside slack_threads" in calls
    assert {c for c in calls if c.startswith("stays")} == {"stays api_keys", "stays slack_budgets"}
    assert calls.index("copied deployed_agents") < calls.index(
        "distributed agent_sessions by deployed_agent_id beside none"
    )
    assert await _keys(double) == before
    await factories.session(double, await factories.ground(double))


async def test_a_second_time_nothing_is_left_to_do(double, dsn):
    await citus.spread(dsn)
    calls = await _calls(double)
    assert (await citus.spread(dsn)).tables == []
    assert await _calls(double) == calls


async def test_a_table_that_comes_later_is_brought_by_itself(double, dsn, monkeypatch):
    await citus.spread(dsn)
    keys = await _keys(double)
    await double.execute(
        "CREATE TABLE later (deployed_agent_id uuid NOT NULL, session_id uuid,"
        " PRIMARY KEY (deployed_agent_id, session_id))"
    )
    monkeypatch.setitem(PLACES, "later", "agent")
    assert (await citus.spread(dsn)).tables == ["later"]
    assert (await _calls(double))[-1] == (
        "distributed later by deployed_agent_id beside agent_sessions"
    )
    assert await _keys(double) == keys


async def test_the_tenants_doors_are_shut(double, dsn):
    """Citus's workers know neither the tenant nor the workspace that was named."""
    on = await factories.ground(double)
    await factories.session(double, on)
    await citus.spread(dsn)
    left = await double.fetch("SELECT DISTINCT polname FROM pg_policy")
    assert {row["polname"] for row in left} <= {"ours", "tenant"}
    walled = (
        "SELECT count(*) FROM pg_policy WHERE polname = 'tenant' AND polrelid = $1::text::regclass"
    )
    assert [name for name in PLACES if await double.fetchval(walled, name)] == []
    async with double.transaction():
        await double.execute("SET LOCAL ROLE threadline_tenant")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with double.transaction():
                await double.execute("SELECT FROM agent_sessions")
    assert await double.fetchval("SELECT count(*) FROM agent_sessions") == 1


@pytest.mark.parametrize(
    ("planted", "says"),
    [
        ("ALTER TABLE agent_turns ADD COLUMN n int UNIQUE", "do not include the partition column"),
        (
            "CREATE UNIQUE INDEX ON slack_threads (session_id)",
            "do not include the partition column",
        ),
        (
            (
                "ALTER TABLE slack_threads ADD FOREIGN KEY (deployed_agent_id, session_id)"
                " REFERENCES agent_sessions (deployed_agent_id, id) NOT VALID"
            ),
            "not colocated",
        ),
        (
            (
                "ALTER TABLE workspaces ADD COLUMN s uuid, ADD COLUMN a uuid, ADD FOREIGN KEY (a, s)"
                " REFERENCES agent_sessions (deployed_agent_id, id)"
            ),
            "to distributed tables are not supported",
        ),
        (
            (
                "ALTER TABLE agent_turns ADD COLUMN other uuid, ADD FOREIGN KEY (other, session_id)"
                " REFERENCES agent_sessions (deployed_agent_id, id)"
            ),
            "including partition column in the same ordinal",
        ),
        (
            (
                "ALTER TABLE agent_turns ADD COLUMN hash bytea, ADD COLUMN kind text,"
                " ADD FOREIGN KEY (hash, kind) REFERENCES runtime_budgets (key_hash, kind)"
            ),
            "must be a distributed table or a reference table",
        ),
        (
            "CREATE POLICY more ON session_inputs USING (EXISTS (SELECT FROM workspaces))",
            "cannot create policy",
        ),
        (
            "ALTER TABLE agent_turns ADD COLUMN n bigint GENERATED ALWAYS AS IDENTITY",
            "cannot distribute",
        ),
    ],
)
async def test_a_schema_that_citus_would_refuse_is_refused_and_left_whole(
    double, dsn, planted, says
):
    await double.execute("DROP EVENT TRIGGER citus_alter")
    await double.execute(planted)
    await double.execute(_DOUBLE[_DOUBLE.index("CREATE EVENT TRIGGER") :])
    before = await _keys(double)
    with pytest.raises(asyncpg.RaiseError) as refused:
        await citus.spread(dsn)
    assert says in f"{refused.value} {refused.value.detail}"
    assert (await _keys(double), await _calls(double)) == (before, [])
    assert await double.fetchval("SELECT count(*) FROM pg_dist_partition") == 0


async def test_without_citus_it_says_what_to_do(dsn):
    with pytest.raises(CitusMissing, match="This PostgreSQL has no Citus: install it"):
        await citus.spread(dsn)


async def test_a_coordinator_that_is_not_known_is_named(double, dsn):
    await double.execute("DELETE FROM pg_dist_node WHERE groupid = 0")
    with pytest.raises(CitusMissing, match="citus_set_coordinator_host"):
        await citus.spread(dsn)


async def test_its_own_statements_prepare(double):
    async with double.transaction():
        await double.execute(citus._PLAN)
        await double.execute(citus._KEYS_ASIDE)
        for name, statement in _STATEMENTS.items():
            if name.startswith("citus."):
                await double.prepare(statement)

"""How the tables lie on a Citus cluster, and `threadline migrate --citus`, which brings them there.

What belongs to an agent lies where the agent lies: rows of one agent are on one worker, in every table,
and the hot paths name the agent in every statement. What a message from Slack is first looked up by, its
thread, lies by the thread. The rest is either copied to every worker or stays on the coordinator.
tests/store/test_citus.py holds the schema and the statements to what Citus asks for.
"""

from dataclasses import dataclass
from typing import Literal

from store import migrate
from store.database import Connection, connect

Place = Literal["agent", "thread", "copied", "coordinator", "outside"]

KEYS: dict[Place, str] = {"agent": "deployed_agent_id", "thread": "slack_conversation_key"}
"""The column that says on which worker a row lies."""

PLACES: dict[str, Place] = {
    "workspaces": "copied",
    "workspace_members": "copied",
    "deployed_agents": "copied",
    "oauth_installs": "copied",
    "slack_routes": "copied",
    "agent_sessions": "agent",
    "agent_turns": "agent",
    "session_inputs": "agent",
    "input_files": "agent",
    "session_outputs": "agent",
    "output_looks": "agent",
    "slack_outbox": "agent",
    "slack_previews": "agent",
    "agent_compute_usage": "agent",
    "agent_approvals": "agent",
    "approval_votes": "agent",
    "approval_grants": "agent",
    "agent_escalations": "agent",
    "audit_entries": "agent",
    "usage_logs": "agent",
    "idempotency_keys": "agent",
    "slack_threads": "thread",
    "slack_unclaimed": "thread",
    "api_keys": "coordinator",
    "slack_budgets": "coordinator",
    "runtime_budgets": "outside",
    "schema_migrations": "outside",
}
"""Every table, in the order in which they are brought there: referenced ones first.

agent, thread  distributed by that key, the tables of one key side by side
copied         a reference table: small, seldom written, on every worker
coordinator    stays, known to Citus for its foreign keys: written often, or looked up by no agent
outside        stays, and Citus need not know of it
"""


class CitusMissing(migrate.MigrationError):
    """The database is not ready for Citus; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Spread:
    """What was done: the tables that were brought to their place, none where all were there."""

    tables: list[str]


_HAS_CITUS = """
SELECT to_regproc('create_distributed_table') IS NOT NULL AS here,
       EXISTS (SELECT FROM pg_available_extensions WHERE name = 'citus') AS available
"""
_COORDINATOR = "SELECT EXISTS (SELECT FROM pg_dist_node WHERE groupid = 0)"
_KNOWN = "SELECT logicalrelid::regclass::text AS name FROM pg_dist_partition"
_ONE_BY_ONE = "SET LOCAL citus.multi_shard_modify_mode TO 'sequential'"
_PATIENCE = (
    "SELECT set_config('lock_timeout', '30s', true), set_config('statement_timeout', '0', true)"
)
_PLAN = "CREATE TEMP TABLE threadline_spread (name text PRIMARY KEY) ON COMMIT DROP"
_PLANNED = "INSERT INTO threadline_spread SELECT unnest($1::text[])"
# A key between tables may only stand where both lie side by side, or the one that is pointed at is
# copied: so keys are put aside until all tables are in place.
_KEYS_ASIDE = """
CREATE TEMP TABLE threadline_keys ON COMMIT DROP AS
SELECT k.conrelid::regclass::text AS name, k.conname, pg_get_constraintdef(k.oid) AS definition
FROM pg_constraint k
WHERE k.contype = 'f' AND k.connamespace = current_schema()::regnamespace
  AND (k.conrelid::regclass::text IN (SELECT name FROM threadline_spread)
       OR k.confrelid::regclass::text IN (SELECT name FROM threadline_spread))
"""
_DROP_KEYS = """
DO $$
DECLARE
    one record;
BEGIN
    FOR one IN SELECT * FROM threadline_keys LOOP
        EXECUTE format('ALTER TABLE %I DROP CONSTRAINT %I', one.name, one.conname);
    END LOOP;
END $$
"""
_ADD_KEYS = """
DO $$
DECLARE
    one record;
BEGIN
    FOR one IN SELECT * FROM threadline_keys ORDER BY name, conname LOOP
        EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I %s', one.name, one.conname, one.definition);
    END LOOP;
END $$
"""
# Citus takes no policy with a subquery (src/backend/distributed/commands/policy.c), and does not carry
# what set_config() says to the workers. So there is no second wall, and the tenants' doors are shut.
_SHUT_DOORS = """
DO $$
DECLARE
    one record;
BEGIN
    FOR one IN SELECT * FROM threadline_spread LOOP
        EXECUTE format('DROP POLICY IF EXISTS tenant ON %I', one.name);
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'threadline_tenant') THEN
            EXECUTE format('REVOKE ALL ON %I FROM threadline_tenant', one.name);
        END IF;
    END LOOP;
END $$
"""
# $1 table, $2 column, $3 table beside which it lies, or none
_BY_KEY = "SELECT create_distributed_table($1::text::regclass, $2, colocate_with => $3)"
_COPIED = "SELECT create_reference_table($1::text::regclass)"
_STAYS = "SELECT citus_add_local_table_to_metadata($1::text::regclass)"


async def spread(dsn: str) -> Spread:
    """Brings every table that is not there yet to its place, all of them or none; run it again at will.

    The schema is to be current. Raises CitusMissing where the database is no coordinator of Citus.
    Nothing else may write meanwhile: tables with rows are locked while they are copied.
    """
    connection = await connect(dsn, seconds=24 * 3600.0)
    try:
        await _check(connection)
        async with connection.transaction():
            await migrate.take_turn(connection)
            await connection.execute(_PATIENCE)
            return await _spread(connection)
    finally:
        await connection.close()


async def _check(connection: Connection) -> None:
    found = await connection.fetchrow(_HAS_CITUS)
    assert found is not None  # noqa: S101  # a SELECT without a FROM
    if not found["here"]:
        raise CitusMissing(
            "This database has no Citus: run CREATE EXTENSION citus as an administrator, then this "
            "command again."
            if found["available"]
            else "This PostgreSQL has no Citus: install it on the coordinator and on every worker "
            "(docs.citusdata.com), or go without --citus."
        )
    if not await connection.fetchval(_COORDINATOR):
        raise CitusMissing(
            "Citus does not know its coordinator: run SELECT citus_set_coordinator_host('this host'), "
            "then this command again."
        )


async def _spread(connection: Connection) -> Spread:
    known = {row["name"] for row in await connection.fetch(_KNOWN)}
    missing = [name for name, place in PLACES.items() if place != "outside" and name not in known]
    if not missing:
        return Spread([])
    await connection.execute(_ONE_BY_ONE)
    await connection.execute(_PLAN)
    await connection.execute(_PLANNED, missing)
    await connection.execute(_KEYS_ASIDE)
    await connection.execute(_DROP_KEYS)
    await connection.execute(_SHUT_DOORS)
    for name in missing:
        await _bring(connection, name)
    await connection.execute(_ADD_KEYS)
    return Spread(missing)


async def _bring(connection: Connection, name: str) -> None:
    place = PLACES[name]
    if place in KEYS:
        first = next(one for one, there in PLACES.items() if there == place)
        beside = "none" if first == name else first
        await connection.execute(_BY_KEY, name, KEYS[place], beside)
    elif place == "copied":
        await connection.execute(_COPIED, name)
    else:
        await connection.execute(_STAYS, name)

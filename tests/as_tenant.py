"""Flows as the tenant role: every connection of every pool is `threadline_tenant` of one workspace.

The session's role is that, not only a transaction's, so whatever the product does on a pool meets the
policies of migrations/0009_api.sql: what belongs to another workspace is not there. What is granted
beyond the product's own list is for the worker and ack paths, which the product never runs as a tenant,
and is granted in the test's database alone. The sessions API keeps to its list in the ordinary runs of
these tests.

Not as a tenant, by nature: EXEMPT; what a test marks `as_login`, with its reason; migrations, and what
tests arrange and look at, which have connections of their own; what runs in a process of its own (the
command line, the demo), which makes and migrates the database that it works on.
"""

from collections.abc import Awaitable, Callable
from functools import wraps
from importlib import import_module
from typing import Any

import asyncpg
import pytest

from store import database
from store.database import Connection, Pool

ROLE = "threadline_tenant"

# By module of store and name: what runs as the login, since as one workspace it means nothing.
EXEMPT = {
    "members.ensure_workspace": "makes the workspace, which no tenant can",
    "tenancy.as_member": "finds the workspace of an agent's member, and becomes its tenant",
    "members.workspaces_of": "asked before any workspace is known",
    "keys.find": "the same; and a tenant reads no hash",
    "budgets.take_some": "runtime_budgets is nobody's: all workspaces share the runtime's key",
    "budgets.empty_for": "the same",
}

# Beyond the migration's list: what the worker and ack paths read and write, of tenants' tables only.
_GRANTS = f"""
DO $$
DECLARE
    walled record;
BEGIN
    FOR walled IN SELECT relname FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relrowsecurity
    LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO {ROLE}', walled.relname);
    END LOOP;
END $$
"""
_GRANTED = f"SELECT has_table_privilege('{ROLE}', 'slack_outbox', 'DELETE')"
_FIRST = "SELECT id::text FROM workspaces ORDER BY created_at, id LIMIT 1"
# $1 role
_BECOME = "SELECT set_config('role', $1, false)"
_BECOME_UNTIL_THE_END = "SELECT set_config('role', $1, true)"
# $1 workspace
_NAME = "SELECT set_config('threadline.workspace', $1, false)"


def enforce(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on every pool opened by `store.database` is of tenants; EXEMPT alone are not."""
    opened = database.open_pool

    async def open_pool(dsn: str, **options: Any) -> Pool:
        await grant(dsn)
        pool: Any = await opened(dsn, **options)
        first = pool._init

        async def init(connection: Connection) -> None:
            await first(connection)
            await _bind(connection)

        pool._init = init
        made: Pool = pool
        return made

    monkeypatch.setattr(database, "open_pool", open_pool)
    for name in EXEMPT:
        module, _, function = name.rpartition(".")
        home = import_module(f"store.{module}")
        monkeypatch.setattr(home, function, _as_login(getattr(home, function)))


async def grant(dsn: str) -> None:
    """Gives the role what the whole product does, in one database."""
    connection = await asyncpg.connect(dsn)
    try:
        if not await connection.fetchval(_GRANTED):
            await connection.execute(_GRANTS)
    finally:
        await connection.close()


async def _bind(connection: Connection) -> None:
    """The world's workspace is the first; without any, nothing is to be seen."""
    workspace = await connection.fetchval(_FIRST)
    await connection.fetchval(_NAME, workspace or "")
    await connection.fetchval(_BECOME, ROLE)


def _as_login(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The same, as the login; afterwards the connection is what it was, however it went."""

    @wraps(function)
    async def exempt(connection: Connection, *arguments: Any, **named: Any) -> Any:
        # what is set until the end of a transaction goes with it, and with its rollback
        inside = connection.is_in_transaction()
        become = _BECOME_UNTIL_THE_END if inside else _BECOME
        before = await connection.fetchval("SELECT current_setting('role')")
        await connection.fetchval(become, "none")
        try:
            answer = await function(connection, *arguments, **named)
        except BaseException:
            if not inside and not connection.is_closed():
                await connection.fetchval(become, before)
            raise
        await connection.fetchval(become, before)
        return answer

    return exempt

"""The flows as `threadline_tenant`: that the role is in force, and a few of every kind of them.

All of them: `pytest tests/flows --as-tenant`.
"""

from datetime import timedelta
from importlib import import_module
from typing import Any

import asyncpg
import pytest

from store import budgets, database
from tests.as_tenant import EXEMPT, ROLE
from tests.flows.test_api_asked import test_who_asked_may_allow_and_the_turn_goes_on
from tests.flows.test_api_sessions import (
    test_a_message_by_rest_shows_in_the_thread_and_is_answered_there,
    test_history_and_live_tail_are_where_the_table_says,
)
from tests.flows.test_asking import (
    test_a_held_call_waits_for_a_person,
)
from tests.flows.test_edits import test_an_edit_of_an_answered_message_makes_one_correction_turn
from tests.flows.test_escalating import test_a_reply_in_the_thread_answers_the_only_question
from tests.flows.test_messages import (
    test_a_direct_message_is_answered_in_its_thread,
    test_one_usage_row_per_turn_adds_up_to_the_runtimes_total,
)
from tests.flows.test_stop import (
    test_a_stop_ends_the_turn_and_says_who_stopped_it,
    test_mute_and_unmute,
)
from tests.harness import World
from tests.store import factories
from tests.support import eventually

__all__ = [
    "test_a_direct_message_is_answered_in_its_thread",
    "test_a_held_call_waits_for_a_person",
    "test_a_message_by_rest_shows_in_the_thread_and_is_answered_there",
    "test_a_reply_in_the_thread_answers_the_only_question",
    "test_a_stop_ends_the_turn_and_says_who_stopped_it",
    "test_an_edit_of_an_answered_message_makes_one_correction_turn",
    "test_history_and_live_tail_are_where_the_table_says",
    "test_mute_and_unmute",
    "test_one_usage_row_per_turn_adds_up_to_the_runtimes_total",
    "test_who_asked_may_allow_and_the_turn_goes_on",
]

pytestmark = pytest.mark.as_tenant

# A trigger runs as whoever made the statement.
_WATCH = """
CREATE TABLE written (by_role text NOT NULL, relation text NOT NULL);
GRANT INSERT ON written TO PUBLIC;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $note$
BEGIN
    INSERT INTO written VALUES (current_user, TG_TABLE_NAME);
    RETURN NULL;
END $note$;
DO $$
DECLARE
    watched text;
BEGIN
    FOR watched IN SELECT relname FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'written'
    LOOP
        EXECUTE format('CREATE TRIGGER watched AFTER INSERT OR UPDATE OR DELETE ON %I '
            'FOR EACH STATEMENT EXECUTE FUNCTION note()', watched);
    END LOOP;
END $$;
"""


async def test_every_statement_that_writes_is_the_tenants_but_those_that_are_exempt(here: World):
    await here.connection.execute(_WATCH)
    async with here.app():
        asked = await here.slack.say("ada", "general", "@threadline !tool bash")
        await here.answers(asked.channel, asked.ts, 1)
    found = await here.rows(
        "SELECT by_role, relation, count(*) AS times FROM written GROUP BY 1, 2"
    )
    written = {(row["by_role"] == ROLE, row["relation"]): row["times"] for row in found}
    assert {relation for tenants, relation in written if not tenants} == {
        "workspaces",  # members.ensure_workspace
        "runtime_budgets",
    }
    tables = {relation for tenants, relation in written if tenants}
    assert tables >= {"agent_sessions", "agent_turns", "session_inputs", "slack_outbox"}
    assert tables >= {"agent_compute_usage", "oauth_installs", "slack_threads"}
    assert sum(times for (tenants, _), times in written.items() if tenants) > 20


async def test_what_belongs_to_another_workspace_is_neither_seen_nor_touched(here: World):
    """A session that wants a worker, and a worker that would take it if it saw it."""
    theirs = await factories.ground(here.connection)
    session = await factories.session(here.connection, theirs)
    async with here.app() as app:
        asked = await here.slack.say("ada", "general", "@threadline hello")
        await eventually(lambda: here.bot_posts(asked.channel, asked.ts))
        async with database.borrow(app.worker._engine.pool) as connection:
            seen = await connection.fetch("SELECT DISTINCT workspace_id FROM agent_sessions")
            assert [row["workspace_id"] for row in seen] == [here.workspace_id]
            with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
                await factories.session(connection, theirs)
    untouched = await here.row("SELECT * FROM agent_sessions WHERE id = $1", session["id"])
    assert (untouched["lease_epoch"], untouched["failures"]) == (0, 0)
    assert untouched["ready_at"] == session["ready_at"]


async def test_what_is_exempt_leaves_its_connection_to_the_tenant(dsn: str):
    pool = await database.open_pool(dsn, size=1)
    wrong: Any = "neither"
    async with database.borrow(pool) as connection:
        with pytest.raises(asyncpg.CheckViolationError):
            await budgets.empty_for(connection, b"key", wrong, timedelta(0))
        assert await connection.fetchval("SELECT current_user") == ROLE
        with pytest.raises(asyncpg.CheckViolationError):
            async with connection.transaction():
                await budgets.empty_for(connection, b"key", wrong, timedelta(0))
        assert await connection.fetchval("SELECT current_user") == ROLE
        async with connection.transaction():
            await budgets.empty_for(connection, b"key", "read", timedelta(0))
            assert await connection.fetchval("SELECT current_user") == ROLE
        assert await connection.fetchval("SELECT current_user") == ROLE
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("SELECT * FROM runtime_budgets")
    await database.close_pool(pool)


def test_what_is_exempt_is_there_and_says_why():
    for name, why in EXEMPT.items():
        module, _, function = name.rpartition(".")
        assert callable(getattr(import_module(f"store.{module}"), function))
        assert why

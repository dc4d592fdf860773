"""Statements of the hot paths are planned once for a connection, by their indexes from the first row on."""

from store import database
from store.database import Pool

_BY_KEY = "SELECT status FROM oauth_installs WHERE id = ANY($1::uuid[])"
_PLANS = "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement = $1"


async def _asked(pool: Pool, key: object) -> tuple[int, int]:
    """How often the statement was planned for all, and for one call, when it was asked three times."""
    async with pool.acquire() as connection:
        for _ in range(3):
            await connection.fetch(_BY_KEY, [key])
        row = await connection.fetchrow(_PLANS, _BY_KEY)
    assert row is not None
    return row["generic_plans"], row["custom_plans"]


async def test_a_statement_is_planned_once_and_by_index_while_its_table_is_small(dsn, db, on):
    await db.execute("ANALYZE oauth_installs")  # which has one row
    pool = await database.open_pool(dsn, size=1)
    try:
        assert await _asked(pool, on.install_id) == (3, 0)
        plan = await pool.fetch(f"EXPLAIN {_BY_KEY}", [on.install_id])
    finally:
        await database.close_pool(pool)
    assert any("Index" in line["QUERY PLAN"] for line in plan)


async def test_a_search_is_planned_for_what_it_asks(dsn, on):
    pool = await database.open_pool(dsn, size=1, planned_once=False)
    try:
        assert await _asked(pool, on.install_id) == (0, 3)
    finally:
        await database.close_pool(pool)

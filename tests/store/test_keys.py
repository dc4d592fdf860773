import asyncio
import hashlib
import re
from typing import Any

import asyncpg
import pytest

from store import keys, tenancy
from store.ids import new_id
from store.keys import NewKey
from tests.store import factories


@pytest.fixture
def new(on):
    return NewKey(on.workspace_id, on.agent_id, "nightly report", "member", "person")


async def test_a_key_is_found_by_its_text_alone(db, new, on):
    made, token = await keys.make(db, new)
    assert re.fullmatch(r"tl_[a-z2-7]{8}_[A-Za-z0-9_-]{43}", token)
    assert (token.startswith(f"{made.prefix}_"), len(made.prefix)) == (True, 11)
    found = await keys.find(db, token)
    assert found == made
    assert (found.workspace_id, found.deployed_agent_id) == (on.workspace_id, on.agent_id)
    assert (found.role, found.created_by, found.revoked_at) == ("member", "person", None)


async def test_the_text_is_kept_nowhere(db, new):
    made, token = await keys.make(db, new)
    row = await db.fetchrow("SELECT t::text AS whole, secret_hash FROM api_keys t")
    assert token.removeprefix(f"{made.prefix}_") not in row["whole"]
    assert row["secret_hash"] == hashlib.sha256(token.encode()).digest()


async def test_nothing_else_is_a_key(db, new):
    made, token = await keys.make(db, new)
    other, _ = await keys.make(db, new)
    secret = token.removeprefix(f"{made.prefix}_")
    last = "A" if token[-1] != "A" else "B"
    for wrong in (
        "",
        made.prefix,
        secret,
        token + "x",
        token[:-1],
        token[:-1] + last,
        token.upper(),
        f"{token}\n",
        f"{other.prefix}_{secret}",
        f"{made.prefix}_{'A' * 43}",
        f"{made.prefix}\x00{secret}",
        "tl_%%%%%%%%_" + "A" * 43,
    ):
        assert await keys.find(db, wrong) is None, wrong


async def test_a_revoked_key_is_found_no_more_and_stays_in_the_list(db, new, on):
    made, token = await keys.make(db, new)
    other, kept = await keys.make(db, new)
    elsewhere = await factories.ground(db)
    assert not await keys.revoke(db, elsewhere.workspace_id, made.prefix)
    assert await keys.find(db, token) is not None
    assert await keys.revoke(db, on.workspace_id, made.prefix)
    assert not await keys.revoke(db, on.workspace_id, made.prefix)
    assert await keys.find(db, token) is None
    assert await keys.find(db, kept) == other
    listed = await keys.every(db, on.workspace_id)
    assert [(k.id, k.revoked_at is None) for k in listed] == [(other.id, True), (made.id, False)]


async def test_keys_that_still_work_are_told_from_those_that_do_not_and_those_of_others(
    db, new, on
):
    elsewhere = await factories.ground(db)
    theirs, _ = await keys.make(
        db, NewKey(elsewhere.workspace_id, elsewhere.agent_id, "t", "viewer")
    )
    ended, _ = await keys.make(db, new)
    works, _ = await keys.make(db, new)
    await keys.revoke(db, on.workspace_id, ended.prefix)
    asked = {theirs.id, ended.id, works.id, new_id()}
    async with db.transaction():
        await tenancy.as_tenant(db, on.workspace_id)
        assert await keys.working(db, on.workspace_id, asked) == {works.id}
        assert await keys.working(db, on.workspace_id, set()) == set()
    assert await keys.working(db, on.workspace_id, asked) == {works.id}


async def test_a_list_is_of_one_workspace_and_where_asked_of_one_agent(db, new, on):
    elsewhere = await factories.ground(db)
    await keys.make(db, NewKey(elsewhere.workspace_id, elsewhere.agent_id, "theirs", "viewer"))
    second = await factories.agent(db, on.workspace_id)
    first_key, _ = await keys.make(db, new)
    second_key, _ = await keys.make(db, NewKey(on.workspace_id, second, "other", "viewer"))
    assert [k.id for k in await keys.every(db, on.workspace_id)] == [second_key.id, first_key.id]
    assert await keys.every(db, on.workspace_id, second) == [second_key]
    assert await keys.every(db, elsewhere.workspace_id, second) == []


async def test_use_is_noted_once_a_minute(db, new, on):
    made, _ = await keys.make(db, new)
    elsewhere = await factories.ground(db)

    async def last_used() -> Any:
        (key,) = await keys.every(db, on.workspace_id)
        return key.last_used_at

    await keys.touched(db, elsewhere.workspace_id, made.id)
    assert await last_used() is None
    await keys.touched(db, on.workspace_id, made.id)
    first = await last_used()
    assert first is not None
    await keys.touched(db, on.workspace_id, made.id)
    assert await last_used() == first
    await db.execute("UPDATE api_keys SET last_used_at = now() - interval '61 seconds'")
    await keys.touched(db, on.workspace_id, made.id)
    assert await last_used() > first


@pytest.mark.parametrize(
    "wrong", [{"role": "owner"}, {"name": ""}, {"role": "admin", "deployed_agent_id": None}]
)
async def test_a_key_has_a_name_a_role_below_owner_and_an_agent_of_its_workspace(db, new, wrong):
    elsewhere = await factories.ground(db)
    values = {"workspace_id": new.workspace_id, "deployed_agent_id": new.deployed_agent_id}
    values |= {"name": "n", "role": "member"} | wrong
    values["deployed_agent_id"] = values["deployed_agent_id"] or elsewhere.agent_id
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await keys.make(db, NewKey(**values))


async def test_keys_made_at_once_are_all_different(db, connect, new):
    made = []
    for _ in range(20):
        made += await asyncio.gather(*(keys.make(c, new) for c in (db, await connect())))
    assert len({token for _, token in made}) == len({key.prefix for key, _ in made}) == 40


async def test_a_tenant_lists_makes_and_revokes_its_own_and_reads_no_hash(db, new, on):
    async with db.transaction():
        await tenancy.as_tenant(db, on.workspace_id)
        made, _ = await keys.make(db, new)
        assert await keys.every(db, on.workspace_id) == [made]
        assert await keys.revoke(db, on.workspace_id, made.prefix)

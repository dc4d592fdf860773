"""Requests under an Idempotency-Key: done once, answered alike, and as good as new where they failed."""

import asyncio

import pytest

from store import idempotency
from tests.flows.api import house
from tests.harness import World
from tests.support import eventually

NO_WORKER = frozenset({"ingress", "delivery", "api"})


async def test_the_same_request_under_one_key_is_done_once(here: World):
    async with house(here, roles=NO_WORKER) as on:
        first = await on.member.post("/sessions", {"title": "one"}, key="k1")
        again = await on.member.post("/sessions", {"title": "one"}, key="k1")
        assert (again.status, again.raw) == (201, first.raw)
        assert again.headers["Location"] == first.headers["Location"]
        assert again.headers["Idempotent-Replayed"] == "true"
        assert "Idempotent-Replayed" not in first.headers
        other = await on.member.post("/sessions", {"title": "two"}, key="k1")
        assert (other.status, other.slug) == (409, "idempotency-mismatch")
        somebody = await on.admin.post("/sessions", {"title": "one"}, key="k1")
        assert somebody.ok(201)["id"] != first.body["id"]
        for key in ("", "a b", "ü", "x" * 256):
            headers = {"Idempotency-Key": key}
            path = on.member.below("/sessions")
            said = await on.member.call("POST", path, {"title": "x"}, headers=headers)
            assert (said.status, said.slug) == (422, "invalid"), key
    assert len(await here.rows("SELECT id FROM agent_sessions")) == 2


async def test_a_key_that_was_used_for_one_session_is_not_good_for_another(here: World):
    async with house(here, roles=NO_WORKER) as on:
        one, two = [(await on.member.session())["id"] for _ in range(2)]
        (await on.member.post(f"/sessions/{one}/messages", {"text": "hi"}, key="k")).ok(202)
        said = await on.member.post(f"/sessions/{two}/messages", {"text": "hi"}, key="k")
        assert (said.status, said.slug) == (409, "idempotency-mismatch")


async def test_the_same_request_many_times_at_once_is_done_once(here: World):
    async with house(here, roles=NO_WORKER) as on:
        session = await on.member.session()
        path = f"/sessions/{session['id']}/messages"
        said = await asyncio.gather(
            *(on.member.post(path, {"text": "once"}, key="k") for _ in range(8))
        )
        assert {one.status for one in said} == {202}
        assert len({one.raw for one in said}) == 1
    assert len(await here.rows("SELECT id FROM session_inputs")) == 1


async def test_a_request_that_died_half_way_left_nothing_and_may_come_again(
    here: World, monkeypatch: pytest.MonkeyPatch
):
    """The last write of the transaction fails, as it does when the process dies before its commit."""
    finish = idempotency.finish

    async def dies(*_: object) -> None:
        raise ConnectionResetError("the process died")

    async with house(here, roles=NO_WORKER) as on:
        session = await on.member.session()
        path = f"/sessions/{session['id']}/messages"
        monkeypatch.setattr(idempotency, "finish", dies)
        died = await on.member.post(path, {"text": "once"}, key="k")
        assert (died.status, died.slug) == (503, "unavailable")
        assert await here.rows("SELECT id FROM session_inputs") == []
        assert await here.rows("SELECT key FROM idempotency_keys") == []
        monkeypatch.setattr(idempotency, "finish", finish)
        (await on.member.post(path, {"text": "once"}, key="k")).ok(202)
    assert len(await here.rows("SELECT id FROM session_inputs")) == 1


async def test_a_refusal_of_the_moment_is_not_kept(here: World):
    async with house(here) as on:
        session = await on.member.session()
        path = f"/sessions/{session['id']}"
        assert (await on.member.post(f"{path}/interrupt", key="k")).status == 409
        here.runtime.hold()
        (await on.member.post(f"{path}/messages", {"text": "hello"})).ok(202)
        await eventually(here.runtime.held)
        (await on.member.post(f"{path}/interrupt", key="k")).ok(202)
        await here.at_rest()

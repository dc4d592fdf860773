"""The live tail through the real routes: who may watch, for how long, and that they miss nothing."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from router.api import serve
from router.api.hub import Hub
from store import keys, members
from tests.flows.api import Caller, House, house, token_of
from tests.flows.watching import PACE, Reader
from tests.harness import World
from tests.support import eventually


@pytest.fixture
async def on(here: World, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr(serve, "Hub", partial(Hub, pace=PACE))
    async with house(here) as made:
        yield made


def reader_of(on: House, session: dict[str, Any], **headers: str) -> Reader:
    path = f"/dashboard/agents/{on.here.agent_id}/sessions/{session['id']}/stream"
    return Reader(on.http, path, headers=headers)


def by_token(on: House, caller: Caller, session: dict[str, Any]) -> Reader:
    return reader_of(on, session, Authorization=f"Bearer {caller.token}")


def by_cookie(on: House, session: dict[str, Any], person: str) -> Reader:
    cookie = f'sb-project-auth-token={{"access_token":"{token_of(person)}"}}'
    return reader_of(on, session, Cookie=cookie)


@asynccontextmanager
async def reading(on: House, *readers: Reader) -> AsyncIterator[list["asyncio.Task[int]"]]:
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(reader.read(on.app.url)) for reader in readers]
        yield running
        for one in running:
            one.cancel()


async def answered(reader: Reader, count: int) -> None:
    await eventually(lambda: reader.names().count("session.status_idle") >= count)


async def test_cookie_and_key_see_one_sequence_and_go_on_where_they_were(on: House):
    session = await on.member.session(message="hello")
    key = await on.key("viewer")
    kept, restless = by_cookie(on, session, "viewer"), by_token(on, key, session)
    async with reading(on, kept):
        for number in range(1, 4):
            async with reading(on, restless):
                await answered(restless, number)
            said = await on.member.post(f"/sessions/{session['id']}/messages", {"text": "again"})
            said.ok(202)
            await answered(kept, number + 1)
        async with reading(on, restless):
            await on.here.at_rest()
            late = by_token(on, on.admin, session)
            async with reading(on, late):
                await eventually(lambda: late.sequence() == kept.sequence())
            await eventually(lambda: restless.sequence() == kept.sequence())
    for reader in (kept, restless, late):
        reader.once()
    assert kept.names().count("threadline.input_queued") == 4


async def revoke_key(on: House, caller: Caller) -> None:
    assert caller.token is not None
    assert await keys.revoke(on.here.connection, on.here.workspace_id, caller.token[:11])


async def remove_member(on: House, user_id: str) -> None:
    await on.here.connection.execute("DELETE FROM workspace_members WHERE user_id = $1", user_id)


async def test_who_may_no_longer_watch_is_told_so_and_sees_no_more(on: House):
    session = await on.member.session(message="hello")
    key = await on.key("viewer")
    await members.put_member(on.here.connection, on.here.workspace_id, "guest", "viewer")
    gone = [
        by_token(on, key, session),
        by_token(on, on.viewer, session),
        by_cookie(on, session, "guest"),
    ]
    stays = by_token(on, on.admin, session)
    async with reading(on, stays, *gone) as [_, *watching]:
        for reader in gone:
            await answered(reader, 1)
        await revoke_key(on, key)
        await remove_member(on, "viewer")
        await remove_member(on, "guest")
        async with asyncio.timeout(30):
            assert [await one for one in watching] == [200, 200, 200]
        (await on.member.post(f"/sessions/{session['id']}/messages", {"text": "secret"})).ok(202)
        await answered(stays, 2)
    for reader in gone:
        last = reader.frames[-1]
        assert (last.event, last.id) == ("threadline.access_ended", None)
        assert "secret" not in str(reader.frames)
    assert "threadline.access_ended" not in stays.names()
    assert [await reader.read(on.app.url) for reader in gone] == [401, 404, 404]


async def test_who_waits_for_a_first_list_is_judged_too(on: House):
    """Nobody sits through a runtime that is away and watches when it is back."""
    session = await on.member.session(message="hello")
    await on.here.at_rest()
    await members.put_member(on.here.connection, on.here.workspace_id, "guest", "viewer")
    reader = by_cookie(on, session, "guest")
    async with on.here.runtime_away(), reading(on, reader) as [watching]:
        await eventually(lambda: watching.done() or reader.comments)
        await remove_member(on, "guest")
        async with asyncio.timeout(30):
            assert await watching == 200
    assert [frame.event for frame in reader.frames] == ["threadline.access_ended"]

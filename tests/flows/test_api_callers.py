"""Who calls too often, whose cookie is long, and what callers hold up when all is silent: nothing."""

import asyncio
import json
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from bot import app
from router.api import serve
from router.api.hub import Hub
from router.api.limits import Limits, Strangers
from router.runtime.client import Runtime
from store.database import Pool
from tests.flows.api import Said, house, token_of
from tests.flows.watching import PACE, Reader
from tests.harness import World
from tests.store.lines import line_to
from tests.supabase import b64
from tests.support import eventually

QUIET = frozenset({"ingress", "delivery", "api"})


async def test_who_asks_too_often_is_told_when_to_come_again(
    here: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(serve, "Limits", lambda: Limits(reads=2, writes=1))
    async with house(here, roles=QUIET) as on:
        for _ in range(2):
            (await on.viewer.get("/sessions")).ok()
        turned_away(await on.viewer.get("/sessions"))
        (await on.member.get("/sessions")).ok()
        foreign = on.person("owner", uuid4())  # probing for agents of others counts, too
        for _ in range(2):
            assert (await foreign.get("/sessions")).slug == "not-found"
        turned_away(await foreign.get("/sessions"))


def turned_away(said: Said) -> None:
    assert (said.status, said.slug) == (429, "too-many-requests")
    assert int(said.headers["Retry-After"]) > 0


async def test_who_proves_nothing_too_often_is_told_so_and_nobody_else_there(
    here: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(serve, "Strangers", lambda: Strangers(4))
    async with house(here, roles=QUIET) as on:
        forged = {"Cookie": f"sb-p-auth-token={json.dumps({'access_token': token_of('owner')})}"}
        path = on.member.below("/sessions")
        for token in (None, "tl_aaaaaaaa_" + "a" * 43, "a.b.c"):
            assert (await on.caller(token).get("/sessions")).slug == "unauthenticated"
        assert (await on.caller(None).call("POST", path, {}, headers=forged)).slug == "forbidden"
        turned_away(await on.caller("tl_aaaaaaaa_" + "b" * 43).get("/sessions"))
        turned_away(await on.caller(None).call("POST", path, {}, headers=forged))
        turned_away(await on.caller(None).call("GET", "/dashboard/me"))
        (await on.member.get("/sessions")).ok()
        (await (await on.key()).get("/sessions")).ok()


async def test_a_session_of_ten_thousand_bytes_is_read_from_its_pieces(here: World):
    """As Supabase's clients write one whose person has many identities: longer than a usual header."""
    held = {"access_token": token_of("member"), "user": {"identities": ["x" * 100] * 75}}
    whole = f"base64-{b64(held)}"
    assert len(whole) > 10_000
    pieces = [whole[at : at + 3_180] for at in range(0, len(whole), 3_180)]
    cookie = "; ".join(f"sb-p-auth-token.{n}={piece}" for n, piece in enumerate(pieces))
    async with house(here, roles=QUIET) as on:
        nobody = on.caller(None)
        me = (await nobody.call("GET", "/dashboard/me", headers={"Cookie": cookie})).ok()
        assert me["user_id"] == "member"
        other = "; ".join([f"theirs={'x' * 21_000}", cookie])
        (await nobody.get("/sessions", headers={"Cookie": other})).ok()
        async with on.http.get(on.app.url, headers={"Cookie": "x" * 33_000}) as response:
            assert response.status == 400


async def test_a_database_that_is_silent_does_not_keep_the_api_from_stopping(
    here: World, monkeypatch: pytest.MonkeyPatch
):
    """Not with a look for rows under way, nor with a request that waits for them."""
    hubs: list[Hub] = []

    def watched(pool: Pool, runtime: Runtime) -> Hub:
        hubs.append(Hub(pool, runtime, PACE))
        return hubs[-1]

    def waiting() -> int:
        pool: Any = hubs[0]._pool
        busy: int = pool.get_size() - pool.get_idle_size()
        return busy

    monkeypatch.setattr(serve, "Hub", watched)
    monkeypatch.setattr(app, "_STOP_SECONDS", 2.0)
    async with line_to(here.dsn) as line, asyncio.TaskGroup() as tasks:
        here.dsn = line.dsn
        async with AsyncExitStack() as stack:
            on = await stack.enter_async_context(house(here, roles=frozenset({"api"})))
            session = await on.member.session(message="hello")
            async with aiohttp.ClientSession(
                headers={"Authorization": f"Bearer {on.member.token}"}
            ) as http:
                reader = Reader(http, on.member.below(f"/sessions/{session['id']}/stream"))
                cut = [tasks.create_task(_cut(reader.read(on.app.url)))]
                await eventually(lambda: reader.frames)
                with line.silent():
                    await eventually(waiting)  # the look has the connection that there is
                    listed = replace(on.member, http=http).get("/sessions")
                    cut.append(tasks.create_task(_cut(listed)))
                    async with asyncio.timeout(30):  # who waited for that request would hang
                        await stack.aclose()
                await asyncio.wait(cut)


async def _cut(asking: Coroutine[Any, Any, object]) -> None:
    with suppress(aiohttp.ClientError):
        await asking

"""What a runtime's stream says is read as the SDK reads it, however it is cut; refusals are its errors."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anthropic
import httpx2
import pytest
from aiohttp import web

from router.errors import RuntimeAway, RuntimeFailure, RuntimeGone, RuntimeRefused, RuntimeUnclear
from router.runtime.budget import Need
from router.runtime.client import Runtime

_TWO = b'event: a\ndata: {"type":"a"}\n\nevent: b\ndata: {"type":\ndata: "b"}\n\n'
_OF_NO_MATTER = {"accept-encoding", "connection"}
STREAMS = {
    "whole": [_TWO],
    "byte by byte": [bytes([one]) for one in _TWO],
    "carriage returns": [_TWO.replace(b"\n", b"\r\n")],
    "carriage returns, byte by byte": [bytes([x]) for x in _TWO.replace(b"\n", b"\r\n")],
    "pings, comments, no name, no data": [
        b"event: ping\ndata: {}\n\n: hello\n\n",
        b'data: {"type":"nameless"}\n\nevent: empty\ndata:\n\n',
        _TWO,
    ],
}


@asynccontextmanager
async def answering(*pieces: bytes, status: int = 200) -> AsyncIterator[Runtime]:
    """A runtime that answers all with these pieces, each sent by itself."""

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(dict(request.headers))
        response = web.StreamResponse(status=status, headers={"retry-after": "7"})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        return response

    asked: list[dict[str, str]] = []
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    runtime = Runtime(api_key="sk-1", base_url=_url(runner), max_streams=2)
    try:
        yield runtime
        assert {a["anthropic-beta"] for a in asked} == {"managed-agents-2026-04-01"}
        assert {a.get("Authorization") for a in asked} == {"Bearer sk-1"}
    finally:
        await runtime.close()
        await runner.cleanup()


def _url(runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}"


@pytest.mark.parametrize("name", STREAMS)
async def test_a_stream_is_read_however_it_is_cut(name: str):
    async with (
        answering(*STREAMS[name]) as runtime,
        runtime.stream(Need.LIVE, "sesn_1") as events,
    ):
        assert [event["type"] async for event in events] == ["a", "b"]


async def test_an_error_in_a_stream_ends_it_and_may_have_taken_effect():
    frame = b'event: error\ndata: {"error":{"type":"overloaded_error","message":"busy"}}\n\n'
    async with answering(frame) as runtime:
        with pytest.raises(RuntimeUnclear) as raised:
            async with runtime.stream(Need.LIVE, "sesn_1") as events:
                assert [event async for event in events] == []
    assert isinstance(raised.value.__cause__, anthropic.APIStatusError)


REFUSED: dict[int, type[RuntimeFailure]] = {
    400: RuntimeRefused,
    404: RuntimeGone,
    409: RuntimeUnclear,
    429: RuntimeAway,
    529: RuntimeUnclear,
}


@pytest.mark.parametrize("status", REFUSED)
async def test_what_is_refused_is_told_as_the_sdk_would(status: int):
    body = b'{"type":"error","error":{"type":"x","message":"waiting on responses"}}'
    async with answering(body, status=status) as runtime:
        with pytest.raises(RuntimeFailure) as raised:
            await runtime.send("sesn_1", [{"type": "user.interrupt"}])
        with pytest.raises(RuntimeFailure) as at_opening:
            async with runtime.stream(Need.LIVE, "sesn_1"):
                pass
    assert type(raised.value) is type(at_opening.value) is REFUSED[status]
    assert "waiting on responses" in str(raised.value)
    assert raised.value.retry_after == (None if status in (400, 404, 409) else 7)


async def test_it_says_of_itself_what_the_sdk_says():
    async def answer(request: web.Request) -> web.Response:
        asked.append({name.lower(): value for name, value in request.headers.items()})
        return web.json_response({"data": [], "has_more": False})

    asked: list[dict[str, str]] = []
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    runtime = Runtime(api_key="sk-1", base_url=_url(runner), max_streams=1)
    try:
        await runtime.recent_user_events(Need.LIVE, "sesn_1")  # by the SDK
        await runtime.history(Need.LIVE, "sesn_1", None)
    finally:
        await runtime.close()
        await runner.cleanup()
    theirs, ours = asked
    differs = {name for name in theirs | ours if theirs.get(name) != ours.get(name)}
    assert {name for name in differs if not name.startswith("x-stainless-")} <= _OF_NO_MATTER


@pytest.mark.parametrize("answer", [b"[1]", b"<html>", b""])
async def test_an_answer_that_is_no_object_is_unclear(answer: bytes):
    async with answering(answer) as runtime:
        with pytest.raises(RuntimeUnclear) as raised:
            await runtime.send("sesn_1", [])
    assert isinstance(raised.value.__cause__, httpx2.DecodingError)


async def test_a_runtime_that_cannot_be_reached_took_nothing():
    runtime = Runtime(api_key="sk-1", base_url="http://127.0.0.1:9", max_streams=1)
    try:
        with pytest.raises(RuntimeAway):
            await runtime.send("sesn_1", [])
    finally:
        await runtime.close()


async def test_a_history_is_listed_to_its_last_page():
    async def answer(request: web.Request) -> web.Response:
        pages.append(request.query.get("page"))
        following = {"next_page": "two"} if request.query.get("page") is None else {}
        return web.json_response({"data": [{"type": f"e{len(pages)}"}], **following})

    pages: list[str | None] = []
    app = web.Application()
    app.router.add_get("/v1/sessions/sesn_1/events", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    runtime = Runtime(api_key="sk-1", base_url=_url(runner), max_streams=1)
    try:
        events = await runtime.history(Need.LIVE, "sesn_1", None)
    finally:
        await runtime.close()
        await runner.cleanup()
    assert [event["type"] for event in events] == ["e1", "e2"]
    assert pages == [None, "two"]

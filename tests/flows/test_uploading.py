"""How the bytes of an offered file are brought to Slack: once, whole, and nowhere else."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from bot import uploading
from bot.local.tickets import Tickets
from router.clock import Backoff
from router.notices import Trouble, words
from tests.flows.offered import COMPLETE, GET_URL, MB, ask, bearing, content, files_in, seen, shows
from tests.harness import World
from tests.support import eventually

Take = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again at once."""
    monkeypatch.setattr("bot.delivery._BACKOFF", Backoff(0.05, 0.05))
    monkeypatch.setattr(uploading, "_LOOKS_SECONDS", (0.0, 0.05))
    monkeypatch.setattr(uploading, "_LOOKS_APART_SECONDS", 0.05)


@asynccontextmanager
async def _server(take: Take) -> AsyncIterator[TestServer]:
    app = web.Application()
    app.router.add_post("/{path:.*}", take)
    server = TestServer(app)
    async with server:
        yield server


# ------------------------------------------------------------------ where to, and how much


async def test_nothing_is_sent_to_an_address_that_is_not_slacks(
    here: World, monkeypatch: pytest.MonkeyPatch
):
    got: list[str] = []

    async def take(request: web.Request) -> web.Response:
        got.append(request.path)
        return web.Response()

    async with _server(take) as stranger:
        monkeypatch.setattr(Tickets, "url", lambda *_: str(stranger.make_url("/upload/v1/x")))
        async with here.app():
            asked = await ask(here, "!write a.txt 10")
            told = await shows(here, asked, 2)
    assert told[1] == words(Trouble.OUTPUT_NOT_SHARED, files=[("a.txt", 10)])
    assert got == []


async def test_a_redirect_is_not_followed():
    got: list[str] = []

    async def take(request: web.Request) -> web.Response:
        got.append(request.path)
        raise web.HTTPTemporaryRedirect("/elsewhere")

    async with _server(take) as server:
        with pytest.raises(uploading._Broken, match="307"):
            await uploading._send(server.make_url("/upload/v1/x"), _pieces(b"a"), 1)
    assert got == ["/upload/v1/x"]


async def _pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


@pytest.mark.parametrize("size", [1, 3])
async def test_a_file_of_another_size_than_was_said_is_not_brought(size: int):
    async def take(request: web.Request) -> web.Response:
        await request.read()
        return web.Response()

    async with _server(take) as server:
        with pytest.raises(uploading._Broken):
            await uploading._send(server.make_url("/upload/v1/x"), _pieces(b"ab"), size)


async def test_no_more_of_a_file_is_held_than_the_line_takes():
    """A receiver that does not read stops the reading at the other end."""
    size, given, go = 96 * MB, 0, asyncio.Event()
    got: list[int] = []

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal given
        while given < size:
            given += 64 * 1024
            yield bytes(64 * 1024)

    async def take(request: web.Request) -> web.Response:
        got.append(len(await request.content.readany()))
        await go.wait()
        got.extend([len(piece) async for piece in request.content.iter_any()])
        return web.Response()

    async with _server(take) as server, asyncio.TaskGroup() as tasks:
        target = server.make_url("/upload/v1/x")
        tasks.create_task(uploading._send(target, pieces(), size))
        await eventually(lambda: got, says="a first piece")
        held = [-1]
        while held[-1] != given:  # until it stands still
            held.append(given)
            for _ in range(50):
                await asyncio.sleep(0)
        assert given < 24 * MB
        go.set()
    assert sum(got) == size


# ------------------------------------------------------------------ lost answers, slow ones


@pytest.mark.usefixtures("_soon")
@pytest.mark.parametrize(
    ("fault", "method"),
    [
        ("drop_before", GET_URL),
        ("drop_after", GET_URL),
        ("error_before", "upload_url"),
        ("drop_after", "upload_url"),
        ("drop_before", COMPLETE),
        ("error_after", COMPLETE),
        ("drop_after", COMPLETE),
        ("ratelimit", COMPLETE),
        ("error_before", "files.info"),
    ],
)
async def test_whatever_is_lost_on_the_way_the_file_is_shared_once(
    here: World, fault: str, method: str
):
    here.slack.fault(fault, method=method)  # type: ignore[arg-type]
    async with here.app():
        asked = await ask(here, "!write a.txt 10, b.txt 20")
        assert len(await shows(here, asked, 3)) == 3
    assert files_in(here, asked) == ["a.txt", "b.txt"]
    rows = await here.rows("SELECT state, slack_ts FROM slack_outbox WHERE kind = 'file'")
    assert {row["state"] for row in rows} == {"sent"}
    assert {row["slack_ts"] for row in rows} == {m.ts for m in bearing(here, asked)}


@pytest.mark.usefixtures("_soon")
async def test_a_stream_from_the_runtime_that_breaks_is_read_again(here: World):
    here.runtime.fault("cut_stream", route="files.download", event_type="file.content")
    async with here.app():
        asked = await ask(here, "!write a.bin 300k")
        await shows(here, asked, 2)
    assert [len(content(here, m)) for m in bearing(here, asked)] == [300 * 1024]


@pytest.mark.usefixtures("_soon")
async def test_what_slack_shows_late_holds_the_next_one_back(here: World):
    here.slack.fault("stale", method="files.info", times=6, seconds=3600)
    async with here.app():
        asked = await ask(here, "!write a.txt 10, b.txt 20")
        await shows(here, asked, 3)
    assert files_in(here, asked) == ["a.txt", "b.txt"]
    first = [c.method for c in here.slack.calls if c.method.startswith("files.")]
    assert first[: first.index(GET_URL, 1)].count("files.info") == 7


@pytest.mark.usefixtures("_soon")
async def test_where_nobody_can_tell_the_thread_is_told_so_and_nothing_is_doubled(here: World):
    here.slack.fault("stale", method="files.info", times=None, seconds=3600)
    here.slack.fault("drop_after", method=COMPLETE)
    async with here.app():
        asked = await ask(here, "!write a.txt 10")
        kept = "SELECT FROM slack_outbox WHERE kind = 'file' AND body ? 'completing'"
        await eventually(lambda: here.rows(kept), says="a file that is being shared")
        long_ago = 'body || \'{"completing": "2020-01-01T00:00:00+00:00"}\''
        await here.connection.execute(
            f"UPDATE slack_outbox SET body = {long_ago} WHERE kind = 'file'"
        )
        told = await shows(here, asked, 3)
    assert told[2] == words(Trouble.OUTPUT_UNSURE, files=[("a.txt", 10)])
    assert files_in(here, asked) == ["a.txt"]


async def test_slow_files_hold_up_no_other_thread(here: World, monkeypatch: pytest.MonkeyPatch):
    go, send = asyncio.Event(), uploading._send

    async def slowly(target: URL, pieces: AsyncIterator[bytes], size: int) -> None:
        await go.wait()
        await send(target, pieces, size)

    monkeypatch.setattr(uploading, "_send", slowly)
    async with here.app():
        threads = [await ask(here, f"!write {n}.txt 10") for n in range(6)]
        await eventually(lambda: _under_way(here, 4), says="as many files as may be")
        other = await ask(here, "hello")
        await eventually(lambda: len(seen(here, other)) == 1, says="an answer meanwhile")
        assert await _under_way(here, 4)
        # else what comes after it could be said before it is offered
        await eventually(lambda: _offered(here, 6), says="a file in each thread")
        after = await ask(here, "hello", threads[0])
        await eventually(lambda: _replied(here, 8), says="an answer behind a file")
        await eventually(lambda: [type(one) for one in seen(here, threads[0])] == [str])
        go.set()
        assert [type(one) for one in await shows(here, threads[0], 3)] == [str, tuple, str]
    assert after.thread_ts == threads[0].ts


async def _under_way(here: World, count: int) -> bool:
    state = "SELECT FROM slack_outbox WHERE kind = 'file' AND state = 'sending'"
    return len(await here.rows(state)) == count


async def _offered(here: World, count: int) -> bool:
    return len(await here.rows("SELECT FROM slack_outbox WHERE kind = 'file'")) == count


async def _replied(here: World, count: int) -> bool:
    return len(await here.rows("SELECT FROM slack_outbox WHERE kind = 'reply'")) == count


@pytest.mark.usefixtures("_soon")
async def test_bytes_that_never_arrive_are_given_up_after_some_tries(here: World):
    here.slack.fault("error_before", method="upload_url", times=uploading._TRIES)
    async with here.app():
        asked = await ask(here, "!write a.txt 10, b.txt 20")
        told = await shows(here, asked, 3)
    assert told[1] == words(Trouble.OUTPUT_NOT_SHARED, files=[("a.txt", 10)])
    assert files_in(here, asked) == ["b.txt"]

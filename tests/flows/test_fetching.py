"""Files of people are read from Slack, with the token, and from nowhere else."""

import asyncio
import gzip
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.fetching import Fetching, Pace
from bot.local import LocalSlack
from bot.local.workspace import SCOPES
from router import clock
from router.errors import FileAway, FileRefused
from router.files.kinds import FILE_BYTES
from store import installs
from tests.flows.slack_side import TOKEN, Side, slack_side

Json = dict[str, Any]
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

PNG = b"\x89PNG\r\n\x1a\n and more"
PAGE = b"<!DOCTYPE html><title>Sign in</title>"
# Only where time is the matter may it be short: a machine can be slower than that.
CALM = Pace(connect=10.0, silence=10.0, whole=30.0)
QUICK = Pace(connect=1.0, silence=0.3, whole=1.0)


class Host:
    """A server on 127.0.0.1 that notes every request, and answers as it is told."""

    url: str

    def __init__(self) -> None:
        self.seen: list[web.Request] = []
        self.answers: dict[str, Answer] = {}

    def at(self, path: str, answer: Answer) -> str:
        self.answers[path] = answer
        return f"{self.url}{path}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        known = self.answers.get(request.path)
        return await known(request) if known else web.Response(status=404)


@asynccontextmanager
async def hosting() -> AsyncIterator[Host]:
    host = Host()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", host.handle)
    async with TestServer(app, host="127.0.0.1") as server:
        host.url = f"http://127.0.0.1:{server.port}"
        yield host


@pytest.fixture
async def slack_com() -> AsyncIterator[Host]:
    """The server that plays Slack: its origin is that of SLACK_API_URL."""
    async with hosting() as host:
        yield host


@pytest.fixture
async def foreign() -> AsyncIterator[Host]:
    """A server that nothing may be sent to."""
    async with hosting() as host:
        yield host


@pytest.fixture
async def side(dsn: str, slack_com: Host) -> AsyncIterator[Side]:
    async with slack_side(dsn, f"{slack_com.url}/api/") as made:
        yield made


@pytest.fixture
async def fetch(side: Side, slack_com: Host) -> AsyncIterator[Callable[..., Awaitable[bytes]]]:
    async with fetching(side, slack_com, CALM) as made:
        yield made


@asynccontextmanager
async def fetching(
    side: Side, slack_com: Host, pace: Pace
) -> AsyncIterator[Callable[..., Awaitable[bytes]]]:
    async with Fetching(side.slack, side.budgets, f"{slack_com.url}/api/", pace) as door:

        async def whole(url: str | None, **file: Any) -> bytes:
            named = {"id": "F1", "name": "a.png", "mimetype": "image/png", "url": url} | file
            async with door.open_file(side.install_id, named) as opened:
                chunks = [chunk async for chunk in opened.chunks]
            assert all(chunks)
            return b"".join(chunks)

        yield whole


Fetch = Callable[..., Awaitable[bytes]]


def sending(content: bytes, status: int = 200, **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=content, status=status, headers=named)

    return answer


def leading(to: str, status: int = 302) -> Answer:
    return sending(b"", status, Location=to)


async def refused(read: Awaitable[bytes]) -> str:
    with pytest.raises(FileRefused) as caught:
        await read
    return caught.value.reason


async def away(read: Awaitable[bytes]) -> FileAway:
    with pytest.raises(FileAway) as caught:
        await read
    return caught.value


# ------------------------------------------------------------------ what is read


async def test_a_file_is_read_with_the_token_and_without_an_encoding(slack_com: Host, fetch: Fetch):
    url = slack_com.at("/files-pri/T1-F1/download/a.png", sending(PNG * 9_000))
    assert await fetch(url) == PNG * 9_000
    (request,) = slack_com.seen
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert request.headers["Accept-Encoding"] == "identity"
    assert request.method == "GET"


async def test_redirects_inside_of_slack_are_followed_and_no_further_than_five(
    slack_com: Host, fetch: Fetch
):
    slack_com.at("/5/F1", sending(PNG))
    for hop in range(5):
        slack_com.at(f"/{hop}/F1", leading(f"../{hop + 1}/F1", (301, 302, 303, 307, 308)[hop]))
    assert await fetch(f"{slack_com.url}/0/F1") == PNG
    slack_com.at("/before/F1", leading("/0/F1"))
    assert await refused(fetch(f"{slack_com.url}/before/F1")) == "unreadable"


@pytest.mark.parametrize("status", [200, 302])
async def test_a_sign_in_page_is_no_file(slack_com: Host, fetch: Fetch, status: int):
    page = sending(PAGE, Content_Type="text/html; charset=utf-8")
    slack_com.at("/signin", page)
    answer = page if status == 200 else leading("/signin?redir=%2Ffiles-pri%2FT1-F1")
    url = slack_com.at("/files-pri/T1-F1/a.png", answer)
    assert await refused(fetch(url)) == "no_access"
    assert await refused(fetch(url, name="a.txt", mimetype="text/plain")) == "no_access"
    if status == 302:
        assert await refused(fetch(url, name="a.html", mimetype="text/html")) == "no_access"
    else:
        assert await fetch(url, name="a.html", mimetype="text/html") == PAGE
        assert await fetch(url, name="a", mimetype="application/vnd.slack-docs") == PAGE


async def test_a_page_that_is_called_a_picture_is_no_picture(slack_com: Host, fetch: Fetch):
    url = slack_com.at("/F1", sending(b"\n<!-- x --> " + PAGE, Content_Type="image/png"))
    assert await refused(fetch(url)) == "no_access"
    assert PAGE in await fetch(url, mimetype="text/plain")


async def test_a_type_that_lies_changes_nothing(slack_com: Host, fetch: Fetch):
    url = slack_com.at("/F1", sending(PNG, Content_Type="application/pdf"))
    assert await fetch(url, mimetype="text/plain", size=3) == PNG


async def test_what_slack_refuses_has_its_reason(slack_com: Host, fetch: Fetch):
    reasons = {
        401: "no_access",
        403: "no_access",
        404: "deleted",
        410: "deleted",
        418: "unreadable",
    }
    for status, reason in reasons.items():
        url = slack_com.at("/F1", sending(b"no", status))
        assert await refused(fetch(url)) == reason, status


async def test_what_may_pass_is_no_refusal(slack_com: Host, fetch: Fetch):
    url = slack_com.at("/F1", sending(b"wait", 429, Retry_After="7"))
    assert (await away(fetch(url))).retry_after == 7.0
    slack_com.at("/F1", sending(b"oh", 503))
    assert (await away(fetch(url))).retry_after is None


# ------------------------------------------------------------------ bounds


@pytest.mark.parametrize("declared", [None, FILE_BYTES + 1])
async def test_too_large_is_found_while_it_comes_in(
    slack_com: Host, fetch: Fetch, declared: int | None
):
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        response.content_length = declared
        await response.prepare(request)
        while True:  # until nobody reads any more
            await response.write(b"x" * 256 * 1024)
            sent += 256 * 1024

    url = slack_com.at("/F1", endless)
    assert await refused(fetch(url, size=10)) == "too_large"
    assert sent < (FILE_BYTES + 8 * 1024**2 if declared is None else 8 * 1024**2)


async def test_the_largest_file_passes(slack_com: Host, fetch: Fetch):
    url = slack_com.at("/F1", sending(b"x" * FILE_BYTES))
    assert len(await fetch(url)) == FILE_BYTES


async def test_nothing_is_unpacked(slack_com: Host, fetch: Fetch):
    bomb = gzip.compress(b"0" * 10_000_000)
    url = f"{slack_com.url}/F1"
    for encoding in ("gzip", "br", "gzip, identity"):
        slack_com.at("/F1", sending(bomb, Content_Encoding=encoding))
        assert await refused(fetch(url, mimetype="text/plain")) == "unreadable"
    slack_com.at("/F1", sending(bomb, Content_Encoding="identity"))
    assert await fetch(url, mimetype="text/plain") == bomb


async def test_a_file_that_is_shorter_than_declared_is_no_file(slack_com: Host, fetch: Fetch):
    async def short(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"x" * 10)
        assert request.transport is not None
        request.transport.close()
        return response

    await away(fetch(slack_com.at("/F1", short)))


@pytest.mark.parametrize("every", [0.05, 5.0], ids=["drip", "silence"])
async def test_a_slow_stream_is_left(slack_com: Host, side: Side, every: float):
    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while request.transport is not None and not request.transport.is_closing():
            await response.write(b"x")
            await asyncio.sleep(every)
        return response

    async with fetching(side, slack_com, QUICK) as fetch:
        await away(fetch(slack_com.at("/F1", slow)))


async def test_what_takes_the_chunks_may_take_its_time(
    slack_com: Host, side: Side, monkeypatch: pytest.MonkeyPatch
):
    taken, got, more = 0.0, b"", asyncio.Semaphore(1)

    def now() -> float:
        return time.monotonic() + taken

    async def in_parts(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(4):
            await more.acquire()
            await response.write(PNG)
        return response

    url = slack_com.at("/F1", in_parts)

    async with (
        Fetching(side.slack, side.budgets, f"{slack_com.url}/api/", CALM) as door,
        door.open_file(side.install_id, {"id": "F1", "url": url}) as opened,
    ):
        with monkeypatch.context() as patch:
            patch.setattr(clock, "monotonic", now)
            patch.setattr(asyncio.get_running_loop(), "time", now)
            async for chunk in opened.chunks:
                got += chunk
                taken += 2 * CALM.whole  # the others' time, which is the matter here
                more.release()
    assert got == PNG * 4


# ------------------------------------------------------------------ strangers


def _addresses(home: str, port: int) -> dict[str, str]:
    """Addresses that are not Slack's, however much they look like it; all lead to our own host."""
    return {
        "another port": f"http://127.0.0.1:{port}/F1",
        "another name of ours": f"http://localhost:{port}/F1",
        "loopback v6": f"http://[::1]:{port}/F1",
        "a user": f"{home.replace('//', '//slack.com@')}/F1",
        "a user and password": f"{home.replace('//', '//files.slack.com:443@')}/F1",
        "our origin as the user": f"http://127.0.0.1@127.0.0.1:{port}/F1",
        "https of http": home.replace("http", "https") + "/F1",
        "a backslash": f"{home}\\@127.0.0.1:{port}/F1",
        "decimal": f"http://2130706433:{port}/F1",
        "a short loopback": f"http://127.1:{port}/F1",
        "another scheme": "file:///etc/passwd",
        "metadata": "http://169.254.169.254/latest/meta-data",
    }


async def test_nothing_is_sent_to_strangers(slack_com: Host, foreign: Host, fetch: Fetch):
    port = int(foreign.url.rpartition(":")[2])
    foreign.at("/F1", sending(PNG))
    for address in _addresses(slack_com.url, port).values():
        assert await refused(fetch(address)) == "foreign_host", address
    assert slack_com.seen == []
    for address in (*_addresses(slack_com.url, port).values(), f"//127.0.0.1:{port}/F1"):
        slack_com.at("/away", leading(address))
        assert await refused(fetch(f"{slack_com.url}/away")) == "foreign_host", address
    assert foreign.seen == []


# ------------------------------------------------------------------ what Slack says of it


def info(**file: Any) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.headers["Authorization"] == f"Bearer {TOKEN}"
        return web.json_response({"ok": True, "file": {"id": "F1"} | file})

    return answer


def saying(error: str, status: int = 200, **headers: str) -> Answer:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"ok": False, "error": error}, status=status, headers=headers)

    return answer


@pytest.mark.parametrize("held_back", [{"url": None}, {"access": "check_file_info"}])
async def test_slack_is_asked_about_a_file_that_it_held_back(
    slack_com: Host, side: Side, held_back: Json
):
    url = slack_com.at("/files-pri/F1", sending(PNG))
    slack_com.at("/api/files.info", info(name="b.png", mimetype="image/png", url_private=url))
    file = {"id": "F1", "name": None, "url": "http://127.0.0.1:1/old"} | held_back
    async with (
        Fetching(side.slack, side.budgets, f"{slack_com.url}/api/", CALM) as door,
        door.open_file(side.install_id, file) as opened,
    ):
        assert opened.name == "b.png"
        assert [chunk async for chunk in opened.chunks] == [PNG]


SAID: list[tuple[Answer, str]] = [
    (saying("file_not_found"), "deleted"),
    (saying("file_deleted"), "deleted"),
    (saying("missing_scope"), "no_access"),
    (info(mode="tombstone"), "deleted"),
    (info(mode="hidden_by_limit", url_private="https://files.slack.com/F1"), "no_access"),
    (info(mode="external", url_private="https://docs.example/F1"), "foreign_host"),
    (info(file_access="check_file_info"), "no_access"),
    (saying("token_revoked"), "no_access"),
]


async def test_what_slack_says_of_a_file_decides(slack_com: Host, fetch: Fetch):
    for place, (says, reason) in enumerate(SAID):
        slack_com.at("/api/files.info", says)
        assert await refused(fetch(None)) == reason, place
    assert len(slack_com.seen) == len(SAID)


async def test_of_a_file_that_is_known_to_be_gone_nothing_is_asked(slack_com: Host, fetch: Fetch):
    assert await refused(fetch(f"{slack_com.url}/F1", mode="tombstone")) == "deleted"
    assert await refused(fetch(None, mode="hidden_by_limit")) == "no_access"
    assert slack_com.seen == []


async def test_a_limit_of_slacks_is_kept(slack_com: Host, side: Side, fetch: Fetch):
    slack_com.at("/api/files.info", saying("ratelimited", 429, **{"Retry-After": "30"}))
    assert (await away(fetch(None))).retry_after == 30.0
    assert not await side.budgets.take(side.install_id, "files.info")


async def test_without_an_install_nothing_is_sent(slack_com: Host, side: Side, fetch: Fetch):
    await installs.end(side.connection, "A0OURS", "T0", "revoked")
    assert await refused(fetch(f"{slack_com.url}/F1")) == "no_access"
    assert slack_com.seen == []


# ------------------------------------------------------------------ the local Slack


@pytest.mark.parametrize("scopes", [SCOPES | {"files:read"}, SCOPES - {"files:read"}])
async def test_a_file_of_the_local_workspace(dsn: str, scopes: frozenset[str]):
    async with (
        LocalSlack(scopes=scopes) as slack,
        slack_side(dsn, slack.api_url, token=slack.bot_token) as side,
    ):
        kept = slack.workspace.files.keep("a.png", slack.users["ada"], PNG)
        said = await slack.say("ada", "general", "", file_ids=[kept.id])
        (shared,) = said.files
        file = {"id": kept.id, "mimetype": "image/png", "url": shared["url_private_download"]}
        async with Fetching(side.slack, side.budgets, slack.api_url) as door:
            opening = door.open_file(side.install_id, file)
            if "files:read" in scopes:
                async with opening as opened:
                    assert [chunk async for chunk in opened.chunks] == [PNG]
            else:
                with pytest.raises(FileRefused, match="no_access"):
                    await opening.__aenter__()

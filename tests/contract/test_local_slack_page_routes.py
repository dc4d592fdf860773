"""What the page reads and is made of, and who may ask for it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from bot.local import LocalSlack
from tests.contract.slack_cards import button, posted
from tests.contract.slack_page import Json, feeding
from tests.contract.slack_receiver import client_of, receiving


@pytest.fixture
async def slack() -> AsyncIterator[LocalSlack]:
    async with LocalSlack(clock="virtual") as server:
        yield server


@pytest.fixture
async def http(slack: LocalSlack) -> AsyncIterator[ClientSession]:
    async with ClientSession(slack.url) as session:
        yield session


async def get(http: ClientSession, path: str, **query: Any) -> tuple[int, Json]:
    async with http.get(f"/_page/{path}", params=query) as response:
        return response.status, await response.json()


async def read(http: ClientSession, path: str, **query: Any) -> Json:
    status, page = await get(http, path, **query)
    assert status == 200, page
    return page


def texts(page: Json) -> list[int]:
    return [int(message["text"]) for message in page["messages"]]


# ----------------------------------------------------------------------------- history


async def test_a_long_channel_is_read_by_pages(slack: LocalSlack, http: ClientSession):
    for number in range(5_000):
        await slack.say("ada", "general", str(number), deliver=False)
    page = await read(http, "history", channel="general")
    assert (texts(page), page["more"]) == (list(range(4_950, 5_000)), True)
    assert page["messages"][0]["channel"] == slack.channels["general"]
    seen, pages = texts(page), 1
    while page["more"]:
        before = page["messages"][0]["ts"]
        page = await read(http, "history", channel="general", before=before, limit=200)
        seen, pages = texts(page) + seen, pages + 1
    assert seen == list(range(5_000))
    assert pages == 26
    # Back to the present again.
    first = page["messages"][0]["ts"]
    page = await read(http, "history", channel="general", after=first, limit=150)
    assert (texts(page), page["more"]) == (list(range(1, 151)), True)
    newest = (await read(http, "history", channel="general", limit=1))["messages"][0]["ts"]
    page = await read(http, "history", channel="general", after=newest)
    assert (page["messages"], page["more"]) == ([], False)
    page = await read(http, "history", channel="general", limit=100_000)
    assert len(page["messages"]) == 200


async def test_a_long_thread_is_read_by_pages(slack: LocalSlack, http: ClientSession):
    root = await slack.say("ada", "general", "1000", deliver=False)
    for number in range(200):
        await slack.say("grace", "general", str(number), thread_ts=root.ts, deliver=False)
    page = await read(http, "thread", channel="C0GENERAL", ts=root.ts)
    assert (texts(page), page["more"]) == (list(range(100, 200)), True)
    assert (page["root"]["text"], page["root"]["reply_count"]) == ("1000", 200)
    before = page["messages"][0]["ts"]
    page = await read(http, "thread", channel="C0GENERAL", ts=root.ts, before=before)
    assert (texts(page), page["more"]) == (list(range(100)), False)
    page = await read(http, "thread", channel="general", ts="1.0")
    assert (page["root"], page["messages"], page["more"]) == (None, [], False)
    # Replies do not stand in the channel.
    assert texts(await read(http, "history", channel="general")) == [1_000]


async def test_refusals(http: ClientSession):
    assert await get(http, "history", channel="nowhere") == (
        404,
        {"ok": False, "error": "channel_not_found"},
    )
    for limit in ("0", "-1", "ten", "²"):
        refused = await get(http, "history", channel="general", limit=limit)
        assert refused == (400, {"ok": False, "error": "invalid_limit"})
    assert await get(http, "envelope", event_id="") == (
        404,
        {"ok": False, "error": "event_not_found"},
    )


async def test_an_event_is_shown_as_it_was_sent(slack: LocalSlack, http: ClientSession):
    async with receiving(slack) as receiver:
        said = await slack.say("ada", "general", "hi")
        await slack.settle()
        [sent] = receiver.requests
        shown = await read(http, "envelope", event_id=sent.body["event_id"])
    assert (shown["envelope"], shown["url"]) == (sent.body, receiver.url)
    # The ts of a message names no single event.
    assert (await get(http, "envelope", event_id=said.ts))[0] == 404


async def test_an_interaction_is_shown_by_the_number_of_its_delivery(
    slack: LocalSlack, http: ClientSession
):
    client = client_of(slack)
    async with receiving(slack) as receiver:

        @receiver.app.action("approve")
        async def on_action(ack: Any) -> None:
            await ack()

        ts = await posted(client, "C0GENERAL", button("approve"))
        [pressed] = await slack.click("ada", ts, text="Approve")
        [delivery] = [one for one in slack.deliveries if one.type == "block_actions"]
        shown = await read(http, "envelope", seq=delivery.seq)
    assert (shown["envelope"], delivery.event_id) == (pressed.payload, "")
    for seq in ("0", "-1", "x", "9" * 400):
        assert (await get(http, "envelope", seq=seq))[0] == 404


# ------------------------------------------------------------------------- who may ask

READ = ["", "_page/static/app.js", "_page/feed", "_page/history", "_page/thread"]
READ += ["_page/envelope", "_page/files/F0"]
WRITTEN = ["_page/watch", "_page/order", "_page/upload", "_control/mark", "_control/react"]


async def test_only_on_names_of_this_machine(http: ClientSession):
    strange = {"Host": "evil.example"}
    for path in READ:
        async with http.get(f"/{path}", headers=strange) as response:
            assert response.status == 403, path
    for path in WRITTEN:
        async with http.post(f"/{path}", json={}, headers=strange) as response:
            assert response.status == 403, path


async def test_not_from_another_site(slack: LocalSlack, http: ClientSession):
    for origin in ("https://evil.example", "http://127.0.0.1:1", "null"):
        for path in WRITTEN:
            async with http.post(f"/{path}", json={}, headers={"Origin": origin}) as response:
                assert response.status == 403, path
    body = {"user": "ada"}
    own = {"Origin": slack.url}
    async with http.post("/_control/open_dm", json=body, headers=own) as response:
        assert response.status == 200


async def test_posts_take_json_and_known_fields_only(http: ClientSession):
    for path in ("watch", "order"):
        async with http.post(f"/_page/{path}", data="{}") as response:
            assert response.status == 415
        async with http.post(f"/_page/{path}", json={"viewer": "a", "more": 1}) as response:
            assert response.status == 422


async def test_every_answer_keeps_strangers_out(slack: LocalSlack, http: ClientSession):
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    for path in [*READ, "_page/static/no.js", "_page/nothing"]:
        async with http.get(f"/{path}") as response:
            headers = response.headers
            assert headers["Content-Security-Policy"] == policy, path
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    async with http.get("/_control/state") as response:
        assert "Content-Security-Policy" not in response.headers
    async with feeding(slack) as feed:
        assert feed.response.headers["Content-Security-Policy"] == policy
        assert feed.response.content_type == "text/event-stream"


# ------------------------------------------------------------------------------ static


async def test_the_page_and_its_modules(http: ClientSession):
    kinds = {
        "/": "text/html",
        "/_page/static/app.js": "text/javascript",
        "/_page/static/styles/base.css": "text/css",
    }
    for path, kind in kinds.items():
        async with http.get(path) as response:
            assert (response.status, response.content_type) == (200, kind)
            assert response.charset == "utf-8"
            assert response.headers["Cache-Control"] == "no-cache"
            tag = response.headers["ETag"]
        async with http.get(path, headers={"If-None-Match": tag}) as response:
            assert (response.status, await response.read()) == (304, b"")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of static files with a secret beside it."""
    inside = tmp_path / "static"
    (inside / "styles").mkdir(parents=True)
    (inside / "own.js").write_text("own")
    (tmp_path / "secret.js").write_text("secret")
    (inside / "link.js").symlink_to(tmp_path / "secret.js")
    (inside / "notes.txt").write_text("secret")
    monkeypatch.setattr("bot.local.page.static_files._FOLDER", inside)
    return inside


async def test_nothing_outside_the_folder_is_served(slack: LocalSlack, folder: Path):
    async def status_of(path: str) -> bytes:
        port = int(slack.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        # As it is typed here: no client tidies it up.
        writer.write(f"GET /_page/static/{path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        assert b"secret" not in answer
        return answer.split(b" ", 2)[1]

    assert await status_of("own.js") == b"200"
    assert await status_of("styles/../own.js") == b"200"
    for path in (
        "../secret.js",
        "..%2fsecret.js",
        "%2e%2e/secret.js",
        "styles/../../secret.js",
        "styles/%2e%2e%2f%2e%2e%2fsecret.js",
        "..\\secret.js",
        f"{folder.parent}/secret.js",
        f"%2f{folder.parent}/secret.js".replace("/", "%2f"),
        "link.js",
        "notes.txt",
        "own.js%00",
        "own.js%00.js",
        "styles",
        "",
        ".",
    ):
        assert await status_of(path) in (b"404", b"400"), path

"""Files: attached on the page, fetched by the app with its token, and shown again."""

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from bot.local import LocalSlack, SlackError
from bot.local.files import MAX_BYTES
from bot.local.workspace import SCOPES
from tests.contract.slack_page import Json

CONTENT = b"\x89PNG\r\n\x1a\n and more"


@pytest.fixture
async def slack() -> AsyncIterator[LocalSlack]:
    async with LocalSlack(scopes=SCOPES | {"files:read"}) as server:
        yield server


@pytest.fixture
async def http(slack: LocalSlack) -> AsyncIterator[ClientSession]:
    async with ClientSession(slack.url) as session:
        yield session


async def upload(
    http: ClientSession, name: str, content: Any = CONTENT, user: str = "ada"
) -> tuple[int, Json]:
    query = {"name": name, "user": user}
    async with http.post("/_page/upload", params=query, data=content) as response:
        return response.status, await response.json()


async def uploaded(http: ClientSession, name: str, content: Any = CONTENT) -> Json:
    status, answer = await upload(http, name, content)
    assert status == 200, answer
    file: Json = answer["file"]
    return file


async def test_a_message_carries_what_was_uploaded(slack: LocalSlack, http: ClientSession):
    file = await uploaded(http, "plot é.png")
    assert file == {
        "id": file["id"],
        "name": "plot é.png",
        "mimetype": "image/png",
        "size": len(CONTENT),
    }
    body = {"user": "ada", "channel": "general", "file_ids": [file["id"]], "files": ["b.txt"]}
    async with http.post("/_control/message", json=body) as response:
        said = await response.json()
    message = slack.workspace.state.message(said["channel"], said["ts"])
    assert message is not None
    named, shown = message.files
    assert message.subtype == "file_share"
    assert file.items() <= shown.items()
    assert (shown["filetype"], shown["user"]) == ("png", slack.users["ada"])
    assert (named["name"], named["mimetype"], named["size"]) == ("b.txt", "text/plain", 1_024)
    ours = {"Authorization": f"Bearer {slack.bot_token}"}
    for url, manner in (("url_private", "inline"), ("url_private_download", "attachment")):
        assert shown[url].startswith(f"{slack.url}/files-pri/{slack.team_id}-{file['id']}/")
        async with http.get(shown[url], headers=ours) as response:
            assert (response.status, await response.read()) == (200, CONTENT)
            assert response.content_type == "image/png"
            disposition = response.headers["Content-Disposition"]
            assert disposition == f"{manner}; filename*=UTF-8''plot%20%C3%A9.png"
    async with http.get(named["url_private"], headers=ours) as response:
        assert response.status == 404


async def test_without_the_token_there_is_a_sign_in_page(slack: LocalSlack, http: ClientSession):
    file = await uploaded(http, "a.txt", b"secret")
    said = await slack.say("ada", "general", "", file_ids=[file["id"]])
    url, theirs = said.files[0]["url_private"], {"Authorization": "Bearer xoxb-other"}
    for headers in ({}, theirs, {"Authorization": slack.bot_token}):
        async with http.get(url, headers=headers, allow_redirects=False) as response:
            assert response.status == 302
            assert response.headers["Location"].startswith(f"{slack.url}/signin?redir=/files-pri")
        async with http.get(url, headers=headers) as response:
            assert (response.status, response.content_type) == (200, "text/html")
            assert "secret" not in await response.text()
    slack.fault("revoke_token")
    ours = {"Authorization": f"Bearer {slack.bot_token}"}
    async with http.get(url, headers=ours, allow_redirects=False) as response:
        assert response.status == 302


async def test_the_scope_is_needed():
    async with LocalSlack() as slack, ClientSession(slack.url) as http:
        file = await uploaded(http, "a.txt")
        said = await slack.say("ada", "general", "", file_ids=[file["id"]])
        ours = {"Authorization": f"Bearer {slack.bot_token}"}
        url = said.files[0]["url_private"]
        async with http.get(url, headers=ours, allow_redirects=False) as response:
            assert response.status == 302


async def test_nothing_runs_from_a_file_on_the_page(http: ClientSession):
    for name, kind, manner in (
        ("a.png", "image/png", "inline"),
        ("a.html", "text/html", "attachment"),
        ("a.svg", "image/svg+xml", "attachment"),
        ("a.unknown", "application/octet-stream", "attachment"),
    ):
        file = await uploaded(http, name)
        async with http.get(f"/_page/files/{file['id']}") as response:
            assert (response.status, await response.read()) == (200, CONTENT)
            assert response.content_type == kind
            assert response.headers["Content-Disposition"].startswith(manner)
            assert response.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
    async with http.get("/_page/files/F0NOTHING") as response:
        assert response.status == 404


async def test_limits(slack: LocalSlack, http: ClientSession):
    async def too_much() -> AsyncIterator[bytes]:
        for _ in range(MAX_BYTES // 2**20 + 1):
            yield bytes(2**20)

    too_large = (413, {"ok": False, "error": "file_too_large"})
    assert await upload(http, "a.bin", io.BytesIO(bytes(MAX_BYTES + 1))) == too_large
    assert await upload(http, "a.bin", too_much()) == too_large
    assert (await uploaded(http, "a.bin", io.BytesIO(bytes(MAX_BYTES))))["size"] == MAX_BYTES
    for name in ("", "..", "/", "x" * 256, "a\nb"):
        refused = await upload(http, name)
        assert refused == (400, {"ok": False, "error": "invalid_name"}), name
    assert (await uploaded(http, "../../etc/passwd.txt"))["name"] == "passwd.txt"
    assert (await uploaded(http, "C:\\files\\a.txt"))["name"] == "a.txt"
    assert await upload(http, "a", user="nobody") == (
        404,
        {"ok": False, "error": "user_not_found"},
    )
    with pytest.raises(SlackError, match="file_not_found"):
        await slack.say("ada", "general", "", file_ids=["F0NOTHING"])


async def test_files_survive_a_restart_and_no_reset(tmp_path: Path):
    data = tmp_path / "slack.sqlite3"
    async with LocalSlack(data=data) as slack, ClientSession(slack.url) as http:
        file = await uploaded(http, "a.png")
    async with LocalSlack(data=data) as slack, ClientSession(slack.url) as http:
        path = f"/_page/files/{file['id']}"
        async with http.get(path) as response:
            assert await response.read() == CONTENT
        slack.reset()
        async with http.get(path) as response:
            assert response.status == 404

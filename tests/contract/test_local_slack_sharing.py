"""files.*: what the app reads of files and shares itself, called through the real slack_sdk."""

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, FormData
from slack_sdk.web.async_client import AsyncWebClient

from bot.local import LocalSlack
from bot.local.settings import SCOPES
from tests.contract.slack_modals import error, refused
from tests.contract.slack_receiver import client_of, receiving
from tests.support import eventually

FILES = SCOPES | {"files:read", "files:write"}


@pytest.fixture
async def slack() -> AsyncIterator[LocalSlack]:
    async with LocalSlack(scopes=FILES, limits=False, clock="virtual") as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


async def brought(
    client: AsyncWebClient, http: ClientSession, name: str = "a.txt", content: bytes = b"hello"
) -> str:
    """A file whose bytes have arrived; its id."""
    given = await client.files_getUploadURLExternal(filename=name, length=len(content))
    async with http.post(given["upload_url"], data=io.BytesIO(content)) as response:
        assert (response.status, await response.text()) == (200, f"OK - {len(content)}")
    file_id: str = given["file_id"]
    return file_id


async def shared(client: AsyncWebClient, *file_ids: str, **more: Any) -> Any:
    files: Any = [{"id": file_id, "title": f"Title {file_id}"} for file_id in file_ids]
    return await client.files_completeUploadExternal(files=files, **more)


async def test_files_are_shared_in_one_message_of_a_thread(slack, client, http, general):
    root = await slack.say("ada", "general", "@threadline files, please")
    first, second = await brought(client, http), await brought(client, http, "b.png", b"\x89PNG")
    answer = await shared(
        client, first, second, channel_id=general, thread_ts=root.ts, initial_comment="Two files"
    )
    assert [(one["id"], one["title"]) for one in answer["files"]] == [
        (first, f"Title {first}"),
        (second, f"Title {second}"),
    ]
    assert [one["shares"] for one in answer["files"]] == [{}, {}], "no ts: Slack takes its time"
    _, said = slack.replies("general", root.ts)
    assert (said.text, said.user, said.bot_id) == ("Two files", slack.bot_user_id, slack.bot_id)
    assert (said.thread_ts, said.subtype) == (root.ts, "file_share")
    assert [(one["id"], one["name"], one["size"]) for one in said.files] == [
        (first, "a.txt", 5),
        (second, "b.png", 4),
    ]
    listed = await client.conversations_replies(channel=general, ts=root.ts)
    assert [one["id"] for one in listed["messages"][1]["files"]] == [first, second]
    ours = {"Authorization": f"Bearer {slack.bot_token}"}
    async with http.get(said.files[0]["url_private_download"], headers=ours) as response:
        assert (await response.read(), response.content_type) == (b"hello", "text/plain")
    async with http.get(f"{slack.url}/_page/files/{second}") as response:
        assert (await response.read(), response.content_type) == (b"\x89PNG", "image/png")


async def test_the_app_hears_of_what_it_shares(slack, client, http, general):
    async with receiving(slack) as receiver:
        await shared(client, await brought(client, http), channel_id=general)
        await eventually(lambda: receiver.kinds == ["file_share"])
        event = receiver.requests[0].event
        assert (event["bot_id"], event["text"], len(event["files"])) == (slack.bot_id, "", 1)


async def test_info_tells_where_a_file_was_shared(slack, client, http, general):
    root = await slack.say("ada", "general", "@threadline")
    file_id = await brought(client, http)
    before = await client.files_info(file=file_id)
    assert (before["file"]["shares"], before["file"]["is_public"]) == ({}, False)
    await shared(client, file_id, channel_id=general, thread_ts=root.ts)
    slack.fault("stale", method="files.info", seconds=60)
    assert (await client.files_info(file=file_id))["file"]["shares"] == {}
    told = (await client.files_info(file=file_id))["file"]
    (share,) = told["shares"]["public"][general]
    assert (share["ts"], share["thread_ts"]) == (slack.replies("general", root.ts)[1].ts, root.ts)
    assert (told["channels"], told["is_public"], told["user"]) == (
        [general],
        True,
        slack.bot_user_id,
    )


async def test_info_tells_of_a_file_in_slack_connect_what_its_message_does_not(slack, client, http):
    file_id = await slack.upload("ada", "plan.pdf", b"%PDF-1.7")
    said = await slack.say("ada", "C0SHARED", "look", file_ids=[file_id])
    assert said.files == [{"id": file_id, "mode": "file_access", "file_access": "check_file_info"}]
    told = (await client.files_info(file=file_id))["file"]
    assert (told["name"], told["mimetype"], told["size"]) == ("plan.pdf", "application/pdf", 8)
    ours = {"Authorization": f"Bearer {slack.bot_token}"}
    async with http.get(told["url_private_download"], headers=ours) as response:
        assert await response.read() == b"%PDF-1.7"


async def test_info_knows_only_what_the_app_can_see(slack, client):
    file_id = await slack.upload("ada", "a.txt", b"x")
    assert await error(client.files_info(file=file_id)) == "file_not_found"
    await slack.say("ada", "general", "", file_ids=[file_id])
    assert (await client.files_info(file=file_id))["file"]["id"] == file_id
    slack.fault("kick_bot", channel="general")
    assert await error(client.files_info(file=file_id)) == "file_not_found"
    assert await error(client.files_info(file="F0NOTHING")) == "file_not_found"
    assert await error(client.files_info(file="")) == "invalid_arguments"


async def test_a_deleted_file_is_gone(slack, client, http, general):
    file_id = await slack.upload("ada", "a.txt", b"secret")
    said = await slack.say("ada", "general", "look", file_ids=[file_id])
    await slack.delete_file(file_id)
    assert await error(client.files_info(file=file_id)) == "file_deleted"
    ours = {"Authorization": f"Bearer {slack.bot_token}"}
    for url in (said.files[0]["url_private"], f"{slack.url}/_page/files/{file_id}"):
        async with http.get(url, headers=ours) as response:
            assert response.status == 404
    listed = await client.conversations_history(channel=general)
    assert listed["messages"][0]["files"] == [{"id": file_id, "mode": "tombstone"}]


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"filename": "", "length": 1}, "invalid_arguments"),
        ({"filename": "a.txt", "length": ""}, "invalid_arguments"),
        ({"filename": "a.txt", "length": 0}, "invalid_arguments"),
        ({"filename": "a.txt", "length": 2**30}, "file_upload_size_restricted"),
        ({"filename": "a.txt", "length": 1, "alt_txt": "x" * 1001}, "alt_txt_too_large"),
    ],
)
async def test_an_upload_url_is_refused(client, arguments, name):
    call = client.api_call("files.getUploadURLExternal", params=arguments)
    assert await error(call) == name


async def test_bytes_must_be_as_many_as_said_and_come_once(slack, client, http, general):
    given = await client.files_getUploadURLExternal(filename="a.txt", length=3)
    for content in (b"four", b"no"):
        async with http.post(given["upload_url"], data=content) as response:
            assert response.status == 400
    assert await error(shared(client, given["file_id"], channel_id=general)) == "file_not_found"
    form = FormData()
    form.add_field("filename", io.BytesIO(b"yes"), filename="a.txt")
    async with http.post(given["upload_url"], data=form) as response:
        assert response.status == 200
    async with http.post(given["upload_url"], data=b"yes") as response:
        assert response.status == 404
    async with http.post(f"{slack.url}/upload/v1/none", data=b"yes") as response:
        assert response.status == 404
    await shared(client, given["file_id"], channel_id=general)
    assert await error(shared(client, given["file_id"], channel_id=general)) == "file_not_found"
    assert len(slack.history("general")) == 1


async def test_sharing_is_refused_and_may_be_tried_again(slack, client, http, general):
    file_id = await brought(client, http)
    root = await slack.say("ada", "general", "hi")
    reply = await slack.say("ada", "general", "re", thread_ts=root.ts)
    slack.fault("kick_bot", channel="random")
    slack.fault("archive_channel", channel="private")
    for more, name in (
        ({"channel_id": "C0NOTHING"}, "channel_not_found"),
        ({"channel_id": slack.channels["random"]}, "not_in_channel"),
        ({"channel_id": slack.channels["private"]}, "is_archived"),
        ({"channel_id": general, "thread_ts": "1.000001"}, "thread_not_found"),
        ({"channel_id": general, "thread_ts": reply.ts}, "cannot_reply_to_message"),
    ):
        assert await error(shared(client, file_id, **more)) == name
    unknown = await refused(shared(client, file_id, "F0NOTHING", channel_id=general))
    assert unknown["error"] == "file_not_found"
    assert await error(shared(client, file_id, file_id, channel_id=general)) == "invalid_arguments"
    assert await error(shared(client, channel_id=general)) == "invalid_arguments"
    assert len(slack.history("general")) == 1
    await shared(client, file_id, channel_id=general)
    assert len(slack.history("general")) == 2


async def test_without_a_channel_a_file_stays_private(slack, client, http):
    file_id = await brought(client, http)
    await shared(client, file_id)
    assert (await client.files_info(file=file_id))["file"]["shares"] == {}
    assert slack.workspace.state.messages() == []


async def test_scopes_and_tiers():
    async with LocalSlack(scopes=SCOPES | {"files:read"}, clock="virtual") as slack:
        client = client_of(slack)
        for call in (
            client.files_getUploadURLExternal(filename="a", length=1),
            shared(client, "F1", channel_id=slack.channels["general"]),
        ):
            assert (await refused(call))["needed"] == "files:write"
        for _ in range(100):
            assert await error(client.files_info(file="F1")) == "file_not_found"
        assert (await refused(client.files_info(file="F1"))).status_code == 429


async def test_faults_strike_calls_and_bytes(slack, client, http, general):
    slack.fault("error_after", method="files.completeUploadExternal", status=500)
    file_id = await brought(client, http)
    with pytest.raises(Exception, match="500"):
        await shared(client, file_id, channel_id=general)
    assert len(slack.history("general")) == 1
    given = await client.files_getUploadURLExternal(filename="a.txt", length=2)
    slack.fault("error_before", method="upload_url", status=503)
    async with http.post(given["upload_url"], data=b"ab") as response:
        assert response.status == 503
    async with http.post(given["upload_url"], data=b"ab") as response:
        assert response.status == 200
    calls = [call for call in slack.calls if call.method == "upload_url"]
    assert [(call.status, call.args["length"]) for call in calls] == [(200, 5), (503, 2), (200, 2)]


async def test_the_sdks_own_upload_works(slack, client, general):
    answer = await client.files_upload_v2(
        filename="a.md", content="# Hello", channel=general, initial_comment="Here"
    )
    assert answer["files"][0]["name"] == "a.md"
    (said,) = slack.history("general")
    assert (said.text, said.files[0]["size"]) == ("Here", 7)


async def test_an_upload_survives_a_restart_and_no_reset(tmp_path: Path, http):
    data = tmp_path / "slack.sqlite3"
    large = bytes(range(256)) * 81_920  # 20 MB
    async with LocalSlack(data=data, scopes=FILES) as slack:
        file_id = await brought(client_of(slack), http, "big.bin", large)
    async with LocalSlack(data=data, scopes=FILES) as slack:
        client = client_of(slack)
        await shared(client, file_id, channel_id=slack.channels["general"])
        (said,) = slack.history("general")
        ours = {"Authorization": f"Bearer {slack.bot_token}"}
        async with http.get(said.files[0]["url_private"], headers=ours) as response:
            assert await response.read() == large
        waiting = await brought(client, http)
        slack.reset()
        assert await error(shared(client, waiting)) == "file_not_found"

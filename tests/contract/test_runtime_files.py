"""Files and session resources of the local runtime, every answer parsed by the client's own types."""

from typing import Any

import anthropic
import httpx2
import pytest
from anthropic.types.beta import BetaDeletedFile, BetaFileMetadata
from anthropic.types.beta.beta_managed_agents_session import BetaManagedAgentsSession
from anthropic.types.beta.sessions import (
    BetaManagedAgentsDeleteSessionResource,
    BetaManagedAgentsFileResource,
)

from router.runtime.local import LocalRuntime
from router.runtime.local.gateway import Limits
from router.runtime.local.wire import ApiError
from tests.contract.runtime_bench import BETA, Bench, make_client, open_bench

KEY = {"Authorization": "Bearer key"}
PNG = ("plot.png", b"\x89PNG\r\n\x1a\n", "image/png")


@pytest.fixture
async def bench():
    async with open_bench("aiohttp") as opened:
        yield opened


async def upload(bench: Bench, file: Any = PNG, **more: Any) -> Any:
    return strict(await bench.client.beta.files.upload(file=file, **more))


def strict(answer: Any) -> Any:
    """The answer if it holds all that its type promises: the client itself lets anything pass."""
    return type(answer).model_validate(answer.to_dict())


async def listed(bench: Bench, **query: Any) -> list[BetaFileMetadata]:
    more = {"betas": ["managed-agents-2026-04-01"]} if "scope_id" in query else {}
    pages = bench.client.beta.files.list(**query, **more)  # type: ignore[arg-type]
    return [strict(file) async for file in pages]


def image(file_id: str, kind: str = "image") -> Any:
    block = {"type": kind, "source": {"type": "file", "file_id": file_id}}
    return {"type": "user.message", "content": [{"type": "text", "text": "look"}, block]}


async def test_an_upload_is_found_again_and_deleted(bench):
    files = bench.client.beta.files
    made = await upload(bench, expires_in_seconds=3600)
    assert made.id.startswith("file_")
    assert (made.filename, made.mime_type, made.size_bytes) == ("plot.png", "image/png", 8)
    assert (made.downloadable, made.scope) == (False, None)
    assert made.expires_at is not None
    assert (made.expires_at - made.created_at).total_seconds() == pytest.approx(3600, abs=60)
    assert strict(await files.retrieve_metadata(made.id)) == made
    assert await listed(bench) == [made]
    assert bench.runtime.file_content(made.id) == PNG[1]
    gone = strict(await files.delete(made.id))
    assert gone == BetaDeletedFile(id=made.id, type="file_deleted")
    with pytest.raises(anthropic.NotFoundError):
        await files.retrieve_metadata(made.id)
    assert await listed(bench) == []


async def test_what_was_uploaded_cannot_be_downloaded(bench):
    made = await upload(bench)
    with pytest.raises(anthropic.BadRequestError) as refused:
        await bench.client.beta.files.download(made.id)
    assert refused.value.error_code == "file_not_downloadable"


@pytest.mark.parametrize(
    ("file", "more", "says"),
    [
        (("a|b.txt", b"x", "text/plain"), {}, "invalid filename"),
        (("x" * 256, b"x", "text/plain"), {}, "invalid filename"),
        (PNG, {"expires_in_seconds": 3599}, "expires_in_seconds"),
        (PNG, {"expires_in_seconds": 7_776_001}, "expires_in_seconds"),
        (PNG, {"extra_body": {"purpose": "agent"}}, "purpose"),
    ],
)
async def test_an_upload_is_checked(bench, file, more, says):
    with pytest.raises(anthropic.BadRequestError, match=says):
        await upload(bench, file, **more)
    assert await listed(bench) == []


async def test_the_form_is_checked(bench):
    status, answer, _ = await bench.raw("POST", "/v1/files", headers=KEY, json={})
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")
    torn = {**KEY, "Content-Type": "multipart/form-data; boundary=b"}
    for form in (
        b"--b--\r\n",
        b"--b\r\nContent-Disposition: form-data; name=file\r\n\r\nhalf",
        b"--b\r\nContent-Disposition: form-data; name=file\r\nno header\r\n\r\nx\r\n--b--\r\n",
    ):
        status, _, _ = await bench.raw("POST", "/v1/files", headers=torn, data=form)
        assert status == 400, form
    assert bench.runtime.files() == []


async def test_a_name_is_the_last_part_of_a_path_or_made_up(bench):
    assert (await upload(bench, ("/tmp/a/b.txt", b"", "text/plain"))).filename == "b.txt"
    assert (await upload(bench, (None, b"", "application/pdf"))).filename == "unnamed.pdf"


async def test_files_are_listed_in_pages_and_by_ids(bench):
    made = [await upload(bench, (f"{n}.txt", b"x", "text/plain")) for n in range(5)]
    assert [f.filename for f in await listed(bench, limit=2)] == [
        f"{n}.txt" for n in (4, 3, 2, 1, 0)
    ]
    picked = await listed(bench, ids=[made[1].id, made[3].id, "file_none"])
    assert [f.filename for f in picked] == ["3.txt", "1.txt"]
    with pytest.raises(anthropic.BadRequestError):
        await listed(bench, ids=[made[1].id], limit=1)


async def test_only_the_list_of_a_session_needs_the_beta(bench):
    assert (await bench.raw("GET", "/v1/files", headers=KEY))[0] == 200
    assert (await bench.raw("GET", "/v1/files?scope_id=sesn_1", headers=KEY))[0] == 400
    assert (await bench.raw("GET", "/v1/files?scope_id=sesn_1", headers=BETA))[0] == 200


async def test_a_file_expires(bench):
    made = await upload(bench, expires_in_seconds=3600)
    bench.runtime.advance(3601)
    with pytest.raises(anthropic.NotFoundError) as gone:
        await bench.client.beta.files.retrieve_metadata(made.id)
    assert gone.value.error_code == "file_expired"
    assert await listed(bench) == []


async def test_no_more_is_kept_than_there_is_room_for(bench):
    bench.runtime.world.files.contents.most = 20
    first = await upload(bench)
    await upload(bench)
    with pytest.raises(anthropic.BadRequestError) as full:
        await upload(bench)
    assert full.value.error_code == "storage_quota_exceeded"
    await bench.client.beta.files.delete(first.id)
    await upload(bench)


async def test_a_mounted_file_is_a_copy_of_the_session(bench):
    resources = bench.api.resources
    made, session_id = await upload(bench, expires_in_seconds=3600), await bench.session()
    added = strict(
        await resources.add(session_id, file_id=made.id, type="file", mount_path="/a/plot.png")
    )
    assert isinstance(added, BetaManagedAgentsFileResource)
    assert added.id.startswith("sesrsc_")
    assert added.mount_path == "/mnt/session/uploads/a/plot.png"
    assert added.file_id != made.id
    assert strict(await resources.retrieve(added.id, session_id=session_id)) == added
    assert [strict(one) async for one in resources.list(session_id)] == [added]
    session = strict(await bench.api.retrieve(session_id))
    assert isinstance(session, BetaManagedAgentsSession)
    assert session.resources == [added]
    (copy,) = await listed(bench, scope_id=session_id)
    assert (copy.id, copy.downloadable, copy.expires_at) == (added.file_id, False, None)
    assert copy.scope is not None
    assert copy.scope.id == session_id
    await bench.client.beta.files.delete(made.id)
    assert bench.runtime.file_content(copy.id) == PNG[1]
    gone = strict(await resources.delete(added.id, session_id=session_id))
    assert isinstance(gone, BetaManagedAgentsDeleteSessionResource)
    assert await listed(bench, scope_id=session_id) == []
    assert [one async for one in resources.list(session_id)] == []


async def test_a_session_may_begin_with_files(bench):
    made = await upload(bench)
    session_id = await bench.session(resources=[{"type": "file", "file_id": made.id}])
    (one,) = [one async for one in bench.api.resources.list(session_id)]
    assert one.mount_path == f"/mnt/session/uploads/{made.id}"
    with pytest.raises(anthropic.BadRequestError, match=r"resources\[1\]\.file_id"):
        await bench.session(
            resources=[
                {"type": "file", "file_id": made.id},
                {"type": "file", "file_id": "file_none"},
            ]
        )
    assert len(bench.runtime.files()) == 2


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"type": "file", "file_id": "file_none"}, "file_id"),
        ({"type": "file", "file_id": "F", "mount_path": "a.txt"}, "mount_path"),
        ({"type": "file", "file_id": "F", "mount_path": "/../a.txt"}, "mount_path"),
        ({"type": "file", "file_id": "F", "mount_path": "/taken.txt"}, "taken"),
        ({"type": "github_repository", "url": "u"}, "type"),
        ({"type": "file", "file_id": "F", "size": 1}, "size"),
    ],
)
async def test_a_mount_is_checked(bench, body, says):
    made, session_id = await upload(bench), await bench.session()
    await bench.api.resources.add(session_id, file_id=made.id, type="file", mount_path="/taken.txt")
    body = {name: made.id if value == "F" else value for name, value in body.items()}
    status, answer, _ = await bench.raw("POST", f"/v1/sessions/{session_id}/resources", json=body)
    assert (status, says in answer["error"]["message"]) == (400, True), answer


async def test_a_session_takes_so_many_files(bench):
    made, session_id = await upload(bench), await bench.session()
    session = bench.runtime.world.session(session_id)
    session.head.resources += [{"mount_path": str(n)} for n in range(499)]
    await bench.api.resources.add(session_id, file_id=made.id, type="file")
    with pytest.raises(anthropic.BadRequestError, match="500"):
        await bench.api.resources.add(session_id, file_id=made.id, type="file", mount_path="/b")


async def test_a_message_shows_files_and_the_agent_says_which(bench):
    picture, paper = (
        await upload(bench),
        await upload(bench, ("a.pdf", b"%PDF-1.7", "application/pdf")),
    )
    event = image(picture.id)
    event["content"].append(
        {"type": "document", "source": {"type": "file", "file_id": paper.id}, "title": "a.pdf"}
    )
    session_id = await bench.session()
    await bench.send(session_id, event)
    await bench.idle(session_id)
    assert await bench.texts(session_id) == [
        'You said: "look\n[image: plot.png, 8 bytes]\n[document: a.pdf, 8 bytes]"'
    ]


async def test_a_message_with_an_unknown_or_unfit_file_is_refused(bench):
    picture, session_id = await upload(bench), await bench.session()
    for event, says in (
        (image("file_none"), r"events\[0\]\.content\[1\]\.source\.file_id: File file_none"),
        (image(picture.id, "document"), "image/png is not supported"),
        (image(""), "file_id"),
        ({**image("x"), "content": [{"type": "image", "source": {"type": "disk"}}]}, "source.type"),
        ({**image("x"), "content": [{"type": "image"}]}, "source.type"),
    ):
        with pytest.raises(anthropic.BadRequestError, match=says):
            await bench.send(session_id, event)
    assert bench.runtime.received(session_id) == []


async def test_a_session_begins_with_so_many_documents(bench):
    paper = await upload(bench, ("a.txt", b"x", "text/plain"))
    block = {"type": "document", "source": {"type": "file", "file_id": paper.id}}
    event: Any = {"type": "user.message", "content": [block] * 100}
    await bench.session(initial_events=[event])
    with pytest.raises(anthropic.BadRequestError, match="100 documents"):
        await bench.session(initial_events=[event, image(paper.id, "document")])


async def test_the_agent_writes_files(bench):
    session_id = await bench.session("!write report.md 2k, big.bin 3M")
    await bench.idle(session_id)
    big, report = await listed(bench, scope_id=session_id)
    assert (report.filename, report.mime_type, report.size_bytes) == (
        "report.md",
        "text/markdown",
        2048,
    )
    assert (big.size_bytes, big.downloadable) == (3 * 2**20, True)
    answer = await bench.client.beta.files.download(big.id)
    content = await answer.read()
    assert (len(content), content) == (3 * 2**20, bench.runtime.file_content(big.id))
    uses = await bench.history(session_id, types=["agent.tool_use"])
    assert [use.input["file_path"] for use in uses] == [
        "/mnt/session/outputs/report.md",
        "/mnt/session/outputs/big.bin",
    ]
    assert len(await bench.history(session_id, types=["agent.tool_result"])) == 2
    await bench.api.delete(session_id)
    assert bench.runtime.files() == []


async def test_a_file_that_finds_no_room_is_a_failed_call(bench):
    bench.runtime.world.files.contents.most = 100
    session_id = await bench.session("!write a.txt 101")
    await bench.idle(session_id)
    (result,) = await bench.history(session_id, types=["agent.tool_result"])
    assert result.is_error
    assert bench.runtime.files() == []


async def test_what_was_written_may_show_late(bench):
    session_id = await bench.session("!write a.txt")
    await bench.idle(session_id)
    bench.runtime.fault("files_lag", seconds=60, times=1)
    assert await listed(bench, scope_id=session_id) == []
    assert len(await listed(bench, scope_id=session_id)) == 1


async def test_a_download_may_break(bench):
    session_id = await bench.session("!write a.txt 3M")
    await bench.idle(session_id)
    (file,) = await listed(bench, scope_id=session_id)
    bench.runtime.fault("cut_stream", event_type="file.content")
    with pytest.raises((anthropic.APIConnectionError, httpx2.ReadError)):
        await (await bench.client.beta.files.download(file.id)).read()
    assert len(await (await bench.client.beta.files.download(file.id)).read()) == 3 * 2**20


async def test_faults_and_limits_are_those_of_other_routes(bench):
    bench.runtime.fault("drop_after", route="files.upload")
    with pytest.raises(anthropic.APIConnectionError):
        await upload(bench)
    assert len(bench.runtime.files()) == 1
    bench.runtime.fault("rate_limit", route="files.upload", retry_after=3)
    with pytest.raises(anthropic.RateLimitError):
        await upload(bench)
    bench.runtime.fault("late_effect", route="files.upload", seconds=0)
    assert bench.runtime.file_content((await upload(bench)).id) == PNG[1]
    assert len(bench.runtime.files()) == 2


@pytest.mark.parametrize(
    ("routes", "most"),
    [
        (("files.upload", "resources.add"), 300),
        (("files.list", "files.download", "files.retrieve_metadata", "resources.list"), 1200),
    ],
)
def test_uploads_count_as_creates_and_downloads_as_reads(routes, most):
    limits = Limits()
    for n in range(most):
        limits.charge(routes[n % len(routes)], 0.0)
    for route in routes:
        with pytest.raises(ApiError):
            limits.charge(route, 0.0)


async def test_files_survive_a_restart_and_no_reset(tmp_path):
    data = tmp_path / "runtime.sqlite"
    async with open_bench(data=data) as bench:
        made, session_id = await upload(bench), await bench.session("!write a.txt")
        await bench.api.resources.add(session_id, file_id=made.id, type="file")
        await bench.idle(session_id)
        before = bench.runtime.state()["files"]
    folder = tmp_path / "runtime.sqlite.files"
    assert len(list(folder.iterdir())) == 2
    (folder / "blob_left.part").write_bytes(b"half")
    async with LocalRuntime(data=data) as runtime, make_client(runtime.url) as client:
        assert runtime.state()["files"] == before
        assert runtime.file_content(made.id) == PNG[1]
        assert [entry.name for entry in folder.iterdir() if "part" in entry.name] == []
        await client.beta.files.delete(made.id)
        assert len(list(folder.iterdir())) == 2, "the session has a copy"
        runtime.reset()
        assert runtime.state()["files"] == []
        assert list(folder.iterdir()) == []

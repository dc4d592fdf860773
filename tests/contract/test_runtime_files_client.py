"""The runtime client's files against the local runtime: nothing whole in memory, errors sorted."""

import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from router.errors import RuntimeAway, RuntimeGone, RuntimeRefused, RuntimeUnclear
from router.notices import Trouble
from router.runtime.budget import Need
from router.runtime.client import Runtime
from router.runtime.files import Upload
from tests.contract.runtime_bench import Bench, open_bench

LIVE = Need.LIVE
TEXT = Upload("notes.txt", "text/plain", timedelta(days=1))
BIG = 20 * 2**20


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with open_bench() as opened:
        yield opened


@pytest.fixture
async def runtime(bench: Bench) -> AsyncIterator[Runtime]:
    client = Runtime(api_key="key", base_url=bench.runtime.url, max_streams=1)
    yield client
    await client.close()


async def pieces(*content: bytes) -> AsyncIterator[bytes]:
    for piece in content:
        yield piece


async def whole(runtime: Runtime, file_id: str) -> bytes:
    async with runtime.files.content(LIVE, file_id) as content:
        return b"".join([piece async for piece in content])


@contextmanager
def at_most(extra: int) -> Iterator[None]:
    """Fails when more than so many bytes are allocated at any moment inside."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < extra, f"{peak / 2**20:.1f} MB at the peak"


async def test_what_is_uploaded_is_what_arrives(bench, runtime):
    file_id = await runtime.files.upload(LIVE, pieces(b"a", b"", b"\r\n--b", b"\x00\xff"), TEXT)
    (file,) = bench.runtime.files()
    assert bench.runtime.file_content(file_id) == b"a\r\n--b\x00\xff"
    assert (file["id"], file["filename"], file["mime_type"]) == (file_id, "notes.txt", "text/plain")
    made = bench.runtime.world.files.get(file_id)
    assert made.expires is not None
    assert (made.expires - made.made) / 86_400e6 == pytest.approx(1, abs=0.001)


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("plot é.png", "plot é.png"),
        ('a/b\\c"d\r\ne?.txt', "a_b_c_d__e_.txt"),
        ("", "unnamed"),
        ("x" * 300 + ".tar", "x" * 251 + ".tar"),
        ("y" * 300, "y" * 255),
    ],
)
async def test_any_name_is_taken(bench, runtime, name, taken):
    upload = Upload(name, "application/octet-stream", timedelta(hours=1))
    await runtime.files.upload(LIVE, pieces(b"x"), upload)
    assert [file["filename"] for file in bench.runtime.files()] == [taken]


async def test_20_mb_go_up_and_come_down_without_being_held(tmp_path):
    async def large() -> AsyncIterator[bytes]:
        for _ in range(BIG // 2**16):
            yield bytes(2**16)

    async with open_bench(data=tmp_path / "runtime.sqlite") as bench:
        runtime = Runtime(api_key="key", base_url=bench.runtime.url, max_streams=1)
        session_id = await bench.session("!write big.bin 20M")
        await bench.idle(session_id)
        (output,) = await runtime.files.outputs(LIVE, session_id)
        with at_most(6 * 2**20):
            file_id = await runtime.files.upload(LIVE, large(), TEXT)
            size = 0
            async with runtime.files.content(LIVE, output.id) as content:
                async for piece in content:
                    size += len(piece)
        assert bench.runtime.world.files.get(file_id).size == output.size == size == BIG
        await runtime.close()


async def test_what_the_content_raises_is_raised_and_leaves_no_file(bench, runtime):
    class TooLargeError(Exception):
        pass

    async def too_large() -> AsyncIterator[bytes]:
        yield bytes(2**20)
        raise TooLargeError

    with pytest.raises(TooLargeError):
        await runtime.files.upload(LIVE, too_large(), TEXT)
    assert bench.runtime.files() == []
    await runtime.files.upload(LIVE, pieces(b"works again"), TEXT)


async def test_outputs_are_what_the_agent_made_and_not_what_it_was_given(bench, runtime):
    session_id = await bench.session()
    file_id = await runtime.files.upload(LIVE, pieces(b"given"), TEXT)
    mounted = await runtime.files.add_resource(LIVE, session_id, file_id, "/F1/notes.txt")
    assert mounted.path == "/mnt/session/uploads/F1/notes.txt"
    assert mounted.file_id != file_id
    await bench.say(session_id, "!write b.txt 5, a.md 3k")
    await bench.idle(session_id)
    first, second = await runtime.files.outputs(LIVE, session_id)
    assert (first.name, first.size, second.name, second.type) == (
        "b.txt",
        5,
        "a.md",
        "text/markdown",
    )
    assert first.made_at < second.made_at
    assert await whole(runtime, second.id) == bench.runtime.file_content(second.id)
    assert await runtime.files.outputs(LIVE, await bench.session()) == []


async def test_a_mount_that_is_there_is_answered_again(bench, runtime):
    session_id = await bench.session()
    file_id = await runtime.files.upload(LIVE, pieces(b"given"), TEXT)
    bench.runtime.fault("drop_after", route="resources.add")
    with pytest.raises(RuntimeUnclear):
        await runtime.files.add_resource(LIVE, session_id, file_id, "/F1/notes.txt")
    again = await runtime.files.add_resource(LIVE, session_id, file_id, "/F1/notes.txt")
    assert await runtime.files.mounted(LIVE, session_id) == [again]
    for path in ("/F2/notes.txt", "/notes.txt"):
        with pytest.raises(RuntimeRefused):
            await runtime.files.add_resource(LIVE, session_id, "file_none", path)


async def test_a_deleted_file_is_gone(bench, runtime):
    session_id = await bench.session("!write a.txt")
    await bench.idle(session_id)
    (output,) = await runtime.files.outputs(LIVE, session_id)
    await runtime.files.delete(output.id)
    with pytest.raises(RuntimeGone):
        await runtime.files.delete(output.id)
    with pytest.raises(RuntimeGone):
        await whole(runtime, output.id)
    with pytest.raises(RuntimeRefused):
        await whole(runtime, await runtime.files.upload(LIVE, pieces(b"x"), TEXT))


async def test_a_torn_download_is_told_from_a_whole_one(bench, runtime):
    session_id = await bench.session("!write a.txt 3M")
    await bench.idle(session_id)
    (output,) = await runtime.files.outputs(LIVE, session_id)
    bench.runtime.fault("cut_stream", event_type="file.content")
    with pytest.raises(RuntimeUnclear):
        await whole(runtime, output.id)
    assert len(await whole(runtime, output.id)) == output.size


@pytest.mark.parametrize(
    ("kind", "error", "trouble"),
    [
        ("rate_limit", RuntimeAway, Trouble.RUNTIME_LIMITED),
        ("too_large", RuntimeRefused, Trouble.TOO_LARGE),
        ("unauthorized", RuntimeRefused, Trouble.KEY_REFUSED),
        ("unavailable", RuntimeUnclear, Trouble.RUNTIME_BROKEN),
    ],
)
async def test_failures_are_sorted(bench, runtime, kind, error, trouble):
    for route, call in _calls(runtime):
        bench.runtime.fault(kind, route=route)
        with pytest.raises(error) as failed:
            await call
        assert failed.value.trouble == trouble, route


def _calls(runtime: Runtime) -> Iterator[tuple[str, Any]]:
    yield "files.upload", runtime.files.upload(LIVE, pieces(b"x"), TEXT)
    yield "files.list", runtime.files.outputs(LIVE, "sesn_1")


@pytest.mark.parametrize(("kind", "there"), [("drop_before", 0), ("drop_after", 1)])
async def test_of_a_lost_answer_nobody_knows(bench, runtime, kind, there):
    # of an upload only: the transport asks again for what may be asked twice
    bench.runtime.fault(kind, route="files.upload")
    with pytest.raises(RuntimeUnclear):
        await runtime.files.upload(LIVE, pieces(b"x"), TEXT)
    assert len(bench.runtime.files()) == there


async def test_a_refusal_is_heard_before_all_is_sent(bench, runtime):
    async def large() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield bytes(2**16)

    bench.runtime.fault("unauthorized", route="files.upload")
    with pytest.raises(RuntimeRefused):
        await runtime.files.upload(LIVE, large(), TEXT)

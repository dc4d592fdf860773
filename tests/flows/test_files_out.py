"""What an agent writes to its outputs, offered in the thread: through both local servers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from yarl import URL

from bot import uploading
from bot.app import ROLES
from bot.conversation import SlackConversation
from bot.local.model import Message
from bot.local.tickets import Tickets
from router.clock import Backoff
from router.notices import Trouble, words
from tests.harness import TIMING, World, shown
from tests.support import eventually

MB = 1024**2
LOOKS = "files.list"
COMPLETE = "files.completeUploadExternal"
GET_URL = "files.getUploadURLExternal"
Take = Callable[[web.Request], Awaitable[web.StreamResponse]]
Shown = list[tuple[str, str] | str]


async def ask(here: World, text: str, root: Message | None = None) -> Message:
    channel, thread_ts = here.slack.dm("ada"), root.ts if root else None
    return await here.slack.say("ada", channel, text, thread_ts=thread_ts)


def seen(here: World, asked: Message) -> Shown:
    """What the bot's messages in a thread show, in order: texts, and files with what is in them."""
    return [
        (message.files[0]["name"], content(here, message).decode(errors="replace")[:12])
        if message.files
        else shown(message).partition("\nReference")[0]
        for message in here.slack.replies(asked.channel, asked.ts)
        if message.user == here.slack.bot_user_id
    ]


def content(here: World, message: Message) -> bytes:
    files = here.slack.workspace.files
    kept = files.get(message.files[0]["id"])
    assert kept is not None
    return b"".join(files.content(kept))


def files_in(here: World, asked: Message) -> list[str]:
    return [one[0] for one in seen(here, asked) if isinstance(one, tuple)]


@pytest.fixture
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again at once."""
    monkeypatch.setattr("bot.delivery._BACKOFF", Backoff(0.05, 0.05))
    monkeypatch.setattr(uploading, "_LOOKS_SECONDS", (0.0, 0.05))
    monkeypatch.setattr(uploading, "_LOOKS_APART_SECONDS", 0.05)


async def quiet(here: World) -> None:
    """All is delivered, and no look is due."""
    due = "SELECT count(*) FROM output_looks WHERE due_at IS NOT NULL"

    async def nothing_due() -> bool:
        count: int = await here.connection.fetchval(due)
        return count == 0

    await eventually(nothing_due, says="no look due")
    await here.at_rest()


async def shows(here: World, asked: Message, count: int) -> Shown:
    """The bot's messages, once there are so many and nothing more is to come."""
    await eventually(lambda: len(seen(here, asked)) >= count, 40, f"{count} messages")
    await quiet(here)
    return seen(here, asked)


def said(*names: str) -> str:
    """What the agent says when it has written files."""
    return f"Let me write that.\n\nIt is written: {', '.join(names)}."


# ------------------------------------------------------------------ the way of a file


async def test_files_are_offered_once_in_order_behind_the_text(here: World):
    async with here.app():
        asked = await ask(here, "!write b.txt 20, a.txt 10")
        first = await shows(here, asked, 3)
        assert first[0] == said("b.txt (20 bytes)", "a.txt (10 bytes)")
        assert [(one["name"], one["size"]) for m in _files(here, asked) for one in m.files] == [
            ("b.txt", 20),
            ("a.txt", 10),
        ]
        made = {f["filename"]: f["id"] for f in here.runtime.files() if f["scope"]}
        for message in _files(here, asked):
            name = message.files[0]["name"]
            assert content(here, message) == here.runtime.file_content(made[name])
        again = await ask(here, "!write a.txt 30", asked)
        later = await shows(here, asked, 5)
    assert later[:3] == first
    assert later[3] == said("a.txt (30 bytes)")
    assert files_in(here, asked) == ["b.txt", "a.txt", "a.txt"], "written anew: another file"
    assert again.thread_ts == asked.ts
    rows = await here.rows("SELECT kind, state, slack_ts FROM slack_outbox ORDER BY position")
    assert [row["kind"] for row in rows] == ["reply", "file", "file", "reply", "file"]
    ts = [m.ts for m in here.slack.replies(asked.channel, asked.ts) if m.user != asked.user]
    assert [row["slack_ts"] for row in rows] == ts


def _files(here: World, asked: Message) -> list[Message]:
    return [m for m in here.slack.replies(asked.channel, asked.ts) if m.files]


async def test_a_session_that_writes_nothing_is_never_looked_at(here: World):
    async with here.app():
        asked = await ask(here, "hello")
        await here.answers(asked.channel, asked.ts, 1)
        await ask(here, "!tool read", asked)
        await here.answers(asked.channel, asked.ts, 2)
        await quiet(here)
        assert await here.rows("SELECT * FROM output_looks") == []
        assert here.runtime.requests(LOOKS) == 0
        await ask(here, "!tool bash", asked)
        await here.answers(asked.channel, asked.ts, 3)
        await quiet(here)
        assert here.runtime.requests(LOOKS) == 2
        for count in (4, 5):
            await ask(here, "hello", asked)
            await here.answers(asked.channel, asked.ts, count)
            await quiet(here)
    assert here.runtime.requests(LOOKS) == 3, "once behind the turn after it, then no more"
    assert await here.rows("SELECT * FROM output_looks") == []


async def test_two_replicas_offer_each_file_once(here: World):
    async with here.app(), here.app():
        threads = [await ask(here, f"!write {n}.txt 10, {n}.bin 2k") for n in range(4)]
        for asked in threads:
            assert len(await shows(here, asked, 3)) == 3
    assert len(list(here.slack.workspace.files.tickets)) == 8


async def test_what_shows_late_is_offered_by_the_second_look(here: World):
    here.runtime.fault("files_lag", times=1, seconds=60)
    async with here.app():
        asked = await ask(here, "!write a.txt 10")
        await shows(here, asked, 2)
    assert files_in(here, asked) == ["a.txt"]
    assert here.runtime.requests(LOOKS) == 2


async def test_what_shows_later_is_offered_behind_the_next_turn_at_the_latest(here: World):
    here.runtime.fault("files_lag", times=2, seconds=60)
    async with here.app():
        asked = await ask(here, "!write a.txt 10")
        await shows(here, asked, 1)
        assert files_in(here, asked) == []
        await ask(here, "hello", asked)
        assert [type(one) for one in await shows(here, asked, 3)] == [str, str, tuple]


async def test_a_look_that_fails_is_made_again(here: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("router.outputs._BACKOFF", Backoff(0.05, 0.05))
    here.runtime.fault("overloaded", route=LOOKS, times=2)
    async with here.app():
        asked = await ask(here, "!write a.txt 10")
        await shows(here, asked, 2)
    assert files_in(here, asked) == ["a.txt"]


async def test_what_a_turn_wrote_that_then_failed_is_offered(
    here: World, monkeypatch: pytest.MonkeyPatch
):
    def parts(*_: object, **__: object) -> list[str]:
        raise ZeroDivisionError("a bug, for one text")

    async with here.app():
        with monkeypatch.context() as broken:
            broken.setattr(SlackConversation, "parts", parts)
            asked = await ask(here, "!write a.txt 10")
            await eventually(lambda: seen(here, asked), says="that it failed")
        assert await shows(here, asked, 2) == [words(Trouble.FAILED), ("a.txt", "A line of ")]
    assert [t["state"] for t in await here.turns()] == ["failed"]


async def test_nothing_is_offered_while_the_next_turn_is_under_way(here: World):
    here.runtime.fault("files_lag", times=1, seconds=60)
    async with here.app(timing=replace(TIMING, outputs=(0.05, 3600.0))):
        asked = await ask(here, "!write a.txt 10")
        await here.answers(asked.channel, asked.ts, 1)
        await eventually(lambda: here.runtime.requests(LOOKS) == 1, says="the first look")
        here.runtime.hold()
        await ask(here, "!write b.txt 10", asked)
        await eventually(here.runtime.held, says="a turn under way")
        await here.connection.execute("UPDATE output_looks SET due_at = now()")
        await eventually(lambda: _put_off(here), says="a look that is put off")
        assert files_in(here, asked) == []
        here.runtime.release()
        await eventually(lambda: len(seen(here, asked)) == 4, says="both files")
        assert [type(one) for one in seen(here, asked)] == [str, str, tuple, tuple]


async def _put_off(here: World) -> bool:
    return bool(await here.rows("SELECT FROM output_looks WHERE due_at > now()"))


# ------------------------------------------------------------------ what is not shared


async def notices(here: World, asked: Message, count: int) -> list[str]:
    return [one for one in await shows(here, asked, count) if isinstance(one, str)][1:]


async def test_too_large_too_many_and_empty_ones_are_named_once(here: World):
    names = [f"{n}.txt" for n in range(12)]
    async with here.app():
        asked = await ask(here, f"!write big.bin 21M, none.txt 0, {', '.join(names)}")
        told = await notices(here, asked, 14)
        assert files_in(here, asked) == names[:10]
        await ask(here, "!tool bash", asked)
        assert len(await shows(here, asked, 15)) == 15
    assert told[0] == words(Trouble.OUTPUT_TOO_LARGE, files=[("big.bin", 21 * MB)])
    left = [("10.txt", 1024), ("11.txt", 1024)]
    assert told[1] == words(Trouble.OUTPUT_TOO_MANY, files=left)
    assert "“10.txt” (1 kB) and “11.txt” (1 kB)" in told[1]
    assert told[2] == words(Trouble.OUTPUT_EMPTY, files=[("none.txt", 0)])


async def test_what_shows_late_counts_with_what_was_shared_behind_its_turn(here: World):
    async with here.app(timing=replace(TIMING, outputs=(0.05, 3600.0))):
        asked = await ask(here, f"!write {', '.join(f'{n}.txt' for n in range(10))}")
        await eventually(lambda: len(seen(here, asked)) == 11, says="ten files")
        made, session = here.runtime.world.files, here.runtime.sessions()[0]["id"]
        made.add(made.output("late.txt", iter([b"x"]), session))
        await here.connection.execute("UPDATE output_looks SET due_at = now()")
        told = await notices(here, asked, 12)
    assert told == [words(Trouble.OUTPUT_TOO_MANY, files=[("late.txt", 1)])]


@pytest.mark.parametrize(
    ("method", "error", "trouble"),
    [
        (GET_URL, "missing_scope", Trouble.OUTPUT_NOT_ALLOWED),
        (GET_URL, "file_uploads_disabled", Trouble.OUTPUT_NO_ROOM),
        (COMPLETE, "some_new_word", Trouble.OUTPUT_REFUSED),
    ],
)
async def test_where_slack_refuses_one_the_thread_is_told_in_its_place(
    here: World, method: str, error: str, trouble: Trouble
):
    here.slack.fault("api_error", method=method, error=error)
    async with here.app():
        asked = await ask(here, "!write a.txt 10, b.txt 20")
        told = await shows(here, asked, 3)
    assert told[1] == words(trouble, files=[("a.txt", 10)])
    assert files_in(here, asked) == ["b.txt"]
    assert [type(one) for one in told] == [str, str, tuple]


async def test_what_is_gone_before_it_is_shared_is_named(here: World):
    async with here.app(roles=ROLES - {"delivery"}):
        asked = await ask(here, "!write a.txt 10, b.txt 20")
        await eventually(lambda: _waits(here, 2), says="two files to deliver")
        files = here.runtime.world.files
        files.drop(next(f for f in files if f.name == "a.txt"))
    async with here.app(roles=frozenset({"delivery", "worker"})):
        told = await shows(here, asked, 3)
    assert told[1] == words(Trouble.OUTPUT_GONE, files=[("a.txt", 10)])
    assert files_in(here, asked) == ["b.txt"]


async def _waits(here: World, count: int) -> bool:
    return len(await here.rows("SELECT FROM slack_outbox WHERE kind = 'file'")) == count


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


@pytest.mark.usefixtures("_soon")
async def test_bytes_that_never_arrive_are_given_up_after_some_tries(here: World):
    here.slack.fault("error_before", method="upload_url", times=uploading._TRIES)
    async with here.app():
        asked = await ask(here, "!write a.txt 10, b.txt 20")
        told = await shows(here, asked, 3)
    assert told[1] == words(Trouble.OUTPUT_NOT_SHARED, files=[("a.txt", 10)])
    assert files_in(here, asked) == ["b.txt"]


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
    assert {row["slack_ts"] for row in rows} == {m.ts for m in _files(here, asked)}


@pytest.mark.usefixtures("_soon")
async def test_a_stream_from_the_runtime_that_breaks_is_read_again(here: World):
    here.runtime.fault("cut_stream", route="files.download", event_type="file.content")
    async with here.app():
        asked = await ask(here, "!write a.bin 300k")
        await shows(here, asked, 2)
    assert [len(content(here, m)) for m in _files(here, asked)] == [300 * 1024]


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
        after = await ask(here, "hello", threads[0])
        await eventually(lambda: _replied(here, 8), says="an answer behind a file")
        assert [type(one) for one in seen(here, threads[0])] == [str]
        go.set()
        assert [type(one) for one in await shows(here, threads[0], 3)] == [str, tuple, str]
    assert after.thread_ts == threads[0].ts


async def _under_way(here: World, count: int) -> bool:
    state = "SELECT FROM slack_outbox WHERE kind = 'file' AND state = 'sending'"
    return len(await here.rows(state)) == count


async def _replied(here: World, count: int) -> bool:
    return len(await here.rows("SELECT FROM slack_outbox WHERE kind = 'reply'")) == count


@asynccontextmanager
async def _server(take: Take) -> AsyncIterator[TestServer]:
    app = web.Application()
    app.router.add_post("/{path:.*}", take)
    server = TestServer(app)
    async with server:
        yield server


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

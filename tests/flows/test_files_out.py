"""What an agent writes to its outputs, offered in the thread: through both local servers."""

from dataclasses import replace

import pytest

from bot.app import ROLES
from bot.conversation import SlackConversation
from bot.local.model import Message
from router.clock import Backoff
from router.notices import Trouble, words
from tests.flows.offered import (
    COMPLETE,
    GET_URL,
    LOOKS,
    MB,
    ask,
    bearing,
    content,
    files_in,
    quiet,
    seen,
    shows,
)
from tests.harness import TIMING, World
from tests.support import eventually


def said(*names: str) -> str:
    """What the agent says when it has written files."""
    return f"Let me write that.\n\nIt is written: {', '.join(names)}."


# ------------------------------------------------------------------ the way of a file


async def test_files_are_offered_once_in_order_behind_the_text(here: World):
    async with here.app():
        asked = await ask(here, "!write b.txt 20, a.txt 10")
        first = await shows(here, asked, 3)
        assert first[0] == said("b.txt (20 bytes)", "a.txt (10 bytes)")
        assert [(one["name"], one["size"]) for m in bearing(here, asked) for one in m.files] == [
            ("b.txt", 20),
            ("a.txt", 10),
        ]
        made = {f["filename"]: f["id"] for f in here.runtime.files() if f["scope"]}
        for message in bearing(here, asked):
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


async def test_a_name_is_shown_as_it_is_spelt(here: World):
    """A mark that turns the line around would make a program look like a picture."""
    async with here.app():
        asked = await ask(here, "!write a\u202egpj.exe 10")
        await shows(here, asked, 2)
    assert files_in(here, asked) == ["a_gpj.exe"]


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

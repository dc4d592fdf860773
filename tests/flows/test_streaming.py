"""An answer is seen while it is written, and ends as exactly the messages it should be."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from bot import previewing, render, streams
from bot.cutting import safe_end
from bot.local.model import Message
from bot.previewing import SlackPreviews
from store import database
from tests.flows.streams import (
    APPEND,
    LIST,
    POST,
    START,
    STOP,
    UPDATE,
    answered,
    ask,
    calls,
    cut,
    go_on,
    messages,
    quicken,
    said,
    streaming,
    words_come,
)
from tests.harness import TIMING, World, shown, world
from tests.support import eventually

SLOW = said("!slow")
# While time stands still, words that a lost lease kept from being shown would be waited for in vain.
UNHURRIED = replace(TIMING, lease=30.0, quiet=60.0)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)


async def test_a_slow_answer_streams_and_ends_as_one_exact_message(here: World):
    here.runtime.world.pace.set_rate(0)
    async with here.app(timing=UNHURRIED):
        asked = await ask(here, "!slow 24")
        await eventually(lambda: speaking(here))
        for _ in range(8):
            await played(here, 1)
        stream = await streaming(here, asked, words=5)
        assert SLOW.startswith(stream.text)
        go_on(here)
        done = await answered(here, asked, SLOW)
        await eventually(lambda: here.slack.shown_status(asked.channel, asked.ts) == "active")
    assert done.ts == stream.ts
    made = calls(here)
    assert (made[START], made[STOP], made[UPDATE], made[POST], made[LIST]) == (1, 1, 1, 0, 0)
    assert made[APPEND] > 5
    (part,) = await here.rows("SELECT part, text_from, state, slack_ts FROM slack_previews")
    assert part == {"part": 0, "text_from": 0, "state": "open", "slack_ts": done.ts}


async def test_what_is_streamed_is_always_the_beginning_of_the_answer(here: World):
    async with here.app():
        asked = await ask(here, "!slow 1")
        await answered(here, asked, SLOW)
    pieces = [
        "".join(chunk.get("text", "") for chunk in chunks_of(call.args))
        for call in here.slack.calls
        if call.method in (START, APPEND)
    ]
    assert SLOW.startswith("".join(pieces))
    assert all(pieces)


def chunks_of(args: dict[str, Any]) -> list[dict[str, Any]]:
    found = args["chunks"]
    assert isinstance(found, list)
    return found


async def test_a_short_answer_is_simply_posted(here: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(previewing, "_START_AFTER_SECONDS", 5.0)
    async with here.app():
        asked = await ask(here, "!echo short")
        await answered(here, asked, "short")
    made = calls(here)
    assert (made[START], made[POST]) == (0, 1)


@pytest.mark.parametrize(
    ("how", "status"), [("stop", "error"), ("end", "complete")], ids=["stopped", "ended"]
)
async def test_a_card_in_progress_settles_however_the_turn_ends(here: World, how: str, status: str):
    """The call is shown while it waits; then the turn is stopped, or goes on to its end."""
    async with here.app():
        here.runtime.hold()
        asked = await ask(here, "!slow 20")
        await eventually(here.runtime.held)
        (session,) = here.runtime.world.sessions.values()
        used = session.log.emit("agent.tool_use", name="bash", input={})
        here.runtime.world.commit(session)
        stream = await eventually(lambda: messages(here, asked))
        assert [task["status"] for task in stream[0].tasks] == ["in_progress"]
        if how == "end":
            session.log.emit("agent.tool_result", tool_use_id=used, content=[], is_error=False)
            here.runtime.world.commit(session)
            here.runtime.world.pace.set_rate(1000)
            here.runtime.release()
            done = await answered(here, asked, SLOW)
        else:
            await here.slack.say("ada", asked.channel, "stop", thread_ts=asked.ts)
            await here.answers(asked.channel, asked.ts, 2)
            done = messages(here, asked)[0]
    assert done.ts == stream[0].ts
    assert done.streaming_state == "completed"
    cards = [block for block in done.blocks if block["type"] == "task_card"]
    assert [(card["title"], card["status"]) for card in cards] == [("bash", status)]


async def test_the_stream_is_for_the_one_who_asked(here: World):
    here.runtime.world.pace.set_rate(0)
    async with here.app(timing=UNHURRIED):
        asked = await here.slack.say("grace", "general", "@threadline !slow 24")
        await words_come(here, 3)
        await streaming(here, asked)
        go_on(here)
        await answered(here, asked, SLOW)
    (start,) = [call for call in here.slack.calls if call.method == START]
    assert start.args["recipient_user_id"] == here.slack.users["grace"]
    assert start.args["recipient_team_id"] == here.slack.team_id


@pytest.mark.parametrize("known", [True, False])
async def test_a_stranger_gets_the_stream_by_their_own_team_or_the_answer_whole(dsn, known):
    async with world(dsn, foreign_recipients=known) as here, here.app():
        await here.connection.execute("UPDATE oauth_installs SET external_policy = 'allow_all'")
        here.slack.add_user("kim", "T0ELSEWHERE")
        channel = here.slack.add_channel("shared", ["ada", "kim"])
        here.runtime.world.pace.set_rate(0)
        asked = await here.slack.say("kim", channel, "@threadline !slow 24")
        await words_come(here, 3)
        await eventually(lambda: messages(here, asked), says="its beginning")
        go_on(here)
        done = await answered(here, asked, SLOW)
        assert (done.streaming_state == "completed") is known
        starts = [call for call in here.slack.calls if call.method == START]
        assert starts[0].args["recipient_team_id"] == "T0ELSEWHERE"
        assert calls(here)[LIST] == 0


async def test_a_mention_in_an_answer_is_never_alive_in_its_stream(here: World):
    async with here.app():
        here.runtime.hold()
        asked = await ask(here, "!echo done")
        await eventually(here.runtime.held)
        (session,) = here.runtime.held()
        hub = here.runtime.world.hub
        hub.start_preview(session, "agent.message", "sevt_1")
        said_so_far = ""
        for fragment in ("Hello <", "@U0GRA", "CE> and <!chan", "nel> and @he", "re now"):
            hub.preview(session, "sevt_1", fragment)
            said_so_far += fragment
            await shows(here, said_so_far[: safe_end(said_so_far)])
        here.runtime.release()
        await answered(here, asked, "done")
    assert streamed(here).startswith("Hello <@U0GRACE> and <!channel> and @here now")


async def shows(here: World, text: str) -> None:
    await eventually(lambda: streamed(here) == text, says=text)


def streamed(here: World) -> str:
    """All that was streamed, and that nothing of it reaches anybody's phone."""
    text = "".join(
        chunk.get("text", "")
        for call in here.slack.calls
        if call.method in (START, APPEND)
        for chunk in chunks_of(call.args)
    )
    assert render.defuse(text) == text
    return text.replace("\u2060", "")


# ------------------------------------------------------------------ more than one message


async def test_at_the_byte_limit_a_new_message_goes_on(here: World):
    text = said("!slow 12 30")
    here.runtime.world.pace.set_rate(0)
    async with here.app(timing=UNHURRIED):
        asked = await ask(here, "!slow 12 30")
        await eventually(lambda: speaking(here))
        while await played(here, 1):  # no faster than it is shown
            pass
        parts = await finished(here, asked)
    cut(render.defuse(text), parts)
    assert 4 <= len(parts) <= 6
    assert all(part.count("```") % 2 == 0 for part in parts)
    assert calls(here)[POST] == 0
    offsets = [
        row["text_from"]
        for row in await here.rows("SELECT text_from FROM slack_previews ORDER BY part")
    ]
    slices = [text[a:b] for a, b in pairwise([*offsets, len(text)])]
    assert [render.defuse(part).strip() for part in slices] == parts


async def test_code_longer_than_a_message_is_opened_anew_in_the_next(here: World):
    code = "".join(f"line_{n} = {n}\n" for n in range(1_500))
    async with here.app():
        here.runtime.hold()
        asked = await ask(here, "!echo done")
        await eventually(here.runtime.held)
        (session,) = here.runtime.world.sessions.values()
        text = f"See:\n\n```python\n{code}```\n\nThat was it."
        session.log.emit("agent.message", content=[{"type": "text", "text": text}])
        here.runtime.world.commit(session)
        await eventually(lambda: "That was it." in "".join(m.text for m in messages(here, asked)))
        here.runtime.release()
        _, *parts = await finished(here, asked)
    assert len(parts) >= 3
    assert all(part.startswith("```python\nline_") for part in parts)
    inside = "".join(part.removeprefix("```python\n") + "\n" for part in parts)
    assert inside == f"{code}```\n\nThat was it.\n\ndone\n"


@pytest.mark.parametrize("word", ["!echo done", "!ask"])
async def test_no_row_is_locked_while_a_long_answer_is_cut(
    here: World, monkeypatch: pytest.MonkeyPatch, word: str
):
    """A megabyte takes seven seconds; PostgreSQL ends a transaction that is idle for three."""
    whole, locked = render.parts, []

    def parts(markdown: str, **how: Any) -> list[str]:
        if len(markdown) > 1_000:
            locked.append(apart(writing_an_end(here.dsn)))
        return whole(markdown, **how)

    monkeypatch.setattr(render, "parts", parts)
    async with here.app(timing=UNHURRIED):
        here.runtime.hold()
        asked = await ask(here, word)
        await eventually(here.runtime.held)
        (session,) = here.runtime.world.sessions.values()
        session.log.emit("agent.message", content=[{"type": "text", "text": "word " * 2_100}])
        here.runtime.world.commit(session)
        await eventually(lambda: messages(here, asked))
        here.runtime.release()
        await here.at_rest()
    assert set(locked) == {0}


def apart(work: Coroutine[Any, Any, int]) -> int:
    """What comes of it while everything else here stands still."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


async def writing_an_end(dsn: str) -> int:
    """How many transactions have taken the messages of a preview, and are still open."""
    connection = await database.connect(dsn)
    try:
        count: int = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND state = 'idle in transaction' AND query LIKE '%UPDATE slack_previews SET settled%'"
        )
    finally:
        await connection.close()
    return count


async def finished(here: World, asked: Message) -> list[str]:
    """The parts of the answer once all is at rest; each in a message of its own, ended well."""
    await here.at_rest(30)
    found = messages(here, asked)
    assert {m.streaming_state for m in found} == {"completed"}
    return [shown(m) for m in found]


async def test_twelve_minutes_on_a_virtual_clock(dsn: str, monkeypatch: pytest.MonkeyPatch):
    """Messages roll over before Slack ends them, and nothing is lost or said twice."""
    text = said("!slow 720 12")
    async with world(dsn, clock="virtual") as here:
        now = here.slack.workspace.clock.now
        monkeypatch.setattr("bot.app.SlackPreviews", partial(SlackPreviews, now=now))
        here.runtime.world.pace.set_rate(0)
        async with here.app(timing=UNHURRIED):
            asked = await ask(here, "!slow 720 12")
            await eventually(lambda: speaking(here))
            half_minutes = 0
            while await half_a_minute(here, asked):
                half_minutes += 1
            parts = await finished(here, asked)
    cut(render.defuse(text), parts)
    assert half_minutes >= 23
    assert len(parts) == 3
    assert calls(here)[START] == len(parts)


def speaking(here: World) -> bool:
    """The model has begun its answer: from now on time brings words."""
    return any(
        event["type"] == "span.model_request_start"
        for session in here.runtime.sessions()
        for event in here.runtime.events(session["id"])
    )


async def played(here: World, seconds: int) -> bool:
    """Plays on until there is something new to see; False when the turn has ended instead."""
    before = calls(here)
    here.runtime.advance(seconds)

    async def new() -> bool:
        now = calls(here)
        shown_more = now[START] + now[APPEND] > before[START] + before[APPEND]
        return shown_more or not await going_on(here)

    await eventually(new, says="something new")
    return await going_on(here)


async def half_a_minute(here: World, asked: Message) -> bool:
    """The same, on Slack's clock too."""
    here.slack.advance(30)
    goes_on = await played(here, 30)
    states = [m.streaming_state for m in messages(here, asked)]
    assert set(states[:-1]) <= {"completed"}
    assert states[-1] != "errored"
    return goes_on


async def going_on(here: World) -> bool:
    (turn,) = await here.turns()
    return bool(turn["state"] == "running")


async def test_a_silent_stream_is_ended_in_time(here: World, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(streams, "_PART_SECONDS", 0.5)
    here.runtime.world.pace.set_rate(0)
    async with here.app():
        asked = await ask(here, "!slow 24")
        await eventually(lambda: speaking(here))
        here.runtime.advance(5)
        await streaming(here, asked)
        await eventually(lambda: calls(here)[STOP])
        here.runtime.world.pace.set_rate(1000)
        parts = await finished(here, asked)
    cut(SLOW, parts)

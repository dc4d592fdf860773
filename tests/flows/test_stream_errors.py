"""Every trouble a stream can have, at every stage: the answer is there once, exact."""

from functools import partial
from typing import Any

import pytest

from bot.local.model import Message
from tests.cases import few_of
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
    go_on,
    messages,
    quicken,
    said,
    streaming,
    words_come,
)
from tests.harness import World
from tests.support import eventually

ASKED = "!slow 0.4"
SLOW = said(ASKED)
STAGES = (UPDATE, STOP, APPEND, START)
BROUGHT = (*STAGES, POST)
ERRORS = (
    "message_not_in_streaming_state",
    "stopped_by_user",
    "streaming_state_conflict",
    "message_not_owned_by_app",
    "message_not_found",
    "channel_type_not_supported",
    "user_not_found",
    "missing_recipient_user_id",
    "missing_recipient_team_id",
    "msg_too_long",
    "msg_blocks_too_many",
    "invalid_blocks",
    "internal_error",
)
# not there for an hour: the method itself
UNKNOWN: tuple[dict[str, Any], ...] = (
    {"kind": "method_unknown"},
    {"kind": "method_unknown", "error": "feature_disabled"},
    {"kind": "method_unknown", "status": 404},
)
DONE: dict[str, Any] = {"kind": "drop_after"}
LOST: tuple[dict[str, Any], ...] = (
    {"kind": "drop_before"},
    DONE,
    {"kind": "error_before", "status": 502},
    {"kind": "error_after", "status": 503},
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)


@pytest.mark.parametrize(
    "error",
    few_of(ERRORS, ("message_not_in_streaming_state", "user_not_found", "internal_error")),
)
async def test_a_refusal_at_any_stage_costs_no_word(here: World, error: str):
    async with here.app():
        for stage in STAGES:
            here.slack.fault("api_error", method=stage, error=error)
            asked = await slowly(here, stage)
            if (stage, error) == (APPEND, "message_not_in_streaming_state"):
                await here.answers(asked.channel, asked.ts, 2)
                assert " ".join(here.shown(asked.channel, asked.ts)) == SLOW
            else:
                await answered(here, asked, SLOW)


async def slowly(here: World, stage: str) -> Message:
    """An answer that goes on once somebody has tried to show it, and to add to it if that is asked."""
    here.runtime.world.pace.set_rate(0)
    before = calls(here)
    asked = await ask(here, "!slow 24")
    await words_come(here, 1)
    for method in (START, APPEND) if stage == APPEND else (START,):
        await eventually(partial(was_called, here, method, before[method]), says=method)
        await words_come(here, 2)
    go_on(here)
    return asked


def was_called(here: World, method: str, times: int) -> bool:
    return calls(here)[method] > times


@pytest.mark.parametrize(
    ("stage", "fault"),
    # the one that can double at every stage, and every one where a message begins
    few_of(
        [(stage, fault) for fault in LOST for stage in BROUGHT],
        [(stage, fault) for fault in LOST for stage in BROUGHT if fault is DONE or stage == START],
    ),
    ids=lambda value: value if isinstance(value, str) else str(value["kind"]),
)
async def test_an_answer_of_slack_that_is_lost_costs_no_word_and_doubles_none(
    here: World, fault: dict[str, Any], stage: str
):
    async with here.app():
        here.slack.fault(method=stage, **fault)
        asked = await ask(here, "!echo posted" if stage == POST else ASKED)
        await answered(here, asked, "posted" if stage == POST else SLOW)


@pytest.mark.parametrize("stage", STAGES)
async def test_a_limit_at_any_stage_is_waited_for(here: World, stage: str):
    here.slack.fault("ratelimit", method=stage, retry_after=1)
    async with here.app():
        asked = await ask(here, "!slow 1.5")
        done = await answered(here, asked, SLOW)
    limited = [call for call in here.slack.calls if call.status == 429]
    assert len(limited) == 1
    assert (done.streaming_state is None) is (stage == START)
    again = [c.at for c in here.slack.calls if c.method == stage and c.at > limited[0].at]
    assert all(at - limited[0].at > 0.9 for at in again)


@pytest.mark.parametrize(
    ("stage", "fault"),
    # each way to say so once, each method once
    few_of(
        [(stage, fault) for fault in UNKNOWN for stage in (START, APPEND, STOP)],
        list(zip((START, APPEND, STOP), UNKNOWN, strict=True)),
    ),
)
async def test_a_method_that_is_not_there_is_not_asked_again_for_an_hour(
    here: World, fault: dict[str, Any], stage: str, monkeypatch: pytest.MonkeyPatch
):
    here.slack.fault(method=stage, **fault)
    async with here.app() as app:
        asked = await slowly(here, stage)
        await answered(here, asked, SLOW)
        before = calls(here)
        here.runtime.world.pace.set_rate(0)
        later = await ask(here, "!slow 24")
        await words_come(here, 1)
        await eventually(partial(messages, here, later), says="a post")
        go_on(here)
        assert (await answered(here, later, SLOW)).streaming_state is None
        assert calls(here)[START] == before[START]
        assert calls(here)[LIST] == 0
        monkeypatch.setattr("bot.slack._REMEMBERED_SECONDS", 0.0)
        app.slack._without.clear()
        last = await slowly(here, START)
        assert (await answered(here, last, SLOW)).streaming_state == "completed"


# ------------------------------------------------------------------ a start that was not answered


@pytest.mark.parametrize("stale", [False, True])
async def test_a_stream_whose_start_was_not_answered_is_found_and_finished(here: World, stale):
    here.slack.fault("drop_after", method=START)
    if stale:
        here.slack.fault("stale", seconds=600, times=1)
    async with here.app():
        asked = await slowly(here, START)
        (begun,) = messages(here, asked)
        done = await answered(here, asked, SLOW)
    assert begun.streaming_state == "in_progress"
    assert done.ts == begun.ts
    assert calls(here)[START] == 1
    assert calls(here)[LIST] == (2 if stale else 1)
    assert await states(here) == ["open"]


@pytest.mark.parametrize("trouble", ["api_error", "ratelimit", "drop_before", "error_before"])
async def test_a_listing_that_fails_does_not_fail_the_turn(here: World, trouble: Any):
    here.slack.fault("drop_after", method=START)
    here.slack.fault(trouble, method=LIST, retry_after=1)
    async with here.app():
        asked = await slowly(here, START)
        await answered(here, asked, SLOW)
    assert [turn["state"] for turn in await here.turns()] == ["completed"]


async def test_where_the_listing_is_refused_the_answer_is_posted_all_the_same(here: World):
    here.slack.fault("drop_after", method=START)
    here.slack.fault("api_error", method=LIST, error="missing_scope", times=None)
    async with here.app():
        asked = await slowly(here, START)
        await here.answers(asked.channel, asked.ts, 2)
    assert SLOW in here.shown(asked.channel, asked.ts)
    assert await states(here) == ["lost"]


async def states(here: World) -> list[str]:
    return [r["state"] for r in await here.rows("SELECT state FROM slack_previews ORDER BY part")]


# ------------------------------------------------------------------ streams that end by themselves


@pytest.mark.parametrize("words", [1, 60])
async def test_a_stream_that_expires_while_it_grows_goes_on_in_a_new_message(
    here: World, words: int
):
    async with here.app():
        asked = await ask(here, "!slow 1.5")
        await streaming(here, asked, words=words)
        here.slack.fault("expire_streams")
        await here.at_rest()
    parts = here.shown(asked.channel, asked.ts)
    assert len(parts) == 2
    assert " ".join(parts) == SLOW
    assert {m.streaming_state for m in messages(here, asked)} == {"completed"}


async def test_a_stream_that_expires_just_before_the_end_shows_the_whole_answer(here: World):
    async with here.app():
        here.runtime.world.pace.set_rate(0)
        asked = await begun(here)
        here.slack.fault("expire_streams")
        here.runtime.fault("cut_stream", event_type="agent.message")
        here.runtime.world.pace.set_rate(10_000)
        await here.at_rest()
    assert " ".join(here.shown(asked.channel, asked.ts)) == SLOW


async def begun(here: World) -> Message:
    """An answer that has begun to show, and stands still."""
    asked = await ask(here, "!slow 24")
    await words_come(here, 3)
    await streaming(here, asked)
    return asked


async def test_a_preview_that_somebody_deleted_is_posted_afresh(here: World):
    async with here.app():
        here.runtime.world.pace.set_rate(0)
        asked = await begun(here)
        (stream,) = messages(here, asked)
        await here.slack.delete(asked.channel, stream.ts)
        here.runtime.world.pace.set_rate(10_000)
        await answered(here, asked, SLOW)


async def test_a_stop_by_slack_leaves_the_words_and_says_who(here: World):
    async with here.app():
        here.runtime.world.pace.set_rate(0)
        asked = await begun(here)
        assert await here.slack.stop("ada", asked.channel, asked.ts)
        here.runtime.advance(1)
        words, notice = await here.answers(asked.channel, asked.ts, 2)
    assert SLOW.startswith(words)
    assert notice.startswith("Stopped by ada")

"""Every error that Slack's reference lists for what we call: one exact reply, or one that is buried.

A delivery that can never succeed is seen by operators and holds nobody up. The errors are those of
docs.slack.dev/reference/methods/…, as its pages of August 2026 have them. All cases of a test run in
one process and one workspace, each in a channel of its own.
"""

from typing import Any

import pytest
from pydantic import SecretStr

from bot.app import App
from bot.doctor import examine
from tests.cases import few_or_all, of_each
from tests.flows.slack_cases import CALM, STATUS, Cases, refusing, share_a_workspace
from tests.flows.slack_errors import (
    BAD_BLOCKS,
    CHANGED,
    CHANNEL,
    DELETED,
    LIMITED,
    NEVER,
    OF_NOTHING,
    READ,
    STREAM,
    TOKEN,
    TRY_AGAIN,
    UNCLEAR,
)
from tests.flows.streams import APPEND, LIST, POST, START, STOP, UPDATE, said
from tests.harness import World
from tests.support import eventually

DELETE, WHO = "chat.delete", "users.info"
SLOW = "!slow 12"
HELLO = ['You said: "hello"']


@pytest.fixture(autouse=True)
def _shared(monkeypatch: pytest.MonkeyPatch) -> None:
    share_a_workspace(monkeypatch)


def one_each(cases: Cases, text: str) -> dict[str, list[str]]:
    return cases.all_alike([said(text)])


async def nothing_buried(cases: Cases) -> None:
    assert await cases.buried() == cases.all_alike([])


# ------------------------------------------------------------------ chat.postMessage


async def test_a_post_that_may_succeed_later_is_made_again(here: World):
    async with here.app(timing=CALM):
        cases = refusing(here, POST, (*UNCLEAR, *LIMITED, *OF_NOTHING))
        await cases.ask("hello")
        assert cases.shown == cases.all_alike(HELLO)
        await nothing_buried(cases)
        await cases.goes_on()
    looks = {error: 2 if error in UNCLEAR else 0 for error in cases}
    assert cases.each(lambda case: case.calls[LIST]) == looks
    assert cases.each(lambda case: case.calls[POST]) == dict.fromkeys(cases, 3)


async def test_a_post_whose_blocks_slack_does_not_take_loses_no_word(here: World):
    async with here.app(timing=CALM):
        cases = refusing(here, POST, BAD_BLOCKS)
        await cases.ask("!long 8")
        await nothing_buried(cases)
    assert cases.each(lambda case: ["blocks" in post.args for post in case.of(POST)]) == (
        cases.all_alike([True, False])
    )
    for (text,) in cases.shown.values():
        assert text.startswith("# A long answer\n\n## Section 1\n")
        assert text.endswith("That is all.")


@few_or_all
async def test_a_post_that_can_never_succeed_is_buried_and_seen_and_the_thread_goes_on(
    here: World, most: int
):
    errors = of_each(most, CHANNEL, NEVER, TOKEN)
    async with here.app(timing=CALM):
        cases = refusing(here, POST, errors)
        await cases.ask("hello")
        assert cases.shown == cases.all_alike([])
        assert await cases.buried() == {error: [error] for error in errors}
        assert cases.each(lambda case: case.calls[POST]) == dict.fromkeys(cases, 1)
        assert {turn["state"] for turn in await here.turns()} == {"completed"}
        await cases.goes_on()
        assert await cases.buried() == {error: [error] for error in errors}
    await operators_see(here, errors)


async def operators_see(here: World, errors: tuple[str, ...]) -> None:
    """What was buried stands on the metrics page of any process, and the doctor says it."""
    lines = [f'threadline_dead_deliveries{{error="{error}"}} 1.0' for error in errors]
    async with here.app(roles=frozenset()) as app:
        await eventually(lambda: set(lines) <= set(page(app).splitlines()))
    settings = here.settings(database_url=SecretStr(here.dsn))
    (found,) = [one for one in await examine(settings, None) if one.check == "deliveries"]
    assert found.state == "warning"
    counts = found.says.removeprefix("buried in the last day: ").split(", ")
    assert sorted(counts) == sorted(f"1 × {error}" for error in errors)


def page(app: App) -> str:
    return app.metrics.page().decode()


# ------------------------------------------------------------------ reading back


@pytest.mark.parametrize("effect", ["drop_before", "drop_after"])
async def test_a_look_that_may_succeed_later_is_made_again(here: World, effect: Any):
    async with here.app(timing=CALM):
        cases = refusing(here, LIST, TRY_AGAIN)
        for case in cases.values():
            case.fault(effect, POST)
        await cases.ask("hello")
        assert cases.shown == cases.all_alike(HELLO)
        await nothing_buried(cases)
    posts = 1 if effect == "drop_after" else 2
    assert cases.each(lambda case: case.calls[POST]) == dict.fromkeys(cases, posts)


@few_or_all
async def test_a_post_that_can_not_be_looked_for_is_not_made_twice(here: World, most: int):
    """Nobody may look whether it is there: it is buried, and operators hear of it."""
    errors = of_each(most, READ, NEVER, TOKEN)
    async with here.app(timing=CALM):
        cases = refusing(here, LIST, errors)
        for case in cases.values():
            case.fault("drop_after", POST)
        await cases.ask("hello")
        assert cases.shown == cases.all_alike(HELLO)
        assert await cases.buried() == {error: [error] for error in errors}
        await cases.goes_on()


@pytest.mark.parametrize("method", [POST, START])
async def test_what_a_stale_listing_hides_is_found_at_the_second_look(here: World, method: str):
    async with here.app(timing=CALM):
        cases = Cases(here, ["drop_after", "error_after"])
        cases["drop_after"].fault("drop_after", method)
        cases["error_after"].fault("error_after", method)
        for case in cases.values():
            case.fault("stale", LIST, seconds=600)
        text = "hello" if method == POST else SLOW
        await (cases.ask(text) if method == POST else cases.ask_for_a_stream(text))
        assert cases.shown == one_each(cases, text)
        await nothing_buried(cases)
    assert cases.each(lambda case: case.calls[LIST]) == dict.fromkeys(cases, 2)
    assert cases.each(lambda case: case.calls[method]) == dict.fromkeys(cases, 1)


# ------------------------------------------------------------------ streams


STREAMED = (*CHANNEL, *NEVER, *STREAM, *OF_NOTHING)


def ways(cases: Cases) -> dict[str, tuple[int, int, str | None]]:
    """How often each answer was posted and looked for, and what its one message is."""
    return cases.each(
        lambda case: (case.calls[POST], case.calls[LIST], case.messages[0].streaming_state)
    )


@few_or_all
async def test_an_answer_that_can_not_begin_to_stream_is_posted(here: World, most: int):
    kinds = (UNCLEAR, CHANNEL, NEVER, STREAM, OF_NOTHING, BAD_BLOCKS, TOKEN)
    async with here.app(timing=CALM):
        cases = refusing(here, START, of_each(most, *kinds))
        await cases.ask_for_a_stream(SLOW)
        assert cases.shown == one_each(cases, SLOW)
        await nothing_buried(cases)
    looks = {error: 2 if error in UNCLEAR else 0 for error in cases}
    assert ways(cases) == {error: (1, looks[error], None) for error in cases}


@pytest.mark.parametrize("error", LIMITED)
async def test_an_answer_that_may_not_begin_to_stream_now_is_posted(here: World, error: str):
    async with here.app(timing=CALM):
        cases = refusing(here, START, (error,))
        await cases.ask_for_a_stream(SLOW)
        assert cases.shown == one_each(cases, SLOW)
    assert ways(cases) == {error: (1, 0, None)}


@pytest.mark.long
async def test_a_stream_that_can_not_grow_ends_as_the_exact_answer(here: World):
    expired = "message_not_in_streaming_state"  # goes on in a new message: test_streaming
    async with here.app(timing=CALM):
        errors = (*TRY_AGAIN, *(e for e in STREAMED if e != expired), *TOKEN)
        cases = refusing(here, APPEND, errors)
        await cases.ask_for_a_stream(SLOW)
        assert cases.shown == one_each(cases, SLOW)
        await nothing_buried(cases)
    assert ways(cases) == dict.fromkeys(cases, (0, 0, "completed"))


@pytest.mark.long
async def test_a_stream_that_can_not_be_ended_at_once_ends_as_the_exact_answer(here: World):
    async with here.app(timing=CALM):
        cases = refusing(here, STOP, (*TRY_AGAIN, *STREAMED, *BAD_BLOCKS))
        await cases.ask_for_a_stream(SLOW)
        assert cases.shown == one_each(cases, SLOW)
        await nothing_buried(cases)
    assert ways(cases) == dict.fromkeys(cases, (0, 0, "completed"))
    assert set(cases.each(lambda case: case.calls[STOP]).values()) <= {2, 3}


# ------------------------------------------------------------------ edits, deletions


@few_or_all
async def test_a_message_that_can_not_take_the_answer_is_replaced_by_one_that_does(
    here: World, most: int
):
    changing = ("external_channel_migrating", "streaming_state_conflict", "update_failed")
    later = (*TRY_AGAIN, *changing)
    async with here.app(timing=CALM):
        errors = of_each(most, UNCLEAR, LIMITED, changing, CHANGED, NEVER, BAD_BLOCKS)
        cases = refusing(here, UPDATE, errors)
        await cases.ask_for_a_stream(SLOW)
        assert cases.shown == one_each(cases, SLOW)
        await nothing_buried(cases)
    afresh, again = (1, 0, None), (0, 0, "completed")
    assert ways(cases) == {error: again if error in later else afresh for error in cases}


@pytest.mark.parametrize("method", [STOP, UPDATE])
async def test_without_a_token_what_was_streamed_stands_and_the_reply_is_buried(
    here: World, method: str
):
    async with here.app(timing=CALM):
        cases = refusing(here, method, TOKEN)
        await cases.ask_for_a_stream(SLOW)
        assert await cases.buried() == {error: [error] for error in TOKEN}
        for (text,) in cases.shown.values():
            assert said(SLOW).startswith(text)
        await cases.goes_on()


@pytest.mark.long
async def test_a_preview_that_can_not_be_taken_away_costs_no_word(here: World):
    async with here.app(timing=CALM):
        cases = refusing(here, DELETE, (*DELETED, *NEVER))
        for case in cases.values():
            case.fault("api_error", UPDATE, error="cant_update_message")
        await cases.ask_for_a_stream(SLOW)
        await nothing_buried(cases)
    for left, text in cases.shown.values():
        assert said(SLOW).startswith(left)
        assert text == said(SLOW)


@pytest.mark.long
async def test_a_preview_is_taken_away_as_soon_as_slack_lets_us(here: World):
    async with here.app(timing=CALM):
        cases = refusing(here, DELETE, TRY_AGAIN)
        for case in cases.values():
            case.fault("api_error", UPDATE, error="cant_update_message", times=2)
        await cases.ask_for_a_stream(SLOW)
        assert cases.shown == one_each(cases, SLOW)
        await nothing_buried(cases)
    assert cases.each(lambda case: case.calls[DELETE]) == dict.fromkeys(cases, 2)


# ------------------------------------------------------------------ cuts, 5xx, delays, limits

CUTS: dict[str, dict[str, Any]] = {
    "drop_before": {"kind": "drop_before"},
    "drop_after": {"kind": "drop_after"},
    "500 before": {"kind": "error_before", "status": 500},
    "503 before": {"kind": "error_before", "status": 503},
    "500 after": {"kind": "error_after", "status": 500},
    "504 after": {"kind": "error_after", "status": 504},
}
STALLS: dict[str, dict[str, Any]] = {
    "stalls before": {"kind": "stall_before", "seconds": 1.5},
    "stalls after": {"kind": "stall_after", "seconds": 600},
}
PLAIN, STREAMS = (POST, STATUS, WHO), (START, APPEND, STOP, UPDATE)


def troubled(here: World, methods: tuple[str, ...], troubles: dict[str, dict[str, Any]]) -> Cases:
    """A case for each trouble of each method."""
    wanted = {f"{m}: {t}": (m, options) for m in methods for t, options in troubles.items()}
    cases = Cases(here, wanted)
    for name, (method, options) in wanted.items():
        cases[name].fault(method=method, **options)
    return cases


async def test_no_cut_costs_a_word_or_says_one_twice(here: World):
    async with here.app(timing=CALM):
        cases = troubled(here, PLAIN, CUTS)
        await cases.ask("hello")
        assert cases.shown == cases.all_alike(HELLO)
        await nothing_buried(cases)
        await cases.goes_on()
    after = {name: "after" in name for name in cases}
    posts = {name: 3 if POST in name and not after[name] else 2 for name in cases}
    assert cases.each(lambda case: case.calls[POST]) == posts
    looks = {name: (1 if after[name] else 2) if POST in name else 0 for name in cases}
    assert cases.each(lambda case: case.calls[LIST]) == looks


async def test_no_cut_of_a_stream_costs_a_word_or_says_one_twice(here: World):
    async with here.app(timing=CALM):
        cases = troubled(here, STREAMS, CUTS)
        await cases.ask_for_a_stream(SLOW)
        assert cases.shown == one_each(cases, SLOW)
        await nothing_buried(cases)
    unstarted = {name for name in cases if START in name and "before" in name}
    looked = {name: 1 for name in cases if START in name} | dict.fromkeys(unstarted, 2)
    assert ways(cases) == {
        name: (1, 2, None) if name in unstarted else (0, looked.get(name, 0), "completed")
        for name in cases
    }


@pytest.mark.long
async def test_no_delay_costs_a_word_or_says_one_twice(
    here: World, monkeypatch: pytest.MonkeyPatch
):
    """What comes after all, though it was given up, is the window of test_doubles."""
    monkeypatch.setattr("bot.slack.CALL_SECONDS", 1.0)
    after = {"stalls after": STALLS["stalls after"]}
    async with here.app(timing=CALM):
        for method in PLAIN:
            cases = troubled(here, (method,), after if method in (POST, STATUS) else STALLS)
            await cases.ask("hello")
            assert cases.shown == cases.all_alike(HELLO)
            await nothing_buried(cases)
        for method in STREAMS:
            cases = troubled(here, (method,), after if method == START else STALLS)
            await cases.ask_for_a_stream(SLOW)
            assert cases.shown == one_each(cases, SLOW)
            await nothing_buried(cases)


@pytest.mark.parametrize("methods", [PLAIN, (APPEND, STOP, UPDATE), (START,)], ids=len)
async def test_where_slack_asks_to_wait_nobody_calls_before(here: World, methods: tuple[str, ...]):
    async with here.app(timing=CALM):
        cases = troubled(here, methods, {"429": {"kind": "ratelimit", "retry_after": 1}})
        if methods == PLAIN:
            await cases.ask("hello")
            assert cases.shown == cases.all_alike(HELLO)
        else:
            await cases.ask_for_a_stream(SLOW)
            assert cases.shown == one_each(cases, SLOW)
        await nothing_buried(cases)
    for name, case in cases.items():
        refused, *later = case.of(name.partition(":")[0]) or here.slack.calls[:1]
        assert refused.status == 429 or WHO in name
        assert all(call.at - refused.at > 0.99 for call in later), name

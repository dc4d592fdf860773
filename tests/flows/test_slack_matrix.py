"""Every error that Slack's reference lists for what we call: one exact reply, or one that is buried.

A delivery that can never succeed is seen by operators and holds nobody up. The errors are those of
docs.slack.dev/reference/methods/…, as its pages of August 2026 have them.
"""

from typing import Any

import pytest
from pydantic import SecretStr

from bot import delivery, outcome
from bot.app import App
from bot.doctor import examine
from bot.local.model import Message
from router.errors import ConfigurationError
from tests.flows.slack_errors import (
    BAD_BLOCKS,
    CHANGED,
    CHANNEL,
    NEVER,
    OF_NOTHING,
    REACTED,
    REACTED_ALREADY,
    READ,
    SESSION,
    STREAM,
    TOKEN,
    TOLD,
    TOO_MUCH,
    TRY_AGAIN,
)
from tests.flows.streams import (
    APPEND,
    LIST,
    POST,
    START,
    STOP,
    UPDATE,
    ask,
    calls,
    messages,
    quicken,
    said,
)
from tests.harness import World, shown
from tests.support import eventually

pytestmark = pytest.mark.long

DELETE, TELL, STATUS = "chat.delete", "chat.postEphemeral", "agents.sessions.setStatus"
REACT, UNREACT, WHO = "reactions.add", "reactions.remove", "users.info"
SLOW = "!slow 0.4"

TROUBLE: tuple[dict[str, Any], ...] = (
    {"kind": "drop_before"},
    {"kind": "drop_after"},
    {"kind": "error_before", "status": 500},
    {"kind": "error_before", "status": 503},
    {"kind": "error_after", "status": 500},
    {"kind": "error_after", "status": 504},
    {"kind": "stall_before", "seconds": 0.6},
    {"kind": "stall_after", "seconds": 600},
    {"kind": "ratelimit", "retry_after": 1},
)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again at once, also where Slack does not say when."""
    quicken(monkeypatch)
    monkeypatch.setattr(outcome, "_LIMITED_SECONDS", 0.05)
    monkeypatch.setattr(delivery, "_NO_PERMIT_SECONDS", 0.05)


async def say(here: World, text: str, thread: Message | None = None) -> Message:
    root = thread.ts if thread else None
    return await here.slack.say("ada", here.slack.dm("ada"), text, thread_ts=root)


async def buried(here: World) -> list[str]:
    """The reasons of what was buried since the last time."""
    rows = await here.rows(
        "UPDATE slack_outbox SET ended_at = now() - interval '2 days'"
        " WHERE state = 'dead' AND ended_at > now() - interval '1 day' RETURNING error"
    )
    return [row["error"] for row in rows]


async def the_one_reply(here: World, asked: Message, text: str) -> None:
    """What a person sees at the end is the exact text, in one message."""
    await eventually(lambda: shown_in(here, asked)[-1:] == [text], 15, f"{text!r}")
    await here.at_rest()
    assert shown_in(here, asked) == [text]


def shown_in(here: World, asked: Message) -> list[str]:
    return [shown(message) for message in messages(here, asked)]


async def two_in(here: World, asked: Message) -> None:
    await eventually(lambda: len(messages(here, asked)) == 2)


async def goes_on(here: World, asked: Message) -> None:
    """The thread's next message is answered; what was buried before stays unsaid."""
    before = len(messages(here, asked))
    await say(here, "next", asked)
    await eventually(lambda: shown_in(here, asked)[before:] == ['You said: "next"'])
    await here.at_rest()


# ------------------------------------------------------------------ chat.postMessage


@pytest.mark.parametrize("errors", [TRY_AGAIN, TOO_MUCH, OF_NOTHING], ids=" ".join)
async def test_a_post_that_may_succeed_later_is_made_again(here: World, errors: tuple[str, ...]):
    async with here.app():
        for error in errors:
            here.slack.fault("api_error", method=POST, error=error)
            asked = await say(here, error)
            await the_one_reply(here, asked, f'You said: "{error}"')
    assert await buried(here) == []
    assert calls(here)[POST] == 2 * len(errors)


async def test_a_post_whose_blocks_slack_does_not_take_loses_no_word(here: World):
    async with here.app():
        for error in BAD_BLOCKS:
            here.slack.fault("api_error", method=POST, error=error)
            asked = await say(here, error)
            assert await here.answers(asked.channel, asked.ts, 1) == [f'You said: "{error}"']
    assert await buried(here) == []


def by(errors: tuple[str, ...], count: int) -> list[tuple[str, ...]]:
    """So many at a time: a test for each error would take its time to start."""
    return [errors[begin : begin + count] for begin in range(0, len(errors), count)]


@pytest.mark.parametrize("errors", by((*CHANNEL, *NEVER, *TOKEN), 9), ids=lambda e: e[0])
async def test_a_post_that_can_never_succeed_is_buried_and_the_thread_goes_on(
    here: World, errors: tuple[str, ...]
):
    async with here.app():
        for error in errors:
            here.slack.fault("api_error", method=POST, error=error)
            asked = await say(here, "hello")
            await eventually(lambda: dead(here), says=error)
            await here.at_rest()
            assert (await buried(here), shown_in(here, asked)) == ([error], [])
            await goes_on(here, asked)


async def dead(here: World) -> bool:
    return bool(
        await here.rows(
            "SELECT FROM slack_outbox WHERE state = 'dead' AND ended_at > now() - interval '1 day'"
        )
    )


async def test_what_was_buried_is_seen_by_doctor_and_on_the_metrics_page(here: World):
    errors = CHANNEL[:3]
    async with here.app():
        for count, error in enumerate(errors, start=1):
            here.slack.fault("api_error", method=POST, error=error)
            await say(here, "hello")
            await until_dead(here, count)
    async with here.app() as app:
        lines = [f'threadline_dead_deliveries{{error="{error}"}} 1.0' for error in errors]
        await eventually(lambda: all(line in page(app) for line in lines))
    settings = here.settings(database_url=SecretStr(here.dsn))
    (found,) = [one for one in await examine(settings, None) if one.check == "deliveries"]
    assert all(f"1 × {error}" in found.says for error in errors)


async def until_dead(here: World, count: int) -> None:
    async def are() -> bool:
        return len(await here.rows("SELECT FROM slack_outbox WHERE state = 'dead'")) == count

    await eventually(are)


def page(app: App) -> str:
    return app.metrics.page().decode()


# ------------------------------------------------------------------ reading back


@pytest.mark.parametrize("effect", ["drop_before", "drop_after"])
async def test_a_look_that_may_succeed_later_is_made_again(here: World, effect: Any):
    async with here.app():
        for error in TRY_AGAIN:
            here.slack.fault(effect, method=POST)
            here.slack.fault("api_error", method=LIST, error=error)
            asked = await say(here, error)
            await the_one_reply(here, asked, f'You said: "{error}"')
    assert await buried(here) == []


@pytest.mark.parametrize("errors", by((*READ, *NEVER, *TOKEN), 10), ids=lambda e: e[0])
async def test_a_post_that_can_not_be_looked_for_is_not_made_twice(
    here: World, errors: tuple[str, ...]
):
    """Nobody may look whether it is there: it is buried, and operators hear of it."""
    async with here.app():
        for error in errors:
            here.slack.fault("drop_after", method=POST)
            here.slack.fault("api_error", method=LIST, error=error)
            asked = await say(here, "hello")
            await eventually(lambda: dead(here), says=error)
            await here.at_rest()
            assert (await buried(here), shown_in(here, asked)) == ([error], ['You said: "hello"'])
            await goes_on(here, asked)


# ------------------------------------------------------------------ streams, edits, deletions


STREAMED = (*TRY_AGAIN, *TOO_MUCH, *CHANNEL, *NEVER, *STREAM, *OF_NOTHING)
PREVIEWED = {
    START: (*STREAMED, *BAD_BLOCKS, *TOKEN),
    APPEND: tuple(e for e in STREAMED if e != "message_not_in_streaming_state"),
    STOP: (*STREAMED, *BAD_BLOCKS),
    UPDATE: (*TRY_AGAIN, *CHANGED, *NEVER, *BAD_BLOCKS),
}
BATCHES = [(method, some) for method, errors in PREVIEWED.items() for some in by(errors, 12)]


@pytest.mark.parametrize(
    ("method", "errors"), BATCHES, ids=lambda v: v if isinstance(v, str) else v[0]
)
async def test_no_error_of_a_preview_costs_a_word(
    here: World, method: str, errors: tuple[str, ...]
):
    async with here.app():
        for error in errors:
            here.slack.fault("api_error", method=method, error=error)
            asked = await ask(here, SLOW)
            await the_one_reply(here, asked, said(SLOW))
            here.slack.clear_faults()
    assert await buried(here) == []


async def test_a_preview_that_can_not_be_taken_away_costs_no_word(here: World):
    async with here.app():
        for error in ("cant_delete_message", "channel_not_found", "message_not_found"):
            here.slack.fault("api_error", method=UPDATE, error="cant_update_message")
            here.slack.fault("api_error", method=DELETE, error=error)
            asked = await ask(here, SLOW)
            await two_in(here, asked)
            await here.at_rest()
            assert shown_in(here, asked)[1:] == [said(SLOW)]


@pytest.mark.parametrize("error", TRY_AGAIN)
async def test_a_preview_is_taken_away_as_soon_as_slack_lets_us(here: World, error: str):
    async with here.app():
        here.slack.fault("api_error", method=UPDATE, error="cant_update_message", times=2)
        here.slack.fault("api_error", method=DELETE, error=error)
        asked = await ask(here, SLOW)
        await the_one_reply(here, asked, said(SLOW))


# ------------------------------------------------------------------ cuts, 5xx, delays, limits


@pytest.mark.parametrize("trouble", TROUBLE, ids=lambda t: "-".join(map(str, t.values())))
async def test_no_trouble_on_the_way_costs_a_word_or_says_one_twice(
    here: World, trouble: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("bot.slack.CALL_SECONDS", 0.3)
    async with here.app():
        for method in (POST, START, APPEND, STOP, UPDATE, STATUS, WHO):
            if trouble["kind"] == "stall_before" and method in {POST, START}:
                continue  # what comes after all is the window of test_doubles
            text = "hello" if method in {POST, STATUS, WHO} else SLOW
            here.slack.fault(**trouble, method=method)
            asked = await ask(here, text)
            await the_one_reply(here, asked, said(text))
            here.slack.clear_faults()
    assert await buried(here) == []


# ------------------------------------------------------------------ what one person sees; reactions


async def told(here: World, error: str) -> int:
    """Somebody who is not welcome writes while Slack says that; how many sentences they saw."""
    before = len(here.slack.ephemerals)
    here.slack.fault("api_error", method=TELL, error=error)
    await here.slack.say("connect", "shared", "@threadline hello")
    await eventually(lambda: not here.slack.workspace.faults._orders, says=error)
    await here.at_rest()
    return len(here.slack.ephemerals) - before


async def test_a_private_sentence_is_said_once_at_most(here: World):
    async with here.app():
        for error in (*TRY_AGAIN, *TOO_MUCH, *TOLD, *NEVER, *TOKEN):
            seen = await told(here, error)
            refused = {*TOLD, *NEVER, *TOKEN}
            assert seen == (1 if error in {"ratelimited", *TOO_MUCH} else 0), error
            assert await buried(here) == ([error] if error in refused else [])


@pytest.mark.parametrize("method", [REACT, UNREACT])
async def test_no_error_of_a_mark_costs_an_answer(here: World, method: str):
    async with here.app():
        for error in (*TRY_AGAIN, *REACTED, *REACTED_ALREADY, "external_channel_migrating"):
            here.runtime.hold()
            asked = await say(here, "first")
            await eventually(here.runtime.held)
            here.slack.fault("api_error", method=method, error=error)
            await say(here, "second", asked)
            here.runtime.release()
            await two_in(here, asked)
            await here.at_rest()
            assert set(await buried(here)) <= ({error} if error in REACTED else set())
            here.slack.clear_faults()


# ------------------------------------------------------------------ niceties, and the start


@pytest.mark.parametrize(
    ("method", "errors"),
    [(STATUS, SESSION), (WHO, ("user_not_found", "user_not_visible"))],
    ids=[STATUS, WHO],
)
async def test_no_error_of_a_nicety_costs_an_answer(
    here: World, method: str, errors: tuple[str, ...]
):
    async with here.app():
        for error in (*TRY_AGAIN, *NEVER, *TOKEN, *errors):
            here.slack.fault("api_error", method=method, error=error)
            asked = await say(here, error)
            await the_one_reply(here, asked, f'You said: "{error}"')
            here.slack.clear_faults()
    assert await buried(here) == []


async def starts(here: World, error: str) -> None:
    here.slack.fault("api_error", method="auth.test", error=error)
    async with here.app():
        pass


@pytest.mark.parametrize("error", TRY_AGAIN)
async def test_a_start_needs_no_answer_about_its_token(here: World, error: str):
    await starts(here, error)


@pytest.mark.parametrize("error", [*TOKEN, "token_revoked"])
async def test_a_token_that_slack_does_not_take_is_said_at_the_start(here: World, error: str):
    with pytest.raises(ConfigurationError, match=error):
        await starts(here, error)

"""Without a stream an answer is posted and edited while it is written, and ends exact all the same."""

from typing import Any

import pytest

from bot import budget, render
from bot.budget import Tier
from bot.edits import _MARK
from bot.local.model import Message
from router.runtime.local.brain import pieces
from tests.flows.streams import (
    APPEND,
    LIST,
    POST,
    SPEND,
    START,
    STOP,
    UPDATE,
    answered,
    ask,
    begun,
    calls,
    go_on,
    grown,
    messages,
    no_stream,
    quicken,
    said,
    states,
    unmarked,
    words_come,
)
from tests.harness import World, shown
from tests.support import eventually

SLOW = said("!slow")
DELETE = "chat.delete"
ALL_THAT_CAME = len("".join(pieces(SLOW)[:3]).split())  # of an answer that has just begun


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)


# ------------------------------------------------------------------ one message that grows


async def test_without_a_permit_to_start_the_answer_is_posted_and_edited(here: World):
    async with here.app():
        await no_stream(here)
        asked, post = await begun(here)
        await words_come(here, 6)
        await grown(here, asked, len(unmarked(post).split()) + 20)
        go_on(here)
        done = await answered(here, asked, SLOW)
    assert (done.ts, done.streaming_state) == (post.ts, None)
    made = calls(here)
    assert (made[START], made[APPEND], made[STOP], made[POST], made[LIST]) == (0, 0, 0, 1, 0)
    assert made[UPDATE] >= 2
    (part,) = await here.rows("SELECT text_from, state, edited, slack_ts FROM slack_previews")
    assert part == {"text_from": 0, "state": "open", "edited": True, "slack_ts": done.ts}


NO_STREAM: dict[str, dict[str, Any]] = {
    "unknown": {"kind": "method_unknown"},
    "disabled": {"kind": "method_unknown", "error": "feature_disabled"},
    "404": {"kind": "method_unknown", "status": 404},
    "refused": {"kind": "api_error", "error": "channel_type_not_supported"},
    "limited": {"kind": "ratelimit", "retry_after": 60},
}


@pytest.mark.parametrize("fault", NO_STREAM.values(), ids=NO_STREAM)
async def test_where_a_stream_cannot_begin_the_same_answer_is_posted_and_edited(
    here: World, fault: dict[str, Any]
):
    here.slack.fault(method=START, **fault)
    async with here.app():
        asked, post = await begun(here)
        go_on(here)
        done = await answered(here, asked, SLOW)
    assert done.ts == post.ts
    assert await states(here) == ["lost", "open"]


async def test_an_install_without_streams_gets_posts_that_grow_for_an_hour(here: World):
    here.slack.fault("method_unknown", method=START)
    async with here.app():
        for _ in range(2):
            asked = await ask(here, "!slow 1")
            await answered(here, asked, SLOW)
    made = calls(here)
    assert (made[START], made[STOP], made[POST], made[LIST]) == (1, 0, 2, 0)
    assert made[UPDATE] > 4


@pytest.mark.parametrize("method", [POST, UPDATE])
async def test_without_a_permit_to_spare_the_answer_is_posted_whole(
    here: World, monkeypatch: pytest.MonkeyPatch, method: str
):
    """The one permit that is left is the final text's; the next comes in a minute."""
    monkeypatch.setitem(budget._TIERS, method, Tier(5, 4))
    async with here.app():
        await no_stream(here)
        row = f"{POST} C0GENERAL" if method == POST else UPDATE
        await here.connection.execute(SPEND, row, 3 * 60)
        asked = await ask(here, "!slow 0.5")
        await answered(here, asked, SLOW)
    assert (calls(here)[POST], calls(here)[UPDATE]) == (1, 0)
    assert not await states(here)


async def test_of_a_long_answer_the_first_part_grows_and_the_others_are_posted(here: World):
    text = said("!slow 20 30")
    async with here.app():
        await no_stream(here)
        here.runtime.world.pace.set_rate(0)
        asked = await ask(here, "!slow 20 30")
        await words_come(here, 12)
        await eventually(lambda: [m for m in messages(here, asked) if len(shown(m)) > 9_000])
        (post,) = messages(here, asked)
        await words_come(here, 4)
        go_on(here)
        await here.at_rest()
    parts = render.parts(text)
    assert len(parts) > 2
    assert here.shown(asked.channel, asked.ts) == parts
    assert messages(here, asked)[0].ts == post.ts
    assert calls(here)[POST] == len(parts)


async def test_steps_are_cards_of_the_post_and_the_final_text_keeps_them(here: World):
    async with here.app():
        await no_stream(here)
        here.runtime.hold()
        asked = await ask(here, "!echo done")
        await eventually(here.runtime.held)
        (session,) = here.runtime.world.sessions.values()
        used = session.log.emit("agent.tool_use", name="bash", input={})
        here.runtime.world.commit(session)
        (post,) = await eventually(lambda: messages(here, asked))
        assert cards(post) == [("bash", "in_progress")]
        session.log.emit("agent.tool_result", tool_use_id=used, content=[], is_error=False)
        here.runtime.world.commit(session)
        await eventually(lambda: cards(messages(here, asked)[0]) == [("bash", "complete")])
        here.runtime.release()
        done = await answered(here, asked, "done")
    assert done.ts == post.ts
    assert cards(done) == [("bash", "complete")]


def cards(message: Message) -> list[tuple[str, str]]:
    return [(b["title"], b["status"]) for b in message.blocks if b["type"] == "task_card"]


async def test_a_mention_in_an_answer_is_never_alive_in_its_post(here: World):
    async with here.app():
        await no_stream(here)
        here.runtime.hold()
        asked = await ask(here, "!echo done")
        (session,) = await eventually(here.runtime.held)
        hub = here.runtime.world.hub
        hub.start_preview(session, "agent.message", "sevt_1")
        for fragment in ("Hello <", "@U0GRA", "CE> and <!chan", "nel> now "):
            hub.preview(session, "sevt_1", fragment)
        await eventually(lambda: [m for m in messages(here, asked) if "now" in shown(m)])
        here.runtime.release()
        await answered(here, asked, "done")
    for call in here.slack.calls:
        if call.method in (POST, UPDATE):
            words = f"{call.args['text']} {call.args['blocks']}"
            assert "<@U0GRACE>" not in words
            assert "<!channel>" not in words


# ------------------------------------------------------------------ a stop, a failure


@pytest.mark.parametrize("how", ["held", "taken over"])
async def test_a_post_that_is_cut_short_stands_without_its_mark(here: World, how: str):
    async with here.app():
        await no_stream(here)
        asked, _ = await begun(here)
        post = await grown(here, asked, ALL_THAT_CAME)
        if how == "held":
            await here.slack.say("ada", asked.channel, "stop", thread_ts=asked.ts)
            await here.answers(asked.channel, asked.ts, 2)
    async with here.app():
        if how != "held":
            await here.slack.say("ada", asked.channel, "stop", thread_ts=asked.ts)
        await here.answers(asked.channel, asked.ts, 2)
    words, notice = here.shown(asked.channel, asked.ts)
    assert words == unmarked(post)
    assert notice.startswith("Stopped by ada")


async def test_a_step_in_progress_when_a_post_is_cut_short_is_settled(here: World):
    async with here.app():
        await no_stream(here)
        here.runtime.hold()
        asked = await ask(here, "!slow 20")
        await eventually(here.runtime.held)
        (session,) = here.runtime.world.sessions.values()
        session.log.emit("agent.tool_use", name="bash", input={})
        here.runtime.world.commit(session)
        await eventually(lambda: messages(here, asked))
        await here.slack.say("ada", asked.channel, "stop", thread_ts=asked.ts)
        await here.answers(asked.channel, asked.ts, 2)
    post, _ = messages(here, asked)
    assert cards(post) == [("bash", "error")]
    assert _MARK not in shown(post)


async def test_a_post_that_somebody_deleted_is_posted_afresh(here: World):
    async with here.app():
        await no_stream(here)
        asked, post = await begun(here)
        await here.slack.delete(asked.channel, post.ts)
        go_on(here)
        done = await answered(here, asked, SLOW)
    assert done.ts != post.ts


async def test_a_turn_that_fails_leaves_what_was_shown_without_its_mark(here: World):
    async with here.app():
        await no_stream(here)
        asked, post = await begun(here)
        (lost,) = here.runtime.sessions()
        here.runtime.fault("cut_stream", session_id=lost["id"], event_type="agent.message")
        here.runtime.fault("gone", session_id=lost["id"], times=None)
        go_on(here)
        await here.answers(asked.channel, asked.ts, 3)
    words, *_ = here.shown(asked.channel, asked.ts)
    assert SLOW.startswith(words)
    assert words.startswith(unmarked(post))

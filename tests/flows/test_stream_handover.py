"""A stream outlives its process and its turn: the next holder finishes it, and none stays open."""

import pytest

from bot.conversation import SlackConversation
from bot.local.model import Message
from router import notices
from router.notices import Trouble
from tests.flows.streams import (
    LIST,
    POST,
    START,
    answered,
    ask,
    calls,
    messages,
    quicken,
    said,
    streaming,
    words_come,
)
from tests.harness import World
from tests.support import eventually

SLOW = said("!slow")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)


async def begun(here: World) -> Message:
    """An answer that has begun to show, and stands still until the pace is set."""
    here.runtime.world.pace.set_rate(0)
    asked = await ask(here, "!slow 24")
    await words_come(here, 3)
    await streaming(here, asked)
    await eventually(lambda: stored(here))
    return asked


async def stored(here: World) -> bool:
    return await states(here) == ["open"]


def go_on(here: World) -> None:
    here.runtime.world.pace.set_rate(10_000)


async def states(here: World) -> list[str]:
    return [r["state"] for r in await here.rows("SELECT state FROM slack_previews ORDER BY part")]


async def lose_the_lease(here: World) -> None:
    """Hands the session to another process while its holder still works."""
    await here.connection.execute(
        "UPDATE agent_sessions SET lease_owner = NULL, lease_expires_at = NULL, ready_at = now()"
    )


# ------------------------------------------------------------------ another process


async def test_after_a_clean_stop_the_next_process_finishes_the_same_message(here: World):
    async with here.app():
        asked = await begun(here)
    (stream,) = messages(here, asked)
    assert stream.streaming_state == "in_progress"
    async with here.app():
        go_on(here)
        done = await answered(here, asked, SLOW)
    assert done.ts == stream.ts
    assert (calls(here)[START], calls(here)[POST], calls(here)[LIST]) == (1, 0, 0)


async def test_a_process_that_takes_over_finishes_the_same_message(here: World):
    async with here.app(), here.app():
        asked = await begun(here)
        (stream,) = messages(here, asked)
        await lose_the_lease(here)
        await eventually(lambda: claimed_anew(here))
        go_on(here)
        done = await answered(here, asked, SLOW)
    assert done.ts == stream.ts
    assert calls(here)[START] == 1


async def claimed_anew(here: World) -> bool:
    session = await here.session()
    return bool(session["lease_epoch"] > 1 and session["lease_owner"])


async def test_a_stop_during_the_start_leaves_no_second_message(here: World):
    here.slack.fault("stall_after", method=START, seconds=600)
    async with here.app():
        here.runtime.world.pace.set_rate(0)
        asked = await ask(here, "!slow 24")
        await words_come(here, 3)
        (stream,) = await eventually(lambda: messages(here, asked))
    assert await states(here) == ["starting"]
    async with here.app():
        go_on(here)
        done = await answered(here, asked, SLOW)
    assert done.ts == stream.ts
    assert calls(here)[START] == 0  # it was never answered
    assert await states(here) == ["open"]


async def test_a_start_that_a_lost_lease_cuts_off_is_found_by_the_next_holder(here: World):
    here.slack.fault("stall_after", method=START, seconds=600)
    async with here.app(), here.app():
        here.runtime.world.pace.set_rate(0)
        asked = await ask(here, "!slow 24")
        await words_come(here, 3)
        (stream,) = await eventually(lambda: messages(here, asked))
        await lose_the_lease(here)
        await eventually(lambda: claimed_anew(here))
        go_on(here)
        done = await answered(here, asked, SLOW)
    assert done.ts == stream.ts
    assert await states(here) == ["open"]


_LOSE_THE_LEASE_AT_THE_START = """
CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE agent_sessions SET lease_epoch = lease_epoch + 1, lease_owner = NULL,
        lease_expires_at = NULL, ready_at = now() WHERE id = NEW.session_id;
    RETURN NEW;
END $$;
CREATE TRIGGER lose BEFORE INSERT ON slack_previews FOR EACH ROW EXECUTE FUNCTION lose();
"""


async def test_a_stream_whose_place_cannot_be_stored_is_taken_away_by_its_starter(here: World):
    await here.connection.execute(_LOSE_THE_LEASE_AT_THE_START)
    async with here.app():
        here.runtime.world.pace.set_rate(0)
        asked = await ask(here, "!slow 24")
        await words_come(here, 3)
        await eventually(lambda: calls(here)["chat.delete"])
        assert not messages(here, asked)
        go_on(here)
        done = await answered(here, asked, SLOW)
    assert done.streaming_state is None
    assert await states(here) == ["lost"]


async def test_an_answer_in_parts_goes_on_after_a_handover_without_a_gap(
    here: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("bot.streams._PART_BYTES", 500)
    async with here.app():
        asked = await begun(here)
        await words_come(here, 12)
        await eventually(lambda: len(messages(here, asked)) == 2)
    async with here.app():
        go_on(here)
        await here.at_rest()
    parts = here.shown(asked.channel, asked.ts)
    assert len(parts) == 2
    assert " ".join(parts) == SLOW
    assert {m.streaming_state for m in messages(here, asked)} == {"completed"}


# ------------------------------------------------------------------ a turn that does not get there


async def test_a_turn_that_fails_ends_its_stream_and_leaves_what_was_shown(
    here: World, monkeypatch: pytest.MonkeyPatch
):
    def parts(_self: SlackConversation, _markdown: str, **_more: str) -> list[str]:
        raise ZeroDivisionError("a bug of ours")

    async with here.app():
        asked = await begun(here)
        monkeypatch.setattr(SlackConversation, "parts", parts)
        go_on(here)
        words, notice = await here.answers(asked.channel, asked.ts, 2)
    assert SLOW.startswith(words)
    assert notice == notices.words(Trouble.FAILED)
    assert messages(here, asked)[0].streaming_state == "completed"


async def test_a_session_that_is_lost_ends_its_stream_and_the_message_is_answered_anew(
    here: World,
):
    async with here.app():
        asked = await begun(here)
        (lost,) = here.runtime.sessions()
        here.runtime.fault("cut_stream", session_id=lost["id"], event_type="agent.message")
        here.runtime.fault("gone", session_id=lost["id"], times=None)
        go_on(here)
        words, told, answer = await here.answers(asked.channel, asked.ts, 3)
    assert SLOW.startswith(words)
    assert (told, answer[:10]) == (notices.words(Trouble.CONTEXT_LOST), SLOW[:10])
    assert {m.streaming_state for m in messages(here, asked)} <= {None, "completed"}


async def test_a_turn_that_fails_during_the_start_leaves_no_stream_open(here: World):
    here.slack.fault("stall_after", method=START, seconds=600)
    async with here.app():
        here.runtime.world.pace.set_rate(0)
        asked = await ask(here, "!slow 24")
        await words_come(here, 3)
        await eventually(lambda: messages(here, asked))
        (lost,) = here.runtime.sessions()
        here.runtime.fault("cut_stream", session_id=lost["id"], event_type="agent.message")
        here.runtime.fault("gone", session_id=lost["id"], times=None)
        go_on(here)
        await here.answers(asked.channel, asked.ts, 3)
    assert {m.streaming_state for m in messages(here, asked)} <= {None, "completed"}


async def test_what_a_failed_request_began_to_say_is_replaced_by_the_next(here: World):
    """A runtime that restarts closes the request as failed and makes it anew."""
    async with here.app():
        asked = await begun(here)
        (session,) = here.runtime.world.sessions.values()
        span = session.live.turn and session.live.turn.span
        session.log.emit("span.model_request_end", model_request_start_id=span, is_error=True)
        here.runtime.world.commit(session)
        go_on(here)
        await answered(here, asked, SLOW)

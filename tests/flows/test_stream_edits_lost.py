"""Answers of Slack that are lost, and holders that change, while an answer is posted and edited."""

from typing import Any

import pytest

from bot import edits
from router.runtime.local.brain import pieces
from tests.flows.streams import (
    LIST,
    POST,
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
    words_come,
)
from tests.harness import World
from tests.support import eventually

SLOW = said("!slow")
DELETE = "chat.delete"
ALL_THAT_CAME = len("".join(pieces(SLOW)[:3]).split())  # of an answer that has just begun


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicken(monkeypatch)


# ------------------------------------------------------------------ answers of Slack that are lost

LOST: dict[str, dict[str, Any]] = {
    "cut off": {"kind": "drop_after"},
    "broken": {"kind": "error_after", "status": 503},
}
NEVER: dict[str, dict[str, Any]] = {
    "cut off": {"kind": "drop_before"},
    "broken": {"kind": "error_before", "status": 502},
}


@pytest.mark.parametrize("stale", [False, True])
@pytest.mark.parametrize("fault", LOST.values(), ids=LOST)
async def test_after_an_unclear_post_nothing_more_is_shown_and_the_end_finds_it(
    here: World, fault: dict[str, Any], *, stale: bool
):
    here.slack.fault(method=POST, **fault)
    if stale:
        here.slack.fault("stale", seconds=600, times=1)
    async with here.app():
        await no_stream(here)
        asked = await ask(here, "!slow 1")
        post = await grown(here, asked, 1)
        done = await answered(here, asked, SLOW)
    assert done.ts == post.ts
    made = calls(here)
    assert (made[UPDATE], made[LIST]) == (1, 2 if stale else 1)
    assert await states(here) == ["open"]


@pytest.mark.parametrize("fault", NEVER.values(), ids=NEVER)
async def test_a_post_that_never_came_is_looked_for_twice_and_the_answer_is_posted(
    here: World, fault: dict[str, Any]
):
    here.slack.fault(method=POST, **fault)
    async with here.app():
        await no_stream(here)
        asked = await ask(here, "!slow 1")
        await answered(here, asked, SLOW)
    assert (calls(here)[UPDATE], calls(here)[LIST]) == (0, 2)
    assert await states(here) == ["lost"]


@pytest.mark.parametrize("fault", [*LOST.values(), *NEVER.values()])
async def test_after_an_unclear_edit_the_answer_is_posted_anew(here: World, fault: dict[str, Any]):
    """The edit may still arrive: in a message that is gone it does no harm."""
    async with here.app():
        await no_stream(here)
        asked, post = await begun(here)
        here.slack.fault(method=UPDATE, **fault)
        await words_come(here, 3)
        await eventually(lambda: is_in_doubt(here))
        go_on(here)
        done = await answered(here, asked, SLOW)
    assert done.ts != post.ts
    assert (calls(here)[POST], calls(here)[DELETE]) == (2, 1)


async def is_in_doubt(here: World) -> bool:
    return await states(here) == ["closed"]


async def test_a_limit_on_edits_is_waited_for_and_the_final_text_is_the_first_after_it(here: World):
    async with here.app():
        await no_stream(here)
        asked, post = await begun(here)
        here.slack.fault("ratelimit", method=UPDATE, retry_after=1)
        await words_come(here, 6)
        await eventually(lambda: limited(here))
        go_on(here)
        done = await answered(here, asked, SLOW)
    assert done.ts == post.ts
    (refused,) = limited(here)
    later = [c.at for c in here.slack.calls if c.method == UPDATE and c.at > refused]
    assert later[0] - refused > 0.9


def limited(here: World) -> list[float]:
    return [call.at for call in here.slack.calls if call.status == 429]


@pytest.mark.parametrize("error", ["ratelimit", "invalid_blocks", "msg_blocks_too_many"])
async def test_a_post_that_slack_does_not_take_leaves_the_answer_to_be_posted(
    here: World, error: str
):
    if error == "ratelimit":
        here.slack.fault("ratelimit", method=POST, retry_after=1)
    else:
        here.slack.fault("api_error", method=POST, error=error)
    async with here.app():
        await no_stream(here)
        asked = await ask(here, "!slow 1")
        await answered(here, asked, SLOW)
    assert calls(here)[UPDATE] == 0
    assert await states(here) == ["lost"]


# ------------------------------------------------------------------ another holder


async def test_a_process_that_takes_over_finishes_the_same_post(here: World):
    async with here.app():
        await no_stream(here)
        asked, post = await begun(here)
    async with here.app():
        go_on(here)
        done = await answered(here, asked, SLOW)
    assert done.ts == post.ts
    assert (calls(here)[POST], calls(here)[LIST]) == (1, 0)


@pytest.mark.parametrize("how", ["stopped", "lost its lease"])
async def test_a_post_whose_ts_was_not_stored_is_found_by_the_next_holder(here: World, how: str):
    here.slack.fault("stall_after", method=POST, seconds=600)
    async with here.app():
        await no_stream(here)
        here.runtime.world.pace.set_rate(0)
        asked = await ask(here, "!slow 24")
        await words_come(here, 3)
        (post,) = await eventually(lambda: messages(here, asked))
        assert await states(here) == ["starting"]
        if how == "lost its lease":
            await lose_the_lease(here)
    async with here.app():
        go_on(here)
        done = await answered(here, asked, SLOW)
    assert done.ts == post.ts
    assert calls(here)[POST] == 0  # it was never answered
    assert await states(here) == ["open"]


async def lose_the_lease(here: World) -> None:
    """The session is another's, and its holder has not heard of it."""
    await here.connection.execute(
        "UPDATE agent_sessions SET lease_epoch = lease_epoch + 1, lease_owner = 'another',"
        " lease_expires_at = now() + interval '2 seconds'"
    )


_LOSE_THE_LEASE_AT_THE_START = """
CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    UPDATE agent_sessions SET lease_epoch = lease_epoch + 1, lease_owner = NULL,
        lease_expires_at = NULL, ready_at = now() WHERE id = NEW.session_id;
    RETURN NEW;
END $$;
CREATE TRIGGER lose BEFORE INSERT ON slack_previews FOR EACH ROW EXECUTE FUNCTION lose();
"""


async def test_a_post_whose_place_cannot_be_stored_is_taken_away_by_its_maker(here: World):
    await here.connection.execute(_LOSE_THE_LEASE_AT_THE_START)
    async with here.app():
        await no_stream(here)
        here.runtime.world.pace.set_rate(0)
        asked = await ask(here, "!slow 24")
        await words_come(here, 3)
        await eventually(lambda: calls(here)[DELETE])
        assert not messages(here, asked)
        go_on(here)
        await answered(here, asked, SLOW)
    assert (calls(here)[STOP], await states(here)) == (0, ["lost"])


async def test_a_holder_whose_lease_has_passed_on_edits_nothing(here: World):
    async with here.app() as app:
        await no_stream(here)
        asked, _ = await begun(here)
        await grown(here, asked, ALL_THAT_CAME)  # else an edit could be under way
        await lose_the_lease(here)
        made = calls(here)[UPDATE]
        await words_come(here, 3)
        await eventually(lambda: not app.worker._live or calls(here)[UPDATE] > made)
        assert calls(here)[UPDATE] == made
        go_on(here)
        await answered(here, asked, SLOW)


async def test_an_edit_under_way_when_its_process_stops_does_not_undo_the_final_text(
    here: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(edits, "_EDIT_GAP_SECONDS", 0.01)
    async with here.app():
        await no_stream(here)
        asked, _ = await begun(here)
        here.slack.fault("stall_before", method=UPDATE, seconds=2)  # of the five that a call has
        await words_come(here, 3)
        await eventually(lambda: not here.slack.workspace.faults._orders, says="a stalled edit")
    async with here.app():
        go_on(here)
        await answered(here, asked, SLOW)
        await eventually(lambda: calls(here)[UPDATE] >= 2, says="the edit and the final text")
        await answered(here, asked, SLOW)

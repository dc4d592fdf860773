"""What the runtime is late to show, or late to do: found, waited for, or counted where it was not."""

from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from bot import ground
from bot.app import App
from bot.local.model import Message
from router.clock import Backoff
from router.runtime.feed import _Feed
from router.turns import ending
from router.turns.project import Event
from tests.harness import TIMING, World
from tests.support import eventually

# Whoever has to wait for its next look at the history waits longer than a test does.
UNSETTLED = replace(TIMING, settle=30.0, quiet=60.0)
TOOL_ANSWER = "Let me use bash.\n\nbash is done, and this is what it gave."


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime is tried again at once."""
    monkeypatch.setattr(ending, "_RUNTIME_BACKOFF", Backoff(first=0.05, most=0.1))


async def ask(here: World, text: str = "hello") -> Message:
    return await here.slack.say("ada", here.slack.dm("ada"), text)


# ------------------------------------------------------------------ an end, and what was before it


async def half_done(here: World) -> Message:
    """A turn whose holder left before its first answer, which the runtime has given meanwhile."""
    async with here.app():
        here.runtime.hold()
        asked = await ask(here, "!tool")
        await eventually(here.runtime.held)
    here.runtime.release()
    here.runtime.hold()
    await eventually(lambda: "agent.message" in kinds(here) and here.runtime.held())
    return asked


def kinds(here: World) -> list[str]:
    (session,) = here.runtime.sessions()
    return [event["type"] for event in here.runtime.events(session["id"])]


def from_the_answer_on(here: World) -> int:
    """How many events the history must lack so that the first answer is among them."""
    return len(kinds(here)) - kinds(here).index("agent.message")


async def test_an_end_soon_after_an_attach_waits_for_what_the_history_was_late_to_show(here: World):
    """The first answer came before the stream was open, and the listing did not show it yet."""
    asked = await half_done(here)
    late = here.runtime.fault("history_lag", events=from_the_answer_on(here))
    async with here.app(timing=UNSETTLED):
        await eventually(lambda: late.hits)
        here.runtime.release()
        assert await here.answers(asked.channel, asked.ts, 1) == [TOOL_ANSWER]
    assert [turn["state"] for turn in await here.turns()] == ["completed"]


async def test_where_the_next_listing_is_late_too_there_is_another(
    here: World, monkeypatch: pytest.MonkeyPatch
):
    look_behind = _Feed._look_behind

    async def soon(feed: _Feed, end: Event) -> None:
        feed._settle = 0.05  # from the first look to the second; nobody looks before that
        await look_behind(feed, end)

    monkeypatch.setattr(_Feed, "_look_behind", soon)
    asked = await half_done(here)
    lacking = from_the_answer_on(here)
    before = here.runtime.requests("events.list")
    late = here.runtime.fault("history_lag", events=lacking)
    async with here.app(timing=UNSETTLED):
        await eventually(lambda: late.hits)
        # what comes until the end is not more than these
        later = here.runtime.fault("history_lag", events=lacking + 9)
        here.runtime.release()
        assert await here.answers(asked.channel, asked.ts, 1) == [TOOL_ANSWER]
    assert later.hits == 1
    assert here.runtime.requests("events.list") - before == 3


async def test_a_listing_that_fails_at_the_end_is_made_up_for(here: World):
    asked = await half_done(here)
    late = here.runtime.fault("history_lag", events=from_the_answer_on(here))
    async with here.app(timing=UNSETTLED):
        await eventually(lambda: late.hits)
        failed = here.runtime.fault("server_error", route="events.list")
        here.runtime.release()
        assert await here.answers(asked.channel, asked.ts, 1) == [TOOL_ANSWER]
    assert failed.hits == 1


async def test_a_turn_that_was_listened_to_from_its_beginning_is_listed_once(here: World):
    """And not at all where its session has just been made: there is nothing to list."""
    async with here.app(timing=UNSETTLED):
        asked = await ask(here, "!tool")
        assert await here.answers(asked.channel, asked.ts, 1) == [TOOL_ANSWER]
        assert here.runtime.requests("events.list") == 0
        await here.slack.say("ada", asked.channel, "!tool", thread_ts=asked.ts)
        assert await here.answers(asked.channel, asked.ts, 2) == [TOOL_ANSWER] * 2
    assert here.runtime.requests("events.list") == 1


async def test_a_new_session_whose_stream_breaks_off_is_listed_from_then_on(here: World):
    cut = here.runtime.fault("cut_stream", event_type="agent.message")
    async with here.app(timing=replace(UNSETTLED, settle=600.0)):
        asked = await ask(here, "!tool")
        assert await here.answers(asked.channel, asked.ts, 1) == [TOOL_ANSWER]
    assert (cut.hits, here.runtime.requests("events.list")) == (1, 1)


async def test_a_turn_whose_send_was_put_off_is_listed_by_the_next_holder(here: World):
    put_off = here.runtime.fault("rate_limit", route="events.send")
    async with here.app(timing=UNSETTLED):
        asked = await ask(here, "!tool")
        assert await here.answers(asked.channel, asked.ts, 1) == [TOOL_ANSWER]
    assert put_off.hits == 1
    assert here.runtime.requests("events.list") == 1


# ------------------------------------------------------------------ what is known not to have happened


async def test_a_session_that_was_not_made_is_not_looked_for(here: World):
    busy = here.runtime.fault("rate_limit", route="sessions.create")
    async with here.app():
        asked = await ask(here)
        assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "hello"']
    assert busy.hits == 1
    assert here.runtime.requests("sessions.list") == 0


async def test_a_session_that_was_refused_is_not_looked_for(here: World):
    no = here.runtime.fault("refused", route="sessions.create")
    async with here.app():
        asked = await ask(here)
        await here.answers(asked.channel, asked.ts, 1)
        assert (await here.session())["create_started_at"] is None
        await here.slack.say("ada", asked.channel, "again", thread_ts=asked.ts)
        assert (await here.answers(asked.channel, asked.ts, 2))[1] == 'You said: "again"'
    assert no.hits == 1
    assert here.runtime.requests("sessions.list") == 0


async def test_a_session_that_may_have_been_made_before_is_still_looked_for(here: World):
    """Its making was lost, and the next try was put off: the one after that looks once more."""
    lost = here.runtime.fault("drop_before", route="sessions.create")
    async with here.app():
        asked = await ask(here)
        await eventually(lambda: lost.hits)
        busy = here.runtime.fault("rate_limit", route="sessions.create")
        # the second failure in a row is said
        assert (await here.answers(asked.channel, asked.ts, 2))[1] == 'You said: "hello"'
    assert busy.hits == 1
    assert here.runtime.requests("sessions.list") == 6
    assert (await here.session())["create_started_at"] is None


# ------------------------------------------------------------------ the two windows of engine.md 7


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request is given up sooner, and what became of it is looked for at once.

    What is given up sooner still on a busy machine is no fault of the test's.
    """
    monkeypatch.setattr(ground, "_MOST_SEND_SECONDS", 1.5)


QUICK = replace(TIMING, settle=0.05, grace=0.05, quiet=60.0)  # no listing more than is counted


def copies(here: World, text: str = "hello") -> int:
    """How often the runtime received that message."""
    return here.sent_texts().count(text)


def counted(app: App) -> dict[str, float]:
    """What the process counted as doubled, by where."""
    name = "threadline_doubles_total"
    read = app.metrics.registry.get_sample_value
    return {where: read(name, {"where": where}) or 0.0 for where in ("runtime", "slack")}


async def answered(here: World, asked: Message, text: str, count: int) -> None:
    posts = await here.answers(asked.channel, asked.ts, count)
    assert posts[-1] == f'You said: "{text}"'


@pytest.mark.usefixtures("impatient")
async def test_a_send_that_takes_effect_after_all_looks_doubles_the_message_and_is_counted(
    here: World,
):
    """The first window, with the late copy after the turn's end: the next turn finds it."""
    late = here.runtime.fault("late_effect", route="events.send", seconds=600)
    with capture_logs() as logged:
        async with here.app(timing=QUICK) as app:
            asked = await ask(here)
            await answered(here, asked, "hello", 1)
            assert (late.hits, copies(here)) == (1, 1)
            here.runtime.advance(600)
            await eventually(lambda: copies(here) == 2 and kinds(here)[-1].endswith("idle"))
            assert counted(app) == {"runtime": 0, "slack": 0}
            await here.slack.say("ada", asked.channel, "again", thread_ts=asked.ts)
            # the answer that nobody asked for a second time is not shown
            await answered(here, asked, "again", 2)
            assert counted(app) == {"runtime": 1, "slack": 0}
            await here.slack.say("ada", asked.channel, "and again", thread_ts=asked.ts)
            await answered(here, asked, "and again", 3)
            assert counted(app) == {"runtime": 1, "slack": 0}
    (doubled,) = [line for line in logged if line["event"] == "send.doubled"]
    (said,) = await here.rows("SELECT id FROM session_inputs ORDER BY order_key LIMIT 1")
    assert (doubled["log_level"], doubled["input_id"]) == ("warning", str(said["id"]))
    assert [turn["state"] for turn in await here.turns()] == ["completed"] * 3


@pytest.mark.usefixtures("impatient")
async def test_a_late_copy_in_the_middle_of_the_turn_is_answered_in_the_same_reply(here: World):
    """The first window, with the late copy before the turn's end: the turn finds it itself."""
    here.runtime.hold()
    late = here.runtime.fault("late_effect", route="events.send", seconds=600)
    async with here.app(timing=QUICK) as app:
        asked = await ask(here)
        await eventually(here.runtime.held)
        here.runtime.advance(600)
        await eventually(lambda: copies(here) == 2)
        here.runtime.release()
        posts = await here.answers(asked.channel, asked.ts, 1)
        assert counted(app)["runtime"] == 1
        await here.slack.say("ada", asked.channel, "again", thread_ts=asked.ts)
        await answered(here, asked, "again", 2)
        assert counted(app)["runtime"] == 1
    assert posts == ['You said: "hello"\n\nYou said: "hello"']
    assert late.hits == 1


@pytest.mark.usefixtures("impatient")
async def test_a_message_that_no_look_showed_is_doubled_and_counted(here: World):
    """The second window: the answer is lost, and the history shows the message to nobody in time."""
    here.runtime.hold()
    lost = here.runtime.fault("drop_after", route="events.send")
    unseen = here.runtime.fault("history_lag", route="events.list", events=99, times=None)
    async with here.app(timing=QUICK) as app:
        asked = await ask(here)
        await eventually(lambda: copies(here) == 2)
        here.runtime.clear_faults()
        here.runtime.release()
        # the first copy was over before anybody listened, so its answer is nowhere to be seen
        await answered(here, asked, "hello", 1)
        for posts, text in enumerate(("again", "and again"), start=2):
            await here.slack.say("ada", asked.channel, text, thread_ts=asked.ts)
            await answered(here, asked, text, posts)
            assert counted(app)["runtime"] == 1
    # twice for the lost send, once more when attached again
    assert (lost.hits, unseen.hits) == (1, 3)


@pytest.mark.usefixtures("impatient")
async def test_a_message_that_shows_when_it_is_to_be_sent_again_is_not(here: World):
    """Both looks came too early; the listing of the next attach did not."""
    unseen = here.runtime.fault("history_lag", route="events.list", events=99, times=2)
    lost = here.runtime.fault("drop_after", route="events.send")
    async with here.app(timing=QUICK) as app:
        asked = await ask(here)
        await answered(here, asked, "hello", 1)
        assert counted(app)["runtime"] == 0
    assert (lost.hits, unseen.hits, copies(here)) == (1, 2, 1)


@pytest.mark.usefixtures("impatient")
async def test_a_session_that_was_made_twice_is_archived_and_counted(here: World):
    """The first window, for a create whose next try took effect as well, and was lost too."""
    late = here.runtime.fault("late_effect", route="sessions.create", seconds=600)
    lost = here.runtime.fault("stall", route="sessions.create", seconds=6000)
    async with here.app(timing=QUICK) as app:
        asked = await ask(here)
        await eventually(lambda: lost.hits)
        here.runtime.advance(600)
        await answered(here, asked, "hello", 1)
        assert late.hits == 1
        assert counted(app) == {"runtime": 1, "slack": 0}
    assert [s["archived_at"] is not None for s in here.runtime.sessions()] == [False, True]
    assert copies(here) == 1


# ------------------------------------------------------------------ taken back before it was sent


async def test_a_turn_whose_message_is_taken_back_while_its_send_is_put_off_is_over(here: World):
    async with here.app():
        asked = await ask(here)
        await answered(here, asked, "hello", 1)
        busy = here.runtime.fault("rate_limit", route="events.send", retry_after=1.0)
        gone = await here.slack.say("ada", asked.channel, "no, wait", thread_ts=asked.ts)
        await eventually(lambda: busy.hits)
        await here.slack.delete(asked.channel, gone.ts)
        await here.at_rest()
        assert [t["stop_reason"] for t in await here.turns()] == ["end_turn", "withdrawn"]
        await eventually(lambda: here.slack.shown_status(asked.channel, asked.ts) == "active")
        await here.slack.say("ada", asked.channel, "again", thread_ts=asked.ts)
        await answered(here, asked, "again", 2)
    assert here.sent_texts() == ["hello", "again"]


async def test_what_follows_a_message_that_was_taken_back_is_answered(here: World):
    async with here.app():
        asked = await ask(here)
        await answered(here, asked, "hello", 1)
        busy = here.runtime.fault("rate_limit", route="events.send", retry_after=1.0)
        gone = await here.slack.say("ada", asked.channel, "no, wait", thread_ts=asked.ts)
        await eventually(lambda: waits(here))
        await here.slack.delete(asked.channel, gone.ts)
        await here.slack.say("ada", asked.channel, "again", thread_ts=asked.ts)
        await answered(here, asked, "again", 2)
    assert busy.hits == 1
    assert here.sent_texts() == ["hello", "again"]


async def waits(here: World) -> bool:
    """Whether the session was handed back, to be tried again later."""
    session = await here.session()
    return bool(session["lease_owner"] is None and session["failures"])

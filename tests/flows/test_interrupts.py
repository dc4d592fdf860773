"""A Stop under way: nothing is sent that it could stop, it comes quickly, and Slack's own is one."""

from dataclasses import replace
from typing import Any

import pytest

from bot.local.faults import ApiFault
from bot.local.model import Message
from router.turns.worker import Wakes, Worker
from tests.flows.streams import ask, messages, quicken, said, streaming, words_come
from tests.harness import TIMING, World
from tests.support import eventually

INGRESS = frozenset({"ingress"})
WORKER = frozenset({"worker", "delivery"})
# One look at the history after a second without events, the next one after two more.
LOOKS = replace(TIMING, settle=1.0, quiet=1.0)


async def working(here: World, text: str = "first") -> Message:
    """A thread whose turn stands still at the runtime."""
    here.runtime.hold()
    asked = await ask(here, text)
    await eventually(here.runtime.held)
    return asked


def sent(here: World) -> list[str]:
    """The kinds of what the one runtime session received, in order."""
    (session,) = here.runtime.sessions()
    return [event["type"] for event in here.runtime.received(session["id"])]


async def stop_on_its_way(here: World, asked: Message) -> None:
    """The runtime has taken a Stop which has no effect yet."""
    here.runtime.hold_interrupts()
    await here.slack.say("grace", asked.channel, "stop", thread_ts=asked.ts)
    await eventually(lambda: "user.interrupt" in sent(here))


async def follow_up(here: World, asked: Message, text: str) -> None:
    """A message that is accepted while the turn is in flight."""
    said_so = await here.slack.say("ada", asked.channel, text, thread_ts=asked.ts)
    key = f"%:{said_so.ts}"
    query = "SELECT id FROM session_inputs WHERE dedupe_key LIKE $1"
    await eventually(lambda: here.rows(query, key), says="accepted")


async def looked(here: World) -> None:
    """The holder has listed the history once more, and acted on all that it had seen before."""
    before = here.runtime.requests("events.list")
    await eventually(lambda: here.runtime.requests("events.list") > before)


# ------------------------------------------------------------------ nothing follows it too early


async def test_what_waits_is_not_sent_before_the_stop_of_its_forerunner_is_done(here: World):
    async with here.app(timing=LOOKS):
        asked = await working(here)
        await stop_on_its_way(here, asked)
        await follow_up(here, asked, "next")
        here.runtime.release()
        await eventually(lambda: here.runtime.sessions()[0]["status"] == "idle")
        here.runtime.hold()  # what is sent now would stand still, to be stopped
        await looked(here)
        assert [turn["ended_at"] for turn in await here.turns()] == [None]
        assert here.sent_texts() == ["first"]
        here.runtime.release_interrupts()
        await eventually(lambda: here.sent_texts() == ["first", "next"])
        here.runtime.release()
        posts = await here.answers(asked.channel, asked.ts, 2)
    assert posts == ['You said: "first"', 'You said: "next"']
    assert [turn["state"] for turn in await here.turns()] == ["completed", "completed"]


async def test_two_looks_settle_a_stop_that_the_runtime_never_reads(here: World):
    async with here.app(timing=LOOKS):
        asked = await working(here)
        await stop_on_its_way(here, asked)
        await follow_up(here, asked, "next")
        here.runtime.release()
        posts = await here.answers(asked.channel, asked.ts, 2)
        assert posts == ['You said: "first"', 'You said: "next"']
    # nor does it hold up anything later, where nobody looks again before the test has failed
    async with here.app(timing=replace(TIMING, quiet=60.0)):
        await here.slack.say("ada", asked.channel, "and now?", thread_ts=asked.ts)
        await here.answers(asked.channel, asked.ts, 3)
    assert sent(here).count("user.interrupt") == 1


async def test_a_message_that_steers_does_not_overtake_a_stop(here: World):
    await here.connection.execute("UPDATE deployed_agents SET settings = $1", {"busy": "steer"})
    async with here.app(timing=LOOKS):
        asked = await working(here)
        await stop_on_its_way(here, asked)
        await follow_up(here, asked, "next")
        await looked(here)
        assert sent(here) == ["user.message", "user.interrupt"]
        here.runtime.release_interrupts()
        await eventually(lambda: sent(here).count("user.message") == 2)
        here.runtime.release()
        stopped, answer = await here.answers(asked.channel, asked.ts, 2)
    assert stopped.startswith("Stopped by grace.")
    assert answer == 'You said: "next"'
    assert sent(here) == ["user.message", "user.interrupt", "user.message"]
    assert [turn["state"] for turn in await here.turns()] == ["interrupted", "completed"]


# ------------------------------------------------------------------ it comes quickly


@pytest.mark.parametrize("hint", ["notified", "lost"])
async def test_a_stop_that_another_process_accepts_is_sent_within_a_second(
    here: World, monkeypatch: pytest.MonkeyPatch, hint: str
):
    """By what takes so long at most: nothing else comes before the test has failed."""
    if hint == "lost":  # then the once-a-second look at what is held finds it
        monkeypatch.setattr(Wakes, "tell", lambda *_: None)
    else:  # and nothing but the hint does
        monkeypatch.setattr(Worker, "_read_wakes", _nothing)
    deaf = replace(
        TIMING, quiet=60.0, disagree=60.0
    )  # and no look at the runtime's history finds it
    async with here.app(roles=WORKER, timing=deaf), here.app(roles=INGRESS):
        asked = await ask(here, "!slow 60")
        await eventually(lambda: messages(here, asked), says="words")  # all is sent long since
        await here.slack.say("grace", asked.channel, "stop", thread_ts=asked.ts)
        await here.answers(asked.channel, asked.ts, 2)
    row = await here.row("SELECT state FROM session_inputs WHERE kind = 'interrupt'")
    assert row["state"] == "done"


async def _nothing(_: Worker) -> None:
    pass


async def test_a_stop_after_the_end_does_nothing_wherever_it_is_accepted(here: World):
    async with here.app(), here.app(roles=INGRESS):
        asked = await ask(here, "hello")
        await here.answers(asked.channel, asked.ts, 1)
        await here.slack.stop("ada", asked.channel, asked.ts)
        await here.slack.say("ada", asked.channel, "stop", thread_ts=asked.ts)
        await here.answers(asked.channel, asked.ts, 1)
        await here.slack.say("ada", asked.channel, "and now?", thread_ts=asked.ts)
        posts = await here.answers(asked.channel, asked.ts, 2)
    assert posts[1] == 'You said: "and now?"'
    assert sent(here) == ["user.message", "user.message"]
    assert here.slack.ephemerals == []


# ------------------------------------------------------------------ Slack's own


@pytest.fixture
def stream(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers are streamed at once, and their time stands still."""
    quicken(monkeypatch)
    here.runtime.world.pace.set_rate(0)


TROUBLES: tuple[tuple[str, ApiFault], ...] = (
    ("chat.stopStream", "drop_before"),
    ("chat.stopStream", "drop_after"),
    ("chat.stopStream", "error_after"),
    ("chat.stopStream", "ratelimit"),
    ("chat.postMessage", "drop_after"),
)


@pytest.mark.usefixtures("stream")
@pytest.mark.parametrize(("method", "kind"), TROUBLES)
async def test_a_stream_that_slack_stopped_is_closed_once_whatever_its_calls_meet(
    here: World, method: str, kind: Any
):
    """Slack tells its stop three times over; the stream was ended by Slack before that."""
    async with here.app():
        asked = await ask(here, "!slow 30")
        await eventually(here.runtime.sessions)
        await words_come(here, 3)
        shown = await streaming(here, asked)
        here.slack.fault(kind, method=method)
        assert await here.slack.stop("grace", asked.channel, asked.ts) == [shown.ts]
        await words_come(here, 0)
        (told,) = [
            one
            for one in here.slack.envelopes(asked.ts)
            if one["event"]["type"] == "agent_session_stopped"
        ]
        for _ in range(2):
            assert await here.slack.deliver(told) == 200
        await here.answers(asked.channel, asked.ts, 2)
        await eventually(lambda: here.slack.shown_status(asked.channel, asked.ts) == "active")
    stopped, notice = messages(here, asked)
    assert stopped.ts == shown.ts
    assert stopped.streaming_state == "completed"
    assert said("!slow 30").startswith(stopped.text)
    assert notice.text.startswith("Stopped by grace.")
    assert sent(here) == ["user.message", "user.interrupt"]
    left = await here.rows("SELECT * FROM slack_outbox WHERE state <> 'sent'")
    assert not left


@pytest.mark.usefixtures("stream")
async def test_words_that_come_after_slack_stopped_the_stream_are_not_shown(here: World):
    """The interrupt takes its time, the answer goes on meanwhile: appends meet `stopped_by_user`."""
    async with here.app():
        asked = await ask(here, "!slow 30")
        await eventually(here.runtime.sessions)
        await words_come(here, 3)
        shown = await streaming(here, asked)
        here.runtime.hold_interrupts()
        await here.slack.stop("grace", asked.channel, asked.ts)
        text = messages(here, asked)[0].text
        await words_come(here, 3)
        refused = [call for call in here.slack.calls if call.method == "chat.appendStream"]
        await words_come(here, 3)
        here.runtime.release_interrupts()
        await here.answers(asked.channel, asked.ts, 2)
    stopped, notice = messages(here, asked)
    assert (stopped.ts, stopped.text) == (shown.ts, text)
    assert notice.text.startswith("Stopped by grace.")
    late = [call for call in here.slack.calls if call.method == "chat.appendStream"]
    assert len(late) <= len(refused) + 1

"""How an agent behaves by its settings, per agent and per channel."""

from dataclasses import replace
from math import inf
from typing import Any

import pytest

from bot import admin
from bot.local.model import Message
from router.clock import Backoff
from router.errors import ConfigurationError
from router.turns import ending, run
from tests.flows.streams import (
    answered,
    ask,
    messages,
    quicken,
    said,
    streaming,
    words_come,
)
from tests.harness import TIMING, World, shown
from tests.support import eventually

# A send's deadline is half the lease, and what became of it is looked up only after that.
QUICK = replace(TIMING, lease=1.6)
LOST = ["drop_after", "drop_before", "server_error", "unavailable", "stall", "silence"]


async def set_to(here: World, **settings: Any) -> None:
    await here.connection.execute("UPDATE deployed_agents SET settings = $1", settings)


async def working(here: World, channel: str = "general") -> Message:
    here.runtime.hold()
    asked = await here.slack.say("ada", channel, "@threadline first")
    await eventually(here.runtime.held)
    return asked


def sent(here: World) -> list[str]:
    """The kinds of what the one runtime session received, in order."""
    (session,) = here.runtime.sessions()
    return [event["type"] for event in here.runtime.received(session["id"])]


def methods(here: World) -> set[str]:
    return {call.method for call in here.slack.calls}


# ------------------------------------------------------------------ steer


async def test_a_message_that_steers_joins_the_turn_in_one_request(here: World):
    await set_to(here, busy="steer")
    async with here.app():
        asked = await working(here)
        before = here.runtime.requests("events.send")
        await here.slack.say("grace", asked.channel, "no, this", thread_ts=asked.ts)
        await eventually(lambda: sent(here)[1:] == ["user.interrupt", "user.message"])
        assert here.runtime.requests("events.send") == before + 1
        await here.slack.settle()
        here.runtime.release()
        assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "no, this"']
    (turn,) = await here.turns()
    assert turn["state"] == "completed"
    assert "reactions.add" not in methods(here)
    states = await here.rows("SELECT state, turn_id FROM session_inputs")
    assert states == [{"state": "done", "turn_id": turn["id"]}] * 2


async def test_a_stop_after_a_steer_stops_the_turn(here: World):
    await set_to(here, busy="steer")
    async with here.app():
        asked = await working(here)
        await here.slack.say("grace", asked.channel, "no, this", thread_ts=asked.ts)
        await eventually(lambda: sent(here).count("user.interrupt") == 1)
        await here.slack.say("ada", asked.channel, "stop", thread_ts=asked.ts)
        await eventually(lambda: sent(here).count("user.interrupt") == 2)
        (notice,) = await here.answers(asked.channel, asked.ts, 1)
    assert notice.startswith("Stopped by ada.")
    assert [turn["state"] for turn in await here.turns()] == ["interrupted"]


@pytest.mark.parametrize("kind", LOST)
async def test_a_steer_whose_answer_is_lost_is_one_interrupt_and_one_message(
    here: World, monkeypatch: pytest.MonkeyPatch, kind: Any
):
    monkeypatch.setattr(ending, "_RUNTIME_BACKOFF", Backoff(first=0.05, most=0.1))
    await set_to(here, busy="steer")
    async with here.app(timing=QUICK):
        asked = await working(here)
        fault = here.runtime.fault(kind, route="events.send", seconds=600)
        await here.slack.say("grace", asked.channel, "no, this", thread_ts=asked.ts)
        await joined_once(here, asked)
    assert fault.hits == 1


@pytest.mark.parametrize("kind", ["silence", "stall"])
async def test_a_steer_whose_sender_is_gone_is_one_interrupt_and_one_message(
    here: World, kind: Any
):
    """The holder ends while its request is out: it never arrived, or took effect unanswered."""
    await set_to(here, busy="steer")
    async with here.app():
        asked = await working(here)
        fault = here.runtime.fault(kind, route="events.send", seconds=600)
        await here.slack.say("grace", asked.channel, "no, this", thread_ts=asked.ts)
        await eventually(lambda: fault.hits == 1)
    await left_in_doubt(here)
    async with here.app(timing=QUICK):
        await joined_once(here, asked)


async def left_in_doubt(here: World) -> None:
    """What was being sent is not known to have arrived, and no request of it is out any more."""
    states = await here.rows("SELECT state FROM session_inputs ORDER BY order_key")
    assert [row["state"] for row in states] == ["sent", "sending"]
    await here.connection.execute(
        "UPDATE session_inputs SET sending_deadline = now() WHERE state = 'sending'"
    )


async def test_a_lost_steer_that_finds_the_turn_ended_makes_the_next_one(here: World):
    await set_to(here, busy="steer")
    async with here.app():
        asked = await working(here)
        fault = here.runtime.fault("silence", route="events.send")
        await here.slack.say("grace", asked.channel, "no, this", thread_ts=asked.ts)
        await eventually(lambda: fault.hits == 1)
    await left_in_doubt(here)
    here.runtime.release()
    await eventually(lambda: here.runtime.sessions()[0]["status"] == "idle")
    async with here.app(timing=QUICK):
        posts = await here.answers(asked.channel, asked.ts, 2)
    assert posts == ['You said: "first"', 'You said: "no, this"']
    assert sent(here) == ["user.message", "user.message"]


async def joined_once(here: World, asked: Message) -> None:
    """The message joined the turn together with its interrupt, and there is one answer."""
    joined = ["user.message", "user.interrupt", "user.message"]
    await eventually(lambda: sent(here) == joined, says="a steer")
    here.runtime.release()
    assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "no, this"']
    assert sent(here) == joined
    assert [turn["state"] for turn in await here.turns()] == ["completed"]


# ------------------------------------------------------------------ steer, while words are seen


@pytest.fixture
def stream(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers are streamed at once, and their time stands still."""
    quicken(monkeypatch)
    here.runtime.world.pace.set_rate(0)


@pytest.mark.usefixtures("stream")
async def test_a_steer_in_the_middle_of_a_sentence_ends_as_one_exact_answer(here: World):
    await set_to(here, busy="steer")
    async with here.app():
        asked = await ask(here, "!slow 30")
        await eventually(here.runtime.sessions)
        await words_come(here, 3)
        stream = await streaming(here, asked, words=3)
        await here.slack.say("grace", asked.channel, "!slow 10", thread_ts=asked.ts)
        await eventually(lambda: sent(here).count("user.message") == 2)
        await words_come(here, 5)
        meanwhile = await eventually(lambda: goes_on(here, stream, " …\n\n"))
        assert said("!slow 30").startswith(meanwhile.partition(" …")[0])
        here.runtime.world.pace.set_rate(inf)
        done = await answered(here, asked, said("!slow 10"))
    assert done.ts == stream.ts
    assert [turn["state"] for turn in await here.turns()] == ["completed"]


def goes_on(here: World, stream: Message, after: str) -> str:
    """What a stream shows, once there is something behind these characters."""
    now = here.slack.workspace.state.message(stream.channel, stream.ts)
    return now.text if now is not None and now.text.partition(after)[2] else ""


@pytest.mark.usefixtures("stream")
async def test_a_steer_behind_a_full_message_leaves_the_new_answer_alone_and_whole(
    here: World, monkeypatch: pytest.MonkeyPatch
):
    """What was shown before reached into a second message; the new answer is as long as both."""
    monkeypatch.setattr("bot.streams._PART_BYTES", 600)
    await set_to(here, busy="steer")
    new = "\n\n".join(f"Paragraph {n} of the new answer." for n in range(60))
    async with here.app():
        asked = await ask(here, "!slow 60 2")
        await eventually(here.runtime.sessions)
        await words_come(here, 5)
        await streaming(here, asked)
        await words_come(here, 20)  # more than a message holds
        await eventually(lambda: len(messages(here, asked)) == 2, says="a second message")
        await here.slack.say("grace", asked.channel, f"!echo {new}", thread_ts=asked.ts)
        await answered(here, asked, new)


async def test_what_holds_in_one_channel_does_not_hold_in_another(here: World):
    await set_to(here, busy="steer", channels={here.slack.channels["random"]: {"busy": "queue"}})
    async with here.app():
        asked = await working(here, "random")
        await here.slack.say("grace", asked.channel, "second", thread_ts=asked.ts)
        await eventually(lambda: "reactions.add" in methods(here))
        here.runtime.release()
        await here.answers(asked.channel, asked.ts, 2)
    assert "user.interrupt" not in sent(here)


# ------------------------------------------------------------------ collect


async def test_quick_messages_are_collected_into_one_turn(here: World):
    await set_to(here, busy="collect", collect_seconds=60)
    async with here.app():
        asked = await here.slack.say("ada", "general", "@threadline one")
        await eventually(lambda: collecting(here), says="that more are waited for")
        for text in ("two", "three"):
            await here.slack.say("ada", asked.channel, text, thread_ts=asked.ts)
            await here.slack.settle()
            await eventually(lambda: collecting(here), says="that more are waited for")
        assert await here.turns() == []
        await a_minute_passes(here)
        posts = await here.answers(asked.channel, asked.ts, 1)
    assert posts == ['You said: "one" and "two" and "three"']
    assert len(await here.turns()) == 1


async def collecting(here: World) -> bool:
    """Whether somebody has looked, and will look again when nothing more has come."""
    return bool(
        await here.rows(
            "SELECT FROM agent_sessions WHERE lease_epoch > 0 AND lease_owner IS NULL"
            " AND ready_at > now() + interval '20 seconds'"
        )
    )


async def a_minute_passes(here: World) -> None:
    await here.connection.execute(
        "WITH said AS (UPDATE session_inputs SET accepted_at = accepted_at - interval '1 minute')"
        " UPDATE agent_sessions SET ready_at = ready_at - interval '1 minute'"
    )


async def test_whoever_never_pauses_is_answered_all_the_same(
    here: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(run, "_MOST_COLLECTING", 0)
    await set_to(here, busy="collect", collect_seconds=60)
    async with here.app():
        asked = await here.slack.say("ada", "general", "@threadline one")
        await here.answers(asked.channel, asked.ts, 1)


# ------------------------------------------------------------------ stream, footer


async def test_without_a_stream_the_answer_is_posted_whole(here: World):
    await set_to(here, stream=False)
    async with here.app():
        asked = await here.slack.say("ada", "general", "@threadline !slow 1")
        await here.answers(asked.channel, asked.ts, 1)
    assert "chat.startStream" not in methods(here)
    assert "chat.postMessage" in methods(here)


async def test_a_footer_stands_under_the_last_part_of_an_answer(here: World):
    await set_to(here, footer=True)
    async with here.app():
        asked = await here.slack.say("ada", "general", "@threadline !long 30")
        await eventually(lambda: len(here.bot_posts(asked.channel, asked.ts)) > 2, 30)
        await here.at_rest()
    *before, last = [m for m in here.slack.replies(asked.channel, asked.ts) if m.user != asked.user]
    usage = await here.row("SELECT cost_cents FROM agent_compute_usage")
    assert usage["cost_cents"] > 0
    assert last.blocks[-1]["type"] == "context"
    line = last.blocks[-1]["elements"][0]["text"]
    assert line.split(" · ")[0].endswith(" s")
    cost = float(usage["cost_cents"]) / 100
    assert float(line.split(" · $")[1]) == pytest.approx(cost, abs=0.00501 if cost > 0.01 else 6e-5)
    assert not any(" · $" in shown(message) for message in before)


async def test_a_turn_that_ends_in_trouble_has_no_footer(here: World):
    await set_to(here, footer=True)
    async with here.app():
        asked = await here.slack.say("ada", "general", "@threadline !refuse")
        await here.answers(asked.channel, asked.ts, 1)
    assert " · " not in here.shown(asked.channel, asked.ts)[0]


async def test_the_command_replaces_the_settings_of_an_agent(here: World):
    settings = here.settings(database_url=here.dsn)
    for wanted in ('{"busy": "steer", "footer": true}', '{"stream": false}'):
        await admin.set_agent(settings, None, "default", "demo", wanted)
    (listed,) = await admin.list_agents(settings, None)
    assert listed["settings"] == {"stream": False}
    for workspace, name, wanted, says in (
        ("nowhere", "demo", "{}", "no workspace 'nowhere'"),
        ("default", "nobody", "{}", "no agent 'nobody'"),
        ("default", "demo", '{"stream": "rarely"}', "^stream: "),
    ):
        with pytest.raises(ConfigurationError, match=says):
            await admin.set_agent(settings, None, workspace, name, wanted)


async def test_settings_that_cannot_be_read_mean_the_defaults(here: World):
    await set_to(here, busy="dance")
    async with here.app():
        asked = await working(here)
        waits = await here.slack.say("grace", asked.channel, "second", thread_ts=asked.ts)
        await eventually(lambda: "reactions.add" in methods(here))
        here.runtime.release()
        assert (await here.answers(asked.channel, asked.ts, 2))[1] == f'You said: "{waits.text}"'

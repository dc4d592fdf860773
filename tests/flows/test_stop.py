"""A Stop reaches the runtime, the thread says who stopped it, and nothing of it outlives the turn."""

from typing import Any

import pytest

from bot.local.model import Message
from router import notices
from router.notices import Trouble
from router.turns.worker import Wakes
from store import inputs
from store.database import Connection
from store.inputs import Input
from store.leases import Lease
from tests.harness import World
from tests.support import eventually

INGRESS = frozenset({"ingress"})
WORKER = frozenset({"worker", "delivery"})


async def working(here: World, text: str = "!slow 30"):
    asked = await here.slack.say("ada", "general", f"@threadline {text}")
    await eventually(lambda: here.bot_posts(asked.channel, asked.ts), says="a preview")
    return asked


def interrupts(here: World) -> int:
    return sum(
        event["type"] == "user.interrupt"
        for session in here.runtime.sessions()
        for event in here.runtime.received(session["id"])
    )


@pytest.mark.parametrize("how", ["button", "word"])
async def test_a_stop_ends_the_turn_and_says_who_stopped_it(here: World, how: str):
    async with here.app():
        asked = await working(here)
        if how == "button":
            await here.slack.stop("grace", asked.channel, asked.ts)
        else:
            await here.slack.say("grace", asked.channel, "stop", thread_ts=asked.ts)
        shown, notice = await here.answers(asked.channel, asked.ts, 2)
        await eventually(lambda: here.slack.shown_status(asked.channel, asked.ts) == "active")
    assert shown.startswith("This is sentence 1")
    assert notice.startswith("Stopped by grace.")
    assert interrupts(here) == 1
    (turn,) = await here.turns()
    assert turn["state"] == "interrupted"
    (message,) = [m for m in here.slack.replies(asked.channel, asked.ts) if m.text == shown]
    assert message.streaming_state == "completed"


async def test_a_stop_after_the_end_does_nothing_and_says_nothing(here: World):
    async with here.app():
        asked = await here.slack.say("ada", "general", "@threadline hello")
        await here.answers(asked.channel, asked.ts, 1)
        await here.slack.say("ada", asked.channel, "Stop!", thread_ts=asked.ts)
        await eventually(lambda: here.slack.shown_status(asked.channel, asked.ts))
        await here.slack.stop("ada", asked.channel, asked.ts)
        await here.answers(asked.channel, asked.ts, 1)
        await here.slack.say("ada", asked.channel, "and now?", thread_ts=asked.ts)
        await here.answers(asked.channel, asked.ts, 2)
    assert interrupts(here) == 0


async def test_what_waited_behind_a_stopped_turn_gets_its_answer(here: World):
    async with here.app():
        asked = await working(here)
        await here.slack.say("ada", asked.channel, "!echo next", thread_ts=asked.ts)
        await here.slack.say("ada", asked.channel, "stop", thread_ts=asked.ts)
        posts = await here.answers(asked.channel, asked.ts, 3)
    assert posts[2] == "next"


async def test_two_stops_are_one_interrupt_each_at_most_and_one_notice(here: World):
    async with here.app():
        asked = await working(here)
        await here.slack.stop("ada", asked.channel, asked.ts)
        await here.slack.say("grace", asked.channel, "stop", thread_ts=asked.ts)
        posts = await here.answers(asked.channel, asked.ts, 2)
    assert [p for p in posts if p.startswith("Stopped by")] == posts[1:]


async def test_mute_and_unmute(here: World):
    async with here.app():
        asked = await here.slack.say("ada", "general", "@threadline hello")
        await here.answers(asked.channel, asked.ts, 1)
        await here.slack.say("ada", asked.channel, "mute", thread_ts=asked.ts)
        await here.answers(asked.channel, asked.ts, 2)
        await here.slack.say("grace", asked.channel, "between us", thread_ts=asked.ts)
        await here.answers(asked.channel, asked.ts, 2)
        await here.slack.say("grace", asked.channel, "@threadline you again", thread_ts=asked.ts)
        await here.answers(asked.channel, asked.ts, 3)
        await here.slack.say("ada", asked.channel, "unmute", thread_ts=asked.ts)
        await here.answers(asked.channel, asked.ts, 4)
        await here.slack.say("grace", asked.channel, "!echo back", thread_ts=asked.ts)
        posts = await here.answers(asked.channel, asked.ts, 5)
    assert posts[4] == "back"


async def test_a_direct_message_cannot_be_muted_and_says_so(here: World):
    async with here.app():
        asked = await here.slack.say("ada", here.slack.dm("ada"), "hello")
        await here.answers(asked.channel, asked.ts, 1)
        for word in ("mute", "unmute"):
            await here.slack.say("ada", asked.channel, word, thread_ts=asked.ts)
        await here.answers(asked.channel, asked.ts, 3)
        await here.slack.say("ada", asked.channel, "!echo still here", thread_ts=asked.ts)
        posts = await here.answers(asked.channel, asked.ts, 4)
    assert posts[1:] == [notices.NEVER_MUTED] * 2 + ["still here"]


@pytest.mark.parametrize("hint", ["notified", "lost"])
async def test_a_stop_that_another_process_accepts_reaches_the_one_that_holds_the_turn(
    here: World, monkeypatch: pytest.MonkeyPatch, hint: str
):
    if hint == "lost":  # then the once-a-second look at what is held finds it
        monkeypatch.setattr(Wakes, "tell", lambda *_: None)
    async with here.app(roles=WORKER), here.app(roles=INGRESS):
        asked = await working(here)
        await here.slack.say("grace", asked.channel, "stop", thread_ts=asked.ts)
        await eventually(lambda: interrupts(here) == 1)
        _, notice = await here.answers(asked.channel, asked.ts, 2)
    assert notice.startswith("Stopped by grace.")


async def test_a_stop_of_a_turn_that_ended_meanwhile_is_never_sent(here: World):
    async with here.app():
        here.runtime.hold()
        asked = await here.slack.say("ada", "general", "@threadline hello")
        await eventually(here.runtime.held)
    async with here.app(roles=INGRESS):
        await here.slack.say("grace", asked.channel, "stop", thread_ts=asked.ts)
        await eventually(lambda: stops(here))
    here.runtime.release()
    await eventually(lambda: here.runtime.sessions()[0]["status"] == "idle")
    async with here.app():
        assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "hello"']
        await here.slack.say("ada", asked.channel, "and now?", thread_ts=asked.ts)
        await here.answers(asked.channel, asked.ts, 2)
    assert interrupts(here) == 0
    assert await stops(here) == [{"state": "withdrawn"}]
    assert {turn["state"] for turn in await here.turns()} == {"completed"}


async def stops(here: World):
    return await here.rows("SELECT state FROM session_inputs WHERE kind = 'interrupt'")


async def test_the_steps_that_had_finished_are_named(here: World):
    async with here.app():
        here.runtime.hold()
        asked = await here.slack.say("ada", "general", "@threadline !tool bash")
        (session,) = await eventually(here.runtime.held)
        here.runtime.release()
        here.runtime.hold()  # the next model request stands still again
        used = {"agent.tool_result"}
        await eventually(lambda: used & {e["type"] for e in here.runtime.events(session)})
        await eventually(here.runtime.held)
        await processing(here, asked)
        await here.slack.stop("grace", asked.channel, asked.ts)
        await eventually(lambda: interrupts(here) == 1)
        posts = await here.answers(asked.channel, asked.ts, 2)
    assert posts[-1] == "Stopped by grace. Finished before that: bash."


async def test_a_stranger_stops_nothing(here: World):
    async with here.app():
        here.runtime.hold()
        asked = await here.slack.say("ada", "shared", "@threadline hello")
        await eventually(here.runtime.held)
        for text in ("stop", "@threadline stop"):
            await here.slack.say("connect", asked.channel, text, thread_ts=asked.ts)
        await here.slack.settle()
        here.runtime.release()
        assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "hello"']
    assert interrupts(here) == 0
    assert [e.text for e in here.slack.ephemerals] == [notices.words(Trouble.STRANGER)]


@pytest.mark.parametrize(
    ("allow", "stops_it"), [("reject", False), ("allow_list", True), ("allow_all", True)]
)
async def test_the_button_of_an_outsider_counts_only_where_they_are_let_in(
    here: World, *, allow: str, stops_it: bool
):
    """The event does not say whose team the person is of: Slack is asked before anything is sent."""
    async with here.app():
        await here.connection.execute(
            "UPDATE oauth_installs SET external_policy = $1, allowed_external = '{U0CONNECT}'",
            allow,
        )
        here.runtime.hold()
        here.runtime.hold_interrupts()  # the first one would end the turn before the second press
        asked = await here.slack.say("ada", "shared", "@threadline hello")
        await eventually(here.runtime.held)
        await processing(here, asked)
        await here.slack.stop("connect", asked.channel, asked.ts)
        await here.slack.stop("connect", asked.channel, asked.ts)
        await eventually(lambda: judged(here, 2))
        if stops_it:  # an answer that is free to end first would not be stopped
            await eventually(lambda: interrupts(here))
        here.runtime.release_interrupts()
        here.runtime.release()
        posts = await here.answers(asked.channel, asked.ts, 1)
    assert (interrupts(here) > 0) is stops_it
    assert posts[0].startswith("Stopped by connect") is stops_it
    told = [] if stops_it else [("U0CONNECT", notices.words(Trouble.MAY_NOT_STOP))]
    assert [(e.user, e.text) for e in here.slack.ephemerals] == told


async def processing(here: World, asked: Message) -> None:
    """Slack shows its button."""
    await eventually(lambda: here.slack.shown_status(asked.channel, asked.ts) == "processing")


async def judged(here: World, count: int) -> bool:
    return [s["state"] for s in await stops(here)].count("queued") == 0 and (
        len(await stops(here)) == count
    )


async def test_an_outsider_stops_the_answer_to_their_own_message(here: World):
    """Asked for while outsiders were let in; whom a turn answers may always stop it."""
    async with here.app():
        await here.connection.execute("UPDATE oauth_installs SET external_policy = 'allow_all'")
        here.runtime.hold()
        asked = await here.slack.say("connect", "shared", "@threadline hello")
        await eventually(here.runtime.held)
        await here.connection.execute("UPDATE oauth_installs SET external_policy = 'reject'")
    async with here.app():
        await processing(here, asked)
        await here.slack.stop("connect", asked.channel, asked.ts)
        await eventually(lambda: interrupts(here) == 1)
        assert await here.answers(asked.channel, asked.ts, 1)
    assert not here.slack.ephemerals


async def test_where_slack_cannot_say_who_pressed_it_the_button_works(here: World):
    here.slack.fault("api_error", method="users.info", error="missing_scope", times=None)
    async with here.app():
        asked = await working(here)
        await here.slack.stop("grace", asked.channel, asked.ts)
        _, notice = await here.answers(asked.channel, asked.ts, 2)
    assert notice.startswith("Stopped by")
    assert interrupts(here) == 1


async def test_a_stop_that_comes_while_another_is_judged_is_judged_too(
    here: World, monkeypatch: pytest.MonkeyPatch
):
    """It is committed behind the look of the holder, who is about to send what waits."""
    start_sending = inputs.start_sending

    async def late(connection: Connection, lease: Lease, *more: Any) -> list[Input]:
        if not pressed:
            pressed.append(here.slack.users["connect"])
            await connection.execute(_PRESSED, pressed[0], "stop:late")
        return await start_sending(connection, lease, *more)

    pressed: list[str] = []
    async with here.app():
        here.runtime.hold()
        asked = await here.slack.say("ada", "shared", "@threadline hello")
        await eventually(here.runtime.held)
        monkeypatch.setattr(inputs, "start_sending", late)
        await here.connection.execute(_PRESSED, here.slack.users["connect"], "stop:first")
        await here.slack.say("ada", asked.channel, "one more", thread_ts=asked.ts)
        await eventually(lambda: pressed)
        await here.slack.say("ada", asked.channel, "and one", thread_ts=asked.ts)
        await eventually(lambda: judged(here, 2))
        here.runtime.release()
        await here.answers(asked.channel, asked.ts, 2)
    assert interrupts(here) == 0
    assert [e.user for e in here.slack.ephemerals if e.user != asked.user] == pressed


_PRESSED = """
INSERT INTO session_inputs (id, deployed_agent_id, workspace_id, session_id, kind, body, order_key,
    dedupe_key, revision, state)
SELECT gen_random_uuid(), t.deployed_agent_id, s.workspace_id, s.id, 'interrupt',
    jsonb_build_object('turn', t.id, 'user', $1::text), 1, $2, 0, 'queued'
FROM agent_turns t JOIN agent_sessions s ON s.id = t.session_id
"""


async def test_the_call_that_other_doors_use(here: World):
    async with here.app() as app:
        asked = await working(here)
        session = await here.session()
        stop = (session["deployed_agent_id"], session["id"], "Grace (dashboard)")
        here.runtime.hold_interrupts()  # the first one would end the turn before the second call
        assert await app.intake.stop(*stop)
        assert await app.intake.stop(*stop)
        here.runtime.release_interrupts()
        _, notice = await here.answers(asked.channel, asked.ts, 2)
        assert notice.startswith("Stopped by Grace (dashboard).")
        assert not await app.intake.stop(*stop)
        await here.answers(asked.channel, asked.ts, 2)
    assert interrupts(here) == 1

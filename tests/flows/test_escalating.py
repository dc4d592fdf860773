"""An agent's questions to people: answered at a door or by a reply, cancelled, called again."""

import json
from functools import partial
from uuid import UUID

import pytest

from router import clock
from store import database, inputs
from store.ids import new_id
from store.inputs import NewInput
from tests.flows.people import (
    actions,
    awaits_people,
    clicker,
    confirmations,
    doors,
    question,
    ref,
    set_behaviour,
)
from tests.harness import World, shown
from tests.support import eventually


async def test_a_question_is_answered_at_the_door(here: World):
    async with here.app(), doors(here) as door:
        said = await here.slack.say("ada", "general", "@threadline !escalate which one?")
        asked = await question(here)
        await awaits_people(here)
        assert (await door.escalations.answer(ref(asked), "blue", clicker())).kind == "decided"
        assert (await door.escalations.answer(ref(asked), "red", clicker())).kind == "late"
        await here.at_rest()
        posts = here.bot_posts(said.channel, said.ts)
    (result,) = confirmations(here)
    told = json.loads(result["content"][0]["text"])
    assert told == {"status": "answered", "answer": "blue", "answered_by": "U0ADA"}
    assert '"blue"' in posts[-1]
    steps = await actions(here, asked.id)
    assert steps[:2] == ["asked", "answered"]
    assert sorted(steps[2:]) == ["confirmed", "late"], "by two who do not wait for each other"


async def test_a_cancelled_question_tells_the_agent_to_stop_asking(here: World):
    async with here.app(), doors(here) as door:
        await here.slack.say("ada", "general", "@threadline !escalate which one?")
        asked = await question(here)
        assert (await door.escalations.cancel(ref(asked), clicker())).kind == "decided"
        await here.at_rest()
    (result,) = confirmations(here)
    assert result["is_error"] is True
    assert json.loads(result["content"][0]["text"])["status"] == "cancelled"


async def test_a_reply_in_the_thread_answers_the_only_question(here: World):
    async with here.app():
        said = await here.slack.say("ada", "general", "@threadline !escalate which one?")
        await question(here)
        await here.slack.say("ada", "general", "the blue one", thread_ts=said.ts)
        asked = await question(here, "answered")
        await here.at_rest()
    assert asked.answer == "the blue one"
    assert here.sent_texts() == ["!escalate which one?"]


async def test_a_reply_that_overtakes_the_pause_is_taken_at_once(
    here: World, monkeypatch: pytest.MonkeyPatch
):
    """It is accepted after the worker's last look at replies, and before the session is released."""
    # both are still in line when the other has come, however busy the machine is
    monkeypatch.setitem(database._SERVER_SETTINGS, "lock_timeout", "30000")
    monkeypatch.setitem(database._SERVER_SETTINGS, "statement_timeout", "30000")
    async with here.app():
        here.runtime.hold()
        said = await here.slack.say("ada", "general", "@threadline !escalate which one?")
        await eventually(partial(_sent, here))
        async with here.connection.transaction():
            await here.connection.execute("SELECT FROM agent_sessions FOR NO KEY UPDATE")
            here.runtime.release()
            await eventually(partial(_wait_for_it, here, 1), says="the asking waits")
            await here.slack.say("ada", "general", "the blue one", thread_ts=said.ts)
            await eventually(partial(_wait_for_it, here, 2), says="the reply waits behind it")
        asked = await question(here, "answered")
        await here.at_rest()
    assert asked.answer == "the blue one"


async def _sent(here: World) -> bool:
    return [r["state"] for r in await here.rows("SELECT state FROM session_inputs")] == ["sent"]


async def _wait_for_it(here: World, many: int) -> bool:
    waiting: int = await here.connection.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    )
    return waiting == many


async def test_a_question_stands_in_the_escalation_channel_too_and_a_reply_there_answers(
    here: World,
):
    async with here.app():
        await _escalate_to(here, "general")
        asked = await here.slack.say("ada", here.slack.dm("ada"), "!escalate which one?")
        await question(here)
        await awaits_people(here)
        (card,) = [
            m
            for m in here.slack.history(here.slack.channels["general"])
            if m.user == here.slack.bot_user_id
        ]
        root = asked.ts.replace(".", "")
        assert f"/archives/{asked.channel}/p{root}|this thread>" in shown(card)
        await here.slack.say("grace", "general", "the red one", thread_ts=card.ts)
        answered = await question(here, "answered")
        await here.at_rest()
        posts = here.bot_posts(asked.channel, asked.ts)
    assert answered.answer == "the red one"
    assert "the red one" in posts[-1]
    assert len(await here.rows("SELECT 1 FROM agent_sessions")) == 1


async def test_a_reply_below_the_card_that_comes_too_late_is_told_so(here: World):
    """Also once the turn is over; the next turn of the session is not disturbed by it."""
    async with here.app(), doors(here) as door:
        await _escalate_to(here, "general")
        dm = here.slack.dm("ada")
        said = await here.slack.say("ada", dm, "!escalate which one?")
        asked = await question(here)
        await awaits_people(here)
        (card,) = [
            m
            for m in here.slack.history(here.slack.channels["general"])
            if m.user == here.slack.bot_user_id
        ]
        await door.escalations.answer(ref(asked), "blue", clicker())
        await here.at_rest()
        await here.slack.say("grace", "general", "red", thread_ts=card.ts)
        await here.at_rest()
        here.runtime.hold()
        await here.slack.say("ada", dm, "one more thing", thread_ts=said.ts)
        await eventually(here.runtime.held)
        await here.slack.say("linus", "general", "green", thread_ts=card.ts)
        await eventually(lambda: len(here.slack.ephemerals) == 2)
        here.runtime.release()
        await here.at_rest()
        told = [(e.user, e.text) for e in here.slack.ephemerals]
        posts = here.bot_posts(said.channel, said.ts)
    assert [user for user, _ in told] == [here.slack.users["grace"], here.slack.users["linus"]]
    assert all("decided already" in text for _, text in told)
    assert posts[-1] == 'You said: "one more thing"'


async def test_people_are_called_again_to_a_question(here: World):
    await set_behaviour(here, escalations={"ping_minutes": [10, 20]})
    async with here.app():
        said = await here.slack.say("ada", "general", "@threadline !escalate which one?")
        asked = await question(here)
        await awaits_people(here)
        for pings in (1, 2):
            await here.connection.execute("UPDATE agent_escalations SET ping_at = now()")
            await eventually(partial(_called, here, asked.id, pings))
            await here.at_rest()
        posts = here.shown(said.channel, said.ts)
    assert len([post for post in posts if post.startswith("Still without an answer")]) == 2
    assert (await here.row("SELECT ping_at FROM agent_escalations"))["ping_at"] is None


async def _called(here: World, subject: UUID, times: int) -> bool:
    return (await actions(here, subject)).count("called again") == times


async def _escalate_to(here: World, channel: str) -> None:
    await here.connection.execute(
        "UPDATE oauth_installs SET escalation_channel_id = $1", here.slack.channels[channel]
    )


async def test_a_session_without_slack_asks_in_the_escalation_channel_alone(here: World):
    async with here.app():
        await _escalate_to(here, "general")
        session_id = await _dashboard_session(here, "!escalate which one?")
        await question(here)
        await awaits_people(here)
        (card,) = [
            m
            for m in here.slack.history(here.slack.channels["general"])
            if m.user == here.slack.bot_user_id
        ]
        await here.slack.say("grace", "general", "the red one", thread_ts=card.ts)
        answered = await question(here, "answered")
        await here.at_rest()
    assert (answered.session_id, answered.answer) == (session_id, "the red one")
    (result,) = confirmations(here)
    assert json.loads(result["content"][0]["text"])["answer"] == "the red one"


async def _dashboard_session(here: World, text: str) -> UUID:
    """A session that began outside of Slack, with its first message."""
    session_id, at = new_id(), clock.timestamp()
    await here.connection.execute(
        "INSERT INTO agent_sessions (id, deployed_agent_id, workspace_id, source, title, ready_at)"
        " VALUES ($1, $2, $3, 'dashboard', 'one', now())",
        session_id,
        here.agent_id,
        here.workspace_id,
    )
    first = NewInput(
        id=new_id(),
        deployed_agent_id=here.agent_id,
        workspace_id=here.workspace_id,
        session_id=session_id,
        kind="message",
        body={"text": text, "user": "member-1", "team": None, "files": []},
        order_key=at,
        dedupe_key=f"rest:{session_id}",
    )
    await inputs.add(here.connection, [first])
    return session_id

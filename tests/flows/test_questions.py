"""Questions of an agent, answered by a button, in words, or by nobody, here and in another channel."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from bot import standing
from router.notices import Trouble, words
from store import calls, outbox
from store.outbox import Effect
from tests.flows.asked import Asking, asking
from tests.harness import World
from tests.support import eventually


@pytest.fixture
async def at(here: World) -> AsyncIterator[Asking]:
    async with asking(here) as made:
        yield made


async def test_a_choice_answers_with_its_whole_text(at: Asking):
    long = "the second, " * 20
    row = await at.escalation(choices=("first", long))
    card = await at.card(row)
    await at.press("grace", card, "escalation.choose.1")
    now = await at.escalation_now(row.id)
    assert (now.state, now.answer) == ("answered", long.strip())
    await at.shows(card, "Answer: the second,", "Answered by <@U0GRACE>")
    [decision] = await at.decisions()
    assert decision["is_error"] is False
    assert '"answered_by": "grace"' in decision["says"]


async def test_a_question_is_answered_in_somebodys_own_words(at: Asking):
    row = await at.escalation("Deploy *now*?", context="c" * 2_000)
    card = await at.card(row)
    await at.press("ada", card, "escalation.answer")
    view = at.view("ada")
    assert "Deploy *now*?" in str(view.body["blocks"])
    blank = await at.here.slack.submit("ada", view.id, {"answer": "  \n "})
    assert blank.failure is None
    assert at.view("ada").errors == {"answer": "Write an answer."}
    await at.here.slack.submit("ada", view.id, {"answer": "tomorrow"})
    assert at.here.slack.open_views("ada") == []
    assert (await at.escalation_now(row.id)).answer == "tomorrow"
    await at.shows(card, "Answer: tomorrow", "Answered by <@U0ADA>")


async def test_the_whole_question_can_be_seen(at: Asking):
    row = await at.escalation(context="context\n" * 500)
    await at.press("linus", await at.card(row), "escalation.view")
    assert str(at.view("linus").body["blocks"]).count("context") == 500
    assert ("viewed", "", "U0LINUS") in await at.audited(row)


async def test_nobody_can_answer_is_told_to_the_agent(at: Asking):
    row = await at.escalation()
    card = await at.card(row)
    await at.press("ada", card, "escalation.cancel")
    assert (await at.escalation_now(row.id)).state == "cancelled"
    await at.shows(card, "Closed without an answer by <@U0ADA>")
    [decision] = await at.decisions()
    assert decision["is_error"] is True
    await at.press("grace", card, "escalation.cancel", anyway=True)
    told = await at.told("grace", words(Trouble.DECIDED_ALREADY))
    assert "Closed without an answer by <@U0ADA>" in str(told.blocks)


async def test_an_answer_that_comes_late_is_told_in_its_form(at: Asking):
    row = await at.escalation(choices=("yes",))
    card = await at.card(row)
    await at.press("grace", card, "escalation.answer")
    await at.press("ada", card, "escalation.choose.0")
    await at.here.slack.submit("grace", at.view("grace").id, {"answer": "no"})
    assert words(Trouble.DECIDED_ALREADY) in str(at.view("grace").body["blocks"])
    assert "Answered by <@U0ADA>" in str(at.view("grace").body["blocks"])
    assert (await at.escalation_now(row.id)).answer == "yes"


async def test_who_may_not_answer_is_told_so(at: Asking):
    row = await at.escalation(choices=("yes",), who=("user:U0ADA",))
    await at.press("grace", await at.card(row), "escalation.choose.0")
    await at.told("grace", words(Trouble.NOT_YOURS_TO_DECIDE))
    assert (await at.escalation_now(row.id)).state == "pending"


# ------------------------------------------------------------------ the escalation channel


async def pinned(at: Asking) -> dict[str, Any] | None:
    found = await at.here.rows("SELECT * FROM slack_threads WHERE escalation_id IS NOT NULL")
    return found[0] if found else None


async def test_in_the_escalation_channel_a_card_is_answered_and_both_say_so(at: Asking):
    row = await at.escalation(choices=("yes",), channel="C0RANDOM")
    card, there = await at.card(row), await at.card(row, ":channel")
    assert (there.channel, there.thread_ts) == ("C0RANDOM", None)
    assert "|this thread>, for <@U0ADA>." in str(there.blocks)
    pin = await eventually(lambda: pinned(at))
    slack = at.here.slack
    key = f"{slack.api_app_id}:{slack.team_id}:C0RANDOM:{there.ts}"
    assert (pin["slack_conversation_key"], pin["escalation_id"]) == (key, row.id)
    assert (pin["session_id"], pin["root_ts"]) == (at.session["id"], there.ts)
    await at.press("linus", there, "escalation.choose.0")
    assert (await at.escalation_now(row.id)).state == "answered"
    for one in (card, there):
        await at.shows(one, "Answered by <@U0LINUS>")


def leave(at: Asking, channel: str, user: str) -> None:
    """That person leaves a channel."""
    state = at.here.slack.workspace.state
    place, user_id = state.channels[channel], at.here.slack.users[user]
    others = tuple(one for one in place.members if one != user_id)
    state.put_channel(replace(place, members=others))


async def test_a_form_opened_there_is_judged_by_that_channel(
    at: Asking, monkeypatch: pytest.MonkeyPatch
):
    """Linus is in the channel of the thread, but not where the card stands that he answers at."""
    monkeypatch.setattr(standing, "_SECONDS", 0.0)
    at.here.slack.add_channel("oncall", ["grace", "linus"])
    oncall = at.here.slack.channels["oncall"]
    row = await at.escalation(who=("channel",), channel=oncall)
    there = await at.card(row, ":channel")
    for user in ("linus", "grace"):
        await at.press(user, there, "escalation.answer")
    leave(at, oncall, "linus")
    await at.here.slack.submit("linus", at.view("linus").id, {"answer": "that"})
    assert words(Trouble.NOT_YOURS_TO_DECIDE) in str(at.view("linus").body["blocks"])
    await at.here.slack.submit("grace", at.view("grace").id, {"answer": "this"})
    assert (await at.escalation_now(row.id)).answer == "this"


async def test_a_refusal_there_is_told_there(at: Asking):
    row = await at.escalation(choices=("yes",), who=("user:U0ADA",), channel="C0RANDOM")
    await at.press("grace", await at.card(row, ":channel"), "escalation.choose.0")
    told = await at.told("grace", words(Trouble.NOT_YOURS_TO_DECIDE))
    assert told.channel == "C0RANDOM"


# ------------------------------------------------------------------ messages that wait


async def waiting(at: Asking) -> Any:
    """The card that says what a message waits for."""
    agent = at.session["deployed_agent_id"]
    body = {"card": "waiting", "turn": str(at.turn_id), "agent": str(agent), "for": "approval"}
    place = await calls.place(at.here.connection, agent, at.session["id"])
    assert place is not None
    effect = Effect(f"card:waiting:{at.turn_id}", "card", body, turn_id=at.turn_id)
    await outbox.add(at.here.connection, place, [effect])

    def found() -> Any:
        thread = at.here.slack.replies(at.channel, at.root.ts)
        return next((m for m in thread if "Your message waits" in m.text), None)

    return await eventually(found)


async def test_a_message_can_be_read_first_by_denying_all_that_is_asked(at: Asking):
    row, question = await at.approval(), await at.escalation()
    card, asks = await at.card(row), await at.card(question)
    button = await waiting(at)
    await at.press("ada", button, "course.change")
    assert (await at.approval_now(row.id)).state == "denied"
    assert (await at.escalation_now(question.id)).state == "cancelled"
    await at.shows(card, "Denied by <@U0ADA>")
    await at.shows(asks, "Closed without an answer by <@U0ADA>")
    await at.press("grace", button, "course.change")
    await at.told("grace", words(Trouble.DECIDED_ALREADY))


async def test_only_who_may_decide_on_all_of_it_changes_the_course(at: Asking):
    mine, theirs = await at.approval(), await at.approval(who=("admins",))
    button = await waiting(at)
    await at.press("ada", button, "course.change")
    await at.told("ada", words(Trouble.NOT_YOURS_TO_DECIDE))
    for row in (mine, theirs):
        assert (await at.approval_now(row.id)).state == "pending"

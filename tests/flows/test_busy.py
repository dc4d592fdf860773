"""Busy threads: what comes mid-turn shows that it waits, and is answered together in one turn."""

import pytest

from bot.local.faults import ApiFault
from bot.local.model import Message
from router import notices
from tests.harness import World
from tests.support import eventually

HOURGLASS = "hourglass_flowing_sand"
INGRESS = frozenset({"ingress"})


async def working(here: World, text: str = "@threadline first") -> Message:
    """A thread whose turn stands still at the runtime."""
    here.runtime.hold()
    asked = await here.slack.say("ada", "general", text)
    await eventually(here.runtime.held)
    return asked


def marks(here: World, message: Message) -> list[str]:
    """The names of our reactions on a message."""
    now = here.slack.workspace.state.message(message.channel, message.ts)
    if now is None:
        return []
    return [one["name"] for one in now.reactions if here.slack.bot_user_id in one["users"]]


async def marked(here: World, *messages: Message) -> None:
    await eventually(lambda: all(marks(here, m) == [HOURGLASS] for m in messages), says="marks")


def reactions(here: World) -> list[tuple[str, str]]:
    """Every call that was made about a reaction, with the message."""
    return [
        (call.method, str(call.args["timestamp"]))
        for call in here.slack.calls
        if call.method.startswith("reactions.")
    ]


async def test_three_people_wait_in_order_and_share_one_answer(here: World):
    async with here.app():
        asked = await working(here)
        one = await here.slack.say("ada", asked.channel, "one", thread_ts=asked.ts)
        two = await here.slack.say("grace", asked.channel, "two", thread_ts=asked.ts, deliver=False)
        three = await here.slack.say("linus", asked.channel, "three", thread_ts=asked.ts)
        await here.slack.settle()
        for envelope in here.slack.envelopes(two.ts):  # the one before overtook it
            assert await here.slack.deliver(envelope) == 200
        await marked(here, one, two, three)
        assert marks(here, asked) == []
        here.runtime.release()
        answers = await here.answers(asked.channel, asked.ts, 2)
    assert answers == ['You said: "first"', 'You said: "one" and "two" and "three"']
    assert here.sent_texts() == ["first", "one", "two", "three"]
    assert len(await here.turns()) == 2
    assert [marks(here, m) for m in (asked, one, two, three)] == [[], [], [], []]
    # each but the first hears, once, of the place that it had when it came
    assert sorted((e.user, e.text) for e in here.slack.ephemerals) == [
        (here.slack.users["grace"], notices.WAITING.format(place=2)),
        (here.slack.users["linus"], notices.WAITING.format(place=2)),
    ]


async def test_a_mark_that_was_not_made_in_time_is_not_made_at_all(here: World):
    async with here.app(roles=frozenset({"ingress", "worker"})):
        asked = await working(here)
        await here.slack.say("ada", asked.channel, "one", thread_ts=asked.ts)
        await eventually(lambda: here.rows("SELECT FROM slack_outbox WHERE kind = 'reaction'"))
        here.runtime.release()
        await eventually(lambda: here.sent_texts() == ["first", "one"])
    async with here.app():
        await here.answers(asked.channel, asked.ts, 2)
    assert reactions(here) == []


async def test_a_message_that_begins_a_turn_is_not_marked(here: World):
    async with here.app():
        asked = await here.slack.say("ada", "general", "@threadline hello")
        await here.answers(asked.channel, asked.ts, 1)
        again = await here.slack.say("ada", asked.channel, "again", thread_ts=asked.ts)
        await here.answers(asked.channel, asked.ts, 2)
    assert marks(here, asked) == marks(here, again) == []
    assert reactions(here) == []


@pytest.mark.parametrize("busy", [True, False], ids=["mid_turn", "at_rest"])
async def test_a_reply_that_opens_with_somebody_elses_name_is_left_alone(
    here: World, *, busy: bool
):
    """In a thread that is followed without mentions; inside of a sentence a name is just a name."""
    async with here.app():
        if busy:
            asked = await working(here)
        else:
            asked = await here.slack.say("ada", "general", "@threadline first")
            await here.answers(asked.channel, asked.ts, 1)
        aside = await here.slack.say("ada", asked.channel, "@grace, you?", thread_ts=asked.ts)
        await here.slack.settle()
        await here.slack.say("ada", asked.channel, "tell @grace too", thread_ts=asked.ts)
        await here.slack.settle()
        here.runtime.release()
        await here.answers(asked.channel, asked.ts, 2)
    assert marks(here, aside) == []
    assert [text.partition(" ")[0] for text in here.sent_texts()] == ["first", "tell"]
    assert len(await here.rows("SELECT id FROM session_inputs")) == 2


async def test_the_twin_and_the_retries_of_a_waiting_message_mark_it_once(here: World):
    async with here.app():
        asked = await working(here)
        waits = await here.slack.say(
            "ada", asked.channel, "@threadline more", thread_ts=asked.ts, duplicate=2
        )
        await marked(here, waits)
        here.runtime.release()
        await here.answers(asked.channel, asked.ts, 2)
    assert reactions(here) == [("reactions.add", waits.ts), ("reactions.remove", waits.ts)]


async def test_the_mark_goes_when_the_message_is_emptied(here: World):
    async with here.app():
        asked = await working(here)
        waits = await here.slack.say("ada", asked.channel, "@threadline x", thread_ts=asked.ts)
        await marked(here, waits)
        await here.slack.edit(asked.channel, waits.ts, "@threadline")
        await eventually(lambda: marks(here, waits) == [], says="no mark")
        here.runtime.release()
        await here.answers(asked.channel, asked.ts, 1)
    assert here.sent_texts() == ["first"]


async def test_a_waiting_message_that_is_deleted_leaves_nothing_open(here: World):
    async with here.app():
        asked = await working(here)
        waits = await here.slack.say("ada", asked.channel, "never mind", thread_ts=asked.ts)
        await marked(here, waits)
        await here.slack.delete(asked.channel, waits.ts)
        await here.slack.settle()  # else the turn may end first, and the message goes out
        here.runtime.release()
        await here.answers(asked.channel, asked.ts, 1)
        await eventually(lambda: len(reactions(here)) == 2)
        await here.at_rest()
    states = await here.rows("SELECT DISTINCT state FROM slack_outbox")
    assert states == [{"state": "sent"}]


async def test_the_mark_goes_when_the_message_is_refused(here: World):
    async with here.app():
        asked = await working(here)
        waits = await here.slack.say("ada", asked.channel, "too late", thread_ts=asked.ts)
        await marked(here, waits)
        await here.connection.execute("UPDATE agent_sessions SET archive_requested_at = now()")
        here.runtime.release()
        await eventually(lambda: marks(here, waits) == [], says="no mark")
        await here.at_rest()
    assert (await here.session())["status"] == "archived"


@pytest.mark.parametrize("kind", ["drop_after", "error_after", "drop_before", "ratelimit"])
async def test_a_reaction_whose_answer_is_lost_is_made_again(here: World, kind: ApiFault):
    async with here.app():
        asked = await working(here)
        here.slack.fault(kind, method="reactions.add")
        waits = await here.slack.say("ada", asked.channel, "second", thread_ts=asked.ts)
        await eventually(lambda: marks(here, waits) == [HOURGLASS], says="the mark")
        here.slack.fault(kind, method="reactions.remove")
        here.runtime.release()
        await here.answers(asked.channel, asked.ts, 2)
    assert marks(here, waits) == []
    rows = await here.rows("SELECT state FROM slack_outbox WHERE kind = 'reaction'")
    assert [row["state"] for row in rows] == ["sent", "sent"]


async def test_the_mark_is_taken_away_only_after_it_was_put_there(here: World):
    """The addition is under way until the removal stands behind it in the outbox."""
    async with here.app():
        asked = await working(here)
        here.slack.fault("stall_before", method="reactions.add", seconds=2)
        waits = await here.slack.say("ada", asked.channel, "second", thread_ts=asked.ts)
        await eventually(lambda: here.rows("SELECT FROM slack_outbox WHERE state = 'sending'"))
        here.runtime.release()
        await here.answers(asked.channel, asked.ts, 2)
    assert [method for method, _ in reactions(here)] == ["reactions.add", "reactions.remove"]
    assert marks(here, waits) == []


async def test_what_was_accepted_by_another_process_is_marked_too(here: World):
    async with here.app():
        asked = await working(here)
        async with here.app(roles=INGRESS):
            waits = await here.slack.say("ada", asked.channel, "second", thread_ts=asked.ts)
            await marked(here, waits)
        here.runtime.release()
        await here.answers(asked.channel, asked.ts, 2)
    assert marks(here, waits) == []


async def test_a_token_without_the_scope_costs_no_answer(here: World):
    async with here.app():
        asked = await working(here)
        here.slack.fault("api_error", method="reactions.add", error="missing_scope")
        await here.slack.say("ada", asked.channel, "second", thread_ts=asked.ts)
        # a mark that was not tried when the turn ends is not tried any more
        await eventually(lambda: reactions(here), says="a mark that is tried")
        here.runtime.release()
        await here.answers(asked.channel, asked.ts, 2)
    row = await here.row("SELECT error FROM slack_outbox WHERE state = 'dead'")
    assert row["error"] == "missing_scope"

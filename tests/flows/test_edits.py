"""Edits and deletions: a waiting message changes, an answered one is corrected, once."""

from itertools import permutations

import pytest

from bot.local.model import Json, Message
from router import notices
from tests.harness import World
from tests.support import eventually

CORRECTION = "(Correction of my earlier message, which should read:)\n"
INGRESS = frozenset({"ingress"})


async def busy(here: World, text: str = "first") -> Message:
    """A direct message whose turn stands still at the runtime."""
    here.runtime.hold()
    asked = await here.slack.say("ada", here.slack.dm("ada"), text)
    await eventually(here.runtime.held)
    return asked


async def test_an_edit_of_a_waiting_message_replaces_it(here: World):
    async with here.app():
        asked = await busy(here)
        later = await here.slack.say("ada", asked.channel, "secnod", thread_ts=asked.ts)
        await here.slack.settle()
        await here.slack.edit(asked.channel, later.ts, "second")
        await here.slack.settle()
        here.runtime.release()
        assert await here.answers(asked.channel, asked.ts, 2) == [
            'You said: "first"',
            'You said: "second"',
        ]
    assert here.sent_texts() == ["first", "second"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["in_order", "reversed"])
async def test_of_two_edits_within_a_second_the_later_one_counts(
    here: World, order: tuple[int, int]
):
    async with here.app():
        asked = await busy(here)
        later = await here.slack.say("ada", asked.channel, "one", thread_ts=asked.ts)
        await here.slack.settle()
        edits = await edits_of_one_second(here, later, "two", "three")
        await deliver_all(here, tuple(edits[place] for place in order))
        here.runtime.release()
        await here.answers(asked.channel, asked.ts, 2)
    assert here.sent_texts() == ["first", "three"]


async def edits_of_one_second(here: World, message: Message, *texts: str) -> list[Json]:
    """The events of edits that Slack gives the same time, whole seconds; none is delivered yet."""
    while True:
        for text in texts:
            await here.slack.edit(message.channel, message.ts, text, deliver=False)
        edits = here.slack.envelopes(message.ts)[-len(texts) :]
        if len({one["event"]["message"]["edited"]["ts"] for one in edits}) == 1:
            return edits


async def test_an_edit_of_an_answered_message_makes_one_correction_turn(here: World):
    async with here.app():
        asked = await here.slack.say("ada", "general", "@threadline one")
        await here.answers(asked.channel, asked.ts, 1)
        # The bot is mentioned, so Slack tells the edit twice; here each of the two three times over.
        await here.slack.edit(asked.channel, asked.ts, "@threadline two", duplicate=2)
        answers = await here.answers(asked.channel, asked.ts, 2)
    assert here.sent_texts() == ["one", f"{CORRECTION}two"]
    assert answers[1] == f'You said: "{CORRECTION}two"'
    kinds = await here.rows("SELECT kind, state FROM session_inputs ORDER BY accepted_at")
    assert [(k["kind"], k["state"]) for k in kinds] == [("message", "done"), ("correction", "done")]


async def test_an_edit_of_a_message_that_is_being_answered_goes_in_as_a_correction(here: World):
    async with here.app():
        asked = await busy(here, "one")
        await here.slack.edit(asked.channel, asked.ts, "two")
        await here.slack.settle()
        here.runtime.release()
        await here.answers(asked.channel, asked.ts, 2)
    assert here.sent_texts() == ["one", f"{CORRECTION}two"]


async def test_an_unfurl_is_no_edit(here: World):
    async with here.app():
        asked = await here.slack.say("ada", "general", "@threadline see https://example.com/")
        await here.answers(asked.channel, asked.ts, 1)
        await here.slack.unfurl(asked.channel, asked.ts, "https://example.com/")
        await here.answers(asked.channel, asked.ts, 1)
    assert len(await here.turns()) == 1


async def test_an_edit_that_leaves_the_words_alone_is_none(here: World):
    async with here.app():
        asked = await here.slack.say("ada", "general", "@threadline same")
        await here.answers(asked.channel, asked.ts, 1)
        await here.slack.edit(asked.channel, asked.ts, "@threadline same")
        await here.answers(asked.channel, asked.ts, 1)
    assert here.sent_texts() == ["same"]


async def test_an_edit_that_only_moves_the_mention_is_none(here: World):
    async with here.app():
        asked = await here.slack.say("ada", "general", "@threadline same")
        await here.answers(asked.channel, asked.ts, 1)
        await here.slack.edit(asked.channel, asked.ts, "same @threadline")
        await here.answers(asked.channel, asked.ts, 1)
    assert here.sent_texts() == ["same"]


async def deliver_all(here: World, envelopes: tuple[Json, ...]) -> None:
    for envelope in envelopes:
        assert await here.slack.deliver(envelope) == 200


@pytest.mark.parametrize("before", ["hello", "@threadline helo"], ids=["added", "refired"])
async def test_a_mention_and_its_edit_make_one_turn_in_any_order_of_arrival(
    here: World, before: str
):
    """Four events (three where the edit adds the mention) arrive before a worker is there."""
    roots = []
    async with here.app(roles=INGRESS):
        for order in permutations(range(4 if before.startswith("@") else 3)):
            asked = await here.slack.say("ada", "general", before, deliver=False)
            await here.slack.edit(asked.channel, asked.ts, "@threadline hello", deliver=False)
            envelopes = here.slack.envelopes(asked.ts)
            await deliver_all(here, tuple(envelopes[place] for place in order))
            roots.append(asked)
    async with here.app():
        for asked in roots:
            assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "hello"']
    assert len(here.runtime.sessions()) == len(await here.turns()) == len(roots)


async def test_a_mention_added_by_an_edit_makes_one_turn_while_a_worker_waits_for_it(here: World):
    async with here.app():
        for order in permutations(range(3)):
            asked = await here.slack.say("ada", "general", "hello", deliver=False)
            await here.slack.edit(asked.channel, asked.ts, "@threadline hello", deliver=False)
            envelopes = here.slack.envelopes(asked.ts)
            for place in order:
                assert await here.slack.deliver(envelopes[place]) == 200
                await here.at_rest()
            assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "hello"']


async def test_a_mention_that_an_edit_fires_again_while_a_worker_waits_corrects_it_once(
    here: World,
):
    async with here.app():
        for order in permutations(range(4)):
            asked = await here.slack.say("ada", "general", "@threadline helo", deliver=False)
            await here.slack.edit(asked.channel, asked.ts, "@threadline hello", deliver=False)
            envelopes = here.slack.envelopes(asked.ts)
            before = len(here.sent_texts())
            for place in order:
                assert await here.slack.deliver(envelopes[place]) == 200
                await here.at_rest()
            heard = here.sent_texts()[before:]
            expected = ["helo", f"{CORRECTION}hello"] if order[0] < 2 else ["hello"]
            assert heard == expected, order
            assert len(here.bot_posts(asked.channel, asked.ts)) == len(expected)


async def test_a_deleted_waiting_message_is_withdrawn(here: World):
    async with here.app():
        asked = await busy(here)
        later = await here.slack.say("ada", asked.channel, "never mind", thread_ts=asked.ts)
        await here.slack.settle()
        await here.slack.delete(asked.channel, later.ts)
        await here.slack.settle()
        here.runtime.release()
        assert await here.answers(asked.channel, asked.ts, 1) == ['You said: "first"']
    assert here.sent_texts() == ["first"]
    (row,) = await here.rows("SELECT state FROM session_inputs WHERE deleted")
    assert row["state"] == "withdrawn"


@pytest.mark.parametrize("where", ["general", "dm"])
async def test_a_deletion_that_overtakes_its_message_wins(here: World, where: str):
    channel = here.slack.dm("ada") if where == "dm" else where
    async with here.app():
        asked = await here.slack.say("ada", channel, "@threadline oops", deliver=False)
        await here.slack.delete(asked.channel, asked.ts, deliver=False)
        said, *rest = here.slack.envelopes(asked.ts)
        await deliver_all(here, (*rest[::-1], said))
        await here.at_rest()
    assert here.runtime.sessions() == []
    assert await here.turns() == []


async def test_a_deletion_of_an_answered_message_changes_nothing(here: World):
    async with here.app():
        root = await here.slack.say("ada", here.slack.dm("ada"), "one")
        await here.answers(root.channel, root.ts, 1)
        later = await here.slack.say("ada", root.channel, "two", thread_ts=root.ts)
        await here.answers(root.channel, root.ts, 2)
        await here.slack.delete(root.channel, later.ts)
        await here.answers(root.channel, root.ts, 2)
    assert [t["state"] for t in await here.turns()] == ["completed", "completed"]


async def test_a_waiting_message_that_loses_its_mention_is_still_answered_as_it_reads(here: World):
    async with here.app():
        here.runtime.hold()
        asked = await here.slack.say("ada", "general", "@threadline first")
        await eventually(here.runtime.held)
        later = await here.slack.say(
            "grace", "general", "@threadline secnod", thread_ts=asked.ts, twins="mention_first"
        )
        await here.slack.settle()
        await here.slack.edit("general", later.ts, "second")
        await here.slack.settle()
        here.runtime.release()
        await here.answers(asked.channel, asked.ts, 2)
    assert here.sent_texts() == ["first", "second"]


async def test_a_bare_mention_that_an_edit_completes_is_answered(here: World):
    async with here.app():
        asked = await here.slack.say("ada", "general", "@threadline")
        assert await here.answers(asked.channel, asked.ts, 1) == [notices.HELP]
        await here.slack.edit("general", asked.ts, "@threadline hello")
        assert (await here.answers(asked.channel, asked.ts, 2))[1] == 'You said: "hello"'


async def test_an_edit_of_channel_talk_that_never_addressed_the_bot_is_ignored(here: World):
    async with here.app():
        talk = await here.slack.say("ada", "general", "good morning")
        await here.slack.edit("general", talk.ts, "good evening")
        await here.at_rest()
    assert await here.rows("SELECT * FROM session_inputs") == []


async def test_an_edit_that_takes_all_words_away_takes_back_a_waiting_message(here: World):
    async with here.app():
        here.runtime.hold()
        asked = await here.slack.say("ada", "general", "@threadline !echo first")
        await eventually(here.runtime.held)
        slip = await here.slack.say("ada", "general", "@threadline oops secret", thread_ts=asked.ts)
        await here.slack.settle()
        await here.slack.edit(slip.channel, slip.ts, "@threadline")
        await here.slack.settle()
        here.runtime.release()
        assert await here.answers(asked.channel, asked.ts, 1) == ["first"]
    assert here.sent_texts() == ["!echo first"]

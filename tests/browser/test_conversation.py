"""A person talks with the agent: mention, stream, reply, stop, edit, delete; on a desk and in a hand."""

from playwright.async_api import expect

from tests.browser.conftest import Visits
from tests.browser.person import BOTH_SIZES
from tests.flows.streams import go_on, said, words_come
from tests.harness import World
from tests.support import eventually

pytestmark = BOTH_SIZES

_LENGTHS = 4


async def test_a_mention_is_answered_while_one_watches_and_a_reply_needs_none(
    here: World, visit: Visits
):
    here.runtime.world.pace.set_rate(0)
    async with here.app():
        ada = await visit("ada")
        await ada.goes_to("general")
        await ada.says("@threadline !slow 24")
        await ada.opens_thread("!slow 24")
        await expect(ada.status).to_contain_text("Working")
        await words_come(here, 2)
        answer = ada.in_thread("This is sentence 1")
        await expect(answer).to_have_attribute("data-state", "streaming")
        lengths = await ada.lengths(answer, _LENGTHS, lambda: words_come(here, 2))
        assert lengths == sorted(set(lengths))
        go_on(here)
        await expect(answer).to_have_attribute("data-state", "whole")
        await expect(answer).to_contain_text(said("!slow 24"))
        await ada.replies("thank you")
        await expect(ada.in_thread('You said: "thank you"')).to_have_attribute(
            "data-state", "whole"
        )
        await expect(ada.stop).to_be_hidden()
        await expect(ada.status).to_be_hidden()


async def test_stop_ends_an_answer_and_says_who_did_it(here: World, visit: Visits):
    here.runtime.world.pace.set_rate(0)
    async with here.app():
        ada = await visit("ada")
        await ada.goes_to("general")
        await ada.says("@threadline !slow 24")
        await ada.opens_thread("!slow 24")
        await words_come(here, 2)
        await expect(ada.in_thread("This is sentence 1")).to_be_visible()
        await ada.stop.click()
        await expect(ada.in_thread("Stopped by ada.")).to_be_visible()
        answer = ada.in_thread("This is sentence 1")
        await expect(answer).to_have_attribute("data-state", "whole")
        await expect(answer).not_to_contain_text("This is sentence 12")
        await expect(ada.stop).to_be_hidden()
        await here.at_rest()


async def test_a_waiting_message_is_edited_and_another_deleted(here: World, visit: Visits):
    here.runtime.hold()
    async with here.app():
        ada = await visit("ada")
        await ada.goes_to("general")
        await ada.says("@threadline first")
        await ada.opens_thread("first")
        await eventually(here.runtime.held)
        await ada.replies("we release on Friday")
        await ada.replies("never mind")
        friday, never = ada.in_thread("we release on Friday"), ada.in_thread("never mind")
        for message in (friday, never):
            await expect(ada.reaction(message, "hourglass_flowing_sand")).to_be_visible()
        await ada.edits(friday, "we release on Monday")
        monday = ada.in_thread("we release on Monday")
        await expect(monday).to_contain_text("edited")
        await ada.deletes(never)
        await expect(never).to_have_count(0)
        await here.slack.settle()
        here.runtime.release()
        await expect(ada.in_thread('You said: "we release on Monday"')).to_be_visible()
        await expect(ada.reaction(monday, "hourglass_flowing_sand")).to_be_hidden()
        await here.at_rest()
    assert here.sent_texts() == ["first", "we release on Monday"]


async def test_an_answered_message_is_edited_and_the_correction_answered(
    here: World, visit: Visits
):
    async with here.app():
        ada = await visit("ada")
        await ada.goes_to("general")
        await ada.says("@threadline meet at 14:00")
        await ada.opens_thread("meet at 14:00")
        await expect(ada.in_thread('You said: "meet at 14:00"')).to_be_visible()
        await ada.edits(ada.in_thread("meet at 14:00").first, "@threadline meet at 15:00")
        await expect(ada.in_thread("meet at 15:00").first).to_contain_text("edited")
        corrected = ada.in_thread("Correction of my earlier message")
        await expect(corrected).to_contain_text("meet at 15:00")
        await here.at_rest()


async def test_a_direct_message_needs_no_mention(here: World, visit: Visits):
    async with here.app():
        grace = await visit("grace")
        await grace.goes_to_the_agent()
        await grace.says("which planet is the largest?")
        await grace.opens_thread("which planet is the largest?")
        await expect(grace.in_thread('You said: "which planet is the largest?"')).to_be_visible()
        await here.at_rest()


async def test_what_the_agent_made_is_seen_in_the_thread_with_name_and_size(
    here: World, visit: Visits
):
    async with here.app():
        ada = await visit("ada")
        await ada.goes_to("general")
        await ada.says("@threadline !write report.csv 20k, plot.bin 3M, huge.bin 21M")
        await ada.opens_thread("!write report.csv")
        for name, size in (("report.csv", "CSV · 20 KB"), ("plot.bin", "BIN · 3.0 MB")):
            file = ada.thread.locator("a.file").filter(has_text=name)
            await expect(file).to_contain_text(size)
            await expect(file).to_have_attribute("download", name)
        await expect(ada.in_thread("“huge.bin” (21.0 MB)")).to_be_visible()
        await here.at_rest()

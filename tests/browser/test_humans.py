"""People decide at the page: approve, deny with a reason, answer; and whoever may not is told so."""

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Visits
from tests.browser.person import BOTH_SIZES, Person
from tests.harness import World

pytestmark = BOTH_SIZES


async def _asked(person: Person, words: str) -> None:
    """The person has asked for something that waits for people."""
    await person.goes_to("general")
    await person.says(f"@threadline {words}")
    await person.opens_thread(words)


async def test_a_call_is_approved_and_its_card_says_by_whom(here: World, visit: Visits):
    async with here.app():
        ada = await visit("ada")
        await _asked(ada, "!ask bash")
        card = ada.in_thread("The agent wants to use bash")
        await expect(card).to_contain_text("ls -l /workspace")
        await ada.presses("Approve", card)
        await expect(card).to_contain_text("Approved by @Ada Lovelace")
        await expect(card.get_by_role("button", name="Approve")).to_have_count(0)
        await expect(ada.in_thread("bash was allowed and ran.")).to_be_visible()
        await here.at_rest()


async def test_a_call_is_denied_with_a_reason(here: World, visit: Visits):
    async with here.app():
        ada = await visit("ada")
        await _asked(ada, "!ask edit")
        card = ada.in_thread("The agent wants to use edit")
        await ada.presses("Deny", card)
        await ada.fills_in("Reason", "Keep the notes as they are.")
        await ada.submits("Deny")
        await expect(ada.modal).to_be_hidden()
        await expect(card).to_contain_text("Reason: Keep the notes as they are.")
        await expect(ada.in_thread("edit was denied")).to_contain_text(
            "Keep the notes as they are."
        )
        await here.at_rest()


@pytest.mark.parametrize("how", ["choice", "form", "reply"])
async def test_a_question_is_answered(here: World, visit: Visits, how: str):
    async with here.app():
        ada = await visit("ada")
        await _asked(ada, "!escalate Which one? | red | blue")
        card = ada.in_thread("The agent asks:")
        await expect(ada.status).to_have_text("Waiting for a person")
        match how:
            case "choice":
                await ada.presses("blue", card)
            case "form":
                await ada.presses("Answer…", card)
                await ada.fills_in("Answer", "the blue one")
                await ada.submits("Send")
                await expect(ada.modal).to_be_hidden()
            case _:
                await ada.replies("the blue one")
        await expect(card).to_contain_text("Answered by")
        await expect(ada.in_thread("escalate_to_human answered").last).to_contain_text("blue")
        await here.at_rest()


async def test_somebody_else_may_not_decide_and_is_told_alone(here: World, visit: Visits):
    async with here.app():
        ada = await visit("ada")
        await _asked(ada, "!ask bash")
        await ada.becomes("linus")
        card = ada.in_thread("The agent wants to use bash")
        await ada.presses("Approve", card)
        note = ada.page.get_by_text("This is not yours to decide.")
        await expect(note).to_be_visible()
        await expect(ada.private(note)).to_contain_text("Only visible to you")
        await ada.becomes("ada")
        await expect(note).to_be_hidden()
        await ada.becomes("linus")
        await ada.presses("Dismiss", ada.private(note))
        await expect(note).to_be_hidden()
        await ada.becomes("ada")
        await ada.presses("Approve", card)
        await expect(card).to_contain_text("Approved by")
        await expect(ada.in_thread("bash was allowed and ran.")).to_be_visible()
        await here.at_rest()

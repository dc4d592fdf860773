"""The inspector shows what Slack, the bot and the runtime say to each other, and makes trouble on demand."""

import pytest
from playwright.async_api import Locator, expect

from tests.browser.conftest import Visits
from tests.browser.person import Person
from tests.flows.people import set_behaviour
from tests.harness import World
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("behind")


def _row(person: Person, name: str) -> Locator:
    """The first line of the timeline whose lane and title begin like this."""
    lines = person.inspector.get_by_role("tabpanel", name="Timeline").get_by_role("button")
    return lines.and_(person.page.locator(f'[aria-label^="{name}"]')).first


async def _asks(person: Person, text: str) -> None:
    await person.goes_to("general")
    await person.says(f"@threadline {text}")
    await person.opens_thread(text)


async def _looks_for(person: Person, word: str) -> None:
    """Only what is in view is there; on a busy machine more lines come than fit."""
    await person.inspector.get_by_label("Filter the timeline by text").fill(word)


async def _opens(person: Person, tab: str) -> Locator:
    await person.inspector.get_by_role("tab", name=tab).click()
    return person.inspector.get_by_role("tabpanel", name=tab)


async def test_one_answer_is_followed_from_the_event_to_the_call(here: World, visit: Visits):
    await set_behaviour(here, stream=False)
    async with here.app():
        ada = await visit("ada")
        await ada.opens_inspector()
        await _asks(ada, "hello")
        await expect(ada.in_thread('You said: "hello"')).to_be_visible()
        for name in (
            "Slack → app: app_mention",
            "runtime: user.message",
            "runtime: agent.message",
            "runtime: session.status_idle",
            "app → Slack: chat.postMessage",
        ):
            await _looks_for(ada, name.split()[-1])
            await expect(_row(ada, name)).to_be_visible()
        call = _row(ada, "app → Slack: chat.postMessage")
        await call.click()
        await expect(ada.inspector.get_by_role("heading", name="Arguments")).to_be_visible()
        await ada.presses("Copy as curl", ada.inspector)
        await expect(ada.inspector.get_by_role("status").filter(has_text="Copied")).to_be_visible()
        curl = await ada.page.evaluate("navigator.clipboard.readText()")
        assert curl.startswith('curl -s "${SLACK_API_URL}chat.postMessage"')
        assert "You said:" in curl
        assert here.slack.bot_token not in curl
        await here.at_rest()


async def test_the_rows_of_the_open_thread_are_shown_as_they_stand(here: World, visit: Visits):
    here.runtime.hold()
    async with here.app():
        ada = await visit("ada")
        await ada.opens_inspector()
        await _asks(ada, "hello")
        rows = await _opens(ada, "Rows")
        await expect(rows).to_contain_text("running")
        here.runtime.release()
        await expect(ada.in_thread('You said: "hello"')).to_be_visible()
        for state in ("completed", "done", "sent"):
            await expect(rows.get_by_text(state, exact=True).first).to_be_visible()
        await here.at_rest()


async def test_a_fault_is_switched_on_and_survived(here: World, visit: Visits):
    await set_behaviour(here, stream=False)
    async with here.app():
        ada = await visit("ada")
        await ada.opens_inspector()
        faults = await _opens(ada, "Faults")
        await expect(faults).to_contain_text("Nothing misbehaves.")
        await ada.presses("Drop the next answer: of a post", faults)
        await expect(faults).to_contain_text("Faults that are on")
        await _asks(ada, "hello")
        await expect(ada.in_thread('You said: "hello"')).to_be_visible()
        await expect(faults).to_contain_text("Nothing misbehaves.")
        await _opens(ada, "Timeline")
        await _looks_for(ada, "drop_after")
        struck = ada.inspector.get_by_role("button", name="drop_after")
        await expect(struck.first).to_be_visible()
        await here.at_rest()
        await expect(ada.in_thread('You said: "hello"')).to_have_count(1)


async def test_an_order_to_the_runtime_is_carried_out(here: World, visit: Visits):
    async with here.app():
        ada = await visit("ada")
        await ada.opens_inspector()
        faults = await _opens(ada, "Faults")
        await ada.presses("Keep the model thinking", faults)
        await eventually(lambda: here.runtime.world.gate._all, says="the order carried out")
        await _asks(ada, "hello")
        await eventually(here.runtime.held)
        await expect(ada.status).to_have_text("Working…")
        await ada.presses("Restore the runtime", faults)
        await expect(ada.in_thread('You said: "hello"')).to_be_visible()
        await here.at_rest()

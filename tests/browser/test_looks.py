"""Every state of the page, light and dark, on a desk and in a hand, passes axe; the theme is a choice."""

import re
from typing import Literal

from playwright.async_api import expect

from tests.browser import axe
from tests.browser.arranged import bot_says, bot_tells
from tests.browser.conftest import Visits
from tests.browser.person import BOTH_SIZES, Person
from tests.flows.people import set_behaviour
from tests.harness import World
from tests.support import eventually

_THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
_BACKGROUND = "(body) => getComputedStyle(body).backgroundColor"
# A colour that an element takes over from the one around it begins to change when that has changed.
_SETTLED = """async () => {
    const changing = () => document.getAnimations().filter((one) => one instanceof CSSTransition);
    const frame = () => new Promise((done) => requestAnimationFrame(done));
    for (await frame(); changing().length; await frame()) {
        await Promise.all(changing().map((one) => one.finished.catch(() => null)));
    }
}"""
_STREAM = {"type": "task_card", "task_id": "1", "title": "bash", "status": "complete"}


async def _wears(person: Person, theme: Literal["light", "dark"]) -> None:
    """The system has this theme from now on, and all colours have changed."""
    await person.page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    await person.page.evaluate(_SETTLED)


async def _is_clean(person: Person, state: str) -> None:
    """What axe says of this state, in both themes."""
    for theme in _THEMES:
        await _wears(person, theme)
        found = await axe.violations(person.page)
        assert found == [], f"{state}, {theme}, {person.size}:\n" + "\n".join(found)


@BOTH_SIZES
async def test_a_channel_and_what_opens_over_it(here: World, visit: Visits):
    said = await here.slack.say("grace", "general", "@ada lunch in <#C0RANDOM>?")
    await here.slack.react("linus", "general", said.ts, "tada")
    await here.slack.say("linus", "general", "the notes", files=["notes.txt"])
    bot_says(here, "general", "x", blocks=[_STREAM, {"type": "hologram", "block_id": "h"}])
    bot_tells(here, "ada", "general", "A word in your ear.")
    await here.slack.say("grace", "random", "anybody here?")
    ada = await visit("ada")
    await _is_clean(ada, "at first")
    await ada.goes_to("general")
    await ada.reacts(ada.in_channel("lunch in"), "eyes")
    await _is_clean(ada, "a channel")
    await ada.composer.fill("@gr")
    await expect(ada.page.get_by_role("option").first).to_be_visible()
    await _is_clean(ada, "completion")
    await ada.composer.fill("")
    await ada.who.click()
    await _is_clean(ada, "people")
    await ada.page.keyboard.press("Escape")
    await ada.page.keyboard.press("ControlOrMeta+K")
    await _is_clean(ada, "quick switch")
    await ada.page.keyboard.press("Escape")
    await ada.becomes("outsider")
    await _is_clean(ada, "somebody who is not inside")


@BOTH_SIZES
async def test_a_thread_with_a_card_and_its_form(here: World, visit: Visits):
    async with here.app():
        ada = await visit("ada")
        await ada.goes_to("general")
        await ada.says("@threadline !long 3")
        await ada.opens_thread("!long 3")
        await expect(ada.in_thread("That is all.")).to_have_attribute("data-state", "whole")
        await _is_clean(ada, "a long answer")
        await ada.replies("!escalate Which one? | red | blue")
        await expect(ada.status).to_have_text("Waiting for a person")
        await ada.presses("Answer…", ada.in_thread("The agent asks:"))
        await ada.submits("Send")
        await expect(ada.modal).to_contain_text("Please complete this required field.")
        await _is_clean(ada, "a form that is objected to")
        await ada.modal.get_by_role("button", name="Close").click()
        await expect(ada.modal).to_be_hidden()
        await _is_clean(ada, "a card")
        await here.slack.settle()


@BOTH_SIZES
async def test_app_home_and_the_direct_message(here: World, visit: Visits):
    prompts = [{"title": "Ask me something", "message": "which planet is the largest?"}]
    await set_behaviour(here, prompts=prompts)
    async with here.app():
        asked = await here.slack.say("ada", "general", "@threadline !ask bash")
        await eventually(lambda: len(here.bot_posts(asked.channel, asked.ts)) == 2)
        ada = await visit("ada")
        await ada.goes_home()
        await expect(ada.home).to_contain_text("The agent wants to use bash.")
        await _is_clean(ada, "App Home")
        await ada.goes_to_the_agent()
        await expect(ada.channel).to_contain_text("Ask me something")
        await _is_clean(ada, "the direct message")
        await here.slack.settle()


@BOTH_SIZES
async def test_the_inspector(here: World, visit: Visits):
    async with here.app():
        ada = await visit("ada")
        await ada.goes_to("general")
        await ada.says("@threadline hello")
        await ada.opens_thread("hello")
        await expect(ada.in_thread("You said")).to_be_visible()
        await here.at_rest()
        await ada.opens_inspector()
        # only what is in view is there, and what is open stays in view
        words = ada.inspector.get_by_label("Filter the timeline by text")
        await words.fill("app_mention")
        line = ada.inspector.get_by_role("button", name=re.compile("app_mention")).first
        await line.click()
        await expect(line).to_have_attribute("aria-expanded", "true")
        await words.fill("")
        await _is_clean(ada, "the timeline")
        for tab in ("Rows", "Faults"):
            await ada.inspector.get_by_role("tab", name=tab).click()
            await _is_clean(ada, tab)


async def test_the_theme_follows_the_system_until_somebody_chooses(visit: Visits):
    ada = await visit("ada")
    body = ada.page.locator("body")
    light = await body.evaluate(_BACKGROUND)
    await _wears(ada, "dark")
    await expect(body).not_to_have_css("background-color", light)
    dark = await body.evaluate(_BACKGROUND)
    for choice, colour in (("Light", light), ("Dark", dark), ("Light", light)):
        await ada.presses("Theme", ada.page.get_by_role("banner"))
        await ada.page.get_by_role("menuitemradio", name=choice).click()
        await expect(body).to_have_css("background-color", colour)
    await ada.page.reload()
    await expect(ada.who).to_be_enabled()
    await expect(body).to_have_css("background-color", light)
    await ada.presses("Theme", ada.page.get_by_role("banner"))
    await ada.page.get_by_role("menuitemradio", name="As the system").click()
    await expect(body).to_have_css("background-color", dark)

"""App Home shows what waits for a person, who decides there; and the agent's prompts are one press."""

import re

from playwright.async_api import expect

from tests.browser.conftest import Visits
from tests.flows.people import set_behaviour
from tests.harness import World
from tests.support import eventually


async def test_what_waits_is_approved_at_home(here: World, visit: Visits):
    async with here.app():
        asked = await here.slack.say("ada", "general", "@threadline !ask bash")
        await eventually(lambda: len(here.bot_posts(asked.channel, asked.ts)) == 2)
        ada = await visit("ada")
        await ada.goes_home()
        await expect(ada.home).to_contain_text("Waiting for you")
        await expect(ada.home).to_contain_text("The agent wants to use bash.")
        await expect(ada.home).to_contain_text("Recent sessions")
        await ada.presses("Approve bash", ada.home)
        await expect(ada.home).to_contain_text("Nothing waits for you.")
        await here.at_rest()
        assert here.bot_posts(asked.channel, asked.ts)[-1] == "bash was allowed and ran."
        await ada.becomes("grace")
        await expect(ada.home).to_contain_text("You have not begun one yet.")
        await here.at_rest()


async def test_a_suggested_prompt_is_used(here: World, visit: Visits):
    prompt = {"title": "Ask me something", "message": "which planet is the largest?"}
    await set_behaviour(here, prompts=[prompt], greeting="Good to see you")
    async with here.app():
        ada = await visit("ada")
        await ada.goes_to_the_agent()
        await expect(ada.channel).to_contain_text("Good to see you")
        await ada.channel.get_by_role("button", name="Ask me something").hover()
        await ada.page.mouse.down()
        await here.slack.say("grace", "random", "something else changes meanwhile")
        await expect(ada.page).to_have_title(re.compile("^• "))
        await ada.page.mouse.up()
        await ada.opens_thread("which planet is the largest?")
        await expect(ada.in_thread('You said: "which planet is the largest?"')).to_be_visible()
        await here.at_rest()

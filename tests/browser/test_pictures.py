"""The two pictures of the README: a scene that is played each time, and kept with PICTURES=1."""

import os
import re
from pathlib import Path

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Visits
from tests.browser.person import Size
from tests.harness import World

_ROOT = Path(__file__).parents[2]
_PICTURES = Path(__file__).parent / "pictures"
_IMAGE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)|<img\s[^>]*src=\"([^\"]+)\"")
_PNG = b"\x89PNG\r\n\x1a\n"


def test_the_readme_shows_pictures_that_are_there():
    named = [one or other for one, other in _IMAGE.findall((_ROOT / "README.md").read_text())]
    ours = [path for path in named if "://" not in path]
    assert {f"tests/browser/pictures/{size}.png" for size in ("desktop", "phone")} <= set(ours)
    for path in ours:
        assert (_ROOT / path).read_bytes().startswith(_PNG), path


@pytest.mark.parametrize("size", ["desktop", "phone"])
async def test_an_approval_beside_what_the_two_platforms_say(
    behind: World, visit: Visits, size: Size
):
    here = behind
    async with here.app():
        grace = await here.slack.say(
            "grace", "general", "The notes of release 2.4 are in the folder."
        )
        await here.slack.react("linus", "general", grace.ts, "tada")
        ada = await visit("ada")
        if size == "desktop":
            await ada.opens_inspector()
        await ada.goes_to("general")
        await ada.says("@threadline write up the fruit stock !long 0.5")
        await ada.opens_thread("write up the fruit stock")
        await expect(ada.in_thread("That is all.")).to_have_attribute("data-state", "whole")
        await here.at_rest()
        await ada.replies("may you list the workspace? !ask bash")
        card = ada.in_thread("The agent wants to use bash.")
        await expect(card.get_by_role("button", name="Approve")).to_be_in_viewport()
        await expect(ada.status).to_have_text("Waiting for a person")
        await here.at_rest()
        await ada.page.mouse.move(0, 0)
        if os.environ.get("PICTURES"):
            picture = _PICTURES / f"{size}.png"
            await ada.page.screenshot(path=picture, animations="disabled", caret="hide")

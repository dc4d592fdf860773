"""Long channels and threads stay light: few elements, little memory, and nothing jumps."""

from playwright.async_api import Locator, expect

from tests.browser.arranged import many
from tests.browser.conftest import Visits
from tests.browser.person import Person
from tests.harness import World
from tests.support import eventually

_MOST_MESSAGES = 150
_MOST_ELEMENTS = 8_000
_MOST_BYTES = 100 * 1024 * 1024
_JUMP_PX = 3
_PAGES = 6
_TO_THE_TOP = """(log) => {
    log.parentElement.scrollTop = 0;
    const oldest = log.querySelector('article');
    return {ts: oldest.dataset.ts, top: oldest.getBoundingClientRect().top};
}"""
# As long as there is less above the screen, a list fetches pages by itself, and goes to its end then.
_IS_FILLED = """(log) => {
    const {scrollHeight, clientHeight} = log.parentElement;
    return scrollHeight >= clientHeight + 700;
}"""
_DRAWN = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


async def test_five_thousand_messages_in_a_channel(here: World, visit: Visits):
    many(here, "general", 5_000)
    ada = await visit("ada")
    await ada.goes_to("general")
    await expect(ada.in_channel("Message number 4999 of 5000.")).to_be_in_viewport()
    for _ in range(_PAGES):
        await _scrolls_to_older(ada.channel)
    await _is_light(ada, ada.channel)
    await here.slack.say("grace", "general", "the newest of all")
    await expect(ada.in_channel("the newest of all")).not_to_be_in_viewport()
    await ada.presses("1 new message", ada.channel)
    await expect(ada.in_channel("the newest of all")).to_be_in_viewport()
    await _is_light(ada, ada.channel)


async def test_two_hundred_messages_in_a_thread(here: World, visit: Visits):
    root = await here.slack.say("ada", "general", "a long story")
    many(here, "general", 200, below=root)
    ada = await visit("ada")
    await ada.goes_to("general")
    await ada.opens_thread("a long story")
    await expect(ada.in_thread("Message number 199 of 200.")).to_be_in_viewport()
    await _is_light(ada, ada.thread)
    while not await ada.in_thread("a long story").count():
        await _scrolls_to_older(ada.thread)
    await _is_light(ada, ada.thread)
    await expect(ada.in_thread("Message number 0 of 200.")).to_be_attached()
    await ada.replies("and so it ended")
    await expect(ada.in_thread("and so it ended")).to_be_in_viewport()
    await _is_light(ada, ada.thread)


async def _scrolls_to_older(pane: Locator) -> None:
    """At the top older messages come above what was the oldest, which stays where it was."""
    log = pane.get_by_role("log")
    await eventually(lambda: log.evaluate(_IS_FILLED), says="a list that fetches no more")
    was = await log.evaluate(_TO_THE_TOP)
    oldest = pane.locator("article[data-ts]").first
    await expect(oldest).not_to_have_attribute("data-ts", was["ts"])
    await pane.page.evaluate(_DRAWN)
    box = await pane.locator(f'article[data-ts="{was["ts"]}"]').bounding_box()
    assert box is not None
    assert abs(box["y"] - was["top"]) <= _JUMP_PX


async def _is_light(person: Person, pane: Locator) -> None:
    assert await pane.locator("article[data-ts]").count() <= _MOST_MESSAGES
    assert await person.page.locator("*").count() <= _MOST_ELEMENTS
    assert await person.heap() < _MOST_BYTES

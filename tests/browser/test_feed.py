"""The page's one connection: cut, it comes back by itself, and nothing that happened meanwhile is missed."""

import asyncio

from playwright.async_api import Route, expect

from bot.local import LocalSlack
from tests.browser.conftest import Visits
from tests.flows.streams import go_on, said, words_come
from tests.harness import World
from tests.support import eventually


def _connections(slack: LocalSlack) -> int:
    """How many pages the server is telling what happens."""
    return len(slack._page._viewers._open)


async def test_a_feed_that_is_cut_is_opened_again_and_a_stream_goes_on(here: World, visit: Visits):
    here.runtime.world.pace.set_rate(0)
    async with here.app():
        ada = await visit("ada")
        await ada.goes_to("general")
        await ada.says("@threadline !slow 24")
        await ada.opens_thread("!slow 24")
        await words_come(here, 3)
        answer = ada.in_thread("This is sentence 1")
        await expect(answer).to_have_attribute("data-state", "streaming")
        ada.watch.allow("_page/feed|ERR_INTERNET_DISCONNECTED")
        await ada.page.context.set_offline(offline=True)
        here.slack._page._viewers.close()
        await eventually(lambda: _connections(here.slack) == 0)
        await expect(ada.page.get_by_text("Connection lost.")).to_be_visible()
        await here.slack.say("grace", "general", "while you were away")
        go_on(here)
        await here.at_rest()
        await expect(answer).to_have_attribute("data-state", "streaming")
        await ada.page.context.set_offline(offline=False)
        await expect(ada.in_channel("while you were away")).to_be_visible()
        await expect(answer).to_have_attribute("data-state", "whole")
        await expect(answer).to_contain_text(said("!slow 24"))
        await expect(ada.page.get_by_text("Connection lost.")).to_be_hidden()
        await eventually(lambda: _connections(here.slack) == 1)


async def test_a_page_holds_one_connection_through_all_that_one_does(here: World, visit: Visits):
    ada = await visit("ada")
    for place in ("general", "random", "private"):
        await ada.goes_to(place)
        await ada.says("hello")
        await expect(ada.in_channel("hello")).to_be_visible()
    await ada.goes_home()
    await ada.becomes("grace")
    assert _connections(here.slack) == 1
    await ada.page.reload()
    await expect(ada.who).to_have_accessible_name("Acting as Grace Hopper. Change person")
    await here.slack.say("grace", "random", "who is told of this?")
    await eventually(lambda: _connections(here.slack) == 1)
    await visit("linus")
    assert _connections(here.slack) == 2


async def test_what_comes_while_a_thread_is_fetched_is_there(here: World, visit: Visits):
    """The server's answer is older than what the page was told while it was on its way."""
    fetched, told = asyncio.Event(), asyncio.Event()

    async def slow(route: Route) -> None:
        answer = await route.fetch()
        fetched.set()
        await told.wait()
        await route.fulfill(response=answer)

    here.runtime.hold()
    async with here.app():
        ada = await visit("ada")
        await ada.page.route("**/_page/thread?*", slow)
        await ada.goes_to("general")
        await ada.says("@threadline hello")
        await ada.opens_thread("hello")
        await fetched.wait()
        here.runtime.release()
        await expect(ada.in_channel("hello").get_by_role("button", name="1 reply")).to_be_visible()
        told.set()
        await expect(ada.in_thread("You said")).to_be_visible()
        await expect(ada.in_channel("hello").get_by_role("button", name="1 reply")).to_be_visible()

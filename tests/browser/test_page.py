"""What else a person sees and does at the page, at a desk."""

import base64
import re

import pytest
from playwright.async_api import expect

from tests.browser.arranged import bot_says, bot_tells
from tests.browser.conftest import Visits
from tests.harness import World
from tests.support import eventually

_DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


async def test_a_form_that_is_objected_to_says_what_is_wrong(here: World, visit: Visits):
    async with here.app():
        ada = await visit("ada")
        await ada.goes_to("general")
        await ada.says("@threadline !escalate Which one?")
        await ada.opens_thread("!escalate Which one?")
        await ada.presses("Answer…", ada.in_thread("The agent asks:"))
        await ada.submits("Send")
        field = ada.modal.get_by_label("Answer")
        await expect(field).to_have_attribute("aria-invalid", "true")
        await ada.fills_in("Answer", "   ")
        await ada.submits("Send")
        await expect(ada.modal).to_contain_text("Write an answer.")
        await expect(field).to_have_attribute("aria-invalid", "true")
        await ada.fills_in("Answer", "the blue one")
        await ada.submits("Send")
        await expect(ada.modal).to_be_hidden()
        await expect(ada.in_thread("Answered by")).to_be_visible()
        await here.at_rest()


async def test_a_private_note_is_seen_by_one_person_and_dismissed(here: World, visit: Visits):
    bot_tells(here, "linus", "general", "A word in your ear.")
    ada = await visit("ada")
    await ada.goes_to("general")
    note = ada.page.get_by_text("A word in your ear.")
    await expect(note).to_be_hidden()
    await ada.becomes("linus")
    await expect(note).to_be_visible()
    await ada.presses("Dismiss", ada.private(note))
    await expect(note).to_be_hidden()


async def test_a_reaction_is_put_and_taken_away(here: World, visit: Visits):
    said = await here.slack.say("grace", "general", "lunch?")
    ada = await visit("ada")
    await ada.goes_to("general")
    message = ada.in_channel("lunch?")
    await ada.reacts(message, "tada")
    mine = ada.reaction(message, "tada")
    await expect(mine).to_have_text("🎉1")
    await expect(mine).to_have_attribute("aria-pressed", "true")
    await ada.becomes("grace")
    await expect(mine).to_have_attribute("aria-pressed", "false")
    await mine.click()
    await expect(mine).to_have_text("🎉2")
    await mine.click()
    await expect(mine).to_have_text("🎉1")
    await ada.becomes("ada")
    await mine.click()
    await expect(mine).to_have_count(0)
    stored = here.slack.workspace.state.message(said.channel, said.ts)
    assert stored is not None
    assert stored.reactions == []


async def test_a_file_is_attached_and_shown(here: World, visit: Visits):
    ada = await visit("ada")
    await ada.goes_to("general")
    await ada.attaches("dot.png", "image/png", _DOT)
    await ada.attaches("notes.txt", "text/plain", b"one\ntwo\n")
    await ada.says("both of them")
    message = ada.in_channel("both of them")
    picture = message.get_by_role("img", name="dot.png")
    await expect(picture).to_be_visible()
    assert await picture.evaluate("async (img) => (await img.decode(), img.naturalWidth)") == 1
    await expect(message).to_contain_text("notes.txt")
    (said,) = here.slack.history("general")
    assert [(one["name"], one["mimetype"], one["size"]) for one in said.files] == [
        ("dot.png", "image/png", len(_DOT)),
        ("notes.txt", "text/plain", 8),
    ]


async def test_a_block_of_an_unknown_type_is_shown_as_such(here: World, visit: Visits):
    blocks = [
        {"type": "hologram", "block_id": "h", "depth": 3},
        {"type": "section", "text": {"type": "mrkdwn", "text": "what follows it"}},
    ]
    bot_says(here, "general", "see this", blocks=blocks)
    ada = await visit("ada")
    await ada.goes_to("general")
    message = ada.in_channel("what follows it")
    await expect(message).to_contain_text("hologram")
    await expect(message.get_by_text('"depth": 3')).to_be_hidden()
    await message.get_by_text("hologram").first.click()
    await expect(message.get_by_text('"depth": 3')).to_be_visible()


async def test_what_is_new_is_marked_until_it_is_read(here: World, visit: Visits):
    ada = await visit("ada")
    await ada.goes_to("general")
    await expect(ada.unread("random")).to_be_hidden()
    await here.slack.say("grace", "random", "anybody here?")
    newest = await here.slack.say("grace", "random", "hello?")
    await expect(ada.unread("random")).to_have_accessible_name("random, 2 unread messages")
    await ada.goes_to("random")
    await expect(ada.in_channel("anybody here?")).to_be_visible()
    await expect(ada.unread("random")).to_be_hidden()
    await ada.page.reload()
    await expect(ada.channels.get_by_role("button", name="random")).to_be_visible()
    await expect(ada.unread("random")).to_be_hidden()
    await ada.becomes("linus")
    reads = here.slack.workspace.state.reads["C0RANDOM"]
    await eventually(lambda: reads.get("U0LINUS") == newest.ts, says="linus having read it")
    await expect(ada.unread("random")).to_be_hidden()
    await ada.goes_to("general")
    await here.slack.say("grace", "random", "bye")
    await expect(ada.unread("random")).to_have_accessible_name("random, 1 unread message")
    await ada.becomes("grace")
    await expect(ada.unread("random")).to_be_hidden()


_TOLD = """(text) => import("/_page/static/store.js").then(
    ({store}) => [...store.state.messages.values()].some((one) => one.text === text))"""
_DRAWN = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.mark.parametrize("what", ["replies", "channel"])
async def test_what_is_drawn_anew_between_press_and_release_is_pressed_all_the_same(
    here: World, visit: Visits, what: str
):
    root = await here.slack.say("grace", "general", "lunch?")
    await here.slack.say("linus", "general", "where?", thread_ts=root.ts)
    ada = await visit("ada")
    await ada.goes_to("general")
    replies = ada.in_channel("lunch?").get_by_role("button", name=re.compile("repl"))
    await expect(replies).to_contain_text("1 reply")
    channel = ada.channels.get_by_role("button", name="random")
    await (replies if what == "replies" else channel).hover()
    await ada.page.mouse.down()
    await here.slack.say("linus", "general", "when?", thread_ts=root.ts)
    await here.slack.say("grace", "private", "psst")
    await ada.page.wait_for_function(_TOLD, arg="psst")
    await ada.page.evaluate(_DRAWN)
    await ada.page.mouse.up()
    if what == "replies":
        await expect(ada.in_thread("when?")).to_be_visible()
        await expect(replies).to_contain_text("2 replies")
    else:
        await expect(ada.channel.get_by_role("heading", level=1)).to_have_text("random")
    await expect(ada.unread("private")).to_have_accessible_name("private, 1 unread message")


_HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
_LINKS = (
    "<javascript:alert(3)|press me> [and me](javascript:alert(4)) <https://example.com/|fine>"
    " [data](data:text/html,<script>alert(5)</script>)"
)


async def test_hostile_text_stays_text_wherever_it_stands(here: World, visit: Visits):
    everywhere = f"{_HOSTILE} {_LINKS}"
    text = {"type": "mrkdwn", "text": everywhere}
    plain = {"type": "plain_text", "text": _HOSTILE[:70]}
    link = {"type": "link", "url": "javascript:alert(6)", "text": _HOSTILE}
    rich = {"type": "rich_text_section", "elements": [{"type": "text", "text": everywhere}, link]}
    button = {"type": "button", "action_id": "a", "text": plain, "url": "javascript:alert(7)"}
    blocks = [
        {"type": "section", "block_id": "1", "text": text, "fields": [text, plain]},
        {"type": "header", "block_id": "2", "text": plain},
        {"type": "context", "block_id": "3", "elements": [text, plain]},
        {"type": "markdown", "block_id": "4", "text": everywhere},
        {"type": "rich_text", "block_id": "5", "elements": [rich]},
        {"type": "actions", "block_id": "6", "elements": [button]},
        {"type": "image", "block_id": "7", "image_url": "javascript:alert(8)", "alt_text": "x"},
        {"type": _HOSTILE, "block_id": "8"},
    ]
    here.slack.add_user(_HOSTILE)
    bot_says(here, "general", everywhere, blocks=blocks)
    bot_says(here, "general", everywhere, username=_HOSTILE)
    await here.slack.say("grace", "general", everywhere, files=[f"{_HOSTILE}.txt"])
    bot_tells(here, "ada", "general", everywhere)
    ada = await visit("ada")
    await ada.goes_to("general")
    await expect(ada.page.get_by_text("onerror=alert(1)").first).to_be_visible()
    await expect(ada.in_channel("alert(1)")).to_have_count(4)
    assert await ada.page.locator("img[src=x], article script, [onerror]").count() == 0
    links = await ada.page.locator("a[href]").evaluate_all("all => all.map((one) => one.href)")
    allowed = ("http://127.0.0.1", "https://example.com/")
    assert [link for link in links if not link.startswith(allowed)] == []
    assert any(link == "https://example.com/" for link in links)

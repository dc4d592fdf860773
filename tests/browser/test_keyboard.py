"""A whole conversation without a pointer."""

from playwright.async_api import expect

from tests.browser.conftest import Visits
from tests.browser.person import Person
from tests.harness import World
from tests.support import eventually


async def _types(person: Person, text: str, *keys: str) -> None:
    """Types into whatever has the focus."""
    await person.page.keyboard.type(text)
    for key in keys:
        await person.page.keyboard.press(key)


async def _presses(person: Person, *keys: str) -> None:
    for key in keys:
        await person.page.keyboard.press(key)


async def test_a_name_is_completed_by_its_first_letters(here: World, visit: Visits):
    ada = await visit("ada")
    await ada.goes_to("general")
    await ada.composer.focus()
    await _types(ada, "see @gr")
    options = ada.page.get_by_role("listbox", name="Suggestions").get_by_role("option")
    await expect(options).to_have_count(1)
    await expect(options).to_contain_text("Grace Hopper")
    await _presses(ada, "Enter")
    await expect(ada.composer).to_have_value("see @grace ")
    await _types(ada, "and @")
    first = await options.first.inner_text()
    await _presses(ada, "ArrowDown")
    chosen = options.nth(1)
    await expect(chosen).to_have_attribute("aria-selected", "true")
    active = await ada.composer.get_attribute("aria-activedescendant")
    assert active == await chosen.get_attribute("id")
    assert first != await chosen.inner_text()
    await _presses(ada, "Escape")
    await expect(options).to_have_count(0)
    await _types(ada, "linus", "Tab", "Enter")
    await expect(ada.in_channel("see @Grace Hopper and @Linus Pauling")).to_be_visible()
    (said,) = here.slack.history("general")
    assert said.text == "see <@U0GRACE> and <@U0LINUS>"


async def test_up_in_an_empty_field_edits_the_last_message(here: World, visit: Visits):
    ada = await visit("ada")
    await ada.goes_to("general")
    await ada.says("the frist")
    await expect(ada.in_channel("the frist")).to_be_visible()
    await ada.says("the secnod")
    await expect(ada.in_channel("the secnod")).to_be_visible()
    await ada.composer.focus()
    await _presses(ada, "ArrowUp")
    editor = ada.page.get_by_role("textbox", name="Edit message")
    await expect(editor).to_have_value("the secnod")
    await expect(editor).to_be_focused()
    await editor.fill("nothing of this")
    await _presses(ada, "Escape")
    await expect(ada.in_channel("the secnod")).to_be_visible()
    await ada.composer.focus()
    await _presses(ada, "ArrowUp", "ControlOrMeta+A")
    await _types(ada, "the second", "Enter")
    await expect(ada.in_channel("the second")).to_contain_text("(edited)")
    first, second = [one.text for one in here.slack.history("general")]
    assert (first, second) == ("the frist", "the second")


async def test_a_conversation_needs_no_pointer(here: World, visit: Visits):
    async with here.app():
        ada = await visit("ada")
        await _presses(ada, "ControlOrMeta+K")
        await _types(ada, "rand")
        await expect(ada.page.get_by_role("option", name="random")).to_be_visible()
        await _presses(ada, "Enter")
        await expect(ada.composer).to_be_focused()
        await _types(ada, "@threa", "Enter")
        await _types(ada, "!ask bash", "Enter")
        root = ada.in_channel("!ask bash")
        await expect(root).to_be_visible()
        await expect(ada.in_thread("!ask bash")).to_be_visible()
        approve = ada.in_thread("wants to use bash").get_by_role("button", name="Approve bash")
        await expect(approve).to_be_visible()
        await ada.reply_composer.focus()
        await _tabs_to(ada, "Approve bash", back=True)
        await _presses(ada, "Enter")
        await expect(ada.in_thread("bash was allowed and ran.")).to_be_visible()
        await ada.reply_composer.focus()
        await _types(ada, "thank you", "Enter")
        await expect(ada.in_thread('You said: "thank you"')).to_be_visible()
        await _presses(ada, "Escape")
        await expect(ada.thread).to_be_hidden()
        await expect(root).to_be_focused()
        await _presses(ada, "Enter")
        await expect(ada.thread).to_be_visible()
        await _presses(ada, "Escape", "Alt+ArrowUp")
        await expect(ada.channel.get_by_role("heading", level=1)).not_to_have_text("random")
        await here.at_rest()


async def _tabs_to(person: Person, name: str, *, back: bool = False) -> None:
    """Moves by Tab alone until what has the focus is called that."""
    focused = person.page.locator(":focus")

    async def there() -> bool:
        await person.page.keyboard.press("Shift+Tab" if back else "Tab")
        return await focused.get_attribute("aria-label") == name

    await eventually(there, says=f"the focus on {name}")

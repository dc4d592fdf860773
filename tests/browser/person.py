"""Somebody who uses the page: sees what it shows, and does what a hand, a mouse or keys can do."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal

import pytest
from playwright.async_api import Browser, Locator, Page, ViewportSize, expect

from bot.local import LocalSlack
from tests.browser.watch import Watch
from tests.support import eventually

Size = Literal["desktop", "phone"]
BOTH_SIZES = pytest.mark.parametrize("size", ["desktop", "phone"])

_SCREENS: dict[Size, ViewportSize] = {
    "desktop": {"width": 1440, "height": 900},
    "phone": {"width": 390, "height": 844},
}
_AGENT = "Threadline"
PATIENCE_MS = 30_000


@dataclass(frozen=True)
class Person:
    """One page of this Slack in a window of its own; `watch` is what the page must not do."""

    page: Page
    slack: LocalSlack
    watch: Watch
    size: Size

    # ------------------------------------------------------------------ what is seen

    @property
    def who(self) -> Locator:
        """The switch that says whom the page acts as."""
        return self.page.get_by_test_id("people")

    @property
    def channels(self) -> Locator:
        """The list of channels and direct messages."""
        return self.page.get_by_test_id("channels")

    @property
    def channel(self) -> Locator:
        """The open channel."""
        return self.page.locator("section[aria-label=Conversation]")

    @property
    def thread(self) -> Locator:
        """The open thread."""
        return self.page.get_by_test_id("thread")

    @property
    def modal(self) -> Locator:
        """The form on top."""
        return self.page.get_by_test_id("modal")

    @property
    def home(self) -> Locator:
        """The agent's App Home."""
        return self.page.get_by_test_id("home")

    @property
    def inspector(self) -> Locator:
        """What the platforms and the bot say to each other."""
        return self.page.get_by_test_id("inspector")

    @property
    def status(self) -> Locator:
        """What the open thread says that its agent is doing."""
        return self.thread.get_by_test_id("status")

    @property
    def stop(self) -> Locator:
        """The button that ends an answer."""
        return self.thread.get_by_test_id("stop")

    @property
    def composer(self) -> Locator:
        """Where one writes to the channel."""
        return self.channel.get_by_test_id("composer").locator("textarea")

    @property
    def reply_composer(self) -> Locator:
        """Where one writes to the open thread."""
        return self.thread.get_by_test_id("composer").locator("textarea")

    def in_channel(self, text: str) -> Locator:
        """The messages of the channel itself that say this."""
        return self.channel.locator("article[data-ts]").filter(has_text=text)

    def in_thread(self, text: str) -> Locator:
        """The messages of the open thread that say this."""
        return self.thread.locator("article[data-ts]").filter(has_text=text)

    def private(self, note: Locator) -> Locator:
        """The message, for this person alone, that holds this."""
        return self.page.locator("article").filter(has=note)

    def reaction(self, message: Locator, name: str) -> Locator:
        """The reaction of that name below a message, with how many gave it."""
        return message.get_by_role("button", name=re.compile(rf"^{name.replace('_', ' ')}, \d+:"))

    def unread(self, channel: str) -> Locator:
        """The channel in the list, while it has something that this person has not read."""
        return self.channels.get_by_role("button", name=re.compile(rf"^{channel}, .*unread"))

    async def lengths(
        self, message: Locator, count: int, more: Callable[[], Awaitable[None]]
    ) -> list[int]:
        """How long a growing message was, each time that it had grown."""
        seen = [len(await message.inner_text())]
        while len(seen) < count:
            await more()

            async def longer() -> int:
                length = len(await message.inner_text())
                return length if length != seen[-1] else 0

            seen.append(await eventually(longer, says="a message that grows"))
        return seen

    async def heap(self) -> float:
        """The bytes that the page's scripts hold once what nobody needs is thrown away."""
        session = await self.page.context.new_cdp_session(self.page)
        await session.send("HeapProfiler.collectGarbage")
        await session.send("Performance.enable")
        metrics = (await session.send("Performance.getMetrics"))["metrics"]
        await session.detach()
        return float(next(one["value"] for one in metrics if one["name"] == "JSHeapUsedSize"))

    async def tells_what_is_seen(self) -> None:
        """Prints the page as a screen reader has it: what a failed test shows besides."""
        print(f"--- {self.page.url}\n{await self.page.locator('body').aria_snapshot()}")  # noqa: T201  # shown with the failure

    # ------------------------------------------------------------------ going somewhere

    async def goes_to(self, channel: str) -> None:
        """Opens the channel of that name."""
        await self._to_the_list()
        await self.channels.get_by_role("button", name=_named(channel)).click()
        await expect(self.channel.get_by_role("heading", level=1)).to_have_text(channel)

    async def goes_to_the_agent(self) -> None:
        """Opens the direct message with the agent."""
        await self.goes_to(_AGENT)

    async def goes_home(self) -> None:
        """Opens the agent's App Home."""
        await self._to_the_list()
        await self.channels.get_by_role("button", name=_named("App home")).click()
        await expect(self.home).to_be_visible()

    async def opens_thread(self, text: str) -> None:
        """Opens the thread below the message that says this, unless it is open."""
        there = self.in_thread(text).first
        way = self.in_channel(text).get_by_role("button", name=re.compile("repl|Open the thread"))
        await expect(there.or_(way).first).to_be_visible()
        if not await there.is_visible():
            await way.click()
        await expect(self.reply_composer).to_be_visible()

    async def becomes(self, name: str) -> None:
        """Acts as somebody else from now on, in the same place."""
        await self.who.click()
        real_name = self.slack.workspace.user(name).real_name
        await self.page.get_by_role("menuitemradio", name=re.compile(f"^{real_name}")).click()
        await expect(self.who).to_have_accessible_name(re.compile(f"^Acting as {real_name}"))

    async def opens_inspector(self) -> None:
        """Shows what the platforms and the bot say to each other."""
        await self.page.get_by_role("button", name="Inspector", exact=True).click()
        await expect(self.inspector).to_be_visible()

    async def _to_the_list(self) -> None:
        """On a phone one pane hides the one before it."""
        back = self.page.get_by_role("button", name=re.compile("^Back to the"))
        while self.size == "phone" and await back.filter(visible=True).count():
            await back.filter(visible=True).click()

    # ------------------------------------------------------------------ writing

    async def says(self, text: str) -> None:
        """Writes to the channel."""
        await self._sends(self.channel, self.composer, text)

    async def replies(self, text: str) -> None:
        """Writes to the open thread."""
        await self._sends(self.thread, self.reply_composer, text)

    async def _sends(self, pane: Locator, composer: Locator, text: str) -> None:
        await composer.fill(text)
        if self.size == "phone":
            await self.presses("Send message", pane)
        else:
            await composer.press("Enter")
        await expect(composer).to_have_value("")

    async def attaches(self, name: str, kind: str, content: bytes) -> None:
        """Adds a file to what is being written to the channel."""
        files = self.channel.get_by_test_id("composer").locator("input[type=file]")
        await files.set_input_files({"name": name, "mimeType": kind, "buffer": content})
        waiting = self.channel.get_by_role("list", name="Files to send").get_by_role("listitem")
        await expect(waiting.filter(has_text=name)).to_be_visible()
        await expect(waiting.get_by_role("progressbar")).to_have_count(0)

    async def edits(self, message: Locator, text: str) -> None:
        """Changes a message of one's own."""
        await self._chooses(message, "Edit message")
        editor = self.page.get_by_role("textbox", name="Edit message")
        await editor.fill(text)
        await self.page.get_by_role("button", name="Save").click()
        await expect(editor).to_be_hidden()

    async def deletes(self, message: Locator) -> None:
        """Deletes a message of one's own, and says that one is sure."""
        await self._chooses(message, "Delete message…")
        await self.presses("Delete", self.page.get_by_role("dialog", name="Delete message"))

    async def reacts(self, message: Locator, name: str) -> None:
        """Chooses a reaction by its name."""
        await self.presses("Add reaction", await self._actions(message))
        await self.page.get_by_role("searchbox", name="Search emoji").fill(name)
        await self.page.keyboard.press("Enter")

    async def _chooses(self, message: Locator, what: str) -> None:
        await self.presses("More actions", await self._actions(message))
        await self.page.get_by_role("menuitem", name=what).click()

    async def _actions(self, message: Locator) -> Locator:
        if self.size == "phone":
            await self._taps_beside(message)
        else:
            await message.hover()
        return message.get_by_role("toolbar", name="Message actions")

    async def _taps_beside(self, message: Locator) -> None:
        """Taps a message where it has neither a link nor a button: below its author's picture."""
        box = await message.bounding_box()
        assert box is not None
        await message.tap(position={"x": 6, "y": box["height"] - 4})

    # ------------------------------------------------------------------ pressing

    async def presses(self, label: str, within: Locator) -> None:
        """Presses the button that reads or is called this."""
        await within.get_by_role("button", name=label).filter(visible=True).click()

    async def fills_in(self, label: str, text: str) -> None:
        """Fills in a field of the open form."""
        await self.modal.get_by_label(label).fill(text)

    async def submits(self, label: str) -> None:
        """Sends the open form."""
        await self.modal.get_by_role("button", name=label, exact=True).click()


def _named(channel: str) -> re.Pattern[str]:
    """A conversation in the list, whatever is said besides about what is new there."""
    return re.compile(rf"^{channel}(, (not a member|archived))?(, .*unread.*)?$")


@asynccontextmanager
async def sitting(
    browser: Browser, slack: LocalSlack, name: str, size: Size
) -> AsyncIterator[Person]:
    """Somebody at a fresh window, where the page is open."""
    phone = size == "phone"
    context = await browser.new_context(
        base_url=slack.url,
        viewport=_SCREENS[size],
        has_touch=phone,
        is_mobile=phone,
        reduced_motion="reduce",
        locale="en-GB",
        timezone_id="UTC",
        permissions=["clipboard-read", "clipboard-write"],
    )
    context.set_default_timeout(PATIENCE_MS)
    watch = Watch(slack.url)
    watch.over(context)
    try:
        person = Person(await context.new_page(), slack, watch, size)
        await person.page.goto("/")
        await expect(person.who).to_be_enabled()
        if slack.workspace.user(name).real_name not in (
            await person.who.get_attribute("aria-label") or ""
        ):
            await person.becomes(name)
        yield person
    finally:
        await context.close()

"""Signing in to a demo's API in a browser: as everybody, by keys alone, and at every size."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.browser import axe
from tests.browser.person import PATIENCE_MS
from tests.browser.watch import Watch
from tests.harness import World
from tests.signing import CALLED, ROLES, Desk, desk

_SIZES: dict[str, tuple[int, int]] = {"desktop": (1280, 860), "phone": (390, 844)}
_THEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")
_WIDER = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
# As any script of this page may do it: the cookie goes along by itself.
_STATUS = "async ([method, path]) => (await fetch(path, {method})).status"


@pytest_asyncio.fixture(loop_scope="session")
async def at(here: World) -> AsyncIterator[Desk]:
    async with desk(here) as made:
        yield made


@asynccontextmanager
async def looking(browser: Browser, at: Desk, size: str = "desktop") -> AsyncIterator[Page]:
    """Somebody at a fresh window who sees the page; at the end it has behaved."""
    width, height = _SIZES[size]
    context = await browser.new_context(
        base_url=at.app.url,
        viewport={"width": width, "height": height},
        has_touch=size == "phone",
        is_mobile=size == "phone",
        reduced_motion="reduce",
        locale="en-GB",
        permissions=["clipboard-read", "clipboard-write"],
    )
    context.set_default_timeout(PATIENCE_MS)
    watch = Watch(at.app.url)
    watch.allow(r"refused: \w+ \S+/dashboard/\S+ 40[13]|status of 40[13]")  # asked for below
    watch.over(context)
    try:
        page = await context.new_page()
        await page.goto("/")
        await expect(page).to_have_url(re.compile("/signin$"))
        yield page
        watch.check()
    finally:
        await context.close()


async def test_everybody_signs_in_calls_with_the_cookie_and_signs_out(browser: Browser, at: Desk):
    sessions = f"/dashboard/agents/{at.here.agent_id}/sessions"
    async with looking(browser, at) as page:
        for name, role in ROLES.items():
            assert await page.evaluate(_STATUS, ["GET", "/dashboard/me"]) == 401
            await page.get_by_role("button", name=f"Sign in as {CALLED[name]}").click()
            await expect(page.get_by_role("heading", level=1)).to_contain_text(CALLED[name])
            me = page.get_by_role("region", name="What the API says you are")
            await expect(me).to_contain_text(f"{name}@example.com")
            await expect(me).to_contain_text(f"{role} in default")
            agents = page.get_by_role("region", name="The agents you may call")
            await expect(agents).to_contain_text(str(at.here.agent_id))
            lines = 1 if role == "viewer" else 2
            await expect(agents.get_by_role("figure")).to_have_count(lines)
            wrote = await page.evaluate(_STATUS, ["POST", sessions])
            assert wrote == (403 if role == "viewer" else 201)
            assert await page.evaluate("document.cookie") == ""
            assert not _TOKEN.search(await page.content())
            await page.get_by_role("button", name="Sign out").click()
            await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in to the demo")


async def test_somebody_becomes_somebody_else(browser: Browser, at: Desk):
    async with looking(browser, at) as page:
        for name in ("ada", "owner", "ada"):
            await page.get_by_role("button", name=f"Sign in as {CALLED[name]}").click()
            await expect(page.get_by_role("heading", level=1)).to_contain_text(CALLED[name])
            await expect(page.locator("#me")).to_contain_text(f"{name}@example.com")


async def test_the_token_is_shown_on_a_press_and_copied_with_its_line(browser: Browser, at: Desk):
    async with looking(browser, at) as page:
        await page.get_by_role("button", name="Ada Lovelace").click()
        agents = page.get_by_role("region", name="The agents you may call")
        await expect(agents).to_contain_text("Bearer ••••")
        await page.get_by_role("button", name="Show the token").click()
        await expect(agents).to_contain_text(_TOKEN)
        await page.get_by_role("button", name="Hide the token").click()
        await expect(agents).not_to_contain_text(_TOKEN)
        await page.get_by_role("button", name="Copy: Begin a session").click()
        await expect(page.get_by_role("status")).to_contain_text("Copied")
        line = await page.evaluate("navigator.clipboard.readText()")
        assert line.startswith(f"curl -s '{at.app.url}/dashboard/agents/{at.here.agent_id}/sess")
        found = _TOKEN.search(line)
        assert found
        bearer = {"Authorization": f"Bearer {found[0]}"}
        async with looking(browser, at) as elsewhere:
            answer = await elsewhere.request.get("/dashboard/me", headers=bearer)
            assert (await answer.json())["email"] == "ada@example.com"


async def test_a_session_that_is_over_is_said_to_be(browser: Browser, at: Desk):
    async with looking(browser, at) as page:
        await page.route("**/dashboard/me", lambda route: route.fulfill(status=401))
        await page.get_by_role("button", name="Ada Lovelace").click()
        await expect(page.get_by_role("alert")).to_have_text("Your session is over: sign in again.")
        await expect(page.locator("[aria-busy]")).to_have_count(0)


async def test_it_needs_no_pointer(browser: Browser, at: Desk):
    async with looking(browser, at) as page:
        await _tabs_to(page, "Sign in as Ada Lovelace")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("button", name="Show the token")).to_be_visible()
        await _tabs_to(page, "Show the token")
        await page.keyboard.press("Space")
        await expect(page.get_by_role("button", name="Hide the token")).to_be_focused()
        await _tabs_to(page, "Copy")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("status")).to_contain_text("Copied")
        await page.keyboard.press("Shift+Tab")
        await _tabs_to(page, "Sign out", back=True)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in to the demo")


async def _tabs_to(page: Page, text: str, *, back: bool = False) -> None:
    """Moves by Tab alone until what has the focus reads so; what has it can be seen to have it."""
    focused = page.locator(":focus")
    for _ in range(20):
        await page.keyboard.press("Shift+Tab" if back else "Tab")
        if text in (await focused.text_content() or ""):
            outline = await focused.evaluate("(one) => getComputedStyle(one).outlineStyle")
            assert outline == "solid"
            return
    pytest.fail(f"{text} was not reached")


@pytest.mark.parametrize("size", _SIZES)
async def test_it_passes_axe_in_both_themes(browser: Browser, at: Desk, size: str):
    async with looking(browser, at, size) as page:
        await _is_clean(page, "signed out")
        await page.get_by_role("button", name="Annie Admin").click()
        await page.get_by_role("button", name="Show the token").click()
        await expect(page.get_by_role("button", name="Hide the token")).to_be_visible()
        await _is_clean(page, "signed in")


async def _is_clean(page: Page, state: str) -> None:
    for theme in _THEMES:
        await page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        found = await axe.violations(page)
        assert found == [], f"{state}, {theme}:\n" + "\n".join(found)
        assert not await page.evaluate(_WIDER), f"{state}: wider than the screen"

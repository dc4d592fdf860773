"""The browser of the tests: the Chromium of this machine, headless and kept off every network."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, async_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = (
    f"no browser: none of {', '.join(_NAMES)} is on the PATH and $CHROMIUM names none. Install one"
    " ('apt install chromium fonts-noto-color-emoji' on Debian, 'brew install --cask chromium' on"
    " macOS) or set CHROMIUM to its executable"
)
# No name but this machine's own resolves, and nothing is looked up, updated or reported by itself.
_FLAGS = (
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--no-pings",
    "--js-flags=--expose-gc",
)


def executable() -> str | None:
    """Where a Chromium is; what $CHROMIUM names counts alone."""
    if given := os.environ.get("CHROMIUM"):
        return shutil.which(given)
    return next(filter(None, map(shutil.which, _NAMES)), None)


@asynccontextmanager
async def running(path: str) -> AsyncIterator[Browser]:
    """A browser without a window. Its own sandbox holds, but root has none."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=path, args=_FLAGS, chromium_sandbox=os.geteuid() != 0
        )
        yield browser
        await browser.close()

"""The accessibility check: axe-core, inside the page, over the rules of WCAG 2.2 AA and good practice."""

from functools import cache
from importlib.resources import files
from typing import Any

from playwright.async_api import Page

_RULES = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
# Without a preload it does not fetch our style sheets a second time, which only one rule of it wants.
# Agents begin their headings at what level they like: no order of levels can be asked of that.
_RUN = """async (tags) => {
    const options = {runOnly: {type: 'tag', values: tags}, resultTypes: ['violations'], preload: false,
        rules: {'heading-order': {enabled: false}}};
    return (await axe.run(document, options)).violations;
}"""


@cache
def _source() -> str:
    return (files("axe_playwright_python") / "axe.min.js").read_text()


async def violations(page: Page) -> list[str]:
    """What axe objects to in the page as it stands, each with its places and how to mend it."""
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(_source())
    found = await page.evaluate(_RUN, list(_RULES))
    return [_told(violation) for violation in found]


def _told(violation: dict[str, Any]) -> str:
    places = [f"  {node['target']}: {node['failureSummary']}" for node in violation["nodes"]]
    return "\n".join([f"{violation['id']}: {violation['help']}", *places])

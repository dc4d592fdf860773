"""A browser for each worker process, and for each test a world and the people who look at it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from inspect import iscoroutinefunction
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from bot import budget, orders
from bot.behind import Behind, LocalView
from store import database
from tests.browser import chromium
from tests.browser.person import PATIENCE_MS, Person, Size, sitting
from tests.flows import streams
from tests.harness import World, world

_HERE = Path(__file__).parent
_FAILED = pytest.StashKey[bool]()

Visits = Callable[..., Awaitable[Person]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The browser lives longer than a test, so these tests share its loop."""
    for item in items:
        if _HERE in item.path.parents and iscoroutinefunction(getattr(item, "function", None)):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    report: pytest.TestReport = yield
    if report.when == "call":
        item.stash[_FAILED] = report.failed
    return report


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """The browser; where there is none the test is skipped and says how to get one."""
    path = chromium.executable()
    if path is None:
        pytest.skip(chromium.MISSING)
    expect.set_options(timeout=PATIENCE_MS)
    async with chromium.running(path) as started:
        yield started


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Slack's limits nothing keeps to their pace, and streams begin at once."""
    streams.quicken(monkeypatch)
    monkeypatch.setitem(budget._TIERS, "chat.postMessage", budget.Tier(60_000, 30_000))


@pytest_asyncio.fixture(loop_scope="session")
async def here(browser: Browser, dsn: str) -> AsyncIterator[World]:
    """A world without an app: the test starts it."""
    del browser  # without one nothing else is made
    async with world(dsn) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def behind(here: World) -> AsyncIterator[World]:
    """The same world, where the page may look behind the app and order trouble, as in a demo."""
    pool = await database.open_pool(here.dsn, size=2)
    view, told = LocalView(here.runtime), orders.of_runtime(here.runtime)
    here.slack.behind = Behind(pool, here.slack.api_app_id, view, orders=told)
    yield here
    here.slack.behind = None
    await database.close_pool(pool)


@pytest.fixture
def size() -> Size:
    """How large the screen is; a test may ask for others."""
    return "desktop"


@pytest_asyncio.fixture(loop_scope="session")
async def visit(
    browser: Browser, here: World, size: Size, request: pytest.FixtureRequest
) -> AsyncIterator[Visits]:
    """`await visit("ada")`: she opens the page; at the end it has behaved."""
    people: list[Person] = []
    async with AsyncExitStack() as stack:

        async def opened(name: str = "ada", size: Size = size) -> Person:
            person = await stack.enter_async_context(sitting(browser, here.slack, name, size))
            people.append(person)
            return person

        yield opened
        if request.node.stash.get(_FAILED, False):
            for person in people:
                await person.tells_what_is_seen()
    for person in people:
        person.watch.check()

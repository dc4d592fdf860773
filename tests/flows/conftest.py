from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog

from bot import budget, http, interactions, proving, standing, surfaces
from bot.local import posting, surfaces as local_surfaces
from router import approvals, escalations
from store.embedded import temporary_data_dir
from tests import as_tenant
from tests.chaos.processes import Processes, processes
from tests.harness import World, world

_PATIENCE = 20.0


@pytest.fixture(autouse=True)
def _plain_logs() -> None:
    """What is logged is shown without the locals of each frame: drawing those takes seconds."""
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.dev.ConsoleRenderer(
                colors=False, exception_formatter=structlog.dev.plain_traceback
            ),
        ]
    )


@pytest.fixture(autouse=True)
def _posts_at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Slack has no limits, posts in one channel need not keep its pace of one a second."""
    if "limited" not in request.fixturenames:
        monkeypatch.setitem(budget._TIERS, "chat.postMessage", budget.Tier(60_000, 30_000))


@pytest.fixture(autouse=True)
def _time_to_press(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A press is never late because the machine stood still, unless a test is about being late."""
    if "in_time" in request.fixturenames:
        return
    for module in (proving, interactions, approvals, escalations):
        monkeypatch.setattr(module, "_SECONDS", _PATIENCE)
    for module in (surfaces, standing):
        monkeypatch.setattr(module, "LOOK_SECONDS", _PATIENCE)
    monkeypatch.setattr(surfaces, "_OPEN_SECONDS", _PATIENCE)
    monkeypatch.setattr(http, "_PRESS_SECONDS", _PATIENCE)
    monkeypatch.setattr(local_surfaces, "TRIGGER_SECONDS", _PATIENCE)
    monkeypatch.setattr(posting, "DELIVERY_SECONDS", _PATIENCE)  # the app itself answers before


@pytest.fixture
def in_time() -> None:
    """For tests of what people and Slack wait for: with the limits as shipped."""


@pytest.fixture(autouse=True)
def _as_tenant(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --as-tenant, or where a test asks for it, the product sees one workspace alone."""
    marked = request.node.get_closest_marker
    if marked("as_tenant") or (request.config.getoption("--as-tenant") and not marked("as_login")):
        as_tenant.enforce(monkeypatch)


@pytest.fixture
async def here(dsn: str) -> AsyncIterator[World]:
    """A world without an app: the test starts as many as it needs."""
    async with world(dsn) as made:
        yield made


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """Where a command of a test keeps its database."""
    with temporary_data_dir() as folder:
        yield folder


@pytest.fixture
async def commands(data_dir: Path, tmp_path: Path) -> AsyncIterator[Processes]:
    """Commands of ours, ended before the data folder goes."""
    del data_dir
    async with processes(tmp_path) as made:
        yield made

"""The documentation and the server say the same: what schemathesis makes of one holds of the other.

Every check is on. That none of them is idle is read from the report: what is allowed is mostly done,
and every route was asked for without credentials, with wrong ones, and by a stranger.
"""

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from router.api.route import Route
from router.api.schemas import Nothing
from router.api.table import ROUTES
from tests.contract import fuzzing
from tests.harness import World, world

_log = logging.getLogger(__name__)

CHECKS = {
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "positive_data_acceptance",
    "missing_required_header",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
    "ensure_resource_availability",
    "ignored_auth",
    "object_level_authorization",
    "strangers_find_nothing",
    "problems_say_their_status",
}


@pytest.fixture
async def here(dsn: str) -> AsyncIterator[World]:
    async with world(dsn) as made:
        yield made


@pytest.mark.timeout(600)
async def test_500_cases(here: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    async with fuzzing.furnished(here, monkeypatch, 40) as (on, stock):
        config = fuzzing.configuration(on, stock, tmp_path, examples=2, whole=False)
        holds(await fuzzing.run(on, config), 500)


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_5000_cases(here: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    async with fuzzing.furnished(here, monkeypatch, 400) as (on, stock):
        config = fuzzing.configuration(on, stock, tmp_path, examples=200, whole=True)
        holds(await fuzzing.run(on, config), 5000)


def holds(ran: fuzzing.Ran, least: int) -> None:
    _log.info(ran.table())
    assert ran.code == 0, ran.said
    assert ran.cases >= least
    assert ran.checks == CHECKS
    assert sum(answers[404] for answers in ran.peers.values()) > 0
    for route in ROUTES:
        _was_tried(ran, route)


def _was_tried(ran: fuzzing.Ran, route: Route) -> None:
    name = route.operation_id
    fair = ran.fair[name]
    assert sum(n for status, n in fair.items() if status < 400) > fair.total() / 2, (name, fair)
    if not (route.request is Nothing and route.query is Nothing):
        assert ran.foul[name][422] > 0, name
    assert ran.anonymous[name][401] >= 2, name
    assert ran.anonymous[name].keys() <= {401, 404}, name
    if route.of_agent:
        assert ran.strangers[name] > 0, name

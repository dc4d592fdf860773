"""A local Slack without limits, on a clock that tests move, and a client of it."""

from collections.abc import AsyncIterator

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.local import LocalSlack
from tests.contract.slack_receiver import client_of


@pytest.fixture
async def slack() -> AsyncIterator[LocalSlack]:
    """A plain one; a file that needs other scopes or events has its own."""
    async with LocalSlack(limits=False, clock="virtual") as server:
        yield server


@pytest.fixture
def client(slack: LocalSlack) -> AsyncWebClient:
    return client_of(slack)


@pytest.fixture
def general(slack: LocalSlack) -> str:
    return slack.channels["general"]

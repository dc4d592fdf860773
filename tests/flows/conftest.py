from collections.abc import AsyncIterator

import pytest

from tests.harness import World, world


@pytest.fixture
async def here(dsn: str) -> AsyncIterator[World]:
    """A world without an app: the test starts as many as it needs."""
    async with world(dsn) as made:
        yield made

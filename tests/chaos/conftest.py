from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.chaos.processes import Fleet, processes
from tests.harness import world


@pytest.fixture
async def fleet(dsn: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    """A world without any process: the test starts as many as it needs."""
    async with world(dsn) as here, processes(tmp_path) as made:
        yield Fleet(here, made)

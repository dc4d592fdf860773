from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.chaos.processes import Fleet, processes
from tests.harness import world


@pytest.fixture
async def fleet(dsn: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    """A world without any process: the test starts as many as it needs."""
    # Starting a process may take longer than the first retries.
    async with world(dsn, retry_delays=(0.05, 0.5, 8.0)) as here, processes(tmp_path) as made:
        yield Fleet(here, made)

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.chaos.processes import Fleet, processes
from tests.harness import world


@pytest.fixture
async def fleet(dsn: str, tmp_path: Path) -> AsyncIterator[Fleet]:
    """A world without any process: the test starts as many as it needs."""
    # Slack gives up only after all the time that a process may take to start on a busy machine.
    retries = (0.05, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
    async with world(dsn, retry_delays=retries) as here, processes(tmp_path) as made:
        yield Fleet(here, made)

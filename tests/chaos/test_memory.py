"""Without a database a process takes no more memory however many events come, and answers in time."""

from pathlib import Path

import pytest

from tests.bench.common import percentile
from tests.bench.memory import flooded

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(120)]

_PER_SECOND = 150
_EVENTS = 3_000
_SLACK_WAITS_SECONDS = 3.0
# Ten minutes at 100 a second may take 50 MB; whatever was kept of each of these would take more.
_LIMIT_MB = 12.0


@pytest.mark.long
@pytest.mark.parametrize("silent", [False, True], ids=["down", "silent"])
async def test_memory_is_bounded_while_there_is_no_database(tmp_path: Path, silent: bool):  # noqa: FBT001  # a case
    async with flooded(tmp_path, silent=silent) as flood:
        await flood.pour(4.0, _PER_SECOND)  # caches, pools and buffers find their size
        before = flood.resident_mb()
        await flood.pour(_EVENTS / _PER_SECOND, _PER_SECOND)
        assert flood.statuses == [503] * _EVENTS
        # A machine that stands still is late a few times; whoever waits for the database is always.
        assert percentile(flood.waited, 0.9) < _SLACK_WAITS_SECONDS
        assert flood.resident_mb() - before < _LIMIT_MB

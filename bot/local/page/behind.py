"""What stands behind the app that the page shows: its own records, its runtime, its processes."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from bot.local.model import Json


class Behind(Protocol):
    """What whoever runs the app lends to the page; the local Slack itself knows nothing of it."""

    @property
    def orders(self) -> Sequence[Mapping[str, object]]:
        """What can be done to it with one click, each with its `kind`, `label` and `help`."""
        ...

    async def of(self, channel: str, thread_ts: str) -> Json | None:
        """What it knows of a thread; None when that is nothing."""
        ...

    async def order(self, kind: str) -> str:
        """Do what was ordered; what a person reads of it."""
        ...

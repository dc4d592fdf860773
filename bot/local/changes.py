"""What of the workspace changes, for whoever looks on while it runs."""

import secrets
from collections.abc import Callable

Key = str | tuple[str, str]
Marked = Callable[[str, Key], object]

WHOLE = "whole"


class Changes:
    """Tells those who look on which records changed, by topic and key; nothing is kept here.

    Topics are `users`, `channels`, `reads` (by channel), `messages`, `gone`, `sessions`,
    `ephemerals`, `ephemerals_gone`, `calls`, `deliveries`, `faults`, the name of every shelf, and
    `whole`, after which nothing that was seen before counts. `boot` is the id of this start or
    reset.
    """

    def __init__(self) -> None:
        self.boot = secrets.token_hex(8)
        self._watching: tuple[Marked, ...] = ()

    def mark(self, topic: str, key: Key = "") -> None:
        """A record changed, came or went."""
        for marked in self._watching:
            marked(topic, key)

    def restart(self) -> None:
        """Everything is another: a new `boot`."""
        self.boot = secrets.token_hex(8)
        self.mark(WHOLE)

    def watch(self, marked: Marked) -> None:
        """Tell this one too, at once and in the same step as the change."""
        self._watching = (*self._watching, marked)

    def unwatch(self, marked: Marked) -> None:
        """Tell it no longer."""
        self._watching = tuple(one for one in self._watching if one != marked)

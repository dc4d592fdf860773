"""Switches that make the workspace misbehave, each for a number of times."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypedDict, get_args

ApiFault = Literal[
    "drop_before",  # the connection is cut, nothing happened
    "drop_after",  # it happened, the connection is cut
    "error_before",  # `status` (500), nothing happened
    "error_after",  # it happened, `status` is answered
    "stall_before",  # waits `seconds`, then happens, even if the caller has gone
    "stall_after",  # happens, then waits `seconds`
    "ratelimit",  # 429 with `retry_after`
    "api_error",  # ok: false with `error`
    # The method does not exist: unknown_method, or `error` (feature_disabled), or `status` 404.
    "method_unknown",
]
ReadFault = Literal["stale"]  # listings hide posts younger than `seconds`
EventFault = Literal[
    "duplicate",  # the event is delivered twice
    "reorder",  # the event is held for `seconds`, so that later ones overtake it
]
WorkspaceFault = Literal[
    "revoke_token",  # calls fail with token_revoked; tokens_revoked is sent
    "uninstall_app",  # calls fail with account_inactive; app_uninstalled and tokens_revoked are sent
    "deactivate_account",  # calls fail with account_inactive; nobody is told
    "restore_token",
    "archive_channel",
    "unarchive_channel",
    "kick_bot",
    "invite_bot",
    "disable_agent_features",
    "enable_agent_features",
    "expire_streams",  # every open stream is over, as five minutes after its start
    "drop_sockets",  # every web socket is cut
]
FaultKind = ApiFault | ReadFault | EventFault | WorkspaceFault

API_FAULTS: frozenset[str] = frozenset(get_args(ApiFault))


@dataclass(frozen=True, slots=True)
class Fault:
    """One order to misbehave: for `times` matching calls after the first `skip` (None: for ever).

    `method` None matches every method; `channel` is for the faults that change a channel.
    """

    kind: FaultKind
    method: str | None = None
    times: int | None = 1
    skip: int = 0
    seconds: float = 1.0
    retry_after: int = 1
    status: int = 500
    error: str = "internal_error"
    channel: str | None = None


class FaultOptions(TypedDict, total=False):
    """The fields of a `Fault` but its kind."""

    method: str | None
    times: int | None
    skip: int
    seconds: float
    retry_after: int
    status: int
    error: str
    channel: str | None


class Faults:
    """The orders not yet used up, oldest first; `changed` is called whenever they change."""

    def __init__(self) -> None:
        self.changed: Callable[[], object] = bool  # does nothing
        self._orders: list[tuple[Fault, int]] = []

    def add(self, fault: Fault) -> None:
        """Put an order at the end of the queue."""
        self._orders.append((fault, 0))
        self.changed()

    def clear(self) -> None:
        """Behave again."""
        self._orders.clear()
        self.changed()

    def standing(self) -> list[dict[str, Any]]:
        """The orders, with how many more calls each will strike (`left`; None: all)."""
        return [
            asdict(fault) | {"left": fault.times and fault.times - max(0, seen - fault.skip)}
            for fault, seen in self._orders
        ]

    def take(self, kinds: frozenset[str], method: str | None = None) -> Fault | None:
        """The oldest order that matches, counted as used once; None to behave."""
        for place, (fault, seen) in enumerate(self._orders):
            if fault.kind not in kinds or (fault.method is not None and fault.method != method):
                continue
            if fault.times is not None and seen + 1 >= fault.skip + fault.times:
                del self._orders[place]
            else:
                self._orders[place] = (fault, seen + 1)
            self.changed()
            return fault if seen >= fault.skip else None
        return None

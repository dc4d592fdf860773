"""A circuit per install: where Slack does not answer, one delivery asks and the others wait.

closed ──five deliveries in a row without an answer──▶ open ──its time is over──▶ one may try
   ▲                                                     ▲                           │  │
   └──────────── answered ◀──────────────────────────────│───────────────────────────┘  │
                                                         └──── no answer: a longer wait ◀┘

Five deliveries, not five calls: one that Slack can never digest keeps nobody else waiting. A token
that was revoked is not used again; another one is. In this process only, since each finds out soon.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

from bot.outcome import SlackAway, SlackLimited, SlackRefused, SlackUnclear
from router import clock
from router.clock import Backoff

_IN_A_ROW = 5
_REST = Backoff(first=1.0, most=60.0)
_PROBE_SECONDS = 30.0  # longer than an attempt may take
_WHILE_PROBED_SECONDS = 1.0


class SlackResting(SlackAway):
    """Nobody asked Slack, since it does not answer for this install; ask after `wait` seconds."""

    def __init__(self, wait: float) -> None:
        super().__init__("the circuit is open")
        self.wait = wait


@dataclass(slots=True)
class _Circuit:
    """What failed since the last answer, and how long nobody asks."""

    failed: set[UUID] = field(default_factory=set)
    rests: int = 0
    until: float = 0.0
    probed_until: float = 0.0


class Circuits:
    """The circuits of all installs that this process writes to."""

    def __init__(self) -> None:
        self._circuits: dict[UUID, _Circuit] = {}
        self._revoked: dict[UUID, str] = {}

    @contextmanager
    def attempt(self, install_id: UUID, delivery_id: UUID) -> Iterator[None]:
        """An attempt at a delivery, judged by how it ends; SlackResting where it is not to be."""
        self._admit(install_id)
        try:
            yield
        except (SlackAway, SlackUnclear):
            self._unanswered(install_id, delivery_id)
            raise
        except SlackLimited as limited:
            if limited.method:
                self._answered(install_id)
            raise
        except SlackRefused:
            self._answered(install_id)
            raise
        else:
            self._answered(install_id)
        finally:
            if circuit := self._circuits.get(install_id):
                circuit.probed_until = 0.0

    def check(self, install_id: UUID) -> None:
        """SlackResting while the circuit is open: for calls that are only nice to have."""
        if circuit := self._circuits.get(install_id):
            self._raise_while_open(circuit)

    def _admit(self, install_id: UUID) -> None:
        circuit = self._circuits.get(install_id)
        if circuit is None or not circuit.rests:
            return
        self._raise_while_open(circuit)
        circuit.probed_until = clock.monotonic() + _PROBE_SECONDS

    def _raise_while_open(self, circuit: _Circuit) -> None:
        now = clock.monotonic()
        if circuit.until > now:
            raise SlackResting(circuit.until - now)
        if circuit.probed_until > now:
            raise SlackResting(clock.jittered(_WHILE_PROBED_SECONDS))

    def _unanswered(self, install_id: UUID, delivery_id: UUID) -> None:
        circuit = self._circuits.setdefault(install_id, _Circuit())
        circuit.failed.add(delivery_id)
        now = clock.monotonic()
        if len(circuit.failed) >= _IN_A_ROW and circuit.until <= now:
            circuit.rests += 1
            circuit.until = now + _REST.after(circuit.rests)

    def _answered(self, install_id: UUID) -> None:
        self._circuits.pop(install_id, None)

    # -------------------------------------------------------------- tokens

    def revoke(self, install_id: UUID, token: str) -> None:
        """That token is never asked with again."""
        self._revoked[install_id] = token

    def is_revoked(self, install_id: UUID, token: str) -> bool:
        """Whether it was revoked; a new token makes the install good again."""
        if self._revoked.get(install_id, token) != token:
            del self._revoked[install_id]
        return install_id in self._revoked

    # -------------------------------------------------------------- for the metrics

    def unanswered(self) -> int:
        """How many installs Slack does not answer for."""
        return sum(1 for circuit in self._circuits.values() if circuit.rests)

    def revoked(self) -> int:
        """How many installs wait for a new token."""
        return len(self._revoked)

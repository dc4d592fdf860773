"""How often one principal may ask: token buckets in this process's memory.

Replicas do not share them: behind N replicas a principal may get up to N times as much. They keep
one caller from starving the rest of a process; what the runtime and Slack allow is budgeted across
replicas elsewhere.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from router import clock
from router.api.problems import too_many_requests

READS_A_MINUTE = 600
STRANGERS_A_MINUTE = 120
WRITES_A_MINUTE = 120
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_MINUTE = 60.0
_MOST_BUCKETS = 10_000


@dataclass(slots=True)
class _Bucket:
    left: float
    seen_at: float


class Limits:
    """One bucket for reads and one for writes of each principal; full at first."""

    def __init__(
        self,
        *,
        reads: int = READS_A_MINUTE,
        writes: int = WRITES_A_MINUTE,
        now: Callable[[], float] = clock.monotonic,
    ) -> None:
        self._reads, self._writes, self._now = reads, writes, now
        self._buckets: OrderedDict[tuple[str, bool], _Bucket] = OrderedDict()

    def take(self, principal: str, method: str) -> None:
        """Counts one request; a Problem too-many-requests with its Retry-After if there is no room.

        Requests that are turned away cost nothing.
        """
        reads = method in SAFE_METHODS
        most = self._reads if reads else self._writes
        bucket = self._filled((principal, reads), most)
        if bucket.left < 1:
            raise too_many_requests((1 - bucket.left) * _MINUTE / most)
        bucket.left -= 1

    def _filled(self, name: tuple[str, bool], most: int) -> _Bucket:
        """The bucket as time has filled it since; the one not asked for longest makes room."""
        now = self._now()
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = _Bucket(most, now)
        self._buckets.move_to_end(name)
        if len(self._buckets) > _MOST_BUCKETS:
            self._buckets.popitem(last=False)
        bucket.left = min(most, bucket.left + (now - bucket.seen_at) * most / _MINUTE)
        bucket.seen_at = now
        return bucket


class Strangers:
    """One bucket for each address from which come requests that prove nobody, in a table of their own.

    Only such a request is counted and turned away: behind a proxy everybody has its address, and who
    proves who they are is let in whatever others do there.
    """

    def __init__(
        self, most: int = STRANGERS_A_MINUTE, *, now: Callable[[], float] = clock.monotonic
    ) -> None:
        self._limits = Limits(reads=most, now=now)

    def take(self, remote: str | None) -> None:
        """Counts one; a Problem too-many-requests in place of the refusal if there is no room."""
        self._limits.take(_network(remote or ""), "GET")


def _network(remote: str) -> str:
    """The address; of IPv6 the 64 bits that tell one subscriber from others (RFC 6177)."""
    try:
        address = ip_address(remote.partition("%")[0])
    except ValueError:
        return remote
    if not isinstance(address, IPv6Address):
        return str(address)
    return str(address.ipv4_mapped or IPv6Address(int(address) >> 64 << 64))

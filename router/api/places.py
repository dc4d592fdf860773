"""Pure: places in a session's stream, as `id:` of every frame: what was delivered, and what was not.

Neither number nor time can say that. The runtime numbers nothing; its list goes by the time of
processing, its stream by arrival, either may show an event later than one behind it, and a user's
event comes twice under one id. Our own rows show when they are committed, later than their times say.
So a place says, for the runtime's events and for ours apart:

  at     the newest time among those delivered
  since  a time, not more than a window before that (60 s; 30 s for ours): all from before it were
         delivered
  ids    short hashes of those delivered from then on, and their times
  queued hashes of the runtime's that were delivered as queued, and not yet as processed

From `since` on is read again, and what has a hash there is left out. What the runtime shows more than a
window late, or behind MOST newer events, is lost to who comes back with a place; who stayed got it if
the stream told it, and a session's history has it. That it is missing nobody could know without
reading all of the history at every return, and what was delivered of it a place could not hold: the
runtime's list trails by seconds.

A place is bound to its session by a checksum. That keeps mistakes out, nothing more: who changes a
place changes only what they are shown themselves.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass, field
from typing import Self
from uuid import UUID

RUNTIME_WINDOW = 60_000_000
OUR_WINDOW = 30_000_000  # no transaction of ours lasts so long (`database.borrow`)
MOST = 160
MOST_TEXT = 5_000
_MOST_QUEUED = 32

_VERSION = 2
_HASH = 6
_AGE = 4
_CHECK = 8
_LANE = 8 + 4 + 1 + 1


class BadPlace(ValueError):
    """Nothing that we wrote, or of another session."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Tells one event from all others; times are in microseconds.

    `at` is None while it is queued at the runtime. `twin` is the same event in its other state: once
    it is known as processed, its being queued is old news.
    """

    key: bytes
    at: int | None
    ours: bool = False
    twin: bytes | None = None


def hashed(text: str) -> bytes:
    """A short hash: two of a few hundred are the same once in 10^10 times."""
    return hashlib.blake2b(text.encode(), digest_size=_HASH).digest()


@dataclass(frozen=True, slots=True)
class Lane:
    """The runtime's part of a place, or ours."""

    at: int = 0
    since: int = 0
    ids: dict[bytes, int] = field(default_factory=dict)
    queued: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class Place:
    """A place; `ended`: there is nothing behind it any more."""

    runtime: Lane = field(default_factory=Lane)
    ours: Lane = field(default_factory=Lane)
    ended: bool = False

    def written(self, session_id: UUID) -> str:
        """As one string that says nothing to anybody else."""
        raw = bytes([_VERSION, self.ended]) + _packed(self.runtime) + _packed(self.ours)
        return base64.urlsafe_b64encode(raw + _checksum(session_id, raw)).decode().rstrip("=")

    @classmethod
    def read(cls, text: str, session_id: UUID) -> Self:
        """The reverse. Raises BadPlace."""
        if len(text) > MOST_TEXT:
            raise BadPlace("too long")
        try:
            sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (ValueError, binascii.Error):
            raise BadPlace("not base64url") from None
        raw = sealed[:-_CHECK]
        if sealed[-_CHECK:] != _checksum(session_id, raw) or raw[:1] != bytes([_VERSION]):
            raise BadPlace("not a place of this session")
        runtime, rest = _unpacked(raw[2:])
        ours, _ = _unpacked(rest)
        return cls(runtime, ours, bool(raw[1]))


def _checksum(session_id: UUID, raw: bytes) -> bytes:
    return hashlib.blake2b(
        session_id.bytes + raw, digest_size=_CHECK, person=b"threadline place"
    ).digest()


def _packed(lane: Lane) -> bytes:
    head = lane.at.to_bytes(8) + (lane.at - lane.since).to_bytes(4)
    head += bytes([len(lane.ids), len(lane.queued)])
    ids = (key + (lane.at - at).to_bytes(_AGE) for key, at in lane.ids.items())
    return head + b"".join(ids) + b"".join(sorted(lane.queued))


def _unpacked(raw: bytes) -> tuple[Lane, bytes]:
    at = int.from_bytes(raw[:8])
    middle = _LANE + raw[12] * (_HASH + _AGE)
    end = middle + raw[13] * _HASH
    ids = {
        raw[i : i + _HASH]: at - int.from_bytes(raw[i + _HASH : i + _HASH + _AGE])
        for i in range(_LANE, middle, _HASH + _AGE)
    }
    queued = frozenset(raw[i : i + _HASH] for i in range(middle, end, _HASH))
    return Lane(at, at - int.from_bytes(raw[8:12]), ids, queued), raw[end:]


class _Track:
    """What was delivered of one lane, as far back as a place remembers."""

    def __init__(self, lane: Lane, window: int) -> None:
        self._window = window
        self.at, self.since = lane.at, lane.since
        self._timed = dict(lane.ids)
        self._queued = dict.fromkeys(lane.queued)

    def knows(self, mark: Mark) -> bool:
        if mark.key in self._timed or mark.key in self._queued:
            return True
        if mark.at is None:
            return mark.twin in self._timed
        return mark.at < self.since

    def add(self, mark: Mark) -> None:
        if mark.at is None:
            self._queued[mark.key] = None
            if len(self._queued) > _MOST_QUEUED:
                del self._queued[next(iter(self._queued))]
            return
        if mark.twin is not None:
            self._queued.pop(mark.twin, None)
        if mark.at >= self.since:
            self._timed[mark.key] = mark.at
        self.at = max(self.at, mark.at)
        self._forget(max(self.since, self.at - self._window))

    def _forget(self, since: int) -> None:
        if len(self._timed) > MOST:
            since = max(since, sorted(self._timed.values())[-MOST - 1] + 1)
        if since > self.since:
            self.since = min(since, self.at)
            kept = [(key, at) for key, at in self._timed.items() if at >= self.since]
            self._timed = dict(kept[-MOST:])

    def lane(self) -> Lane:
        return Lane(self.at, self.since, dict(self._timed), frozenset(self._queued))


class Delivered:
    """What one reader was given, or every reader of a place in common."""

    def __init__(self, place: Place) -> None:
        self._runtime = _Track(place.runtime, RUNTIME_WINDOW)
        self._ours = _Track(place.ours, OUR_WINDOW)
        self._ended = place.ended

    def knows(self, mark: Mark) -> bool:
        """True if that was delivered."""
        return (self._ours if mark.ours else self._runtime).knows(mark)

    def add(self, mark: Mark, *, last: bool = False) -> None:
        """Notes a delivery; `last`: nothing comes behind it."""
        (self._ours if mark.ours else self._runtime).add(mark)
        self._ended = self._ended or last

    def place(self) -> Place:
        """The place behind everything that was delivered."""
        return Place(self._runtime.lane(), self._ours.lane(), self._ended)

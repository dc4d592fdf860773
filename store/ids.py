"""Identifiers: UUIDs that sort by the time they were made."""

import secrets
import time
from uuid import UUID


class _Newest:
    """What the newest id of this process begins with: milliseconds, and twelve bits that count."""

    prefix = 0


def new_id() -> UUID:
    """A UUID of version 7 (RFC 9562, 5.7): milliseconds in front, so that indexes grow at one end.

    Those of one process sort as they were made, within a millisecond too (RFC 9562, 6.2, method 1).
    """
    _Newest.prefix = prefix = max(_Newest.prefix + 1, time.time_ns() // 1_000_000 << 12)
    milliseconds, count = prefix >> 12, prefix & 0xFFF
    head = milliseconds << 16 | 0x7 << 12 | count
    return UUID(int=head << 64 | 0x2 << 62 | secrets.randbits(62))


def reference_of(turn_id: UUID) -> str:
    """The short reference that people are shown and that the logs carry: the id's random end."""
    return turn_id.hex[-10:]

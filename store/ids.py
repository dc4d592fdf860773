"""Identifiers: UUIDs that sort by the time they were made."""

import secrets
import time
from uuid import UUID


def new_id() -> UUID:
    """A UUID of version 7 (RFC 9562, 5.7): milliseconds in front, so that indexes grow at one end."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds << 80) | secrets.randbits(80)
    value = (value & ~(0xF << 76)) | (0x7 << 76)
    value = (value & ~(0x3 << 62)) | (0x2 << 62)
    return UUID(int=value)


def reference_of(turn_id: UUID) -> str:
    """The short reference that people are shown and that the logs carry: the id's random end."""
    return turn_id.hex[-10:]

"""Pure: the places that lists are continued from, as one string that says nothing to anybody else."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

from router.api.problems import Problem, invalid

T = TypeVar("T", UUID, str)
Row = TypeVar("Row")


def written(at: datetime, id_: UUID | str) -> str:
    """The place behind the row that was made then, under that id."""
    raw = json.dumps([at.isoformat(), str(id_)], separators=(",", ":"))
    return base64.urlsafe_b64encode(raw.encode()).decode().rstrip("=")


def read(cursor: str | None, id_: Callable[[str], T]) -> tuple[datetime, T] | None:
    """The reverse of `written`; Problem invalid for anything that it never wrote."""
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        at, named = json.loads(raw)
        place = datetime.fromisoformat(at), id_(named)
    except (ValueError, TypeError, AttributeError, RecursionError, binascii.Error):
        raise _wrong() from None
    # one way to write a place: in UTC, and with an id that a row can have
    if place[0].utcoffset() != timedelta() or written(*place) != cursor:
        raise _wrong()
    if not str(place[1]).isprintable():
        raise _wrong()
    return place


def _wrong() -> Problem:
    return invalid([{"loc": ["query", "cursor"], "msg": "no cursor of this list"}])


def page(
    rows: Sequence[Row], limit: int, place: Callable[[Row], tuple[datetime, UUID | str]]
) -> tuple[list[Row], str | None]:
    """The rows to show of one more than `limit`, and where the next page begins, if there is one."""
    shown = list(rows[:limit])
    return shown, written(*place(shown[-1])) if len(rows) > limit else None

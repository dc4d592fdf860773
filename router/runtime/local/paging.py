"""Query strings with brackets, and pages with opaque cursors."""

import base64
import binascii
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from aiohttp import web

from router.runtime.local.wire import Json, bad_request, parse_time

T = TypeVar("T")

Key = list[int]

CREATED_AT = ("created_at[gt]", "created_at[gte]", "created_at[lt]", "created_at[lte]")


class Query:
    """The query of one request; a parameter that the route does not know is a 400."""

    def __init__(self, request: web.Request, allowed: Collection[str]) -> None:
        """`beta` is always let through and ignored."""
        self._query = request.query
        for name in self._query:
            if name != "beta" and name not in allowed:
                raise bad_request(f"{name}: unknown query parameter")

    def text(self, name: str) -> str | None:
        """The last value given, if any."""
        return self._query.get(name)

    def many(self, name: str) -> list[str]:
        """Every value of a bracketed array."""
        return self._query.getall(f"{name}[]", [])

    def flag(self, name: str) -> bool:
        """True for `true`; absent is false."""
        value = self._query.get(name, "false")
        if value not in {"true", "false"}:
            raise bad_request(f"{name}: must be true or false")
        return value == "true"

    def number(self, name: str, default: int, most: int) -> int:
        """A whole number from 1 to `most`."""
        value = self._query.get(name)
        if value is None:
            return default
        if not value.isdecimal() or not 1 <= int(value) <= most:
            raise bad_request(f"{name}: must be between 1 and {most}")
        return int(value)

    def order(self, default: str) -> str:
        """`asc` or `desc`."""
        value = self._query.get("order", default)
        if value not in {"asc", "desc"}:
            raise bad_request("order: must be asc or desc")
        return value

    def created_between(self) -> Callable[[int], bool]:
        """Whether a time in microseconds meets the created_at bounds."""
        times = {
            name[11:-1]: parse_time(self._query[name], name)
            for name in CREATED_AT
            if name in self._query
        }

        def inside(us: int) -> bool:
            return (
                ("gt" not in times or us > times["gt"])
                and ("gte" not in times or us >= times["gte"])
                and ("lt" not in times or us < times["lt"])
                and ("lte" not in times or us <= times["lte"])
            )

        return inside


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page and the cursors around it."""

    rows: Sequence[T]
    next_page: str | None
    prev_page: str | None

    def json(self, view: Callable[[T], object]) -> Json:
        """The page as a list answer."""
        return {"data": [view(row) for row in self.rows], "next_page": self.next_page}


def cut_page(
    rows: Sequence[T], key: Callable[[T], Key], *, cursor: str | None, limit: int, descending: bool
) -> Page[T]:
    """The page that the cursor names; a row that went since does not shift the rest."""
    start, end = 0, min(limit, len(rows))
    if cursor is not None:
        side, mark = _decode(cursor)
        behind = [i for i, row in enumerate(rows) if _before(key(row), mark, descending=descending)]
        passed = len(behind)
        if side == "after":
            start = passed + (passed < len(rows) and key(rows[passed]) == mark)
            end = min(start + limit, len(rows))
        else:
            start, end = max(0, passed - limit), passed
    return Page(
        rows[start:end],
        _encode("after", key(rows[end - 1])) if start < end < len(rows) else None,
        _encode("before", key(rows[start])) if 0 < start < end else None,
    )


def _before(key: Key, mark: Key, *, descending: bool) -> bool:
    return key > mark if descending else key < mark


def _encode(side: str, key: Key) -> str:
    return "page_" + base64.urlsafe_b64encode(json.dumps([side, key]).encode()).decode()


def _decode(cursor: str) -> tuple[str, Key]:
    try:
        side, key = json.loads(base64.urlsafe_b64decode(cursor.removeprefix("page_")))
        return str(side), [int(part) for part in key]
    except (ValueError, TypeError, binascii.Error):
        raise bad_request("page: not a cursor of this list") from None

"""Pure: queries, cursors and the words that a thread is shown, at their edges."""

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from multidict import MultiDict

from router import outside
from router.api import cursors, reading
from router.api.problems import Problem
from router.api.schemas_asked import ApprovalsQuery
from router.api.schemas_sessions import SessionsQuery

AT = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
ID = UUID("28423762-1861-4951-9420-23d6c67446df")


def query(*pairs: tuple[str, str]) -> SessionsQuery:
    return reading.query_of(SessionsQuery, MultiDict(pairs))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-01-05T09:30:00Z", AT),
        ("2026-01-05t09:30:00z", AT),
        ("2026-01-05T10:30:00+01:00", AT),
        ("2026-01-05T09:30:00.5Z", AT + timedelta(seconds=0.5)),
        ("2026-01-05T09:30:00.123456789Z", AT + timedelta(microseconds=123456)),
    ],
)
def test_times_are_those_of_rfc_3339(text: str, meant: datetime):
    assert query(("created_from", text)).created_from == meant


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-05",
        "2026-01-05 09:30:00Z",
        "2026-01-05T09:30:00",
        "1767605400",
        "2026-13-05T09:30:00Z",
    ],
)
def test_other_spellings_of_a_time_are_none(text: str):
    with pytest.raises(Problem) as problem:
        query(("created_from", text))
    assert problem.value.extra["errors"][0]["loc"] == ["query", "created_from"]


def test_every_mistake_of_a_query_is_named_once():
    with pytest.raises(Problem) as problem:
        query(("limit", "x"), ("limit", "y"), ("status", "asleep"), ("sort", "title"))
    places = [error["loc"][1] for error in problem.value.extra["errors"]]
    assert sorted(places) == ["limit", "sort", "status"]


@pytest.mark.parametrize("text", [f"{{{ID}}}", f"urn:uuid:{ID}", ID.hex, f"{ID} "])
def test_a_uuid_has_one_form(text: str):
    with pytest.raises(Problem):
        reading.query_of(ApprovalsQuery, MultiDict({"session_id": text}))
    with pytest.raises(Problem):
        reading.path_of({"session_id": text})
    assert reading.path_of({"session_id": str(ID).upper()}) == {"session_id": ID}


def test_a_cursor_says_where_a_list_goes_on():
    assert cursors.read(None, UUID) is None
    assert cursors.read(cursors.written(AT, ID), UUID) == (AT, ID)
    assert cursors.read(cursors.written(AT, "zoë"), str) == (AT, "zoë")


def packed(*place: object) -> str:
    raw = json.dumps(place, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "A",
        "AAAA",
        "é",
        cursors.written(AT, ID) + "A",
        packed(AT.isoformat(), "nobody"),
        packed(AT.isoformat(), str(ID).upper()),
        packed("2026-01-05T09:30:00", str(ID)),
        packed(AT.astimezone(timezone(timedelta(hours=1))).isoformat(), str(ID)),
        packed(1, str(ID)),
        packed(AT.isoformat(), None),
        packed(AT.isoformat()),
    ],
)
def test_what_was_never_written_is_no_cursor(cursor: str):
    with pytest.raises(Problem) as problem:
        cursors.read(cursor, UUID)
    assert problem.value.status == 422


@pytest.mark.parametrize("id_", ["a\x00", "\ud800", "a\nb"])
def test_a_cursor_holds_only_what_the_database_can(id_: str):
    with pytest.raises(Problem):
        cursors.read(packed(AT.isoformat(), id_), str)


def test_a_long_message_is_shown_in_part():
    shown = outside.said("Ada", "x" * 5_000).text
    assert len(shown) < 3_000
    assert shown.endswith("x…")
    assert outside.said("Ada", "short").text.endswith("\nshort")

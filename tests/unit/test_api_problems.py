"""Problems: RFC 9457, with types that never change."""

import json

import pytest

from router.api import problems
from router.api.problems import KINDS, Kind, Problem, answer


def read(problem: Problem) -> dict[str, object]:
    body = answer(problem).body
    assert isinstance(body, bytes)
    parsed: dict[str, object] = json.loads(body)
    return parsed


def test_types_and_statuses_are_a_promise():
    assert {
        kind.type.removeprefix("https://threadline.dev/problems/"): kind.status for kind in KINDS
    } == {
        "unauthenticated": 401,
        "forbidden": 403,
        "not-found": 404,
        "method-not-allowed": 405,
        "conflict": 409,
        "session-archived": 409,
        "session-idle": 409,
        "idempotency-mismatch": 409,
        "too-large": 413,
        "unsupported-media-type": 415,
        "invalid": 422,
        "too-many-requests": 429,
        "internal": 500,
        "unavailable": 503,
        "not-configured": 503,
    }


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.slug)
def test_every_kind_becomes_an_answer_that_nobody_caches(kind: Kind):
    problem = Problem(kind, "why", extra={"more": 1}, headers={"X-More": "1"})
    response = answer(problem)
    assert response.status == kind.status
    assert response.content_type == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-More"] == "1"
    assert read(problem) == {
        "type": kind.type,
        "title": kind.title,
        "status": kind.status,
        "detail": "why",
        "more": 1,
    }


def test_extra_members_take_no_name_of_the_standard():
    with pytest.raises(ValueError, match="status"):
        Problem(problems.CONFLICT, "why", extra={"status": 200})


def test_who_is_not_signed_in_is_told_how_to():
    assert answer(problems.unauthenticated("why")).headers["WWW-Authenticate"] == "Bearer"


def test_waits_are_whole_seconds_that_suffice():
    for problem in (problems.too_many_requests(0.2), problems.unavailable("why", 0.2)):
        assert answer(problem).headers["Retry-After"] == "1"
    assert answer(problems.too_many_requests(2.01)).headers["Retry-After"] == "3"


def test_errors_and_variables_are_members():
    errors = [{"loc": ["body", "text"], "msg": "too long"}]
    assert read(problems.invalid(iter(errors)))["errors"] == errors
    assert read(problems.not_configured(("A", "B")))["variables"] == ["A", "B"]


def test_what_is_missing_and_what_is_anothers_read_the_same():
    assert read(problems.not_found("session")) == read(problems.not_found("session"))
    assert problems.forbidden("why").status == 403

"""What people are told about trouble: one table, complete against the runtime's own types."""

import ast
import re
from pathlib import Path
from typing import Any, get_args
from uuid import UUID

import anthropic
import httpx2
import pytest
from anthropic.types.beta.sessions import (
    BetaManagedAgentsSessionErrorEvent,
    BetaManagedAgentsSessionStatusIdleEvent,
)
from structlog.testing import capture_logs

from router import notices
from router.errors import RuntimeAway, RuntimeGone, RuntimeRefused, RuntimeUnclear
from router.notices import WORDS, Trouble, about, at_end, words
from router.runtime import failures
from router.turns.project import Projection, marker
from store.ids import reference_of

TURN = UUID("01a203b2-7413-7810-9f34-63e7c10bbe75")
NAMES = {name: name * 5000 for name in ("tool", "server", "what", "reason")}
INSTRUCTIONS = {"Ask", "Do", "Look", "Make", "Put", "Repeat", "Send", "Start", "Wait"}
WAITS = {
    Trouble.RUNTIME_AWAY,
    Trouble.RUNTIME_LIMITED,
    Trouble.RUNTIME_OVERLOADED,
    Trouble.RUNTIME_BROKEN,
    Trouble.RETRYING,
    Trouble.PAUSED,
}
# nothing that the person who wrote can do about it alone
FOR_ADMINS = {
    Trouble.BILLING,
    Trouble.MCP_REFUSED,
    Trouble.CREDENTIAL_HOST,
    Trouble.REPOSITORY_LOGIN,
    Trouble.REPOSITORY_FORBIDDEN,
    Trouble.REPOSITORY_MISSING,
    Trouble.REPOSITORY_CHECKOUT,
    Trouble.KEY_REFUSED,
    Trouble.KEY_FORBIDDEN,
    Trouble.AGENT_MISSING,
    Trouble.ENVIRONMENT_MISSING,
    Trouble.NOT_STARTED,
    Trouble.NO_AGENT,
    Trouble.UNSERVED_TOOL,
    Trouble.OUTPUT_NOT_ALLOWED,
    Trouble.OUTPUT_NO_ROOM,
}


def types_of(model: Any, field: str) -> set[str]:
    """The `type` of each variant of a field."""
    (first, *_) = variants = get_args(model.model_fields[field].annotation)
    variants = get_args(first) or variants
    return {get_args(v.model_fields["type"].annotation)[0] for v in variants}


# ------------------------------------------------------------------ the table


@pytest.mark.parametrize("trouble", Trouble)
def test_every_trouble_says_what_happened_and_then_what_to_do(trouble: Trouble):
    said = WORDS[trouble]
    assert said.happened.endswith(".")
    assert said.do.endswith(".")
    assert re.split(r"\W", said.do)[0] in INSTRUCTIONS
    assert words(trouble) == f"{said.happened} {said.do}".format(
        tool="a tool",
        server="a connected service",
        who="one of those named below",
        files="a file",
        what="a message",
        reason="without a reason",
    )


@pytest.mark.parametrize("trouble", Trouble)
def test_every_trouble_is_said_in_plain_text_that_fits_into_one_block(trouble: Trouble):
    text = words(trouble, anew=True, files=[("f" * 5000, 10**9)] * 30, **NAMES)
    assert len(text) < 3000
    assert not re.search(r"[\x00-\x1f*<>{}]|\bNone\b", text)


def test_no_two_troubles_have_the_same_words():
    assert len({said.happened for said in WORDS.values()}) == len(Trouble) == len(WORDS)


def test_who_waits_need_do_nothing_and_what_only_admins_can_mend_is_theirs():
    assert {t for t in Trouble if WORDS[t].do.startswith("Wait")} == WAITS
    assert {t for t in Trouble if WORDS[t].do.startswith("Ask an admin")} - {
        Trouble.BUDGET_REACHED
    } == FOR_ADMINS


def test_only_what_concerns_one_person_alone_is_told_privately():
    private = {t for t in Trouble if WORDS[t].private}
    assert private == {
        Trouble.STRANGER,
        Trouble.GUEST,
        Trouble.ARCHIVED,
        Trouble.MAY_NOT_STOP,
        Trouble.NOT_YOURS_TO_DECIDE,
        Trouble.DECIDED_ALREADY,
        Trouble.NOT_FOR_OUTSIDERS,
        Trouble.NOT_FOR_GUESTS,
        Trouble.NOT_FOUND_OUT,
        Trouble.NO_SUCH_CARD,
        Trouble.FORM_NOT_OPENED,
        Trouble.NOT_TAKEN,
    }


def test_names_that_others_chose_are_cut_and_stay_on_their_line():
    text = words(Trouble.UNSERVED_TOOL, tool="ba`sh\n\n*rm*" + "x" * 200)
    assert "`bash*rm*xxx" in text
    assert text.count("`") == 2
    assert len(text) < 400


@pytest.mark.parametrize("trouble", Trouble)
def test_a_message_about_trouble_has_a_reference_that_stands_in_the_logs(trouble: Trouble):
    with capture_logs() as logged:
        told = about(trouble, TURN, tool="bash")
    assert told.body() == {"text": words(trouble, tool="bash"), "reference": reference_of(TURN)}
    (line,) = logged
    assert (line["reference"], line["trouble"]) == (told.reference, str(trouble))
    assert line["of"] == str(TURN)


def test_no_message_with_a_reference_is_made_anywhere_else():
    root = Path(notices.__file__).parents[1]
    makers = [
        f"{path.name}:{node.lineno}"
        for path in [*root.glob("bot/**/*.py"), *root.glob("router/**/*.py")]
        if path != Path(notices.__file__)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).split(".")[-1] == "Notice"
        and (len(node.args) != 1 or node.keywords)
    ]
    assert makers == []


# ------------------------------------------------------------------ the runtime's own kinds


def test_every_stop_reason_of_the_runtime_has_its_own_words():
    reasons = types_of(BetaManagedAgentsSessionStatusIdleEvent, "stop_reason")
    assert {"end_turn", "requires_action", "refusal"} <= reasons
    told = {at_end(r, None, TURN).text for r in reasons - {"end_turn", "requires_action"}}
    assert len(told) == len(reasons) - 2
    assert words(Trouble.UNKNOWN_END) not in told


def test_every_session_error_of_the_runtime_has_its_own_words():
    kinds = types_of(BetaManagedAgentsSessionErrorEvent, "error")
    assert len(kinds) == 15
    told = {k: at_end("retries_exhausted", {"type": k}, TURN).text for k in kinds}
    assert told.pop("unknown_error") == words(Trouble.RETRIES_EXHAUSTED)
    assert len(set(told.values())) == len(told)
    assert words(Trouble.RETRIES_EXHAUSTED) not in told.values()


def test_what_the_runtime_may_invent_is_told_as_far_as_it_is_known():
    newer = {"type": "weather_error"}
    assert at_end("max_tokens", None, TURN).text == words(Trouble.UNKNOWN_END)
    assert at_end("retries_exhausted", newer, TURN).text == words(Trouble.RETRIES_EXHAUSTED)
    assert at_end("terminated", newer, TURN).text == words(Trouble.TERMINATED, anew=True)


def test_an_error_that_ends_the_session_says_both_why_and_that_it_starts_anew():
    text = at_end("terminated", {"type": "billing_error"}, TURN).text
    assert text.startswith(words(Trouble.BILLING))
    assert text.endswith("without its earlier context.")


def test_a_server_that_failed_is_named():
    error = {"type": "mcp_authentication_failed_error", "mcp_server_name": "linear"}
    assert "not let into linear:" in at_end("retries_exhausted", error, TURN).text


def test_an_error_does_not_explain_an_end_that_has_its_own_reason():
    error = {"type": "model_overloaded_error"}
    assert at_end("refusal", error, TURN).text == words(Trouble.REFUSAL)


def error(second: int, kind: str, retry: str) -> dict[str, Any]:
    """A `session.error`."""
    cause = {"type": kind, "message": "no", "retry_status": {"type": retry}}
    return {"type": "session.error", "id": f"sevt_{second}", "error": cause} | at(second)


def at(second: int) -> dict[str, str]:
    return {"processed_at": f"2026-11-22T12:00:{second:02}Z"}


@pytest.mark.parametrize(
    ("errors", "cause"),
    [
        ([], None),
        ([error(3, "billing_error", "retrying")], None),
        ([error(1, "billing_error", "exhausted")], None),  # before the message was read
        ([error(3, "billing_error", "exhausted")], "billing_error: no"),
        (
            [error(3, "billing_error", "retrying"), error(4, "unknown_error", "exhausted")],
            "unknown_error: no",
        ),
    ],
)
def test_an_end_is_explained_by_the_error_that_the_runtime_gave_up_on(
    errors: list[dict[str, Any]], cause: str | None
):
    text = marker(str(TURN), "Ada (U1)", "now")
    seen = Projection(None)
    seen.see({"type": "user.message", "id": "m", "content": [{"text": text}]} | at(2))
    for one in errors:
        seen.see(one)
    idle = {"type": "session.status_idle", "id": "i"} | at(9)
    seen.see(idle | {"stop_reason": {"type": "retries_exhausted"}})
    ended = seen.ended({str(TURN)})
    assert ended is not None
    assert ended.cause == cause


# ------------------------------------------------------------------ what it answers to a request


def refusal(status: int, error: dict[str, Any]) -> anthropic.APIStatusError:
    """The client's error for an answer."""
    body = {"type": "error", "error": error}
    request = httpx2.Request("POST", "http://127.0.0.1/v1/sessions")
    response = httpx2.Response(status, json=body, request=request)
    return anthropic.AsyncAnthropic(api_key="local")._make_status_error(
        str(status), body=body, response=response
    )


@pytest.mark.parametrize(
    ("status", "kind", "trouble"),
    [
        (400, RuntimeRefused, Trouble.REFUSED),
        (401, RuntimeRefused, Trouble.KEY_REFUSED),
        (402, RuntimeRefused, Trouble.BILLING),
        (403, RuntimeRefused, Trouble.KEY_FORBIDDEN),
        (404, RuntimeGone, Trouble.CONTEXT_LOST),
        (408, RuntimeUnclear, Trouble.RUNTIME_AWAY),
        (409, RuntimeUnclear, Trouble.RUNTIME_AWAY),
        (413, RuntimeRefused, Trouble.TOO_LARGE),
        (422, RuntimeRefused, Trouble.REFUSED),
        (429, RuntimeAway, Trouble.RUNTIME_LIMITED),
        (500, RuntimeUnclear, Trouble.RUNTIME_BROKEN),
        (503, RuntimeUnclear, Trouble.RUNTIME_BROKEN),
        (529, RuntimeUnclear, Trouble.RUNTIME_OVERLOADED),
    ],
)
def test_a_status_is_told_as_what_it_means(status: int, kind: type[Exception], trouble: Trouble):
    sorted_ = failures._by_status(refusal(status, {"message": "no"}))
    assert (type(sorted_), sorted_.trouble) == (kind, trouble)


@pytest.mark.parametrize(
    ("status", "error", "trouble"),
    [
        (400, {"type": "billing_error"}, Trouble.BILLING),
        (400, {"details": {"error_code": "organization_on_hold"}}, Trouble.BILLING),
        (400, {"details": {"error_code": "environment_archived"}}, Trouble.ENVIRONMENT_MISSING),
        (404, {"details": {"error_code": "environment_not_found"}}, Trouble.ENVIRONMENT_MISSING),
        (429, {"details": {"error_code": "enforced_spend_limit_reached"}}, Trouble.BILLING),
        (400, {"message": "events[0]: the session's budget is reached"}, Trouble.BUDGET_REACHED),
    ],
)
def test_a_refusal_that_names_its_cause_is_told_by_it_and_not_waited_for(
    status: int, error: dict[str, Any], trouble: Trouble
):
    sorted_ = failures._by_status(refusal(status, error))
    assert (type(sorted_), sorted_.trouble) == (RuntimeRefused, trouble)


def test_an_error_frame_in_a_stream_is_told_by_its_type():
    sorted_ = failures._by_status(refusal(200, {"type": "overloaded_error"}))
    assert (type(sorted_), sorted_.trouble) == (RuntimeUnclear, Trouble.RUNTIME_OVERLOADED)

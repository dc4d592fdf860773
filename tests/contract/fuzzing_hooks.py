"""What schemathesis is taught about this API, in the process that it runs in."""

import json
import os
from collections import Counter
from collections.abc import MutableMapping
from itertools import cycle
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis.core.failures import Failure
from schemathesis.core.parameters import ParameterLocation
from schemathesis.openapi.checks import RejectedPositiveData

Case = schemathesis.Case[Any]

_GIVEN = json.loads(Path(os.environ["FUZZING"]).read_text())
_PATHS = {
    operation: {name: cycle(ids) for name, ids in of.items()}
    for operation, of in _GIVEN["paths"].items()
}
_MADE_UP = 10  # one in so many names what it likes
# No schema can say which of these there are.
_PLACES = (["query", "cursor"], ["query", "last_event_id"], ["header", "Last-Event-ID"])

_sent: set[str] = set()
_calls: Counter[str] = Counter()


def _name(case: Case) -> str:
    return str(case.operation.definition.raw.get("operationId"))


# ------------------------------------------------------------------ what requests name


@schemathesis.hook
def before_call(_context: schemathesis.HookContext, case: Case, _kwargs: dict[str, Any]) -> None:
    """Gives a request things that there are, unless it is one of a chain, or wrong on purpose there.

    Each gets the next of them: what was decided once is no use to others.
    """
    if case.id in _sent or case.meta is None or case.meta.phase.name.value == "stateful":
        return
    _sent.add(case.id)
    name = _name(case)
    _calls[name] += 1
    if _calls[name] % _MADE_UP == 0:
        return
    wrong = case.meta.is_negative_at
    if not wrong(ParameterLocation.PATH):
        case.path_parameters |= {n: next(ids) for n, ids in _PATHS.get(name, {}).items()}
    if not wrong(ParameterLocation.QUERY):
        _fill(name, case, case.query)
    if not wrong(ParameterLocation.HEADER):
        _fill(name, case, case.headers)
    if not wrong(ParameterLocation.BODY) and isinstance(case.body, dict):
        _settle(name, case.body)


def _fill(name: str, case: Case, given: MutableMapping[str, Any]) -> None:
    """Real places for made up ones, with what belongs to them."""
    if "workspace_id" in given:
        given["workspace_id"] = _GIVEN["workspace_id"]
    if "Idempotency-Key" in given:
        given["Idempotency-Key"] = f"{given['Idempotency-Key'][:200]}{_calls.total()}"
    place = _GIVEN["places"].get(name)
    for parameter in place["parameters"] if place else ():
        if parameter in given:
            given[parameter] = place["place"]
            case.path_parameters |= place["path"]
            for other in place["without"]:
                given.pop(other, None)


def _settle(name: str, body: dict[str, Any]) -> None:
    """A name that nobody has yet; every other time the card that there is."""
    if name == "createAgent":
        body["name"] = f"{body['name'][:90]} {_calls[name]}"
    if name == "decideApproval" and "card_no" in body and _calls[name] % 2:
        body["card_no"] = 1


# ------------------------------------------------------------------ what counts


@schemathesis.hook
def filter_failure(
    _context: schemathesis.HookContext,
    failure: Failure,
    _case: Case,
    response: schemathesis.Response,
) -> bool:
    """Whether a failure counts: a place in a list that was made up may well be refused."""
    if not isinstance(failure, RejectedPositiveData) or response.status_code != 422:
        return True
    return not all(error["loc"] in _PLACES for error in response.json()["errors"])


@schemathesis.check
def strangers_find_nothing(
    _ctx: schemathesis.CheckContext, response: schemathesis.Response, case: Case
) -> None:
    """What was answered is not there for somebody of another workspace, whatever the method.

    Of schemathesis's own checks, object_level_authorization asks that of some reads alone.
    """
    in_coverage = case.meta is not None and case.meta.phase.name.value == "coverage"
    if response.status_code // 100 != 2 or "{agent_id}" not in case.path or in_coverage:
        return
    stranger = case.call(headers={"Authorization": f"Bearer {_GIVEN['stranger']}"})
    assert stranger.status_code == 404, f"a stranger got {stranger.status_code}"
    assert stranger.json()["type"].endswith("/not-found")
    with Path(_GIVEN["strangers"]).open("a") as file:
        file.write(f"{_name(case)}\n")


@schemathesis.check
def problems_say_their_status(
    _ctx: schemathesis.CheckContext, response: schemathesis.Response, _case: Case
) -> None:
    """Every refusal is a problem that says the same as the line above it (RFC 9457, 3.1.3)."""
    if response.status_code >= 400:
        (kind,) = response.headers["content-type"]
        assert kind.partition(";")[0] == "application/problem+json"
        assert response.json()["status"] == response.status_code

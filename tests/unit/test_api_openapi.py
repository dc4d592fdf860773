"""/openapi.json: a valid OpenAPI 3.1 document that says what the routes do."""

import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from router.api import docs, openapi
from router.api.problems import KINDS
from router.api.route import Route
from router.api.schemas import Nothing
from router.api.table import ROUTES

DOCUMENT = openapi.document()


def each_operation() -> list[tuple[Route, dict[str, Any]]]:
    return [(route, DOCUMENT["paths"][route.path][route.method.lower()]) for route in ROUTES]


def checks(schema: dict[str, Any]) -> Draft202012Validator:
    """A validator of one schema of the document."""
    whole = Resource.from_contents(DOCUMENT, default_specification=DRAFT202012)
    registry: Registry[Any] = Registry().with_resource("urn:document", whole)
    return Draft202012Validator({"$ref": f"urn:document{schema['$ref']}"}, registry=registry)


def test_it_is_openapi_3_1():
    OpenAPIV31SpecValidator(DOCUMENT).validate()
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert json.loads(openapi.written(DOCUMENT)) == DOCUMENT


def test_it_has_every_route_once():
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)
    assert len({route.operation_id for route in ROUTES}) == len(ROUTES)
    found = {
        (verb.upper(), path)
        for path, item in DOCUMENT["paths"].items()
        for verb in item
        if verb != "parameters"
    }
    assert found == {(route.method, route.path) for route in ROUTES}


def test_the_eight_routes_of_the_product_are_there():
    base = "/dashboard/agents/{agent_id}/sessions"
    one = f"{base}/{{session_id}}"
    assert {(route.method, route.path, route.status) for route in ROUTES} >= {
        ("POST", base, 201),
        ("GET", base, 200),
        ("GET", one, 200),
        ("GET", f"{one}/events", 200),
        ("GET", f"{one}/stream", 200),
        ("POST", f"{one}/messages", 202),
        ("POST", f"{one}/interrupt", 202),
        ("POST", f"{one}/archive", 200),
    }


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation_id)
def test_examples_are_what_the_models_say(route: Route):
    operation = DOCUMENT["paths"][route.path][route.method.lower()]
    success = operation["responses"][str(route.status)]
    if route.response is not None:
        shown = success["content"]["application/json"]
        route.response.model_validate_json(json.dumps(shown["example"]))
        checks(shown["schema"]).validate(shown["example"])
    if route.request is not Nothing:
        body = operation["requestBody"]["content"]["application/json"]
        route.request.model_validate_json(json.dumps(body["example"]), strict=True)
        checks(body["schema"]).validate(body["example"])


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation_id)
def test_every_problem_has_its_example(route: Route):
    responses = DOCUMENT["paths"][route.path][route.method.lower()]["responses"]
    named = {
        slug
        for response in responses.values()
        for slug in response.get("content", {})
        .get("application/problem+json", {})
        .get("examples", {})
    }
    assert named == {kind.slug for kind in route.problems}
    assert {"401", "422", "429", "503"} <= responses.keys()


def test_no_column_of_the_workers_is_shown():
    hidden = re.compile(r"lease|wake_seq|ready_at|place|secret|barren|next_position|hash")
    properties = {
        name
        for schema in DOCUMENT["components"]["schemas"].values()
        for name in schema.get("properties", {})
    }
    assert [name for name in properties if hidden.search(name)] == []


def test_only_posts_take_a_key_that_names_the_request():
    key = {"$ref": "#/components/parameters/IdempotencyKey"}
    for route, operation in each_operation():
        assert (key in operation["parameters"]) == (route.method == "POST")


def test_every_kind_of_problem_can_happen_somewhere():
    # 405 is no operation's
    somewhere = {kind for route in ROUTES for kind in route.problems}
    assert {kind.slug for kind in KINDS} - {kind.slug for kind in somewhere} == {
        "method-not-allowed"
    }


def test_the_page_for_people_names_every_route_and_fetches_nothing():
    page = docs.page().decode()
    for route in ROUTES:
        assert f"id='{route.operation_id}'" in page
    assert re.findall(r"<(?:script|img|link|iframe)|https?://(?!threadline\.dev)", page) == []
    assert "sha256-" in docs.POLICY

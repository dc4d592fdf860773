"""The documentation for programs: OpenAPI 3.1, made from the routes and their models.

https://spec.openapis.org/oas/v3.1.0
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from router.api.problems import CONTENT_TYPE, Kind
from router.api.reading import MOST_BYTES, MOST_KEY, is_needed
from router.api.route import Route, Streamed
from router.api.schemas import Nothing, ProblemOut
from router.api.schemas_events import MOST_PLACE, PLACE
from router.api.table import ROUTES

_REF = "#/components/schemas/{model}"
_UUID = {"type": "string", "format": "uuid"}
_DESCRIPTION = f"""\
The same sessions that people have in Slack, for programs.

Every address below an agent belongs to the agent's workspace; for anybody else there is nothing
there (404). Lists go on at `next_cursor`. Every POST takes an `Idempotency-Key`: the same request
under the same key is done once and answered alike, another one is a conflict. Reads have an `ETag`.
Bodies are JSON of at most {MOST_BYTES} bytes; nothing unknown is taken. Problems are as RFC 9457
says, with a `type` that stays the same.

Send a Supabase access token or an API key as a Bearer token. Pages of the same site may send the
cookie `sb-<project>-auth-token` instead.
"""
_ETAG = {
    "ETag": {"schema": {"type": "string"}, "description": "Names this state; for If-None-Match."}
}
_LOCATION = {"Location": {"schema": {"type": "string"}, "description": "Where it is from now on."}}
_REPLAYED = {
    "Idempotent-Replayed": {
        "schema": {"type": "string", "const": "true"},
        "description": "The answer to the same request before.",
    }
}
_RETRY = {
    "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait at the least."}
}
_PARAMETERS = {
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "Names the request: the same one again is answered alike and done once.",
        "schema": {"type": "string", "pattern": f"^[!-~]{{1,{MOST_KEY}}}$"},
    },
    "IfNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "required": False,
        "description": "The ETag of what is known already: the answer is 304 while it still holds.",
        "schema": {"type": "string"},
    },
    "LastEventID": {
        "name": "Last-Event-ID",
        "in": "header",
        "required": False,
        "description": "The `id` of the last frame that arrived: the stream goes on behind it.",
        "schema": {"type": "string", "maxLength": MOST_PLACE, "pattern": PLACE},
    },
}


# As OpenAPI 3.2 describes an event of such a stream; 3.1 has no words for it.
_FRAME = {
    "type": "object",
    "description": "One frame of the stream.",
    "properties": {
        "id": {"type": "string", "description": "For Last-Event-ID; deltas have none."},
        "event": {"type": "string", "description": "The type of the event."},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"type": "object"},
        },
    },
    "required": ["event", "data"],
}


@cache
def document() -> dict[str, Any]:
    """The whole document."""
    paths: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for route in ROUTES:
        if "parameters" not in paths[route.path] and (ids := _ids(route.path)):
            paths[route.path]["parameters"] = ids
        paths[route.path][route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Threadline sessions API",
            "version": "1",
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"bearer": []}],
        "tags": [{"name": name} for name in dict.fromkeys(route.tag for route in ROUTES)],
        "paths": dict(paths),
        "components": {
            "schemas": _schemas(),
            "parameters": _PARAMETERS,
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A Supabase access token, or an API key of one agent (`tl_…`).",
                }
            },
        },
    }


def written(content: dict[str, Any]) -> bytes:
    """The document as it is served."""
    return json.dumps(content, ensure_ascii=False).encode()


def _operation(route: Route) -> dict[str, Any]:
    parameters = _query(route.query)
    operation: dict[str, Any] = {
        "operationId": route.operation_id,
        "summary": route.summary,
        "description": _role(route),
        "tags": [route.tag],
        "parameters": parameters,
        "responses": _responses(route),
    }
    if route.idempotent:
        parameters.append({"$ref": "#/components/parameters/IdempotencyKey"})
    elif isinstance(route.work, Streamed):
        parameters.append({"$ref": "#/components/parameters/LastEventID"})
    elif route.method == "GET":
        parameters.append({"$ref": "#/components/parameters/IfNoneMatch"})
    if route.request is not Nothing:
        operation["requestBody"] = _request(route)
    return operation


def _role(route: Route) -> str:
    people = " Only people may do this, not keys." if route.people else ""
    return f"{(route.request.__doc__ or '').strip()}\n\nRole: {route.role}.{people}".strip()


def _ids(path: str) -> list[dict[str, Any]]:
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return [{"name": each, "in": "path", "required": True, "schema": _UUID} for each in names]


def _query(model: type[BaseModel]) -> list[dict[str, Any]]:
    """The fields of a query, each a parameter; what may be given more than once is repeated."""
    properties = model.model_json_schema().get("properties", {})
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "schema": _given(schema),
            **({"description": said} if (said := schema.get("description")) else {}),
        }
        for name, schema in properties.items()
    ]


def _given(schema: dict[str, Any]) -> dict[str, Any]:
    """What a parameter is where it is given: not null, and without a title."""
    plain = {k: v for k, v in schema.items() if k not in ("title", "description", "default")}
    kinds = [each for each in plain.pop("anyOf", []) if each.get("type") != "null"]
    merged = plain | (kinds[0] if kinds else {})
    default = {"default": schema["default"]} if schema.get("default") is not None else {}
    return merged | default


def _request(route: Route) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": _ref(route.request)}
    if route.example is not None:
        content["example"] = route.example
    return {"required": is_needed(route.request), "content": {"application/json": content}}


def _responses(route: Route) -> dict[str, Any]:
    responses = {str(route.status): _success(route)}
    if route.method == "GET" and not isinstance(route.work, Streamed):
        responses["304"] = {"description": "What is known still holds.", "headers": _ETAG}
    by_status: defaultdict[int, list[Kind]] = defaultdict(list)
    for kind in route.problems:
        by_status[kind.status].append(kind)
    return responses | {str(status): _problem(by_status[status]) for status in sorted(by_status)}


def _success(route: Route) -> dict[str, Any]:
    if route.response is None:
        content: dict[str, Any] = {"text/event-stream": {"schema": _FRAME}}
        return {"description": "Frames, as long as the stream lasts.", "content": content}
    shown: dict[str, Any] = {"schema": _ref(route.response)}
    if route.answers is not None:
        shown["example"] = route.answers
    headers: dict[str, Any] = dict(_ETAG) if route.method == "GET" else {}
    headers |= _REPLAYED if route.idempotent else {}
    headers |= _LOCATION if route.status == 201 and route.operation_id != "createKey" else {}  # noqa: PLR2004
    description = (route.response.__doc__ or route.summary).strip()
    return {"description": description, "content": {"application/json": shown}, "headers": headers}


def _problem(kinds: Sequence[Kind]) -> dict[str, Any]:
    titles = "; ".join(f"{kind.title} (`{kind.slug}`)" for kind in kinds)
    examples = {
        kind.slug: {
            "value": {
                "type": kind.type,
                "title": kind.title,
                "status": kind.status,
                "detail": f"{kind.title}.",
            }
        }
        for kind in kinds
    }
    answer: dict[str, Any] = {
        "description": titles,
        "content": {CONTENT_TYPE: {"schema": _ref(ProblemOut), "examples": examples}},
    }
    waits = any(kind.slug in ("too-many-requests", "unavailable") for kind in kinds)
    return answer | ({"headers": _RETRY} if waits else {})


Mode = Literal["validation", "serialization"]


def _models() -> dict[tuple[type[BaseModel], Mode], None]:
    """Every model once, each as it is read or as it is written."""
    models: dict[tuple[type[BaseModel], Mode], None] = {(ProblemOut, "serialization"): None}
    for route in ROUTES:
        if route.request is not Nothing:
            models[route.request, "validation"] = None
        if route.response is not None:
            models[route.response, "serialization"] = None
    return models


_MAPPED, _DEFINITIONS = models_json_schema(list(_models()), ref_template=_REF)
_REFS = {model: schema for (model, _), schema in _MAPPED.items()}


def _ref(model: type[BaseModel]) -> dict[str, Any]:
    return dict(_REFS[model])


def _schemas() -> dict[str, Any]:
    schemas: dict[str, Any] = _DEFINITIONS["$defs"]
    return schemas

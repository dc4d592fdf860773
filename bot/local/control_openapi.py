"""The description of the control routes."""

from bot.local.model import Json
from bot.local.routes import Body


def openapi(bodies: dict[str, type[Body]]) -> Json:
    """The description of the control routes, in OpenAPI 3.1."""
    schemas: Json = {}
    paths: Json = {"/_control/state": {"get": _operation("The whole workspace", None)}}
    for name, body in bodies.items():
        schema = body.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {}) | {body.__name__: schema}
        summary = (body.__doc__ or "").strip()
        paths[f"/_control/{name}"] = {"post": _operation(summary, body.__name__)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Local Slack: control routes", "version": "1"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _operation(summary: str, body: str | None) -> Json:
    answer = {"description": "Done", "content": {"application/json": {"schema": {}}}}
    operation: Json = {"summary": summary, "responses": {"200": answer}}
    if body is not None:
        schema = {"schema": {"$ref": f"#/components/schemas/{body}"}}
        operation["requestBody"] = {"required": True, "content": {"application/json": schema}}
    return operation

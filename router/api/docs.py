"""The documentation for people: one page, made from the same document, that fetches nothing."""

import base64
import hashlib
import json
from functools import cache
from html import escape
from typing import Any

from router.api import openapi

_STYLE = """
:root { color-scheme: light dark; --edge: #8886; --soft: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 60rem; padding: 1rem; }
h2 { margin-top: 3rem; border-bottom: 1px solid var(--edge); }
h3 { margin: 2rem 0 0.25rem; font-size: 1rem; }
code, pre { font: 0.875rem/1.45 ui-monospace, monospace; }
pre { background: var(--soft); padding: 0.75rem; overflow-x: auto; border-radius: 6px; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 0.25rem 1rem 0.25rem 0; border-bottom: 1px solid var(--edge); }
.verb { display: inline-block; min-width: 4.5rem; font-weight: 700; }
nav a { margin-right: 1rem; }
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; frame-ancestors 'none'; base-uri 'none'"
"""The page's Content-Security-Policy: its own style and nothing else."""


@cache
def page() -> bytes:
    """The whole page."""
    document = openapi.document()
    schemas = document["components"]["schemas"]
    tags = [tag["name"] for tag in document["tags"]]
    parts = [
        "<!doctype html><html lang=en><head><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width, initial-scale=1'>",
        f"<title>{escape(document['info']['title'])}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(document['info']['title'])}</h1>",
        *_paragraphs(document["info"]["description"]),
        "<p>For programs: <a href='/openapi.json'>/openapi.json</a></p><nav>",
        *(f"<a href='#{escape(tag)}'>{escape(tag)}</a>" for tag in tags),
        "<a href='#shapes'>shapes</a></nav>",
    ]
    for tag in tags:
        parts.append(f"<h2 id='{escape(tag)}'>{escape(tag.capitalize())}</h2>")
        parts += _operations(document, tag)
    parts.append("<h2 id='shapes'>Shapes</h2>")
    parts += [_shape(name, schemas[name]) for name in sorted(schemas)]
    return "".join([*parts, "</body></html>"]).encode()


def _operations(document: dict[str, Any], tag: str) -> list[str]:
    return [
        _operation(verb, path, operation)
        for path, item in document["paths"].items()
        for verb, operation in item.items()
        if verb != "parameters" and tag in operation["tags"]
    ]


def _operation(verb: str, path: str, operation: dict[str, Any]) -> str:
    said = [
        f"<h3 id='{escape(operation['operationId'])}'><span class=verb>{verb.upper()}</span>",
        f"<code>{escape(path)}</code></h3><p>{escape(operation['summary'])}</p>",
        *_paragraphs(operation["description"]),
        _parameters(operation["parameters"]),
    ]
    if body := operation.get("requestBody"):
        said.append(_example("Body", body["content"]["application/json"]))
    for status, response in operation["responses"].items():
        said.append(f"<p><b>{status}</b> {_inline(response['description'])}</p>")
        if shown := response.get("content", {}).get("application/json"):
            said.append(_example("", shown))
    return "".join(said)


def _parameters(parameters: list[dict[str, Any]]) -> str:
    rows = [
        f"<tr><td><code>{escape(one['name'])}</code></td>"
        f"<td><code>{escape(json.dumps(one['schema']))}</code></td>"
        f"<td>{_inline(one.get('description', ''))}</td></tr>"
        for one in parameters
        if "name" in one
    ]
    return f"<table>{''.join(rows)}</table>" if rows else ""


def _example(title: str, content: dict[str, Any]) -> str:
    name = content["schema"].get("$ref", "").rpartition("/")[2]
    link = f"<p>{title} <a href='#{escape(name)}'>{escape(name)}</a></p>" if name else ""
    example = content.get("example")
    if example is None:
        return link
    return f"{link}<pre>{escape(json.dumps(example, indent=2, ensure_ascii=False))}</pre>"


def _shape(name: str, schema: dict[str, Any]) -> str:
    rows = [
        f"<tr><td><code>{escape(field)}</code></td>"
        f"<td><code>{escape(json.dumps(_short(each)))}</code></td>"
        f"<td>{_inline(each.get('description', ''))}</td></tr>"
        for field, each in schema.get("properties", {}).items()
    ]
    said = "".join(_paragraphs(schema.get("description", "")))
    return f"<h3 id='{escape(name)}'>{escape(name)}</h3>{said}<table>{''.join(rows)}</table>"


def _short(schema: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in schema.items() if k not in ("title", "description")}


def _paragraphs(text: str) -> list[str]:
    return [f"<p>{_inline(part)}</p>" for part in text.strip().split("\n\n") if part.strip()]


def _inline(text: str) -> str:
    """Escaped text, with what stands between backticks as code."""
    parts = escape(" ".join(text.split())).split("`")
    return "".join(f"<code>{p}</code>" if n % 2 else p for n, p in enumerate(parts))

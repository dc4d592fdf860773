"""Slack's limits on views (docs.slack.dev/reference/views/modal-views)."""

import json
from collections.abc import Iterator
from typing import Any

from bot.local.checks import block_faults, parsed
from bot.local.elements import text_faults
from bot.local.model import Json, SlackError, invalid_arguments

MAX_BLOCKS = 100
MAX_BYTES = 250_000
MAX_TITLE = 24

# Blocks that Slack shows in messages alone.
_MESSAGES_ONLY = frozenset({"context_actions", "file", "markdown", "plan", "table", "task_card"})
_LIMITS = {"private_metadata": 3_000, "callback_id": 255, "external_id": 255}
_COMMON = {"type": "", "blocks": [], "private_metadata": "", "callback_id": "", "external_id": ""}
_MODAL = {"title": None, "close": None, "submit": None}
_FLAGS = {"clear_on_close": False, "notify_on_close": False}
_HOME_TITLE = {"type": "plain_text", "text": "View Title", "emoji": True}


def check_view(value: Any, kind: str) -> Json:
    """The view of a call with all its fields, blocks not yet named; SlackError if refused."""
    view = parsed(value, "invalid_arguments")
    if not isinstance(view, dict):
        raise invalid_arguments("must provide an object [json-pointer:/view]")
    if len(json.dumps(view, ensure_ascii=False).encode()) > MAX_BYTES:
        raise SlackError("view_too_large")
    faults = [*_shape(view, kind), *_blocks(view, kind)]
    if faults:
        raise invalid_arguments(*faults)
    given = {name: value for name, value in view.items() if value is not None}
    if kind == "home":
        return _COMMON | _FLAGS | {"title": _HOME_TITLE, "close": None, "submit": None} | given
    return _COMMON | _MODAL | _FLAGS | given


def _shape(view: Json, kind: str) -> Iterator[str]:
    if view.get("type") != kind:
        yield f"unsupported type: {view.get('type')}, must be {kind} [json-pointer:/view/type]"
    known = _COMMON | (_MODAL | _FLAGS if kind == "modal" else {})
    for name in view.keys() - known.keys():
        yield f"invalid additional property: {name} [json-pointer:/view]"
    if kind == "modal":
        yield from _titles(view)
    for name, limit in _LIMITS.items():
        value = view.get(name)
        if value is not None and not isinstance(value, str):
            yield f"must be a string [json-pointer:/view/{name}]"
        elif value and len(value) > limit:
            yield f"must be less than {limit + 1} characters [json-pointer:/view/{name}]"
    for name in _FLAGS:
        if not isinstance(view.get(name, False), bool):
            yield f"must be a boolean [json-pointer:/view/{name}]"


def _titles(view: Json) -> Iterator[str]:
    if view.get("title") is None:
        yield "missing required field: title [json-pointer:/view]"
    for name in _MODAL:
        if view.get(name) is not None:
            for fault in text_faults(view[name], MAX_TITLE, plain=True):
                yield f"{fault} [json-pointer:/view/{name}]"


def _blocks(view: Json, kind: str) -> Iterator[str]:
    blocks = view.get("blocks")
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        yield "missing required field: blocks [json-pointer:/view]"
        return
    yield from block_faults(blocks, MAX_BLOCKS, "/view/blocks")
    for place, block in enumerate(blocks):
        where = f"[json-pointer:/view/blocks/{place}"
        if block.get("type") in _MESSAGES_ONLY:
            yield f"unsupported type: {block['type']} {where}/type]"
        if block.get("type") == "input" and kind == "modal" and view.get("submit") is None:
            yield f"must define `submit` to use `input` block {where}/input]"

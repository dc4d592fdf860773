"""Slack's limits on what a message may hold (docs.slack.dev/reference/block-kit/blocks)."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from bot.local.elements import element_faults, text_faults
from bot.local.model import Json, SlackError

MAX_TEXT = 40_000
MAX_UPDATE_TEXT = 4_000
MAX_MARKDOWN = 12_000
MAX_BLOCKS = 50
MAX_ATTACHMENTS = 100
MAX_METADATA_BYTES = 16_384  # Slack names the error but no number; this one is our reading

_BLOCKS = frozenset(
    [
        "actions",
        "alert",
        "card",
        "carousel",
        "container",
        "context",
        "context_actions",
        "data_table",
        "data_visualization",
        "divider",
        "file",
        "header",
        "image",
        "input",
        "markdown",
        "plan",
        "rich_text",
        "section",
        "table",
        "task_card",
        "video",
    ]
)


def check_blocks(value: Any) -> list[Json]:
    """The blocks of a call, parsed; raises SlackError when Slack would refuse them."""
    blocks = parsed(value, "invalid_blocks_format")
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise SlackError("invalid_blocks_format")
    faults = list(block_faults(blocks, MAX_BLOCKS, "/blocks"))
    if faults:
        messages = [f"[ERROR] {fault}" for fault in faults]
        raise SlackError("invalid_blocks", response_metadata={"messages": messages})
    if sum(len(block["text"]) for block in blocks if block["type"] == "markdown") > MAX_MARKDOWN:
        raise SlackError("msg_blocks_too_long")
    return blocks


def block_faults(blocks: list[Json], most: int, pointer: str) -> Iterator[str]:
    """What Slack would say against these blocks of a surface that takes at most so many."""
    for place, block in enumerate(blocks):
        yield from _faults(block, f"{pointer}/{place}")
    if len(blocks) > most:
        yield f"no more than {most} items allowed [json-pointer:{pointer}]"
    ids = [block["block_id"] for block in blocks if "block_id" in block]
    if len(ids) != len(set(ids)):
        yield f"block_id already exists [json-pointer:{pointer}]"


def parsed(value: Any, error: str) -> Any:
    """A structured argument, which a form carries as a JSON string."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as broken:
        raise SlackError(error) from broken


def _faults(block: Json, pointer: str) -> Iterator[str]:
    kind = block.get("type")
    if kind not in _BLOCKS:
        yield f"unsupported type: {kind} [json-pointer:{pointer}/type]"
        return
    check = _CHECKS.get(kind)
    for fault in (*(check(block) if check else ()), *element_faults(block)):
        yield f"{fault} [json-pointer:{pointer}]"


def _section(block: Json) -> Iterator[str]:
    if "text" not in block and not block.get("fields"):
        yield "missing required field: text or fields"
    if "text" in block:
        yield from text_faults(block["text"], 3_000)
    if len(block.get("fields", ())) > 10:  # noqa: PLR2004  # Slack's number, in its one place
        yield "no more than 10 items allowed in fields"
    for item in block.get("fields", ()):
        yield from text_faults(item, 2_000)


def _header(block: Json) -> Iterator[str]:
    yield from text_faults(block.get("text"), 150, plain=True)


def _markdown(block: Json) -> Iterator[str]:
    text = block.get("text")
    if not isinstance(text, str) or not text:
        yield "missing required field: text"
    elif len(text) > MAX_MARKDOWN:
        yield f"must be less than {MAX_MARKDOWN + 1} characters: text"


def _elements(limit: int) -> Callable[[Json], Iterator[str]]:
    def check(block: Json) -> Iterator[str]:
        elements = block.get("elements")
        if not isinstance(elements, list) or not elements:
            yield "missing required field: elements"
        elif len(elements) > limit:
            yield f"no more than {limit} items allowed in elements"

    return check


def _context(block: Json) -> Iterator[str]:
    yield from _elements(10)(block)
    elements = block.get("elements")
    for element in elements if isinstance(elements, list) else ():
        if isinstance(element, dict) and element.get("type") in ("mrkdwn", "plain_text"):
            yield from text_faults(element, 3_000)


def _input(block: Json) -> Iterator[str]:
    yield from text_faults(block.get("label"), 2_000, plain=True)
    if not isinstance(block.get("element"), dict):
        yield "missing required field: element"
    if block.get("hint") is not None:
        yield from text_faults(block["hint"], 2_000, plain=True)


_CHECKS: dict[str, Callable[[Json], Iterator[str]]] = {
    "section": _section,
    "header": _header,
    "markdown": _markdown,
    "actions": _elements(25),
    "context": _context,
    "input": _input,
    "context_actions": _elements(5),
}


def check_metadata(value: Any) -> Json:
    """The metadata of a call, parsed; raises SlackError when Slack would refuse it."""
    metadata = parsed(value, "invalid_metadata_format")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("event_type"), str):
        raise SlackError("invalid_metadata_format")
    payload = metadata.get("event_payload", {})
    if not metadata["event_type"] or not isinstance(payload, dict):
        raise SlackError("invalid_metadata_format")
    if len(json.dumps(payload).encode()) > MAX_METADATA_BYTES:
        raise SlackError("metadata_too_large")
    return {"event_type": metadata["event_type"], "event_payload": payload}


def check_attachments(value: Any) -> list[Json]:
    """The attachments of a call, parsed; raises SlackError when Slack would refuse them."""
    attachments = parsed(value, "invalid_attachments")
    if not isinstance(attachments, list):
        raise SlackError("invalid_attachments")
    if len(attachments) > MAX_ATTACHMENTS:
        raise SlackError("too_many_attachments")
    return attachments


def fallback_text(blocks: list[Json]) -> str:
    """The text of a message that came with blocks only, as notifications and readers show it."""
    return "\n".join(filter(None, map(_block_text, blocks)))


def _block_text(block: Json) -> str:
    text = block.get("text", "")
    return str(text.get("text", "")) if isinstance(text, dict) else str(text)

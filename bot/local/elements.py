"""Slack's limits on what stands inside blocks (docs.slack.dev/reference/block-kit/block-elements)."""

from collections.abc import Iterator
from typing import Any

from bot.local.model import Json

_TEXT_LIMITS = {
    "block_id": 255,
    "action_id": 255,
    "value": 2_000,
    "url": 3_000,
    "accessibility_label": 75,
    "agent_prompt": 4_000,
}
_STYLES = frozenset({"primary", "danger"})
_CONFIRM_LIMITS = {"title": 100, "text": 300, "confirm": 30, "deny": 30}
_CONFIRM_NEEDED = frozenset({"title", "text"})

SELECTS = frozenset(
    f"{many}{kind}_select"
    for many in ("", "multi_")
    for kind in ("static", "external", "users", "conversations", "channels")
)
TYPED = frozenset({"plain_text_input", "email_text_input", "url_text_input", "number_input"})
CHOSEN = SELECTS | {"checkboxes", "radio_buttons", "datepicker", "timepicker", "datetimepicker"}
_CONTEXT = frozenset({"image", "mrkdwn", "plain_text"})
# What each place takes.
TAKES = {
    "actions": frozenset({"button", "overflow", "workflow_button"}) | CHOSEN,
    "context": _CONTEXT,
    "context_actions": frozenset({"feedback_buttons", "icon_button"}),
    "input": TYPED | CHOSEN | {"rich_text_input", "file_input"},
    "section": frozenset({"button", "overflow", "workflow_button", "image"}) | CHOSEN,
}


def text_faults(value: Any, limit: int, *, plain: bool = False) -> Iterator[str]:
    """What is wrong with a text object of at most `limit` characters."""
    text = value.get("text") if isinstance(value, dict) else None
    if not isinstance(text, str) or not text:
        yield "missing required field: text"
    elif len(text) > limit:
        yield f"must be less than {limit + 1} characters: text"
    kinds = ("plain_text",) if plain else ("plain_text", "mrkdwn")
    if isinstance(value, dict) and value.get("type") not in kinds:
        yield f"unsupported type: {value.get('type')}, must be {' or '.join(kinds)}"


def element_faults(block: Json) -> Iterator[str]:
    """What is wrong with the elements of a block: their kinds, their ids, each button."""
    takes = TAKES.get(block["type"])
    seen: set[str] = set()
    for element in elements_of(block):
        kind = element.get("type")
        if takes is not None and kind not in takes:
            yield f"unsupported type: {kind} in {block['type']}"
        action_id = element.get("action_id")
        if isinstance(action_id, str):
            if action_id in seen:
                yield f"action_id already exists: {action_id}"
            seen.add(action_id)
        if kind == "button":
            yield from _button(element)
        if element.get("confirm") is not None:
            yield from _confirm(element["confirm"])
    yield from _walk(block)


def elements_of(block: Json) -> Iterator[Json]:
    """The elements that stand in a block itself: its row of them, its accessory, its input."""
    listed = block.get("elements") if block.get("type") != "rich_text" else None
    for element in (
        *(listed if isinstance(listed, list) else ()),
        block.get("accessory"),
        block.get("element"),
    ):
        if isinstance(element, dict):
            yield element


def _button(button: Json) -> Iterator[str]:
    yield from text_faults(button.get("text"), 75, plain=True)
    if "style" in button and button["style"] not in _STYLES:
        yield f"must be primary or danger: style {button['style']}"
    for name in ("action_id", "value", "url", "accessibility_label"):
        if name in button and not isinstance(button[name], str):
            yield f"must be a string: {name}"
    seen_by = button.get("visible_to_user_ids", [])
    if not isinstance(seen_by, list) or not all(isinstance(one, str) for one in seen_by):
        yield "must be a list of user ids: visible_to_user_ids"


def _confirm(confirm: Any) -> Iterator[str]:
    if not isinstance(confirm, dict):
        yield "must be an object: confirm"
        return
    for name, limit in _CONFIRM_LIMITS.items():
        if name in confirm or name in _CONFIRM_NEEDED:
            plain = name != "text"
            for fault in text_faults(confirm.get(name), limit, plain=plain):
                yield f"{fault} (confirm/{name})"
    if "style" in confirm and confirm["style"] not in _STYLES:
        yield f"must be primary or danger: confirm/style {confirm['style']}"


def _walk(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _walk(item)
    elif isinstance(node, dict):
        for name, value in node.items():
            limit = _TEXT_LIMITS.get(name)
            if limit is not None and isinstance(value, str) and len(value) > limit:
                yield f"must be less than {limit + 1} characters: {name}"
            yield from _walk(value)

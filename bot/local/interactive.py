"""What people can press and fill in: the elements of blocks, and the values they hold."""

import secrets
from collections.abc import Iterator
from typing import Any

from bot.local.elements import CHOSEN, TYPED, elements_of
from bot.local.model import Json, SlackError

_STATIC = {"type", "text", "mrkdwn", "plain_text", "image"}
# The field that holds what was chosen; its initial value is under initial_ instead of selected_.
_FIELDS = {
    "checkboxes": "selected_options",
    "radio_buttons": "selected_option",
    "static_select": "selected_option",
    "external_select": "selected_option",
    "users_select": "selected_user",
    "conversations_select": "selected_conversation",
    "channels_select": "selected_channel",
    "multi_static_select": "selected_options",
    "multi_external_select": "selected_options",
    "multi_users_select": "selected_users",
    "multi_conversations_select": "selected_conversations",
    "multi_channels_select": "selected_channels",
    "datepicker": "selected_date",
    "timepicker": "selected_time",
    "datetimepicker": "selected_date_time",
}


def identified(blocks: list[Json]) -> list[Json]:
    """The blocks with an id each, and what can be pressed in them with an action_id each."""
    return [_identified(block) for block in blocks]


def _identified(block: Json) -> Json:
    named: Json = {"block_id": secrets.token_hex(2)} | block
    if block.get("type") != "rich_text" and isinstance(block.get("elements"), list):
        named["elements"] = [_named(element) for element in block["elements"]]
    for place in ("accessory", "element"):
        if isinstance(block.get(place), dict):
            named[place] = _named(block[place])
    return named


def _named(element: Any) -> Any:
    if not isinstance(element, dict) or element.get("type") in _STATIC:
        return element
    return {"action_id": secrets.token_hex(3)} | element


def pressable(blocks: list[Json]) -> list[tuple[Json, Json]]:
    """Every element that sends an action, with its block."""
    return list(_pressable(blocks))


def _pressable(blocks: list[Json]) -> Iterator[tuple[Json, Json]]:
    for block in blocks:
        for element in elements_of(block):
            if "action_id" in element:
                yield block, element
        if isinstance(block.get("blocks"), list):
            yield from _pressable(block["blocks"])


def placed(blocks: list[Json], given: Json) -> Json:
    """What a person typed and chose, by block and then action.

    `given` is that, or by either alone; SlackError `input_not_found` for an unknown place.
    """
    values: Json = {}
    known: set[str] = set()
    for block, element in _inputs(blocks):
        block_id, action_id = block["block_id"], element["action_id"]
        known |= {block_id, action_id}
        value = given.get(block_id, given.get(action_id))
        value = value.get(action_id) if isinstance(value, dict) else value
        if value is not None:
            held(element, value)  # refuses an option that is none
            values.setdefault(block_id, {})[action_id] = value
    if unknown := given.keys() - known:
        raise SlackError("input_not_found", detail=sorted(unknown))
    return values


def state_of(blocks: list[Json], values: Json) -> Json:
    """The `state.values` of these blocks; `values` as `placed` has them."""
    state: Json = {}
    for block, element in _inputs(blocks):
        block_id, action_id = block["block_id"], element["action_id"]
        value = values.get(block_id, {}).get(action_id)
        state.setdefault(block_id, {})[action_id] = held(element, value)
    return state


def _inputs(blocks: list[Json]) -> Iterator[tuple[Json, Json]]:
    return ((b, e) for b, e in _pressable(blocks) if e["type"] in TYPED | CHOSEN)


def held(element: Json, value: Any) -> Json:
    """What an input holds, as `state.values` and actions show it; None: what it began with."""
    kind = element["type"]
    if kind in TYPED:
        begun = element.get("initial_value")
        return {"type": kind, "value": begun if value is None else str(value) or None}
    name = _FIELDS[kind]
    if value is None:
        begun = element.get(name.replace("selected_", "initial_"))
        return {"type": kind, name: [] if begun is None and name.endswith("s") else begun}
    if name == "selected_option":
        value = _option(element, value)
    elif name == "selected_options":
        value = [_option(element, one) for one in value]
    return {"type": kind, name: value}


def _option(element: Json, value: str) -> Json:
    groups = (group["options"] for group in element.get("option_groups", ()))
    options: list[Json] = [*element.get("options", ()), *(one for group in groups for one in group)]
    for option in options:
        if option["value"] == value:
            return option
    raise SlackError("option_not_found")


def check_filled(blocks: list[Json], state: Json) -> None:
    """Refuse, as Slack's own form does, what is missing, too short or too long."""
    for block in blocks:
        if block["type"] != "input" or block["element"]["type"] not in TYPED | CHOSEN:
            continue
        element = block["element"]
        holds = state[block["block_id"]][element["action_id"]]
        [value] = [holds[name] for name in holds if name != "type"]
        if not value:
            if not block.get("optional", False):
                raise SlackError("input_required", detail=block["block_id"])
        elif element["type"] in TYPED:
            _check_length(element, value)


def _check_length(element: Json, value: str) -> None:
    if len(value) > element.get("max_length", 3_000):
        raise SlackError("input_too_long", detail=element["action_id"])
    if len(value) < element.get("min_length", 0):
        raise SlackError("input_too_short", detail=element["action_id"])

"""Messages with buttons and views with inputs, for tests of what people press."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from slack_sdk.web.async_client import AsyncWebClient

Json = dict[str, Any]


def plain(text: str) -> Json:
    return {"type": "plain_text", "text": text}


def button(action_id: str = "approve", **fields: Any) -> Json:
    return {
        "type": "button",
        "action_id": action_id,
        "text": plain(action_id.title()),
        "value": f"id-{action_id}",
    } | fields


def card(*buttons: Json) -> list[Json]:
    section = {"type": "section", "text": {"type": "mrkdwn", "text": "May I?"}}
    elements = list(buttons) or [button("approve"), button("deny", style="danger")]
    return [section, {"type": "actions", "block_id": "decide", "elements": elements}]


async def posted(client: AsyncWebClient, channel: str, *buttons: Json, **fields: Any) -> str:
    """The ts of a card in that channel."""
    answer = await client.chat_postMessage(
        channel=channel, text="May I?", blocks=card(*buttons), **fields
    )
    ts: str = answer["ts"]
    return ts


def text_input(block_id: str = "reason", *, optional: bool = False, **element: Any) -> Json:
    return {
        "type": "input",
        "block_id": block_id,
        "label": plain("Why"),
        "optional": optional,
        "element": {"type": "plain_text_input", "action_id": "text"} | element,
    }


def modal(*blocks: Json, **fields: Any) -> Json:
    return {
        "type": "modal",
        "callback_id": "deny",
        "title": plain("Deny"),
        "submit": plain("Send"),
        "blocks": list(blocks) or [text_input()],
    } | fields


def home(*blocks: Json, **fields: Any) -> Json:
    return {"type": "home", "blocks": list(blocks) or card()} | fields


def recorded(name: str) -> Json:
    """A recorded payload of the folder that SLACK_PAYLOADS names."""
    if not (named := os.environ.get("SLACK_PAYLOADS")):
        pytest.skip("SLACK_PAYLOADS names no folder of recorded payloads")
    body: Json = json.loads((Path(named) / name).read_text())
    return body["payload"] if "envelope_id" in body else body


def missing(wanted: Any, made: Any, place: str = "") -> list[str]:
    """The keys of a recorded payload, at any depth, that ours lacks or fills with another type."""
    if isinstance(wanted, dict) and isinstance(made, dict):
        gone = [f"{place}/{name}" for name in wanted.keys() - made.keys()]
        both = wanted.keys() & made.keys()
        return gone + [
            f for name in both for f in missing(wanted[name], made[name], f"{place}/{name}")
        ]
    if isinstance(wanted, list) and isinstance(made, list):
        pairs = zip(wanted, made, strict=False)
        return [f for one, other in pairs for f in missing(one, other, f"{place}/0")]
    return [] if type(wanted) is type(made) else [f"{place}: {type(made).__name__}"]

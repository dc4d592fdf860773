"""Pure: a card as a person reads it in Slack, for the script that checks what people see."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

Blocks = list[dict[str, Any]]

_MENTIONED = re.compile(r"<@(\w+)>")
_MOMENT = re.compile(r"<!date\^[^|>]*\|([^>]*)>")


def read(blocks: Blocks, names: Mapping[str, str]) -> str:
    """What is written: people by their names, moments written out, buttons left away."""
    text = _MENTIONED.sub(
        lambda found: f"@{names.get(found[1], found[1])}", "\n".join(_lines(blocks))
    )
    return _MOMENT.sub(r"\1", text)


def offers(blocks: Blocks) -> list[str]:
    """The labels of the buttons, in order."""
    rows = [block["elements"] for block in blocks if block["type"] == "actions"]
    return [str(button["text"]["text"]) for row in rows for button in row]


def _lines(blocks: Blocks) -> Iterator[str]:
    for block in blocks:
        match block["type"]:
            case "section":
                yield str(block["text"]["text"])
            case "context":
                yield " ".join(str(element["text"]) for element in block["elements"])
            case "rich_text":
                parts = [part for inside in block["elements"] for part in inside["elements"]]
                yield "".join(str(part.get("text", "")) for part in parts)
            case _:
                pass

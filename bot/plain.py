"""Pure: what agents and tools write, as text that Slack shows letter by letter.

Nothing made here is ever read as markup: docs.slack.dev/reference/block-kit/composition-objects/text-object
(`plain_text`) and …/blocks/rich-text-block (`rich_text_preformatted`).
"""

import json
import re
import unicodedata
from typing import Any

Json = dict[str, Any]

FOLDED = 600
_LINES = 20
_NAME = re.compile(r"[\w.-]{1,60}", re.ASCII)
_INDENT = "    "
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# what joins letters and pictures in ordinary writing, and changes no order of words
_JOINERS = frozenset("\u200c\u200d\ufe0f")


def visible(text: str) -> str:
    """The text with all that nobody would see spelt out: controls, and what turns the order of words.

    Otherwise what a person reads and what is run could differ (unicode.org/reports/tr36).
    """
    return "".join(map(_seen, text.replace("\r\n", "\n")))


def _seen(letter: str) -> str:
    if letter in "\n\t" or letter in _JOINERS or unicodedata.category(letter) not in _UNSEEN:
        return letter
    return f"\\u{ord(letter):04x}"


def line(text: str, most: int) -> str:
    """The text on one line and at most so long, never empty."""
    one = " ".join(visible(text).split()) or "…"
    return one if len(one) <= most else one[: most - 1] + "…"


def arguments(values: Json) -> str:
    """A call's arguments to be read by people: `name: value`, longer values indented below.

    Only names stand at the beginning of a line, so no value can pass for another argument.
    """
    return "\n".join(_argument(name, value) for name, value in values.items())


def _argument(name: str, value: Any) -> str:
    label = name if _NAME.fullmatch(name) else json.dumps(visible(name), ensure_ascii=False)
    if isinstance(value, dict | list) and value:
        written = json.dumps(value, ensure_ascii=False, indent=2)
    else:
        written = value if isinstance(value, str) and value else json.dumps(value)
    written = visible(written)
    if "\n" not in written:
        return f"{label}: {written}"
    return f"{label}:\n" + "\n".join(_INDENT + part for part in written.split("\n"))


def folded(text: str, most: int = FOLDED) -> tuple[str, int]:
    """The beginning of a text, no taller than a screen, and how many characters of it are left out."""
    kept = "\n".join(text[:most].split("\n")[:_LINES])
    if len(kept) == len(text):
        return text, 0
    return kept.rstrip(), len(text) - len(kept.rstrip())


# ------------------------------------------------------------------ blocks


def plain(text: str) -> Json:
    """A text object that is shown as it is."""
    return {"type": "plain_text", "text": text, "emoji": False}


def section(text: str) -> Json:
    """A paragraph of at most 3,000 characters."""
    return {"type": "section", "text": plain(text)}


def code(text: str) -> Json:
    """A block of letters of one width."""
    inside = {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": text}]}
    return {"type": "rich_text", "elements": [inside]}


def pieces(text: str, size: int) -> list[str]:
    """The text in pieces of at most that size, cut at the ends of lines where there are some."""
    found = []
    while len(text) > size:
        end = text.rfind("\n", 1, size) + 1 or size
        found.append(text[:end])
        text = text[end:]
    return [*found, text] if text else found

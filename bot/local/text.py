"""What a person types, turned into Slack's text and rich_text blocks."""

import re
from html import unescape

from bot.local.model import Json

_TOKEN = re.compile(r"<(?:[@#!][^<>\s][^<>]*|(?:https?://|mailto:)[^<>\s][^<>]*)>")
_NAME = re.compile(r"(?<![\w<])@([a-z][a-z0-9_.-]*)")
_BROADCASTS = {"here", "channel", "everyone"}


def typed(text: str, user_ids: dict[str, str]) -> str:
    """Slack's form of a typed text: names become mentions, `&<>` are escaped.

    Slack's own tokens (`<@U…>`, `<!here>`, `<https://…>`) pass as they are.
    """
    text = _NAME.sub(lambda name: _mention(name, user_ids), text)
    parts, place = [], 0
    for token in _TOKEN.finditer(text):
        parts += [_escape(text[place : token.start()]), token.group()]
        place = token.end()
    return "".join([*parts, _escape(text[place:])])


def _mention(name: re.Match[str], user_ids: dict[str, str]) -> str:
    word = name.group(1)
    if word in _BROADCASTS:
        return f"<!{word}>"
    return f"<@{user_ids[word]}>" if word in user_ids else name.group()


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def mentions(text: str, user_id: str) -> bool:
    """Whether the text mentions that user."""
    return f"<@{user_id}>" in text or f"<@{user_id}|" in text


def rich_text(text: str, block_id: str) -> list[Json]:
    """The blocks that Slack makes of a text without blocks; none for an empty text."""
    if not text:
        return []
    elements: list[Json] = []
    place = 0
    for token in _TOKEN.finditer(text):
        elements += _plain(text[place : token.start()])
        elements.append(_element(token.group()[1:-1]))
        place = token.end()
    elements += _plain(text[place:])
    section = {"type": "rich_text_section", "elements": elements}
    return [{"type": "rich_text", "block_id": block_id, "elements": [section]}]


def _plain(text: str) -> list[Json]:
    return [{"type": "text", "text": unescape(text)}] if text else []


def _element(token: str) -> Json:
    target, _, label = token.partition("|")
    match target[0]:
        case "@":
            return {"type": "user", "user_id": target[1:]}
        case "#":
            return {"type": "channel", "channel_id": target[1:]}
        case "!":
            return {"type": "broadcast", "range": target[1:]}
        case _:
            return {"type": "link", "url": target} | ({"text": label} if label else {})

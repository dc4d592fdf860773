"""Slack's message text, decoded into what a person reads on the screen."""

import re

# docs.slack.dev/messaging/formatting-message-text: in a message, "<" opens a reference and nothing else
_REFERENCE = re.compile(r"<([@#!]|[A-Za-z][A-Za-z0-9+.-]*:)([^<>]*)>")
# our mention became U+0000, which no cleaned text holds; one of the spaces around it goes too
_REMOVED = re.compile(r"(?<!\S)\0[ \t]?|[ \t]?\0")
_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*:(//)?", re.IGNORECASE)
_NOTIFY_ALL = frozenset({"here", "channel", "everyone", "group"})


def clean(text: str) -> str:
    """The text without what PostgreSQL refuses: U+0000 goes, a lone surrogate becomes U+FFFD."""
    if "\0" in text:
        text = text.replace("\0", "")
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def mentions(text: str, user_id: str) -> bool:
    """Whether the raw text holds a mention of that user, with or without a label."""
    return f"<@{user_id}>" in text or f"<@{user_id}|" in text


def opens_with_mention(text: str) -> bool:
    """Whether the raw text begins with a mention of a person or of a user group."""
    return text.lstrip().startswith(("<@", "<!subteam^"))


def decode(text: str, own_user_id: str) -> str:
    """Raw text of a message as plain text: references spelt out, escapes undone, our own mention removed."""
    text = clean(text)
    if "<" in text:
        text = _REFERENCE.sub(lambda match: _spell(match[1], match[2], own_user_id), text)
        text = _REMOVED.sub("", text)
    if "&" in text:
        text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return text.strip()


def _spell(sigil: str, rest: str, own_user_id: str) -> str:
    body, _, label = rest.partition("|")
    match sigil:
        case "@":
            return "\0" if body == own_user_id else "@" + (label or body).removeprefix("@")
        case "#":
            return "#" + (label or body).removeprefix("#")
        case "!":
            return _command(body, label)
        case _:
            return _link(sigil + body, label)


def _command(body: str, label: str) -> str:
    if body in _NOTIFY_ALL:
        return "@" + body
    name, *arguments = body.split("^")
    if name == "subteam":
        return "@" + (label or "".join(arguments[:1])).removeprefix("@")
    return label or body


def _link(url: str, label: str) -> str:
    target = url.removeprefix("mailto:").removeprefix("tel:")
    if not label or _bare(label) == _bare(url):
        return target
    return f"{label} ({target})"


def _bare(url: str) -> str:
    return _SCHEME.sub("", url).rstrip("/")

"""What is written to Slack: replies as markdown blocks, notices as plain text. Pure.

Limits from docs.slack.dev/reference/block-kit/blocks and docs.slack.dev/reference/methods/chat.update.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from bot.blocks import LINE, NO_FRAME, Frame, Unit, units_of

PART_LIMIT = 11_000  # of the 12,000 that one markdown block takes
FALLBACK_LIMIT = 4_000  # chat.update answers msg_too_long above
SECTION_LIMIT = 3_000
_MOST_CARDS = 40  # of the 50 blocks of a message

_MARK = "…"
_JOINER = "\u2060"  # WORD JOINER: shows nothing and allows no line break
_MASS_MENTION = re.compile(r"(?<!\w)@(?=(?:channel|here|everyone|group)\b)", re.IGNORECASE)
_REFERENCE = re.compile(r"<(?=!(?i:channel|here|everyone|group|subteam\^)|@[A-Z0-9_]+[|>])")
_FENCE_LINE = re.compile(r"^[ >]*(?:`{3,}|~{3,}).*\n?", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6}[ \t]+", re.MULTILINE)
_LINK = re.compile(r"!?\[([^\[\]\n]*)\]\(([^()\s]+)\)")
_STRONG = re.compile(r"(\*\*|__|~~)(?=\S)(.{1,400}?)(?<=\S)\1")
_HALF_ENTITY = re.compile(r"&[a-z]{0,3}$")


@dataclass(frozen=True, slots=True)
class Piece:
    """One part of a reply: `text` is what is posted, `source` the slice of the reply that it shows."""

    text: str
    source: str


def defuse(text: str) -> str:
    """The text with every mention of people and groups broken by an invisible joiner, code included.

    An agent's words reach nobody's phone by themselves; links and channel references stay as they are.
    """
    if "@" in text:
        text = _MASS_MENTION.sub("@" + _JOINER, text)
    if "<" in text:
        text = _REFERENCE.sub("<" + _JOINER, text)
    return text


def parts(markdown: str, limit: int = PART_LIMIT) -> list[str]:
    """The defused text as messages of at most `limit` characters, none of them empty, nothing left out.

    Cut between blocks, else between items, rows and lines; a block is torn only if it is longer than
    a part. Fences are closed and reopened, table headers repeated, list numbers kept. A line that is
    longer than a part is cut and marked.
    """
    return [piece.text for piece in pieces(markdown, limit) if piece.text.strip()]


def reply_blocks(
    part: str, steps: Sequence[tuple[str, str]] = (), footer: str | None = None
) -> list[dict[str, Any]]:
    """A part of a reply as blocks; agent text never becomes anything that can be clicked but links.

    `steps` are the tool calls (title, status) that the preview showed as cards; `footer` is a line
    of ours below.
    """
    cards = [
        {"type": "task_card", "task_id": f"step-{n}", "title": title[:256], "status": status}
        for n, (title, status) in enumerate(steps[:_MOST_CARDS])
    ]
    below = [{"type": "context", "elements": [_plain(footer)]}] if footer else []
    return [*cards, {"type": "markdown", "text": part}, *below]


def notice_blocks(sentence: str, reference: str | None = None) -> list[dict[str, Any]]:
    """A sentence of ours, in plain text since it may name things that others chose; a reference below."""
    text = sentence if len(sentence) <= SECTION_LIMIT else sentence[: SECTION_LIMIT - 1] + _MARK
    blocks: list[dict[str, Any]] = [{"type": "section", "text": _plain(text)}]
    if reference is not None:
        blocks.append({"type": "context", "elements": [_plain(f"Reference: {reference}")]})
    return blocks


def fallback_text(markdown: str) -> str:
    """The words for notifications and screen readers: no markup, escaped, at most 4,000 characters."""
    start = markdown[: 2 * FALLBACK_LIMIT]  # enough of it, and a bound on the work
    text = _FENCE_LINE.sub("", defuse(start.replace("\0", "")))
    text = _HEADING.sub("", text)
    text = _LINK.sub(r"\1 (\2)", text)
    text = _STRONG.sub(r"\2", text).strip()
    # docs.slack.dev/messaging/formatting-message-text: these three and no others
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    if len(text) <= FALLBACK_LIMIT and start == markdown:
        return text
    return _HALF_ENTITY.sub("", text[: FALLBACK_LIMIT - 1]) + _MARK


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


# ------------------------------------------------------------------------------------------ cutting


def pieces(markdown: str, limit: int = PART_LIMIT) -> list[Piece]:
    """The parts with the slices they show; the slices joined are the defused text."""
    text = _normal(defuse(markdown))
    if len(text) <= limit:
        return [Piece(text.strip("\n").rstrip(), text)] if text.strip() else []
    queue = units_of(text)
    found: list[Piece] = []
    while queue:
        piece, queue = _take(queue, limit)
        found.append(piece)
    return found


def _normal(text: str) -> str:
    return text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")


def _take(queue: list[Unit], limit: int) -> tuple[Piece, list[Unit]]:
    """The next part and what is left after it."""
    opening = _affordable(queue[0].frame, limit).opening
    end = _reach(queue, limit - len(opening), limit)
    if end == 0:
        return _cut_line(queue, opening, limit)
    end = _best_cut(queue, end, limit)
    closing = _affordable(queue[end].frame, limit).closing if end < len(queue) else ""
    return _piece(queue[:end], opening, closing), queue[end:]


def _piece(units: list[Unit], opening: str, closing: str) -> Piece:
    body = "".join(unit.text for unit in units)
    source = "".join(unit.source for unit in units)
    if closing:
        return Piece(opening + body + closing, source)
    text = opening + body.rstrip() if opening else body.strip("\n").rstrip()
    return Piece(text, source)


def _affordable(frame: Frame, limit: int) -> Frame:
    """A frame that would fill half a part is dropped: better a bare row than no progress."""
    return frame if len(frame.opening) + len(frame.closing) <= limit // 2 else NO_FRAME


def _reach(queue: list[Unit], room: int, limit: int) -> int:
    """How many units fit, with the closing that a cut behind them would need."""
    fits, size = 0, 0
    for count, unit in enumerate(queue, start=1):
        size += len(unit.text)
        if size > room:
            break
        rest = queue[count].frame if count < len(queue) else NO_FRAME
        if size + len(_affordable(rest, limit).closing) <= room:
            fits = count
    return fits


def _best_cut(queue: list[Unit], end: int, limit: int) -> int:
    """The last cut between the shallowest blocks, so that no block is torn which fits a part whole."""
    if end == len(queue):
        return end
    sizes = [0, *accumulate(len(unit.text) for unit in queue)]
    for level in sorted({unit.level for unit in queue} - {LINE}):
        at = next((k for k in range(end, 0, -1) if queue[k].level <= level), None)
        if at is None:
            continue
        after = range(at + 1, len(queue))
        block_end = next((k for k in after if queue[k].level <= level), len(queue))
        if sizes[block_end] - sizes[at] <= limit:
            return at
    return end


def _cut_line(queue: list[Unit], opening: str, limit: int) -> tuple[Piece, list[Unit]]:
    """The first unit alone is too long: as much of it as fits, marked, cut at a space if one is near."""
    unit = queue[0]
    inner = _affordable(unit.inner, limit)
    closing = _MARK + ("\n" + inner.closing if inner.closing else "")
    room = limit - len(opening) - len(closing)
    at = unit.text.rfind(" ", room - room // 4, room) + 1 or room
    head, tail = unit.text[:at], unit.text[at:]
    rest = replace(unit, text=tail, source=tail, level=LINE, frame=unit.inner)
    # a lazy number stands at the very beginning, so the source of the tail is the tail itself
    source = unit.source[: len(unit.source) - len(tail)]
    return Piece(opening + head + closing, source), [rest, *queue[1:]]

"""What is written to Slack: replies as markdown blocks, notices as plain text. Pure.

Limits from docs.slack.dev/reference/block-kit/blocks and docs.slack.dev/reference/methods/chat.update.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise, takewhile
from typing import Any

from bot import links
from bot.blocks import (
    LINE,
    NO_FRAME,
    Frame,
    Unit,
    indentation,
    outdented,
    quotes_at,
    source_behind,
    units_of,
)
from bot.hosts import JOINER, hidden
from router.behaviour import Mentions

PART_LIMIT = 11_000  # of the 12,000 that one markdown block takes
FALLBACK_LIMIT = 4_000  # chat.update answers msg_too_long above
SECTION_LIMIT = 3_000
_MOST_CARDS = 40  # of the 50 blocks of a message

_MARK = "…"
_MASS_MENTION = re.compile(r"(?<!\w)@(?=(?:channel|here|everyone|group)\b)", re.IGNORECASE)
_GROUP = re.compile(r"<(?=!(?i:channel|here|everyone|group|subteam\^)|@(?![UW])[A-Z0-9_]+[|>])")
_PERSON = re.compile(r"<(?=@[UW][A-Z0-9_]*[|>])")
_ESCAPED_GROUP = re.compile(
    r"&lt;(!(?:channel|here|everyone|subteam\^S[A-Z0-9]+))(?:\|[^<>&|\n]*)?&gt;"
)
_ESCAPED_PERSON = re.compile(r"&lt;(@[UW][A-Z0-9]+)(?:\|[^<>&|\n]*)?&gt;")
_FENCE_LINE = re.compile(r"^[ >]*(?:`{3,}|~{3,}).*\n?", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6}[ \t]+", re.MULTILINE)
_LINK = re.compile(r"!?\[([^\[\]\n]*)\]\(([^()\s]+)\)( \([^()\s]+\))?")
_STRONG = re.compile(r"(\*\*|__|~~)(?=\S)(.{1,400}?)(?<=\S)\1")
_ITEM = re.compile(r"([ \t>]*)(?:\d{1,9}[.)]|[-+*])(?:\s|$)")
_BLOCK = re.compile(r"(?:[-+*>|=]|#{1,6}|\d{1,9}[.)])(?:\s|$)|>|~~~|```")
_DEFINITION = re.compile(r"[ \t>\n]*(\[)[^\[\]]*\]:")
_TICKS = re.compile("`+")
_HALF_ENTITY = re.compile(r"&[a-z]{0,3}$")


@dataclass(frozen=True, slots=True)
class Piece:
    """One part of a reply: `text` is what is posted, `source` the slice of the reply that it shows."""

    text: str
    source: str


def defuse(text: str, mentions: Mentions = "none") -> str:
    """The text with all that it may not do, or hide, taken from it; its lines end in LF alone.

    Mentions that are not allowed are broken by an invisible joiner, code included: an agent's words
    reach nobody's phone by themselves. Behind a link whose text hides its host that host is written.
    """
    return _broken(links.show_hosts(_normal(text)), mentions)


def defuse_on(shown: str, text: str, mentions: Mentions = "none") -> str | None:
    """The defused text where it goes on behind what a message shows; None where it cannot.

    That is where it makes a link of what is shown already. Lines that would do so later, like
    "[1]: url", are broken by an invisible joiner.
    """
    text, size = _normal(text), len(shown)
    defined = links.find(shown + text).definitions
    inert = links.written(text, {at - size: JOINER for at in defined if at > size})
    marks = links.find(shown + inert).marks
    if min([*defined, *marks], default=size + 1) <= size:
        return None
    added = {at - size: mark for at, mark in marks.items()}
    last = shown[-1:]  # "@here" is no mention behind a letter
    return _broken(last + links.written(inert, added), mentions)[len(last) :]


def _broken(text: str, mentions: Mentions) -> str:
    if mentions != "all":
        text = _MASS_MENTION.sub("@" + JOINER, text) if "@" in text else text
        text = _GROUP.sub("<" + JOINER, text)
    return text if mentions != "none" else _PERSON.sub("<" + JOINER, text)


def parts(markdown: str, limit: int = PART_LIMIT, *, mentions: Mentions = "none") -> list[str]:
    """The defused text as messages of at most `limit` characters, none of them empty, nothing left out.

    Cut between blocks, else between items, rows and lines; a block is torn only if it is longer than
    a part. Fences are closed and reopened, table headers repeated, list numbers kept. A line that is
    longer than a part is cut and marked, outside of links and code spans that fit a part.
    """
    return [piece.text for piece in pieces(markdown, limit, mentions) if piece.text.strip()]


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


def fallback_text(markdown: str, mentions: Mentions = "none") -> str:
    """The words for notifications and screen readers: no markup, escaped, at most 4,000 characters."""
    start = markdown[: 2 * FALLBACK_LIMIT]  # enough of it, and a bound on the work
    text = _FENCE_LINE.sub("", _broken(_normal(start), mentions))
    text = _HEADING.sub("", text)
    text = _LINK.sub(_link_in_words, text)
    text = escaped(_STRONG.sub(r"\2", text).strip(), mentions)
    if len(text) <= FALLBACK_LIMIT and start == markdown:
        return text
    return _HALF_ENTITY.sub("", text[: FALLBACK_LIMIT - 1]) + _MARK


def _link_in_words(found: re.Match[str]) -> str:
    """Its text and where it leads; a host written behind it is said by that."""
    text, url, behind = found[1], found[2], found[3] or ""
    host = hidden(url, text)
    return f"{text} ({url})" + ("" if behind == f" ({host})" else behind)


def escaped(text: str, mentions: Mentions = "none") -> str:
    """The text with nothing in it that Slack reads as more than words, but for mentions allowed."""
    # docs.slack.dev/messaging/formatting-message-text: these three and no others
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    if mentions == "all":
        text = _ESCAPED_GROUP.sub(r"<\1>", text)
    return text if mentions == "none" else _ESCAPED_PERSON.sub(r"<\1>", text)


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


# ------------------------------------------------------------------------------------------ cutting


def pieces(markdown: str, limit: int = PART_LIMIT, mentions: Mentions = "none") -> list[Piece]:
    """The parts with the slices they show; the slices joined are the defused text."""
    text = defuse(markdown, mentions)
    if len(text) <= limit:
        return [Piece(text.strip("\n").rstrip(), text)] if text.strip() else []
    queue = units_of(text)
    found: list[Piece] = []
    while queue:
        near = _near(queue, limit)
        piece, rest = _take(_apart(queue[:near]), limit)
        queue = [*rest, *queue[near:]]
        found.append(piece)
    return found


def _normal(text: str) -> str:
    return text.replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")


def _near(queue: list[Unit], limit: int) -> int:
    """How many units can matter for the next cut: those of this part, and of a block after it."""
    sizes = accumulate(len(unit.text) for unit in queue)
    return next((n for n, size in enumerate(sizes, 1) if size > 3 * limit), len(queue))


def _apart(queue: list[Unit]) -> list[Unit]:
    """A part that begins inside of a list: the items that follow must not count as its words."""
    if not queue[0].level:
        return queue
    zone = 1 + next((n for n, unit in enumerate(queue[1:], 1) if not unit.level), len(queue))
    apart = [_with_gap(unit, before) for before, unit in pairwise(queue[:zone])]
    return [queue[0], *apart, *queue[zone:]]


def _with_gap(unit: Unit, before: Unit) -> Unit:
    item = _ITEM.match(unit.text) if unit.level != LINE else None
    if item is None or not before.text.rpartition("\n")[0].strip():
        return unit
    gap = item[1].rstrip() + "\n"
    atoms = tuple((begin + len(gap), end + len(gap)) for begin, end in unit.atoms)
    return replace(unit, text=gap + unit.text, atoms=atoms)


def _take(queue: list[Unit], limit: int) -> tuple[Piece, list[Unit]]:
    """The next part and what is left after it."""
    opening = _affordable(queue[0].frame, limit).opening
    end = _reach(queue, limit - len(opening), limit)
    if end == 0:
        return _cut_line(queue, opening, limit)
    end = _best_cut(queue, end, limit)
    end = _end_of_code(queue, end) if queue[0].level else end
    closing = _affordable(queue[end].frame, limit).closing if end < len(queue) else ""
    return _piece(queue[:end], opening, closing), queue[end:]


def _end_of_code(queue: list[Unit], end: int) -> int:
    """Code, or a table, that only the end of its list ends, in a part that does not begin with that."""
    for n, (one, other) in enumerate(pairwise(queue[:end]), 1):
        goes_on = other.frame is one.inner or not (one.inner.closing or other.text.strip(" \t>\n"))
        if not one.inner.ends and not goes_on:
            return n
    return end


def _piece(units: list[Unit], opening: str, closing: str) -> Piece:
    """The part; where it begins inside of lists, without the indentation that only they explain."""
    source = "".join(unit.source for unit in units)
    body, rest = "", units
    while rest and rest[0].level:
        count, frame = _begun_inside(rest)
        inside, rest = rest[:count], rest[count:]
        last = "" if rest else closing
        body += outdented("".join(unit.text for unit in inside) + last, frame)
    if rest:
        body += "".join(unit.text for unit in rest) + closing
    if closing:
        return Piece(opening + body, source)
    return Piece(opening + body.rstrip() if opening else body.strip("\n").rstrip(), source)


def _begun_inside(units: list[Unit]) -> tuple[int, Frame]:
    """How many units are in the fence, table or list that a text begins inside of, and how far in."""
    frame = units[0].frame
    if frame is not NO_FRAME:
        return sum(1 for _ in takewhile(lambda unit: unit.frame is frame, units)), frame
    first = next((n for n, unit in enumerate(units) if unit.level != LINE), 0)
    level, text = units[first].level, units[first].text.lstrip("\n")
    more = takewhile(lambda unit: unit.level >= level, units[first:])
    return first + sum(1 for _ in more), indentation(text.partition("\n")[0])


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
    for level in sorted({unit.cost for unit in queue} - {LINE}):
        at = next((k for k in range(end, 0, -1) if queue[k].cost <= level), None)
        if at is None:
            continue
        after = range(at + 1, len(queue))
        block_end = next((k for k in after if queue[k].cost <= level), len(queue))
        if sizes[block_end] - sizes[at] <= limit:
            return at
    return end


def _cut_line(queue: list[Unit], opening: str, limit: int) -> tuple[Piece, list[Unit]]:
    """The first unit alone is too long: as much of it as fits, marked, cut at a space if one is near."""
    unit = queue[0]
    inner = _affordable(unit.inner, limit)
    closing = _MARK + ("\n" + inner.closing if inner.closing else "")
    at, ticks = _where(unit, limit - len(opening) - len(closing))
    quote = "> " * quotes_at(unit, at)
    head, again = unit.text[:at], (quote if len(quote) <= limit // 4 else "") + ticks
    rest = replace(
        unit,
        text=again + unit.text[at:],
        source=source_behind(unit, at),
        level=LINE,
        frame=unit.inner,
        atoms=tuple(
            (max(begin - at, 0) + len(again) - len(ticks) * (begin < at), end - at + len(again))
            for begin, end in unit.atoms
            if end > at
        ),
    )
    source = unit.source.removesuffix(rest.source)
    shown = replace(unit, text=head + ticks + closing, source=source)
    return _piece([shown], opening, ""), [rest, *queue[1:]]


def _where(unit: Unit, room: int) -> tuple[int, str]:
    """Where to cut a unit, and the backticks that a code span needs there if it does not fit whole."""
    text = unit.text
    first = len(text) - len(text.lstrip(" \t>\n"))
    at = text.rfind(" ", room - room // 4, room) + 1 or room
    while (before := _better(unit, at)) > first:
        at = before
    torn = [begin for begin, end in unit.atoms if begin < at < end]
    if not torn:
        return _no_definition(text, at, room), ""
    ticks = _TICKS.match(text, torn[0])
    if ticks is None or len(ticks[0]) > room // 4:
        return at, ""
    at = min(at, room - len(ticks[0]))
    while at > ticks.end() + 1 and "`" in text[at - 1 : at + 1]:
        at -= 1
    return at, ticks[0]


def _no_definition(text: str, at: int, room: int) -> int:
    """What reads "[1]: url" amid words would define a link where a part begins with it."""
    found = _DEFINITION.match(text, at)
    if found is None:
        return at
    behind = found.end(1)
    return behind if behind <= room else len(text[:at].rstrip(" \t>\n")) - 1 or at


def _better(unit: Unit, at: int) -> int:
    """An earlier place to cut: not in a link or code, nor where words would begin a block; else 0."""
    torn = [begin for begin, end in unit.atoms if begin < at < end]
    if torn:
        return max(torn)
    begins = _BLOCK.match(unit.text, at) and unit.inner is NO_FRAME
    return unit.text.rfind(" ", 0, at - 1) + 1 if begins and unit.text[at - 1] == " " else 0

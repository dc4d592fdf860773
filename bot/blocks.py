"""Markdown as atomic units with the cost of cutting before each: what `render.parts` packs."""

import re
from dataclasses import dataclass
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token

LINE = 99  # the dearest place to cut that still leaves every line whole

_LINES = re.compile(r"[^\n]*\n|[^\n]+")  # str.splitlines knows more ends of lines than Markdown
_NUMBER = re.compile(r"[\s>*+-]*(\d+)")
_BLOCKS = MarkdownIt("commonmark").enable("table")
_BLOCKS.core.ruler.enableOnly(["normalize", "block"])  # inline markup never decides where to cut


@dataclass(frozen=True, slots=True)
class Frame:
    """What has to be repeated when a part begins inside a fence or table, and closed when one ends there."""

    opening: str = ""
    closing: str = ""


NO_FRAME = Frame()


@dataclass(frozen=True, slots=True)
class Unit:
    """Whole lines that stay together unless they alone are longer than a part.

    `level` is the nesting depth of the block that begins here, LINE inside one; `frame` is needed to
    begin a part here, `inner` to begin one in the middle of the unit. `source` is the text before an
    ordered list's lazy numbers ("1. 1. 1.") were spelt out.
    """

    text: str
    source: str
    level: int
    frame: Frame = NO_FRAME
    inner: Frame = NO_FRAME


@dataclass(slots=True)
class _Line:
    text: str
    source: str
    level: int = LINE
    frame: Frame = NO_FRAME
    glued: bool = False  # to the line before


def units_of(markdown: str) -> list[Unit]:
    """The text as units; their sources joined are the text, whose lines must end in LF alone."""
    lines = [_Line(text, text) for text in _LINES.findall(markdown)]
    tokens = _BLOCKS.parse(markdown)
    for token in tokens:
        _mark(token, lines)
    _number(tokens, lines)
    _glue_headings(tokens, lines)
    starts = [at for at, line in enumerate(lines) if at == 0 or not line.glued]
    return [_unit(lines[a:b]) for a, b in pairwise([*starts, len(lines)])]


def _unit(lines: list[_Line]) -> Unit:
    return Unit(
        text="".join(line.text for line in lines),
        source="".join(line.source for line in lines),
        level=lines[0].level,
        frame=lines[0].frame,
        inner=lines[-1].frame,
    )


def _mark(token: Token, lines: list[_Line]) -> None:
    if token.map is None or token.nesting < 0:
        return
    begin, end = token.map
    if begin >= len(lines):
        return
    lines[begin].level = min(lines[begin].level, token.level)
    if token.type == "fence":
        _frame_fence(token, lines[begin:end])
    elif token.type == "table_open":
        _frame_table(lines[begin:end])


def _frame_fence(token: Token, block: list[_Line]) -> None:
    first = block[0].text
    prefix = _prefix(first[: first.index(token.markup)])
    frame = Frame(f"{prefix}{token.markup}{token.info}\n", f"{prefix}{token.markup}")
    for line in block[1:]:
        line.frame = frame
    # no part may hold an empty fence
    closed = len(block) > 1 and _closes(block[-1].text, token.markup)
    for edge in block[1:2] + (block[-1:] if closed else []):
        edge.glued = True


def _prefix(before: str) -> str:
    """What stands before a reopened fence: quote marks stay, a bullet would begin a new item."""
    if ">" in before:
        return re.sub(r"[^>\s]", " ", before)
    return " " * len(before) if len(before) <= 3 else ""  # noqa: PLR2004 - CommonMark: four make it code


def _closes(line: str, markup: str) -> bool:
    return line.strip(" >\t\n").startswith(markup)


def _frame_table(block: list[_Line]) -> None:
    frame = Frame(opening=block[0].text + block[1].text)
    for line in block[1:]:
        line.frame = frame
    for line in block[1:3]:  # a header is nothing without its ruler and a first row
        line.glued = True


def _number(tokens: list[Token], lines: list[_Line]) -> None:
    """Writes each list number as it shows: a later part cannot count on from an earlier one."""
    next_numbers: list[int | None] = []
    for token in tokens:
        match token.type:
            case "ordered_list_open":
                next_numbers.append(int(token.attrs.get("start", 1)))
            case "bullet_list_open":
                next_numbers.append(None)
            case "ordered_list_close" | "bullet_list_close":
                next_numbers.pop()
            case "list_item_open" if (number := next_numbers[-1]) is not None and token.map:
                next_numbers[-1] = number + 1
                _renumber(lines[token.map[0]], token.info, number)


def _renumber(line: _Line, written: str, number: int) -> None:
    found = _NUMBER.match(line.text)
    if found is None or found[1] != written or int(written) == number:
        return
    line.text = line.text[: found.start(1)] + str(number) + line.text[found.end(1) :]


def _glue_headings(tokens: list[Token], lines: list[_Line]) -> None:
    """A heading goes with what it heads, blank lines included."""
    for token in tokens:
        if token.type != "heading_open" or token.map is None:
            continue
        at = token.map[1]
        while at < len(lines) and not lines[at].text.strip():
            lines[at].glued = True
            at += 1
        if at < len(lines) and lines[at].frame is NO_FRAME:
            lines[at].level = LINE

"""Markdown as atomic units with the cost of cutting before each: what `render.parts` packs."""

import re
from bisect import bisect_right
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token

from bot import links

LINE = 99  # the dearest place to cut that still leaves every line whole

_LANGUAGE = 100  # a longer one is no language

_LINES = re.compile(r"[^\n]*\n|[^\n]+")  # str.splitlines knows more ends of lines than Markdown
_MARGIN = " \t>"
_CODE_INDENT = 3  # spaces; with more a line is code
_MARKERS = re.compile(r"[ \t>]*(?:(?:[-+*]|\d{1,9}[.)])[ \t]+[ \t>]*)*")
_NUMBER = re.compile(r"[\s>*+-]*(\d+)")
_BLOCKS = MarkdownIt("commonmark").enable("table")
_BLOCKS.core.ruler.enableOnly(["normalize", "block"])  # inline markup never decides where to cut
links.for_threads(_BLOCKS)


@dataclass(frozen=True, slots=True)
class Frame:
    """What has to be repeated when a part begins inside a fence or table, and closed when one ends there.

    There it stands in its quotes, but not in its lists: its lines lose their indentation, and so does
    the closing, which is the one for where the block began. `ends` is False where only the end of the
    list or quote ends it.
    """

    opening: str = ""
    closing: str = ""
    quotes: int = 0
    indent: int = 0
    ends: bool = True


NO_FRAME = Frame()


@dataclass(frozen=True, slots=True)
class Unit:
    """Whole lines that stay together unless they alone are longer than a part.

    `level` is the nesting depth of the block that begins here, LINE inside one; `frame` is needed to
    begin a part here, `inner` to begin one in the middle of the unit. `source` is the text before an
    ordered list's lazy numbers ("1. 1. 1.") were spelt out. `atoms` are the links and code spans in
    the text, from where to where.
    """

    text: str
    source: str
    level: int
    frame: Frame = NO_FRAME
    inner: Frame = NO_FRAME
    atoms: tuple[tuple[int, int], ...] = ()
    headed: bool = False

    @property
    def cost(self) -> int:
        """Of cutting before it: the level, but a heading is not to be parted from what it heads."""
        return LINE if self.headed else self.level


@dataclass(slots=True)
class _Line:
    text: str
    source: str
    level: int = LINE
    frame: Frame = NO_FRAME
    glued: bool = False  # to the line before
    headed: bool = False


def units_of(markdown: str) -> list[Unit]:
    """The text as units; their sources joined are the text, whose lines must end in LF alone."""
    lines = [_Line(text, text) for text in _LINES.findall(markdown)]
    tokens = _BLOCKS.parse(markdown)
    _number(tokens, lines)
    for token in tokens:
        _mark(token, lines)
    _glue_headings(tokens, lines)
    _glue_definitions(lines)
    atoms = _glue_atoms(markdown, lines)
    starts = [at for at, line in enumerate(lines) if at == 0 or not line.glued]
    units = [_unit(lines[a:b]) for a, b in pairwise([*starts, len(lines)])]
    return _with_atoms(units, atoms)


def opening_at(before: str, after: str) -> str:
    """The lines that a text cut here has to begin with: those of the fence or table it is cut in."""
    lines = _LINES.findall(before + (after.split("\n", 1)[0] or ("x" if not after else "")))
    at = len(_LINES.findall(before)) - (not before.endswith("\n"))
    if not 0 <= at < len(lines):
        return ""
    begun = [_Line(text, text) for text in lines]
    for token in _BLOCKS.parse("".join(lines)):
        _mark(token, begun)
    return begun[at].frame.opening


def _unit(lines: list[_Line]) -> Unit:
    return Unit(
        text="".join(line.text for line in lines),
        source="".join(line.source for line in lines),
        level=lines[0].level,
        frame=lines[0].frame,
        inner=lines[-1].frame,
        headed=lines[0].headed,
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
    before = first[: first.index(token.markup)]
    quote = "> " * before.count(">")
    markup, info = _markup(token), token.info if len(token.info) <= _LANGUAGE else ""
    closed = len(block) > 1 and _closes(block[-1].text, token.markup)
    here = re.sub(r"[^>\s]", " ", before)  # a bullet would begin a new item
    frame = Frame(f"{quote}{markup}{info}\n", f"{here}{markup}", *_depth(before), closed)
    for line in block[1:]:
        line.frame = frame
    # no part may hold an empty fence
    for edge in block[1:2] + (block[-1:] if closed else []):
        edge.glued = True


def _depth(before: str) -> tuple[int, int]:
    """How many quotes a block is in, and how far in by the lists within them, by what stands before it."""
    return before.count(">"), len(before.rpartition(">")[2].removeprefix(" " * (">" in before)))


def _markup(token: Token) -> str:
    """The fence's own; of an endless one as much as its code needs, so that it can be repeated."""
    if len(token.markup) <= _LANGUAGE:
        return token.markup
    mark = token.markup[0]
    longest = max(map(len, re.findall(f"{mark}+", token.content)), default=0)
    return mark * max(3, longest + 1)


def _closes(line: str, markup: str) -> bool:
    return line.strip(" >\t\n").startswith(markup)


def _frame_table(block: list[_Line]) -> None:
    before = _MARKERS.match(block[0].text)
    depth = _depth(before[0] if before else "")
    header = "> " * depth[0] + block[0].text[before.end() if before else 0 :]
    ruler = outdented(block[1].text, Frame("", "", *depth))
    frame = Frame(header + ruler, "", *depth, depth == (0, 0))
    for line in block[1:]:
        line.frame = frame
    for line in block[1:3]:  # a header is nothing without its ruler and a first row
        line.glued = True


def outdented(lines: str, frame: Frame) -> str:
    """Lines of a fence or table without the indentation of the lists that they stand in."""
    if not frame.quotes and not frame.indent:
        return lines
    return "".join(_outdented(line, frame) for line in _LINES.findall(lines))


def indentation(line: str) -> Frame:
    """How far in a line is: what `outdented` takes away; nothing that could not be mistaken for code."""
    before = line[: len(line) - len(line.lstrip(_MARGIN))]
    quotes, indent = _depth(before)
    indent = indent if indent > _CODE_INDENT else 0
    deep = indent or before.find(">") > _CODE_INDENT
    return Frame("", "", quotes, indent) if deep else NO_FRAME


def quotes_at(unit: Unit, at: int) -> int:
    """How many quotes a line is in where it is cut."""
    if unit.inner is not NO_FRAME:
        return unit.inner.quotes
    line = unit.text[unit.text.rfind("\n", 0, at) + 1 : at]
    before = _MARKERS.match(line)
    return before[0].count(">") if before else 0


def _outdented(line: str, frame: Frame) -> str:
    marks = re.match(rf"(?:[ \t]*>){{0,{frame.quotes}}}", line)
    quote = marks[0].lstrip() if marks else ""
    rest = line[marks.end() if marks else 0 :]
    space = " " if quote and rest.startswith(" ") else ""
    spaces = len(rest) - len(rest.lstrip(" ")) - len(space)
    return quote + space + rest[len(space) + min(spaces, frame.indent) :]


def source_behind(unit: Unit, at: int) -> str:
    """The source of a unit's text from there on: lines have more in the one than in the other."""
    tail = _LINES.findall(unit.text[at:])
    source = _LINES.findall(unit.source)[-len(tail) :]
    if at and unit.text[at - 1] != "\n":
        source[0] = source[0][-len(tail[0]) :]
    return "".join(source)


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
                _renumber(lines[slice(*token.map)], token.info, number)


def _renumber(item: list[_Line], written: str, number: int) -> None:
    found = _NUMBER.match(item[0].text)
    if found is None or found[1] != written or int(written) == number:
        return
    begin, end = found.span(1)
    item[0].text = item[0].text[:begin] + str(number) + item[0].text[end:]
    wider = len(str(number)) - (end - begin)
    for line in item[1:]:  # what is in the item stays in it
        if wider > 0 and line.text[begin : end + 2] == " " * (end + 2 - begin):
            line.text = line.text[:begin] + " " * wider + line.text[begin:]


def _glue_headings(tokens: list[Token], lines: list[_Line]) -> None:
    """A heading goes with what it heads, blank lines included; the last of an item heads nothing."""
    for token in tokens:
        if token.type != "heading_open" or token.map is None:
            continue
        begin = at = token.map[1]
        while at < len(lines) and not lines[at].text.strip():
            at += 1
        if at < len(lines) and lines[at].level >= token.level:
            for line in lines[begin:at]:
                line.glued = True
            lines[at].headed = True


def _glue_definitions(lines: list[_Line]) -> None:
    """What reads "[1]: url" amid a paragraph would define a link where a part begins with it."""
    for line in lines:
        if line.level == LINE and line.frame is NO_FRAME and line.text.lstrip(" \t>")[:1] == "[":
            line.glued = True


def _glue_atoms(markdown: str, lines: list[_Line]) -> list[tuple[int, int]]:
    """Keeps the lines of a link or code span together; where those stand in the lines' texts."""
    ends = list(accumulate(len(line.source) for line in lines))
    shown = list(accumulate(len(line.text) for line in lines))
    atoms = []
    for begin, end in links.find(markdown, code=True).atoms:
        first, last = bisect_right(ends, begin), bisect_right(ends, end - 1)
        for line in lines[first + 1 : last + 1]:
            line.glued = line.glued or line.frame is NO_FRAME
        # counted from the end of the line: a number spelt out stands at its beginning
        atoms.append((shown[first] - (ends[first] - begin), shown[last] - (ends[last] - end)))
    return atoms


def _with_atoms(units: list[Unit], atoms: list[tuple[int, int]]) -> list[Unit]:
    starts = list(accumulate((len(unit.text) for unit in units), initial=0))
    mine: dict[int, list[tuple[int, int]]] = {}
    for begin, end in atoms:
        n = bisect_right(starts, begin) - 1
        mine.setdefault(n, []).append((begin - starts[n], end - starts[n]))
    return [replace(u, atoms=tuple(mine[n])) if n in mine else u for n, u in enumerate(units)]

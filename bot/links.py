"""Links in Markdown: where they stand, and the host that has to be written beside them. Pure.

A reader of CommonMark finds them, so that code is left alone. Where Slack may read a text in another
way (HTML, indented code, rows wider than their table) a link counts if either reading has it:
better a host too many than one that is hidden.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, reference
from markdown_it.rules_inline import StateInline, backtick, image, link
from markdown_it.token import Token

from bot.hosts import JOINER, hidden

_DEEPEST = 40  # markdown-it reads nothing that is inside of more brackets or blocks
_NOTES = "notes"
_SLACK_LINK = re.compile(r"<((?:[A-Za-z][A-Za-z0-9+.-]*:|//)[^|<>\s]*)\|([^<>\n]*)>")
_CELL = re.compile(r"(?:[^|\\\n]|\\.)+|\\")
_DEFINED = re.compile(r"(?<!\\)\]:")
_LINES = re.compile(r"[^\n]*\n|[^\n]+")


@dataclass(slots=True)
class Found:
    """What there is in a text.

    `marks`: what is to be written behind links, by offset. `atoms`: from where to where something
    would mean something else in pieces: a link with what is written behind it, a code span.
    `definitions`: where lines like "[1]: url" lose their meaning by a character that shows nothing.
    """

    marks: dict[int, str] = field(default_factory=dict)
    atoms: list[tuple[int, int]] = field(default_factory=list)
    definitions: set[int] = field(default_factory=set)


def find(text: str, *, code: bool = False) -> Found:
    """The links of a text whose lines end in LF alone; with `code` its code spans as well, as atoms."""
    found = Found()
    linked = "](" in text or "]:" in text or _SLACK_LINK.search(text)
    if not linked and not (code and "`" in text):
        return found
    for reader in (_STRICT, _LOOSE) if "<" in text else (_STRICT,):
        _Reading(reader, text).add_to(found)
    found.atoms.sort()
    return found


def show_hosts(text: str) -> str:
    """The text with the host of every link that hides it written behind the link; twice is as once."""
    return written(text, find(text).marks)


def written(text: str, added: dict[int, str]) -> str:
    """The text with something added at some offsets."""
    cuts = [0, *sorted(added), len(text)]
    return "".join(text[a:b] + added.get(b, "") for a, b in pairwise(cuts) if a < b or b == 0)


# -------------------------------------------------------------------------------------- reading


@dataclass(frozen=True, slots=True)
class _Link:
    begin: int
    end: int
    destination: str
    text: str


@dataclass(slots=True)
class _Notes:
    """What the rules below note while markdown-it reads: lines, and offsets into an inline text."""

    definitions: list[tuple[int, int]] = field(default_factory=list)
    links: list[_Link] = field(default_factory=list)
    codes: list[tuple[int, int]] = field(default_factory=list)
    base: int = 0  # of the description of an image, which is read by itself


class _Reading:
    """One reader's view of a text, brought back from lines and inline texts to offsets."""

    def __init__(self, reader: MarkdownIt, text: str) -> None:
        self._reader, self._text = reader, text
        self._lines: list[str] = _LINES.findall(text)
        self._starts = [0, *accumulate(len(line) for line in self._lines)]
        self._notes = _Notes()
        self._env: dict[str, Any] = {_NOTES: self._notes}

    def add_to(self, found: Found) -> None:
        """Adds what this reader sees."""
        for content, at in self._inlines():
            self._notes.links.clear()
            self._notes.codes.clear()
            self._reader.inline.parse(content, self._reader, self._env, [])
            for one in self._notes.links:
                self._add_link(found, at(one.begin), at(one.end - 1) + 1, one)
            found.atoms += [(at(begin), at(end - 1) + 1) for begin, end in self._notes.codes]
        for first, _ in self._notes.definitions:
            if at_bracket := _DEFINED.search(self._text, self._starts[first]):
                found.definitions.add(at_bracket.start() + 1)

    def _add_link(self, found: Found, begin: int, end: int, one: _Link) -> None:
        host = hidden(one.destination, one.text)
        mark = f" ({host})" if host else ""
        behind = self._text[end : end + 2 * len(mark)]
        if mark and not behind.replace(JOINER, "").startswith(mark):
            found.marks[end] = mark
        elif mark:
            end += next(n for n in range(len(behind) + 1) if behind[:n].replace(JOINER, "") == mark)
        found.atoms.append((begin, end))

    def _inlines(self) -> Iterator[tuple[str, Callable[[int], int]]]:
        """The inline texts, each with what tells where its characters stand; code blocks too."""
        tokens = self._reader.parse(self._text, self._env)
        tables = [t.map for t in tokens if t.type == "table_open" and t.map]
        rows = {n for first, last in tables for n in range(first, last)}
        done = {n for first, last in self._notes.definitions for n in range(first, last)}
        for token in tokens:
            if token.map is None:
                continue
            begins = None if token.map[0] in rows else self._begins(token)
            if begins is not None:
                yield token.content, _Offsets(token.content, begins)
            if token.type == "fence" or begins is not None:
                done.update(range(*token.map))
        for n in sorted({*range(len(self._lines))} - done):
            line = self._lines[n].removesuffix("\n")
            for cell in _CELL.finditer(line) if n in rows else re.finditer(r".+", line):
                yield cell[0], _Offsets(cell[0], [self._starts[n] + cell.start()])

    def _begins(self, token: Token) -> list[int] | None:
        """Where the lines of an inline text stand; None where that cannot be said."""
        if token.type != "inline" or token.map is None:
            return None
        begins = []
        for n, line in enumerate(token.content.split("\n"), start=token.map[0]):
            bare = line.strip()
            column = self._lines[n].rfind(bare) if n < len(self._lines) else -1
            if column < 0:
                return None
            begins.append(self._starts[n] + column - line.find(bare))
        return begins


class _Offsets:
    """From a place in an inline text to the place in the whole text."""

    def __init__(self, content: str, begins: list[int]) -> None:
        self._breaks = [0, *(found.end() for found in re.finditer("\n", content))]
        self._begins = begins

    def __call__(self, position: int) -> int:
        n = bisect_right(self._breaks, position) - 1
        return self._begins[n] + position - self._breaks[n]


# ----------------------------------------------------------------------------------- the readers


def _reader(*, html: bool) -> MarkdownIt:
    reader = MarkdownIt("commonmark", {"maxNesting": _DEEPEST}).enable("table")
    # every destination counts, as it is written
    for name, rule in (("validateLink", lambda _: True), ("normalizeLink", str)):
        setattr(reader, name, rule)
    reader.core.ruler.enableOnly(["normalize", "block"])  # inline texts are read one by one
    reader.block.ruler.at("reference", _definition)
    reader.inline.ruler.at("link", _noting_link(link, "link_open", "href"))
    reader.inline.ruler.at("image", _noting_link(image, "image", "src"))
    reader.inline.ruler.at("backticks", _code)
    reader.inline.ruler.disable("emphasis")
    reader.inline.ruler2.enableOnly([])
    if not html:
        reader.disable(["html_block", "html_inline", "autolink"])
        reader.inline.ruler.push("slack_link", _slack_link)
    return for_threads(reader)


def for_threads(reader: MarkdownIt) -> MarkdownIt:
    """The reader with its rules looked up, which by itself it does at the first text, not atomically."""
    for ruler in (reader.core.ruler, reader.block.ruler, reader.inline.ruler, reader.inline.ruler2):
        ruler.getRules()
    return reader


def _definition(state: StateBlock, first: int, last: int, silent: bool) -> bool:  # noqa: FBT001
    notes: _Notes = state.env[_NOTES]
    if not reference(state, first, last, silent):
        return False
    if not silent:
        notes.definitions.append((first, state.line))
    return True


def _noting_link(
    rule: Callable[[StateInline, bool], bool], kind: str, attribute: str
) -> Callable[[StateInline, bool], bool]:
    def noted(state: StateInline, silent: bool) -> bool:  # noqa: FBT001
        notes: _Notes = state.env[_NOTES]
        begin, base, tokens = state.pos, notes.base, len(state.tokens)
        notes.base = base + begin + len("![") if kind == "image" else base
        matched = rule(state, silent)
        notes.base = base
        if matched and not silent:
            made = state.tokens[tokens:]
            opened = next(n for n, token in enumerate(made) if token.type == kind)
            inside = made[opened:] if kind == "image" else made[opened + 1 :]
            words = "".join(" " if t.type == "softbreak" else t.content for t in inside)
            destination = str(made[opened].attrs[attribute])
            notes.links.append(_Link(base + begin, base + state.pos, destination, words))
        return matched

    return noted


def _code(state: StateInline, silent: bool) -> bool:  # noqa: FBT001
    begin, tokens = state.pos, len(state.tokens)
    matched = backtick(state, silent)
    if matched and any(token.type == "code_inline" for token in state.tokens[tokens:]):
        notes: _Notes = state.env[_NOTES]
        notes.codes.append((notes.base + begin, notes.base + state.pos))
    return matched


def _slack_link(state: StateInline, silent: bool) -> bool:  # noqa: FBT001
    """<url|text>: noted and gone into, since nobody says where Slack takes it for a link."""
    found = _SLACK_LINK.match(state.src, state.pos, state.posMax)
    if found is None:
        return False
    if not silent:
        notes: _Notes = state.env[_NOTES]
        begin, end = notes.base + found.start(), notes.base + found.end()
        notes.links.append(_Link(begin, end, found[1], found[2]))
        state.append_pending("<")
    state.pos += 1
    return True


_STRICT, _LOOSE = _reader(html=True), _reader(html=False)

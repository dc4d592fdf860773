"""Pure: how much of a growing text may be shown, and where a message of it may end."""

import re
from itertools import accumulate

from bot import links, render
from bot.blocks import NO_FRAME, opening_at, units_of
from router.behaviour import Mentions

_MENTION_CHARACTERS = 80
_LINK_CHARACTERS = 600
# what comes next decides what these are: a mention, the end of a code span, of a line
_HALF = re.compile(
    rf"(?:[<@][\w!@^|.-]{{0,{_MENTION_CHARACTERS - 1}}}|(?<!`)`{{1,{_MENTION_CHARACTERS}}}|\r)\Z",
    re.ASCII,
)
_LABEL = r"!?\[[^\[\]\n]{0,300}"
_HALF_LINK = re.compile(
    rf"{_LABEL}(?:\]?|\]\([^()\n]{{0,290}}|\]\[[^\[\]\n]{{0,90}}|\]:\s{{0,90}})\Z"
)


def safe_end(text: str) -> int:
    """Up to where a text may be shown while it grows: not into a mention or link not yet whole."""
    end = _hard_end(text)
    half = _HALF_LINK.search(text, max(0, end - _LINK_CHARACTERS), end)
    return half.start() if half else end


def _hard_end(text: str) -> int:
    half = _HALF.search(text, max(0, len(text) - _MENTION_CHARACTERS))
    return half.start() if half else len(text)


def next_words(
    message: str, text: str, room: int, mentions: Mentions = "none"
) -> tuple[str, str | None]:
    """As much of the text as may be shown now, and how it is: in no more than `room` bytes.

    `message`: what is shown before it. None where that would become a link by it.
    """
    weight = max(room, 0)
    while True:
        words = text.encode()[:weight].decode(errors="ignore")
        whole = len(words) == len(text)
        words = words[: safe_end(words)] or ("" if whole else words[: _hard_end(words)])
        shown = render.defuse_on(message, words, mentions)
        if shown is None or len(shown.encode()) <= room or not words:
            return words, shown
        weight //= 2  # what is written beside mentions and links needs its room


def opening(before: str, after: str) -> str:
    """The lines to repeat where a message begins with `after`, amid the code or table of `before`."""
    return opening_at(before, after)


def cut_before(text: str, opened: str = "") -> int:
    """Where to cut a text: behind its last blank line outside of code, else before a table or code.

    Else between rows or lines, else between words, outside of links. `opened`: what had to be
    repeated at the beginning of the message.
    """
    units = units_of(opened + text)
    ends = [end - len(opened) for end in accumulate(len(unit.source) for unit in units)]
    blank = [
        end
        for unit, end in zip(units, ends, strict=True)
        if unit.frame is NO_FRAME and _ends_blank(unit.source)
    ]
    outside = [end for unit, end in zip(units[1:], ends, strict=False) if unit.frame is NO_FRAME]
    for cuts in (blank, outside, ends[:-1]):
        if cuts and cuts[-1] > 0:
            return cuts[-1]
    return _between_words(text)


def _ends_blank(lines: str) -> bool:
    return lines.endswith("\n") and not lines[:-1].rpartition("\n")[2].strip()


def _between_words(text: str) -> int:
    at = text.rfind(" ") + 1 or text.rfind("\n") + 1 or len(text)
    torn = (begin for begin, end in links.find(text, code=True).atoms if 0 < begin < at < end)
    return next(torn, at)

"""Pure: how much of a growing text may be shown, and where a message of it may end."""

import re
from collections.abc import Iterator

from bot import render

_MENTION_CHARACTERS = 80
_HALF_MENTION = re.compile(rf"[<@][\w!@^|.-]{{0,{_MENTION_CHARACTERS - 1}}}\Z", re.ASCII)


def safe_end(text: str) -> int:
    """Up to where a text may be shown while it grows: not into a mention that is not yet whole."""
    half = _HALF_MENTION.search(text, max(0, len(text) - _MENTION_CHARACTERS))
    return half.start() if half else len(text)


def of_bytes(text: str, room: int) -> str:
    """As much of the text as may be shown now and weighs no more than `room`."""
    found = text
    for bytes_left in (room, room // 2):  # breaking up a mention makes it less than twice as long
        found = text.encode()[: max(bytes_left, 0)].decode(errors="ignore")
        found = found[: safe_end(found)]
        if weight(found) <= room:
            break
    return found


def weight(text: str) -> int:
    """The bytes that a text has once its mentions are broken up."""
    return len(render.defuse(text).encode())


def cut_before(text: str) -> int:
    """Where to cut a text: behind its last blank line outside of code, else its last line or word."""
    best = 0
    for end, line, fence in _lines(text):
        if not fence and not line.strip():
            best = end
    return best or text.rfind("\n") + 1 or text.rfind(" ") + 1 or len(text)


def open_fence(text: str) -> str:
    """The line that has to be repeated where what follows the text begins inside of code."""
    opening = ""
    for _, _, fence in _lines(text):
        opening = fence
    return opening


def _lines(text: str) -> Iterator[tuple[int, str, str]]:
    """Each line with where it ends, and the opening of the code that goes on behind it."""
    fence = mark = ""
    end = 0
    for line in text.splitlines(keepends=True):
        end += len(line)
        bare = line.strip()
        if not fence and bare[:3] in ("```", "~~~"):
            fence, mark = bare + "\n", bare[:3]
        elif fence and bare.startswith(mark) and not bare.strip(mark[0]):
            fence = ""
        yield end, line, fence

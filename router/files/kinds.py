"""What a file is, by what is in it: never by its name, nor by what was declared. Pure."""

import re
from dataclasses import dataclass
from io import BytesIO
from typing import Literal

import imagesize

Kind = Literal["image", "document", "text", "resource"]

FILE_BYTES = 20 * 1024**2
FILES = 10
IMAGE_BYTES = 5 * 1024**2
TEXT_BYTES = 64 * 1024
HEAD_BYTES = 256 * 1024  # cameras and colour profiles may put so much in front of an image's size
TAIL_BYTES = 64
# A PDF that is locked by a password has this in its trailer (ISO 32000-1, 7.6.1).
LOCK = b"/Encrypt"

_PDF = "application/pdf"
_ANYTHING = "application/octet-stream"
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", _PDF),
)
_PNG_END = b"IEND\xaeB`\x82"
_MOST_PIXELS = 8000  # platform.claude.com/docs/en/build-with-claude/vision
_NAME = 100
_UPLOADS = "/mnt/session/uploads"


@dataclass(frozen=True, slots=True)
class Read:
    """What was found out of a file that was read to its end; `text` where it is one."""

    kind: Kind
    media_type: str
    size: int
    text: str | None = None


def media_type(head: bytes) -> str:
    """The type that the first bytes of a file tell; octet-stream where they tell none."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _SIGNATURES if head.startswith(magic)), _ANYTHING)


def whole(content: bytes) -> Read | None:
    """A file that is small enough to be quoted, and text; None for everything else."""
    if len(content) > TEXT_BYTES or media_type(content) != _ANYTHING or b"\0" in content:
        return None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return Read("text", "text/plain", len(content), text)


def streamed(head: bytes, tail: bytes, size: int, *, locked: bool = False) -> Read:
    """A file that went to the runtime as it came in, by its first and last bytes and its whole size.

    What a model would refuse to look at, and with it the whole conversation from then on, is a
    resource: a PDF that is `locked`, an image that is cut off, too large, or of no size that its
    first `HEAD_BYTES` tell.
    """
    declared = media_type(head)
    if declared == _PDF and not locked:
        return Read("document", declared, size)
    if declared.startswith("image/") and size <= IMAGE_BYTES and _can_be_seen(head, tail):
        return Read("image", declared, size)
    return Read("resource", declared, size)


def _can_be_seen(head: bytes, tail: bytes) -> bool:
    """As far as few bytes tell: how large an image is, and whether a PNG has its end.

    w3.org/TR/png-3, 11.2.5.
    """
    sides: tuple[int, int] = imagesize.get(BytesIO(head))
    is_whole = media_type(head) != "image/png" or _PNG_END in tail
    return is_whole and 0 < min(sides) <= max(sides) <= _MOST_PIXELS


def mount_path(file_id: str, name: str) -> str:
    """Where a resource is mounted: a place of its own for every file, that every shell can name."""
    return f"/{_plain(file_id)}/{_plain(name)}"


def seen_path(mount: str) -> str:
    """The path under which a session sees what is mounted there.

    platform.claude.com/docs/en/managed-agents/files: mounts lie below /mnt/session/uploads.
    """
    return _UPLOADS + mount


def _plain(name: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip(".-") or "file"
    stem, dot, suffix = plain.rpartition(".")
    if len(plain) <= _NAME or not dot or len(suffix) >= _NAME // 2:
        return plain[:_NAME]
    return f"{stem[: _NAME - len(suffix) - 1]}.{suffix}"

"""Images that are one dot wide, as far as those look at them who ask how large they are."""

PNG_END = b"\0\0\0\0IEND\xaeB`\x82"


def png(height: int) -> bytes:
    """The beginning of a PNG; `PNG_END` is its end."""
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (1).to_bytes(4) + height.to_bytes(4) + b"\1\0\0\0\0"


def jpeg(height: int, before: int = 100) -> bytes:
    """A JPEG whose size stands behind so many bytes of other things."""
    full, rest = divmod(before, 0x8000)
    notes = b"".join(
        b"\xff\xe1" + (size + 2).to_bytes(2) + bytes(size) for size in [0x8000] * full + [rest]
    )
    return b"\xff\xd8" + notes + b"\xff\xc0\0\x0b\x08" + height.to_bytes(2) + b"\0\1\1\1\x11\0"


def webp(coding: bytes, sides: bytes) -> bytes:
    """The beginning of a WebP image."""
    chunk = coding + (len(sides) + 10).to_bytes(4, "little") + sides + bytes(10)
    return b"RIFF" + (len(chunk) + 4).to_bytes(4, "little") + b"WEBP" + chunk


def plain_webp(height: int) -> bytes:
    """With losses, as most are."""
    return webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a\1\0" + height.to_bytes(2, "little"))


def lossless_webp(height: int) -> bytes:
    """Without losses."""
    return webp(b"VP8L", b"\x2f" + ((height - 1) << 14).to_bytes(4, "little"))


def extended_webp(height: int) -> bytes:
    """One that moves, or that can be seen through."""
    return webp(b"VP8X", b"\0\0\0\0\0\0\0" + (height - 1).to_bytes(3, "little"))


PNG = png(1)

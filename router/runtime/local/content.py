"""What is in the files: beside the SQLite file, or in memory, and at most so many bytes in all."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from router.runtime.local.wire import ApiError, new_id

PIECE = 256 * 1024
# Enough for a demo and for tests; the platform's own quota is an organisation's.
_MOST_ON_DISK = 2 * 1024**3
_MOST_IN_MEMORY = 256 * 1024**2
_UNFINISHED = ".part"


class Draft:
    """Content that is still being written; `size` so far."""

    def __init__(self, contents: "Contents", target: IO[bytes] | bytearray) -> None:
        """Nothing yet."""
        self._contents = contents
        self._target = target
        self.size = 0

    def write(self, piece: bytes | bytearray) -> None:
        """Adds a piece; ApiError when there is no room for it."""
        self._contents.take(len(piece))
        self.size += len(piece)
        if isinstance(self._target, bytearray):
            self._target += piece
        else:
            self._target.write(piece)


class Contents:
    """Blobs under names of their own."""

    def __init__(self, folder: Path | None) -> None:
        """In memory without a folder; `most` bytes in all."""
        self._folder = folder
        self._blobs: dict[str, bytearray] = {}
        self.most = _MOST_IN_MEMORY if folder is None else _MOST_ON_DISK
        self._used = 0

    def take(self, size: int) -> None:
        """Counts so many bytes more; ApiError when that is too many."""
        if self._used + size > self.most:
            message = "The organization's file storage is full."
            raise ApiError(400, message, code="storage_quota_exceeded")
        self._used += size

    @contextmanager
    def draft(self, name: str) -> Iterator[Draft]:
        """Content to be kept under this name, unless what is inside fails."""
        draft: Draft | None = None
        try:
            if self._folder is None:
                blob = bytearray()
                draft = Draft(self, blob)
                yield draft
                self._blobs[name] = blob
            else:
                self._folder.mkdir(parents=True, exist_ok=True)
                unfinished = self._folder / (name + _UNFINISHED)
                with unfinished.open("wb") as file:
                    draft = Draft(self, file)
                    yield draft
                unfinished.rename(self._folder / name)
        except BaseException:
            self._used -= draft.size if draft is not None else 0
            if self._folder is not None:
                (self._folder / (name + _UNFINISHED)).unlink(missing_ok=True)
            raise

    def pieces(self, name: str) -> Iterator[bytes]:
        """What is in it; nothing more once it was dropped."""
        if self._folder is None:
            blob = self._blobs.get(name, bytearray())
            for start in range(0, len(blob), PIECE):
                yield bytes(blob[start : start + PIECE])
            return
        with (self._folder / name).open("rb") as file:
            while piece := file.read(PIECE):
                yield piece

    def drop(self, name: str) -> None:
        """Forgets content, if there is any of that name."""
        if self._folder is None:
            self._used -= len(self._blobs.pop(name, b""))
            return
        path = self._folder / name
        if path.exists():
            self._used -= path.stat().st_size
            path.unlink()

    def keep_only(self, names: Iterable[str]) -> None:
        """Forgets whatever else there is: a killed server may have left it."""
        kept = set(names)
        if self._folder is None or not self._folder.exists():
            for name in self._blobs.keys() - kept:
                self.drop(name)
            return
        self._used = 0
        for entry in os.scandir(self._folder):
            if entry.name in kept:
                self._used += entry.stat().st_size
            else:
                Path(entry.path).unlink()


def new_name() -> str:
    """A name for content."""
    return new_id("blob")

"""The files of the local runtime: uploads, the copies that sessions were given, and their outputs."""

import mimetypes
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydantic import TypeAdapter

from router.runtime.local.content import Contents, new_name
from router.runtime.local.pace import Pace
from router.runtime.local.storage import Storage
from router.runtime.local.wire import ApiError, Json, bad_request, new_id, not_found, now_us, stamp

_SOURCES = {
    "image": ("image/png", "image/jpeg", "image/gif", "image/webp"),
    "document": ("application/pdf", "text/plain"),
}


@dataclass(frozen=True, slots=True)
class File:
    """One file; times are in microseconds. What a `session` owns is an `output` or a copy."""

    id: str
    name: str
    type: str
    size: int
    blob: str
    made: int
    expires: int | None = None
    session: str | None = None
    output: bool = False

    def view(self) -> Json:
        """The file as the API shows it; only what an agent made may be downloaded."""
        return {
            "type": "file",
            "id": self.id,
            "filename": self.name,
            "mime_type": self.type,
            "size_bytes": self.size,
            "created_at": stamp(self.made),
            "downloadable": self.output,
            "expires_at": None if self.expires is None else stamp(self.expires),
            "scope": None if self.session is None else {"type": "session", "id": self.session},
        }


FILE: TypeAdapter[File] = TypeAdapter(File)


class Shelf:
    """All files, in memory and in storage, with their contents apart."""

    def __init__(self, storage: Storage, contents: Contents, pace: Pace) -> None:
        """Reads back what storage holds; expiry goes by `pace` where that was moved on."""
        self._storage = storage
        self._pace = pace
        self.contents = contents
        self._files: dict[str, File] = {}
        self._last = 0
        for body in storage.files():
            self._remember(FILE.validate_json(body))
        contents.keep_only({file.blob for file in self._files.values()})

    def __iter__(self) -> Iterator[File]:
        """All that have not expired, newest first."""
        now = self._now()
        return (f for f in reversed(list(self._files.values())) if not _expired(f, now))

    def get(self, file_id: str) -> File:
        """The file; a 404 when there is none, or none any more."""
        file = self._files.get(file_id)
        if file is None:
            raise not_found(f"File {file_id}")
        if _expired(file, self._now()):
            raise ApiError(404, f"File {file_id} has expired.", code="file_expired")
        return file

    def add(self, file: File) -> File:
        """Stores a file whose content is kept; returns it."""
        self._storage.put_file(file.id, file.made, FILE.dump_json(file).decode())
        self._remember(file)
        return file

    def remember(self, files: Iterable[File]) -> None:
        """Makes files known that are stored already."""
        for file in files:
            self._remember(file)

    def uploaded(self, name: str, kind: str, blob: str, size: int, seconds: int | None) -> File:
        """Adds an upload; what has expired by now makes room."""
        self._sweep()
        made = self.tick()
        expires = None if seconds is None else self._now() + seconds * 1_000_000
        return self.add(File(new_id("file"), name, kind, size, blob, made, expires))

    def copied(self, file: File, session_id: str) -> File:
        """Adds a session's own copy of a file, under another id, which does not expire."""
        return self.add(
            File(
                new_id("file"),
                file.name,
                file.type,
                file.size,
                file.blob,
                self.tick(),
                session=session_id,
            )
        )

    def output(self, name: str, text: Iterator[bytes], session_id: str) -> File:
        """An output whose content is kept, for the caller to store; ApiError without room."""
        blob = new_name()
        with self.contents.draft(blob) as draft:
            for piece in text:
                draft.write(piece)
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return File(
            new_id("file"),
            name,
            kind,
            draft.size,
            blob,
            self.tick(),
            session=session_id,
            output=True,
        )

    def drop(self, file: File) -> None:
        """Forgets a file, and its content when no copy is left."""
        self._storage.drop_file(file.id)
        self._files.pop(file.id, None)
        self._free(file.blob)

    def drop_session(self, session_id: str) -> None:
        """Forgets what a session owns."""
        for file in [f for f in self._files.values() if f.session == session_id]:
            self.drop(file)

    def clear(self) -> None:
        """Forgets all; storage has been cleared."""
        self._files.clear()
        self.contents.keep_only(())

    def tick(self) -> int:
        """A time in microseconds after that of every other file."""
        self._last = max(now_us(), self._last + 1)
        return self._last

    def check_sources(self, content: list[Json], where: str) -> None:
        """A 400 where a block names a file that is not there, or is nothing for such a block."""
        for number, block in enumerate(content):
            file_id = source_of(block)
            if file_id is None:
                continue
            place = f"{where}[{number}].source.file_id"
            try:
                file = self.get(file_id)
            except ApiError as gone:
                raise bad_request(f"{place}: {gone.message}") from None
            if file.type not in _SOURCES[block["type"]]:
                raise bad_request(
                    f"{place}: {file.type} is not supported in {block['type']} blocks"
                )

    def named(self, content: list[Json]) -> dict[str, str]:
        """What the files that these blocks name are called, by their ids."""
        known = [self._files.get(source_of(block) or "") for block in content]
        return {f.id: f"{f.name}, {f.size} bytes" for f in known if f is not None}

    def _remember(self, file: File) -> None:
        self._files[file.id] = file
        self._last = max(self._last, file.made)

    def _sweep(self) -> None:
        now = self._now()
        for blob in {f.blob for f in self._files.values() if _expired(f, now)}:
            self._free(blob)

    def _free(self, blob: str) -> None:
        """Lets go of content that nobody needs any more."""
        now = self._now()
        if not any(f.blob == blob and not _expired(f, now) for f in self._files.values()):
            self.contents.drop(blob)

    def _now(self) -> int:
        return now_us() + int(self._pace.moved * 1e6)


def source_of(block: Json) -> str | None:
    """The id of the file that an image or a document is."""
    source = block.get("source") if block.get("type") in _SOURCES else None
    return str(source["file_id"]) if source and source["type"] == "file" else None


def _expired(file: File, now: int) -> bool:
    return file.expires is not None and file.expires <= now

"""The state on disk: written through in one transaction per request or step of a turn."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from router.runtime.local.log import Fresh
from router.runtime.local.model import AGENT, HEAD, LIVE, Agent, Session
from router.runtime.local.wire import Json, dump

_SCHEMA = """
CREATE TABLE IF NOT EXISTS agents (id TEXT PRIMARY KEY, at INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS environments (id TEXT PRIMARY KEY, at INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY, created INTEGER NOT NULL, head BLOB NOT NULL, live BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS events (
    session_id TEXT NOT NULL, seq INTEGER NOT NULL, processed INTEGER, body TEXT NOT NULL,
    PRIMARY KEY (session_id, seq)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (id TEXT PRIMARY KEY, at INTEGER NOT NULL, body TEXT NOT NULL);
"""
_PUT_EVENT = """
INSERT INTO events (session_id, seq, processed, body) VALUES (?, ?, ?, ?)
ON CONFLICT (session_id, seq) DO UPDATE SET processed = excluded.processed, body = excluded.body
"""
_PUT_SESSION = """
INSERT INTO sessions (id, created, head, live) VALUES (?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET head = excluded.head, live = excluded.live
"""
_PUT_FILE = "INSERT OR REPLACE INTO files VALUES (?, ?, ?)"
_PUT_LIVE = "UPDATE sessions SET live = ? WHERE id = ?"
_EVENTS = """
SELECT session_id, seq, processed, body FROM events
ORDER BY session_id, processed IS NULL, processed, seq
"""


class Storage:
    """One SQLite file, or memory; the file belongs to one server at a time."""

    def __init__(self, path: Path | None) -> None:
        """A file that another server holds raises sqlite3.OperationalError."""
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=1.0)
        try:
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(_SCHEMA)
        except sqlite3.Error:
            self._db.close()
            raise

    def close(self) -> None:
        """Nothing may be written afterwards."""
        self._db.close()

    def clear(self) -> None:
        """Forgets everything."""
        with self._transaction():
            for table in ("agents", "environments", "sessions", "events", "files"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608  # names of this loop

    def put_agent(self, agent: Agent, at: int) -> None:
        """Stores an agent with its versions."""
        self._db.execute(
            "INSERT OR REPLACE INTO agents VALUES (?, ?, ?)",
            (agent.latest["id"], at, AGENT.dump_json(agent).decode()),
        )

    def put_environment(self, environment: Json, at: int) -> None:
        """Stores an environment."""
        self._db.execute(
            "INSERT OR REPLACE INTO environments VALUES (?, ?, ?)",
            (environment["id"], at, dump(environment)),
        )

    def drop_environment(self, environment_id: str) -> None:
        """Forgets an environment."""
        self._db.execute("DELETE FROM environments WHERE id = ?", (environment_id,))

    def put_file(self, file_id: str, at: int, body: str) -> None:
        """Stores what is known of a file."""
        self._db.execute(_PUT_FILE, (file_id, at, body))

    def drop_file(self, file_id: str) -> None:
        """Forgets a file."""
        self._db.execute("DELETE FROM files WHERE id = ?", (file_id,))

    def files(self) -> Iterator[str]:
        """All files as they were stored, oldest first."""
        for (body,) in self._db.execute("SELECT body FROM files ORDER BY at"):
            yield body

    def put_session(
        self,
        session: Session,
        fresh: Sequence[Fresh],
        *,
        head: bool,
        files: Sequence[tuple[str, int, str]] = (),
    ) -> None:
        """Stores what changed in a session; `head` when its head did or it is new.

        `files` are new ones that go with it, as `put_file` takes them.
        """
        live = LIVE.dump_json(session.live)
        with self._transaction():
            if head:
                row = (session.id, session.head.created, HEAD.dump_json(session.head), live)
                self._db.execute(_PUT_SESSION, row)
            else:
                self._db.execute(_PUT_LIVE, (live, session.id))
            self._db.executemany(_PUT_FILE, files)
            entries = {said.entry.seq: said.entry for said in fresh}
            self._db.executemany(
                _PUT_EVENT,
                ((session.id, e.seq, e.processed, e.raw) for e in entries.values()),
            )

    def agents(self) -> Iterator[tuple[int, Agent]]:
        """All agents with the time of their creation, oldest first."""
        for at, body in self._db.execute("SELECT at, body FROM agents ORDER BY at"):
            yield at, AGENT.validate_json(body)

    def environments(self) -> Iterator[tuple[int, str]]:
        """All environments with the time of their creation, oldest first."""
        yield from self._db.execute("SELECT at, body FROM environments ORDER BY at")

    def sessions(self) -> Iterator[Session]:
        """All sessions without their events, oldest first."""
        for head, live in self._db.execute("SELECT head, live FROM sessions ORDER BY created"):
            yield Session(HEAD.validate_json(head), LIVE.validate_json(live))

    def events(self) -> Iterator[tuple[str, int, int | None, str]]:
        """All events as (session id, seq, processed, body), in order of processing."""
        yield from self._db.execute(_EVENTS)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

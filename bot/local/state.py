"""The workspace's memory: indexes for reading, SQLite for surviving a restart."""

import json
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from bot.local.changes import Changes
from bot.local.index import Index, Thread
from bot.local.model import Channel, Ephemeral, Json, Message, Status, Stream, User

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS users (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS channels (id TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS messages (
    channel TEXT NOT NULL, ts TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (channel, ts)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ephemerals (seq INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS statuses (seq INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS undelivered (
    event_id TEXT PRIMARY KEY, body TEXT NOT NULL, tried INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS records (
    seq INTEGER PRIMARY KEY, shelf TEXT NOT NULL, id TEXT NOT NULL, body TEXT NOT NULL,
    UNIQUE (shelf, id)
);
CREATE TABLE IF NOT EXISTS reads (
    channel TEXT NOT NULL, user TEXT NOT NULL, ts TEXT NOT NULL, PRIMARY KEY (channel, user)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (id TEXT PRIMARY KEY, body TEXT NOT NULL, content BLOB NOT NULL);
"""
_CLEARED = (
    *("users", "channels", "messages", "ephemerals", "statuses", "undelivered", "records"),
    *("reads", "files"),
)


def _body(record: Any) -> str:
    return json.dumps({f.name: getattr(record, f.name) for f in fields(record)}, default=asdict)


class State:
    """Everything the workspace knows; each write is in SQLite before the method returns.

    `changes` is told of every write, `reads` says how far each person has read, by channel.
    """

    def __init__(self, path: Path | None) -> None:
        self.changes = Changes()
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path or ":memory:", isolation_level=None)
        # WAL without a sync per commit outlives kill -9, which is what tests and the demo do.
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_SCHEMA)
        self._forget()
        self._load()

    def _forget(self) -> None:
        self.users: dict[str, User] = {}
        self.channels: dict[str, Channel] = {}
        self.ephemerals: list[Ephemeral] = []
        self.statuses: list[Status] = []
        self.sessions: dict[tuple[str, str], Status] = {}
        self.user_ids: dict[str, str] = {}
        self.channel_ids: dict[str, str] = {}
        self.reads: dict[str, dict[str, str]] = {}
        self._index = Index()
        self._last_us = 0

    def _load(self) -> None:
        for user in self._rows("SELECT body FROM users"):
            self._index_user(User(**user))
        for channel in self._rows("SELECT body FROM channels"):
            channel |= {name: tuple(channel[name]) for name in ("members", "shared_with")}
            self._index_channel(Channel(**channel))
        for channel_id, user_id, ts in self._db.execute("SELECT channel, user, ts FROM reads"):
            self.reads.setdefault(channel_id, {})[user_id] = ts
        for message in self._rows("SELECT body FROM messages ORDER BY ts"):
            stream = message.pop("stream", None)
            self._add(Message(**message, stream=Stream(**stream) if stream else None))
        self.ephemerals += [Ephemeral(**row) for row in self._rows("SELECT body FROM ephemerals")]
        for row in self._rows("SELECT body FROM statuses"):
            self._index_status(Status(**row))

    def _rows(self, query: str) -> Iterator[Json]:
        return (json.loads(body) for (body,) in self._db.execute(query))

    def close(self) -> None:
        """Release the file; nothing may be written afterwards."""
        self._db.close()

    def clear(self) -> None:
        """Forget everything but the facts (token, secret)."""
        for table in _CLEARED:
            self._db.execute(f"DELETE FROM {table}")  # noqa: S608  # names from a constant
        last = self._last_us
        self._forget()
        self._last_us = last

    def next_ts(self) -> str:
        """A ts of this moment that no message or event has had."""
        self._last_us = max(time.time_ns() // 1000, self._last_us + 1)
        return f"{self._last_us // 1_000_000}.{self._last_us % 1_000_000:06d}"

    # ------------------------------------------------------------------ facts

    def fact(self, name: str, default: str) -> str:
        """The stored value of that name; `default` is stored first if there is none."""
        self._db.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", (name, default))
        query = "SELECT value FROM facts WHERE name = ?"
        value: str = self._db.execute(query, (name,)).fetchone()[0]
        return value

    def set_fact(self, name: str, value: str) -> None:
        """Store a value, replacing an older one."""
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    # --------------------------------------------------------- users, channels

    def put_user(self, user: User) -> None:
        """Add a user or replace the one of that id."""
        self._db.execute("INSERT OR REPLACE INTO users VALUES (?, ?)", (user.id, _body(user)))
        self._index_user(user)
        self.changes.mark("users", user.id)

    def put_channel(self, channel: Channel) -> None:
        """Add a channel or replace the one of that id."""
        row = (channel.id, _body(channel))
        self._db.execute("INSERT OR REPLACE INTO channels VALUES (?, ?)", row)
        self._index_channel(channel)
        self.changes.mark("channels", channel.id)

    def _index_user(self, user: User) -> None:
        self.users[user.id] = user
        self.user_ids[user.name] = user.id

    def _index_channel(self, channel: Channel) -> None:
        self.channels[channel.id] = channel
        if channel.name:
            self.channel_ids[channel.name] = channel.id

    # --------------------------------------------------------------- messages

    def put(self, message: Message) -> None:
        """Add a message or replace the one of that channel and ts."""
        row = (message.channel, message.ts, _body(message))
        self._db.execute("INSERT OR REPLACE INTO messages VALUES (?, ?, ?)", row)
        if self._add(message):
            self._mark_around(message)
        self.changes.mark("messages", (message.channel, message.ts))

    def _add(self, message: Message) -> bool:
        """Index a message; whether it is new. Who writes has read what came before."""
        if not self._index.put(message):
            return False
        read = self.reads.setdefault(message.channel, {})
        if message.user is not None and read.get(message.user, "") < message.ts:
            read[message.user] = message.ts
        self._last_us = max(self._last_us, int(message.ts.replace(".", "")))
        return True

    def _mark_around(self, message: Message) -> None:
        # The channel tells its newest message, a root how many replies it has.
        self.changes.mark("channels", message.channel)
        if message.thread_ts is not None:
            self.changes.mark("messages", (message.channel, message.thread_ts))

    def remove(self, message: Message) -> None:
        """Take a message out; a root with replies leaves a tombstone, as in Slack."""
        if self.reply_ts(message.channel, message.ts):
            self.put(_tombstone(message))
            return
        key = (message.channel, message.ts)
        self._db.execute("DELETE FROM messages WHERE channel = ? AND ts = ?", key)
        self._index.drop(message)
        self._mark_around(message)
        self.changes.mark("gone", key)

    def message(self, channel: str, ts: str) -> Message | None:
        """The message as it stands, or None."""
        return self._index.messages.get((channel, ts))

    def reply_ts(self, channel: str, root: str) -> Thread:
        """The ts of a thread's replies, oldest first, without its root."""
        return self._index.replies(channel, root)

    def top_ts(self, channel: str) -> Thread:
        """The ts of what stands in the channel itself, oldest first."""
        return self._index.top(channel)

    def latest(self, channel: str) -> str | None:
        """The ts of the newest message of a channel, in a thread or not."""
        return self._index.latest(channel)

    def pick(self, channel: str, stamps: list[str]) -> list[Message]:
        """The messages of these ts, in the given order."""
        return [self._index.messages[channel, ts] for ts in stamps]

    def messages(self) -> list[Message]:
        """Every message, in the order of posting."""
        return list(self._index.messages.values())

    def put_read(self, channel: str, user: str, ts: str) -> None:
        """That person has read the channel up to there."""
        row = (channel, user, ts)
        self._db.execute("INSERT OR REPLACE INTO reads VALUES (?, ?, ?)", row)
        self.reads.setdefault(channel, {})[user] = ts
        self.changes.mark("reads", channel)

    # ------------------------------------------------- ephemerals and statuses

    def add_ephemeral(self, ephemeral: Ephemeral) -> None:
        """Keep a message that one person sees."""
        self._db.execute("INSERT INTO ephemerals (body) VALUES (?)", (_body(ephemeral),))
        self.ephemerals.append(ephemeral)
        self.changes.mark("ephemerals", ephemeral.ts)

    def change_ephemeral(self, before: Ephemeral, after: Ephemeral | None) -> None:
        """Replace a message that one person sees, or with None take it away."""
        place = self.ephemerals.index(before)
        self.ephemerals[place : place + 1] = [after] if after is not None else []
        if after is None:
            query = "DELETE FROM ephemerals WHERE json_extract(body, '$.ts') = ?"
            self._db.execute(query, (before.ts,))
            self.changes.mark("ephemerals_gone", before.ts)
        else:
            query = "UPDATE ephemerals SET body = ? WHERE json_extract(body, '$.ts') = ?"
            self._db.execute(query, (_body(after), before.ts))
            self.changes.mark("ephemerals", before.ts)

    def add_status(self, status: Status) -> None:
        """Keep a change of a session's status; it becomes the session's present one."""
        self._db.execute("INSERT INTO statuses (body) VALUES (?)", (_body(status),))
        self._index_status(status)
        self.changes.mark("sessions", (status.channel, status.thread_ts))

    def _index_status(self, status: Status) -> None:
        self.statuses.append(status)
        self.sessions[status.channel, status.thread_ts] = status

    # ---------------------------------------------------------------- records

    def put_record(self, shelf: str, record_id: str, body: Json) -> None:
        """Keep a record of some other kind, replacing the one of that shelf and id."""
        query = (
            "INSERT INTO records (shelf, id, body) VALUES (?, ?, ?)"
            " ON CONFLICT (shelf, id) DO UPDATE SET body = excluded.body"
        )
        self._db.execute(query, (shelf, record_id, json.dumps(body)))

    def drop_record(self, shelf: str, record_id: str) -> None:
        """Forget a record."""
        query = "DELETE FROM records WHERE shelf = ? AND id = ?"
        self._db.execute(query, (shelf, record_id))

    def records(self, shelf: str) -> list[Json]:
        """The records of a shelf, in the order in which they came."""
        query = "SELECT body FROM records WHERE shelf = ? ORDER BY seq"
        return [json.loads(body) for (body,) in self._db.execute(query, (shelf,))]

    # ------------------------------------------------------------------ files

    def put_file(self, file_id: str, body: Json, content: bytes | None) -> None:
        """Keep a file with what is known of it; its content may come later, `body["size"]` bytes."""
        row = (file_id, json.dumps(body), content, body["size"])
        self._db.execute("INSERT INTO files VALUES (?, ?, coalesce(?, zeroblob(?)))", row)

    def fill_file(self, file_id: str, start: int, piece: bytes) -> None:
        """Keep a piece of the content that came later."""
        with self._db.blobopen("files", "content", self._file_row(file_id)) as content:
            content.seek(start)
            content.write(piece)

    def change_file(self, file_id: str, body: Json) -> None:
        """Replace what is known of a file."""
        row = (json.dumps(body), file_id)
        self._db.execute("UPDATE files SET body = ? WHERE id = ?", row)

    def empty_file(self, file_id: str) -> None:
        """Forget what is in a file."""
        self._db.execute("UPDATE files SET content = x'' WHERE id = ?", (file_id,))

    def file(self, file_id: str) -> Json | None:
        """What is known of a file, or None."""
        query = "SELECT body FROM files WHERE id = ?"
        row = self._db.execute(query, (file_id,)).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    def file_content(self, file_id: str, size: int) -> Iterator[bytes]:
        """What is in a file that there is, in pieces of that size."""
        query, start = "SELECT substr(content, ?, ?) FROM files WHERE id = ?", 1
        while piece := self._db.execute(query, (start, size, file_id)).fetchone()[0]:
            yield piece
            start += size

    def _file_row(self, file_id: str) -> int:
        query = "SELECT rowid FROM files WHERE id = ?"
        row: int = self._db.execute(query, (file_id,)).fetchone()[0]
        return row

    # ------------------------------------------------------ undelivered events

    def put_undelivered(self, envelope: Json, tried: int) -> None:
        """Remember an event, and how often it was tried, until `delivered` forgets it."""
        row = (envelope["event_id"], json.dumps(envelope), tried)
        self._db.execute("INSERT OR REPLACE INTO undelivered VALUES (?, ?, ?)", row)

    def delivered(self, event_id: str) -> None:
        """Forget an event that arrived, or was given up."""
        self._db.execute("DELETE FROM undelivered WHERE event_id = ?", (event_id,))

    def undelivered(self) -> list[tuple[Json, int]]:
        """The events still owed, oldest first, with the number of tries so far."""
        rows = self._db.execute("SELECT body, tried FROM undelivered ORDER BY rowid").fetchall()
        return [(json.loads(body), tried) for body, tried in rows]


def _tombstone(message: Message) -> Message:
    return replace(
        message,
        user="USLACKBOT",
        bot_id=None,
        subtype="tombstone",
        text="This message was deleted.",
        blocks=[],
        attachments=[],
        files=[],
        metadata=None,
        edited=None,
        reactions=[],
        streaming_state=None,
        stream=None,
    )

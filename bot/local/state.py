"""The workspace's memory: indexes for reading, SQLite for surviving a restart."""

import json
import sqlite3
import time
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

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
"""
_CLEARED = ("users", "channels", "messages", "ephemerals", "statuses", "undelivered", "records")


def _body(record: Any) -> str:
    return json.dumps({f.name: getattr(record, f.name) for f in fields(record)}, default=asdict)


class Thread(list[str]):
    """The ts of a thread's replies, or of a channel's top level, in order."""

    def bounds(self, oldest: str, latest: str, *, inclusive: bool) -> tuple[int, int]:
        """The slice after `oldest` and before `latest`, with the ends themselves if `inclusive`."""
        low, high = (bisect_left, bisect_right) if inclusive else (bisect_right, bisect_left)
        return low(self, oldest), high(self, latest)

    def after(self, cursor: str) -> int:
        """The place of the first ts behind `cursor`."""
        return bisect_right(self, cursor)

    def before(self, cursor: str) -> int:
        """The place behind the last ts before `cursor`."""
        return bisect_left(self, cursor)

    def drop(self, ts: str) -> None:
        """Forget one ts that may or may not be here."""
        place = bisect_left(self, ts)
        if place < len(self) and self[place] == ts:
            del self[place]


class State:
    """Everything the workspace knows; each write is in SQLite before the method returns."""

    def __init__(self, path: Path | None) -> None:
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
        self._messages: dict[tuple[str, str], Message] = {}
        self._top: dict[str, Thread] = {}
        self._threads: dict[tuple[str, str], Thread] = {}
        self._last_us = 0

    def _load(self) -> None:
        for user in self._rows("SELECT body FROM users"):
            self._index_user(User(**user))
        for channel in self._rows("SELECT body FROM channels"):
            channel |= {name: tuple(channel[name]) for name in ("members", "shared_with")}
            self._index_channel(Channel(**channel))
        for message in self._rows("SELECT body FROM messages ORDER BY ts"):
            stream = message.pop("stream", None)
            self._index(Message(**message, stream=Stream(**stream) if stream else None))
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

    def put_channel(self, channel: Channel) -> None:
        """Add a channel or replace the one of that id."""
        row = (channel.id, _body(channel))
        self._db.execute("INSERT OR REPLACE INTO channels VALUES (?, ?)", row)
        self._index_channel(channel)

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
        if (message.channel, message.ts) in self._messages:
            self._messages[message.channel, message.ts] = message
        else:
            self._index(message)

    def _index(self, message: Message) -> None:
        self._messages[message.channel, message.ts] = message
        if message.thread_ts is not None:
            insort(self._thread(message.channel, message.thread_ts), message.ts)
        if message.thread_ts is None or message.subtype == "thread_broadcast":
            insort(self._top.setdefault(message.channel, Thread()), message.ts)
        self._last_us = max(self._last_us, int(message.ts.replace(".", "")))

    def _thread(self, channel: str, root: str) -> Thread:
        return self._threads.setdefault((channel, root), Thread())

    def remove(self, message: Message) -> None:
        """Take a message out; a root with replies leaves a tombstone, as in Slack."""
        if self.reply_ts(message.channel, message.ts):
            self.put(_tombstone(message))
            return
        key = (message.channel, message.ts)
        self._db.execute("DELETE FROM messages WHERE channel = ? AND ts = ?", key)
        del self._messages[key]
        self._top.get(message.channel, Thread()).drop(message.ts)
        if message.thread_ts is not None:
            self._thread(message.channel, message.thread_ts).drop(message.ts)

    def message(self, channel: str, ts: str) -> Message | None:
        """The message as it stands, or None."""
        return self._messages.get((channel, ts))

    def reply_ts(self, channel: str, root: str) -> Thread:
        """The ts of a thread's replies, oldest first, without its root."""
        return self._threads.get((channel, root)) or Thread()

    def top_ts(self, channel: str) -> Thread:
        """The ts of what stands in the channel itself, oldest first."""
        return self._top.get(channel) or Thread()

    def pick(self, channel: str, stamps: list[str]) -> list[Message]:
        """The messages of these ts, in the given order."""
        return [self._messages[channel, ts] for ts in stamps]

    def messages(self) -> list[Message]:
        """Every message, in the order of posting."""
        return list(self._messages.values())

    # ------------------------------------------------- ephemerals and statuses

    def add_ephemeral(self, ephemeral: Ephemeral) -> None:
        """Keep a message that one person sees."""
        self._db.execute("INSERT INTO ephemerals (body) VALUES (?)", (_body(ephemeral),))
        self.ephemerals.append(ephemeral)

    def change_ephemeral(self, before: Ephemeral, after: Ephemeral | None) -> None:
        """Replace a message that one person sees, or with None take it away."""
        place = self.ephemerals.index(before)
        self.ephemerals[place : place + 1] = [after] if after is not None else []
        if after is None:
            query = "DELETE FROM ephemerals WHERE json_extract(body, '$.ts') = ?"
            self._db.execute(query, (before.ts,))
        else:
            query = "UPDATE ephemerals SET body = ? WHERE json_extract(body, '$.ts') = ?"
            self._db.execute(query, (_body(after), before.ts))

    def add_status(self, status: Status) -> None:
        """Keep a change of a session's status; it becomes the session's present one."""
        self._db.execute("INSERT INTO statuses (body) VALUES (?)", (_body(status),))
        self._index_status(status)

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

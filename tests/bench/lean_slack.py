"""Slack for benches, and the people in it: takes every call, and says so; talks as it is told to.

    python -m tests.bench.lean_slack

It says where it listens. Each thread is a direct message of its own, of one of several workspaces, since
Slack takes about one post a second of a channel. `POST /_bench/talk` is a `Talk`; the answer, a `Told`,
comes when all of it is over. A person has so many messages open at once, and says the next when one is
answered; none before the one before was taken, or what is out of order would be our doing. An answer is a post that names the notes of the messages that it answers, so that what is lost,
doubled or out of order is found. `GET /_bench/calls` tells what was called, and when.
"""

import asyncio
import hashlib
import hmac
import json
import random
import re
import sys
import time
from collections import Counter, defaultdict, deque
from dataclasses import asdict, dataclass, field
from itertools import count
from typing import Any
from urllib.parse import parse_qs

from bot.process import run
from tests.bench import wire
from tests.bench.wire import Client, Request

SECRET = "bench"  # of nobody
APP, BOT_USER, BOT = "A0BENCH", "U0BOT", "B0BOT"
_NOTE = re.compile(r"note-([0-9]+)-([0-9]+)")
_AGAIN_SECONDS = 0.05
_WHOLE = frozenset({"chat.postMessage", "chat.update"})
_ts = count(1)


@dataclass(frozen=True, slots=True)
class Talk:
    """What people say, and where it goes: threads by turns to each of the `urls`.

    `messages` in all of each thread, at most `open_at_once` without an answer. `per_second`: that many
    are said in all, answered or not. `seconds`: nothing is said after that. `again`: the threads of
    the talk before go on, the first so many of them. `text` stands before each note.
    """

    urls: list[str]
    threads: int
    messages: int = 1_000_000
    open_at_once: int = 1
    per_second: float = 0.0
    seconds: float = 0.0
    warm_seconds: float = 0.0
    workspaces: int = 1
    again: bool = False
    wait_seconds: float = 60.0
    text: str = ""
    answered: bool = True


@dataclass(slots=True)
class Told:
    """What came of it. `ack` and `took`: when each message was said, taken, and answered."""

    said: int = 0
    answered: int = 0
    lost: int = 0
    doubled: int = 0
    disorder: int = 0
    refused: int = 0
    turns: int = 0
    seconds: float = 0.0
    in_time: int = 0
    in_time_turns: int = 0
    calls: dict[str, int] = field(default_factory=dict)
    ack: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    acked_at: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Thread:
    """One person's, and what of it is open."""

    number: int
    workspace: int
    root: str = ""
    said: int = 0
    answered: int = 0
    open: dict[int, float] = field(default_factory=dict)
    unsaid: deque[tuple[int, bytes]] = field(default_factory=deque)


def workspace_id(number: int) -> str:
    """The team of a workspace."""
    return f"T{number:06d}"


def channel_id(thread: int) -> str:
    """Where a thread is."""
    return f"D{thread:08d}"


class People:
    """All threads, and the talk that is going on."""

    def __init__(self, talk: Talk, threads: list[Thread], clients: list[Client]) -> None:
        self._talk, self._threads, self._clients = talk, threads, clients
        self.told = Told()
        self._loop = asyncio.get_running_loop()
        self._over = False
        self._quiet = asyncio.Event()
        self._open = 0
        self._from = 0.0
        self._first_at = self._heard_at = 0.0
        self._by_number = {t.number: t for t in threads}

    async def talk(self) -> Told:
        """All of it."""
        talk, begun = self._talk, time.monotonic()
        self._from = begun + talk.warm_seconds
        if talk.per_second:
            await self._steadily()
        else:
            for thread in self._threads:
                for _ in range(talk.open_at_once):
                    self._say(thread)
            if talk.seconds:
                await asyncio.sleep(talk.seconds)
        self._over, told = bool(talk.seconds), self.told
        told.seconds = time.monotonic() - max(begun, self._from)
        told.in_time, told.in_time_turns = told.answered, told.turns
        try:
            async with asyncio.timeout(talk.wait_seconds):
                while self._open and talk.answered:
                    await self._quiet.wait()
                    self._quiet.clear()
        except TimeoutError:
            told.lost = self._open
        if not talk.seconds:
            told.seconds = time.monotonic() - begun
            told.in_time, told.in_time_turns = told.answered, told.turns
        return told

    def expect(self, messages: int) -> None:
        """So many are open that nobody here has said."""
        self._open = self.told.said = messages

    async def all_answered(self, seconds: float) -> Told:
        """Once all of them are, or after so long; the time is that from the first answer."""
        try:
            async with asyncio.timeout(seconds):
                while self._open:
                    await self._quiet.wait()
                    self._quiet.clear()
        except TimeoutError:
            self.told.lost = self._open
        self.told.seconds = self._heard_at - self._first_at
        return self.told

    async def _steadily(self) -> None:
        begun = time.monotonic()
        for n in range(round(self._talk.per_second * self._talk.seconds)):
            ahead = begun + n / self._talk.per_second - time.monotonic()
            if ahead > 0:
                await asyncio.sleep(ahead)
            self._say(self._threads[n % len(self._threads)])

    def _say(self, thread: Thread) -> None:
        if self._over or thread.said >= self._talk.messages:
            return
        number, thread.said = thread.said, thread.said + 1
        ts = f"{int(time.time())}.{next(_ts) % 1_000_000:06d}"
        thread.open[number] = time.monotonic()
        self._open += 1
        self.told.said += 1
        text = f"{self._talk.text}note-{thread.number}-{number}"
        body = _event(thread, ts, text)
        thread.root = thread.root or ts
        thread.unsaid.append((number, body))
        if len(thread.unsaid) == 1:
            self._post(thread)

    def _post(self, thread: Thread) -> None:
        number, body = thread.unsaid[0]
        client = self._clients[thread.number % len(self._clients)]
        asked = time.monotonic()

        def answered(status: int) -> None:
            now = time.monotonic()
            if status == 200:  # taken
                self.told.ack.append(now - asked)
                self.told.acked_at[f"note-{thread.number}-{number}"] = now
                thread.unsaid.popleft()
                if thread.unsaid:
                    self._post(thread)
            else:
                self.told.refused += 1
                self._loop.call_later(_AGAIN_SECONDS, self._post, thread)

        client.post(_signed(body), body, answered)

    def hear(self, text: str) -> None:
        """A post of ours: the messages that it answers are not open any more."""
        now = time.monotonic()
        of: Thread | None = None
        for thread_number, note in _NOTE.findall(text):
            thread = of = self._by_number.get(int(thread_number))
            if thread is None:
                continue
            said = thread.open.pop(int(note), None)
            if said is None:
                self.told.doubled += 1
                continue
            if int(note) != thread.answered:
                self.told.disorder += 1
            thread.answered = int(note) + 1
            self._open -= 1
            self.told.answered += now >= self._from
            self.told.took.append(now - said)
            if not self._talk.per_second:
                self._loop.call_soon(self._say, thread)
        if of is not None:
            self._first_at, self._heard_at = self._first_at or now, now
            self.told.turns += now >= self._from
            self._quiet.set()


def _event(thread: Thread, ts: str, text: str) -> bytes:
    """A direct message, with all that Slack puts around it."""
    team = workspace_id(thread.workspace)
    user, channel = f"U{thread.number:08d}", channel_id(thread.number)
    event = {
        "user": user,
        "type": "message",
        "ts": ts,
        "client_msg_id": f"{thread.number:08d}-0000-0000-0000-{ts.replace('.', '')}",
        "text": text,
        "team": team,
        "blocks": [
            {
                "type": "rich_text",
                "block_id": "b1",
                "elements": [
                    {
                        "type": "rich_text_section",
                        "elements": [{"type": "text", "text": text}],
                    }
                ],
            }
        ],
        "channel": channel,
        "event_ts": ts,
        "channel_type": "im",
    }
    if thread.root:
        event |= {"thread_ts": thread.root, "parent_user_id": user}
    return json.dumps(_envelope(thread, ts, event)).encode()


def _envelope(thread: Thread, ts: str, event: dict[str, Any]) -> dict[str, Any]:
    """docs.slack.dev/apis/events-api"""
    team = workspace_id(thread.workspace)
    bot = {"enterprise_id": None, "team_id": team, "user_id": BOT_USER, "is_bot": True}
    return {
        "token": "bench",
        "team_id": team,
        "context_team_id": team,
        "context_enterprise_id": None,
        "api_app_id": APP,
        "event": event,
        "type": "event_callback",
        "event_id": f"Ev{thread.number:08d}{ts}",
        "event_time": int(time.time()),
        "authorizations": [bot | {"is_enterprise_install": False}],
        "is_ext_shared_channel": False,
        "event_context": f"4-{ts}",
    }


def _signed(body: bytes) -> bytes:
    """docs.slack.dev/authentication/verifying-requests-from-slack"""
    now = b"%d" % time.time()
    proof = hmac.digest(SECRET.encode(), b"v0:" + now + b":" + body, hashlib.sha256).hex()
    return b"x-slack-request-timestamp: %b\r\nx-slack-signature: v0=%b\r\n" % (now, proof.encode())


class Slack:
    """The Web API."""

    def __init__(self) -> None:
        self._hearing: list[People] = []
        self._waiting: People | None = None
        self._threads: list[Thread] = []
        self._urls: list[str] = []
        self._calls: Counter[str] = Counter()
        self._heard: defaultdict[str, list[Any]] = defaultdict(list)
        self._times = False
        self._talks: set[asyncio.Task[None]] = set()

    def gone(self, transport: asyncio.Transport) -> None:
        """Nothing is kept of a connection."""

    def answer(self, request: Request) -> bytes | None:
        """Every method, and the bench's own routes."""
        what = request.path.rpartition("/")[2].partition("?")[0]
        if not request.path.startswith("/_bench"):
            return wire.ok(json.dumps(self._called(what, request)).encode())
        if what == "talk":
            talk = asyncio.get_running_loop().create_task(self._talk(request))
            self._talks.add(talk)
            return None
        if what == "wait":
            self._wait(**request.json())
        if what == "waited":
            waited = asyncio.get_running_loop().create_task(self._waited(request))
            self._talks.add(waited)
            return None
        if what == "stop":
            stop = asyncio.get_running_loop().create_task(self._stop(request))
            self._talks.add(stop)
            return None
        if what == "times":
            self._times = True
            self._heard.clear()
        return wire.ok(json.dumps({"calls": self._calls, "heard": self._heard}).encode())

    async def _talk(self, request: Request) -> None:
        talk = Talk(**request.json())
        self._urls = talk.urls
        if not talk.again:
            first = self._threads[-1].number + 1 if self._threads else 0
            numbers = range(first, first + talk.threads)
            self._threads = [Thread(n, n % talk.workspaces) for n in numbers]
        clients = [Client(url, "/slack/events") for url in talk.urls]
        for client in clients:
            await client.connect()
        threads = self._threads[: talk.threads]
        for thread in threads:
            thread.open.clear()
        before = Counter(self._calls)
        people = People(talk, threads, clients)
        self._hearing = [*([self._waiting] if self._waiting else []), people]
        told = await people.talk()
        told.calls = dict(self._calls - before)
        for client in clients:
            client.close()
        request.on.write(wire.ok(json.dumps(asdict(told)).encode()))

    def _wait(self, threads: int, messages: int) -> None:
        """So many messages of so many threads were said already, and wait."""
        self._threads = [Thread(n, 0, said=messages) for n in range(threads)]
        now = time.monotonic()
        for thread in self._threads:
            thread.open = dict.fromkeys(range(messages), now)
        people = People(Talk([], threads, messages=messages), self._threads, [])
        people.expect(threads * messages)
        self._waiting, self._hearing = people, [people]

    async def _waited(self, request: Request) -> None:
        assert self._waiting is not None
        told = await self._waiting.all_answered(**request.json())
        request.on.write(wire.ok(json.dumps(asdict(told)).encode()))

    async def _stop(self, request: Request) -> None:
        """Somebody presses the stop button of the last thread; the answer is when Slack had the 200."""
        thread, ts = self._threads[-1], f"{int(time.time())}.{next(_ts) % 1_000_000:06d}"
        event = {
            "type": "agent_session_stopped",
            "channel": channel_id(thread.number),
            "user": f"U{thread.number:08d}",
            "thread_ts": thread.root,
            "streaming_message_ts": [],
            "event_ts": ts,
        }
        body = json.dumps(_envelope(thread, ts, event)).encode()
        client = Client(self._urls[0], "/slack/events", connections=1)
        await client.connect()
        taken = asyncio.get_running_loop().create_future()
        client.post(_signed(body), body, taken.set_result)
        status, at = await taken, time.monotonic()
        request.on.write(wire.ok(json.dumps({"status": status, "at": at}).encode()))

    def _called(self, method: str, request: Request) -> dict[str, Any]:
        self._calls[method] += 1
        arguments = _arguments(request)
        if self._times:
            place = [arguments.get("channel") or arguments.get("channel_id"), time.monotonic()]
            self._heard[method].append([*place, _size(arguments)])
        if method in _WHOLE:
            for people in self._hearing:
                people.hear(arguments.get("text", ""))
        match method:
            case "users.info":
                who = {"id": arguments.get("user"), "name": "somebody"}
                return {"ok": True, "user": who | {"profile": {"display_name": "Somebody"}}}
            case "conversations.replies" | "conversations.history":
                return {"ok": True, "messages": [], "has_more": False}
            case _:
                pass
        ts = arguments.get("ts") or f"{int(time.time())}.{next(_ts) % 1_000_000:06d}"
        return {"ok": True, "channel": arguments.get("channel"), "ts": ts}


def _arguments(request: Request) -> dict[str, Any]:
    if b"application/json" in request.head:
        found: dict[str, Any] = request.json()
        return found
    return {name: values[0] for name, values in parse_qs(request.body.decode()).items()}


def _size(arguments: dict[str, Any]) -> int:
    """How many characters of an answer a call shows."""
    chunks = arguments.get("chunks") or []
    found = json.loads(chunks) if isinstance(chunks, str) else chunks
    return sum(len(one.get("text", "")) for one in found)


def talk_for(seconds: float, **more: Any) -> Talk:
    """A talk of so many seconds, a fifth of them to warm up."""
    return Talk(seconds=seconds, warm_seconds=seconds / 5, **more)


async def _main() -> None:
    random.seed(1)
    slack = Slack()
    url = await wire.serve(slack.answer, slack.gone)
    sys.stdout.write(f"{json.dumps({'url': url})}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    run(_main())

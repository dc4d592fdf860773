"""Signed requests as Slack sends them, made beforehand, so that sending one costs a write."""

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any, Literal

Kind = Literal["new", "reply", "twin", "ignored", "unfollowed"]

APP, TEAM, BOT = "A0BENCH000", "T0BENCH000", "U0BOT00000"
SECRET = "the signing secret of the bench"
_CHANNELS = 50
_OLD_SECONDS = 3_600
_WORDS = "could you look at the numbers of last week and say what changed, and why it did"


class Numbers:
    """Timestamps that are never told twice, all of them after the start of the bench."""

    def __init__(self) -> None:
        self._start = int(time.time())
        self._next = 0

    def take(self, count: int) -> range:
        """So many numbers that nobody has."""
        first, self._next = self._next, self._next + count
        return range(first, self._next)

    def ts(self, number: int, seconds: int = 0) -> str:
        """Slack's timestamp of that number, or of that long after it."""
        return f"{self._start + seconds + number // 1_000_000}.{number % 1_000_000:06}"


def channel(number: int) -> str:
    """The channel of a thread."""
    return f"C0BENCH{number % _CHANNELS:03}"


def bodies(kind: Kind, numbers: Numbers, count: int, threads: range) -> Iterator[bytes]:
    """So many events; `threads` are those that replies go to, in turns."""
    if kind == "twin":
        for number in numbers.take((count + 1) // 2):
            yield _body("message", number, numbers, mention=True)
            yield _body("app_mention", number, numbers, mention=True)
        return
    for place, number in enumerate(numbers.take(count)):
        match kind:
            case "new":
                yield _body("app_mention", number, numbers, mention=True)
            case "ignored":
                yield _body("message", number, numbers)
            case "reply":
                root = threads[place % len(threads)]
                yield _body("message", number, numbers, root=numbers.ts(root), of=root)
            case "unfollowed":
                yield _body("message", number, numbers, root=numbers.ts(number, -_OLD_SECONDS))


def _body(
    name: str,
    number: int,
    numbers: Numbers,
    *,
    mention: bool = False,
    root: str | None = None,
    of: int | None = None,
) -> bytes:
    ts = numbers.ts(number)
    words = f"<@{BOT}> {_WORDS}" if mention else _WORDS
    event: dict[str, Any] = {
        "type": name,
        "user": "U0PERSON00",
        "ts": ts,
        "client_msg_id": f"00000000-0000-4000-8000-{number:012}",
        "text": words,
        "team": TEAM,
        "blocks": _blocks(words),
        "channel": channel(number if of is None else of),
        "event_ts": ts,
    }
    if name == "message":
        event["channel_type"] = "channel"
    if root is not None:
        event |= {"thread_ts": root, "parent_user_id": "U0PERSON00"}
    return json.dumps(_envelope(event, f"Ev{name[:1].upper()}{number:010}")).encode()


def _blocks(words: str) -> list[dict[str, Any]]:
    section = {"type": "rich_text_section", "elements": [{"type": "text", "text": words}]}
    return [{"type": "rich_text", "block_id": "b1", "elements": [section]}]


def _envelope(event: dict[str, Any], event_id: str) -> dict[str, Any]:
    return {
        "token": "legacy-fixed-value",
        "team_id": TEAM,
        "context_team_id": TEAM,
        "context_enterprise_id": None,
        "api_app_id": APP,
        "event": event,
        "type": "event_callback",
        "event_id": event_id,
        "event_time": int(event["ts"].partition(".")[0]),
        "authorizations": [
            {
                "enterprise_id": None,
                "team_id": TEAM,
                "user_id": BOT,
                "is_bot": True,
                "is_enterprise_install": False,
            }
        ],
        "is_ext_shared_channel": False,
        "event_context": "4-eyJldCI6Im1lc3NhZ2UiLCJ0aWQiOiJUMEJFTkNIIn0",
    }


def request(body: bytes, host: str) -> bytes:
    """The bytes of a POST that carries the body, signed now; good for five minutes."""
    stamp = str(int(time.time()))
    signed = b"v0:" + stamp.encode() + b":" + body
    signature = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    head = (
        f"POST /slack/events HTTP/1.1\r\nHost: {host}\r\n"
        "User-Agent: Slackbot 1.0 (+https://api.slack.com/robots)\r\n"
        "Accept-Encoding: gzip,deflate\r\nAccept: */*\r\n"
        f"X-Slack-Signature: v0={signature}\r\nX-Slack-Request-Timestamp: {stamp}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body

"""Pure: what an agent is told of its own calls to Slack.

What people said stands in JSON strings, which no text can end, behind a line that says what it is. What
is left out is said, and where to go on.
"""

import json
from dataclasses import dataclass
from typing import Any, Literal

from router.context.quoting import IS_DATA
from router.ports import Channel, Message, Page

RESULT_BYTES = 50_000
_FRAME_BYTES = 1_500  # for everything but the messages
_TEXT_BYTES = 8 * 1024
_NAME = 80
_FILES = 10
_NAMED = 100
_CUT = "… (cut)"
_LEFT_OUT = (
    "{count} more of these are left out: a result holds at most 50 kB. They begin the page that "
    "next_cursor leads to."
)
_INVITE = "Ask a person to invite the bot there (/invite), and call again then."
_ELSEWHERE = "Do not try it in another way; tell the person who asked you."

_REFUSALS = {
    "not_in_slack": "You are not in a conversation in Slack: it cannot be read or written from here.",
    "not_in_channel": f"The bot is not in {{channel}}. {_INVITE}",
    "channel_not_found": (
        "There is no channel {channel} that both the bot and everybody who asked you can see. Check "
        "what it is called; if it is a private channel, somebody who is in it can invite the bot "
        "(/invite), and has to ask you themselves."
    ),
    "not_allowed": (
        "Your settings do not let you go to {channel} (slack_tools.channels). An administrator can "
        f"change them. {_ELSEWHERE}"
    ),
    "post_denied": (
        "Your settings do not let you post outside of your own thread (slack_tools.post). "
        f"{_ELSEWHERE}"
    ),
    "direct_message": (
        "Direct messages other than the conversation that you are in cannot be read or written. "
        f"{_ELSEWHERE}"
    ),
    "outside": (
        "Somebody asked you from outside of Slack, of whom it is not known whether they may see this "
        "conversation: only its thread can be read for them, and only there can you post."
    ),
    "is_archived": "{channel} is archived: nothing can be posted there any more.",
    "thread_not_found": "There is no thread with this ts in {channel}. Check the ts.",
    "too_long": "This does not fit into one message in Slack. Send it in several calls.",
    "secret": (
        "This holds what looks like a secret, a password, a token or a key, so it cannot be shown to "
        "people for their approval. Take that out, and call again."
    ),
    "changed": "This is not what a person approved, so it was not posted. Make the call again.",
    "rate_limited": "Slack allows few such calls a minute. Try again in {seconds} seconds, or go on "
    "without it.",
    "slack_away": "Slack does not answer now. Try again in {seconds} seconds, or go on without it.",
    "missing_scope": (
        "The bot has not been given the permission that this takes. An administrator of the Slack "
        f"workspace has to install the app again. {_ELSEWHERE}"
    ),
}
_REFUSED = (
    "Slack refused it ({reason}). Do not make the same call again; tell the person who asked you."
)
_QUEUED = "Slack has not taken the message yet. It will be posted as soon as Slack does: do not post it again."


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a call as it goes to the agent. `reason`: why it was refused, in a word."""

    status: Literal["done", "queued", "refused"]
    says: str
    reason: str | None = None
    channel_id: str | None = None


class Refused(Exception):
    """A call that is not made; `message` where the reason has no words of its own."""

    def __init__(
        self,
        reason: str,
        channel: str = "",
        *,
        retry_after: float | None = None,
        message: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.channel = channel
        self.retry_after = retry_after
        self.message = message


def refusal(refused: Refused) -> Answer:
    """An error that says what to do."""
    words = refused.message or _REFUSALS.get(refused.reason, _REFUSED).format(
        channel=_named(refused.channel),
        reason=refused.reason,
        seconds=max(1, round(refused.retry_after or 0)),
    )
    says = {"status": "refused", "error": refused.reason, "message": words}
    return Answer("refused", _json(says), refused.reason)


def _named(channel: str) -> str:
    return channel[:_NAMED] or "this channel"


def posted(channel_id: str, ts: str | None) -> Answer:
    """It stands in Slack, or will."""
    if ts is None:
        says = {"status": "queued", "channel": channel_id, "message": _QUEUED}
        return Answer("queued", _json(says), channel_id=channel_id)
    says = {"status": "posted", "channel": channel_id, "ts": ts}
    return Answer("done", _json(says), channel_id=channel_id)


def read(channel: Channel, page: Page) -> Answer:
    """A page of messages, in Slack's order, as many as there is room for."""
    shown: list[dict[str, Any]] = []
    room = RESULT_BYTES - _FRAME_BYTES
    for message in page.messages:
        one = _message(message)
        room -= len(_json(one).encode()) + 1
        if room < 0:
            break
        shown.append(one)
    left_out = len(page.messages) - len(shown)
    says: dict[str, Any] = {
        "about": IS_DATA,
        "channel": {"id": channel.id, "name": channel.name[:_NAME]},
        "messages": shown,
    }
    if left_out:
        says["left_out"] = _LEFT_OUT.format(count=left_out)
    after = page.messages[len(shown) - 1].ts if left_out and shown else page.next
    if after:
        says["next_cursor"] = after
    return Answer("done", _json(says), channel_id=channel.id)


def _message(message: Message) -> dict[str, Any]:
    says: dict[str, Any] = {
        "ts": message.ts,
        "author": {"id": message.author_id, "name": message.author[:_NAME]},
        "text": _cut(message.text),
    }
    if message.thread_ts and message.thread_ts != message.ts:
        says["thread_ts"] = message.thread_ts
    if message.replies:
        says["replies"] = message.replies
    if message.files:
        says["files"] = [name[:_NAME] for name in message.files[:_FILES]]
    return says | {word: True for word in ("bot", "edited") if getattr(message, word)}


def _cut(text: str) -> str:
    raw = text.encode()
    return text if len(raw) <= _TEXT_BYTES else raw[:_TEXT_BYTES].decode(errors="ignore") + _CUT


def _json(says: dict[str, Any]) -> str:
    return json.dumps(says, ensure_ascii=False, separators=(",", ":"))

"""What the tests of streamed answers share."""

from collections import Counter
from itertools import pairwise

import pytest

from bot import delivery, streams
from bot.local.model import Message
from router.clock import Backoff
from router.runtime.local.brain import Answer, script
from tests.harness import World, shown
from tests.support import eventually

START, APPEND, STOP = "chat.startStream", "chat.appendStream", "chat.stopStream"
UPDATE, POST, LIST = "chat.update", "chat.postMessage", "conversations.replies"


def quicken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams begin at once and grow quickly; what failed is tried again at once."""
    monkeypatch.setattr(streams, "_START_AFTER_SECONDS", 0.02)
    monkeypatch.setattr(streams, "_APPEND_GAP_SECONDS", 0.01)
    monkeypatch.setattr(streams, "_LOOKS_APART_SECONDS", 0.05)
    monkeypatch.setattr(delivery, "_LOOKS_APART_SECONDS", 0.05)
    monkeypatch.setattr(delivery, "_BACKOFF", Backoff(first=0.05, most=0.1))


def said(text: str) -> str:
    """What the agent answers to that, in all."""
    return "\n\n".join(step.text for step in script([text]) if isinstance(step, Answer))


def messages(here: World, asked: Message) -> list[Message]:
    """The bot's messages in the thread."""
    replies = here.slack.replies(asked.channel, asked.ts)
    return [m for m in replies if m.user == here.slack.bot_user_id]


def calls(here: World) -> Counter[str]:
    """How often each method was called."""
    return Counter(call.method for call in here.slack.calls)


async def ask(here: World, text: str, channel: str = "general") -> Message:
    return await here.slack.say("ada", channel, f"@threadline {text}")


async def streaming(here: World, asked: Message, *, words: int = 1) -> Message:
    """The message that is being streamed, once it shows so many words."""

    def found() -> list[Message]:
        last = messages(here, asked)[-1:]
        return [
            m for m in last if m.streaming_state == "in_progress" and len(m.text.split()) >= words
        ]

    (message,) = await eventually(found, says="a stream")
    return message


async def answered(here: World, asked: Message, text: str, timeout: float = 15) -> Message:
    """The one message that the answer has become, exact, and at rest."""
    await here.answers(asked.channel, asked.ts, 1, timeout)
    (message,) = messages(here, asked)
    assert shown(message) == text
    assert message.streaming_state in (None, "completed")
    left = await here.rows("SELECT * FROM slack_outbox WHERE state <> 'sent'")
    assert not left
    return message


def cut(text: str, parts: list[str]) -> None:
    """The parts are the text, cut at white space: in order, nothing lost, nothing doubled."""
    place = 0
    for part in parts:
        begin = text.index(part, place)
        assert not text[place:begin].strip()
        place = begin + len(part)
    assert not text[place:].strip()
    assert all(one != other for one, other in pairwise(parts))


async def words_come(here: World, seconds: int) -> None:
    """Plays so many seconds of an answer whose time stands still otherwise."""
    pace = here.runtime.world.pace
    for _ in range(seconds):
        await eventually(lambda: any(not one.done() for one in pace._sleepers), says="an answer")
        pace.advance(1)

"""What the tests of streamed answers share."""

from collections import Counter
from itertools import pairwise

import pytest

from bot import delivery, edits, previewing, streams
from bot.edits import _MARK
from bot.local.model import Message
from router.clock import Backoff
from router.runtime.local.brain import Answer, script
from tests.harness import World, shown
from tests.support import eventually

START, APPEND, STOP = "chat.startStream", "chat.appendStream", "chat.stopStream"
UPDATE, POST, LIST = "chat.update", "chat.postMessage", "conversations.replies"


def quicken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams begin at once and grow quickly; what failed is tried again at once."""
    monkeypatch.setattr(previewing, "_START_AFTER_SECONDS", 0.02)
    monkeypatch.setattr(streams, "_APPEND_GAP_SECONDS", 0.01)
    monkeypatch.setattr(edits, "_EDIT_GAP_SECONDS", 0.05)
    monkeypatch.setattr(previewing, "_LOOKS_APART_SECONDS", 0.05)
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


async def ask_for_a_stream(
    here: World, text: str = "!slow 24", channel: str = "general"
) -> Message:
    """A question whose answer goes on, and quickly, once it is seen in a stream: no machine is too slow."""
    pace = here.runtime.world.pace
    pace.set_rate(0)
    asked = await here.slack.say("ada", channel, "@threadline " * (channel[0] != "D") + text)
    await words_come(here, 1)
    await streaming(here, asked)
    pace.set_rate(100)
    return asked


# ------------------------------------------------------------------ posts that are edited

SPEND = (
    "INSERT INTO slack_budgets SELECT id, $1, now() + $2 * interval '1 second' FROM oauth_installs"
)


async def no_stream(here: World) -> None:
    """For an hour there is no permit to start one."""
    await here.connection.execute(SPEND, START, 3_600)


def unmarked(message: Message) -> str:
    """What a post says that is marked as growing."""
    text, _, mark = shown(message).rpartition("\n")
    assert mark == _MARK
    return text


async def grown(here: World, asked: Message, words: int) -> Message:
    """The one post in the thread once it shows so many words, well formed and marked."""

    def found() -> list[Message]:
        return [m for m in messages(here, asked) if len(unmarked(m).split()) >= words]

    (post,) = await eventually(found, says=f"a post of {words} words")
    assert said("!slow").startswith(unmarked(post))
    return post


async def begun(here: World) -> tuple[Message, Message]:
    """A question, and the post of an answer that has begun to show and stands still."""
    here.runtime.world.pace.set_rate(0)
    asked = await ask(here, "!slow 24")
    await words_come(here, 3)
    post = await grown(here, asked, 5)
    await eventually(lambda: is_stored(here))
    return asked, post


async def is_stored(here: World) -> bool:
    return (await states(here))[-1:] == ["open"]


async def states(here: World) -> list[str]:
    return [r["state"] for r in await here.rows("SELECT state FROM slack_previews ORDER BY part")]


def go_on(here: World) -> None:
    here.runtime.world.pace.set_rate(10_000)

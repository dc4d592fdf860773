"""What the scenes of `threadline demo --once` act and look with: people, patience and open eyes.

Waiting looks over the local Slack's shoulder, since its Web API would limit so many questions.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from bot import reading
from bot.local import LocalSlack
from bot.local.model import Message
from bot.reading import offers
from bot.signin.program import CallFailed, Program
from router import clock

_SCRIPTED_SECONDS = 20.0
_REAL_SECONDS = 120.0
_POLL_SECONDS = 0.05
_MENTION = "@threadline "
_NOT_OBEYED = "a real agent decides by itself which tools it uses and when it asks people"


class SceneFailed(Exception):  # an outcome of the script, not a fault of it
    """The script cannot go on."""


@dataclass(slots=True)
class Talk:
    """One thread of the script: what was said in it, what that deserves, and what was seen on the way.

    `expected` has words of each of the bot's posts, `texts` each message that the runtime is to
    get, `told` what it is to hear of people's decisions, `stops` how often Stop was pressed. An answer
    has to be seen at so many `lengths` before it is whole, and a card of each of the `steps` first in
    progress, then complete. By the ts of the message, `grown` and `cards` are what its stream showed,
    `decided` what a card that asked people has to say in the end; `asides` are told below it.
    `left_out` is why nothing was said at all.
    """

    title: str
    channel: str = ""
    root: str = ""
    newest: str = ""
    expected: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    told: list[tuple[str, str]] = field(default_factory=list)
    stops: int = 0
    lengths: int = 0
    steps: list[str] = field(default_factory=list)
    grown: dict[str, list[str]] = field(default_factory=dict)
    cards: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    decided: dict[str, list[str]] = field(default_factory=dict)
    asides: list[tuple[str, str]] = field(default_factory=list)
    left_out: str = ""

    def note(self, ts: str, what: str) -> None:
        """Something that was seen, to be told below the message of that ts."""
        self.asides.append((ts, what))


class Stage:
    """The local Slack and, unless it is real, the local runtime of a demo.

    `program` calls its API as Ada, where she can sign in.
    """

    def __init__(
        self,
        slack: LocalSlack,
        runtime_url: str | None,
        http: aiohttp.ClientSession,
        api_url: str | None = None,
    ) -> None:
        self.slack = slack
        self.program = Program(http, api_url, "ada") if api_url is not None else None
        self.talks: list[Talk] = []
        self._runtime_url = runtime_url
        self._http = http

    @property
    def scripted(self) -> bool:
        """Whether the runtime is the local one, whose words are known beforehand."""
        return self._runtime_url is not None

    def begin(self, title: str) -> Talk:
        """A new thread."""
        self.talks.append(Talk(title))
        return self.talks[-1]

    def begin_scripted(self, title: str) -> Talk | None:
        """A new thread in which the agent does as it is told; None with a real one, which the report says."""
        if self.scripted:
            return self.begin(title)
        self.talks.append(Talk(title, left_out=_NOT_OBEYED))
        return None

    # -------------------------------------------------------------- people

    async def ask(  # who says what where, and what comes of it
        self,
        talk: Talk,
        user: str,
        channel: str,
        text: str,
        *,
        answer: str | None = None,
        duplicate: int = 0,
    ) -> None:
        """Says something and waits for the answer, which has these words (the same) in it."""
        await self.say(talk, user, channel, text, duplicate=duplicate)
        await self.answered(talk, answer or talk.texts[-1])

    async def say(
        self, talk: Talk, user: str, channel: str, text: str, *, duplicate: int = 0
    ) -> str:
        """Says something in the thread, or begins it; returns the message's ts."""
        said = {"user": user, "channel": channel, "text": text, "duplicate": duplicate}
        if talk.root:
            said["thread_ts"] = talk.root
        answer = await self.control("message", said)
        talk.channel = str(answer["channel"])
        talk.newest = str(answer["ts"])
        talk.root = talk.root or talk.newest
        talk.texts.append(text.removeprefix(_MENTION))
        return talk.newest

    async def write(self, talk: Talk, program: Program, text: str) -> None:
        """Says something in the thread over the API. Raises SceneFailed where that is refused."""
        try:
            await program.say(talk.channel, talk.root, text)
        except (CallFailed, aiohttp.ClientError) as failed:
            raise SceneFailed(f"{talk.title}: {failed}") from failed
        talk.texts.append(text)

    async def control(self, what: str, body: dict[str, Any]) -> dict[str, Any]:
        """A gesture in the local Slack. Raises SceneFailed where Slack would refuse it."""
        answer = await self._order(f"{self.slack.url}/_control/{what}", body)
        if not answer.get("ok"):
            raise SceneFailed(f"the local Slack refused {what}: {answer}")
        return answer

    async def press(self, talk: Talk, user: str, card: Message, label: str) -> None:
        """Presses a button of a card. SceneFailed where it is not there or nobody answers Slack."""
        button = {"user": user, "on": card.ts, "channel": talk.channel, "text": label}
        _taken(talk, label, *(await self.control("click", button))["clicks"])

    async def submit(self, talk: Talk, user: str, title: str, **values: str) -> None:
        """Fills in the form of that title, once it is before the person, and sends it."""

        async def opened() -> bool:
            views = self.slack.open_views(user)
            return bool(views) and views[-1].body["title"]["text"] == title

        await self.until(opened, f"{talk.title}: {user} is shown no form {title!r}")
        form = {"user": user, "view": self.slack.open_views(user)[-1].id, "values": values}
        _taken(talk, title, await self.control("submit", form))

    # -------------------------------------------------------------- the runtime

    async def order(self, **fault: Any) -> None:
        """Orders a fault of the local runtime; nothing with a real one."""
        if self._runtime_url is not None:
            await self._order(f"{self._runtime_url}/_control/fault", fault)

    async def runtime(self) -> dict[str, Any]:
        """What the local runtime has and received; nothing of a real one."""
        if self._runtime_url is None:
            return {"sessions": [], "held": []}
        async with self._http.get(f"{self._runtime_url}/_control/state") as response:
            state: dict[str, Any] = await response.json()
        return state

    async def held(self, talk: Talk) -> str:
        """The session whose turn stands still at the runtime."""
        found: list[str] = []

        async def stands() -> bool:
            found[:] = (await self.runtime())["held"]
            return bool(found)

        await self.until(stands, f"{talk.title}: nothing came to the runtime")
        return found[0]

    async def _order(self, url: str, body: dict[str, Any]) -> dict[str, Any]:
        async with self._http.post(url, json=body) as response:
            answer: dict[str, Any] = await response.json()
        return answer

    # -------------------------------------------------------------- seeing

    def posts(self, talk: Talk) -> list[Message]:
        """The bot's posts in the thread, those that are still being written included."""
        bot = self.slack.bot_user_id
        return [m for m in self.slack.replies(talk.channel, talk.root) if m.user == bot]

    def marks(self, talk: Talk, ts: str) -> list[str]:
        """The bot's reactions to a message of the thread."""
        bot, thread = self.slack.bot_user_id, self.slack.replies(talk.channel, talk.root)
        found = [one for m in thread if m.ts == ts for one in m.reactions]
        return [str(one["name"]) for one in found if bot in one["users"]]

    async def card(self, talk: Talk, *words: str) -> Message:
        """The card that asks people to decide, once it is there and says all this."""
        talk.expected += words[:1]
        found: list[Message] = []

        async def there() -> bool:
            found[:] = [m for m in self.posts(talk) if offers(m.blocks)][-1:]
            return bool(found) and all(one in self.read(found[0].blocks) for one in words)

        await self.until(there, f"{talk.title}: no card asks {words!r}")
        return found[0]

    async def shows(self, talk: Talk, card: Message, *words: str) -> None:
        """Waits until the card says all this and has no buttons any more."""
        talk.decided[card.ts] = list(words)

        async def there() -> bool:
            (now,) = [m for m in self.posts(talk) if m.ts == card.ts]
            says = self.read(now.blocks)
            return all(one in says for one in words) and not offers(now.blocks)

        await self.until(there, f"{talk.title}: the card does not say {words!r}")

    async def told(self, talk: Talk, user: str, words: str) -> str:
        """Waits until one person alone is told something in the thread; returns its ts."""
        place = (self.slack.users[user], talk.channel, talk.root)
        found: list[str] = []

        async def there() -> bool:
            found[:] = [
                e.ts
                for e in self.slack.ephemerals
                if (e.user, e.channel, e.thread_ts) == place and words in e.text
            ]
            return bool(found)

        await self.until(there, f"{talk.title}: {user} is not told {words!r}")
        return found[-1]

    def read(self, blocks: list[dict[str, Any]]) -> str:
        """A card as a person reads it."""
        return reading.read(blocks, {user_id: name for name, user_id in self.slack.users.items()})

    async def answered(self, talk: Talk, words: str) -> None:
        """Waits until the thread has one whole answer more; what grows meanwhile is remembered."""
        talk.expected.append(words)

        async def there() -> bool:
            self._watch(talk)
            posts = self.posts(talk)
            return len(posts) >= len(talk.expected) and not any(map(_is_growing, posts))

        await self.until(
            there,
            f"{talk.title}: no answer to {words!r} in {self._patience:.0f} s; "
            "to its event Threadline said {said}",
            talk,
        )

    async def growing(self, talk: Talk) -> Message | None:
        """The answer that is being written; None where it was whole before that could be seen."""

        async def there() -> bool:
            self._watch(talk)
            return len(self.posts(talk)) > len(talk.expected)

        await self.until(there, f"{talk.title}: no answer was begun")
        newest = self.posts(talk)[-1]
        return newest if _is_growing(newest) else None

    async def until(
        self, holds: Callable[[], Awaitable[bool]], otherwise: str, talk: Talk | None = None
    ) -> None:
        """Waits until something holds. Raises SceneFailed with what to say `otherwise`."""
        deadline = clock.monotonic() + self._patience
        while not await holds():
            if clock.monotonic() > deadline:
                raise SceneFailed(otherwise.replace("{said}", self._http_answers(talk)))
            await clock.sleep(_POLL_SECONDS)

    @property
    def _patience(self) -> float:
        return _SCRIPTED_SECONDS if self.scripted else _REAL_SECONDS

    def _watch(self, talk: Talk) -> None:
        """Remembers what the streams of the thread show at this moment."""
        for message in filter(_is_growing, self.posts(talk)):
            grown = talk.grown.setdefault(message.ts, [])
            if message.text not in grown[-1:]:
                grown.append(message.text)
            cards = {(str(task["title"]), str(task["status"])) for task in message.tasks}
            talk.cards.setdefault(message.ts, set()).update(cards)

    def _http_answers(self, talk: Talk | None) -> str:
        ts = talk.newest if talk else ""
        return ", ".join(str(d.status) for d in self.slack.deliveries if d.ts == ts) or "nothing"


def _taken(talk: Talk, what: str, *pressed: dict[str, Any]) -> None:
    for one in pressed:
        if one["failure"] is not None:
            raise SceneFailed(f"{talk.title}: {what!r} was answered {one['failure']}")


def _is_growing(message: Message) -> bool:
    return message.streaming_state == "in_progress"

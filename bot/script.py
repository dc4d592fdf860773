"""`threadline demo --once`: a scripted conversation over HTTP, and what a person must see of it.

Everything is read back from the local Slack and the local runtime, as a person and an operator
would see it; never from our tables, which would agree with themselves.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import aiohttp
from slack_sdk.web.async_client import AsyncWebClient

from bot import reading
from bot.local import LocalSlack
from bot.reading import offers
from bot.scenes import SCENES
from bot.stage import SceneFailed, Stage, Talk
from router import clock

_CALM_SECONDS = 0.6
_SHOWN_CHARACTERS = 160
_SHOWN_OF_LONG = 24


@dataclass(slots=True)
class Report:
    """What happened and what was wrong with it."""

    threads: list[dict[str, Any]] = field(default_factory=list)
    sessions: list[dict[str, Any]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {"threads": self.threads, "sessions": self.sessions, "wrong": self.wrong}


class Script:
    """Acts out the conversation.

    `runtime_url` is None with a real runtime, whose words vary; `api_url` where nobody can sign in
    to the API.
    """

    def __init__(
        self, slack: LocalSlack, runtime_url: str | None, api_url: str | None = None
    ) -> None:
        self._slack = slack
        self._runtime_url, self._api_url = runtime_url, api_url

    async def play(self) -> Report:
        """The whole script, one scene after the other, then the check."""
        async with aiohttp.ClientSession() as http:
            stage = Stage(self._slack, self._runtime_url, http, self._api_url)
            report = Report()
            earlier = {session["id"] for session in (await stage.runtime())["sessions"]}
            for scene in SCENES:
                try:
                    await scene(stage)
                except SceneFailed as failed:
                    report.wrong.append(str(failed))
                    break
            await clock.sleep(_CALM_SECONDS)  # a second answer, if there is one, shows up now
            talks = [talk for talk in stage.talks if talk.root]
            await self._check_threads(report, stage.talks, http)
            if stage.scripted:
                check_sessions(report, talks, (await stage.runtime())["sessions"], earlier)
            return report

    # -------------------------------------------------------------- what a person sees

    async def _check_threads(
        self, report: Report, talks: list[Talk], http: aiohttp.ClientSession
    ) -> None:
        reader = AsyncWebClient(
            token=self._slack.bot_token,
            base_url=self._slack.api_url,
            session=http,
            retry_handlers=[],
        )
        for talk in talks:
            if talk.left_out:
                said = [{"who": "left out", "text": talk.left_out}]
                report.threads.append({"title": talk.title, "said": said})
            if not talk.root:
                continue
            answer = await reader.conversations_replies(
                channel=talk.channel, ts=talk.root, limit=200
            )
            thread = [self._read(talk, message) for message in answer["messages"]]
            report.threads.append({"title": talk.title, "said": self._said(talk, thread)})
            answers = [m for m in thread if m.get("user") == self._slack.bot_user_id]
            scripted, texts = self._runtime_url is not None, [str(m["text"]) for m in answers]
            report.wrong += wrong_answers(talk, texts, scripted=scripted)
            report.wrong += wrong_marks(talk, thread, self._slack.bot_user_id)
            report.wrong += wrong_cards(talk, answers)
            if scripted:
                report.wrong += wrong_streams(talk, answers) + wrong_steps(talk, answers)

    def _read(self, talk: Talk, message: dict[str, Any]) -> dict[str, Any]:
        """A card that asked people says what its blocks say; its text is for notifications."""
        if message["ts"] not in talk.decided:
            return message
        return message | {"text": self._reads(message["blocks"], message["text"])}

    def _reads(self, blocks: list[dict[str, Any]], otherwise: str) -> str:
        names = {user_id: name for name, user_id in self._slack.users.items()}
        return reading.read(blocks, names) or otherwise

    def _said(self, talk: Talk, thread: list[dict[str, Any]]) -> list[dict[str, str]]:
        """The thread as it reads, what one person alone was told and what was seen on the way."""
        names = {self._slack.bot_user_id: "threadline"}
        names |= {user_id: name for name, user_id in self._slack.users.items()}
        lines = [
            (
                str(m["ts"]),
                names.get(str(m.get("user")), str(m.get("user"))),
                str(m["text"]) if m["ts"] in talk.decided else _shown(m),
            )
            for m in thread
        ]
        lines += [
            (
                e.ts,
                "threadline",
                f"(to {names.get(e.user, e.user)} alone) {self._reads(e.blocks, e.text)}",
            )
            for e in self._slack.ephemerals
            if (e.channel, e.thread_ts) == (talk.channel, talk.root)
        ]
        lines += [(ts, "seen", what) for ts, what in talk.asides]
        lines.sort(key=lambda line: float(line[0]))  # asides stay below what they are about
        return [{"who": who, "text": text} for _, who, text in lines]


def check_sessions(
    report: Report, talks: list[Talk], sessions: list[dict[str, Any]], earlier: set[str]
) -> None:
    """One runtime session per thread, with an id of ours that no other has; each message once."""
    received: list[str] = []
    told: list[tuple[str, str]] = []
    stops = 0
    for session in sessions:
        if session["id"] in earlier:
            continue
        ours = (session.get("metadata") or {}).get("threadline_session_id", "")
        report.sessions.append(
            {"id": ours, "runtime": session["id"], "title": session.get("title")}
        )
        received += [_text(e) for e in session["received"] if e["type"] == "user.message"]
        told += [heard for e in session["received"] if (heard := _heard(e)) is not None]
        stops += sum(e["type"] == "user.interrupt" for e in session["received"])
    distinct = {s["id"] for s in report.sessions}
    if not len(report.sessions) == len(distinct) == len(talks):
        report.wrong.append(
            f"{len(talks)} threads have {len(report.sessions)} runtime sessions "
            f"for {len(distinct)} sessions of ours"
        )
    report.wrong += _wrong_received(received, [text for talk in talks for text in talk.texts])
    report.wrong += _wrong_decisions(told, [one for talk in talks for one in talk.told])
    if stops != (pressed := sum(talk.stops for talk in talks)):
        report.wrong.append(f"the runtime was stopped {stops} times, and Stop pressed {pressed}")


def _wrong_received(received: list[str], said: list[str]) -> list[str]:
    if len(received) != len(said):
        return [f"the runtime received {len(received)} messages, and {len(said)} were sent"]
    return [
        f"the runtime received {got!r} where {due!r} was said"
        for got, due in zip(received, said, strict=True)
        if not got.endswith(due)  # a correction says first that it is one
    ]


def _wrong_decisions(told: list[tuple[str, str]], due: list[tuple[str, str]]) -> list[str]:
    if len(told) != len(due):
        return [f"the runtime heard of {len(told)} decisions, and people made {len(due)}"]
    return [
        f"the runtime heard {got!r} where people decided {want!r}"
        for got, want in zip(told, due, strict=True)
        if got[0] != want[0] or want[1] not in got[1]
    ]


def _heard(event: dict[str, Any]) -> tuple[str, str] | None:
    """What an event tells of a decision, and in which words; None for any other."""
    match event["type"]:
        case "user.tool_confirmation":
            return str(event["result"]), str(event.get("deny_message") or "")
        case "user.custom_tool_result":
            return "answer", " ".join(str(block.get("text", "")) for block in event["content"])
        case _:
            return None


def _text(event: dict[str, Any]) -> str:
    """What a message says, without our own mark of who says it."""
    blocks = [str(block.get("text", "")) for block in event["content"]]
    return "\n".join(text for text in blocks if not text.startswith("<input "))


def wrong_answers(talk: Talk, answers: list[str], *, scripted: bool) -> list[str]:
    """What is wrong with a thread: exactly the answers that are due, in order."""
    if len(answers) != len(talk.expected):
        return [f"{talk.title}: {len(answers)} answers where {len(talk.expected)} are due"]
    if not scripted:  # a real model does not quote what it answers
        return []
    return [
        f"{talk.title}: the answer to {words!r} is {answer!r}"
        for words, answer in zip(talk.expected, answers, strict=True)
        if words.casefold() not in answer.casefold()
    ]


def wrong_marks(talk: Talk, thread: list[dict[str, Any]], bot: str) -> list[str]:
    """Nothing waits any more, so the bot's mark is on no message."""
    return [
        f"{talk.title}: {m['text']!r} is still marked :{one['name']}:"
        for m in thread
        for one in m.get("reactions", [])
        if bot in one["users"]
    ]


def wrong_cards(talk: Talk, answers: list[dict[str, Any]]) -> list[str]:
    """What is wrong with the cards that asked people: each says what was decided, and offers nothing."""
    says = {str(m["ts"]): str(m["text"]) for m in answers}
    wrong = [
        f"{talk.title}: the card does not say {words!r}"
        for ts, due in talk.decided.items()
        for words in due
        if words not in says.get(ts, "")
    ]
    offering = [m for m in answers if offers(m.get("blocks", []))]
    return wrong + [f"{talk.title}: {_shown(m)!r} can still be pressed" for m in offering]


def wrong_streams(talk: Talk, answers: list[dict[str, Any]]) -> list[str]:
    """What is wrong with the streams: seen in pieces, each the answer so far, then whole."""
    wrong = []
    for answer in answers:
        seen = talk.grown.get(str(answer["ts"]), [])
        if answer.get("streaming_state") not in (None, "completed"):
            wrong.append(f"{talk.title}: {_shown(answer)!r} is still being written")
        if not all(more.startswith(less) for less, more in pairwise([*seen, str(answer["text"])])):
            wrong.append(f"{talk.title}: what was seen of {_shown(answer)!r} is not its beginning")
    if (most := max((len(seen) for seen in talk.grown.values()), default=0)) < talk.lengths:
        wrong.append(f"{talk.title}: the answer was seen at {most} lengths before it was whole")
    return wrong


def wrong_steps(talk: Talk, answers: list[dict[str, Any]]) -> list[str]:
    """What is wrong with the cards: each step is seen in progress, and complete in the end."""
    blocks = [block for answer in answers for block in answer.get("blocks", [])]
    cards = [(b["title"], b["status"]) for b in blocks if b["type"] == "task_card"]
    seen: set[tuple[str, str]] = set().union(*talk.cards.values())
    wrong = [
        f"{talk.title}: nobody saw that {step} was in progress"
        for step in talk.steps
        if (step, "in_progress") not in seen
    ]
    if cards != [(step, "complete") for step in talk.steps]:
        wrong.append(f"{talk.title}: the steps in the end are {cards}")
    return wrong


def _shown(message: dict[str, Any]) -> str:
    """A message's text; the middle of a long one is left out."""
    text = str(message["text"])
    if len(text) <= _SHOWN_CHARACTERS:
        return text
    begin, end = text[:_SHOWN_OF_LONG].rstrip(), text[-_SHOWN_OF_LONG:].lstrip()
    return f"{begin} … {end} ({len(text):,} characters)"

"""`threadline demo --once`: a scripted conversation over HTTP, and what a person must see of it.

Everything is read back from the local Slack and the local runtime, as a person and an operator
would see it; never from our tables, which would agree with themselves.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from slack_sdk.web.async_client import AsyncWebClient

from bot.local import LocalSlack
from router import clock

_ANSWER_SECONDS = 20.0
_POLL_SECONDS = 0.05
_CALM_SECONDS = 0.6


@dataclass(slots=True)
class Talk:
    """One thread of the script: what was said in it, and how many answers that deserves."""

    title: str
    channel: str = ""
    root: str = ""
    newest: str = ""
    expected: list[str] = field(default_factory=list)


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
    """Acts out the conversation. `runtime_url` is None with a real runtime, whose words vary."""

    def __init__(self, slack: LocalSlack, runtime_url: str | None) -> None:
        self._slack = slack
        self._runtime_url = runtime_url
        self._talks: list[Talk] = []
        self._earlier: set[str] = set()

    async def play(self) -> Report:
        """The whole script, one scene after the other, then the check."""
        async with aiohttp.ClientSession() as http:
            self._http = http
            self._reader = AsyncWebClient(
                token=self._slack.bot_token,
                base_url=self._slack.api_url,
                session=http,
                retry_handlers=[],
            )
            scenes: list[Callable[[], Awaitable[None]]] = [
                self._direct_message,
                self._mention,
                self._two_people,
                self._edited_mention,
                self._delivered_three_times,
            ]
            report = Report()
            self._earlier = {session["id"] for session in await self._runtime_sessions()}
            for scene in scenes:
                try:
                    await scene()
                except _SceneFailed as failed:
                    report.wrong.append(str(failed))
                    break
            await clock.sleep(_CALM_SECONDS)  # a second answer, if there is one, shows up now
            await self._check(report)
            return report

    # -------------------------------------------------------------- scenes

    async def _direct_message(self) -> None:
        talk = self._begin("a direct message with two follow-ups in its thread")
        await self._say(talk, "ada", self._slack.dm("ada"), "Which planet is the largest?")
        await self._say(talk, "ada", talk.channel, "And the smallest?")
        await self._say(talk, "ada", talk.channel, "!tool Show me the list")

    async def _mention(self) -> None:
        talk = self._begin("a mention, then a reply without one")
        await self._say(talk, "grace", "general", "@threadline summarise the release notes")
        await self._say(talk, "grace", talk.channel, "shorter, please")

    async def _two_people(self) -> None:
        talk = self._begin("two people in one thread")
        await self._say(talk, "linus", "random", "@threadline why is the build red?")
        await self._say(talk, "ada", talk.channel, "I saw it fail on main as well")

    async def _edited_mention(self) -> None:
        talk = self._begin("a mention that is edited after its answer")
        await self._say(talk, "ada", "general", "@threadline meet at 14:00")
        await self._control(
            "edit", {"channel": talk.channel, "ts": talk.root, "text": "@threadline meet at 15:00"}
        )
        await self._answered(talk, "meet at 15:00")

    async def _delivered_three_times(self) -> None:
        talk = self._begin("one event delivered three times")
        await self._say(talk, "grace", "general", "@threadline count to three", duplicate=2)

    def _begin(self, title: str) -> Talk:
        self._talks.append(Talk(title))
        return self._talks[-1]

    async def _say(
        self, talk: Talk, user: str, channel: str, text: str, *, duplicate: int = 0
    ) -> None:
        said = {"user": user, "channel": channel, "text": text, "duplicate": duplicate}
        if talk.root:
            said["thread_ts"] = talk.root
        answer = await self._control("message", said)
        talk.channel = str(answer["channel"])
        talk.newest = str(answer["ts"])
        talk.root = talk.root or talk.newest
        await self._answered(talk, text.removeprefix("@threadline ").removeprefix("!tool "))

    async def _control(self, what: str, body: dict[str, Any]) -> dict[str, Any]:
        url = f"{self._slack.url}/_control/{what}"
        async with self._http.post(url, json=body) as response:
            answer: dict[str, Any] = await response.json()
        if not answer.get("ok"):
            raise _SceneFailed(f"the local Slack refused {what}: {answer}")
        return answer

    async def _answered(self, talk: Talk, words: str) -> None:
        """Waits until the thread has one answer more.

        Waiting looks over the local Slack's shoulder: its Web API would limit so many questions.
        """
        talk.expected.append(words)
        deadline = clock.monotonic() + _ANSWER_SECONDS
        while self._answers_so_far(talk) < len(talk.expected):
            if clock.monotonic() > deadline:
                raise _SceneFailed(
                    f"{talk.title}: no answer to {words!r} in {_ANSWER_SECONDS:.0f} s; "
                    f"to its event Threadline said {self._http_answers(talk)}"
                )
            await clock.sleep(_POLL_SECONDS)

    def _http_answers(self, talk: Talk) -> str:
        statuses = [str(d.status) for d in self._slack.deliveries if d.ts == talk.newest]
        return ", ".join(statuses) or "nothing"

    def _answers_so_far(self, talk: Talk) -> int:
        bot = self._slack.bot_user_id
        return len([m for m in self._slack.replies(talk.channel, talk.root) if m.user == bot])

    # -------------------------------------------------------------- what a person sees

    async def _thread(self, talk: Talk) -> list[dict[str, Any]]:
        answer = await self._reader.conversations_replies(
            channel=talk.channel, ts=talk.root, limit=200
        )
        messages: list[dict[str, Any]] = answer["messages"]
        return messages

    async def _check(self, report: Report) -> None:
        bot = self._slack.bot_user_id
        for talk in self._talks:
            if talk.root:
                thread = await self._thread(talk)
                answers = [str(m["text"]) for m in thread if m.get("user") == bot]
                report.threads.append({"title": talk.title, "said": self._said(thread)})
                report.wrong += _wrong_answers(talk, answers, self._runtime_url)
        if self._runtime_url is not None:
            await self._check_sessions(report)

    def _said(self, thread: list[dict[str, Any]]) -> list[dict[str, str]]:
        names = {self._slack.bot_user_id: "threadline"}
        names |= {user_id: name for name, user_id in self._slack.users.items()}
        return [
            {"who": names.get(str(m.get("user")), str(m.get("user"))), "text": str(m["text"])}
            for m in thread
        ]

    async def _runtime_sessions(self) -> list[dict[str, Any]]:
        """The local runtime's sessions that were not there before the script; none of a real one."""
        if self._runtime_url is None:
            return []
        async with self._http.get(f"{self._runtime_url}/_control/state") as response:
            state = await response.json()
        return [s for s in state["sessions"] if s["id"] not in self._earlier]

    async def _check_sessions(self, report: Report) -> None:
        """One runtime session per thread, with an id of ours that no other has; each message once."""
        received = 0
        for session in await self._runtime_sessions():
            ours = (session.get("metadata") or {}).get("threadline_session_id", "")
            report.sessions.append(
                {"id": ours, "runtime": session["id"], "title": session.get("title")}
            )
            received += len([e for e in session["received"] if e["type"] == "user.message"])
        talks = [t for t in self._talks if t.root]
        distinct = {s["id"] for s in report.sessions}
        if not len(report.sessions) == len(distinct) == len(talks):
            report.wrong.append(
                f"{len(talks)} threads have {len(report.sessions)} runtime sessions "
                f"for {len(distinct)} sessions of ours"
            )
        said = sum(len(talk.expected) for talk in talks)
        if received != said:
            report.wrong.append(f"the runtime received {received} messages, and {said} were sent")


class _SceneFailed(Exception):
    """The script cannot go on."""


def _wrong_answers(talk: Talk, answers: list[str], runtime_url: str | None) -> list[str]:
    """What is wrong with a thread: exactly one answer to each message, in order."""
    if len(answers) != len(talk.expected):
        return [f"{talk.title}: {len(answers)} answers to {len(talk.expected)} messages"]
    if runtime_url is None:  # a real model does not quote what it answers
        return []
    return [
        f"{talk.title}: the answer to {words!r} is {answer!r}"
        for words, answer in zip(talk.expected, answers, strict=True)
        if words.casefold().split()[0] not in answer.casefold()
    ]

"""Many troubles of Slack at the same time: each has a person, a channel and faults of its own."""

from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import Any

import pytest
from aiohttp import web
from typing_extensions import override

from bot import budget, circuit, delivery, outcome
from bot.budget import Tier
from bot.local import webapi
from bot.local.arguments import Arguments, read_arguments
from bot.local.faults import Fault, FaultKind, Faults
from bot.local.model import Call, Message
from router.runtime import budget as runtime_budget
from router.runtime.budget import Limit
from tests.flows.slack_errors import TRY_AGAIN
from tests.flows.streams import APPEND, START, quicken
from tests.harness import TIMING, World, shown
from tests.support import eventually

# Agents stand still until all have begun: nobody takes that for a stream that has died.
CALM = replace(TIMING, lease=10.0, quiet=20.0)
STATUS = "agents.sessions.setStatus"
_PLACE: ContextVar[str] = ContextVar("place", default="")
_NUMBERS = count(1)


class PlacedFaults(Faults):
    """Orders that hold for the calls about one channel, or one person, beside those for all."""

    def __init__(self) -> None:
        super().__init__()
        self.at: defaultdict[str, Faults] = defaultdict(Faults)

    @override
    def take(self, kinds: frozenset[str], method: str | None = None) -> Fault | None:
        return self.at[_PLACE.get()].take(kinds, method) or super().take(kinds, method)


def share_a_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    """One case's trouble is not the others': no permit is short, and no circuit opens.

    Both have tests of their own (test_stream_budgets, test_circuit). What failed is tried again at
    once, also where Slack does not say when.
    """
    quicken(monkeypatch)
    for method in budget._TIERS:
        monkeypatch.setitem(budget._TIERS, method, Tier(60_000, 30_000))
    for kind in runtime_budget._LIMITS:
        monkeypatch.setitem(runtime_budget._LIMITS, kind, Limit(60_000, 30_000))
    monkeypatch.setattr(circuit, "_IN_A_ROW", 1_000)
    monkeypatch.setattr(outcome, "_LIMITED_SECONDS", 0.05)
    monkeypatch.setattr(delivery, "_NO_PERMIT_SECONDS", 0.05)
    monkeypatch.setattr(webapi, "read_arguments", _placed(read_arguments))


def _placed(
    read: Callable[[web.Request], Coroutine[Any, Any, Arguments]],
) -> Callable[[web.Request], Coroutine[Any, Any, Arguments]]:
    async def reading(request: web.Request) -> Arguments:
        args = await read(request)
        _PLACE.set(args.text("channel") or args.text("channel_id") or args.text("user"))
        return args

    return reading


@dataclass
class Case:
    """One trouble: a person who asks in a channel of theirs, and what goes wrong there."""

    here: World
    name: str
    person: str
    channel: str
    is_stranger: bool
    asked: Message = field(init=False)
    troubled: list[str] = field(default_factory=list)

    def fault(self, kind: FaultKind, method: str, **options: Any) -> None:
        """The next call of that method about this channel, or this person, meets the fault."""
        faults = self._faults(self.person if method == "users.info" else self.channel)
        faults.add(Fault(kind, method=method, **options))
        self.troubled.append(method)

    def _faults(self, place: str) -> Faults:
        faults = self.here.slack.workspace.faults
        assert isinstance(faults, PlacedFaults)
        return faults.at[place]

    @property
    def left(self) -> list[str]:
        """The methods whose faults have not struck yet."""
        orders = [*self._faults(self.channel)._orders, *self._faults(self.person)._orders]
        return [str(fault.method) for fault, _ in orders]

    def was_called(self, method: str) -> bool:
        """Whether a call came in; one that Slack keeps waiting is not in its record yet."""
        return bool(self.calls[method]) or (method in self.troubled and method not in self.left)

    async def ask(self, text: str) -> None:
        self.asked = await self.here.slack.say(self.person, self.channel, f"@threadline {text}")

    async def say(self, text: str) -> Message:
        """One more message in the thread."""
        return await self.here.slack.say(self.person, self.channel, text, thread_ts=self.asked.ts)

    @property
    def messages(self) -> list[Message]:
        """The bot's messages in the thread."""
        replies = self.here.slack.replies(self.channel, self.asked.ts)
        return [m for m in replies if m.user == self.here.slack.bot_user_id]

    @property
    def shown(self) -> list[str]:
        """What a person reads of them."""
        return [shown(message) for message in self.messages]

    @property
    def calls(self) -> Counter[str]:
        """How often each method was called about this channel."""
        return Counter(call.method for call in self._calls())

    def of(self, method: str) -> list[Call]:
        """The calls of one method about this channel, in order."""
        return [call for call in self._calls() if call.method == method]

    def _calls(self) -> Iterator[Call]:
        for call in self.here.slack.calls:
            if self.channel in (call.args.get("channel"), call.args.get("channel_id")):
                yield call


class Cases(dict[str, Case]):
    """The cases of one test by name; `each` asks one thing of all of them."""

    def __init__(self, here: World, names: Iterable[str], *, team: str | None = None) -> None:
        here.slack.workspace.faults = PlacedFaults()
        super().__init__((name, _case(here, name, team)) for name in names)
        self.here = here

    def each(self, ask: Callable[[Case], Any]) -> dict[str, Any]:
        """What each case says to that, by name."""
        return {name: ask(case) for name, case in self.items()}

    def all_alike(self, answer: Any) -> dict[str, Any]:
        """The same of each case, by name."""
        return self.each(lambda _: answer)

    @property
    def shown(self) -> dict[str, list[str]]:
        """What a person reads, by name."""
        return self.each(lambda case: case.shown)

    def called(self, method: str) -> bool:
        """Whether the method was called in every case that has a stream to call it for."""
        return all(
            case.was_called(method)
            for case in self.values()
            if method == START or START not in case.troubled
        )

    async def ask(self, text: str) -> None:
        """Everybody asks, and everything comes to rest."""
        for case in self.values():
            await case.ask(text)
        await self.rest()

    async def rest(self) -> None:
        """Every fault has struck, all is at rest, and no thread says that the agent works."""
        await self.here.at_rest()
        await eventually(lambda: all(map(_is_idle, self.values())), says="the ends")
        assert self.each(lambda case: case.left) == self.all_alike([])

    async def ask_for_a_stream(self, text: str) -> None:
        """Everybody asks for an answer of many words, which goes on once it is being streamed."""
        pace = self.here.runtime.world.pace
        pace.set_rate(0)
        for case in self.values():
            await case.ask(text)
        for method in (START, APPEND):
            await eventually(partial(_speaking, self.here, len(self)), 40, "answers")
            pace.advance(1)
            await eventually(partial(self.called, method), 40, method)
        pace.set_rate(10_000)
        await self.rest()

    async def goes_on(self) -> None:
        """The next message of every thread is answered, and what was buried stays unsaid."""
        before = self.shown
        for case in self.values():
            await case.say("next")
        await self.rest()
        assert self.shown == {name: [*was, 'You said: "next"'] for name, was in before.items()}

    async def buried(self) -> dict[str, list[str]]:
        """The reasons of what was buried, by name."""
        rows = await self.here.rows(
            "SELECT channel_id, error FROM slack_outbox WHERE state = 'dead' ORDER BY delivery_id"
        )
        found = defaultdict(list)
        for row in rows:
            found[row["channel_id"]].append(row["error"])
        return self.each(lambda case: found[case.channel])


def _is_idle(case: Case) -> bool:
    """Whether Slack was told of the turn's end, if of any turn at all."""
    told = case.of(STATUS)
    if not told:
        return case.is_stranger
    last, error = told[-1], told[-1].answer.get("error")
    comes_again = last.fault is not None and (last.fault != "api_error" or error in TRY_AGAIN)
    return error == "feature_disabled" or (last.args["status"] == "active" and not comes_again)


def _speaking(here: World, count: int) -> bool:
    return sum(not one.done() for one in here.runtime.world.pace._sleepers) == count


def _case(here: World, name: str, team: str | None) -> Case:
    number = next(_NUMBERS)
    person = here.slack.add_user(f"person{number}", team)
    channel = here.slack.add_channel(f"case{number}", [person])
    return Case(here, name, person, channel, is_stranger=team is not None)


def refusing(here: World, method: str, errors: tuple[str, ...], **more: Any) -> Cases:
    """A case for each error: Slack says it once to that method."""
    cases = Cases(here, errors, **more)
    for error, case in cases.items():
        case.fault("api_error", method, error=error)
    return cases

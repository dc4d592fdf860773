"""How soon a click on a card shows: `make bench`, a few minutes.

    python -m tests.bench.approvals          QUICK=1 for a fifth of it

Everything runs in one process, Threadline, the local Slack and the local runtime; PostgreSQL beside
it. An agent asks for a tool in as many threads as there are clicks. Eight people press at once, and
once more when all is at rest: the agents were told, and have answered.

shown     from the press of Approve until Slack has the edit (chat.update) that names who decided; 500
          ms are allowed to the 99th percentile. From the press of Deny until Slack has the form
          (views.open); 1,000 ms are allowed
ack       from the press until Slack has its answer, of the 3 s that it waits
a second  decisions until the agents have answered; our pace towards the runtime, which lets an
          organisation read 1,200 times a minute, holds them to about seven

Slack takes 50 edits a minute of an app, and each decision is two: made, and known to the agent. So
limits are put aside, here and in the local Slack, but for the case that names them: as many decisions
as a burst holds, eight. Without a pause, each person presses the next card as soon as the one before
says what was decided, which no people do: nothing is asked of that case.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace

from bot import budget
from bot.budget import Tier
from bot.local.model import Call, Message
from router.turns.engine import Timing
from tests.bench import common
from tests.bench.common import Figures
from tests.harness import World, world
from tests.support import eventually

_AT_ONCE = 8
_CLICKS, _QUICK = 200, 40
_MEDIAN, _MOST = 0.5, 0.99
_TARGETS_MS = {"Approve": 500.0, "Deny": 1_000.0}
# The method, the argument that says which press it is about, and what else it has to say.
_LEADS_TO = {
    "Approve": ("chat.update", "ts", "Approved by"),
    "Deny": ("views.open", "trigger_id", "Reason"),
}
_FREE = {method: Tier(60_000, 30_000) for method in ("chat.postMessage", "chat.update")}
_PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Case:
    """So many presses of one button; `limits`: as Slack limits them."""

    label: str
    clicks: int
    limits: bool = False
    pause: bool = True


@dataclass(frozen=True, slots=True)
class Press:
    """One press: when it was made and answered, and what Slack's call that it leads to will name."""

    begun: float
    ack: float
    names: str


@contextmanager
def _pace(*, limits: bool) -> Iterator[None]:
    """Our own budgets of Slack's calls, or none."""
    kept = dict(budget._TIERS)
    if not limits:
        budget._TIERS.update(_FREE)
    try:
        yield
    finally:
        budget._TIERS.update(kept)


@asynccontextmanager
async def _asked(case: Case) -> AsyncIterator[tuple[World, dict[str, list[Message]]]]:
    """A world in which cards wait for each of the people, all to be pressed."""
    async with common.database() as dsn, world(dsn, limits=case.limits) as here:
        people = [f"person-{n}" for n in range(_AT_ONCE)]
        for name in people:
            here.slack.add_user(name)
        places = {name: here.slack.add_channel(f"of-{name}", [name]) for name in people}
        with _pace(limits=case.limits):
            async with here.app(timing=Timing()):
                for n in range(case.clicks):
                    who = people[n % _AT_ONCE]
                    await here.slack.say(who, places[who], "@threadline !ask bash")
                cards = await eventually(lambda: _cards(here, places, case), _PATIENCE_SECONDS)
                await here.at_rest(_PATIENCE_SECONDS)
                yield here, cards


def _cards(here: World, places: dict[str, str], case: Case) -> dict[str, list[Message]]:
    """The cards that wait for each of the people; empty until all are there."""
    found = {
        name: [
            message
            for root in here.slack.history(place)
            for message in here.slack.replies(place, root.ts)
            if any(block["type"] == "actions" for block in message.blocks)
        ]
        for name, place in places.items()
    }
    return found if sum(map(len, found.values())) == case.clicks else {}


async def measure(case: Case) -> Figures:
    """One run of a case, in a world of its own."""
    async with _asked(case) as (here, cards):
        begun = time.monotonic()
        presses = await (_in_turns if case.pause else _without_pause)(here, case, cards)
        await here.at_rest(_PATIENCE_SECONDS)
        took = time.monotonic() - begun
        return _figures(presses, here.slack.calls, case) | {"a_second": len(presses) / took}


async def _in_turns(here: World, case: Case, cards: dict[str, list[Message]]) -> list[Press]:
    """Everybody presses at once, and again when all is at rest."""
    presses = []
    for each in zip(*cards.values(), strict=True):
        ones = {who: [card] for who, card in zip(cards, each, strict=True)}
        presses += await _without_pause(here, case, ones)
        await here.at_rest(_PATIENCE_SECONDS)
    return presses


async def _without_pause(here: World, case: Case, cards: dict[str, list[Message]]) -> list[Press]:
    """Everybody presses, each the next card after what the one before led to."""
    async with asyncio.TaskGroup() as tasks:
        each = [tasks.create_task(_presses(here, who, case, of)) for who, of in cards.items()]
    return [one for task in each for one in task.result()]


async def _presses(here: World, who: str, case: Case, cards: list[Message]) -> list[Press]:
    act = _approve if case.label == "Approve" else _deny
    return [await act(here, who, card) for card in cards]


async def _approve(here: World, who: str, card: Message) -> Press:
    press, _ = await _press(here, who, card, "Approve")
    await eventually(lambda: "Approved by" in _now(here, card), _PATIENCE_SECONDS)
    return press


async def _deny(here: World, who: str, card: Message) -> Press:
    press, trigger = await _press(here, who, card, "Deny")
    (view,) = await eventually(lambda: here.open_views(who), _PATIENCE_SECONDS)
    await here.slack.close_view(who, view.id)
    return replace(press, names=trigger)


async def _press(here: World, who: str, card: Message, label: str) -> tuple[Press, str]:
    begun = time.time()
    (pressed,) = await here.click(who, card.ts, label, channel=card.channel)
    if pressed.failure is not None:
        raise ValueError(f"{label} was answered {pressed.failure}")
    return Press(begun, time.time() - begun, card.ts), pressed.trigger_id


def _now(here: World, card: Message) -> str:
    """What the card shows by now."""
    thread = here.slack.replies(card.channel, card.root)
    return json.dumps([message.blocks for message in thread if message.ts == card.ts])


def _figures(presses: list[Press], calls: list[Call], case: Case) -> Figures:
    method, name, says = _LEADS_TO[case.label]
    first: dict[str, float] = {}
    for call in calls:
        if call.method == method and call.answer.get("ok") and says in str(call.args):
            first.setdefault(str(call.args[name]), call.at)
    ack = [one.ack * 1000 for one in presses]
    shown = [(first[one.names] - one.begun) * 1000 for one in presses]
    return {
        "clicks": len(presses),
        "p50_ms": common.percentile(shown, _MEDIAN),
        "p99_ms": common.percentile(shown, _MOST),
        "most_ms": max(shown),
        "ack_p50_ms": common.percentile(ack, _MEDIAN),
        "ack_p99_ms": common.percentile(ack, _MOST),
        "limited": sum(call.status == 429 for call in calls),  # too many requests
    }


def _row(name: str, figures: Figures) -> list[str]:
    times = (figures[n] for n in ("p50_ms", "p99_ms", "most_ms", "ack_p50_ms", "ack_p99_ms"))
    counts = (figures["clicks"], figures["limited"])
    return [name, *(f"{one:.0f}" for one in (*times, *counts)), f"{figures['a_second']:.1f}"]


def main() -> int:
    """Prints the table; 1 where a target is missed. `QUICK=1`: one short round."""
    common.quieten()
    clicks, count = (_QUICK, 1) if common.quick() else (_CLICKS, 3)
    cases = {
        "Approve ▸ decided": Case("Approve", clicks),
        "Deny ▸ form": Case("Deny", clicks),
        "Approve, as Slack limits it": Case("Approve", _AT_ONCE, limits=True),
        "Approve, without a pause": Case("Approve", clicks, pause=False),
    }
    found = common.rounds(cases, measure, count)
    medians = {name: common.medians(found[name]) for name in cases}
    heading = [
        "8 at once",
        "p50 ms",
        "p99",
        "most",
        "ack p50",
        "ack p99",
        "clicks",
        "429",
        "a second",
    ]
    common.report("approvals", [heading, *(_row(*one) for one in medians.items())], found)
    asked = {name: _TARGETS_MS[case.label] for name, case in cases.items() if case.pause}
    missed = [name for name, most in asked.items() if medians[name]["p99_ms"] > most]
    for name in missed:
        sys.stderr.write(f"{name}: the target is missed\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

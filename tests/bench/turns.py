"""What Threadline adds to a turn, hop by hop: `make bench`, a minute.

    python -m tests.bench.turns          QUICK=1 for one short round

A few messages a second, far below what one replica can do; each replica and both ends are processes of their
own, whose clocks are one. In milliseconds, median and 99th percentile over all messages of a round:

accepted ▸ sent         Slack has its 200 ▸ the request with user.message is at the runtime: claim, the
                        stream's opening, the history. In a thread that has talked, and in a new one, whose
                        runtime session is made on the way
event ▸ post            the runtime's idle ▸ chat.postMessage is at Slack: the turn's end, committed, and the
                        delivery's claim
word ▸ append           a fragment of an answer whose stream is at rest ▸ chat.appendStream is at Slack
other ▸ begun           Slack has its 200 from a process that only takes events ▸ the first request of another
                        that only works is at the runtime, which is behind its claim
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

from bot.streams import _APPEND_GAP_SECONDS
from tests.bench import alone, common, goals
from tests.bench.common import Figures, Results
from tests.bench.goals import Outcome, Verdict
from tests.bench.lean_slack import Talk, Told, channel_id
from tests.bench.serving import Bench
from tests.bench.town import Town, replicas, town
from tests.support import eventually

_ROUNDS = 3
_PER_SECOND, _SECONDS, _QUICK_SECONDS = 10.0, 5.0, 3.0
_WARM = 20
_PATIENCE_SECONDS = 30.0
_WORDS_A_SECOND, _STREAMS, _WORKSPACES = 2.0, 8, 8
_GOALS = {  # median and 99th percentile
    "accepted ▸ sent": (20.0, None),
    "accepted ▸ sent, new thread": (None, None),
    "event ▸ post": (10.0, 40.0),
    "word ▸ append": (10.0, 40.0),
    "other ▸ begun": (50.0, None),
}
_Heard = dict[str, list[list[Any]]]
_Late = dict[str, list[float]]


async def measure(on: Bench, seconds: float, rounds: int) -> Results:
    """All rounds, over one database: first with a replica for all, then with a door and a worker."""
    found: Results = {name: [] for name in _GOALS}
    async with town(on, _WORKSPACES) as here:
        async with replicas(here, 1):
            for _ in range(rounds):
                for case in (_talked, _streamed):
                    await _noted(here, found, partial(case, here, seconds))
        async with (
            replicas(here, 1, roles=["ingress"]) as doors,
            replicas(here, 1, roles=["delivery", "worker"]),
        ):
            for _ in range(rounds):
                await _noted(here, found, partial(_elsewhere, here, doors[0].url, seconds))
    return found


async def _noted(here: Town, found: Results, case: Callable[[], Awaitable[_Late]]) -> None:
    """Once more where it was disturbed."""
    late: _Late = {}

    async def flat() -> Figures:
        late.update(await case())
        return {f"{n} {what}": f for n, one in late.items() for what, f in _figures(one).items()}

    seen = await here.bench.undisturbed(flat)
    for name in late:
        figures = {what: seen[f"{name} {what}"] for what in ("count", "p50_ms", "p99_ms")}
        found[name].append(figures | {"others": seen["others"]})


def _figures(late: list[float]) -> Figures:
    return {
        "count": len(late),
        "p50_ms": common.percentile(late, 0.5) * 1000,
        "p99_ms": common.percentile(late, 0.99) * 1000,
    }


async def _said(here: Town, url: str, seconds: float) -> tuple[Told, _Heard, _Heard]:
    """What was told, and what both ends have heard since."""
    count = round(_PER_SECOND * seconds / 2)
    first = Talk(
        urls=[url],
        threads=count,
        per_second=_PER_SECOND,
        seconds=seconds / 2,
        workspaces=_WORKSPACES,
    )
    await here.ask(here.runtime, "mode", {"times": True})
    await here.ask(here.slack, "times")
    before = await here.talk(first)
    told = await here.talk(replace(first, again=True))
    told.acked_at |= before.acked_at
    runtime = (await here.ask(here.runtime, "heard"))["heard"]
    return told, runtime, (await here.ask(here.slack, "heard"))["heard"]


async def _talked(here: Town, seconds: float) -> _Late:
    """From a 200 to the send, in new threads and in others; from an idle to the post."""
    await here.talk(Talk(urls=here.urls, threads=_WARM, messages=4, workspaces=_WORKSPACES))
    told, runtime, slack = await _said(here, here.urls[0], seconds)
    first: list[float] = []
    others: list[float] = []
    for note, at in _sends(runtime):
        (first if note.endswith("-0") else others).append(at - told.acked_at[note])
    idles = _idles(runtime)
    ended: list[float] = []
    for channel, at, _ in slack["chat.postMessage"]:
        ended.append(at - max(idle for idle in idles[channel] if idle <= at))
    return {"accepted ▸ sent": others, "accepted ▸ sent, new thread": first, "event ▸ post": ended}


def _sends(runtime: _Heard) -> Iterator[tuple[str, float]]:
    for events in runtime.values():
        for what, at, more in events:
            if what == "send" and more[0] == "user.message":
                for note in more[1]:
                    yield note, at


def _idles(runtime: _Heard) -> dict[str, list[float]]:
    """When each channel's turns were over at the runtime."""
    found: dict[str, list[float]] = {}
    for events in runtime.values():
        notes = [more[1][0] for what, _, more in events if what == "send" and more[1]]
        channel = channel_id(int(notes[0].split("-")[1]))
        found[channel] = [at for what, at, _ in events if what == "idle"]
    return found


async def _streamed(here: Town, seconds: float) -> _Late:
    """From a word to the append that shows it, where the stream was at rest when it came."""
    await here.ask(here.runtime, "mode", {"times": True, "words_a_second": _WORDS_A_SECOND})
    await here.ask(here.slack, "times")
    talk = Talk(
        urls=here.urls, threads=_STREAMS, messages=1, workspaces=_WORKSPACES, answered=False
    )
    await here.talk(talk)
    await asyncio.sleep(seconds)
    runtime = (await here.ask(here.runtime, "heard"))["heard"]
    slack = (await here.ask(here.slack, "heard"))["heard"]
    await here.ask(here.runtime, "end")
    await here.ask(here.runtime, "mode")
    await _rest(here)
    late: list[float] = []
    for events in runtime.values():
        notes = [more[1][0] for what, _, more in events if what == "send"]
        channel = channel_id(int(notes[0].split("-")[1]))
        words = [at for what, at, _ in events if what == "words"]
        shown = sorted(
            at
            for method in ("chat.startStream", "chat.appendStream")
            for where, at, _ in slack.get(method, [])
            if where == channel
        )
        late += _prompt(words, shown)
    return {"word ▸ append": late}


def _prompt(words: list[float], shown: list[float]) -> Iterator[float]:
    """Of each call that shows something: how long ago the first word was that the one before lacked."""
    for before, at in pairwise(shown):
        fresh = [word for word in words if before < word <= at]
        if fresh and fresh[0] > before + _APPEND_GAP_SECONDS:
            yield at - fresh[0]


async def _rest(here: Town) -> None:
    """Until no turn is held any more."""
    await eventually(lambda: _is_at_rest(here), _PATIENCE_SECONDS, "no turn held")


async def _is_at_rest(here: Town) -> bool:
    return not any([(await one.late())["live"] for one in here.replicas])


async def _elsewhere(here: Town, url: str, seconds: float) -> _Late:
    """From the 200 of one process to the first request of the other."""
    await here.talk(Talk(urls=[url], threads=_WARM, messages=4, workspaces=_WORKSPACES))
    told, runtime, _ = await _said(here, url, seconds)
    found = []
    for events in runtime.values():
        opened = 0.0
        for what, at, more in events:
            if what in ("create", "stream"):
                opened = opened or at
            elif what == "send":
                found += [opened - told.acked_at[note] for note in more[1]]
                opened = 0.0
    return {"other ▸ begun": found}


def judged(found: Results) -> list[Verdict]:
    """The times beside the goals."""
    said = []
    for name, wanted in _GOALS.items():
        seen = common.medians(found[name])
        for what, most in zip(("p50", "p99"), wanted, strict=True):
            if most:
                figure = f"{name}, {'median' if what == 'p50' else what}"
                said.append(goals.at_most("4 a turn", figure, seen[f"{what}_ms"], most, "ms"))
    return said


def rows(found: Results) -> list[list[str]]:
    """The table."""
    lines = [["", "p50 ms", "goal", "p99 ms", "goal", "of", "others"]]
    for name, wanted in _GOALS.items():
        seen = common.medians(found[name])
        p50, p99 = (f"{goal:.0f}" if goal else "-" for goal in wanted)
        cells = [f"{seen['p50_ms']:.1f}", p50, f"{seen['p99_ms']:.1f}", p99]
        lines.append([name, *cells, f"{seen['count']:.0f}", f"{seen['others']:.1f}"])
    return lines


async def run(on: Bench) -> Outcome:
    """All of it."""
    seconds, rounds = (_QUICK_SECONDS, 1) if common.quick() else (_SECONDS, _ROUNDS)
    found = await measure(on, seconds, rounds)
    return Outcome("turns", rows(found), found, judged(found))


if __name__ == "__main__":
    sys.exit(alone.main(run))

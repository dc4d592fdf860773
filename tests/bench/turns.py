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
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

from bot.streams import _APPEND_GAP_SECONDS
from tests.bench import common
from tests.bench.common import Figures, Results
from tests.bench.lean_slack import Talk, Told, channel_id
from tests.bench.town import Town, replicas, town
from tests.support import eventually

_ROUNDS = 3
_PER_SECOND, _SECONDS, _QUICK_SECONDS = 10.0, 10.0, 5.0
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


async def run(seconds: float, rounds: int) -> Results:
    """All rounds, over one database."""
    found: Results = {name: [] for name in _GOALS}
    async with town(_WORKSPACES) as here:
        for turn in range(rounds):
            sys.stderr.write(f"round {turn + 1} of {rounds}\n")
            async with replicas(here, 1):
                new, old, post = await _talked(here, seconds)
                words = await _streamed(here, seconds)
            roles = ({"ingress"}, {"worker", "delivery"})
            async with (
                replicas(here, 1, roles=sorted(roles[0])) as doors,
                replicas(here, 1, roles=sorted(roles[1])),
            ):
                other = await _elsewhere(here, doors[0].url, seconds)
            for name, late in zip(_GOALS, (old, new, post, words, other), strict=True):
                found[name].append(_figures(late))
    return found


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


async def _talked(here: Town, seconds: float) -> tuple[list[float], list[float], list[float]]:
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
    return first, others, ended


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


async def _streamed(here: Town, seconds: float) -> list[float]:
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
    return late


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


async def _elsewhere(here: Town, url: str, seconds: float) -> list[float]:
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
    return found


def main() -> None:
    """Prints the table and writes all rounds beside it."""
    common.quieten()
    seconds, rounds = (_QUICK_SECONDS, 1) if common.quick() else (_SECONDS, _ROUNDS)
    found = asyncio.run(run(seconds, rounds))
    rows = [["", "p50 ms", "goal", "p99 ms", "goal", "of"]]
    for name, goals in _GOALS.items():
        seen = common.medians(found[name])
        p50, p99 = (f"{goal:.0f}" if goal else "-" for goal in goals)
        cells = [f"{seen['p50_ms']:.1f}", p50, f"{seen['p99_ms']:.1f}", p99]
        rows.append([name, *cells, f"{seen['count']:.0f}"])
    common.report("turns", rows, found)


if __name__ == "__main__":
    main()

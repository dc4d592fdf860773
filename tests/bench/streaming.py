"""How late a runtime's words reach Slack, and how many appends a reply costs: `make bench`.

Everything runs in this one process: the app, a database, the local Slack with its limits on, and
the local runtime. Figures are of one run on this machine, for comparison with the next one only.
"""

import asyncio
import json
import logging
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import structlog

from store.embedded import embedded_postgres, temporary_data_dir
from store.migrate import migrate
from tests.harness import TIMING, World, world
from tests.support import eventually

_APPENDS_A_MINUTE = 100  # docs.slack.dev/apis/web-api/rate-limits, tier 4
_SHOWING = ("chat.startStream", "chat.appendStream")
_COLUMNS = (
    "streams",
    "shown",
    "median ms",
    "p99 ms",
    "first ms",
    "appends/reply",
    "of tier",
    "429",
)


@dataclass(frozen=True, slots=True)
class Load:
    """So many answers at once, each said over so many seconds in two dozen fragments."""

    answers: int
    seconds: int


_LOADS = (Load(1, 24), Load(4, 12), Load(40, 12))


@dataclass(slots=True)
class Spoken:
    """When the runtime had said how much, by its session."""

    _said: defaultdict[str, list[tuple[float, int]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def listen(self, here: World) -> None:
        """Notes each fragment as the runtime sends it."""
        hub = here.runtime.world.hub
        send = hub.preview

        def preview(session_id: str, event_id: str, text: str) -> None:
            said = self._said[session_id]
            said.append((time.time(), (said[-1][1] if said else 0) + len(text)))
            send(session_id, event_id, text)

        hub.preview = preview  # type: ignore[method-assign]  # a tap, not a stand-in

    def when(self, session_id: str, length: int) -> float:
        """The time at which so many characters had been said."""
        return next(at for at, said in self._said[session_id] if said >= length)


@dataclass(frozen=True, slots=True)
class Figures:
    """What one load showed; `late` are seconds from the newest fragment to the call that shows it."""

    replies: int
    late: list[float]
    first: list[float]
    calls: Counter[str]
    busiest: int
    limited: int

    def row(self) -> tuple[str, ...]:
        """The figures as the table has them."""
        streams = self.calls["chat.startStream"]
        appends = self.calls["chat.appendStream"]
        return (
            f"{streams}/{self.replies}",
            str(len(self.late)),
            _milliseconds(statistics.median(self.late)),
            _milliseconds(_ninety_nine(self.late)),
            _milliseconds(statistics.median(self.first)),
            f"{appends / max(streams, 1):.1f}",
            f"{self.busiest / _APPENDS_A_MINUTE:.0%}",
            str(self.limited),
        )


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f}"


def _ninety_nine(values: list[float]) -> float:
    return sorted(values)[int(0.99 * (len(values) - 1))]


async def _measure(dsn: str, load: Load) -> Figures:
    async with world(dsn, limits=True) as here, here.app(timing=TIMING):
        spoken = Spoken()
        spoken.listen(here)
        here.runtime.hold()
        places = [here.slack.add_channel(f"place-{n}", ["ada"]) for n in range(10)]
        for n in range(load.answers):
            await here.slack.say("ada", places[n % 10], f"@threadline !slow {load.seconds}")
        await eventually(lambda: len(here.runtime.held()) == load.answers, 60)
        here.runtime.release()
        await eventually(lambda: _ended(here, load.answers), load.seconds + 60)
        await here.at_rest(60)
        return await _figures(here, spoken, load)


async def _ended(here: World, answers: int) -> bool:
    turns = await here.turns()
    return [turn["state"] for turn in turns] == ["completed"] * answers


async def _figures(here: World, spoken: Spoken, load: Load) -> Figures:
    sessions = {
        row["slack_thread_ts"]: row["anthropic_session_id"]
        for row in await here.rows(
            "SELECT slack_thread_ts, anthropic_session_id FROM agent_sessions"
        )
    }
    made = Counter(call.method for call in here.slack.calls)
    thread_of: dict[str, str] = {}
    shown: Counter[str] = Counter()
    late: list[float] = []
    first: list[float] = []
    appends: list[float] = []
    for call in here.slack.calls:
        if call.method not in _SHOWING or not call.answer.get("ok"):
            continue
        ts = call.answer["ts"]
        thread_of.setdefault(ts, str(call.args.get("thread_ts")))
        shown[ts] += sum(len(chunk.get("text", "")) for chunk in _chunks(call.args))
        delay = call.at - spoken.when(sessions[thread_of[ts]], shown[ts])
        (first if call.method == "chat.startStream" else late).append(delay)
        appends += [call.at] if call.method == "chat.appendStream" else []
    limited = sum(call.status == 429 for call in here.slack.calls)
    busiest = max((sum(t <= at < t + 60 for at in appends) for t in appends), default=0)
    return Figures(load.answers, late or [0.0], first or [0.0], made, busiest, limited)


def _chunks(args: dict[str, Any]) -> list[dict[str, Any]]:
    found = args["chunks"]
    parsed: list[dict[str, Any]] = json.loads(found) if isinstance(found, str) else found
    return parsed


async def _run() -> list[Figures]:
    found = []
    for load in _LOADS:
        with temporary_data_dir() as folder:
            async with embedded_postgres(folder, durable=False) as server:
                await migrate(server.dsn)
                found.append(await _measure(server.dsn, load))
    return found


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join("".join(f"{cell:>15}" for cell in row) for row in rows)


def main() -> None:
    """Prints the table. `streams`: of the answers; `late`: from newest fragment shown to the call."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    rows = [figures.row() for figures in asyncio.run(_run())]
    print(_table([_COLUMNS, *rows]))  # noqa: T201  # the table is what it is for


if __name__ == "__main__":
    main()

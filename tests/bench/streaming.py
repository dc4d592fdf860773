"""How late a runtime's words reach Slack, and how many appends a reply costs: `make bench`.

Everything runs in one process: the app, the local Slack with its limits on, and the local runtime;
PostgreSQL beside it. So the figures hold their work too, and are for comparison with other runs on
the same machine. A call counts when the local Slack has answered it.

streamed, edited: how many answers grew in a stream, or in a message that is edited since Slack's 20
starts a minute were spent; the others were posted whole. The times, in milliseconds:

first   the runtime's first fragment of an answer ▸ chat.startStream; of this, 700 ms are waited on
        purpose, since an answer that is whole by then is simply posted
event   a fragment that finds its stream at rest ▸ the append that shows it: what our work adds, and
        with many answers the wait for a permit, since Slack takes 100 appends a minute in all
word    any fragment ▸ the call that shows it; most wait until 0.4 s after the append before
end     the runtime's idle ▸ the call that puts the whole answer there, streamed or not
"""

import json
import math
import time
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from bot.local.model import Call
from bot.streams import _APPEND_GAP_SECONDS
from tests.bench import common
from tests.bench.common import Figures
from tests.harness import TIMING, World, world
from tests.support import eventually

# docs.slack.dev/apis/web-api/rate-limits, tiers 4 and 3
_APPENDS_A_MINUTE, _UPDATES_A_MINUTE = 100, 50
_PLACES = 10
_MEDIAN = 0.5
_START, _APPEND = "chat.startStream", "chat.appendStream"
_UPDATE, _POST = "chat.update", "chat.postMessage"
_GLUE = "\u2060"  # what breaks up a mention
_COLUMNS = {
    "streamed": "streamed",
    "edited": "edited",
    "first_ms": "first ms",
    "event_ms": "event ms",
    "event_p99_ms": "p99",
    "word_ms": "word ms",
    "word_p99_ms": "p99",
    "end_ms": "end ms",
    "end_p99_ms": "p99",
    "appends": "appends/stream",
    "tier": "of tier 4",
    "updates": "edits of tier 3",
    "limited": "429",
}


@dataclass(frozen=True, slots=True)
class Load:
    """So many answers at once, each said over so many seconds in two dozen fragments."""

    answers: int
    seconds: int

    @property
    def name(self) -> str:
        """The load in words."""
        return f"{self.answers} at once, {self.seconds} s"


_LOADS = [Load(1, 24), Load(4, 12), Load(40, 12)]


@dataclass(slots=True)
class Spoken:
    """What the runtime said in one session: where each fragment ends, and when it came."""

    text: str = ""
    ends: list[int] = field(default_factory=list)
    at: list[float] = field(default_factory=list)
    idle: float = 0.0

    def say(self, fragment: str) -> None:
        """The runtime sends this now."""
        self.text += fragment
        self.ends.append(len(self.text))
        self.at.append(time.time())

    def completed(self, shown: int, more: int) -> list[float]:
        """When each fragment was said whose last character is among these `more` characters."""
        first, last = bisect_right(self.ends, shown), bisect_right(self.ends, shown + more)
        return self.at[first:last]


@dataclass(slots=True)
class Shown:
    """What one message of Slack's shows of a session's text, and how late it was."""

    spoken: Spoken
    text: str = ""
    late: list[float] = field(default_factory=list)
    prompt: list[float] = field(default_factory=list)
    rests_from: float = math.inf

    def add(self, text: str, at: float) -> None:
        """A call showed more. Raises ValueError where that is not what the runtime said."""
        if not self.spoken.text.startswith(self.text + text):
            raise ValueError("the stream shows something else than the runtime said")
        said = self.spoken.completed(len(self.text), len(text))
        self.late += [at - one for one in said]
        self.prompt += [at - one for one in said[:1] if one > self.rests_from]
        self.rests_from = at + _APPEND_GAP_SECONDS
        self.text += text


def _listen(here: World) -> defaultdict[str, Spoken]:
    """Notes, by session, each fragment and each end as the runtime sends it."""
    heard: defaultdict[str, Spoken] = defaultdict(Spoken)
    hub = here.runtime.world.hub
    preview, publish = hub.preview, hub.publish

    def fragment(session_id: str, event_id: str, text: str) -> None:
        heard[session_id].say(text)
        preview(session_id, event_id, text)

    def said(session_id: str, events: Iterable[tuple[str, str]]) -> None:
        several = list(events)
        if any(kind == "session.status_idle" for kind, _ in several):
            heard[session_id].idle = time.time()
        publish(session_id, several)

    # taps, not stand-ins: what they hear is passed on
    hub.preview = fragment  # type: ignore[method-assign]
    hub.publish = said  # type: ignore[method-assign]
    return heard


async def measure(load: Load) -> Figures:
    """One run of a load, in a world of its own."""
    async with (
        common.database() as dsn,
        world(dsn, limits=True) as here,
        here.app(timing=TIMING),
    ):
        heard = _listen(here)
        here.runtime.hold()
        places = [here.slack.add_channel(f"place-{n}", ["ada"]) for n in range(_PLACES)]
        for n in range(load.answers):
            await here.slack.say("ada", places[n % _PLACES], f"@threadline !slow {load.seconds}")
        await eventually(lambda: len(here.runtime.held()) == load.answers, 60)
        here.runtime.release()
        await eventually(lambda: _ended(here, load.answers), load.seconds + 120)
        await here.at_rest(120)
        return _figures(here.slack.calls, await _by_thread(here, heard), load)


async def _ended(here: World, answers: int) -> bool:
    turns = await here.turns()
    return [turn["state"] for turn in turns] == ["completed"] * answers


async def _by_thread(here: World, heard: dict[str, Spoken]) -> dict[str, Spoken]:
    rows = await here.rows("SELECT slack_thread_ts, anthropic_session_id FROM agent_sessions")
    return {row["slack_thread_ts"]: heard[row["anthropic_session_id"]] for row in rows}


def _figures(calls: list[Call], spoken: dict[str, Spoken], load: Load) -> Figures:
    good = [call for call in calls if call.answer.get("ok")]
    streams = _streams(good, spoken)
    late = [seconds for one in streams.values() for seconds in one.late]
    first = [
        call.at - streams[call.answer["ts"]].spoken.at[0] for call in good if call.method == _START
    ]
    ends = _ends(good, spoken)
    end = [call.at - spoken[thread].idle for thread, call in ends.items()]
    appends = [call.at for call in good if call.method == _APPEND]
    updates = [call.at for call in good if call.method == _UPDATE]
    prompt = [seconds for one in streams.values() for seconds in one.prompt]
    return {
        "answers": load.answers,
        "streamed": len(streams),
        "edited": sum(c.method == _UPDATE and c.answer["ts"] not in streams for c in ends.values()),
        "fragments": len(late),
        **_milliseconds("first", first, _MEDIAN),
        **_milliseconds("event", prompt, _MEDIAN, 0.99),
        **_milliseconds("word", late, _MEDIAN, 0.99),
        **_milliseconds("end", end, _MEDIAN, 0.99),
        "appends": len(appends) / max(len(streams), 1),
        "tier": _busiest(appends) / _APPENDS_A_MINUTE,
        "updates": _busiest(updates) / _UPDATES_A_MINUTE,
        "limited": sum(call.status == 429 for call in calls),  # too many requests
    }


def _streams(calls: list[Call], spoken: dict[str, Spoken]) -> dict[str, Shown]:
    """The streamed messages by their ts; no answer is so long that it takes two."""
    streams: dict[str, Shown] = {}
    for call in calls:
        if call.method == _START:
            streams[call.answer["ts"]] = Shown(spoken[str(call.args["thread_ts"])])
        if call.method in (_START, _APPEND):
            text = "".join(chunk.get("text", "") for chunk in _chunks(call.args))
            streams[call.answer["ts"]].add(text.replace(_GLUE, ""), call.at)
    return streams


def _ends(calls: list[Call], spoken: dict[str, Spoken]) -> dict[str, Call]:
    """The calls that brought the whole answers: the last of each thread."""
    threads: dict[str, str] = {}
    found: dict[str, Call] = {}
    for call in calls:
        if call.method in (_START, _POST):
            threads[call.answer["ts"]] = str(call.args["thread_ts"])
        if call.method in (_POST, _UPDATE):
            found[threads[call.answer["ts"]]] = call
    if found.keys() != spoken.keys():
        raise ValueError(f"{len(found)} whole answers instead of {len(spoken)}")
    return found


def _chunks(args: dict[str, Any]) -> list[dict[str, Any]]:
    found = args["chunks"]
    parsed: list[dict[str, Any]] = json.loads(found) if isinstance(found, str) else found
    return parsed


def _busiest(times: list[float]) -> int:
    """The most calls of any minute."""
    return max((bisect_left(times, at + 60) - n for n, at in enumerate(times)), default=0)


def _milliseconds(name: str, seconds: list[float], *shares: float) -> Figures:
    """The percentiles by name; none where there was nothing to measure."""
    if not seconds:
        return {}
    names = [
        f"{name}_ms" if share == _MEDIAN else f"{name}_p{share * 100:.0f}_ms" for share in shares
    ]
    found = (common.percentile(seconds, share) * 1000 for share in shares)
    return {n: round(value, 1) for n, value in zip(names, found, strict=True)}


def _cells(load: Load, figures: Figures) -> list[str]:
    """A row of the table."""
    shown = {name: f"{value:.0f}" for name, value in figures.items()}
    shown["streamed"] = f"{figures['streamed']:.0f}/{figures['answers']:.0f}"
    shown["appends"] = f"{figures['appends']:.1f}"
    shown |= {name: f"{figures[name]:.0%}" for name in ("tier", "updates")}
    return [load.name, *(shown.get(name, "-") for name in _COLUMNS)]


def main() -> None:
    """Prints the table and writes all rounds beside it; `QUICK=1`: one short round."""
    common.quieten()
    count = 1 if common.quick() else 3
    loads = [Load(1, 14), Load(4, 7), Load(40, 7)] if common.quick() else _LOADS
    found = common.rounds({load.name: load for load in loads}, measure, count)
    rows = [_cells(load, common.medians(found[load.name])) for load in loads]
    common.report("streaming", [["at once", *_COLUMNS.values()], *rows], found)


if __name__ == "__main__":
    main()

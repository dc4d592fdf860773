"""What a turn says, as writes to Slack: a reply for each segment, cut where its preview was cut.

A turn that pauses for people says what it has to say so far, so that a card never stands without
the words that led to it, and what follows stands below it. Each pause is written once, by its key.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal, TypeAlias

from router.ports import Step
from router.turns.engine import Append, Engine, Holding, ending_of, reply, reply_key
from router.turns.project import Segment
from store import database, outbox, previews
from store.database import Connection
from store.holding import AtEnd
from store.outbox import Effect
from store.previews import Part
from store.turns import Turn

_LONG = 10_000  # to cut less takes less than 0.1 s
Cuts: TypeAlias = dict[tuple[str, str], list[str]]  # by text, and what stands before it


@dataclass(frozen=True, slots=True)
class Said:
    """All that a turn said, its segments, and its tool calls.

    `restarted`: what was shown live need not be a part of it. `interrupted`: it was cut short.
    """

    text: str
    segments: tuple[Segment, ...]
    steps: tuple[Step, ...]
    restarted: bool = False
    interrupted: bool = False


async def cut_long(engine: Engine, holding: Holding, turn: Turn, said: Said) -> Cuts:
    """A long answer, cut beside the loop and before the transaction that writes it.

    A megabyte takes seconds, and PostgreSQL ends a transaction that is idle for three, as the next
    holder's would be then. What `write` finds otherwise than it was here it cuts itself.
    """
    cuts: Cuts = {}
    if len(said.text) < _LONG:
        return cuts
    lease = holding.held.lease
    async with database.borrow(engine.pool) as connection:
        asked = keys(turn, said.segments)
        segment = _fresh(asked, set(await outbox.written(connection, lease, asked)), said.segments)
        parts = await previews.of_turn(connection, lease, turn.id)
    shown = [part for part in parts if part.slack_ts and not part.settled]
    if segment is not None and not (said.interrupted and shown):
        cut = _remembering(cuts, engine, holding)
        among = [] if said.restarted else shown
        await asyncio.to_thread(_pieces, cut, said.text, segment, among)
    return cuts


def _remembering(cuts: Cuts, engine: Engine, holding: Holding) -> Callable[..., list[str]]:
    def cut(markdown: str, *, after: str = "") -> list[str]:
        if (markdown, after) not in cuts:
            mentions = holding.behaviour.mentions
            cuts[markdown, after] = engine.conversation.parts(
                markdown, after=after, mentions=mentions
            )
        return cuts[markdown, after]

    return cut


async def write(  # noqa: PLR0913, PLR0917  # all that an answer is made of
    connection: Connection,
    engine: Engine,
    holding: Holding,
    turn: Turn,
    said: Said,
    there: AtEnd | None = None,
    cuts: Cuts | None = None,
) -> list[Effect]:
    """What is to be written of all that was said, in its segments; those written before are left.

    The messages of the preview are taken by this: nothing else is to be done about them. `there`:
    what was looked at already; without it, or where there is a preview, the caller has fenced.
    `cuts`: what was cut beforehand.
    """
    lease = holding.held.lease
    asked = keys(turn, said.segments)
    written = set(there.written) if there else await outbox.written(connection, lease, asked)
    segment = _fresh(asked, written, said.segments)
    if segment is None:
        return []
    previewed = there is None or there.previewed
    shown = await previews.settle(connection, lease, turn.id) if previewed else []
    if said.interrupted and shown:
        return stand(turn, shown, said.steps, segment.pause)
    cut = _remembering(cuts or {}, engine, holding)
    pieces = _pieces(cut, said.text, segment, [] if said.restarted else shown)
    if said.restarted:
        pieces = list(zip_longest([words for words, _ in pieces], shown))
    return _effects(holding, turn, segment, pieces, said.steps)


def keys(turn: Turn, segments: tuple[Segment, ...]) -> list[str]:
    """What says of each segment that it was written down: its first part, as an effect."""
    return [reply_key(turn.id, 0, segment.pause) for segment in segments]


def _fresh(asked: list[str], written: set[str], segments: tuple[Segment, ...]) -> Segment | None:
    """What was said since the last pause that was written down, as one segment."""
    known = max((n for n, key in enumerate(asked) if key in written), default=-1)
    fresh = segments[known + 1 :]
    if not fresh:
        return None
    return Segment(fresh[-1].pause, fresh[0].start, fresh[-1].end)


def _pieces(
    cut: Callable[..., list[str]], text: str, segment: Segment, shown: list[Part]
) -> list[tuple[str | None, Part | None]]:
    """The segment cut where its preview was cut; what does not fit there follows in new messages."""
    if not shown:
        words = text[segment.start : segment.end].strip("\n")
        return [(piece, None) for piece in cut(words)]
    said: list[tuple[str | None, Part | None]] = []
    for part, following in zip_longest(shown, shown[1:]):
        end = following.text_from if following else segment.end
        before, piece = text[: part.text_from], text[part.text_from : end]
        first, *more = cut(piece, after=before) or [""]
        said += [(first, part), *((m, None) for m in more)]
    return said


def _effects(
    holding: Holding,
    turn: Turn,
    segment: Segment,
    pieces: list[tuple[str | None, Part | None]],
    steps: tuple[Step, ...],
) -> list[Effect]:
    mentions, effects = holding.behaviour.mentions, []
    for n, (words, part) in enumerate(pieces):
        text = words or ""
        with_steps = steps if part and n == 0 else ()
        effect = reply(turn.id, n, text, with_steps, mentions, pause=segment.pause)
        fate: Literal["say", "stand", "go"] = "say" if text else "go" if n else "stand"
        effects.append(ending_of(part, effect, fate) if part else effect)
    return effects


def stand(
    turn: Turn, shown: list[Part], steps: tuple[Step, ...], pause: str | None = None
) -> list[Effect]:
    """Ends what was shown of an answer that was cut short; its words stay as they are."""
    unended = [p for p in shown if p.state == "open" or p.edited]
    return [
        ending_of(p, reply(turn.id, n, "", steps, pause=pause), "stand")
        for n, p in enumerate(unended)
    ]


async def let_stand(append: Append, turn: Turn, steps: tuple[Step, ...]) -> None:
    """Ends the streams of a turn that has no answer: what was shown stays."""
    shown = await previews.settle(append.connection, append.held.lease, turn.id)
    await append.say(stand(turn, shown, steps))

"""People who talk while things go wrong, and what came of what they said.

It is read back as people see it in Slack and as the runtime received it. A message is out of order if
it was sent although an earlier one of its thread had been accepted and not been sent: one that is
accepted later simply comes later.
"""

import asyncio
import random
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bot.local.model import Delivery, Message
from router.loops import wait_for
from tests.chaos.judges import CARDS, Judges
from tests.harness import World

PEOPLE = 60
_NEW_THREAD = 0.3
_SLOW = 0.1
_ESCALATES = 0.3
_NOTE = re.compile(r"note-\d{6}")


@dataclass(slots=True)
class Said:
    """One message, and when Slack had our 200 for it."""

    message: Message
    accepted_at: float | None = None


@dataclass(slots=True)
class Crowd:
    """People in direct messages of their own, who open threads and go on in them.

    `asking`: which share of their messages leads to a call or a question that they have to decide on.
    """

    here: World
    dice: random.Random
    asking: float = 0.0
    judges: Judges = field(init=False)
    said: dict[str, Said] = field(default_factory=dict)
    threads: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.judges = Judges(self.here, self.dice)

    def gather(self) -> None:
        """Makes them known to Slack."""
        for n in range(PEOPLE):
            self.here.slack.add_user(f"person{n}")

    async def speak(self) -> None:
        """Somebody says something, in a thread that there is or in a new one."""
        slack, dice = self.here.slack, self.dice
        note = f"note-{len(self.said):06}"
        known = self._open()
        asks = self.asking > 0 and dice.random() < self.asking
        if known and not asks and dice.random() > _NEW_THREAD:
            channel, root = dice.choice(known)
            person = next(
                p for p in map("person{}".format, range(PEOPLE)) if slack.dm(p) == channel
            )
            message = await slack.say(person, channel, note, thread_ts=root)
        else:
            person = f"person{dice.randrange(PEOPLE)}"
            channel = slack.dm(person)
            words = self._question(note) if asks else self._words(note)
            message = await slack.say(person, channel, words)
            root = message.ts
            self.threads.append((channel, root))
            if asks:
                self.judges.asked(person, channel, root)
        self.said[note] = Said(message)

    def _open(self) -> list[tuple[str, str]]:
        """Threads to go on in, some while a call waits; below a question it would be the answer."""
        return [one for one in self.threads[-2 * PEOPLE :] if self.judges.takes_more(one[1])]

    def _words(self, note: str) -> str:
        return f"!slow 2 {note}" if self.dice.random() < _SLOW else note

    def _question(self, note: str) -> str:
        escalates = self.dice.random() < _ESCALATES
        return f"!escalate Which one? | yes {note} | no" if escalates else f"!ask {note}"

    @asynccontextmanager
    async def talking(self, per_second: float) -> AsyncIterator[None]:
        """They talk while the block lasts."""
        over = asyncio.Event()

        async def talk() -> None:
            while not await wait_for(over, self.dice.expovariate(per_second)):
                await self.speak()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(talk())
            try:
                yield
            finally:
                over.set()

    # -------------------------------------------------------------- what came of it

    def note_answers(self) -> None:
        """Keeps when each message was first answered with 200; Slack's own record is bounded."""
        by_ts = {said.message.ts: said for said in self.said.values()}
        for delivery in self.here.slack.deliveries:
            said = by_ts.get(delivery.ts or "")
            if said is not None and said.accepted_at is None and delivery.ok:
                said.accepted_at = _answered_at(delivery)

    def accepted(self) -> set[str]:
        """The messages for which Slack has had our 200."""
        self.note_answers()
        return {note for note, said in self.said.items() if said.accepted_at is not None}

    async def report(self) -> dict[str, float]:
        """The figures."""
        accepted = self.accepted()
        received = Counter(note for notes in self._received() for note, _ in notes)
        shown = self._shown()
        return {
            "said": len(self.said),
            "accepted": len(accepted),
            "answered": len(accepted & shown.keys()),
            "lost": len(accepted - shown.keys()),
            "doubled": sum(n > 1 for n in received.values()) + sum(n > 1 for n in shown.values()),
            "out_of_order": self._torn() + await self._overtaken(),
        }

    def _received(self) -> list[list[tuple[str, float]]]:
        """What the runtime got, session by session, in order of receipt, and when it took it up."""
        runtime = self.here.runtime
        events = [runtime.received(session["id"]) for session in runtime.sessions()]
        return [
            [
                (note, datetime.fromisoformat(e["processed_at"]).timestamp())
                for e in one
                if e["type"] == "user.message"
                for note in _NOTE.findall(_said(e))
            ]
            for one in events
        ]

    def _shown(self) -> Counter[str]:
        """In how many messages of the bot each message is quoted, cards apart."""
        found: Counter[str] = Counter()
        for channel, root in self.threads:
            for post in self.here.shown(channel, root):
                if not post.startswith(CARDS):
                    found.update(set(_NOTE.findall(post)))
        return found

    def _torn(self) -> int:
        """Messages that were sent after later ones although they had been accepted before them."""
        return sum(
            self._first(early, late, sent_at)
            for notes in self._received()
            for place, (late, sent_at) in enumerate(notes)
            for early, _ in notes[place + 1 :]
        )

    def _first(self, early: str, late: str, sent_at: float) -> bool:
        """Whether the one was said before the other, and accepted before the other was sent.

        What was committed although Slack got no 200 may be sent before Slack comes again with it.
        """
        one, other = self.said[early], self.said[late]
        if one.accepted_at is None or other.accepted_at is None:
            return False
        in_time = one.accepted_at < min(sent_at, other.accepted_at)
        return one.message.ts < other.message.ts and in_time

    async def _overtaken(self) -> int:
        """Messages of a later turn that had been accepted when an earlier turn with later ones began."""
        turns: defaultdict[str, list[tuple[int, float, Said]]] = defaultdict(list)
        for row in await self.here.rows(_TURNS):
            (note,) = _NOTE.findall(row["text"])
            place = (row["number"], row["began"], self.said[note])
            turns[str(row["session_id"])].append(place)
        return sum(
            1
            for inputs in turns.values()
            for number, began, late in inputs
            for other, _, early in inputs
            if other > number
            and early.message.ts < late.message.ts
            and early.accepted_at is not None
            and early.accepted_at < began
        )


_TURNS = """
SELECT i.session_id, i.body ->> 'text' AS text, t.number,
       extract(epoch FROM t.started_at)::float AS began
FROM session_inputs i
JOIN agent_turns t ON t.deployed_agent_id = i.deployed_agent_id AND t.id = i.turn_id
WHERE i.kind = 'message'
"""


def _answered_at(delivery: Delivery) -> float:
    return delivery.at + delivery.ms / 1000


def _said(event: dict[str, Any]) -> str:
    """The words of a message without the record of its thread, which repeats what others said."""
    texts = (str(block.get("text")) for block in event["content"])
    return " ".join(text for text in texts if not text.startswith("[Earlier messages"))

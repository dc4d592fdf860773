"""People who press what the crowd's questions offer, and what came of their decisions.

They press in Slack; who sees that a press failed presses again. At the end each call has been decided
and the runtime was told once, as the row says.
"""

import random
from collections import Counter
from dataclasses import dataclass, field

from bot.local.model import SlackError
from tests.harness import World

CARDS = ("The agent wants to use", "The agent asks:")

_EAGER = 0.4
_DENIES = 0.2
_FIRST = {"Approve", "Deny"}
_ANSWERS = "yes "


@dataclass(slots=True)
class Judges:
    """Those who asked decide themselves. `waiting`: threads whose card was not seen to be decided.

    `seen`: those that had a card; `calls`: one of a call.
    """

    here: World
    dice: random.Random
    waiting: dict[str, tuple[str, str]] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    calls: set[str] = field(default_factory=set)
    failed_presses: int = 0

    def asked(self, person: str, channel: str, root: str) -> None:
        """Somebody's message will lead to a card in that thread."""
        self.waiting[root] = (person, channel)

    def takes_more(self, root: str) -> bool:
        """Whether what is said in that thread is a message of its own, and none that asks with it."""
        return root not in self.waiting or root in self.calls

    async def press(self, *, all_of_them: bool = False) -> None:
        """Some of them look at their card, and decide what they can."""
        for root, (person, channel) in list(self.waiting.items()):
            if not all_of_them and self.dice.random() > _EAGER:
                continue
            offered = [
                (ts, label)
                for ts, label in self.here.buttons(channel, root)
                if label in _FIRST or label.startswith(_ANSWERS)
            ]
            if offered:
                self.seen.add(root)
                if offered[0][1] in _FIRST:
                    self.calls.add(root)
                await self._press(person, offered)
            elif root in self.seen:
                del self.waiting[root]

    async def _press(self, person: str, offered: list[tuple[str, str]]) -> None:
        ts, label = offered[0]
        if len(offered) > 1 and self.dice.random() < _DENIES:
            ts, label = offered[-1]
        try:
            [pressed] = await self.here.click(person, ts, label)
            self.failed_presses += pressed.failure is not None
            if label == "Deny" and pressed.failure is None:
                await self._deny(person)
        except SlackError:  # the card was written anew before their eyes
            return

    async def _deny(self, person: str) -> None:
        views = self.here.open_views(person)
        if views and views[-1].body["submit"] is not None:
            sent = await self.here.slack.submit(person, views[-1].id, {"reason": "rather not"})
            self.failed_presses += sent.failure is not None

    # -------------------------------------------------------------- what came of it

    async def report(self) -> dict[str, float]:
        """The figures."""
        rows = await self.here.rows(_ASKED)
        told = Counter(self._told())
        once = {(row["call"], row["told"]) for row in rows if row["state"] in _DECIDED}
        return {
            "decided": sum(row["state"] in _DECIDED for row in rows),
            "confirmed_twice": sum(n > 1 for n in Counter(call for call, _ in told).values())
            + sum(n > 1 for n in told.values()),
            "told_wrongly": len(told.keys() ^ once),
            "undecided": sum(row["state"] not in (*_DECIDED, "void", "closed") for row in rows)
            + await self._waiting_turns(),
            "failed_presses": self.failed_presses,
        }

    async def undecided(self) -> int:
        """How many calls and questions nobody has decided yet."""
        rows = await self.here.rows(_ASKED)
        return sum(row["state"] == "pending" for row in rows)

    def _told(self) -> list[tuple[str, str]]:
        """What the runtime was told of each call."""
        runtime = self.here.runtime
        return [
            (str(e.get("tool_use_id") or e["custom_tool_use_id"]), str(e.get("result", "answer")))
            for session in runtime.sessions()
            for e in runtime.received(session["id"])
            if e["type"] in ("user.tool_confirmation", "user.custom_tool_result")
        ]

    async def _waiting_turns(self) -> int:
        found = await self.here.rows("SELECT FROM agent_turns WHERE state = 'awaiting_human'")
        return len(found)


_DECIDED = ("confirmed", "answered")
_ASKED = """
SELECT runtime_event_id AS call, state, verdict AS told FROM agent_approvals
UNION ALL
SELECT runtime_event_id, state, 'answer' FROM agent_escalations
"""

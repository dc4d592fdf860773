"""What people do in Slack, and the notes on it that the model judges by."""

import time
from typing import Literal

from bot.local import LocalSlack
from bot.local.model import Twins
from tests.chaos.model import Said, Stopped, Thread

Words = Literal["plain", "slow", "tool", "retrying", "ask", "long"]
PEOPLE = ("ada", "grace", "linus")
CHANNELS = ("general", "random", "private")

_MOST_EDITS = 9  # the number of an edit is one digit of a token
_LONG = "\n\n".join(f"This is sentence {n}, of more than one message can hold." for n in range(250))
_SAYS = {
    "plain": "{}",
    "slow": "!slow 20 {}",
    "tool": "!tool {}",
    "retrying": "!error retrying {}",
    "ask": "!ask {}",
    "long": f"!echo {{}} {_LONG}",
}


class People:
    """The threads there are, and what is said, changed, taken back and stopped in them."""

    def __init__(self, slack: LocalSlack) -> None:
        self.threads: list[Thread] = []
        self._slack = slack
        self._number = 0

    async def ask(self, where: str, words: Words, twins: Twins, duplicate: int) -> None:
        """Begins a thread: a mention in a channel, or a message in somebody's DM."""
        slack = self._slack
        person = where if where in PEOPLE else None
        channel = slack.dm(person) if person else slack.channels[where]
        said = Said(self._next(), "", person or "ada", addressed=True)
        thread = Thread(channel, "", person)
        message = await slack.say(
            said.author, channel, _text(thread, said, words), twins=twins, duplicate=duplicate
        )
        thread.root_ts = said.ts = message.ts
        thread.said.append(said)
        self.threads.append(thread)

    async def reply(self, which: int, who: int, words: Words, *, mention: bool) -> None:
        """Goes on in a thread, in a channel with a mention or without."""
        thread = self.threads[which % len(self.threads)]
        author = thread.person or PEOPLE[who % len(PEOPLE)]
        said = Said(self._next(), "", author, addressed=mention or thread.person is not None)
        message = await self._slack.say(
            author, thread.channel, _text(thread, said, words), thread_ts=thread.root_ts
        )
        said.ts = message.ts
        thread.said.append(said)

    async def edit(self, which: int, words: Words, twins: Twins) -> None:
        """Changes a message, answered or not; not twice in a second.

        The mention that Slack fires again for an edit tells its whole second only: of two within
        one, it does not say which it is.
        """
        found = self._changeable(which)
        if found is None or found[1].edited_in == int(time.time()):
            return
        thread, said = found
        said.edits += 1
        text = _text(thread, said, words)
        edited = await self._slack.edit(thread.channel, said.ts, text, twins=twins)
        assert edited.edited is not None
        said.edited_in = int(edited.edited["ts"].partition(".")[0])

    async def delete(self, which: int) -> None:
        """Takes a message back, though not the root of a thread that nobody else wrote in."""
        found = self._changeable(which)
        if found is None:
            return
        thread, said = found
        if said.ts != thread.root_ts or len(self._slack.replies(thread.channel, said.ts)) > 1:
            said.deleted = True
            await self._slack.delete(thread.channel, said.ts)

    async def halt(self, which: int, *, button: bool) -> None:
        """Stops a thread's turn by the button, where Slack shows one, or by the word."""
        thread, slack = self.threads[which % len(self.threads)], self._slack
        author = thread.person or "grace"
        known = slack.shown_status(thread.channel, thread.root_ts) is not None
        if button and (known or thread.person):
            await slack.stop(author, thread.channel, thread.root_ts)
            about = slack.envelopes(thread.root_ts)
            event = [e for e in about if e["event"]["type"] == "agent_session_stopped"][-1]
        else:
            word = await slack.say(author, thread.channel, "stop", thread_ts=thread.root_ts)
            (event,) = slack.envelopes(word.ts)
        thread.stops.append(Stopped(event["event"]["event_ts"], event["event_id"]))

    async def redeliver(self, which: int) -> None:
        """Slack delivers an event of a thread again, as if it had not seen our answer."""
        thread = self.threads[which % len(self.threads)]
        events = [e for s in thread.said for e in self._slack.envelopes(s.ts)]
        events += [e for s in thread.stops for e in self._slack.envelopes(s.event_id)]
        await self._slack.redeliver(events[which % len(events)]["event_id"])

    def _changeable(self, which: int) -> tuple[Thread, Said] | None:
        standing = [
            (thread, said)
            for thread in self.threads
            for said in thread.said
            if not said.deleted and said.edits < _MOST_EDITS
        ]
        return standing[which % len(standing)] if standing else None

    def _next(self) -> int:
        self._number += 1
        return self._number


def _text(thread: Thread, said: Said, words: Words) -> str:
    mention = "@threadline " if said.addressed and thread.person is None else ""
    return mention + _SAYS[words].format(said.tokens[-1])

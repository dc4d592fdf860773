"""What must be seen in the end, whatever went wrong on the way: a model of threads and messages.

Pure. `machine.py` does things to a real Threadline and notes here what people did; at the end it
hands over what the runtime received, what Slack shows and what Slack was answered, and `complaints`
says what of it breaks a promise. Every text carries a token of its own (`n0007v1`: the seventh
message, edited once), so that each is found wherever it went.

What an outside cannot know is taken from the rows, only where it can do no more than excuse: when a
turn began (its batch was chosen then), and which turn a stop named. What people decide on held calls
is judged by `model_decisions`.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bot import render
from router import notices
from router.notices import Trouble
from router.runtime.local import brain
from tests.chaos import model_decisions
from tests.chaos.model_decisions import Asked, Confirmation, Tried

TOKEN = re.compile(r"n\d{4}v\d")

# What a thread is told beside its answers while the runtime is away or in trouble.
_ASIDES = frozenset(
    notices.words(trouble)
    for trouble in (
        Trouble.RUNTIME_AWAY,
        Trouble.RUNTIME_LIMITED,
        Trouble.RUNTIME_OVERLOADED,
        Trouble.RUNTIME_BROKEN,
    )
)
_STOPPED = "Stopped"
_SEPARATOR = "\n\n"
_WAITS, _WAITED = "Your message waits until", "Nothing is waited for any more"
_SHORTEST_PART = 2_000
_MOST_QUOTED = 200


# ------------------------------------------------------------------ what people did


@dataclass(slots=True)
class Said:
    """A message, with the tokens of its texts, the newest last. `addressed`: in a DM or a mention."""

    number: int
    ts: str
    author: str
    addressed: bool
    edits: int = 0
    edited_in: int = 0
    deleted: bool = False

    @property
    def tokens(self) -> list[str]:
        return [f"n{self.number:04}v{n}" for n in range(self.edits + 1)]


@dataclass(slots=True)
class Stopped:
    """A stop: when it was asked for, and the event that told of it."""

    ts: str
    event_id: str


@dataclass(slots=True)
class Thread:
    """A thread and what people did in it, in order."""

    channel: str
    root_ts: str
    person: str | None
    said: list[Said] = field(default_factory=list)
    stops: list[Stopped] = field(default_factory=list)


# ------------------------------------------------------------------ what was seen of it


@dataclass(frozen=True, slots=True)
class Received:
    """A user.message at the runtime; its row was there at `kept_at`, its turn began at `began`."""

    token: str
    correction: bool
    turn: str
    kept_at: float
    began: float


@dataclass(frozen=True, slots=True)
class Turn:
    """What the runtime made of messages that it took up together; `says`: up to each of its pauses."""

    received: tuple[Received, ...]
    says: tuple[str, ...]
    interrupted: bool


@dataclass(frozen=True, slots=True)
class Post:
    """A message of the bot as people see it; `whole` with all that its blocks show."""

    text: str
    whole: str
    streaming: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """What a thread came to. `named`: the turns that accepted stops of it were for."""

    sessions: int
    received: tuple[Received, ...]
    turns: tuple[Turn, ...]
    posts: tuple[Post, ...]
    named: frozenset[str]
    asked: tuple[Asked, ...] = ()
    confirmed: tuple[Confirmation, ...] = ()
    told_to_wait: int = 0


# When Slack first had our 200, by token, `{ts} deleted`, or the event of a stop.
Answered = dict[str, float]


def deletion_of(said: Said) -> str:
    """The key of a deletion in `Answered`."""
    return f"{said.ts} deleted"


def answer_to(texts: Sequence[str], confirmed: Sequence[Confirmation]) -> tuple[str, ...]:
    """All that the brain says for the messages of one turn, before and after what it waits for."""
    said = [step for step in brain.script(texts) if isinstance(step, brain.Answer)]
    waiting = [call for step in said for call in step.calls if call.waits]
    before = _SEPARATOR.join(step.text for step in said if step.text.strip())
    if not waiting:
        return (before,)
    decided = [
        brain.Decision("allowed" if one.verdict == "allow" else "denied", call.name, one.message)
        for call, one in zip(waiting, confirmed, strict=False)
    ]
    return (before, brain.closing(decided).text) if decided else (before,)


# ------------------------------------------------------------------ what must hold


def complaints(
    thread: Thread, seen: Seen, answered: Answered, tried: Sequence[Tried] = ()
) -> Iterator[str]:
    """Every promise that what was seen of a thread breaks."""
    yield from _sessions(seen)
    received: dict[str, list[Received]] = {}
    for one in seen.received:
        received.setdefault(one.token, []).append(one)
    for said in thread.said:
        yield from _message(thread, said, received, answered)
    yield from _order(thread, seen, answered)
    yield from _turns(thread, seen)
    yield from _posts(seen)
    yield from model_decisions.complaints(seen.asked, seen.confirmed, tried)


def _sessions(seen: Seen) -> Iterator[str]:
    if seen.sessions > 1 or (seen.received and seen.sessions != 1):
        yield f"{seen.sessions} runtime sessions for one thread"


def _message(
    thread: Thread, said: Said, received: dict[str, list[Received]], answered: Answered
) -> Iterator[str]:
    """It is at the runtime once, as it read at that send; what came later is there as corrections."""
    sent = [one for token in said.tokens for one in received.get(token, [])]
    for token, count in Counter(one.token for one in sent).items():
        if count > 1:
            yield f"{token} was sent {count} times"
    originals = [one for one in sent if not one.correction]
    if len(originals) > 1:
        yield f"message {said.number} was sent {len(originals)} times"
    if not sent:
        if _must_be_sent(thread, said, answered):
            yield f"message {said.number} was accepted and not sent"
        return
    if not originals:
        yield f"of message {said.number} there are only corrections"
        return
    if sent[0].correction or [one.token for one in sent] != sorted(one.token for one in sent):
        yield f"message {said.number} was corrected out of order"
    yield from _as_it_read(said, originals[0], answered)
    newest = [token for token in said.tokens if token in answered]
    if newest and not said.deleted and max(newest) > max(one.token for one in sent):
        yield f"{max(newest)} never reached the runtime"


def _must_be_sent(thread: Thread, said: Said, answered: Answered) -> bool:
    """Whether it was accepted, by the thread's session, and nobody took it back."""
    if deletion_of(said) in answered:
        return False
    if said.addressed:
        return any(token in answered for token in said.tokens)
    return said.tokens[0] in answered and any(
        one.addressed and not one.deleted and one.tokens[0] in answered
        for one in thread.said
        if one.ts < said.ts
    )


def _as_it_read(said: Said, sent: Received, answered: Answered) -> Iterator[str]:
    """What had been answered before the batch was chosen is in the batch."""
    if answered.get(deletion_of(said), sent.began) < sent.began:
        yield f"message {said.number} was sent although it had been deleted"
    for token in said.tokens:
        if token > sent.token and answered.get(token, sent.began) < sent.began:
            yield f"{sent.token} was sent although it had been edited to {token}"


def _order(thread: Thread, seen: Seen, answered: Answered) -> Iterator[str]:
    """Nothing goes before an earlier message that waited for the same send."""
    ts = {token: said.ts for said in thread.said for token in said.tokens}
    line = [one for one in seen.received if not one.correction]
    for place, late in enumerate(line):
        for early in line[place + 1 :]:
            in_time = max(answered.get(early.token, late.began), early.kept_at) < late.began
            # One that was kept until its thread came was answered before it was in the queue.
            moved = early.kept_at > answered.get(early.token, 0.0)
            if ts[early.token] < ts[late.token] and in_time and not moved:
                yield f"{late.token} was sent before {early.token}, which waited"


def _turns(thread: Thread, seen: Seen) -> Iterator[str]:
    """A send is a turn of its own; a stop ends the turn that it was for and no other."""
    ts = {token: said.ts for said in thread.said for token in said.tokens}
    ours: list[str] = []
    for turn in seen.turns:
        numbers = {one.turn for one in turn.received}
        if len(numbers) > 1:
            yield f"turns {sorted(numbers)} were one at the runtime"
        ours += sorted(numbers)
        if not turn.interrupted:
            continue
        tokens = [one.token for one in turn.received]
        if not numbers & seen.named:
            yield f"the turn of {tokens} was interrupted by a stop for another one"
        # Slack may deliver a stop late; it was meant for what had been said before it.
        if not any(stop.ts > min(ts[token] for token in tokens) for stop in thread.stops):
            yield f"the turn of {tokens} was interrupted by a stop from before it"
    for turn_id, count in Counter(ours).items():
        if count > 1:
            yield f"turn {turn_id} was {count} turns at the runtime"


def _posts(seen: Seen) -> Iterator[str]:
    """One visible answer for each turn, in their order, and nothing else but asides, each once.

    Cards are judged for themselves; a turn that paused shows what it said until then in a post of its
    own, or in one with the rest where it had not got so far before it was decided.
    """
    yield from _waits(seen)
    asides = Counter(post.whole for post in seen.posts if _is_aside(post))
    yield from (f"told {count} times: {whole!r}" for whole, count in asides.items() if count > 1)
    shown = [p for p in seen.posts if not _is_aside(p) and not _is_of_people(p)]
    yield from (f"a stream was left open: {post.text!r}" for post in shown if post.streaming)
    for turn in seen.turns:
        tokens = [one.token for one in turn.received]
        left = _take(shown, turn.says)
        if turn.interrupted:
            if not shown or not shown.pop(0).text.startswith(_STOPPED):
                yield f"nobody was told that the turn of {tokens} was stopped: {_texts(seen)}"
                return
        elif left:
            yield f"the turn of {tokens} has not its answer in its place: {_texts(seen)}"
            return
    if shown:
        yield f"posts beside the answers: {[post.text[:_MOST_QUOTED] for post in shown]}, of {_texts(seen)}"


def _waits(seen: Seen) -> Iterator[str]:
    """Who was told that people are waited for is told that they are not any more."""
    told = [post.whole for post in seen.posts if post.whole.startswith((_WAITS, _WAITED))]
    if len(told) != seen.told_to_wait:
        yield f"told {len(told)} times to wait for people, not {seen.told_to_wait}"
    yield from (f"still told: {whole!r}" for whole in told if whole.startswith(_WAITS))


def _take(shown: list[Post], segments: tuple[str, ...]) -> str:
    """Takes away the posts that an answer is shown by; what they do not show of it.

    That is one post for each segment, or for several, or as many as it takes where the answer is too
    long for one.
    """
    says = _plain(_SEPARATOR.join(segments))
    is_long = len(says) > render.PART_LIMIT
    left = says
    for _ in range(len(says) // _SHORTEST_PART + 1 if is_long else len(segments)):
        text = _plain(shown[0].whole if is_long else shown[0].text) if shown else None
        if text is None or not left.startswith(text):
            break
        shown.pop(0)
        left = left[len(text) :].lstrip()
        if not left:
            break
    return left


def _is_aside(post: Post) -> bool:
    """Whether it tells of trouble with the runtime."""
    return post.text in _ASIDES


def _is_of_people(post: Post) -> bool:
    """Whether it is a card, or tells somebody that people are waited for."""
    return post.whole.startswith((model_decisions.CARD, _WAITS, _WAITED))


def _plain(text: str) -> str:
    return " ".join(text.split())


def _texts(seen: Seen) -> list[str]:
    return [post.text[:_MOST_QUOTED] for post in seen.posts]

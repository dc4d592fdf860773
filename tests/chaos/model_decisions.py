"""What must hold of calls that people decide on: a model of approvals. Pure, as `model.py` is.

Whoever tried to decide is noted with what they were told. At the end each call has its row, its card
and what the runtime was told, and these three and the notes must not contradict one another.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

CARD = "The agent wants to use"

# What a card says in the end, by the state of its row and the verdict.
_SAYS = {
    ("confirmed", "allow"): ("Approved by", "; the agent was told."),
    ("confirmed", "deny"): ("Denied by", "; the agent was told."),
    ("void", "allow"): ("Approved by", "; it came too late"),
    ("void", "deny"): ("Denied by", "; it came too late"),
    ("closed", None): ("Closed", "it needs no decision any more."),
}


@dataclass(frozen=True, slots=True)
class Tried:
    """Somebody's try at a decision; `told`: what the door said, None where that is not known."""

    approval: str
    user: str
    verdict: str
    told: str | None
    stranger: bool = False


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A user.tool_confirmation at the runtime."""

    call: str
    verdict: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """An approval at the end. `cards`: what its messages show; `buttons`: what they still offer."""

    id: str
    call: str
    state: str
    verdict: str | None
    decider: str | None
    posted: bool
    cards: tuple[str, ...]
    buttons: tuple[str, ...]


def complaints(
    asked: Sequence[Asked], confirmed: Sequence[Confirmation], tried: Sequence[Tried]
) -> Iterator[str]:
    """Every promise about decisions that is broken in a thread."""
    calls = {one.call for one in asked}
    yield from (f"{c.call} was confirmed unasked" for c in confirmed if c.call not in calls)
    for one in asked:
        yield from _told_once(one, [c for c in confirmed if c.call == one.call])
        yield from _decided_once(one, [t for t in tried if t.approval == one.id])
        yield from _card(one)


def _told_once(one: Asked, sent: Sequence[Confirmation]) -> Iterator[str]:
    """What was decided and taken is at the runtime once, as it was decided; nothing else is."""
    if len(sent) > 1:
        yield f"the call {one.call} was confirmed {len(sent)} times"
    if (one.state == "confirmed") != bool(sent):
        yield f"the call {one.call} is {one.state} with {len(sent)} confirmations"
    yield from (
        f"the call {one.call} was told {c.verdict}, decided {one.verdict}"
        for c in sent
        if c.verdict != one.verdict
    )


def _decided_once(one: Asked, tried: Sequence[Tried]) -> Iterator[str]:
    """It is as the one who was told so decided it; who may not decide did not."""
    winners = [t for t in tried if t.told == "decided"]
    if len(winners) > 1:
        yield f"{len(winners)} people were told that they decided {one.call}"
    yield from (
        f"a stranger was told {t.told} about {one.call}"
        for t in tried
        if t.stranger and t.told not in ("refused", None)
    )
    made = [(t.user, t.verdict) for t in tried if t.told in ("decided", None) and not t.stranger]
    if one.verdict is not None and (one.decider, one.verdict) not in made:
        yield f"{one.decider} is said to have decided {one.call}: {one.verdict}"
    if winners and (winners[0].user, winners[0].verdict) != (one.decider, one.verdict):
        yield f"{winners[0]} was forgotten: {one}"


def _card(one: Asked) -> Iterator[str]:
    """One card, if it ever came to that, that tells how it ended and offers nothing any more."""
    if len(one.cards) != int(one.posted):
        yield f"{len(one.cards)} cards of {one.call}"
    says = _SAYS.get((one.state, one.verdict))
    if says is None:
        yield f"{one.call} is not over: {one.state}, {one.verdict}"
        return
    for text in one.cards:
        if not all(words in text for words in says):
            yield f"the card of {one.call}, {one.state}, says {text!r}"
    if one.buttons:
        yield f"the card of {one.call} still offers {one.buttons}"

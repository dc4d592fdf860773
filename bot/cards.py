"""Pure: the card of an approval, of a question and of a message that waits, from their rows.

A card says what is so now, and has buttons only for what can be done now. What the agent, its tools
and people wrote is plain text; only ids and words of ours are more than that (bot.deciders).
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from bot import deciders
from bot.deciders import context, done
from bot.plain import Json, arguments, code, folded, line, plain, section, visible
from router.humans import Kind, Ref
from store.approvals import Approval
from store.escalations import Escalation

_BUTTON = 75
_TOOL = 100
_SECTION = 3_000
_SAID = 1_000
_CHOICES = 10
_PAIR = 32


@dataclass(frozen=True, slots=True)
class Card:
    """A message of ours: its words for notifications, escaped already, and its blocks."""

    text: str
    blocks: list[Json]


# ------------------------------------------------------------------ approvals


def approval(row: Approval, voters: list[dict[str, Any]], card_no: int) -> Card:
    """One card of an approval as its row is now."""
    name = line(row.name, _TOOL)
    blocks: list[Json] = [section(f"The agent wants to use {name}.")]
    text, hidden = folded(arguments(row.arguments))
    if text:
        blocks.append(code(text))
    if hidden:
        blocks.append(_more(hidden))
    blocks += _state(row, voters, card_no)
    if buttons := _buttons(row, card_no, folds=bool(hidden)):
        blocks.append({"type": "actions", "elements": buttons})
    return Card(f"Approval of {_word(name)}: {_in_a_word(row, card_no)}", blocks)


def _more(hidden: int) -> Json:
    return {"type": "context", "elements": [plain(f"… and {hidden} more characters.")]}


def _state(row: Approval, voters: list[dict[str, Any]], card_no: int) -> list[Json]:
    if card_no < row.card_no:
        return [context("Replaced: this call is asked about again on a newer card.")]
    asked = ", ".join(filter(None, map(deciders.person, row.requesters[:5])))
    asked_for = f"Asked for by {asked}." if asked else ""
    match row.state:
        case "pending":
            return [context(asked_for, *_open(row)), *_votes(row, voters)]
        case "expired":
            return [context(asked_for, "Nobody decided in time; it can be asked again.")]
        case _:
            word = "Why" if row.state == "closed" else "Reason"
            reason = [section(f"{word}: {_short(row.reason)}")] if row.reason else []
            return [context(asked_for, _decided(row, voters)), *reason]


def _open(row: Approval) -> list[str]:
    may = deciders.may(row.policy.get("who", ()), row.requesters)
    until = f"Open until {deciders.moment(row.expires_at)}." if row.expires_at else ""
    return [f"May decide: {may}.", until]


def _votes(row: Approval, voters: list[dict[str, Any]]) -> list[Json]:
    quorum = int(row.policy.get("quorum", 1))
    if quorum == 1:
        return []
    if not voters:
        return [context(f"It takes {quorum} people to approve; nobody has yet.")]
    return [context(f"Approved by {len(voters)} of {quorum}: {deciders.names(voters)}.")]


def _decided(row: Approval, voters: list[dict[str, Any]]) -> str:
    """What became of it: decided, told to the agent, too late, or settled elsewhere."""
    if row.verdict is None:
        return f"{done('Closed', row.decided_by, row.decided_at)}: it needs no decision any more."
    says = done("Approved" if row.verdict == "allow" else "Denied", row.decided_by, row.decided_at)
    last = (row.decided_by or {}).get("user")
    others = [one for one in voters if one.get("user") != last]
    if row.verdict == "allow" and others:
        says += f", with {deciders.names(others)}"
    match row.state:
        case "confirmed":
            return f"{says}; the agent was told."
        case "void":
            return f"{says}; it came too late, the call was not waiting any more."
        case _:
            return f"{says}; the agent is being told."


def _in_a_word(row: Approval, card_no: int) -> str:
    if card_no < row.card_no:
        return "asked again below"
    return {
        "pending": "somebody has to decide",
        "expired": "nobody decided in time",
        "void": "the decision came too late",
        "closed": "no decision is needed any more",
    }.get(row.state, "approved" if row.verdict == "allow" else "denied")


def _buttons(row: Approval, card_no: int, *, folds: bool) -> list[Json]:
    if card_no < row.card_no:
        return []
    value, name = Ref("approval", row.deployed_agent_id, row.id, card_no).opaque(), row.name
    view = [_button("approval.view", "View all", value, f"View all of {name}")] if folds else []
    match row.state:
        case "pending":
            return [*_deciding(row, value), *view]
        case "expired":
            again = _button("approval.again", "Ask again", value, f"Ask again about {name}")
            return [again, *view]
        case _:
            return view


def _deciding(row: Approval, value: str) -> list[Json]:
    name = row.name
    allow = _button("approval.allow", "Approve", value, f"Approve {name}")
    deny = _button("approval.deny", "Deny", value, f"Deny {name}")
    buttons = [allow | {"style": "primary"}, deny | {"style": "danger"}]
    remember = row.policy.get("remember", "no")
    if remember != "no":
        says = "Approve for this thread"
        always = _button("approval.remember", says, value, f"Approve {name} for this thread")
        buttons.append(always | {"confirm": _confirm(remember)})
    return buttons


def _confirm(remember: str) -> Json:
    whatever = "whatever its arguments" if remember == "tool" else "with these same arguments"
    return {
        "title": plain("Approve for this thread?"),
        "text": plain(f"The agent may then use this tool in this thread, {whatever}, unasked."),
        "confirm": plain("Approve"),
        "deny": plain("Go back"),
    }


# ------------------------------------------------------------------ escalations


def escalation(
    row: Escalation,
    home: str | None,
    *,
    elsewhere: bool,
    link: str | None = None,
    in_thread: bool = True,
) -> Card:
    """The card of a question as its row is now.

    `home`: the channel of the thread where it was asked, None where that is not Slack, and the `link`
    to it; `elsewhere`: this card stands in the escalation channel; `in_thread`: what is said below it
    answers it.
    """
    value = Ref("escalation", row.deployed_agent_id, row.id).opaque()
    text, hidden = folded(visible(row.context).strip())
    question, left = folded(visible(row.question).strip() or "…", _SECTION - 1)
    blocks: list[Json] = [section("The agent asks:"), section(question + ("…" if left else ""))]
    if text:
        blocks.append(section(text))
    if hidden or left:
        blocks.append(_more(hidden + left))
    origin = _origin(row, home, link) if elsewhere else ""
    if row.state == "pending":
        blocks.append(_asks(row, origin, in_thread=in_thread))
    else:
        blocks += _answered(row, origin)
    buttons = _answers(row, value) if row.state == "pending" else []
    if hidden or left:
        buttons.append(_button("escalation.view", "View all", value, "View the whole question"))
    if buttons:
        blocks.append({"type": "actions", "elements": buttons})
    return Card(_asks_in_a_word(row), blocks)


def _asks(row: Escalation, origin: str, *, in_thread: bool) -> Json:
    owner = deciders.called(row.policy.get("owner"), row.requesters)
    may = deciders.may(row.policy.get("who", ()), row.requesters)
    return context(
        f"{owner}: please answer." if owner else "",
        f"May answer: {may}{', by a button or a reply in this thread' if in_thread else ''}.",
        origin,
    )


def _origin(row: Escalation, home: str | None, link: str | None) -> str:
    asked = ", ".join(filter(None, map(deciders.person, row.requesters[:5])))
    place = f"Asked in {deciders.thread(home, link)}" if home else "Asked outside of Slack"
    return f"{place}, for {asked}." if asked else f"{place}."


def _answered(row: Escalation, origin: str) -> list[Json]:
    if row.state == "answered":
        says = done("Answered", row.decided_by, row.decided_at)
        answer = [section(f"Answer: {_short(row.answer)}")] if row.answer else []
        return [*answer, context(f"{says}.", origin)]
    if not (row.decided_by or {}).get("user"):
        says = done("Closed", row.decided_by, row.decided_at)
        return [context(f"{says}: it needs no answer any more.", origin)]
    says = done("Closed without an answer", row.decided_by, row.decided_at)
    return [context(f"{says}; the agent was told not to wait for one.", origin)]


def _asks_in_a_word(row: Escalation) -> str:
    match row.state:
        case "pending":
            return "The agent asks a question that a person has to answer."
        case "answered":
            return "The agent's question was answered."
        case _:
            return "The agent's question was closed without an answer."


def _answers(row: Escalation, value: str) -> list[Json]:
    """One button per choice, which names the choice by its place only."""
    chosen = [
        _button(f"escalation.choose.{place}", choice, f"{value}:{place}", f"Answer: {choice}")
        for place, choice in enumerate(row.choices[:_CHOICES])
    ]
    words = _button("escalation.answer", "Answer…", value, "Answer in your own words")
    nobody = _button("escalation.cancel", "Nobody can answer", value, "Close without an answer")
    return [*chosen, words, nobody | {"confirm": _sure()}]


def _sure() -> Json:
    return {
        "title": plain("Close this question?"),
        "text": plain("The agent is told that nobody will answer it."),
        "confirm": plain("Close it"),
        "deny": plain("Go back"),
    }


def became(row: Approval | Escalation) -> str:
    """What became of it, as a line for whoever was too late; empty while it is open."""
    if isinstance(row, Approval):
        return "" if row.state in ("pending", "expired") else _decided(row, [])
    if row.state == "pending":
        return ""
    word = "Answered" if row.state == "answered" else "Closed without an answer"
    return f"{done(word, row.decided_by, row.decided_at)}."


# ------------------------------------------------------------------ messages that wait


def waiting(agent_id: UUID, turn_id: UUID, for_what: Kind) -> Card:
    """Says to those who wrote meanwhile what their messages wait for, and how not to wait."""
    what = (
        "the call above is decided" if for_what == "approval" else "the question above is answered"
    )
    says = f"Your message waits until {what}."
    label = "Deny and read my message" if for_what == "approval" else "Close it, read my message"
    button = _button("course.change", label, packed(agent_id, turn_id), label)
    return Card(says, [section(says), {"type": "actions", "elements": [button]}])


def waited() -> Card:
    """The same once nothing is waited for any more."""
    says = "Nothing is waited for any more; your message is read next."
    return Card(says, [section(says)])


def reminder(row: Approval | Escalation) -> Card:
    """Says once more who is waited for, below the card that they can press."""
    who = deciders.may(row.policy.get("who", ()), row.requesters)
    if isinstance(row, Approval):
        name = line(row.name, _TOOL)
        says = f"Still to be decided, on the card above: may the agent use {name}?"
        until = f"Open until {deciders.moment(row.expires_at)}." if row.expires_at else ""
        text = f"Still to be decided: may the agent use {_word(name)}?"
        return Card(text, [section(says), context(f"May decide: {who}.", until)])
    question, _ = folded(visible(row.question).strip() or "…", _SAID)
    owner = deciders.called(row.policy.get("owner"), row.requesters)
    asks = f"{owner}: please answer." if owner else f"May answer: {who}."
    blocks = [section("Still without an answer:"), section(question), context(asks)]
    return Card("The agent still waits for an answer to its question.", blocks)


def packed(agent_id: UUID, turn_id: UUID) -> str:
    """A turn as one string that says nothing to anybody else."""
    return base64.urlsafe_b64encode(agent_id.bytes + turn_id.bytes).decode().rstrip("=")


def unpacked(value: str) -> tuple[UUID, UUID]:
    """The reverse, agent and turn. ValueError for anything that is none of ours."""
    try:
        raw = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    except (binascii.Error, ValueError):
        raise ValueError("no turn of ours") from None
    if len(raw) != _PAIR:
        raise ValueError("no turn of ours")
    return UUID(bytes=raw[:16]), UUID(bytes=raw[16:])


# ------------------------------------------------------------------ parts


def _button(action_id: str, label: str, value: str, says: str) -> Json:
    return {
        "type": "button",
        "action_id": action_id,
        "text": plain(line(label, _BUTTON)),
        "value": value,
        "accessibility_label": line(says, _BUTTON),
    }


def _short(text: str | None) -> str:
    shown, hidden = folded(visible(text or "").strip(), _SAID)
    return f"{shown}…" if hidden else shown


def _word(name: str) -> str:
    """A name in a text that is markup: escaped, and nothing that notifies or links."""
    for sign, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        name = name.replace(sign, entity)
    return name

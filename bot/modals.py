"""Pure: the forms that buttons open (docs.slack.dev/surfaces/modals).

`private_metadata` is what the button named, and nothing else: who submits is checked anew.
"""

import json

from bot.deciders import context
from bot.plain import Json, arguments, code, folded, line, pieces, plain, section, visible
from store.approvals import Approval
from store.escalations import Escalation

DENY, ANSWER = "approval.deny", "escalation.answer"
REASON, TEXT = "reason", "answer"
_TITLE = 24
_NAME = 100
_PIECE = 2_900
_MOST_PIECES = 90
_MOST_BYTES = 200_000  # of 250,000 that a view may have
_REASON_LENGTH = 1_000
_ANSWER_LENGTH = 3_000
_QUESTION = 2_900


def deny(row: Approval, value: str) -> Json:
    """Asks why; saying nothing is allowed."""
    element = {
        "type": "plain_text_input",
        "action_id": REASON,
        "multiline": True,
        "max_length": _REASON_LENGTH,
    }
    reason = {
        "type": "input",
        "block_id": REASON,
        "optional": True,
        "label": plain("Reason"),
        "hint": plain("The agent is told, and it stands on the card."),
        "element": element,
    }
    asks = section(f"The agent will not use {line(row.name, _NAME)} this time.")
    text, _ = folded(arguments(row.arguments))
    which = [code(text)] if text else []
    return _modal("Deny", [asks, *which, reason], value, DENY, "Deny")


def answer(row: Escalation, value: str) -> Json:
    """Asks for an answer in somebody's own words."""
    question = visible(row.question).strip() or "…"
    cut = question if len(question) <= _QUESTION else question[: _QUESTION - 1] + "…"
    element = {
        "type": "plain_text_input",
        "action_id": TEXT,
        "multiline": True,
        "max_length": _ANSWER_LENGTH,
    }
    field = {"type": "input", "block_id": TEXT, "label": plain("Answer"), "element": element}
    return _modal("Answer", [section(cut), field], value, ANSWER, "Send")


def call(row: Approval) -> Json:
    """A call with all its arguments."""
    asks = section(f"The agent wants to use {line(row.name, _NAME)} with:")
    return _modal("The whole call", [asks, *_whole(arguments(row.arguments))])


def question(row: Escalation) -> Json:
    """A question with all its context."""
    text = visible(row.question)
    if row.context:
        text += f"\n\n{visible(row.context)}"
    return _modal("The whole question", _whole(text))


def notice(title: str, text: str, beside: str = "") -> Json:
    """Tells one person something; `beside` is a line of `bot.deciders`."""
    return _modal(title, [section(text), *([context(beside)] if beside else [])])


def _whole(text: str) -> list[Json]:
    """All of a text, as far as a view can hold it; what is left out is said."""
    blocks: list[Json] = []
    size = left = 0
    for piece in pieces(text, _PIECE):
        block = code(piece)
        size += len(json.dumps(block))
        if left or len(blocks) >= _MOST_PIECES or size > _MOST_BYTES:
            left += len(piece)
        else:
            blocks.append(block)
    if left:
        blocks.append(section(f"{left} more characters do not fit into this window."))
    return blocks


def _modal(
    title: str, blocks: list[Json], value: str = "", callback_id: str = "", submit: str = ""
) -> Json:
    view = {
        "type": "modal",
        "title": plain(title[:_TITLE]),
        "close": plain("Go back" if submit else "Close"),
        "blocks": blocks,
        "private_metadata": value,
        "callback_id": callback_id,
    }
    return view | {"submit": plain(submit)} if submit else view

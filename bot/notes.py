"""What one person alone is told about something that they pressed or sent, and that was not taken."""

from dataclasses import dataclass
from uuid import UUID

from bot import cards, deciders, modals
from bot.install import KnownInstall
from bot.plain import Json
from bot.presses import Press
from router import notices
from router.humans import Outcome
from router.notices import Trouble, words
from store.outbox import Effect, Place

_TITLE = "Not decided"
# They have no eyes of their own, or none any more.
_UNTOLD = frozenset({"bot", "deactivated"})
_REFUSED = {
    "external": Trouble.NOT_FOR_OUTSIDERS,
    "guest": Trouble.NOT_FOR_GUESTS,
    "unknown": Trouble.NOT_FOUND_OUT,
}


@dataclass(frozen=True, slots=True)
class Note:
    """A trouble, what it befell, and a line of `bot.deciders` beside it."""

    trouble: Trouble
    of: UUID
    beside: str = ""


def note_of(outcome: Outcome, user_id: str) -> Note | None:
    """What that person is told; None where the card says it all, or nobody would read it."""
    asked = outcome.asked
    if outcome.kind not in ("refused", "late") or asked is None or outcome.why in _UNTOLD:
        return None
    if outcome.kind == "late" and (_is_theirs(outcome, user_id) or asked.state == "pending"):
        return None
    return Note(_trouble(outcome), asked.id, _beside(outcome))


def refusal(outcome: Outcome) -> Json:
    """The same in place of a form."""
    return modals.notice(_TITLE, words(_trouble(outcome)), _beside(outcome))


def unproven() -> Json:
    """A form about nothing that is known here."""
    return modals.notice(_TITLE, words(Trouble.NO_SUCH_CARD))


def effect(note: Note, press: Press) -> Effect:
    """A note in the outbox, once per press."""
    body = notices.about(note.trouble, note.of).body() | {
        "user": press.user_id,
        "beside": note.beside,
    }
    return Effect(f"note:{press.user_id}:{press.message_ts}:{press.action_ts}", "private", body)


def nowhere(press: Press, install: KnownInstall) -> Place:
    """Where a press of nobody knows what was made: it belongs to no session."""
    row = install.row
    root = press.thread_ts or press.message_ts
    return Place(
        deployed_agent_id=row.id,
        workspace_id=row.workspace_id,
        session_id=None,
        install_id=row.id,
        slack_conversation_key=f"{row.api_app_id}:{row.tenant_id}:{press.channel_id}:{root}",
        channel_id=press.channel_id,
        thread_ts=press.thread_ts,
    )


def _trouble(outcome: Outcome) -> Trouble:
    if outcome.kind != "refused":
        return Trouble.DECIDED_ALREADY
    return _REFUSED.get(outcome.why, Trouble.NOT_YOURS_TO_DECIDE)


def _beside(outcome: Outcome) -> str:
    asked = outcome.asked
    if asked is None or outcome.why == "unknown":
        return ""
    if outcome.kind == "refused":
        return f"May decide: {deciders.may(asked.policy['who'], asked.requesters)}."
    return cards.became(asked)


def _is_theirs(outcome: Outcome, user_id: str) -> bool:
    """Whether it was decided by the same person: a double click."""
    return ((outcome.asked and outcome.asked.decided_by) or {}).get("user") == user_id

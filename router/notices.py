"""Every sentence of ours that a person may read.

A message about trouble is made by `about`, from one table, and nowhere else: what happened, what to
do about it, and a reference. The reference stands in the log line that `about` writes, and in those
of whatever went wrong, so that an admin who is given it finds both. What is no trouble (a greeting,
a place in the queue, who stopped a turn) is a plain sentence without one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog

from router.troubles import WORDS, Trouble, Words
from store.ids import reference_of

__all__ = ["WORDS", "Trouble", "Words"]

_log = structlog.get_logger(__name__)

_LONGEST_NAME = 100
_MOST_NAMED = 10
_KILO = 1024


_ANEW = "The conversation then starts anew, without its earlier context."

# ------------------------------------------------------------------ trouble


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence, and where it is about trouble, the reference that finds it in the logs.

    `private`: for its author alone.
    """

    text: str
    reference: str | None = None
    private: bool = False

    def body(self) -> dict[str, str | None]:
        """As it is kept in the outbox."""
        return {"text": self.text, "reference": self.reference}


def words(
    trouble: Trouble, *, anew: bool = False, files: Sequence[tuple[str, int]] = (), **names: str
) -> str:
    """What a person is told of a trouble. `anew`: the runtime session is gone with it.

    `names` (tool, server) and those of `files`, with their sizes, were chosen by others: they are cut
    to a length.
    """
    said = WORDS[trouble]
    plain = {"tool": "a tool", "server": "a connected service", "who": "one of those named below"}
    plain |= {"what": "a message", "reason": "without a reason", "files": _listed(files)}
    plain |= {key: _plainly(name) for key, name in names.items() if name}
    text = f"{said.happened} {said.do}".format_map(plain)
    return f"{text} {_ANEW}" if anew else text


def about(
    trouble: Trouble,
    of: UUID,
    *,
    anew: bool = False,
    files: Sequence[tuple[str, int]] = (),
    **names: str,
) -> Notice:
    """The message about a trouble. `of` is what it befell, a turn, an input, a session.

    Its reference is in the log line that is written here, and in those that name the same.
    """
    reference = reference_of(of)
    logged = {key: name for key, name in names.items() if key != "what"}  # somebody's words
    _log.info("trouble.told", trouble=str(trouble), reference=reference, of=str(of), **logged)
    text = words(trouble, anew=anew, files=files, **names)
    return Notice(text, reference, private=WORDS[trouble].private)


def at_end(reason: str, error: Mapping[str, Any] | None, of: UUID) -> Notice:
    """What a person is told when the runtime ended a turn with that stop reason.

    `error` is the last `session.error` that the runtime did not get over by itself: it says why.
    """
    ended = named(reason, Trouble.UNKNOWN_END)
    if ended not in (Trouble.RETRIES_EXHAUSTED, Trouble.TERMINATED):
        return about(ended, of)
    cause = error or {}
    why = named(str(cause.get("type")), ended)
    anew = ended is Trouble.TERMINATED
    return about(why, of, anew=anew, server=str(cause.get("mcp_server_name") or ""))


def named(name: str, otherwise: Trouble) -> Trouble:
    """The trouble of that name; `otherwise` for names that are newer than this table."""
    try:
        return Trouble(name)
    except ValueError:
        return otherwise


def _listed(files: Sequence[tuple[str, int]]) -> str:
    """Files by name and size, as many as can be read."""
    named = [f"“{_plainly(name)}” ({in_words(size)})" for name, size in files[:_MOST_NAMED]]
    if (more := len(files) - len(named)) > 0:
        named.append(f"{more} more")
    if len(named) > 1:
        named[-2:] = [f"{named[-2]} and {named[-1]}"]
    return ", ".join(named) or "a file"


def in_words(size: int) -> str:
    """So many bytes, as people say it."""
    if size < _KILO:
        return f"{size} bytes"
    if size < _KILO**2:
        return f"{size / _KILO:.0f} kB"
    return f"{size / _KILO**2:.1f} MB"


def _plainly(name: str) -> str:
    plain = "".join(c for c in name if c.isprintable() and c != "`")
    return plain if len(plain) <= _LONGEST_NAME else plain[: _LONGEST_NAME - 1] + "…"


# ------------------------------------------------------------------ no trouble

HELP = (
    "Hello! Mention me together with what you need, or write to me directly. "
    "I answer in the thread; replies there need no mention."
)
HELLO = (
    "Thanks for having me! Mention me with what you need and I answer in a thread; "
    "replies in that thread need no mention."
)
WAITING = (
    "I am still working on an earlier message of this thread. Yours is number {place} of those that "
    "wait; they are taken up together."
)
MUTED = "Muted: here I only answer when mentioned. Write `unmute` to change that."
NEVER_MUTED = "In a direct message everything is for me, so I answer it: there is nothing to mute."
UNMUTED = "Unmuted: I follow this thread again; replies need no mention."


def stopped(by: str | None, done: list[str]) -> str:
    """What a thread is told when somebody stopped the turn: who, and which steps had finished."""
    who = f"Stopped by {by}." if by else "Stopped."
    if not done:
        return f"{who} No step had finished."
    return f"{who} Finished before that: {', '.join(done)}."


# ------------------------------------------------------------------ to the agent


def unserved_result(tool: str) -> str:
    """What the agent is told about a custom tool that nobody serves."""
    return f"The tool {tool} is not connected in this deployment. Do not call it again."

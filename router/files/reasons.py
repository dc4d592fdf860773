"""Why a file was not brought along, said to the person who shared it and to the agent. Pure."""

from collections.abc import Sequence

from router.errors import FileReason
from router.files.kinds import FILE_BYTES, FILES

_SHOWN = 10
_NAME = 80
_WHY: dict[FileReason, str] = {
    "too_large": f"it is larger than {FILE_BYTES // 1024**2} MB",
    "too_many": f"only {FILES} files of a message are read",
    "deleted": "it is no longer in Slack",
    "no_access": "Slack does not let this app read it",
    "foreign_host": "it is kept outside of Slack",
    "unreadable": "what Slack sent could not be read",
    "failed": "Slack did not hand it over, after several tries",
    "not_taken": "the agent's runtime did not take it",
}


def to_agent(name: str, reason: FileReason) -> str:
    """The line of a message that tells its agent of a file which is not there."""
    return f"[attached file: {shown(name)}; it could not be brought along: {_WHY[reason]}]"


def to_person(refused: Sequence[tuple[str, FileReason]]) -> str:
    """One sentence for all files of a message that were not brought along."""
    named = [f"“{shown(name)}” ({_WHY[reason]})" for name, reason in refused[:_SHOWN]]
    if (more := len(refused) - len(named)) > 0:
        named.append(f"{more} more")
    files = " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)
    return f"I could not read {files}; the rest of your message was taken in."


def shown(name: str) -> str:
    """A file's name on one line, short enough to be read, without what could end a quotation."""
    plain = "".join(c if c.isprintable() and c not in "[]“”" else "_" for c in name).strip()
    plain = plain or "file"
    return plain if len(plain) <= _NAME else f"{plain[: _NAME - 1]}…"

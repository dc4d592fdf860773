"""Pure: the access tokens in a Cookie header, as Supabase's clients write them.

A session stands in `sb-<project>-auth-token`, or in pieces in `….0`, `….1` and so on (pieces of
3,180 characters, github.com/supabase/ssr, src/utils/chunker.ts), as JSON or as `base64-` and the
base64url of that JSON; the JSON is an object with an `access_token`, or from older clients a list
that begins with it.
"""

import base64
import json
import re
from itertools import islice
from urllib.parse import unquote, urlsplit

_NAME = re.compile(r"sb-(?P<project>.+)-auth-token(?:\.(?P<piece>0|[1-9][0-9]?))?")
_BASE64 = "base64-"
_MOST_SESSIONS = 4


def access_tokens(cookies: str, project: str | None = None) -> list[str]:
    """Every project's access token, `project`'s first; never more than four, and none checked.

    Browsers send the cookies of all projects that were ever opened on a host, whatever its port:
    which of the tokens is good for us only its signature says. Of two cookies of one name the first
    counts, as browsers send the more specific path first.
    """
    sessions: dict[str, dict[str, str]] = {}
    for name, value in _pairs(cookies):
        if known := _NAME.fullmatch(name):
            pieces = sessions.setdefault(known["project"], {})
            pieces.setdefault(known["piece"] or "", value)
    ordered = sorted(sessions, key=lambda each: each != project)
    found = (_token(_joined(sessions[each])) for each in ordered)
    return list(islice((token for token in found if token), _MOST_SESSIONS))


def project_of(supabase_url: str) -> str:
    """What the cookies of that project are named after: the first label of its host."""
    return (urlsplit(supabase_url).hostname or "").partition(".")[0]


def _pairs(cookies: str) -> list[tuple[str, str]]:
    halves = (pair.partition("=") for pair in cookies.split(";"))
    return [(name.strip(), _plain(value.strip())) for name, _, value in halves]


def _plain(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = value[1:-1]
    return unquote(value, errors="replace")


def _joined(pieces: dict[str, str]) -> str:
    """The whole cookie if it has a value, else its pieces up to the first that is missing."""
    if whole := pieces.get(""):
        return whole
    joined: list[str] = []
    while piece := pieces.get(str(len(joined))):
        joined.append(piece)
    return "".join(joined)


def _token(session: str) -> str | None:
    """The access token of a session, or None for whatever else may stand in a cookie."""
    try:
        value = json.loads(_decoded(session))
    except (ValueError, RecursionError):
        return None
    if isinstance(value, list):
        value = {"access_token": value[0]} if value else {}
    token = value.get("access_token") if isinstance(value, dict) else None
    return token if isinstance(token, str) else None


def _decoded(session: str) -> str:
    if not session.startswith(_BASE64):
        return session
    encoded = session.removeprefix(_BASE64)
    padding = "=" * (-len(encoded) % 4)
    return base64.b64decode(encoded + padding, altchars=b"-_", validate=True).decode()

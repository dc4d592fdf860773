"""What a link's text does not say of where the link leads. Pure.

Read as browsers read it (url.spec.whatwg.org), since that is where a click ends.
"""

import re
import unicodedata
from contextlib import suppress
from urllib.parse import quote, unquote

JOINER = "\u2060"  # WORD JOINER: shows nothing and allows no line break

_LABEL_CHARACTERS = 100
_AUTHORITY = re.compile(r"(?:(?:https?|ftp|wss?):[/\\]*|[/\\]{2,})([^/?#]*)", re.IGNORECASE)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?!\d)")
_BARE_HOST = re.compile(r"\w[\w-]*(?:\.[\w-]+)+(?=[:/?#]|$)")
_NAMED = re.compile(r"\w[\w-]*(?:\.[\w-]+)+")
_MARKUP = re.compile(rf"[\\*~`{JOINER}]")


def hidden(destination: str, text: str) -> str | None:
    """The host, or address, that a link's text does not name; None where there is none, or it does.

    ASCII letters alone, and nothing that Markdown or Slack would take for markup.
    """
    labels = [label for label in _labels(destination.replace(JOINER, "")) if label]
    said = _MARKUP.sub("", text).strip().casefold()
    # marks that show nothing may turn the order of letters
    odd = len(labels) > 1 or any(unicodedata.category(c) == "Cf" for c in said)
    if not labels or (not odd and _names(said, labels[0].casefold())):
        return None
    return ", ".join(labels)


def _names(said: str, label: str) -> bool:
    """The first host that the text names is the one; an address must be all that it says."""
    if "@" in label or ":" in label:
        return said.removeprefix("mailto:") == label
    first = _NAMED.search(said)
    return first is not None and first[0].removeprefix("www.") == label.removeprefix("www.")


def _labels(destination: str) -> list[str]:
    """Browsers take a backslash for a slash, other programs do not: where they differ, both."""
    one, other = _label(destination), _label(destination.replace("\\", "/"))
    return [one] if one == other else [one, other]


def _label(destination: str) -> str:
    destination = "".join(c for c in destination if c > " ")
    if found := _AUTHORITY.match(destination):
        return _host(found[1])
    if found := _SCHEME.match(destination):
        rest = destination.partition("?")[0]
        rest = rest[len("mailto:") :] if found[1].casefold() == "mailto" else rest
        return _shown(unquote(rest).lstrip("@"), ":@/")
    bare = _BARE_HOST.match(destination)
    return _host(bare[0]) if bare else ""


def _host(authority: str) -> str:
    """What would be connected to, without a port, in letters that look like no others."""
    host = unquote(authority.rpartition("@")[2])
    host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    host = unicodedata.normalize("NFKC", host).strip(".").casefold()
    with suppress(UnicodeError):  # no name that could be looked up is shown as it is written
        host = host.encode("idna").decode()
    return _shown(host, ":")


def _shown(label: str, safe: str) -> str:
    plain = quote(label, safe=safe + "+", errors="replace")
    return plain if len(plain) <= _LABEL_CHARACTERS else "..." + plain[-_LABEL_CHARACTERS:]

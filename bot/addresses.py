"""Which addresses are Slack's: what comes from, or goes to, any other is neither fetched nor sent."""

import re
from urllib.parse import quote

from yarl import URL

from router.errors import FileRefused

Origin = tuple[str, str, int]

_ORIGIN = re.compile(
    r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?(?=[/?#]|$)", re.IGNORECASE
)
_SLACK = re.compile(r"(?:[a-z0-9_-]+\.)*slack\.com")
_PRINTABLE = "".join(chr(n) for n in range(0x21, 0x7F))
_PORTS = {"http": 80, "https": 443}


def origin(api_url: str) -> Origin | None:
    """Scheme, host and port; files may come from the very server that plays Slack, if one does."""
    found = _ORIGIN.match(api_url)
    if found is None:
        return None
    scheme, host = found[1].lower(), found[2].lower()
    return scheme, host, int(found[3] or _PORTS[scheme])


def judged(address: str, home: Origin | None) -> URL:
    """The address as it will be connected to, if that is Slack's: https, no user, no other port.

    Raises FileRefused. Whatever two programs could read in two ways is a stranger's.
    """
    plain = quote(address, safe=_PRINTABLE)
    found = _ORIGIN.match(plain)
    if found is None or "\\" in plain:
        raise FileRefused("foreign_host")
    scheme, host = found[1].lower(), found[2].lower()
    port = int(found[3] or _PORTS[scheme])
    slacks = scheme == "https" and port == _PORTS["https"] and _SLACK.fullmatch(host)
    if not slacks and (scheme, host, port) != home:
        raise FileRefused("foreign_host", host)
    authority = host if port == _PORTS[scheme] else f"{host}:{port}"
    try:
        url = URL(f"{scheme}://{authority}{plain[found.end() :]}", encoded=True)
    except ValueError as error:
        raise FileRefused("foreign_host") from error
    if (url.scheme, url.raw_host, url.port, url.user) != (scheme, host.strip("[]"), port, None):
        raise FileRefused("foreign_host", host)
    return url

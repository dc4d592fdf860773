"""Pure: which pages may use a person's cookie to change something (cross-site request forgery).

A browser adds the cookie to requests that any page makes; a page cannot forge Origin, Referer or
Sec-Fetch-Site. Bearer tokens and API keys are added by programs, so nothing is asked of those.
"""

from collections.abc import Iterable
from typing import Self, TypeAlias
from urllib.parse import urlsplit

from router.errors import ConfigurationError

_PORTS = {"http": 80, "https": 443}
_OWN_SITES = frozenset({"same-origin", "none"})

Origin: TypeAlias = tuple[str, str, int]
"""Scheme, host, port."""


class Origins:
    """The origins of our own pages and of those that were named as trusted."""

    def __init__(self, public: Origin | None, trusted: Iterable[Origin]) -> None:
        self._public = public
        self._trusted = frozenset(trusted)

    @classmethod
    def parse(cls, public_url: str | None, cors_origins: str | None) -> Self:
        """From THREADLINE_PUBLIC_URL and THREADLINE_CORS_ORIGINS; ConfigurationError if wrong."""
        listed = [each.strip() for each in (cors_origins or "").split(",") if each.strip()]
        trusted = [_named("THREADLINE_CORS_ORIGINS", each, bare=True) for each in listed]
        public = _named("THREADLINE_PUBLIC_URL", public_url) if public_url else None
        return cls(public, trusted)

    def trusts(self, origin: str | None) -> bool:
        """Whether it is one of THREADLINE_CORS_ORIGINS."""
        return origin is not None and _origin(origin) in self._trusted

    def may_write(
        self, *, host: str | None, origin: str | None, referer: str | None, site: str | None
    ) -> bool:
        """Whether a page from there may change something with the cookie of who looks at it.

        `site` is Sec-Fetch-Site: it must speak of our own page, unless the origin is trusted.
        """
        came_from = _origin(origin if origin is not None else referer or "")
        if came_from is None:
            return False
        if came_from in self._trusted:
            return True
        if site is not None and site not in _OWN_SITES:
            return False
        return came_from == self._public or self._is_own(came_from, host)

    def _is_own(self, origin: Origin, host: str | None) -> bool:
        """Whether it is the host that was asked; its scheme is unknown behind a proxy."""
        return host is not None and _origin(f"{origin[0]}://{host}") == origin


def _origin(url: str) -> Origin | None:
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or port is None or "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname, port


def _named(variable: str, url: str, *, bare: bool = False) -> Origin:
    origin = _origin(url)
    if origin is None or (bare and urlsplit(url).path):
        wanted = "https://a.example[,…]" if bare else "a URL such as https://threadline.example"
        raise ConfigurationError(f"{variable}: expected {wanted}")
    return origin

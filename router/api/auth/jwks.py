"""The public keys that a Supabase project signs with, cached, fetched no more often than needed."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from router import clock
from router.api.problems import unavailable

_log = structlog.get_logger(__name__)

# Supabase's edge keeps the answer for ten minutes (supabase.com/docs/guides/auth/signing-keys), so
# to ask more often for keys that were taken back would find nothing out.
_FRESH_SECONDS = 600.0
_KEPT_SECONDS = 24 * 3600.0
_AGAIN_SECONDS = 5.0
_AFTER_FAILURE_SECONDS = 30.0
_FETCH_SECONDS = 3.0
_MOST_BYTES = 64 * 1024
_RSA_BITS = 2048
_ALGORITHMS = {"EC": "ES256", "RSA": "RS256"}


@dataclass(frozen=True, slots=True)
class _Known:
    """What the last answer held, and when it came."""

    keys: dict[str, jwt.PyJWK]
    at: float


class _Unreadable(Exception):
    """An answer that is no set of keys."""


class Jwks:
    """The keys at `url`. A key is good for one algorithm, which it brings with it."""

    def __init__(
        self,
        url: str,
        http: aiohttp.ClientSession,
        *,
        now: Callable[[], float] = clock.monotonic,
    ) -> None:
        self._url, self._http, self._now = url, http, now
        self._known: _Known | None = None
        self._asked_at: float | None = None
        self._answered = False
        self._one_at_a_time = asyncio.Lock()

    async def key(self, kid: str) -> jwt.PyJWK | None:
        """The key of that id, or None if the project has none; Problem unavailable if unknown.

        An id that is not known makes us ask again, at most every five seconds and once for all who
        wait. While the project does not answer, the keys of the last answer are good for a day.
        """
        key = self._key(kid)
        if key is not None and (self._one_at_a_time.locked() or not self._is_old()):
            return key
        await self._refresh(kid)
        if (key := self._key(kid)) is None and not self._answered:
            raise unavailable("The keys that sessions are signed with cannot be read.", 5)
        return key

    def _key(self, kid: str) -> jwt.PyJWK | None:
        if self._known is None or self._now() - self._known.at > _KEPT_SECONDS:
            return None
        return self._known.keys.get(kid)

    def _is_old(self) -> bool:
        """Whether keys that are known should be looked at again."""
        return self._known is None or self._now() - self._known.at > _FRESH_SECONDS

    def _is_due(self, kid: str) -> bool:
        """Whether anything can have changed since we last asked."""
        if self._asked_at is None:
            return True
        wait = _AGAIN_SECONDS
        if self._key(kid) is not None:
            if not self._is_old():
                return False
            wait = _AGAIN_SECONDS if self._answered else _AFTER_FAILURE_SECONDS
        return self._now() - self._asked_at >= wait

    async def _refresh(self, kid: str) -> None:
        async with self._one_at_a_time:
            if not self._is_due(kid):
                return
            try:
                keys = await self._fetch()
            except (aiohttp.ClientError, OSError, _Unreadable) as error:
                self._answered = False
                _log.warning("jwks.unreadable", url=self._url, error=repr(error))
            else:
                self._answered = True
                self._known = _Known(keys, self._now())
                _log.info("jwks.read", url=self._url, keys=len(keys))
            # Not set when we are cancelled: whoever waits then asks in our place.
            self._asked_at = self._now()

    async def _fetch(self) -> dict[str, jwt.PyJWK]:
        request = self._http.get(
            self._url,
            allow_redirects=False,
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=_FETCH_SECONDS),
        )
        async with request as response:
            if response.status != 200:  # noqa: PLR2004  # HTTP's own number
                raise _Unreadable(f"status {response.status}")
            raw = bytearray()
            async for piece in response.content.iter_any():
                raw += piece
                if len(raw) > _MOST_BYTES:
                    raise _Unreadable("too long")
        return usable_keys(bytes(raw))


def usable_keys(raw: bytes) -> dict[str, jwt.PyJWK]:
    """The keys of a set (RFC 7517) that sessions may be signed with, by their ids.

    Passed over is everything but public keys for ES256 on P-256 and for RS256 of at least 2,048
    bits: PyJWT itself looks at neither `use` nor `key_ops`, and takes symmetric and private keys.
    """
    try:
        parsed = json.loads(raw)
    except (ValueError, RecursionError):
        raise _Unreadable("no JSON") from None
    listed = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(listed, list):
        raise _Unreadable("no list of keys")
    keys: dict[str, jwt.PyJWK] = {}
    for each in listed:
        kid = each.get("kid") if isinstance(each, dict) else None
        if isinstance(kid, str) and kid not in keys and (key := _usable(each)) is not None:
            keys[kid] = key
    return keys


def _usable(jwk: dict[str, Any]) -> jwt.PyJWK | None:
    kty = jwk.get("kty")
    algorithm = _ALGORITHMS.get(kty) if isinstance(kty, str) else None
    if algorithm is None or not _is_for_sessions(jwk, algorithm):
        return None
    try:
        key = jwt.PyJWK(jwk, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, LookupError):
        return None
    return key if _is_strong(key.key) else None


def _is_for_sessions(jwk: dict[str, Any], algorithm: str) -> bool:
    """Whether it is meant to verify signatures of just that algorithm."""
    operations = jwk.get("key_ops", ["verify"])
    return (
        jwk.get("use", "sig") == "sig"
        and jwk.get("alg", algorithm) == algorithm
        and isinstance(operations, list)
        and "verify" in operations
    )


def _is_strong(key: object) -> bool:
    if isinstance(key, EllipticCurvePublicKey):
        return isinstance(key.curve, SECP256R1)
    return isinstance(key, RSAPublicKey) and key.key_size >= _RSA_BITS

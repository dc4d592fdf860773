"""Supabase's access tokens: who they prove, if they prove anybody.

https://supabase.com/docs/guides/auth/jwts says what stands in them, RFC 8725 what to look out for.
"""

import hashlib
import json
import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias

import aiohttp
import jwt
from jwt.algorithms import HMACAlgorithm

from router import clock
from router.api.auth.jwks import Jwks
from router.api.problems import Problem, unauthenticated
from router.errors import ConfigurationError
from router.settings import Settings

VARIABLES = ("SUPABASE_URL", "SUPABASE_JWT_SECRET")
"""Either of them is enough to know people by."""

_MOST_BYTES = 8 * 1024
_LEEWAY_SECONDS = 10
_AUDIENCE = "authenticated"
_SECRET_BYTES = 32
_LONGEST_SUBJECT = 255
_LONGEST_KID = 255
_MOST_KNOWN = 10_000
# PyJWT allows padding; three parts without it leave exactly one way to write a token.
_TOKEN = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
_URL = re.compile(r"https?://[^\s/?#@]+(/[^\s?#]*)?")

_Key: TypeAlias = bytes | jwt.PyJWK


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says: whose it is and until when, in seconds since 1970."""

    sub: str
    exp: int
    email: str | None


@dataclass(frozen=True, slots=True)
class _Proof:
    """A key and the one algorithm that it is good for."""

    key: _Key
    algorithm: Literal["HS256", "ES256", "RS256"]


@dataclass(frozen=True, slots=True)
class _Verified:
    """What a token said when it was verified, and by which key; `kid` where that was published."""

    claims: Claims
    key: _Key
    kid: str | None


class Verifier:
    """Verifies tokens, by a shared secret, by the project's public keys, or by both.

    With both, the token's algorithm says by which; a secret only ever verifies HS256, a public key
    only its own algorithm, so that neither passes for the other. A token that was good is known by
    its hash until it expires, or its key is published no more.
    """

    def __init__(self, *, secret: str | None, jwks: Jwks | None, issuer: str | None) -> None:
        self._secret = None if secret is None else _hmac_key(secret)
        self._jwks = jwks
        self._issuer = issuer
        self._known: OrderedDict[bytes, _Verified] = OrderedDict()

    @classmethod
    def from_settings(cls, settings: Settings, http: aiohttp.ClientSession) -> Self | None:
        """As SUPABASE_URL and SUPABASE_JWT_SECRET say; None without either."""
        url, secret = settings.supabase_url, settings.supabase_jwt_secret
        if url is None and secret is None:
            return None
        issuer = None if url is None else _issuer(url)
        return cls(
            secret=None if secret is None else secret.get_secret_value(),
            jwks=None if issuer is None else Jwks(f"{issuer}/.well-known/jwks.json", http),
            issuer=issuer,
        )

    async def verify(self, token: str) -> Claims:
        """What the token proves; Problem unauthenticated, or unavailable while nobody can tell."""
        if len(token) > _MOST_BYTES:
            raise _refused("is too long")
        if not token.isascii():
            raise _refused("is malformed")
        name = hashlib.sha256(token.encode()).digest()
        known = self._known.get(name)
        if known is not None and await self._is_good(known):
            self._known.move_to_end(name)
            return known.claims
        self._known.pop(name, None)
        if not _TOKEN.fullmatch(token):
            raise _refused("is malformed")
        header = _header(token)
        proof = await self._proof(header)
        claims = _claims(self._decoded(token, proof))
        kid = None if proof.algorithm == "HS256" else header["kid"]
        self._known[name] = _Verified(claims, proof.key, kid)
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return claims

    async def _is_good(self, known: _Verified) -> bool:
        """Whether the whole of a token's verification would find the same again."""
        if clock.now().timestamp() >= known.claims.exp + _LEEWAY_SECONDS:
            return False
        if known.kid is None or self._jwks is None:
            return True
        return await self._jwks.key(known.kid) is known.key

    async def _proof(self, header: dict[str, Any]) -> _Proof:
        """What the header's algorithm and key id name; nothing else in it leads to a key."""
        # We understand no extension, and a critical one must be understood (RFC 7515, 4.1.11).
        if "crit" in header or "b64" in header:
            raise _refused("is malformed")
        match header.get("alg"):
            case "HS256" if self._secret is not None:
                return _Proof(self._secret, "HS256")
            case "ES256" | "RS256" as algorithm if self._jwks is not None:
                return await self._public(self._jwks, header.get("kid"), algorithm)
            case _:
                raise _refused("is signed in a way that is not accepted")

    @staticmethod
    async def _public(jwks: Jwks, kid: object, algorithm: Literal["ES256", "RS256"]) -> _Proof:
        if not isinstance(kid, str) or not 0 < len(kid) <= _LONGEST_KID:
            raise _refused("names no key")
        key = await jwks.key(kid)
        if key is None or key.algorithm_name != algorithm:
            raise _refused("is signed with a key that is not known")
        return _Proof(key, algorithm)

    def _decoded(self, token: str, proof: _Proof) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                proof.key,
                algorithms=[proof.algorithm],
                audience=_AUDIENCE,
                issuer=self._issuer,
                leeway=_LEEWAY_SECONDS,
                # A clock ahead of ours is no reason to refuse: `iat` is for the record.
                options={"require": ["exp", "sub", "aud"], "verify_iat": False},
            )
        except jwt.ExpiredSignatureError:
            raise _refused("has expired") from None
        except jwt.ImmatureSignatureError:
            raise _refused("is not valid yet") from None
        except (jwt.InvalidAudienceError, jwt.InvalidIssuerError):
            raise _refused("is not meant for this service") from None
        except jwt.MissingRequiredClaimError:
            raise _refused("is no session of a person") from None
        except jwt.InvalidSignatureError:
            raise _refused("is not signed as it should be") from None
        except jwt.PyJWTError:
            raise _refused("is malformed") from None


def _refused(why: str) -> Problem:
    return unauthenticated(f"The access token {why}.")


def _header(token: str) -> dict[str, Any]:
    """The header, in which nothing may stand twice: readers differ in which of the two counts."""
    try:
        raw = jwt.utils.base64url_decode(token.partition(".")[0])
        header = json.loads(raw, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise _refused("is malformed") from None
    if not isinstance(header, dict):
        raise _refused("is malformed")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands twice")
    return members


def _claims(payload: dict[str, Any]) -> Claims:
    """The claims that count; PyJWT takes numbers in quotes, and names that no column can hold."""
    sub, exp, email = payload["sub"], payload["exp"], payload.get("email")
    if not all(_is_number(payload.get(time, 0)) for time in ("exp", "nbf")):
        raise _refused("is malformed")
    if not 0 < len(sub) <= _LONGEST_SUBJECT or not sub.isprintable():
        raise _refused("is malformed")
    return Claims(sub, int(exp), email if isinstance(email, str) and email else None)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _issuer(url: str) -> str:
    """Who issues the project's tokens; its keys are found below."""
    if not _URL.fullmatch(url):
        raise ConfigurationError("SUPABASE_URL: expected a URL such as https://project.supabase.co")
    return f"{url.rstrip('/')}/auth/v1"


def _hmac_key(secret: str) -> bytes:
    """The secret as HS256 takes it (RFC 7518, 3.2: as long as the hash, or longer)."""
    try:
        key = HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret)
    except jwt.InvalidKeyError:
        raise ConfigurationError("SUPABASE_JWT_SECRET: it is a public key, no secret") from None
    if len(key) < _SECRET_BYTES:
        raise ConfigurationError("SUPABASE_JWT_SECRET: expected at least 32 bytes")
    return key

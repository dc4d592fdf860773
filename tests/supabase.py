"""Supabase for tests: keys, the tokens they sign, and a server that publishes them."""

import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any, TypeAlias

import jwt
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

SECRET = "a secret that only Supabase and this service know"
ISSUER = "https://project.supabase.co/auth/v1"
SUBJECT = "3f0e3c1e-9f0a-4a58-9d3e-4a1f6b0f5a11"

PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def claims(**other: Any) -> dict[str, Any]:
    """What stands in a session's token (supabase.com/docs/guides/auth/jwt-fields); None leaves out."""
    now = int(time.time())
    usual = {
        "iss": ISSUER,
        "sub": SUBJECT,
        "aud": "authenticated",
        "exp": now + 3600,
        "iat": now,
        "email": "ada@example.com",
        "role": "authenticated",
        "session_id": "b1b0e2c0-0000-4000-8000-000000000000",
        "is_anonymous": False,
    }
    return {name: value for name, value in (usual | other).items() if value is not None}


def shared(secret: str = SECRET, **other: Any) -> str:
    """A token signed with the project's secret."""
    return jwt.encode(claims(**other), secret, "HS256")


def it_is(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """So late it is from now on, for this service and for PyJWT."""

    class Stopped:
        @staticmethod
        def now(tz: tzinfo) -> datetime:
            return datetime.fromtimestamp(seconds, tz)

    monkeypatch.setattr("jwt.api_jwt.datetime", Stopped)
    monkeypatch.setattr("router.clock.now", lambda: Stopped.now(UTC))


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key of the project, and what it publishes of it."""

    kid: str
    private: PrivateKey
    algorithm: str

    @classmethod
    def es256(cls, kid: str) -> "SigningKey":
        return cls(kid, ec.generate_private_key(ec.SECP256R1()), "ES256")

    @classmethod
    def rs256(cls, kid: str, bits: int = 2048) -> "SigningKey":
        return cls(kid, rsa.generate_private_key(65537, bits), "RS256")

    def jwk(self, **other: Any) -> dict[str, Any]:
        """The public half, as the project publishes it; None leaves a member out."""
        if isinstance(self.private, rsa.RSAPrivateKey):
            public = RSAAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        else:
            public = ECAlgorithm.to_jwk(self.private.public_key(), as_dict=True)
        usual = {"kid": self.kid, "alg": self.algorithm, "use": "sig", "key_ops": ["verify"]}
        return {name: each for name, each in (public | usual | other).items() if each is not None}

    def pem(self) -> bytes:
        """The public half, as attackers find it."""
        return self.private.public_key().public_bytes(
            Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
        )

    def token(self, header: dict[str, Any] | None = None, **other: Any) -> str:
        """A token signed with it."""
        headers = {"kid": self.kid} | (header or {})
        return jwt.encode(claims(**other), self.private, self.algorithm, headers=headers)


def b64(value: bytes | str | dict[str, Any]) -> str:
    """One part of a token."""
    if isinstance(value, dict):
        value = json.dumps(value)
    raw = value.encode() if isinstance(value, str) else value
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forged(header: str | dict[str, Any], sign: Callable[[bytes], bytes], **other: Any) -> str:
    """A token with just that header, signed in just that way."""
    signed = f"{b64(header)}.{b64(claims(**other))}"
    return f"{signed}.{b64(sign(signed.encode()))}"


@dataclass(slots=True)
class JwksServer:
    """What the project publishes; `answer` replaces it by anything."""

    keys: list[dict[str, Any]] = field(default_factory=list)
    answer: Callable[[], Any] | None = None
    asked: int = 0
    url: str = ""

    def publish(self, *keys: SigningKey) -> None:
        """These keys and no others."""
        self.keys = [key.jwk() for key in keys]

    async def _get(self, _request: web.Request) -> web.StreamResponse:
        self.asked += 1
        if self.answer is not None:
            answered = self.answer()
            response: web.StreamResponse = (
                answered if isinstance(answered, web.StreamResponse) else await answered
            )
            return response
        return web.json_response({"keys": self.keys})


@asynccontextmanager
async def jwks_server(*keys: SigningKey) -> AsyncIterator[JwksServer]:
    """A project that publishes those keys, until the end of the block."""
    server = JwksServer()
    server.publish(*keys)
    app = web.Application()
    app.router.add_get("/auth/v1/.well-known/jwks.json", server._get)
    async with TestServer(app) as listening:
        server.url = str(listening.make_url("")).rstrip("/")
        yield server

"""Which tokens a verifier knows: from the settings, and those that come again."""

import json
import time
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from router.api.auth import tokens
from router.api.auth.jwks import Jwks
from router.api.auth.tokens import Claims, Verifier
from router.errors import ConfigurationError
from router.settings import Settings
from tests.logs import real_logs
from tests.supabase import (
    ISSUER,
    SECRET,
    SUBJECT,
    JwksServer,
    SigningKey,
    it_is,
    shared,
)
from tests.unit.test_api_tokens import EC, RSA, by_both, http, jwks, refused, server, subject

__all__ = ["by_both", "http", "jwks", "server"]  # the fixtures


async def test_a_token_is_verified_once_and_another_for_itself():
    verifier = Verifier(secret=SECRET, jwks=None, issuer=ISSUER)
    known, new = shared(), shared(email="bob@example.com")
    first = await verifier.verify(known)
    verifier._secret = b"another secret, so that no signature is good" * 2
    assert await verifier.verify(known) is first
    assert "is not signed as it should be" in await refused(verifier, new)
    tampered = known[:-2] + ("AA" if known[-2:] != "AA" else "BB")
    assert "is not signed as it should be" in await refused(verifier, tampered)


async def test_a_known_token_expires(monkeypatch: pytest.MonkeyPatch):
    verifier = Verifier(secret=SECRET, jwks=None, issuer=ISSUER)
    now = int(time.time())
    token = shared(exp=now)
    it_is(monkeypatch, now + 9.9)  # within the leeway
    assert await subject(verifier, token) == SUBJECT
    assert len(verifier._known) == 1
    it_is(monkeypatch, now + 10)
    assert "has expired" in await refused(verifier, token)
    assert not verifier._known


async def test_a_known_token_ends_with_its_key(server: JwksServer, http: aiohttp.ClientSession):
    now = [0.0]
    url = f"{server.url}/auth/v1/.well-known/jwks.json"
    verifier = Verifier(secret=None, jwks=Jwks(url, http, now=lambda: now[0]), issuer=ISSUER)
    token = EC.token()
    for _ in range(3):
        assert await subject(verifier, token) == SUBJECT
    assert server.asked == 1
    server.publish(RSA)
    now[0] = 601.0
    assert "with a key that is not known" in await refused(verifier, token)
    server.publish(SigningKey.es256(EC.kid))
    now[0] = 1300.0
    assert "is not signed as it should be" in await refused(verifier, token)


async def test_only_so_many_tokens_are_known(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tokens, "_MOST_KNOWN", 2)
    verifier = Verifier(secret=SECRET, jwks=None, issuer=ISSUER)
    first, second, third = (shared(sub=name) for name in ("a", "b", "c"))
    for token in (first, second, first, third):
        await verifier.verify(token)
    assert {each.claims.sub for each in verifier._known.values()} == {"a", "c"}


# ------------------------------------------------------------------ settings and secrecy


async def test_the_settings_say_what_is_verified(server: JwksServer, http: aiohttp.ClientSession):
    issuer = f"{server.url}/auth/v1"
    url = Settings(supabase_url=server.url + "/")
    secret = Settings(supabase_jwt_secret=SecretStr(SECRET))
    both = Settings(supabase_url=server.url, supabase_jwt_secret=SecretStr(SECRET))
    by_url, by_secret, by_both = (
        Verifier.from_settings(settings, http) for settings in (url, secret, both)
    )
    assert by_url is not None
    assert by_secret is not None
    assert by_both is not None
    assert Verifier.from_settings(Settings(), http) is None
    assert await subject(by_url, EC.token(iss=issuer)) == SUBJECT
    assert await subject(by_both, shared(iss=issuer)) == SUBJECT
    assert await subject(by_secret, shared(iss="https://anywhere.example")) == SUBJECT
    assert "not meant" in await refused(by_url, EC.token())
    assert "not meant" in await refused(by_both, shared())


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"supabase_url": "my-project.example"}, "SUPABASE_URL"),
        ({"supabase_url": "ftp://project"}, "SUPABASE_URL"),
        ({"supabase_url": "https:///path"}, "SUPABASE_URL"),
        ({"supabase_url": "https://p.supabase.co?x"}, "SUPABASE_URL"),
        ({"supabase_url": "https://user:password@p.supabase.co"}, "SUPABASE_URL"),
        ({"supabase_jwt_secret": "too short to be a secret"}, "SUPABASE_JWT_SECRET.*32 bytes"),
        ({"supabase_jwt_secret": RSA.pem().decode()}, "SUPABASE_JWT_SECRET.*public key"),
        ({"supabase_jwt_secret": json.dumps(EC.jwk())}, "SUPABASE_JWT_SECRET.*public key"),
    ],
)
async def test_wrong_settings_are_named_and_not_shown(
    http: aiohttp.ClientSession, settings: dict[str, Any], why: str
):
    with pytest.raises(ConfigurationError, match=why) as wrong:
        Verifier.from_settings(Settings(**settings), http)
    assert next(iter(settings.values())) not in str(wrong.value)


async def test_no_token_and_no_secret_is_shown(
    by_both: Verifier, capsys: pytest.CaptureFixture[str]
):
    with real_logs(level="DEBUG"):
        tokens = [shared(), shared("another secret " * 3), EC.token({"kid": "unknown"})]
        found = await by_both.verify(tokens[0])
        for token in tokens[1:]:
            await refused(by_both, token)
    shown = (
        capsys.readouterr().err
        + repr(by_both)
        + repr(vars(found) if hasattr(found, "__dict__") else found)
    )
    assert "jwks.read" in shown
    for token in tokens:
        assert not [part for part in token.split(".") if part in shown]
    assert SECRET not in shown
    assert isinstance(found, Claims)

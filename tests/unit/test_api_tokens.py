"""Access tokens: what proves a person, and every way in which something only looks like it."""

import base64
import hmac
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, HashAlgorithm
from hypothesis import given, strategies as st

from router.api.auth.jwks import Jwks
from router.api.auth.tokens import Verifier
from router.api.problems import Problem
from tests.supabase import (
    ISSUER,
    SECRET,
    SUBJECT,
    JwksServer,
    SigningKey,
    b64,
    claims,
    forged,
    it_is,
    jwks_server,
    shared,
)

EC = SigningKey.es256("ec-1")
RSA = SigningKey.rs256("rsa-1")
STRANGER = SigningKey.es256("ec-1")
_LONG = re.compile(r"[\w-]{20,}")
BY_SECRET = Verifier(secret=SECRET, jwks=None, issuer=ISSUER)


def hmac_of(secret: bytes, digest: str) -> Callable[[bytes], bytes]:
    return lambda signed: hmac.new(secret, signed, digest).digest()


def hs256(secret: bytes) -> Callable[[bytes], bytes]:
    return hmac_of(secret, "sha256")


def es256(key: SigningKey, digest: HashAlgorithm | None = None) -> Callable[[bytes], bytes]:
    """Signs as ECDSA does, in DER: not as tokens have it."""
    private = key.private
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    return lambda signed: private.sign(signed, ec.ECDSA(digest or SHA256()))


def rs256(key: SigningKey) -> Callable[[bytes], bytes]:
    private = key.private
    assert isinstance(private, rsa.RSAPrivateKey)
    return lambda signed: private.sign(signed, padding.PKCS1v15(), SHA256())


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[JwksServer]:
    # it answers, however slow the machine is
    monkeypatch.setattr("router.api.auth.jwks._FETCH_SECONDS", 60.0)
    async with jwks_server(EC, RSA) as publishing:
        yield publishing


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def jwks(server: JwksServer, http: aiohttp.ClientSession) -> Jwks:
    return Jwks(f"{server.url}/auth/v1/.well-known/jwks.json", http)


@pytest.fixture
def by_keys(jwks: Jwks) -> Verifier:
    return Verifier(secret=None, jwks=jwks, issuer=ISSUER)


@pytest.fixture
def by_both(jwks: Jwks) -> Verifier:
    return Verifier(secret=SECRET, jwks=jwks, issuer=ISSUER)


async def subject(verifier: Verifier, token: str) -> str:
    """Whom the token proves."""
    return (await verifier.verify(token)).sub


async def refused(verifier: Verifier, token: str) -> str:
    """Why the token is not good, after a look at what the answer shows."""
    with pytest.raises(Problem) as problem:
        await verifier.verify(token)
    assert problem.value.status == 401, problem.value
    assert problem.value.headers == {"WWW-Authenticate": "Bearer"}
    assert problem.value.__cause__ is None
    said = f"{problem.value!r} {problem.value} {problem.value.body()}"
    assert not [part for part in _LONG.findall(token) if part in said]
    return problem.value.detail


# ------------------------------------------------------------------ what is good


async def test_a_session_signed_with_the_secret():
    found = await BY_SECRET.verify(shared())
    assert (found.sub, found.email) == (SUBJECT, "ada@example.com")
    assert found.exp > time.time()


@pytest.mark.parametrize("key", [EC, RSA], ids=["ES256", "RS256"])
async def test_a_session_signed_with_a_published_key(by_keys: Verifier, key: SigningKey):
    assert await subject(by_keys, key.token()) == SUBJECT


async def test_both_ways_side_by_side(by_both: Verifier):
    for token in (shared(), EC.token(), RSA.token()):
        assert await subject(by_both, token) == SUBJECT


async def test_the_audience_may_stand_in_a_list():
    assert await subject(BY_SECRET, shared(aud=["other", "authenticated"])) == SUBJECT


async def test_without_an_email_there_is_none():
    for email in (None, "", 5):
        assert (await BY_SECRET.verify(shared(email=email))).email is None


async def test_clocks_may_differ_a_little(monkeypatch: pytest.MonkeyPatch):
    now = int(time.time())
    it_is(monkeypatch, now)
    assert await subject(BY_SECRET, shared(exp=now - 5, nbf=now + 5, iat=now + 600)) == SUBJECT


async def test_without_the_projects_address_any_issuer_will_do():
    anywhere = Verifier(secret=SECRET, jwks=None, issuer=None)
    for issuer in ("https://elsewhere.example", None):
        assert await subject(anywhere, shared(iss=issuer)) == SUBJECT


async def test_a_key_id_says_nothing_to_the_secret():
    token = jwt.encode(claims(), SECRET, "HS256", headers={"kid": "../../dev/null"})
    assert await subject(BY_SECRET, token) == SUBJECT


# ------------------------------------------------------------------ claims


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"exp": int(time.time()) - 60}, "has expired"),
        ({"exp": 0}, "has expired"),
        ({"exp": None}, "is no session of a person"),
        ({"exp": "9999999999"}, "is malformed"),
        ({"exp": True}, "has expired"),
        ({"exp": [9999999999]}, "is malformed"),
        ({"exp": float("nan")}, "is malformed"),
        ({"exp": float("inf")}, "is malformed"),
        ({"nbf": int(time.time()) + 3600}, "is not valid yet"),
        ({"nbf": "0"}, "is malformed"),
        ({"nbf": False}, "is malformed"),
        ({"aud": "anon"}, "is not meant for this service"),
        ({"aud": "authenticated2"}, "is not meant for this service"),
        ({"aud": ["a", "b"]}, "is not meant for this service"),
        ({"aud": {"authenticated": 1}}, "is not meant for this service"),
        ({"aud": []}, "is no session of a person"),
        ({"aud": None}, "is no session of a person"),
        ({"iss": "https://elsewhere.example/auth/v1"}, "is not meant for this service"),
        ({"iss": f"{ISSUER}/"}, "is not meant for this service"),
        ({"iss": ISSUER[:-1]}, "is not meant for this service"),
        ({"iss": [ISSUER]}, "is not meant for this service"),
        ({"iss": None}, "is no session of a person"),
        ({"sub": None}, "is no session of a person"),
        ({"sub": ""}, "is malformed"),
        ({"sub": 17}, "is malformed"),
        ({"sub": "a\x00b"}, "is malformed"),
        ({"sub": "a\ud800"}, "is malformed"),
        ({"sub": "a" * 256}, "is malformed"),
    ],
)
async def test_claims_that_are_not_good(other: dict[str, Any], why: str):
    now_and_here = {name: value for name, value in claims().items() if name not in other}
    payload = now_and_here | {name: value for name, value in other.items() if value is not None}
    token = jwt.encode({}, SECRET, "HS256").split(".")[0] + "." + b64(json.dumps(payload))
    token += "." + b64(hs256(SECRET.encode())(token.encode()))
    assert await refused(BY_SECRET, token) == f"The access token {why}."


@pytest.mark.parametrize("role", ["anon", "service_role"])
async def test_the_projects_own_keys_are_no_persons(role: str):
    """They are signed with the same secret, and `anon` stands in every web page."""
    key = jwt.encode({"iss": "supabase", "ref": "p", "role": role, "exp": 9999999999}, SECRET)
    await refused(BY_SECRET, key)
    await refused(Verifier(secret=SECRET, jwks=None, issuer=None), key)


@pytest.mark.parametrize("payload", ["[]", "null", "17", '"x"', "{", "", "\ufeff", "[" * 5000])
async def test_a_payload_that_is_no_object(payload: str):
    signed = f"{b64({'alg': 'HS256'})}.{b64(payload)}"
    token = f"{signed}.{b64(hs256(SECRET.encode())(signed.encode()))}"
    assert await refused(BY_SECRET, token) == "The access token is malformed."


# ------------------------------------------------------------------ algorithms and keys


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", None, 0, [], ["HS256"], {}])
async def test_unsigned_tokens(by_both: Verifier, alg: object):
    for signature in (b"", b"x", hs256(SECRET.encode())(b"")):
        token = f"{forged({'alg': alg, 'kid': 'ec-1'}, lambda _: b'')}{b64(signature)}"
        await refused(by_both, token)
        await refused(BY_SECRET, token)


async def test_a_token_without_an_algorithm(by_both: Verifier):
    await refused(by_both, forged({"kid": "ec-1"}, hs256(SECRET.encode())))


@pytest.mark.parametrize("alg", ["HS384", "HS512", "RS512", "PS256", "ES384", "EdDSA", "hs256"])
async def test_other_algorithms_even_if_rightly_signed(by_both: Verifier, alg: str):
    if alg.startswith("HS"):
        await refused(by_both, forged({"alg": alg}, hmac_of(SECRET.encode(), f"sha{alg[2:]}")))
    elif alg[:2] in {"RS", "PS"}:
        await refused(by_both, jwt.encode(claims(), RSA.private, alg, headers={"kid": "rsa-1"}))
    else:
        await refused(by_both, forged({"alg": alg, "kid": "ec-1"}, hs256(SECRET.encode())))


async def test_a_public_key_is_no_secret(by_both: Verifier, by_keys: Verifier):
    """The confusion of algorithms: HMAC with what everybody can read."""
    for key in (EC, RSA):
        jwk = key.jwk()
        for known in (key.pem(), key.pem().strip(), json.dumps(jwk).encode(), b64(jwk).encode()):
            for kid in (key.kid, None):
                token = forged({"alg": "HS256", "kid": kid}, hs256(known))
                await refused(by_keys, token)
                await refused(by_both, token)


async def test_a_keys_algorithm_is_its_own(by_keys: Verifier):
    """The right signature under the name of the other algorithm."""
    ecdsa = es256(EC)
    for token in (
        forged({"alg": "RS256", "kid": "ec-1"}, lambda signed: _raw(ecdsa(signed))),
        forged({"alg": "ES256", "kid": "rsa-1"}, rs256(RSA)),
    ):
        assert "not known" in await refused(by_keys, token)


async def test_somebody_elses_key_under_a_known_id(by_keys: Verifier):
    assert "signed as it should be" in await refused(by_keys, STRANGER.token())
    assert "signed as it should be" in await refused(BY_SECRET, shared("another secret " * 3))


async def test_a_signature_of_the_wrong_form(by_keys: Verifier):
    header = {"alg": "ES256", "kid": "ec-1"}
    sha256, sha384 = es256(EC), es256(EC, SHA384())
    assert await subject(by_keys, forged(header, lambda signed: _raw(sha256(signed)))) == SUBJECT
    wrong = [sha256, lambda signed: _raw(sha384(signed)), lambda _: bytes(64), lambda _: b"x"]
    for sign in wrong:
        await refused(by_keys, forged(header, sign))
    await refused(by_keys, forged({"alg": "RS256", "kid": "rsa-1"}, lambda _: b"x"))


def _raw(der: bytes) -> bytes:
    r, s = utils.decode_dss_signature(der)
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


async def test_an_algorithm_for_which_there_is_no_key(by_keys: Verifier):
    assert "not accepted" in await refused(by_keys, shared())
    assert "not accepted" in await refused(BY_SECRET, EC.token())


@pytest.mark.parametrize(
    "kid",
    [
        "unknown",
        "",
        None,
        17,
        ["ec-1"],
        {"kid": "ec-1"},
        "EC-1",
        "ec-1 ",
        "ec-1\x00",
        "../ec-1",
        "/dev/null",
        "../../../../../../dev/null",
        "http://127.0.0.1:1/key",
        "' OR 1=1 --",
        "k" * 5000,
    ],
)
async def test_key_ids_that_name_no_key(by_keys: Verifier, kid: object):
    for sign in (lambda _: b"x", hs256(b""), hs256(b"\x00")):
        await refused(by_keys, forged({"alg": "ES256", "kid": kid}, sign))
        await refused(by_keys, forged({"alg": "HS256", "kid": kid}, sign))


async def test_keys_that_a_token_brings_along_count_for_nothing(by_keys: Verifier):
    mine = SigningKey.es256("mine")
    async with jwks_server(mine) as evil:
        url = f"{evil.url}/auth/v1/.well-known/jwks.json"
        brought: list[dict[str, Any]] = [
            {"jwk": mine.jwk()},
            {"jku": url},
            {"x5u": url},
            {"jwks": {"keys": [mine.jwk()]}},
            {"x5c": [base64.b64encode(mine.pem()).decode()]},
        ]
        for header in brought:
            for kid in ("mine", "ec-1"):
                await refused(by_keys, mine.token({**header, "kid": kid}))
        assert evil.asked == 0
    assert await subject(by_keys, EC.token({"jku": url, "jwk": mine.jwk()})) == SUBJECT


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"]},
        {"crit": ["b64"], "b64": True},
        {"crit": ["b64"], "b64": False},
        {"crit": []},
        {"crit": "b64"},
        {"crit": None},
        {"b64": False},
        {"crit": ["http://example.com/unknown"], "http://example.com/unknown": True},
    ],
)
async def test_extensions_that_must_be_understood(header: dict[str, Any]):
    token = forged({"alg": "HS256"} | header, hs256(SECRET.encode()))
    assert await refused(BY_SECRET, token) == "The access token is malformed."


@pytest.mark.parametrize(
    "header",
    [
        '{"alg":"none","alg":"HS256"}',
        '{"alg":"HS256","alg":"HS256"}',
        '{"alg":"HS256","x":{"a":1,"a":2}}',
        '{"\\u0061lg":"none","alg":"HS256"}',
        '["alg","HS256"]',
        "null",
        '"HS256"',
        "",
        "{",
        "\x00",
        "[" * 5000,
        '{"alg":"HS256","x":' + "9" * 4500 + "}",
    ],
)
async def test_headers_that_can_be_read_in_two_ways_or_none(header: str):
    token = forged(header, hs256(SECRET.encode()))
    assert await refused(BY_SECRET, token) == "The access token is malformed."


# ------------------------------------------------------------------ form


async def test_a_huge_token_is_not_even_looked_at():
    token = shared(more="x" * 8192)
    assert await refused(BY_SECRET, token) == "The access token is too long."
    assert await refused(BY_SECRET, "a" * 10_000_000) == "The access token is too long."
    assert await subject(BY_SECRET, shared(more="x" * 5000)) == SUBJECT


@pytest.mark.parametrize(
    "form",
    [
        "{h}.{p}.{s}=",
        "{h}=.{p}.{s}",
        "{h}.{p}.{s}==",
        "{h}.{p}.{s}\n",
        " {h}.{p}.{s}",
        "{h}.{p}. {s}",
        "{h}.{p}\r\n.{s}",
        "{h}.{p}.!{s}",
        "{h}.{p}.{s}A",
        "{h}.{p}.",
        "{h}.{p}",
        "{h}..{s}",
        ".{p}.{s}",
        "{h}.{p}.{s}.{s}",
        "{h}.{p}.{s}.{s}.{s}",
        "{h}..{p}..{s}",
        "{h}.{p}.{s}\u0661",
        "",
        "..",
        '{{"protected":"{h}","payload":"{p}","signature":"{s}"}}',
    ],
)
async def test_there_is_one_way_to_write_a_token(form: str):
    header, payload, signature = shared().split(".")
    await refused(BY_SECRET, form.format(h=header, p=payload, s=signature))


async def test_no_bit_of_a_signature_is_idle():
    token = shared()
    await refused(BY_SECRET, token[:-1] + _next(token[-1]))
    await refused(BY_SECRET, token[:-1])


def _next(letter: str) -> str:
    """The letter that differs only in bits beyond the end of the signature."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return alphabet[alphabet.index(letter) ^ 1]


async def test_plus_and_slash_are_of_another_alphabet():
    for _ in range(1000):
        token = shared(salt=str(time.perf_counter_ns()))
        other = token.replace("-", "+").replace("_", "/")
        if other != token:
            await refused(BY_SECRET, other)
            return
    pytest.fail("no token has either letter")


@given(st.text(max_size=100))
async def test_no_text_breaks_it(text: str):
    await refused(BY_SECRET, text)


@given(st.binary(max_size=60), st.binary(max_size=60))
async def test_no_header_breaks_it(header: bytes, payload: bytes):
    signed = f"{b64(header)}.{b64(payload)}"
    await refused(BY_SECRET, f"{signed}.{b64(hs256(SECRET.encode())(signed.encode()))}")

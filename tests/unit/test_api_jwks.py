"""Public keys: fetched when needed, no more often, and kept while nobody answers."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, strategies as st
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from router.api.auth.jwks import Jwks, _Unreadable, usable_keys
from router.api.problems import Problem
from tests.supabase import JwksServer, SigningKey, b64, jwks_server
from tests.support import eventually

ONE, TWO = SigningKey.es256("one"), SigningKey.rs256("two")
HOUR = 3600.0


class Clock:
    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def server() -> AsyncIterator[JwksServer]:
    async with jwks_server(ONE) as publishing:
        yield publishing


@pytest.fixture
async def jwks(
    server: JwksServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Jwks]:
    # who is to answer does, however slow the machine is
    monkeypatch.setattr("router.api.auth.jwks._FETCH_SECONDS", 60.0)
    async with aiohttp.ClientSession() as http:
        yield Jwks(f"{server.url}/auth/v1/.well-known/jwks.json", http, now=clock)


async def has(jwks: Jwks, key: SigningKey) -> bool:
    """Whether that very key is known."""
    found = await jwks.key(key.kid)
    if found is None:
        return False
    try:
        jwt.decode(key.token(), found, audience="authenticated")
    except jwt.InvalidSignatureError:
        return False
    return True


async def unavailable(asked: Awaitable[object]) -> Problem:
    with pytest.raises(Problem) as problem:
        await asked
    assert (problem.value.status, problem.value.kind.slug) == (503, "unavailable")
    assert problem.value.headers["Retry-After"] == "5"
    return problem.value


def broken(status: int = 500) -> web.Response:
    return web.Response(status=status)


# ------------------------------------------------------------------ when it asks


async def test_nothing_is_asked_before_it_is_needed_and_then_once(jwks: Jwks, server: JwksServer):
    assert server.asked == 0
    for _ in range(50):
        assert await has(jwks, ONE)
    assert server.asked == 1


async def test_a_crowd_at_the_start_asks_once(jwks: Jwks, server: JwksServer):
    assert all(await asyncio.gather(*(has(jwks, ONE) for _ in range(100))))
    assert server.asked == 1


async def test_a_new_key_is_found_when_it_is_first_used(
    jwks: Jwks, server: JwksServer, clock: Clock
):
    assert await has(jwks, ONE)
    clock.at += 60
    server.publish(ONE, TWO)
    assert await has(jwks, TWO)
    assert await has(jwks, ONE)
    assert server.asked == 2


async def test_a_key_replaced_under_its_id_is_found_in_time(
    jwks: Jwks, server: JwksServer, clock: Clock
):
    renewed = SigningKey.es256("one")
    assert await has(jwks, ONE)
    server.publish(renewed)
    clock.at += 601
    assert await has(jwks, renewed)
    assert not await has(jwks, ONE)


async def test_a_key_taken_back_is_good_for_ten_minutes_at_most(
    jwks: Jwks, server: JwksServer, clock: Clock
):
    assert await has(jwks, ONE)
    server.publish(TWO)
    clock.at += 599
    assert await has(jwks, ONE)
    clock.at += 2
    assert not await has(jwks, ONE)
    assert await has(jwks, TWO)


async def test_a_key_taken_back_is_gone_with_the_next_answer(
    jwks: Jwks, server: JwksServer, clock: Clock
):
    assert await has(jwks, ONE)
    server.publish(TWO)
    clock.at += 10
    assert await has(jwks, TWO)
    assert not await has(jwks, ONE)


async def test_unknown_ids_ask_every_five_seconds_at_most(
    jwks: Jwks, server: JwksServer, clock: Clock
):
    assert await has(jwks, ONE)
    for number in range(100):
        clock.at += 0.2
        assert await jwks.key(f"made-up-{number}") is None
    assert server.asked == 1 + 4
    assert await has(jwks, ONE)


async def test_a_crowd_with_unknown_ids_asks_once_and_keeps_nobody_else_waiting(
    jwks: Jwks, server: JwksServer, clock: Clock
):
    assert await has(jwks, ONE)
    clock.at += 60
    gate = asyncio.Event()

    async def slowly() -> web.Response:
        await gate.wait()
        return web.json_response({"keys": server.keys})

    server.answer = slowly
    async with asyncio.TaskGroup() as group:
        crowd = [group.create_task(jwks.key(f"made-up-{n}")) for n in range(200)]
        await eventually(lambda: server.asked == 2)
        assert await has(jwks, ONE)
        assert not any(task.done() for task in crowd)
        gate.set()
    assert [task.result() for task in crowd] == [None] * 200
    assert server.asked == 2


async def test_who_gives_up_leaves_the_asking_to_the_next(jwks: Jwks, server: JwksServer):
    gate = asyncio.Event()

    async def slowly() -> web.Response:
        await gate.wait()
        return web.json_response({"keys": server.keys})

    server.answer = slowly
    async with asyncio.TaskGroup() as group:
        first = group.create_task(has(jwks, ONE))
        await eventually(lambda: server.asked == 1)
        second = group.create_task(has(jwks, ONE))
        first.cancel()
        await eventually(lambda: server.asked == 2)
        gate.set()
    assert second.result()


async def test_while_old_keys_are_looked_at_again_nobody_else_waits(
    jwks: Jwks, server: JwksServer, clock: Clock
):
    assert await has(jwks, ONE)
    clock.at += HOUR
    gate = asyncio.Event()

    async def slowly() -> web.Response:
        await gate.wait()
        return web.json_response({"keys": server.keys})

    server.answer = slowly
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(has(jwks, ONE))
        await eventually(lambda: server.asked == 2)
        assert await has(jwks, ONE)
        assert not asking.done()
        gate.set()
    assert asking.result()


# ------------------------------------------------------------------ when nobody answers


async def test_keys_outlive_an_outage_by_a_day(jwks: Jwks, server: JwksServer, clock: Clock):
    assert await has(jwks, ONE)
    server.answer = broken
    for _ in range(23):
        clock.at += HOUR
        assert await has(jwks, ONE)
    clock.at += 2 * HOUR
    await unavailable(jwks.key("one"))
    server.answer = None
    clock.at += 5
    assert await has(jwks, ONE)


async def test_in_an_outage_known_keys_ask_every_half_minute(
    jwks: Jwks, server: JwksServer, clock: Clock
):
    assert await has(jwks, ONE)
    server.answer = broken
    clock.at += HOUR
    for _ in range(60):
        clock.at += 1
        assert await has(jwks, ONE)
    assert server.asked == 1 + 2


async def test_in_an_outage_nothing_is_known_of_unknown_ids(
    jwks: Jwks, server: JwksServer, clock: Clock
):
    server.answer = broken
    await unavailable(jwks.key("one"))
    await unavailable(jwks.key("one"))
    assert server.asked == 1
    server.answer = None
    clock.at += 5
    assert await has(jwks, ONE)
    assert await jwks.key("made-up") is None


async def test_a_server_that_is_not_there(clock: Clock, unused_tcp_port: int):
    async with aiohttp.ClientSession() as http:
        jwks = Jwks(f"http://127.0.0.1:{unused_tcp_port}/jwks.json", http, now=clock)
        await unavailable(jwks.key("one"))


async def test_a_server_that_takes_for_ever_is_waited_for_but_shortly(
    jwks: Jwks, server: JwksServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
):
    never = asyncio.Event()

    async def slowly() -> web.Response:
        await never.wait()
        return broken()

    assert await has(jwks, ONE)
    monkeypatch.setattr("router.api.auth.jwks._FETCH_SECONDS", 0.05)
    server.answer = slowly
    clock.at += 60
    await unavailable(jwks.key("two"))
    assert await has(jwks, ONE)
    never.set()


async def _cut() -> web.StreamResponse:
    raise ConnectionResetError


def _redirect(server: JwksServer) -> web.Response:
    server.answer = None
    return web.Response(status=302, headers={"Location": "/auth/v1/.well-known/jwks.json"})


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: broken(),
        lambda _: broken(404),
        lambda server: web.json_response({"keys": server.keys}, status=500),
        lambda server: web.json_response({"keys": server.keys}, status=203),
        lambda _: web.Response(text=""),
        lambda _: web.Response(text="<html>sign in</html>"),
        lambda _: web.Response(text="null"),
        lambda _: web.Response(text="[]"),
        lambda _: web.Response(text="{}"),
        lambda _: web.Response(text='{"keys": null}'),
        lambda _: web.Response(text='{"keys": {"one": 1}}'),
        lambda _: web.Response(text='{"keys": ['),
        lambda _: web.Response(body=b"\xff\xfe\x00"),
        lambda _: web.Response(text="[" * 50_000),
        lambda _: web.json_response({"keys": [], "padding": "x" * 70_000}),
        _redirect,
    ],
)
async def test_answers_that_are_no_keys_change_nothing(
    jwks: Jwks, server: JwksServer, clock: Clock, answer: Callable[[JwksServer], web.Response]
):
    assert await has(jwks, ONE)
    server.publish(TWO)
    server.answer = lambda: answer(server)
    clock.at += 60
    await unavailable(jwks.key("two"))
    assert await has(jwks, ONE)
    assert server.asked == 2


async def test_an_endless_answer_is_not_read_to_its_end(jwks: Jwks, server: JwksServer):
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 65536
            yield b" " * 65536

    server.answer = lambda: web.Response(body=endless())
    await unavailable(jwks.key("one"))
    assert sent < 50_000_000


async def test_an_empty_set_is_an_answer(jwks: Jwks, server: JwksServer, clock: Clock):
    assert await has(jwks, ONE)
    server.publish()
    clock.at += 60
    assert await jwks.key("two") is None
    assert await jwks.key("one") is None


# ------------------------------------------------------------------ which keys


def usable(*jwks: Any) -> dict[str, jwt.PyJWK]:
    return usable_keys(json.dumps({"keys": jwks}).encode())


def test_a_public_key_is_good_for_its_algorithm():
    found = usable(ONE.jwk(), TWO.jwk(alg=None, use=None, key_ops=None))
    assert {kid: key.algorithm_name for kid, key in found.items()} == {
        "one": "ES256",
        "two": "RS256",
    }


@pytest.mark.parametrize(
    "other",
    [
        {"use": "enc"},
        {"use": None, "key_ops": ["encrypt"]},
        {"key_ops": []},
        {"key_ops": "verify"},
        {"key_ops": ["sign"]},
        {"alg": "RS512"},
        {"alg": "PS256"},
        {"alg": "HS256"},
        {"alg": "none"},
        {"alg": ["RS256"]},
        {"kty": "EC"},
        {"kty": "oct", "k": b64("a secret that everybody can read")},
        {"kty": "rsa"},
        {"kty": ["RSA"]},
        {"kty": None},
        {"n": None},
        {"n": 17},
        {"n": "!"},
        {"n": ""},
        {"e": b64(b"\x01")},
        {"e": b64(b"\x02")},
        {"e": ""},
        {"d": b64(b"\x05")},
        {"kid": None},
        {"kid": 2},
        {"kid": ["two"]},
    ],
)
def test_keys_that_are_passed_over(other: dict[str, Any]):
    assert usable(TWO.jwk(**other), ONE.jwk()).keys() == {"one"}


@pytest.mark.parametrize("bits", [1024, 2040])
def test_short_rsa_keys_are_passed_over(bits: int):
    assert usable(SigningKey.rs256("short", bits).jwk()) == {}


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1(), ec.SECP256K1()])
def test_other_curves_are_passed_over_whatever_they_call_themselves(curve: ec.EllipticCurve):
    key = SigningKey("other", ec.generate_private_key(curve), "ES256")
    assert usable(key.jwk()) == {}
    assert usable(key.jwk(crv="P-256")) == {}
    assert usable(key.jwk(crv=None)) == {}


def test_a_point_that_is_not_on_the_curve_is_passed_over():
    assert usable(ONE.jwk(x=b64(bytes(32)), y=b64(bytes(31) + b"\x01"))) == {}
    assert usable(ONE.jwk(x=b64(b"\x01"))) == {}


def test_private_keys_are_passed_over():
    assert isinstance(ONE.private, ec.EllipticCurvePrivateKey)
    assert isinstance(TWO.private, rsa.RSAPrivateKey)
    elliptic = ECAlgorithm.to_jwk(ONE.private, as_dict=True)
    assert usable({**elliptic, "kid": "one"}) == {}
    assert usable({**RSAAlgorithm.to_jwk(TWO.private, as_dict=True), "kid": "two"}) == {}
    assert usable(TWO.jwk(d=RSAAlgorithm.to_jwk(TWO.private, as_dict=True)["d"])) == {}


def test_of_two_keys_of_one_id_the_first_counts():
    assert usable(ONE.jwk(), TWO.jwk(kid="one"))["one"].algorithm_name == "ES256"


def test_entries_that_are_no_keys_do_not_spoil_the_rest():
    assert usable(None, 1, "x", [], {}, ONE.jwk()).keys() == {"one"}


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from(["kty", "crv", "n", "e", "x", "y", "alg", "use", "key_ops"]), _JSON
    )
)
def test_no_entry_breaks_it(other: dict[str, Any]):
    usable(ONE.jwk() | other, TWO.jwk() | other)


@given(st.binary(max_size=100))
def test_no_answer_breaks_it(raw: bytes):
    with pytest.raises(_Unreadable):
        usable_keys(raw)

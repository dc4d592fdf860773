"""Cookies: a Supabase session in every form in which its clients write one, and in none."""

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import example, given, strategies as st

from router.api.auth.cookies import access_tokens, project_of

TOKEN = "eyJh.eyJz.c2ln"
SESSION = {"access_token": TOKEN, "token_type": "bearer", "user": {"name": "Ådå; ☃"}}


def plain(session: object = SESSION) -> str:
    return quote(json.dumps(session, ensure_ascii=False))


def encoded(session: object = SESSION, *, padded: bool = False) -> str:
    text = base64.urlsafe_b64encode(json.dumps(session).encode()).decode()
    return "base64-" + (text if padded else text.rstrip("="))


def pieces(value: str, size: int, name: str = "sb-p-auth-token") -> list[str]:
    starts = range(0, len(value), size)
    return [f"{name}.{i}={value[start : start + size]}" for i, start in enumerate(starts)]


@pytest.mark.parametrize(
    "value",
    [
        encoded(),
        encoded(padded=True),
        plain(),
        f'"{encoded()}"',
        plain([TOKEN, "refresh", None, None]),
        encoded([TOKEN]),
        "base64-" + base64.b64encode(json.dumps(SESSION).encode()).decode(),
    ],
)
def test_a_session_in_one_cookie(value: str):
    assert access_tokens(f"theme=dark; sb-p-auth-token={value}; other=1") == [TOKEN]


@pytest.mark.parametrize("size", [7, 50])
def test_a_session_in_pieces_however_they_are_ordered(size: int):
    cut = pieces(encoded(), size)
    assert len(cut) > 2
    assert access_tokens("; ".join(cut)) == access_tokens("; ".join(reversed(cut))) == [TOKEN]


def test_a_hundred_pieces_are_more_than_anybody_writes():
    cut = pieces(encoded(), 1)
    assert len(cut) > 100
    assert access_tokens("; ".join(cut)) == []


def test_pieces_of_a_session_that_is_not_base64():
    text = json.dumps(SESSION)
    cut = [f"sb-p-auth-token.{i}={quote(half)}" for i, half in enumerate((text[:40], text[40:]))]
    assert access_tokens("; ".join(cut)) == [TOKEN]


def test_a_missing_piece_leaves_nothing():
    cut = pieces(encoded(), 40)
    assert access_tokens("; ".join(cut[:1] + cut[2:])) == []
    assert access_tokens("; ".join(cut[1:])) == []


def test_the_whole_cookie_counts_more_than_old_pieces():
    stale = pieces(encoded({"access_token": "stale"}), 40)
    assert access_tokens("; ".join([*stale, f"sb-p-auth-token={encoded()}"])) == [TOKEN]


def test_an_emptied_whole_cookie_gives_way_to_pieces():
    assert access_tokens("; ".join(["sb-p-auth-token=", *pieces(encoded(), 40)])) == [TOKEN]


def test_of_two_cookies_of_one_name_the_first_counts():
    first, second = encoded(), encoded({"access_token": "second"})
    assert access_tokens(f"sb-p-auth-token={first}; sb-p-auth-token={second}") == [TOKEN]


def test_several_projects_give_several_tokens_ours_first():
    cookies = "; ".join(
        f"sb-{name}-auth-token={encoded({'access_token': name})}"
        for name in ("a", "b", "ours", "c")
    )
    assert access_tokens(cookies, "ours") == ["ours", "a", "b", "c"]
    assert access_tokens(cookies) == ["a", "b", "ours", "c"]


def test_never_more_than_four():
    cookies = "; ".join(
        f"sb-p{i}-auth-token={encoded({'access_token': str(i)})}" for i in range(100)
    )
    assert access_tokens(cookies, "p70") == ["70", "0", "1", "2"]


def test_a_broken_session_does_not_hide_a_good_one():
    assert access_tokens(f"sb-a-auth-token=base64-!!!; sb-b-auth-token={encoded()}") == [TOKEN]


@pytest.mark.parametrize(
    "name",
    [
        "sb-p-auth-token-code-verifier",
        "sb-p-auth-token.00",
        "sb-p-auth-token.x",
        "sb-p-auth-token.100",
        "sb-p-auth-token-user",
        "xsb-p-auth-token",
        "sb--auth-token",
        "sb-auth-token",
        "SB-P-AUTH-TOKEN",
        "session",
    ],
)
def test_other_cookies_are_no_sessions(name: str):
    assert access_tokens(f"{name}={encoded()}") == []


@pytest.mark.parametrize(
    "value",
    [
        "",
        "base64-",
        "base64-!!!!",
        "base64-ÿ",
        "base64-" + base64.urlsafe_b64encode(b"\xff\xfe").decode(),
        "%ff%00",
        "null",
        "[]",
        "[null]",
        "{}",
        "17",
        '"text"',
        plain({"access_token": None}),
        plain({"access_token": ["x"]}),
        plain({"access_token": ""}),
        plain({"refresh_token": TOKEN}),
        quote("[" * 5000),
        TOKEN,
    ],
)
def test_garbage_is_nobody(value: str):
    assert access_tokens(f"sb-p-auth-token={value}") == []


@given(st.text(max_size=200))
@example(";;;=;sb-a-auth-token")
@example("sb-a-auth-token=%")
def test_no_header_breaks_it(text: str):
    assert access_tokens(text) == [] or "sb-" in text
    access_tokens(f"sb-p-auth-token={text}; sb-p-auth-token.0={text}")
    access_tokens(f"sb-p-auth-token=base64-{text}")


def test_a_projects_cookies_are_named_after_its_host():
    assert project_of("https://abcdefgh.supabase.co") == "abcdefgh"
    assert project_of("http://127.0.0.1:54321") == "127"
    assert project_of("http://localhost:54321/") == "localhost"

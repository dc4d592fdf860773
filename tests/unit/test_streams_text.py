"""What of a growing text may be shown: no mention comes alive in pieces, no message grows too long."""

import pytest
from hypothesis import given, strategies as st

from bot import render
from bot.cutting import cut_before, of_bytes, open_fence, safe_end, weight

WHOLE = ["<@U0ADA>", "<@U0ADA|ada>", "<!channel>", "<!here>", "<!subteam^S0ONE|@all>"]
WHOLE += ["@channel", "@here", "@everyone"]
CUT = ["<", "@", "!", "channel", "here", ">", "|", " ", "\n", "word", "é", "字", "🙂"]
PIECES = st.sampled_from(WHOLE + CUT)
TEXTS = st.lists(PIECES, max_size=40).map("".join)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Hello", "Hello"),
        ("Hello <", "Hello "),
        ("Hello <@", "Hello "),
        ("Hello <@U0A", "Hello "),
        ("Hello <!subteam^S0|@al", "Hello "),
        ("Hello @chan", "Hello "),
        ("Hello @channel", "Hello "),
        ("Hello @channel!", "Hello "),
        ("Hello @channel ", "Hello @channel "),
        ("Hello <@U0ADA>", "Hello <@U0ADA>"),
        ("a < b", "a < b"),
        ("mail ada@example.com now", "mail ada@example.com now"),
        ("", ""),
    ],
)
def test_a_text_is_shown_up_to_a_mention_that_is_not_yet_whole(text: str, shown: str):
    assert text[: safe_end(text)] == shown


def test_what_only_looks_like_a_mention_is_not_held_back_for_ever():
    text = "see <" + "a" * 200
    assert safe_end(text) == len(text)


@given(TEXTS, st.lists(st.integers(1, 9), min_size=1))
def test_however_a_text_arrives_no_mention_in_it_is_alive(text: str, sizes: list[int]):
    """Slack reads the whole message, so what counts is all that was shown so far."""
    shown, sent, arrived, turn = "", 0, 0, 0
    while arrived < len(text):
        arrived += sizes[turn % len(sizes)]
        turn += 1
        piece = of_bytes(text[sent:arrived], 200)
        shown += render.defuse(piece)
        sent += len(piece)
        assert render.defuse(shown) == shown
    assert text.startswith(text[:sent])


@given(TEXTS, st.integers(200, 400))
def test_a_text_is_cut_to_the_bytes_there_are_room_for_and_goes_on(text: str, room: int):
    whole = text * 5 + " "
    pieces = []
    while whole:
        piece = of_bytes(whole, room)
        assert piece
        assert whole.startswith(piece)
        assert weight(piece) <= room
        pieces.append(piece)
        whole = whole[len(piece) :]
    assert "".join(pieces) == text * 5 + " "


@pytest.mark.parametrize("room", [0, -5])
def test_no_room_is_no_text(room: int):
    assert of_bytes("some", room) == ""


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("one\n\ntwo\n\nthree", "one\n\ntwo\n\n"),
        ("one\n\n```py\nx\n\ny", "one\n\n"),
        ("one\n\n```py\nx\n\ny\n```\n\ntwo", "one\n\n```py\nx\n\ny\n```\n\n"),
        ("~~~\n```\n\n~~~\n\ntwo", "~~~\n```\n\n~~~\n\n"),
        ("```py\nx = 1\ny = ", "```py\nx = 1\n"),
        ("one two thr", "one two "),
        ("one", "one"),
        ("", ""),
    ],
)
def test_a_text_is_cut_behind_a_blank_line_else_a_line_else_a_word(text: str, kept: str):
    assert text[: cut_before(text)] == kept


@pytest.mark.parametrize(
    ("text", "opening"),
    [
        ("", ""),
        ("one\n", ""),
        ("one\n```py\nx = 1\n", "```py\n"),
        ("one\n```py\nx = 1\n```\ntwo", ""),
        ("~~~\n```\n", "~~~\n"),
        ("```\n~~~\n```\n", ""),
    ],
)
def test_code_that_goes_on_is_opened_anew(text: str, opening: str):
    assert open_fence(text) == opening


@given(st.text(alphabet="ab `~\n", min_size=1))
def test_a_cut_always_goes_on(text: str):
    assert 0 < cut_before(text) <= len(text)

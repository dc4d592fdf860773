"""What of a growing text may be shown: no mention comes alive in pieces, no link hides its host."""

import pytest
from hypothesis import given, settings, strategies as st

from bot import links, render
from bot.cutting import cut_before, next_words, opening, safe_end

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
        ("see [", "see "),
        ("see [your ba", "see "),
        ("see [your bank]", "see "),
        ("see ![your bank](https://evil.exa", "see "),
        ("see [your bank](https://evil.example)", "see [your bank](https://evil.example)"),
        ("see [your bank][1", "see "),
        ("[1]:\n ", ""),
        ("[1]: u", "[1]: u"),
        ("x = `a``", "x = `a"),
        ("line\r", "line"),
        ("", ""),
    ],
)
def test_a_text_is_shown_up_to_a_mention_that_is_not_yet_whole(text: str, shown: str):
    assert text[: safe_end(text)] == shown


def test_what_only_looks_like_a_mention_or_link_is_not_held_back_for_ever():
    for text in ("see <" + "a" * 200, "see [" + "a" * 400, "see [a](" + "b" * 400, "`" * 100):
        assert safe_end(text) == len(text)


def sent_in_pieces(text: str, sizes: list[int]) -> str:
    """What Slack has of a message that grows as the text arrives; it ends where it cannot go on."""
    shown, sent, arrived, turn = "", 0, 0, 0
    while arrived < len(text):
        arrived += sizes[turn % len(sizes)]
        turn += 1
        words, more = next_words(shown, text[sent:arrived], 400)
        if more is None:
            break
        shown += more
        sent += len(words)
    return shown


@given(TEXTS, st.lists(st.integers(1, 9), min_size=1))
@settings(deadline=None)
def test_however_a_text_arrives_no_mention_in_it_is_alive(text: str, sizes: list[int]):
    """Slack reads the whole message, so what counts is all that was shown so far."""
    shown = sent_in_pieces(text, sizes)
    assert render.defuse(shown) == shown
    assert text.startswith(shown.replace("\u2060", ""))


LINKED = ["[bank](https://evil.example/x)", "![bank](https://evil.example)", "[bank][1]", "[1]"]
LINKED += [
    "[1]: https://evil.example",
    "<https://evil.example|bank>",
    "```\n",
    "`",
    "``",
    "| a | b |",
]
LINKED += [
    "|---|---|",
    "\n",
    "\n\n",
    "> ",
    "- ",
    "    ",
    "[",
    "](",
    "]",
    ")",
    "\\",
    "word",
    "<",
    ">",
    "!",
]
LINKED_TEXTS = st.lists(st.sampled_from(LINKED), max_size=25).map("".join)


@given(LINKED_TEXTS, st.lists(st.integers(1, 40), min_size=1))
@settings(deadline=None, max_examples=400)
def test_however_a_text_arrives_no_link_in_it_hides_its_host(text: str, sizes: list[int]):
    shown = sent_in_pieces(text, sizes)
    assert links.show_hosts(shown) == shown


@given(st.lists(st.sampled_from(LINKED[:2] + CUT), max_size=25).map("".join), st.integers(1, 40))
@settings(deadline=None)
def test_links_that_grow_in_pieces_look_as_they_do_at_the_end(text: str, size: int):
    whole = text + "."
    assert sent_in_pieces(whole + " ", [size]) == render.defuse(whole + " ")


def test_a_line_that_would_turn_shown_words_into_a_link_defines_nothing():
    words, shown = next_words("[bank][1]\n\n", "[1]: https://evil.example ", 400)
    assert (words, shown) == ("[1]: https://evil.example ", "[1]\u2060: https://evil.example ")


def test_a_table_whose_head_hid_a_link_in_code_ends_the_message():
    before = "`a | [bank](https://evil.example) | b`\n"
    assert next_words("", before, 400)[1] == before
    assert next_words(before, "---|---|---\n", 400) == ("---|---|---\n", None)


def test_code_that_goes_on_stays_as_it_is():
    before = "```py\nx = [\n"
    assert next_words(before, "[a](https://b.example)\n", 400)[1] == "[a](https://b.example)\n"
    assert next_words("`x ", "[a](b.example)` ", 400)[1] == "[a](b.example)` "


@given(LINKED_TEXTS | TEXTS, st.integers(200, 400))
@settings(deadline=None)
def test_a_text_is_cut_to_the_bytes_there_are_room_for_and_goes_on(text: str, room: int):
    left = text * 5 + "\n"
    while left:
        words, shown = next_words("", left, room)
        assert words
        assert left.startswith(words)
        assert shown is not None
        assert len(shown.encode()) <= room
        left = left[len(words) :]


@pytest.mark.parametrize("room", [0, -5])
def test_no_room_is_no_text(room: int):
    assert next_words("", "some", room) == ("", "")


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
        ("intro\n| a | b |\n|---|---|\n| 1 | 2 |\n| 3 |", "intro\n"),
        ("| a |\n|---|\n| 1 |\n| 2 |\n| 3", "| a |\n|---|\n| 1 |\n| 2 |\n"),
        ("| a |\n|---|\n| 1 | 2", "| a |\n|---|\n| 1 | "),
        ("intro\n```py\nx = 1\n\ny = ", "intro\n"),
        ("````md\n```\n\n```\n\nx", "````md\n```\n\n```\n\n"),
        ("one [a\nb](https://c.example) d", "one [a\nb](https://c.example) "),
        ("one\n[a\nb](https://c.example)", "one\n"),
        ("one [a b](https://c.example", "one [a "),
        ("one [a b](https://c.example)", "one "),
    ],
)
def test_a_text_is_cut_behind_a_blank_line_else_a_line_else_a_word(text: str, kept: str):
    assert text[: cut_before(text)] == kept


def test_a_message_that_begins_in_code_is_cut_as_code():
    text = "x\n\ny\n```\n\nz\n"
    assert cut_before(text, "```py\n") == len("x\n\ny\n```\n\n")
    assert cut_before("x\n\ny", "```py\n") == len("x\n\n")


@pytest.mark.parametrize(
    ("before", "after", "again"),
    [
        ("", "x", ""),
        ("one\n", "", ""),
        ("one\n```py\nx = 1\n", "", "```py\n"),
        ("one\n```py\nx = 1\n", "y", "```py\n"),
        ("one\n```py\nx = 1\n```\ntwo", "", ""),
        ("~~~\n```\n", "", "~~~\n"),
        ("```\n~~~\n```\n", "", ""),
        ("````md\n```\nx\n```\n", "y", "````md\n"),
        ("- a\n\n  ```sh\n  x\n", "  y", "```sh\n"),
        ("one\n| a | b |\n|---|---|\n| 1 | 2 |\n", "| 3 | 4 |\n", "| a | b |\n|---|---|\n"),
        ("| a |\n|---|\n| 1 ", "2 |\n", "| a |\n|---|\n"),
        ("| a |\n|---|\n| 1 |\n", "\nnext", ""),
        ("| a |\n|---|\n| 1 |\n", "# next", ""),
        ("| a |\n|---|\n| 1 |\n\n", "| 3 |", ""),
    ],
)
def test_code_and_tables_that_go_on_are_opened_anew(before: str, after: str, again: str):
    assert opening(before, after) == again


@given(st.text(alphabet="ab `~\n|-[]()", min_size=1))
@settings(deadline=None)
def test_a_cut_always_goes_on(text: str):
    assert 0 < cut_before(text) <= len(text)

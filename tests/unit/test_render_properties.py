"""Whatever an agent writes: its parts, put together again, are what it wrote, and each is whole."""

import re
from itertools import count

import pytest
from hypothesis import given, settings, strategies as st
from markdown_it import MarkdownIt

from bot.render import defuse, parts, pieces

READER = MarkdownIt("commonmark").enable("table")
CUT = "…"

WORDS = [
    "word",
    "*bold*",
    "a | b",
    "`code span`",
    "`a | [b](https://c.example)`",
    "é字🙂",
    "<b>",
    "&amp;",
]
WORDS += ["[bank](https://evil.example/x)", "[a b](https://c.example 'd')", "https://plain.example"]
WORDS += [
    "<https://evil.example|bank>",
    "<@U0ANN>",
    "<!channel>",
    "@here",
    "1.",
    "-",
    ">",
    "#",
    "\\|",
    "[x]",
]
sentences = st.lists(st.sampled_from(WORDS), min_size=1, max_size=25).map(" ".join)
huge = st.builds(
    lambda word, n: (word * n)[:700],
    st.sampled_from(["w", "ab ", "é字 ", "[", "|", "<"]),
    st.just(700),
) | st.lists(st.sampled_from(WORDS), min_size=60, max_size=90).map(" ".join)
code = st.lists(
    st.sampled_from(
        ["x = 1", "", "    y", "[a](https://b.example)", "| a | b |", "# c", "@here", "z" * 90]
    ),
    max_size=25,
)
fences = st.builds(
    lambda mark, language, lines, closed: "\n".join(
        [mark + language, *lines, *([mark] if closed else [])]
    ),
    st.sampled_from(["```", "````", "~~~"]),
    st.sampled_from(["python%", "sh -e%"]),
    code,
    st.sampled_from([True, True, True, False]),
)
tables = st.builds(
    lambda rows: "\n".join(["| name% | [n](https://n.example) |", "|:---|---:|", *rows]),
    st.lists(
        st.sampled_from(
            [
                "| a | 1 |",
                "| b \\| c | 2 |",
                "| `d` | [e](https://f.example) |",
                "| g |",
                "| h" * 50 + " |",
            ]
        ),
        max_size=25,
    ),
)
leaves = st.one_of(
    sentences,
    st.lists(sentences, min_size=2, max_size=6).map("\n".join),
    huge,
    fences,
    tables,
    sentences.map("## {}".format),
    st.sampled_from(
        [
            "\n\n",
            "---",
            "<div>\n[a](https://b.example)\n</div>\n",
            "<!-- x -->",
            "[1]: https://r.example",
        ]
    ),
)


def _inside(first: str, more: str, text: str) -> str:
    lines = text.split("\n")
    return "\n".join(
        [first + lines[0], *(more + line if line else more.rstrip() for line in lines[1:])]
    )


NESTS = [
    "\n\n".join,
    lambda many: _inside("> ", "> ", "\n\n".join(many)),
    lambda many: "\n".join(_inside("- ", "  ", text) for text in many),
    lambda many: "\n".join(_inside(f"{n}. ", "   ", text) for n, text in enumerate(many, 7)),
    lambda many: "\n\n".join(_inside("1. ", "   ", text) for text in many),
]
BREAKS = ["\n\n", "\n\n", "\n", "\n\n\n", "\r\n\r\n", "\0\n"]


@st.composite
def replies(draw: st.DrawFn) -> str:
    """Blocks, some of them inside of one or two others; no two fences or tables begin alike."""
    written = ""
    for _ in range(draw(st.integers(0, 5))):
        many = draw(st.lists(leaves, min_size=1, max_size=3))
        inner, outer = draw(st.sampled_from(NESTS)), draw(st.sampled_from(NESTS))
        written += outer([inner(many), *many[:1]]) + draw(st.sampled_from(BREAKS))
    numbers = count()
    return re.sub("%", lambda _: str(next(numbers)), written)


limits = st.integers(250, 600)


# ------------------------------------------------------------------ putting together again


def join(shown: list[str]) -> str:
    """The parts without the fence lines and table headers that cutting added, nor the marks of cut lines.

    Knows nothing of how they were made: it reads what Slack would read. Blank lines count for nothing,
    at the edges of parts they are not shown.
    """
    text = ""
    for before, part in zip(["", *shown], shown, strict=False):
        text = _joined(text, before, part) if before else part
    return text


def _joined(text: str, before: str, part: str) -> str:
    fence, head = _left_open(before), _head(before)
    first, second = part.split("\n", 2)[:2] if part.count("\n") > 1 else ("", "")
    again = ""
    if fence and part.partition("\n")[0].lstrip(" >") == fence:
        text = text.rpartition("\n")[0] + "\n"
        again, _, part = part.partition("\n")
    elif head and (first.lstrip(" >"), second.lstrip(" >")) == head:
        again, _, part = part.split("\n", 2)
    if text.rstrip("\n").endswith(CUT):
        whose = again or before.rpartition("\n")[2]
        quotes = whose[: len(whose) - len(_words(whose))].count(">")
        part, text = part.removeprefix("> " * quotes), text.rstrip("\n").removesuffix(CUT)
        ticks = re.search(r"`*$", text)
        if ticks and ticks[0] and part.startswith(ticks[0]):  # a code span that fits no part
            return text.removesuffix(ticks[0]) + part.removeprefix(ticks[0])
        return text + part
    return text + "\n" + part


def _left_open(part: str) -> str | None:
    """The first line of the code block that ends with a part."""
    fences = [t for t in READER.parse(part) if t.type == "fence" and t.map]
    lines = part.split("\n")
    if not fences or fences[-1].map is None or fences[-1].map[1] < len(lines):
        return None
    return _words(lines[fences[-1].map[0]])


def _head(part: str) -> tuple[str, str] | None:
    """Header and ruler of the table that a part ends in."""
    tables = [t for t in READER.parse(part) if t.type == "table_open" and t.map]
    lines = part.split("\n")
    if not tables or tables[-1].map is None or tables[-1].map[1] < len(lines):
        return None
    first = tables[-1].map[0]
    return _words(lines[first]), _words(lines[first + 1])


def _words(line: str) -> str:
    """A line without the marks of the quotes and lists that it is in."""
    return re.sub(r"^(?:[ >]|[-*+] |\d+[.)] )*", "", line)


def _bare(text: str) -> str:
    """Without what may differ: blanks, empty lines of quotes, the numbers of a list that are spelt out."""
    text = re.sub(r"(?m)^([ >*-]*)\d+([.)])", r"\g<1>0\2", text)
    return re.sub(r"\s+", "", re.sub(r"(?m)^[ >]+", "", text))


@given(replies(), limits)
@settings(deadline=None)
def test_the_parts_joined_are_the_defused_reply(text: str, limit: int):
    assert _bare(join(parts(text, limit))) == _bare(defuse(text))


@given(replies(), limits)
@settings(deadline=None)
def test_every_part_is_within_the_limit(text: str, limit: int):
    assert all(0 < len(part) <= limit for part in parts(text, limit))


@given(replies(), limits)
@settings(deadline=None)
def test_no_part_hides_a_host_or_reaches_anybody(text: str, limit: int):
    for part in parts(text, limit):
        assert defuse(part) == part


@given(replies(), limits)
@settings(deadline=None)
def test_the_slices_are_the_defused_reply_to_the_letter(text: str, limit: int):
    said = defuse(text) if text.replace("\0", "").strip() else ""
    assert "".join(piece.source for piece in pieces(text, limit)) == said


@given(st.integers(2, 40), st.sampled_from(["", "> ", "   "]), limits)
@settings(deadline=None)
def test_a_table_is_cut_between_rows_alone(count_of: int, where: str, limit: int):
    rows = [f"| row {n} \\| x | {'y' * (n * 7 % 50)} |" for n in range(count_of)]
    head = ["| a | b |", "|---|---|"]
    lines = [("1. " if where == "   " else where) + head[0], *(where + r for r in [head[1], *rows])]
    shown = [part.split("\n") for part in parts("\n".join(lines), limit)]
    assert all([_words(line) for line in part[:2]] == head for part in shown)
    assert [_words(line) for part in shown for line in part[2:]] == rows


@pytest.mark.parametrize("before", ["", "> ", "1. ", "- > ", "- a\n  - "])
def test_a_row_that_is_longer_than_a_part_is_cut_and_marked(before: str):
    margin = re.sub(r"[^>\n]", " ", before.rpartition("\n")[2])
    rows = ["| 1 | 2 |", f"| {'long ' * 100}| 3 |", "| 4 | 5 |"]
    text = before + f"\n{margin}".join(["| a | b |", "|---|---|", *rows])
    shown = parts(text, 300)
    assert len(shown) == 3
    assert [part.endswith(CUT) for part in shown] == [False, True, False]
    for part in shown:
        assert [t.type for t in READER.parse(part)].count("table_open") == 1
    assert _bare(join(shown)) == _bare(text)


@pytest.mark.parametrize("before", ["", "> ", "1. ", "- > ", "1. 1. - ", "- a\n  - b\n    - "])
def test_code_is_reopened_with_its_language_wherever_it_stands(before: str):
    margin = re.sub(r"[^>\n]", " ", before.rpartition("\n")[2])
    lines = [f"if x == {n}:\n{margin}    [a](https://b.example)" for n in range(30)]
    text = before + f"\n{margin}".join(["```python", *lines, "```", "after"])
    shown = parts(text, 300)
    code = [t for part in shown for t in READER.parse(part) if t.type == "fence"]
    assert len(code) > 2
    assert {t.info for t in code} == {"python"}
    assert "".join(t.content for t in code) == "".join(
        f"if x == {n}:\n    [a](https://b.example)\n" for n in range(30)
    )
    (after,) = [t.content for t in READER.parse(shown[-1]) if t.type == "inline"]
    assert after == "after"


def test_numbers_are_kept_and_what_is_in_their_items_stays_there():
    item = "1. item {}\n\n   ```sh\n   run {}\n   ```"
    shown = parts("\n".join(item.format(n, n) for n in range(1, 15)), 150)
    starts, code = [], []
    for part in shown:
        assert part.count("item") == part.count("run")
        for token in READER.parse(part):
            if token.type == "list_item_open":
                starts.append(token.info)
            if token.type == "fence":
                code.append((token.level, token.content))
    assert starts == [str(n) for n in range(1, 15)]
    assert code == [(2, f"run {n}\n") for n in range(1, 15)]


def test_the_next_item_is_no_words_of_an_item_that_was_cut():
    shown = parts("7. " + "word " * 100 + "\n8. next", 300)
    assert shown[1].endswith("\n\n8. next")


def test_a_link_is_not_torn_nor_parted_from_its_host():
    text = " ".join(["[see this](https://b.example/some/where)"] * 30)
    shown = parts(text, 250)
    assert len(shown) > 4
    for part in shown:
        assert re.fullmatch(
            r"(\[see this\]\(https://b.example/some/where\) \(b.example\) ?)+…?", part
        )


def test_a_code_span_that_fits_no_part_stays_code():
    shown = parts("`" + "[a](https://b.example) " * 40 + "`", 300)
    assert len(shown) > 3
    assert all(part.strip(CUT).startswith("`") and part.strip(CUT).endswith("`") for part in shown)
    assert "(b.example)" not in "".join(shown)


def test_words_do_not_begin_a_block_where_a_line_is_cut():
    text = "- ".join(["words " * 9] * 20)
    assert not any(part.startswith("- ") for part in parts(text, 300)[1:])


@pytest.mark.parametrize("before", range(285, 300))
def test_words_do_not_define_a_link_where_a_part_begins(before: int):
    for text in ("{} [1]: https://evil.example [1] {}", "{}\n[1]: https://evil.example\n[1] {}"):
        for part in parts(text.format("x" * before, "y " * 100), 300):
            assert defuse(part) == part


@pytest.mark.parametrize("first", ["> ", "> ```\n> ", "> > - ", "> | a |\n> |---|\n> "])
def test_what_is_cut_in_a_quote_stays_in_it(first: str):
    quote = first[: first.rindex(">") + 1].rpartition("\n")[2]
    for part in parts(first + "word " * 200, 300):
        assert all(line.startswith(quote) for line in part.split("\n"))


def test_lines_that_are_moved_in_for_a_longer_number_keep_their_words():
    text = "1. a\n" * 9 + "1. `" + "one " * 60 + "\n   " + "two " * 60 + "`"
    assert "".join(piece.source for piece in pieces(text, 300)) == text
    assert _bare(join(parts(text, 300))) == _bare(text)


@pytest.mark.parametrize("fence", ["```" + "x" * 700, "`" * 400])
def test_code_with_an_endless_first_line_stays_code(fence: str):
    text = f"{fence}\n" + "[a](https://b.example)\n" * 40 + fence.rstrip("x")
    for part in parts(text, 1000)[1:]:
        assert "(b.example)" not in part
        assert defuse(part) == part


def test_a_heading_that_ends_an_item_is_not_kept_with_the_next_item():
    first, second = parts(f"1. {'x' * 180}\n2. # head\n3. {'y' * 150}", 250)
    assert first.endswith("2. # head")
    assert second.startswith("3. ")


def test_words_behind_the_table_of_an_item_are_no_row_of_it():
    rows = "".join(f"  | row {n} | {'y' * 20} |\n" for n in range(12))
    text = f"- | a | b |\n  |---|---|\n{rows}<b> `a | [b](https://c.example)`"
    *_, last = parts(text, 300)
    assert last == "<b> `a | [b](https://c.example)`"


@pytest.mark.parametrize(
    "start", [">" * 200, "> " * 300, "> " * 60 + "```\n" + "> " * 60, "- " * 300, "`" * 500]
)
def test_a_text_nested_without_end_comes_to_one(start: str):
    shown = parts(start + "word " * 300, 300)
    assert all(0 < len(part) <= 300 for part in shown)
    assert "".join(shown).count("word") >= 290

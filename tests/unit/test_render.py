import json
import re

import pytest
from hypothesis import given, settings, strategies as st
from markdown_it import MarkdownIt

from bot.render import (
    FALLBACK_LIMIT,
    PART_LIMIT,
    defuse,
    fallback_text,
    notice_blocks,
    parts,
    pieces,
    reply_blocks,
)

MARKDOWN = MarkdownIt("commonmark").enable("table")
LIVE = re.compile(
    r"<!(channel|here|everyone|group|subteam)|<@[A-Z0-9_]+[|>]|(?<!\w)@(channel|here)\b"
)

words = st.text(alphabet="abc dé*_`@<!>#1.-", min_size=1, max_size=40)
fences = st.builds(
    lambda language, lines: f"```{language}\n" + "".join(f"{line}\n" for line in lines) + "```",
    st.sampled_from(["", "python", "sh"]),
    st.lists(st.text(alphabet="xyz =(){}#|", max_size=60), max_size=30),
)
tables = st.integers(1, 25).map(
    lambda n: "| a | b |\n|---|---|\n" + "\n".join(f"| {i} | value {i} |" for i in range(n))
)
lists = st.lists(words.map(lambda text: text.strip() or "x"), min_size=1, max_size=12).map(
    lambda items: "\n".join(f"{n}. {item}" for n, item in enumerate(items, 1))
)
blocks = st.one_of(
    words,
    fences,
    tables,
    lists,
    words.map(lambda text: f"## {text}"),
    words.map(lambda text: f"> {text}\n> {text}"),
    words.map(lambda text: f"- {text}\n  - {text}\n    ```\n    {text}\n    ```"),
    st.integers(100, 700).map(lambda n: "w" * n),
    st.just("\n\n\n"),
    st.just("```\nnever closed"),
)
replies = st.lists(blocks, max_size=8).map("\n\n".join)


@given(replies, st.integers(60, 400))
@settings(deadline=None)
def test_the_slices_joined_are_the_defused_reply(text: str, limit: int):
    said = defuse(text) if text.strip() else ""
    assert "".join(piece.source for piece in pieces(text, limit)) == said


@given(replies, st.integers(60, 400))
@settings(deadline=None)
def test_every_part_fits_and_says_something(text: str, limit: int):
    for part in parts(text, limit):
        assert 0 < len(part) <= limit
        assert part.strip()


@given(replies, st.integers(60, 400))
@settings(deadline=None)
def test_a_part_adds_only_frames_and_marks_to_its_slice(text: str, limit: int):
    """Independent of how frames are made: what is posted, without the first and last lines added, is shown."""
    for piece in pieces(text, limit):
        assert _bare(piece.source) in _bare(piece.text)


@given(
    st.lists(fences | tables | st.just("plain words"), max_size=6).map("\n\n".join),
    st.integers(150, 400),
)
@settings(deadline=None)
def test_all_code_is_still_code_and_nothing_else_is(text: str, limit: int):
    assert "".join(_code(part) for part in parts(text, limit)) == _code(text)


def _code(markdown: str) -> str:
    return "".join(token.content for token in MARKDOWN.parse(markdown) if token.type == "fence")


def _bare(text: str) -> str:
    return re.sub(r"\d+|\s+", "", text)


@given(st.text(max_size=3000), st.integers(60, 400))
@settings(deadline=None)
def test_any_text_at_all_can_be_cut(text: str, limit: int):
    shown = parts(text, limit)
    assert all(0 < len(part) <= limit for part in shown)
    assert bool(shown) == bool(text.replace("\0", "").strip())


def test_short_text_stays_as_it_is():
    assert parts("Hello, *world*\n") == ["Hello, *world*"]


@pytest.mark.parametrize("text", ["", " ", "\n\n", "\0"])
def test_nothing_said_is_nothing_posted(text: str):
    assert parts(text) == []


def test_blocks_that_fit_are_never_torn():
    paragraphs = [f"{letter * 50}\n{letter * 30}" for letter in "abcdef"]
    shown = parts("\n\n".join(paragraphs), 200)
    assert len(shown) > 1
    assert "\n\n".join(shown).split("\n\n") == paragraphs


def test_a_fence_is_closed_and_reopened_with_its_language():
    lines = [f"value_{n} = {n}" for n in range(40)]
    shown = parts("```python\n" + "\n".join(lines) + "\n```", 150)
    assert len(shown) > 3
    assert all(part.startswith("```python\n") and part.endswith("\n```") for part in shown)
    assert [line for part in shown for line in part.split("\n")[1:-1]] == lines


def test_a_longer_fence_survives_the_shorter_one_inside_it():
    inside = "\n".join(["```", "x" * 30, "```"] * 10)
    shown = parts(f"````md\n{inside}\n````", 150)
    assert len(shown) > 1
    for part in shown:
        tokens = MARKDOWN.parse(part)
        assert [token.type for token in tokens] == ["fence"]


def test_a_fence_in_a_list_stays_code():
    code = "\n".join(f"   line {n}" for n in range(40))
    for part in parts(f"1. Run this:\n\n   ```sh\n{code}\n   ```\n\n2. Done.", 150):
        assert all("line" not in t.content for t in MARKDOWN.parse(part) if t.type == "inline")


def test_a_fence_in_a_quote_stays_a_quoted_fence():
    code = "\n".join(f"> line {n}" for n in range(40))
    for part in parts(f"> ```sh\n{code}\n> ```", 150):
        assert [t.type for t in MARKDOWN.parse(part)][:2] == ["blockquote_open", "fence"]


def test_a_table_is_cut_between_rows_and_its_header_repeated():
    header = "| name | number |\n|---|---|\n"
    rows = [f"| row {n} | {n} |" for n in range(40)]
    shown = parts(header + "\n".join(rows), 150)
    assert len(shown) > 3
    assert all(part.startswith(header) for part in shown)
    assert [row for part in shown for row in part.split("\n")[2:]] == rows


@pytest.mark.parametrize("number", ["{n}", "1"])
def test_list_numbers_go_on(number: str):
    items = [number.format(n=n) + f". item {n} {'x' * 40}" for n in range(1, 13)]
    shown = parts("\n".join(items), 200)
    assert len(shown) > 2
    numbers = [re.match(r"\d+", line) for part in shown for line in part.split("\n")]
    assert [int(found[0]) for found in numbers if found] == list(range(1, 13))


def test_a_heading_goes_with_what_it_heads():
    text = "\n\n".join(f"# Heading {n}\n\n{'x' * 80}" for n in range(4))
    assert all(part.startswith("# Heading") for part in parts(text, 120))


def test_an_endless_line_is_cut_and_marked_and_whole():
    shown = parts("w" * 1000, 300)
    assert all(part.endswith("…") for part in shown[:-1])
    assert "".join(part.removesuffix("…") for part in shown) == "w" * 1000


def test_an_endless_line_is_cut_at_a_space_if_one_is_near():
    shown = parts("word " * 200, 300)
    assert all(set(part.removesuffix("…").split()) == {"word"} for part in shown)


def test_a_long_reply_is_cut_quickly_at_the_usual_limit():
    shown = parts("\n\n".join(f"Paragraph {n}. " + "text " * 60 for n in range(200)))
    assert [len(part) <= PART_LIMIT for part in shown] == [True] * len(shown)
    assert len(shown) < 8


@pytest.mark.parametrize(
    "live",
    [
        "<!channel>",
        "<!here|here>",
        "<!everyone>",
        "<!subteam^S0X|@ops>",
        "<@U0ANN>",
        "<@W0X|ann>",
        "@channel",
        "@here",
        "@everyone",
        "hey @Channel!",
        "`@here`",
        "```\n<!channel>\n```",
        "<@S0OPS>",
    ],
)
def test_mentions_by_the_agent_reach_nobody(live: str):
    inert = defuse(live)
    assert inert != live
    assert inert.replace("\u2060", "") == live
    assert not LIVE.search(inert)


@pytest.mark.parametrize(
    "plain",
    [
        "bob@here.com",
        "@hereby",
        "<https://example.com>",
        "<#C0X|general>",
        "List<@NonNull T>",
        "<!-- a comment -->",
        "<!DOCTYPE html>",
        "@ann",
        "a < b @ c",
    ],
)
def test_other_text_is_left_alone(plain: str):
    assert defuse(plain) == plain


@given(replies)
@settings(deadline=None)
def test_defusing_twice_is_defusing_once(text: str):
    assert defuse(defuse(text)) == defuse(text)
    assert not LIVE.search(defuse(text))


def test_a_part_is_one_markdown_block():
    assert reply_blocks("**hi**") == [{"type": "markdown", "text": "**hi**"}]


def test_the_fallback_is_plain_words():
    text = "# Title\n\n**Bold** [page](https://example.com)\n\n```py\n1 < 2 & <!channel>\n```"
    assert fallback_text(text) == (
        "Title\n\nBold page (https://example.com)\n\n1 &lt; 2 &amp; &lt;\u2060!channel&gt;"
    )


@given(st.text(alphabet="a&<>*`[]() \n", max_size=400).map(lambda text: text * 40))
def test_the_fallback_fits_and_is_escaped(text: str):
    shown = fallback_text(text)
    assert len(shown) <= FALLBACK_LIMIT
    assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", shown)


@pytest.mark.parametrize("live", ["<\0!channel>", "@\0here", "<@\0U0ANN>"])
def test_a_character_that_is_left_out_revives_no_mention(live: str):
    assert not LIVE.search(defuse(live))


PEOPLE = "<@U0ANN> and <@W0BOB|bob>"
EVERYBODY = [
    "<!channel>",
    "<!here|here>",
    "<!everyone>",
    "<!subteam^S0OPS|@ops>",
    "@here",
    "<@S0X>",
]


@pytest.mark.parametrize("group", EVERYBODY)
def test_the_settings_allow_mentions_of_people_or_all(group: str):
    text = f"{PEOPLE} and {group}"
    assert defuse(text, "all") == text
    assert parts(text, mentions="all") == [text]
    some = defuse(text, "people")
    assert some.startswith(f"{PEOPLE} and ")
    assert some.replace("\u2060", "") == text
    assert some != text
    assert not LIVE.search(some.removeprefix(PEOPLE))
    assert parts(text, mentions="people") == [some]


def test_the_fallback_keeps_the_mentions_that_are_allowed():
    text = "<@U0ANN|<b>> <@U0ANN|ann> & <!subteam^S0OPS|@ops> <!here> <b>"
    assert fallback_text("<@U0ANN> <b>") == "&lt;\u2060@U0ANN&gt; &lt;b&gt;"
    assert fallback_text(text, "people") == (
        "&lt;@U0ANN|&lt;b&gt;&gt; <@U0ANN> &amp; &lt;\u2060!subteam^S0OPS|@ops&gt; "
        "&lt;\u2060!here&gt; &lt;b&gt;"
    )
    assert fallback_text("<!subteam^S0OPS|@ops> <!here> <#C0X>", "all") == (
        "<!subteam^S0OPS> <!here> &lt;#C0X&gt;"
    )


def test_the_fallback_says_a_host_once():
    said = defuse("[page](https://example.com/x) (old), [a](https://b.example) (b.example)")
    assert fallback_text(said) == "page (https://example.com/x) (old), a (https://b.example)"


def test_a_cut_fallback_says_so():
    assert fallback_text("word " * 2000).endswith("…")
    assert fallback_text("&" * 5000).endswith("&amp;…")


def test_a_notice_is_plain_text_with_its_reference():
    section, context = notice_blocks("*Tool* <!channel> is held.", "ref-1")
    assert section["text"] == {
        "type": "plain_text",
        "text": "*Tool* <!channel> is held.",
        "emoji": False,
    }
    assert "ref-1" in json.dumps(context)
    assert len(notice_blocks("No reference.")) == 1
    assert len(notice_blocks("x" * 9000)[0]["text"]["text"]) == 3000

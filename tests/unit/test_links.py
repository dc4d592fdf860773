"""A link whose text hides where it leads is shown with its host; code is left alone."""

import pytest
from hypothesis import given, settings, strategies as st

from bot import links
from bot.links import find, show_hosts

MARKED = [
    "[your bank](https://evil.example/x)^ (evil.example)",
    "[your bank](HTTPS://Evil.Example:8443/x?y#z)^ (evil.example)",
    '[a [b] \\] c](https://evil.example "a title")^ (evil.example)',
    "[a](<https://evil.example/with space>)^ (evil.example)",
    "[a\nb](\nhttps://evil.example\n)^ (evil.example)",
    "![a](https://evil.example/a.png)^ (evil.example)",
    "[![a](https://one.example)^ (one.example)](https://two.example)^ (two.example)",
    "![see [a](https://one.example)^ (one.example)](https://two.example)^ (two.example)",
    "[`code`](https://evil.example)^ (evil.example)",
    "[a](//evil.example/x)^ (evil.example)",
    "[a](https:evil.example)^ (evil.example)",
    "[a](evil.example/x)^ (evil.example)",
    # by reference
    "[a][1]^ (evil.example) [1][]^ (evil.example) [1]^ (evil.example)\n\n[1]: //evil.example 'title'",
    "> [a][b c]^ (evil.example)\n\n- x\n\n  [B  C]: <https://evil.example>",
    # Slack's own
    "<https://evil.example/x|your bank>^ (evil.example)",
    "<mailto:eve@evil.example|Bob>^ (eve@evil.example)",
    # other schemes
    "[Bob](mailto:eve@evil.example?subject=hi)^ (eve@evil.example)",
    "[bob@bank.example](mailto:eve@evil.example)^ (eve@evil.example)",
    "[call](tel:+4412)^ (tel:+4412)",
    "[open](slack://user?team=T0X&id=U0X)^ (slack://user)",
    # another host is named, or a look-alike
    "[bank.example](https://bank.example.evil.example)^ (bank.example.evil.example)",
    "[bank.example](https://evil.example/bank.example)^ (evil.example)",
    "[docs.bank.example](https://bank.example)^ (bank.example)",
    "[bank.example, not evil.example](https://evil.example)^ (evil.example)",
    "[bank.example](https://bank.example@evil.example)^ (evil.example)",
    "[https://bank.example@evil.example](https://bank.example@evil.example)^ (evil.example)",
    "[bank.example](https://bank.example%40evil.example)^ (bank.example%40evil.example)",
    r"[bank.example](https://bank.example\\@evil.example)^ (evil.example, bank.example)",
    "[b\u0430nk.example](https://b\u0430nk.example)^ (xn--bnk-6cd.example)",
    "[a](https://e%76il%2Eexample)^ (evil.example)",
    "[a](https&#58;//evil.example)^ (evil.example)",
    "[evil.example\u202e](https://evil.example)^ (evil.example)",
    "[a](https://[::1]:80/x)^ (::1)",
    "[a](https://*x*_`.example)^ (%2Ax%2A_%60.example)",
    # where Slack may not read what CommonMark reads
    "    [indented](https://evil.example)^ (evil.example)",
    "<div>\n[a](https://evil.example)^ (evil.example)\n</div>",
    '<b title="[a](https://evil.example)^ (evil.example)">',
    '<b title="`">[a](https://evil.example)^ (evil.example)<b title="`">',
    "> " * 60 + "[deep](https://evil.example)^ (evil.example)",
    "[" * 60 + "[deep](https://evil.example)^ (evil.example)",
    # in blocks
    "# [a](https://evil.example)^ (evil.example) #",
    "1) [a](https://evil.example)^ (evil.example)\n   > - [b](https://evil.example)^ (evil.example)",
    "| a | [b](//h.example)^ (h.example) |\n|---|---|\n| `x | [y](//e.example)^ (e.example)` | [z](/) |",
    "| a |\n|---|\n| b | [wider](//e.example)^ (e.example) |\n| \\| [w](//e.example)^ (e.example) |",
    "\u00a0\n[a](https://evil.example)^ (evil.example)",
]
ALONE = [
    "[evil.example](https://evil.example/x)",
    "[https://evil.example/x](https://evil.example/x)",
    "[**see** EVIL.example](https://www.evil.example/x)",
    "[`www.evil.example`](http://evil.example)",
    "[eve@evil.example](mailto:eve@evil.example)",
    "<https://evil.example/x> https://evil.example <eve@evil.example>",
    "<https://evil.example/x|evil.example>",
    "[a](#heading) [b](/path) [c](src/main.py) [d]() [e][none] [f]",
    "[a] (https://evil.example) \\[a](https://evil.example) [a]\\(https://evil.example)",
    "`[a](https://evil.example)` ``[a](x.example) ` [b](y.example)``",
    "`<https://evil.example|a>`",
    "```\n[a](https://evil.example)\n```",
    "> ~~~md\n> [a](https://evil.example)\n> ~~~",
    "```\n[never closed](https://evil.example)",
    "[a](https://evil.example) (evil.example)",
    "<@U0ANN|ann> <#C0X|general> <!subteam^S0X|ops>",
    "[1]: https://evil.example\n",
]


@pytest.mark.parametrize("text", MARKED)
def test_a_link_that_hides_its_host_is_shown_with_it(text: str):
    plain = "".join(
        part if n == 0 else part[part.index(")") + 1 :] for n, part in enumerate(text.split("^ ("))
    )
    assert show_hosts(plain) == text.replace("^", "")


@pytest.mark.parametrize("text", ALONE)
def test_other_links_and_code_are_left_alone(text: str):
    assert show_hosts(text) == text


TOKENS = ["[bank](https://evil.example/x)", "[a](https://b.example 'c')", "[a][1]", "[1]"]
TOKENS += ["\n\n[1]: https://evil.example\n", "<https://evil.example|bank>", "![a](//c.example)"]
TOKENS += ["`", "``", "\n```\n", "\n", "\n\n", "> ", "- ", "1. ", "    ", "| a | b |\n|---|---|\n"]
TOKENS += [
    "|",
    "\\",
    "[",
    "]",
    "(",
    ")",
    "<",
    ">",
    "!",
    "word ",
    "<div>",
    "<!--",
    "-->",
    " (evil.example)",
]
TEXTS = st.lists(st.sampled_from(TOKENS), max_size=25).map("".join)


@given(TEXTS)
@settings(deadline=None, max_examples=300)
def test_twice_is_as_once_and_only_hosts_are_added(text: str):
    shown = show_hosts(text)
    assert show_hosts(shown) == shown
    marks = find(text).marks
    assert len(shown) == len(text) + sum(map(len, marks.values()))
    assert {text[at - 1] for at in marks} <= set(")]>")


@given(st.text(alphabet="[]()<>`|\\:!a/\n \t#*-é\u00a0\x0b", max_size=200))
@settings(deadline=None)
def test_any_text_at_all_can_be_read(text: str):
    assert show_hosts(show_hosts(text)) == show_hosts(text)


@pytest.mark.parametrize("mark", ["[a](https://b.example) ", "[a](", "`[", "<a|", "](", "> "])
def test_a_long_text_is_read_in_a_moment(mark: str):
    """No text takes time out of proportion: the whole process waits for it."""
    assert len(show_hosts(mark * 3000)) >= len(mark) * 3000


def test_readers_have_their_rules_before_two_threads_share_them():
    """markdown-it would look them up at the first text, and show a second thread none meanwhile."""
    fresh = [links._reader(html=True), links._reader(html=False)]
    parsers = [parser for md in fresh for parser in (md.core, md.block, md.inline)]
    assert all(parser.ruler.__cache__ for parser in parsers)

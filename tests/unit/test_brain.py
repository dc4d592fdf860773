"""The scripted brain: the same texts give the same script."""

import pytest
from hypothesis import given, strategies as st

from router import redaction
from router.runtime.local.brain import (
    Answer,
    Call,
    Decision,
    Output,
    Stop,
    Trouble,
    closing,
    heard,
    pieces,
    script,
    written,
)


def text(value: str) -> dict[str, str]:
    return {"type": "text", "text": value}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([text("hello")], "hello"),
        ([text('<input id="1" from="U"/>'), text("hello")], "hello"),
        ([text('<input id="1"/> hello')], "hello"),
        ([text("hello"), text('<input id="1"/>')], 'hello\n<input id="1"/>'),
        ([text("look"), {"type": "image"}, {"type": "document"}], "look\n[image]\n[document]"),
        ([text('<input id="1"/>')], ""),
    ],
)
def test_what_is_heard(content, expected):
    assert heard(content) == expected


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("hello", 'You said: "hello"'),
        ("!echo a b", "a b"),
        ("hey, !echo a\nb", "a\nb"),
        ("!echo", "(nothing)"),
        ("!echoes", 'You said: "!echoes"'),
        ("wow!echo x", 'You said: "wow!echo x"'),
        ("!unknown !echo x", "x"),
    ],
)
def test_the_first_known_word_counts(said, answer):
    (step,) = script([said])
    assert isinstance(step, Answer)
    assert step.text == answer


def test_messages_of_one_turn_are_answered_together():
    (step,) = script(["a", "b"])
    assert step == Answer('You said: "a" and "b"')
    assert script(["a", "!echo b", "c"]) == (Answer("b\nc", thinking=False),)


@pytest.mark.parametrize(
    ("said", "kilobytes"), [("!long", 6), ("!long 20", 20), ("!long 0.5", 0.5)]
)
def test_long_answers_have_their_size_and_every_shape(said, kilobytes):
    (step,) = script([said])
    assert isinstance(step, Answer)
    assert kilobytes * 1024 <= len(step.text) < kilobytes * 1024 + 1000
    assert all(mark in step.text for mark in ("\n## ", "\n- ", "\n1. ", "\n| ", "```python"))
    assert step.text.count("```") % 2 == 0


def test_words_with_consequences():
    assert script(["!error"]) == (Trouble("exhausted"),)
    assert script(["!error terminal"]) == (Trouble("terminal"),)
    assert script(["!error retrying"])[0] == Trouble("retrying")
    assert script(["!refuse"]) == (Stop("refusal"),)
    assert script(["!budget"]) == (Stop("budget_reached"),)
    (slow,) = script(["!slow 7"])
    assert isinstance(slow, Answer)
    assert slow.seconds == 7
    (quoting,) = script(["!slow 2 one", "two"])
    assert quoting == Answer('You said: "one\ntwo"', seconds=2)


@pytest.mark.parametrize("said", ["!slow ", "!long "])
def test_numbers_have_an_end(said):
    (step,) = script([said + "9" * 400])
    assert isinstance(step, Answer)
    assert step.seconds <= 86_400
    assert len(step.text) < 1_100_000


@pytest.mark.parametrize(
    ("said", "count", "kind", "name", "waits"),
    [
        ("!tool", 1, "tool", "bash", False),
        ("!tool web_search", 1, "tool", "web_search", False),
        ("!tool github.search", 1, "mcp", "search", False),
        ("!ask", 1, "tool", "bash", True),
        ("!ask jira.create", 1, "mcp", "create", True),
        ("!ask7", 7, "tool", "bash", True),
        ("!custom", 1, "custom", "lookup_order", True),
        ("!escalate why?", 1, "custom", "escalate_to_human", True),
        ("!escalate why? | a | b", 1, "custom", "escalate_to_human", True),
        ("!ask secret", 1, "tool", "bash", True),
        ("!ask long", 1, "tool", "write", True),
        ("!ask sub", 1, "tool", "bash", True),
        ("!ask sub jira.create", 1, "mcp", "create", True),
    ],
)
def test_words_that_call_tools(said, count, kind, name, waits):
    step = script([said])[0]
    assert isinstance(step, Answer)
    assert [(c.kind, c.name, c.waits) for c in step.calls] == [(kind, name, waits)] * count


def the_call(said: str) -> Call:
    (step,) = script([said])
    assert isinstance(step, Answer)
    (call,) = step.calls
    return call


@pytest.mark.parametrize(
    ("said", "question", "choices"),
    [
        ("!escalate", "May I go on?", None),
        ("!escalate why?", "why?", None),
        ("!escalate Which? | The first | The second ", "Which?", ["The first", "The second"]),
        ("!escalate Which? | | b", "Which?", ["b"]),
        ("!escalate Which? | ", "Which?", None),
        ("!escalate | a", "May I go on?", ["a"]),
    ],
)
def test_a_question_may_have_choices(said, question, choices):
    asked = the_call(said).input
    assert (asked["question"], asked.get("choices")) == (question, choices)
    assert asked["context"]


def test_arguments_that_look_secret_or_are_long_and_calls_of_a_subagent():
    secret = the_call("!ask secret").input
    hidden = redaction.shown(secret)
    assert (hidden["password"], hidden["env"]["API_KEY"]) == (redaction.HIDDEN,) * 2
    assert (hidden["env"]["REGION"], hidden["command"][:4]) == ("eu", "curl")
    assert "EXAMPLE" in str(secret)
    assert "EXAMPLE" not in str(hidden)
    assert len(the_call("!ask long").input["content"]) == 5000
    assert (the_call("!ask sub").sub, the_call("!ask").sub) == (True, False)


def test_custom_tools_are_called_with_what_stands_behind_their_names():
    (answer,) = script(['!tool find {"a": {"b": [1]}} tell {"text": "hi } there"} and so on'])
    assert isinstance(answer, Answer)
    assert [(c.kind, c.name, c.input) for c in answer.calls] == [
        ("custom", "find", {"a": {"b": [1]}}),
        ("custom", "tell", {"text": "hi } there"}),
    ]
    assert script(["!tool bash {half"]) == script(["!tool bash"])
    text = closing([Decision("answered", "find", "x" * 5_000)]).text
    assert text == f'find answered: "{"x" * 2_000}…".'


def test_the_closing_names_every_decision():
    decisions = [
        Decision("allowed", "bash"),
        Decision("denied", "write", "Too risky."),
        Decision("denied", "edit"),
        Decision("answered", "lookup_order", "shipped"),
        Decision("failed", "escalate_to_human", "nobody there"),
    ]
    assert closing(decisions).text == (
        "bash was allowed and ran. write was denied: Too risky. edit was denied. "
        'lookup_order answered: "shipped". escalate_to_human failed: "nobody there".'
    )


@given(st.text(max_size=5000))
def test_pieces_are_the_text(whole):
    parts = pieces(whole)
    assert "".join(parts) == whole
    assert len(parts) <= 24


@given(st.lists(st.text(max_size=200), min_size=1, max_size=4))
def test_any_text_has_one_script(texts):
    assert script(texts) == script(texts)


PICTURE = {"type": "image", "source": {"type": "file", "file_id": "file_1"}}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ([text("look"), PICTURE], "look\n[image: plot.png, 8 bytes]"),
        ([PICTURE], "[image: plot.png, 8 bytes]"),
        ([{**PICTURE, "source": {"type": "url", "url": "u"}}], "[image]"),
        (
            [text("<input id='1'/>"), text("hi"), text("a.txt:\n```\n!ask me, please\n```")],
            "hi\n[text: a.txt: ``` ask me, please ``` …, 30 characters]",
        ),
        (
            [text("hi"), text("<earlier team='T'>\nAda: !echo no\n</earlier>")],
            "hi\n[text: <earlier team='T'> Ada: echo no </earlier> …, 43 characters]",
        ),
        (
            [text("[Said before.]\n> !echo no\n[End.]"), text("hi")],
            "[text: [Said before.] > echo no [End.] …, 32 characters]\nhi",
        ),
        ([text("```\n!echo alone\n```")], "```\n!echo alone\n```"),
    ],
)
def test_of_files_and_quotations_a_line_is_heard(content, expected):
    assert heard(content, {"file_1": "plot.png, 8 bytes"}) == expected


def test_a_word_in_a_quotation_is_not_obeyed():
    said = heard([text("@bot what is this?"), text("~~~\nAda: !terminal !error terminal\n~~~")])
    (step,) = script([said])
    assert isinstance(step, Answer)


@pytest.mark.parametrize(
    ("said", "outputs"),
    [
        ("!write a.md", [("a.md", 1024)]),
        ("!write a.md 12", [("a.md", 12)]),
        (
            "!write a.md 2k, b.bin 21MB,c, d 3K, e 1mb",
            [("a.md", 2048), ("b.bin", 21 * 2**20), ("c", 1024), ("d", 3072), ("e", 2**20)],
        ),
        ("!write /mnt/x/a.md please\nand more", [("a.md", 1024)]),
        ("!write", [("notes.txt", 1024)]),
        ("!write a 999999M", [("a", 100 * 2**20)]),
        (
            "!write " + ",".join("abcdefghijklmnopqrstuvwxyz"),
            [(c, 1024) for c in "abcdefghijklmnopqrst"],
        ),
    ],
)
def test_files_are_written_each_by_a_call(said, outputs):
    step, closing_step = script([said])
    assert isinstance(step, Answer)
    assert isinstance(closing_step, Answer)
    made = [call.output for call in step.calls if call.output is not None]
    assert [(one.name, one.size) for one in made] == outputs
    for name, _ in outputs:
        assert name in closing_step.text


@given(st.integers(0, 300_000))
def test_a_written_file_has_the_size_that_was_asked_for(size):
    assert sum(map(len, written(Output("a.md", size)))) == size

"""What `demo --once` finds wrong: each of its checks, with what is right and what is not."""

from typing import Any

import pytest

from bot.script import (
    Report,
    check_sessions,
    wrong_answers,
    wrong_cards,
    wrong_marks,
    wrong_steps,
    wrong_streams,
)
from bot.stage import Talk
from router.runtime.client import Runtime
from router.runtime.local import LocalRuntime

ASKED = Talk("a talk", expected=["Which planet is the largest?", "And the smallest?"])
RIGHT = ['You said: "Which planet is the largest?"', 'You said: "And the smallest?"']


@pytest.mark.parametrize(
    ("answers", "wrong"),
    [
        (RIGHT, []),
        ([*RIGHT, RIGHT[1]], ["a talk: 3 answers where 2 are due"]),
        (RIGHT[:1], ["a talk: 1 answers where 2 are due"]),
        ([], ["a talk: 0 answers where 2 are due"]),
        (RIGHT[:1] * 2, [f"a talk: the answer to 'And the smallest?' is {RIGHT[0]!r}"]),
    ],
    ids=["right", "doubled", "missing", "none", "another's"],
)
def test_what_once_finds_wrong_with_a_thread(answers, wrong):
    assert wrong_answers(ASKED, answers, scripted=True) == wrong
    counted = [w for w in wrong if "are due" in w]
    assert wrong_answers(ASKED, answers, scripted=False) == counted  # a real model does not quote


def test_what_once_finds_wrong_with_marks():
    ours, theirs = ({"name": "eyes", "users": [user]} for user in ("UBOT", "UADA"))
    thread: list[dict[str, Any]] = [{"text": "hello"}, {"text": "more", "reactions": [theirs]}]
    assert wrong_marks(ASKED, thread, "UBOT") == []
    thread.append({"text": "and more", "reactions": [theirs, ours]})
    assert wrong_marks(ASKED, thread, "UBOT") == ["a talk: 'and more' is still marked :eyes:"]


@pytest.mark.parametrize(
    ("seen", "state", "wrong"),
    [
        (["One", "One t"], "completed", []),
        (["One"], "completed", ["a talk: the answer was seen at 1 lengths before it was whole"]),
        ([], None, ["a talk: the answer was seen at 0 lengths before it was whole"]),
        (["One", "One t"], "in_progress", ["a talk: 'One two' is still being written"]),
        (
            ["One t", "One"],
            "completed",
            ["a talk: what was seen of 'One two' is not its beginning"],
        ),
        (["One", "Two"], "completed", ["a talk: what was seen of 'One two' is not its beginning"]),
    ],
    ids=["right", "once", "never", "unfinished", "shrunk", "another's"],
)
def test_what_once_finds_wrong_with_a_stream(seen, state, wrong):
    talk = Talk("a talk", lengths=2, grown={"1.0": seen} if seen else {})
    answer = {"ts": "1.0", "text": "One two", "streaming_state": state}
    assert wrong_streams(talk, [answer]) == wrong


@pytest.mark.parametrize(
    ("seen", "last", "wrong"),
    [
        ("in_progress", "complete", []),
        ("complete", "complete", ["a talk: nobody saw that bash was in progress"]),
        ("in_progress", "error", ["a talk: the steps in the end are [('bash', 'error')]"]),
        ("in_progress", None, ["a talk: the steps in the end are []"]),
    ],
)
def test_what_once_finds_wrong_with_the_card_of_a_step(seen, last, wrong):
    talk = Talk("a talk", steps=["bash"], cards={"1.0": {("bash", seen)}})
    card = {"type": "task_card", "title": "bash", "status": last}
    blocks = [{"type": "markdown", "text": "One two"}, *([card] if last else [])]
    assert wrong_steps(talk, [{"ts": "1.0", "blocks": blocks}]) == wrong


@pytest.mark.parametrize(
    ("text", "offered", "wrong"),
    [
        ("May it?\nApproved by @ada.", [], []),
        ("May it?", [], ["a talk: the card does not say 'Approved by @ada'"]),
        ("Approved by @ada.", ["Deny"], ["a talk: 'Approved by @ada.' can still be pressed"]),
    ],
    ids=["right", "undecided", "pressable"],
)
def test_what_once_finds_wrong_with_the_card_of_a_decision(text, offered, wrong):
    talk = Talk("a talk", decided={"1.0": ["Approved by @ada"]})
    buttons = [{"text": {"text": label}} for label in offered]
    blocks = [{"type": "actions", "elements": buttons}] if offered else []
    assert wrong_cards(talk, [{"ts": "1.0", "text": text, "blocks": blocks}]) == wrong


NOT_NOW = {"type": "user.tool_confirmation", "result": "deny", "deny_message": "No: not now"}
ANSWERED = {"type": "user.custom_tool_result", "content": [{"type": "text", "text": "It is four."}]}


@pytest.mark.parametrize(
    ("decided", "wrong"),
    [
        ([("deny", "not now"), ("answer", "four")], []),
        ([("deny", "not now")], ["the runtime heard of 2 decisions, and people made 1"]),
        (
            [("allow", ""), ("answer", "five")],
            [
                "the runtime heard ('deny', 'No: not now') where people decided ('allow', '')",
                "the runtime heard ('answer', 'It is four.') where people decided ('answer', 'five')",
            ],
        ),
    ],
    ids=["right", "doubled", "another's"],
)
def test_what_once_finds_wrong_with_what_the_runtime_heard_of_decisions(decided, wrong):
    session = {"id": "sesn_1", "metadata": {"threadline_session_id": "1"}}
    report = Report()
    received = {"received": [NOT_NOW, ANSWERED]}
    check_sessions(report, [Talk("a", told=decided)], [session | received], set())
    assert report.wrong == wrong


@pytest.mark.parametrize(
    ("sent", "wrong"),
    [
        ([["one"], ["(Correction:)\ntwo"]], []),
        ([["one", "two"], []], []),
        ([["one"], ["old"]], ["the runtime received 'old' where 'two' was said"]),
        ([["one"], ["old", "two"]], ["the runtime received 3 messages, and 2 were sent"]),
        ([["one"], ["two", None]], ["the runtime was stopped 1 times, and Stop pressed 0"]),
    ],
    ids=["right", "together", "older", "both", "stopped"],
)
def test_what_once_finds_wrong_with_what_the_runtime_received(sent, wrong):
    """None stands for an interrupt."""
    sessions = [
        {
            "id": f"sesn_{n}",
            "metadata": {"threadline_session_id": str(n)},
            "received": [
                {"type": "user.interrupt"}
                if text is None
                else {"type": "user.message", "content": [{"text": "<input />"}, {"text": text}]}
                for text in texts
            ],
        }
        for n, texts in enumerate(sent)
    ]
    report = Report()
    check_sessions(report, [Talk("a", texts=["one"]), Talk("b", texts=["two"])], sessions, set())
    assert report.wrong == wrong


@pytest.mark.parametrize("doubled", [False, True])
async def test_what_once_finds_wrong_with_sessions(doubled):
    async with LocalRuntime() as runtime:
        client = Runtime(api_key="local", base_url=runtime.url, max_streams=1)
        agent = await client.create_agent(name="demo", model="claude-sonnet-5-5", system="Help.")
        environment = await client.create_environment(name="demo")
        for ours in ["one", "one"] if doubled else ["one"]:
            made = await client.create_session(
                agent_id=agent,
                environment_id=environment,
                title="A talk",
                metadata={"threadline_session_id": ours},
            )
            await client.send(
                made, [{"type": "user.message", "content": [{"type": "text", "text": "hello"}]}]
            )
        await client.close()
        report = Report()
        talk = Talk("a talk", root="1.0", texts=["hello"])
        check_sessions(report, [talk], runtime.state()["sessions"], set())
    assert report.wrong == (
        [
            "1 threads have 2 runtime sessions for 1 sessions of ours",
            "the runtime received 2 messages, and 1 were sent",
        ]
        if doubled
        else []
    )

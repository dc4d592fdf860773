"""The answer while it is written: fragments, the whole messages that replace them, tool steps."""

from typing import Any

import pytest
from hypothesis import given, strategies as st

from router.ports import Step
from router.turns.live import LiveAnswer


def delta(key: str, text: str) -> dict[str, Any]:
    content = {"type": "text", "text": text}
    return {"type": "event_delta", "event_id": key, "delta": {"index": 0, "content": content}}


def message(key: str, *texts: str) -> dict[str, Any]:
    content = [{"type": "text", "text": text} for text in texts]
    return {"type": "agent.message", "id": key, "content": content}


def request_end(*, failed: bool) -> dict[str, Any]:
    return {"type": "span.model_request_end", "id": "e", "is_error": failed}


def use(key: str, kind: str = "agent.tool_use", name: str = "bash") -> dict[str, Any]:
    return {"type": kind, "id": key, "name": name}


def result(key: str, *, failed: bool = False) -> dict[str, Any]:
    return {"type": "agent.tool_result", "tool_use_id": key, "is_error": failed}


@given(st.lists(st.text(min_size=1), min_size=1))
def test_fragments_grow_into_the_message_that_follows(fragments: list[str]):
    answer = LiveAnswer()
    for n, fragment in enumerate(fragments):
        assert answer.see(delta("a", fragment))
        whole = "".join(fragments[: n + 1])
        assert answer.text == (whole if whole.strip() else "")
    assert not answer.see(message("a", "".join(fragments)))


def test_a_whole_message_replaces_what_was_guessed_of_it_and_late_fragments_are_passed_over():
    answer = LiveAnswer()
    answer.see(delta("a", "Hel"))
    assert answer.see(message("a", "Hello", " there"))
    assert not answer.see(delta("a", "lo"))
    assert not answer.see(message("a", "Hello", " there"))
    assert answer.text == "Hello there"


def test_messages_join_as_in_the_final_answer_and_empty_ones_leave_no_gap():
    answer = LiveAnswer()
    for event in (message("a", "one"), message("b", " "), message("c"), delta("d", "two")):
        answer.see(event)
    assert answer.text == "one\n\ntwo"


def test_a_message_that_was_cut_short_is_marked_once_another_begins():
    answer = LiveAnswer()
    answer.see(delta("a", "This is sen"))
    assert answer.text == "This is sen"
    for event in (request_end(failed=False), delta("b", "No")):
        answer.see(event)
    assert answer.text == "This is sen …\n\nNo"


@pytest.mark.parametrize("failed", [True, False])
def test_what_a_failed_request_began_to_say_is_forgotten(failed):
    answer = LiveAnswer()
    answer.see(message("a", "one"))
    answer.see(delta("b", "tw"))
    assert answer.see(request_end(failed=failed)) is failed
    assert answer.text == ("one" if failed else "one\n\ntw")


def test_nothing_new_where_there_is_nothing_to_show():
    answer = LiveAnswer()
    start = {"type": "event_start", "event": {"type": "agent.message", "id": "a"}}
    others = [start, delta("a", ""), {"type": "session.status_idle"}, {"type": "agent.thinking"}]
    others += [{"type": "event_delta", "event_id": "a"}, result("unknown")]
    assert not any(answer.see(event) for event in others)
    assert (answer.text, answer.steps) == ("", ())


@pytest.mark.parametrize("kind", ["agent.tool_use", "agent.mcp_tool_use", "agent.custom_tool_use"])
def test_a_call_is_a_step_until_its_result_says_how_it_went(kind: str):
    answer = LiveAnswer()
    assert answer.see(use("t1", kind))
    assert answer.see(use("t2", kind, "read"))
    assert answer.see(result("t2", failed=True))
    assert answer.see({"type": "agent.mcp_tool_result", "mcp_tool_use_id": "t1"})
    assert answer.steps == (Step("t1", "bash", "complete"), Step("t2", "read", "error"))


@pytest.mark.parametrize(("interrupted", "status"), [(True, "error"), (False, "complete")])
def test_at_the_end_no_step_is_in_progress(interrupted, status):
    answer = LiveAnswer()
    answer.see(use("t1"))
    answer.see(use("t2"))
    answer.see(result("t1"))
    answer.settle(interrupted=interrupted)
    assert [step.status for step in answer.steps] == ["complete", status]

r"""The scripted brain: what the agent of the local runtime says.

It obeys the first `!word` found in the user's text and otherwise answers quoting it:

| word | what happens |
| --- | --- |
| `!echo rest` | answers just the rest |
| `!long [n]` | a long Markdown answer of n kilobytes (6, at most 1,024): headings, lists, tables, code fences |
| `!tool [name]` | a built-in tool call that is allowed, between two texts (`bash`); `server.tool` is a call over MCP |
| `!tool name {…}` | a call of the custom tool of that name, with the JSON object as what it is passed; several behind one another are calls at once |
| `!ask [name]` | one call that waits for a confirmation (`bash`; `server.tool` as above) |
| `!ask secret` | such a call with an API key, a password and a token in its arguments |
| `!ask long` | such a call with 5,000 characters of arguments |
| `!ask slow` | such a call whose end is told slowly |
| `!ask sub [name]` | such a call of a subagent's |
| `!ask7` | seven such calls at once |
| `!custom` | a call of the custom tool `lookup_order` |
| `!escalate question` | a call of the custom tool `escalate_to_human` with question and context |
| `!escalate question \| a \| b` | the same with choices |
| `!write name [size], …` | a file that the agent makes, of so many bytes (`1000`, `20k`, `5M`; 1k); several behind commas, at most 20 |
| `!slow [seconds] [n]` | an answer that takes its time (3 s), of n kilobytes as `!long` if asked for |
| `!slow seconds words` | quotes the words, slowly |
| `!error [kind] [type]` | an error: `retrying` (then it answers), `exhausted` (the default), `terminal`; of a `session.error` type if asked for |
| `!refuse` | the turn ends in a refusal |
| `!budget` | the turn ends with the budget reached, which stays so until the session's budget is updated |

After confirmations and results a short closing text names what was allowed, denied or answered; of a
long answer it quotes the beginning.
A first text block of the form `<input … />` is the sender's own mark and is skipped. Of a block
beside others that quotes something, in a fence, between tags or below a line in brackets, and of one
that is an image or a document only a line is heard, so no word of it is obeyed. Several messages of
one turn are read as one text. Everything here is pure: the same texts give the same script.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from router.runtime.local.wire import Json

_MARK = re.compile(r"\A\s*<input\b[^<>]*/>\s*")
_NAMES = "echo|long|tool|ask7|ask|custom|escalate|write|slow|error|refuse|budget"
_WORD = re.compile(rf"(?<!\S)!({_NAMES})(?!\w)[ \t]*(.*)", re.DOTALL)

# What only a quotation has: a fence, a tag that something else closes, a first line in brackets.
_QUOTED = re.compile(
    r"^(?:`{3,}|~{3,}|<[a-z][\w-]*(?:\s[^<>]*)?(?<!/)>\s*$)|\A\[[^\n]+\]\n", re.MULTILINE
)
_QUOTED_WORDS = 9
_OUTPUTS = "/mnt/session/outputs"
_SIZE = re.compile(r"(\d{1,9})([km]?)b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1024, "m": 1024**2}
_MOST_OUTPUTS = 20
_MOST_QUOTED = 2_000
_PASSED = re.compile(r"\s*([A-Za-z0-9_-]+)\s*(?={)")
_MOST_OUTPUT_BYTES = 100 * 1024**2

_TOOL_INPUTS: dict[str, Json] = {
    "bash": {"command": "ls -l /workspace"},
    "read": {"file_path": "/workspace/notes.md"},
    "write": {"file_path": "/workspace/notes.md", "content": "# Notes\n"},
    "edit": {"file_path": "/workspace/notes.md", "old_string": "a", "new_string": "b"},
    "glob": {"pattern": "**/*.md"},
    "grep": {"pattern": "order", "path": "/workspace"},
    "web_fetch": {"url": "https://example.com/"},
    "web_search": {"query": "example"},
}
# What looks like secrets, and is none: for whoever shows arguments to people.
_SECRET_INPUT: Json = {
    "command": "curl -H 'Authorization: Bearer sk-ant-api03-0000000000EXAMPLE' example.com",
    "env": {"API_KEY": "key-0000000000-EXAMPLE", "REGION": "eu"},
    "password": "correct horse EXAMPLE",
}
_LONG_INPUT: Json = {
    "file_path": "/workspace/long.md",
    "content": "".join(f"Line {n:03} of a long file.\n" for n in range(1, 201))[:5000],
}
# SDK/types/beta/sessions/beta_managed_agents_session_error_event.py
ERRORS = {
    "unknown_error": "The session cannot go on.",
    "model_overloaded_error": "The model is overloaded.",
    "model_rate_limited_error": "The model request was rate-limited.",
    "model_request_failed_error": "The model request failed.",
    "mcp_connection_failed_error": "Failed to connect to the MCP server.",
    "mcp_authentication_failed_error": "Authentication to the MCP server failed.",
    "billing_error": "The organization is out of credits.",
    "credential_host_unreachable_error": "A credential's host is not permitted.",
    "tool_use_limit_reached_error": "The limit on tool-use rounds was reached.",
    "compaction_limit_reached_error": "The context was compacted too often.",
    "repository_authentication_error": "The repository host rejected the credentials.",
    "repository_forbidden_error": "The repository host refused access.",
    "repository_not_found_error": "The repository was not found.",
    "repository_checkout_error": "The branch does not exist.",
    "repository_clone_error": "The repository could not be cloned.",
}
_SLOW_SECONDS = 3.0
_MOST_SECONDS = 86_400.0
_LONG_KILOBYTES = 6.0
_BLOCK = 64 * 1024
_MOST_KILOBYTES = 1024.0
_SLOW_TEXT = " ".join(
    f"This is sentence {n} of twelve, said slowly so that a stream has something to show."
    for n in range(1, 13)
)
_SECTION = """## Section {n}

Paragraph {n} has *emphasis*, **weight**, `code` and a [link](https://example.com/{n}).

- first point of section {n}
- second point
    - a point below it
1. one
2. two

| item | count | note |
| --- | ---: | --- |
| apples | {n} | fresh |
| pears | {n}0 | ripe |

```python
def section_{n}(rows: list[str]) -> int:
    return len(rows) + {n}
```

"""


@dataclass(frozen=True, slots=True)
class Output:
    """A file that a call writes."""

    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Call:
    """One tool call; `ask` ones and custom ones wait for an answer from outside.

    `sub`: a subagent makes it, in a thread of its own.
    """

    kind: Literal["tool", "mcp", "custom"]
    name: str
    input: Json
    ask: bool = False
    server: str = ""
    sub: bool = False
    output: Output | None = None

    @property
    def waits(self) -> bool:
        """Whether the turn pauses for it."""
        return self.ask or self.kind == "custom"


@dataclass(frozen=True, slots=True)
class Answer:
    """One model request: a text, perhaps spoken over some seconds, and the calls it makes."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    seconds: float = 0.0
    thinking: bool = True


@dataclass(frozen=True, slots=True)
class Trouble:
    """A model request that fails."""

    kind: Literal["retrying", "exhausted", "terminal"]
    error: str = ""


@dataclass(frozen=True, slots=True)
class Stop:
    """A model request after which the turn ends for another reason than being done."""

    reason: Literal["refusal", "budget_reached"]


Step = Answer | Trouble | Stop


@dataclass(frozen=True, slots=True)
class Decision:
    """How one waiting call was answered."""

    kind: Literal["allowed", "denied", "answered", "failed"]
    name: str
    text: str = ""


def heard(content: Sequence[Json], files: Mapping[str, str] | None = None) -> str:
    """The text of a message without the sender's mark; other blocks are named.

    `files` are the names and sizes of files by their ids.
    """
    texts = [block["text"] for block in content if block["type"] == "text"]
    if texts:
        texts[0] = _MARK.sub("", texts[0])
    texts = [text for text in texts if text.strip()]
    if len(texts) > 1:
        texts = [_quotation(text) if _QUOTED.search(text) else text for text in texts]
    others = [_named(block, files or {}) for block in content if block["type"] != "text"]
    return "\n".join([*texts, *others]).strip()


def _quotation(text: str) -> str:
    words = " ".join(text.split()[:_QUOTED_WORDS])
    return f"[text: {words} …, {len(text)} characters]".replace("!", "")


def _named(block: Json, files: Mapping[str, str]) -> str:
    name = files.get((block.get("source") or {}).get("file_id", ""))
    return f"[{block['type']}: {name}]" if name else f"[{block['type']}]"


def script(texts: Sequence[str]) -> tuple[Step, ...]:
    """What the agent does about the messages of one turn."""
    match = _WORD.search("\n".join(texts))
    if match is None:
        said = " and ".join(f'"{text}"' for text in texts)
        return (Answer(f"You said: {said}"),)
    return _SCRIPTS[match[1]](match[2].strip())


def closing(decisions: Sequence[Decision]) -> Answer:
    """What the agent says once everything it waited for is answered."""
    text = " ".join(_told(decision) for decision in decisions)
    if any(decision.name == "slow" for decision in decisions):
        return Answer(f"{text} {_SLOW_TEXT}", seconds=_SLOW_SECONDS)
    return Answer(text)


def written(output: Output) -> Iterator[bytes]:
    """What is in a file that the agent makes: lines that name it."""
    line = f"A line of {output.name}, as the agent wrote it.\n".encode()
    block = line * (_BLOCK // len(line) + 1)
    for start in range(0, output.size, len(block)):
        yield block[: output.size - start]


def pieces(text: str, most: int = 24) -> list[str]:
    """The text in at most so many fragments, cut anywhere, as deltas are."""
    size = max(16, -(-len(text) // most))
    return [text[i : i + size] for i in range(0, len(text), size)]


def _told(decision: Decision) -> str:
    match decision.kind:
        case "allowed":
            return f"{decision.name} was allowed and ran."
        case "denied":
            reason = f": {decision.text.rstrip('.')}" if decision.text else ""
            return f"{decision.name} was denied{reason}."
        case "answered":
            return f'{decision.name} answered: "{_beginning_of(decision.text)}".'
        case "failed":
            return f'{decision.name} failed: "{_beginning_of(decision.text)}".'


def _beginning_of(text: str) -> str:
    return text if len(text) <= _MOST_QUOTED else f"{text[:_MOST_QUOTED]}…"


def _echo(rest: str) -> tuple[Step, ...]:
    return (Answer(rest or "(nothing)", thinking=False),)


def _long(rest: str) -> tuple[Step, ...]:
    return (Answer(_long_text(_number(rest, _LONG_KILOBYTES, _MOST_KILOBYTES))),)


def _long_text(kilobytes: float) -> str:
    text, n = "# A long answer\n\n", 0
    while len(text) < int(kilobytes * 1024):
        n += 1
        text += _SECTION.format(n=n)
    return text.rstrip() + "\n\nThat is all."


def _tool(rest: str) -> tuple[Step, ...]:
    if calls := tuple(_passed(rest)):
        return (Answer("", calls),)
    call = _call(rest)
    return (
        Answer(f"Let me use {call.name}.", (call,)),
        Answer(f"{call.name} is done, and this is what it gave.", thinking=False),
    )


def _passed(rest: str) -> Iterator[Call]:
    """Calls of custom tools with what they are passed, as long as there are some."""
    while match := _PASSED.match(rest):
        try:
            arguments, end = json.JSONDecoder().raw_decode(rest, match.end())
        except ValueError:
            return
        yield Call("custom", match[1], arguments)
        rest = rest[end:]


def _ask(rest: str) -> tuple[Step, ...]:
    match _first(rest):
        case "secret":
            call = Call("tool", "bash", _SECRET_INPUT, ask=True)
        case "long":
            call = Call("tool", "write", _LONG_INPUT, ask=True)
        case "sub":
            call = replace(_call(rest.partition(" ")[2], ask=True), sub=True)
        case _:
            call = _call(rest, ask=True)
    return (Answer("This needs a confirmation.", (call,)),)


def _ask_seven(_rest: str) -> tuple[Step, ...]:
    calls = tuple(
        Call("tool", "bash", {"command": f"rm /workspace/old-{n}.txt"}, ask=True)
        for n in range(1, 8)
    )
    return (Answer("These need a confirmation each.", calls),)


def _custom(_rest: str) -> tuple[Step, ...]:
    return (
        Answer("Let me look up the order.", (Call("custom", "lookup_order", {"order": "1234"}),)),
    )


def _escalate(rest: str) -> tuple[Step, ...]:
    question, *choices = [part.strip() for part in rest.split("|")]
    arguments: Json = {
        "question": question or "May I go on?",
        "context": "The user asked for a person to decide.",
    }
    if any(choices):
        arguments["choices"] = [choice for choice in choices if choice]
    return (Answer("", (Call("custom", "escalate_to_human", arguments),)),)


def _write(rest: str) -> tuple[Step, ...]:
    outputs = [
        _output(one.split()) for one in rest.split("\n", maxsplit=1)[0].split(",")[:_MOST_OUTPUTS]
    ]
    told = ", ".join(f"{one.name} ({one.size} bytes)" for one in outputs)
    calls = tuple(
        Call(
            "tool",
            "write",
            {"file_path": f"{_OUTPUTS}/{one.name}", "content": _beginning(one)},
            output=one,
        )
        for one in outputs
    )
    return (
        Answer("Let me write that.", calls),
        Answer(f"It is written: {told}.", thinking=False),
    )


def _output(words: Sequence[str]) -> Output:
    name = words[0].rpartition("/")[2] if words else ""
    match = _SIZE.fullmatch(words[1]) if len(words) > 1 else None
    size = int(match[1]) * _UNITS[match[2].lower()] if match else 1024
    return Output(name or "notes.txt", min(_MOST_OUTPUT_BYTES, size))


def _beginning(output: Output) -> str:
    return next(written(output), b"")[:200].decode(errors="ignore")


def _slow(rest: str) -> tuple[Step, ...]:
    words = rest.partition(" ")[2].strip()
    size = _number(words, 0.0, _MOST_KILOBYTES)
    text = _long_text(size) if size else f'You said: "{words}"' if words else _SLOW_TEXT
    return (Answer(text, seconds=_number(rest, _SLOW_SECONDS, _MOST_SECONDS)),)


def _error(rest: str) -> tuple[Step, ...]:
    error = next((word for word in rest.split()[:2] if word in ERRORS), "")
    match rest.split()[:1]:
        case ["retrying"]:
            return (Trouble("retrying", error), Answer("It worked at the second attempt."))
        case ["terminal"]:
            return (Trouble("terminal", error),)
        case _:
            return (Trouble("exhausted", error),)


def _refuse(_rest: str) -> tuple[Step, ...]:
    return (Stop("refusal"),)


def _budget(_rest: str) -> tuple[Step, ...]:
    return (Stop("budget_reached"),)


def _call(rest: str, *, ask: bool = False) -> Call:
    name = _first(rest) or "bash"
    server, dot, tool = name.partition(".")
    if dot and server and tool:
        return Call("mcp", tool, {"title": "An example"}, ask, server)
    return Call("tool", name, _TOOL_INPUTS.get(name, {}), ask)


def _first(rest: str) -> str:
    return next(iter(rest.split()), "")


def _number(rest: str, default: float, most: float) -> float:
    first = _first(rest)
    return min(most, float(first)) if re.fullmatch(r"\d+(\.\d+)?", first) else default


_SCRIPTS: dict[str, Callable[[str], tuple[Step, ...]]] = {
    "echo": _echo,
    "long": _long,
    "tool": _tool,
    "ask": _ask,
    "ask7": _ask_seven,
    "custom": _custom,
    "escalate": _escalate,
    "write": _write,
    "slow": _slow,
    "error": _error,
    "refuse": _refuse,
    "budget": _budget,
}

"""The tool by which an agent asks a person, as the runtime is told of it."""

from typing import Any, Final

ESCALATE: Final = "escalate_to_human"

# platform.claude.com/docs/en/managed-agents/tools, "Custom tools"; the description is the agent's
# only guide, so it says when to call as much as what comes of it.
ESCALATE_TO_HUMAN: Final[dict[str, Any]] = {
    "type": "custom",
    "name": ESCALATE,
    "description": (
        "Ask a person a question and wait for the answer. Use it when you cannot go on without a "
        "decision, a permission or a fact that only a person has: the request is ambiguous in a "
        "way that changes the outcome, the next step cannot be undone or is risky, instructions "
        "contradict each other, or you lack access or knowledge that a person can supply. Do not "
        "use it for what you can find out yourself, to report progress, or to ask for a "
        "confirmation that was given already. The person sees only what you pass here, not your "
        "thoughts: make the question complete, and offer choices where the answers are few. Ask "
        "one question per call. The answer may take hours. The result says who answered and what; "
        "a result with status `cancelled` means that nobody will answer: do not ask again."
    ),
    "input_schema": {
        "type": "object",
        "properties": {
            "question": {
                "type": "string",
                "description": "The question, complete in itself, in one or two sentences.",
            },
            "context": {
                "type": "string",
                "description": "What the person has to know to answer: what you were asked, what "
                "you found, what you would do by default.",
            },
            "choices": {
                "type": "array",
                "items": {"type": "string"},
                "maxItems": 10,
                "description": "The answers to choose from, a few words each, at most ten. Leave "
                "it out for a free answer; a person may always answer in their own words.",
            },
        },
        "required": ["question"],
    },
}

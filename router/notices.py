"""Every sentence of ours that a person may read: what happened, what to do.

A reference, where there is one, is shown with the sentence and stands in the logs.
"""

from dataclasses import dataclass

HELP = (
    "Hello! Mention me together with what you need, or write to me directly. "
    "I answer in the thread; replies there need no mention."
)
NO_AGENT = (
    "No agent is set up to answer here yet. Ask an admin of this workspace to deploy one "
    "(`threadline agents add … --default`), then send your message again."
)
ARCHIVED = "This conversation is archived and takes no new messages. Start a new thread to go on."
STRANGER = (
    "I only answer members of the organisation that installed me. "
    "Ask one of them to bring your question here, or to allow people from outside."
)
GUEST = "Guests may not start conversations with me here. Ask a full member to send your question."
PAUSED = "This agent is paused. Your message is kept and will be answered when an admin resumes it."
RUNTIME_AWAY = (
    "The service that runs this agent cannot be reached right now. "
    "Your message is kept; the answer comes as soon as it is back."
)
CONTEXT_LOST = (
    "The earlier context of this conversation is no longer available to the agent. "
    "It starts anew with your message; repeat what it needs to know."
)
RETRYING = (
    "The agent's service was in trouble before it came to your message. "
    "It will be tried again shortly; you need not send it again."
)
FLUSHED = (
    "The agent's service dropped this message several times while it was in trouble. "
    "Nothing was done for it. Send it again in a few minutes."
)
WAITING = (
    "I am still working on an earlier message of this thread. Yours is number {place} of those that "
    "wait; they are taken up together."
)
MUTED = "Muted: here I only answer when mentioned. Write `unmute` to change that."
UNMUTED = "Unmuted: I follow this thread again; replies need no mention."
HELLO = (
    "Thanks for having me! Mention me with what you need and I answer in a thread; "
    "replies in that thread need no mention."
)
ARCHIVED_UNSENT = (
    "This conversation was archived before the agent could read the last message. "
    "Start a new thread and send it there."
)

_ENDS = {
    "retries_exhausted": (
        "The agent's service gave up after several tries, so this was not finished. "
        "Send your message again in a few minutes."
    ),
    "refusal": (
        "The agent declined to go on with this request. Put it in other words, or ask for less."
    ),
    "budget_reached": (
        "This conversation has used up its budget. "
        "Ask an admin to raise it, or start a new thread for a new task."
    ),
    "terminated": (
        "The agent's session ended for good before it could finish. "
        "Send your message again: it starts a new one, without the earlier context."
    ),
    "no_text": "The agent finished without writing an answer. Ask it for a summary if you need one.",
    "refused": (
        "The agent's service did not accept this message, so it was not answered. "
        "Make it shorter or simpler and send it again."
    ),
    "failed": (
        "Something went wrong on our side, so this was not finished. Send your message again; "
        "if it happens again, give an admin the reference."
    ),
    "crashed": (
        "This message stopped the work several times, so it was set aside. "
        "Put it in other words, or give an admin the reference."
    ),
}


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence with the reference that finds it in the logs."""

    text: str
    reference: str | None = None

    def body(self) -> dict[str, str | None]:
        """As it is kept in the outbox."""
        return {"text": self.text, "reference": self.reference}


def end_of_turn(reason: str, reference: str) -> Notice:
    """What a person is told when a turn ends in trouble of that kind."""
    return Notice(_ENDS.get(reason, _ENDS["failed"]), reference)


def stopped(by: str | None, done: list[str]) -> str:
    """What a thread is told when somebody stopped the turn: who, and which steps had finished."""
    who = f"Stopped by {by}." if by else "Stopped."
    if not done:
        return f"{who} No step had finished."
    return f"{who} Finished before that: {', '.join(done)}."


def held_call(tool: str) -> str:
    """What a person is told about a tool call that would have needed an approval."""
    return (
        f"The agent asked to use `{tool}`, which needs a person's approval. "
        "Approvals are not available here yet, so it was declined."
    )


def unserved_tool(tool: str) -> str:
    """What a person is told about a custom tool that nobody serves."""
    return f"The agent called `{tool}`, which is not connected here, so the call failed."


DENY_MESSAGE = (
    "Declined automatically: this tool needs a person's approval and approvals are not available "
    "in this deployment. Go on without it and say what could not be done."
)


def unserved_result(tool: str) -> str:
    """What the agent is told about a custom tool that nobody serves."""
    return f"The tool {tool} is not connected in this deployment. Do not call it again."

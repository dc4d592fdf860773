"""Every sentence of ours that a person may read.

A message about trouble is made by `about`, from one table, and nowhere else: what happened, what to
do about it, and a reference. The reference stands in the log line that `about` writes, and in those
of whatever went wrong, so that an admin who is given it finds both. What is no trouble (a greeting,
a place in the queue, who stopped a turn) is a plain sentence without one.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

import structlog

from store.ids import reference_of

_log = structlog.get_logger(__name__)

_NOT_PLAIN = re.compile(r"[\x00-\x1f\x7f`]")
_LONGEST_NAME = 100


class Trouble(StrEnum):
    """Everything that can stand between a message and its answer.

    Those that the runtime names have its names (`stop_reason.type`, `error.type`).
    """

    # how a turn ends: session.status_idle, session.status_terminated
    RETRIES_EXHAUSTED = "retries_exhausted"
    REFUSAL = "refusal"
    BUDGET_REACHED = "budget_reached"
    TERMINATED = "terminated"
    NO_TEXT = "no_text"
    UNKNOWN_END = "unknown_end"
    # why the runtime gave up: session.error
    MODEL_OVERLOADED = "model_overloaded_error"
    MODEL_RATE_LIMITED = "model_rate_limited_error"
    MODEL_REQUEST_FAILED = "model_request_failed_error"
    BILLING = "billing_error"
    TOOL_USE_LIMIT = "tool_use_limit_reached_error"
    COMPACTION_LIMIT = "compaction_limit_reached_error"
    MCP_UNREACHABLE = "mcp_connection_failed_error"
    MCP_REFUSED = "mcp_authentication_failed_error"
    CREDENTIAL_HOST = "credential_host_unreachable_error"
    REPOSITORY_LOGIN = "repository_authentication_error"
    REPOSITORY_FORBIDDEN = "repository_forbidden_error"
    REPOSITORY_MISSING = "repository_not_found_error"
    REPOSITORY_CHECKOUT = "repository_checkout_error"
    REPOSITORY_CLONE = "repository_clone_error"
    # the runtime said no to a request: the message ends
    KEY_REFUSED = "key_refused"
    KEY_FORBIDDEN = "key_forbidden"
    AGENT_MISSING = "agent_missing"
    ENVIRONMENT_MISSING = "environment_missing"
    NOT_STARTED = "not_started"
    TOO_LARGE = "too_large"
    REFUSED = "refused"
    # the runtime cannot now: the message waits
    RUNTIME_AWAY = "runtime_away"
    RUNTIME_LIMITED = "runtime_limited"
    RUNTIME_OVERLOADED = "runtime_overloaded"
    RUNTIME_BROKEN = "runtime_broken"
    # what the runtime lost
    CONTEXT_LOST = "context_lost"
    RETRYING = "retrying"
    FLUSHED = "flushed"
    # ours
    FAILED = "failed"
    CRASHED = "crashed"
    # calls that nobody can make
    UNSERVED_TOOL = "unserved_tool"
    # what people decide
    NOT_YOURS_TO_DECIDE = "not_yours_to_decide"
    DECIDED_ALREADY = "decided_already"
    NOT_FOR_OUTSIDERS = "not_for_outsiders"
    NOT_FOR_GUESTS = "not_for_guests"
    NOT_FOUND_OUT = "not_found_out"
    NO_SUCH_CARD = "no_such_card"
    FORM_NOT_OPENED = "form_not_opened"
    NOT_TAKEN = "not_taken"
    # no further than the door
    NO_AGENT = "no_agent"
    PAUSED = "paused"
    ARCHIVED = "archived"
    ARCHIVED_UNSENT = "archived_unsent"
    STRANGER = "stranger"
    GUEST = "guest"
    MAY_NOT_STOP = "may_not_stop"


@dataclass(frozen=True, slots=True)
class Words:
    """What is said of a trouble: `happened`, then `do`, an instruction. `{tool}`, `{server}`: names.

    `private` is for the author alone: what concerns nobody else in the thread, and would shame them.
    """

    happened: str
    do: str
    private: bool = False


WORDS = {
    Trouble.RETRIES_EXHAUSTED: Words(
        "The agent's service gave up after several tries, so this was not finished.",
        "Send your message again in a few minutes.",
    ),
    Trouble.REFUSAL: Words(
        "The agent declined to go on with this request.",
        "Put it in other words, or ask for less.",
    ),
    Trouble.BUDGET_REACHED: Words(
        "This conversation has used up its budget.",
        "Ask an admin to raise it, or start a new thread for a new task.",
    ),
    Trouble.TERMINATED: Words(
        "The agent's session ended for good before it could finish.",
        "Send your message again.",
    ),
    Trouble.NO_TEXT: Words(
        "The agent finished without writing an answer.",
        "Ask it for a summary if you need one.",
    ),
    Trouble.UNKNOWN_END: Words(
        "The agent stopped for a reason that this version of Threadline does not know.",
        "Ask the agent to go on; if it stops again, give an admin the reference.",
    ),
    Trouble.MODEL_OVERLOADED: Words(
        "The agent's model is overloaded, so this was not finished.",
        "Send your message again in a few minutes.",
    ),
    Trouble.MODEL_RATE_LIMITED: Words(
        "The agent's model takes no more requests from this organisation for now, "
        "so this was not finished.",
        "Send your message again in a few minutes; "
        "if it happens often, ask an admin to have the rate limit raised.",
    ),
    Trouble.MODEL_REQUEST_FAILED: Words(
        "The agent's model failed several times, so this was not finished.",
        "Send your message again; if it happens again, put it in other words.",
    ),
    Trouble.BILLING: Words(
        "The account that pays for this agent is out of credit or at its spending limit, "
        "so nothing can run.",
        "Ask an admin to settle the billing at the agent's service, then send your message again.",
    ),
    Trouble.TOOL_USE_LIMIT: Words(
        "The agent used its tools as often as it may for one request and stopped there.",
        "Ask it to go on from where it is, or ask for a smaller step.",
    ),
    Trouble.COMPACTION_LIMIT: Words(
        "This conversation has grown too long for the agent to work on.",
        "Start a new thread with what the agent needs to know.",
    ),
    Trouble.MCP_UNREACHABLE: Words(
        "The agent could not reach {server}, which it needs for this.",
        "Send your message again later; if it happens again, "
        "ask an admin to check the address of {server}.",
    ),
    Trouble.MCP_REFUSED: Words(
        "The agent was not let into {server}: the sign-in failed.",
        "Ask an admin to renew the agent's credentials for {server}, then send your message again.",
    ),
    Trouble.CREDENTIAL_HOST: Words(
        "The agent has a credential for a host that its environment does not let it reach.",
        "Ask an admin to allow that host in the environment's network settings, "
        "then send your message again.",
    ),
    Trouble.REPOSITORY_LOGIN: Words(
        "The code repository did not accept the agent's credentials.",
        "Ask an admin to renew the repository's token, then send your message again.",
    ),
    Trouble.REPOSITORY_FORBIDDEN: Words(
        "The agent may not read the code repository.",
        "Ask an admin to give the agent access to the repository, then send your message again.",
    ),
    Trouble.REPOSITORY_MISSING: Words(
        "The code repository does not exist, or the agent cannot see it.",
        "Ask an admin to check the repository's address, then send your message again.",
    ),
    Trouble.REPOSITORY_CHECKOUT: Words(
        "The branch or commit that the agent is to work on does not exist in its repository.",
        "Ask an admin to set another branch or commit, then send your message again.",
    ),
    Trouble.REPOSITORY_CLONE: Words(
        "The agent's copy of the code repository could not be made.",
        "Send your message again in a few minutes; "
        "if it happens again, give an admin the reference.",
    ),
    Trouble.KEY_REFUSED: Words(
        "The agent's service does not accept the key that Threadline was given for it.",
        "Ask an admin to set a valid key (`ANTHROPIC_API_KEY`; `threadline doctor` checks it), "
        "then send your message again.",
    ),
    Trouble.KEY_FORBIDDEN: Words(
        "The key that Threadline was given may not use this agent.",
        "Ask an admin to give the key access at the agent's service, then send your message again.",
    ),
    Trouble.AGENT_MISSING: Words(
        "This agent does not exist any more at the agent's service.",
        "Ask an admin to deploy it anew (`threadline agents add …`), then send your message again.",
    ),
    Trouble.ENVIRONMENT_MISSING: Words(
        "The environment that this agent works in does not exist any more, or is archived.",
        "Ask an admin to deploy the agent with another environment "
        "(`threadline agents add … --environment-id`), then send your message again.",
    ),
    Trouble.NOT_STARTED: Words(
        "The agent's service did not open a conversation with this agent as it is set up.",
        "Ask an admin to check the agent at the agent's service, and give them the reference; "
        "then send your message again.",
    ),
    Trouble.TOO_LARGE: Words(
        "This message is too large for the agent's service, so it was not answered.",
        "Make it shorter, or send it in several parts.",
    ),
    Trouble.REFUSED: Words(
        "The agent's service did not accept this message, so it was not answered.",
        "Put it more simply and send it again; "
        "if it is refused again, give an admin the reference.",
    ),
    Trouble.RUNTIME_AWAY: Words(
        "The service that runs this agent cannot be reached right now.",
        "Wait here: your message is kept, and the answer comes as soon as the service is back.",
    ),
    Trouble.RUNTIME_LIMITED: Words(
        "The service that runs this agent asked us to slow down.",
        "Wait here: your message is kept, and its turn comes within a few minutes.",
    ),
    Trouble.RUNTIME_OVERLOADED: Words(
        "The service that runs this agent is overloaded right now.",
        "Wait here: your message is kept, and the answer comes once the service has room again.",
    ),
    Trouble.RUNTIME_BROKEN: Words(
        "The service that runs this agent reports an error of its own.",
        "Wait here: your message is kept and is tried again until the service takes it.",
    ),
    Trouble.CONTEXT_LOST: Words(
        "The earlier context of this conversation is no longer available to the agent, "
        "which starts anew with your message.",
        "Repeat what it needs to know.",
    ),
    Trouble.RETRYING: Words(
        "The agent's service was in trouble before it came to your message.",
        "Wait here: it will be tried again shortly, and you need not send it again.",
    ),
    Trouble.FLUSHED: Words(
        "The agent's service dropped this message several times while it was in trouble, "
        "and nothing was done for it.",
        "Send it again in a few minutes.",
    ),
    Trouble.FAILED: Words(
        "Something went wrong on our side, so this was not finished.",
        "Send your message again; if it happens again, give an admin the reference.",
    ),
    Trouble.CRASHED: Words(
        "This message stopped the work several times, so it was set aside.",
        "Put it in other words, or give an admin the reference.",
    ),
    Trouble.UNSERVED_TOOL: Words(
        "The agent called `{tool}`, which is not connected here, so the call failed.",
        "Ask an admin to take the tool away from the agent, or to connect it.",
    ),
    Trouble.NOT_YOURS_TO_DECIDE: Words(
        "This is not yours to decide.",
        "Ask {who} to do it.",
        private=True,
    ),
    Trouble.DECIDED_ALREADY: Words(
        "This is decided already: somebody, or the time, was faster.",
        "Look at the card for what was decided.",
        private=True,
    ),
    Trouble.NOT_FOR_OUTSIDERS: Words(
        "People from another organisation decide here only where they are named one by one.",
        "Ask {who} to do it.",
        private=True,
    ),
    Trouble.NOT_FOR_GUESTS: Words(
        "Guests decide here only where they are named one by one.",
        "Ask {who} to do it.",
        private=True,
    ),
    Trouble.NOT_FOUND_OUT: Words(
        "I could not find out just now whether this is yours to decide, so nothing was decided.",
        "Do it again in a minute.",
        private=True,
    ),
    Trouble.NO_SUCH_CARD: Words(
        "This button belongs to nothing that can be decided here, so nothing was decided.",
        "Ask the agent again in its own thread.",
        private=True,
    ),
    Trouble.FORM_NOT_OPENED: Words(
        "The form could not be opened in time, so nothing was decided.",
        "Do it again.",
        private=True,
    ),
    Trouble.NOT_TAKEN: Words(
        "I could not make sure that this was taken.",
        "Do it again if the card does not change within a minute; that does no harm.",
        private=True,
    ),
    Trouble.NO_AGENT: Words(
        "No agent is set up to answer here yet.",
        "Ask an admin of this workspace to deploy one (`threadline agents add … --default`), "
        "then send your message again.",
    ),
    Trouble.PAUSED: Words(
        "This agent is paused.",
        "Wait here: your message is kept and will be answered when an admin resumes the agent.",
    ),
    Trouble.ARCHIVED: Words(
        "This conversation is archived and takes no new messages.",
        "Start a new thread to go on.",
        private=True,
    ),
    Trouble.ARCHIVED_UNSENT: Words(
        "This conversation was archived before the agent could read the last message.",
        "Start a new thread and send it there.",
    ),
    Trouble.STRANGER: Words(
        "I only answer members of the organisation that installed me.",
        "Ask one of them to bring your question here, or to allow people from outside.",
        private=True,
    ),
    Trouble.GUEST: Words(
        "Guests may not start conversations with me here.",
        "Ask a full member to send your question.",
        private=True,
    ),
    Trouble.MAY_NOT_STOP: Words(
        "I go on: only the person whom I answer, or a member of the organisation that installed me, "
        "can stop me.",
        "Ask one of them.",
        private=True,
    ),
}
_ANEW = "The conversation then starts anew, without its earlier context."

# ------------------------------------------------------------------ trouble


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence, and where it is about trouble, the reference that finds it in the logs.

    `private`: for its author alone.
    """

    text: str
    reference: str | None = None
    private: bool = False

    def body(self) -> dict[str, str | None]:
        """As it is kept in the outbox."""
        return {"text": self.text, "reference": self.reference}


def words(trouble: Trouble, *, anew: bool = False, **names: str) -> str:
    """What a person is told of a trouble. `anew`: the runtime session is gone with it.

    `names` (tool, server) were chosen by others: they are cut to a length.
    """
    said = WORDS[trouble]
    plain = {"tool": "a tool", "server": "a connected service", "who": "one of those named below"}
    plain |= {key: _plainly(name) for key, name in names.items() if name}
    text = f"{said.happened} {said.do}".format_map(plain)
    return f"{text} {_ANEW}" if anew else text


def about(trouble: Trouble, of: UUID, *, anew: bool = False, **names: str) -> Notice:
    """The message about a trouble. `of` is what it befell, a turn, an input, a session.

    Its reference is in the log line that is written here, and in those that name the same.
    """
    reference = reference_of(of)
    _log.info("trouble.told", trouble=str(trouble), reference=reference, of=str(of), **names)
    return Notice(words(trouble, anew=anew, **names), reference, private=WORDS[trouble].private)


def at_end(reason: str, error: Mapping[str, Any] | None, of: UUID) -> Notice:
    """What a person is told when the runtime ended a turn with that stop reason.

    `error` is the last `session.error` that the runtime did not get over by itself: it says why.
    """
    ended = named(reason, Trouble.UNKNOWN_END)
    if ended not in (Trouble.RETRIES_EXHAUSTED, Trouble.TERMINATED):
        return about(ended, of)
    cause = error or {}
    why = named(str(cause.get("type")), ended)
    anew = ended is Trouble.TERMINATED
    return about(why, of, anew=anew, server=str(cause.get("mcp_server_name") or ""))


def named(name: str, otherwise: Trouble) -> Trouble:
    """The trouble of that name; `otherwise` for names that are newer than this table."""
    try:
        return Trouble(name)
    except ValueError:
        return otherwise


def _plainly(name: str) -> str:
    plain = _NOT_PLAIN.sub("", name)
    return plain if len(plain) <= _LONGEST_NAME else plain[: _LONGEST_NAME - 1] + "…"


# ------------------------------------------------------------------ no trouble

HELP = (
    "Hello! Mention me together with what you need, or write to me directly. "
    "I answer in the thread; replies there need no mention."
)
HELLO = (
    "Thanks for having me! Mention me with what you need and I answer in a thread; "
    "replies in that thread need no mention."
)
WAITING = (
    "I am still working on an earlier message of this thread. Yours is number {place} of those that "
    "wait; they are taken up together."
)
MUTED = "Muted: here I only answer when mentioned. Write `unmute` to change that."
UNMUTED = "Unmuted: I follow this thread again; replies need no mention."


def stopped(by: str | None, done: list[str]) -> str:
    """What a thread is told when somebody stopped the turn: who, and which steps had finished."""
    who = f"Stopped by {by}." if by else "Stopped."
    if not done:
        return f"{who} No step had finished."
    return f"{who} Finished before that: {', '.join(done)}."


# ------------------------------------------------------------------ to the agent


def unserved_result(tool: str) -> str:
    """What the agent is told about a custom tool that nobody serves."""
    return f"The tool {tool} is not connected in this deployment. Do not call it again."

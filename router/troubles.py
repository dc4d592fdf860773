"""Everything that can stand between people and an answer, and what they are told of it: one table."""

from dataclasses import dataclass
from enum import StrEnum


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
    # files that agents made
    OUTPUT_TOO_LARGE = "output_too_large"
    OUTPUT_TOO_MANY = "output_too_many"
    OUTPUT_EMPTY = "output_empty"
    OUTPUT_GONE = "output_gone"
    OUTPUT_NOT_ALLOWED = "output_not_allowed"
    OUTPUT_NO_ROOM = "output_no_room"
    OUTPUT_REFUSED = "output_refused"
    OUTPUT_NOT_SHARED = "output_not_shared"
    OUTPUT_UNSURE = "output_unsure"
    POST_REFUSED = "post_refused"


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
    Trouble.OUTPUT_TOO_LARGE: Words(
        "The agent made {files}, which is more than the 20 MB that a file may have here.",
        "Ask the agent to split it or to make it smaller.",
    ),
    Trouble.OUTPUT_TOO_MANY: Words(
        "The agent made more than the 10 files that are shared behind one answer; left out: {files}.",
        "Ask the agent to pack them into one file.",
    ),
    Trouble.OUTPUT_EMPTY: Words(
        "The agent made {files}, and Slack takes no empty file.",
        "Ask the agent what it was meant to hold.",
    ),
    Trouble.OUTPUT_GONE: Words(
        "The agent made {files}, which was gone again before it could be shared.",
        "Ask the agent to write it again.",
    ),
    Trouble.OUTPUT_NOT_ALLOWED: Words(
        "The agent made {files}, but this app may not share files in Slack.",
        "Ask an admin to install the app again with the permissions `files:write` and `files:read`, "
        "then ask the agent to write it again.",
    ),
    Trouble.OUTPUT_NO_ROOM: Words(
        "The agent made {files}, but Slack takes no such file here: the workspace is out of space, "
        "or its rules forbid it.",
        "Ask an admin to make room or to allow such files, then ask the agent to write it again.",
    ),
    Trouble.OUTPUT_REFUSED: Words(
        "The agent made {files}, but Slack did not take it.",
        "Ask the agent to write it again; if it is refused again, give an admin the reference.",
    ),
    Trouble.OUTPUT_NOT_SHARED: Words(
        "The agent made {files}, which could not be brought to Slack after several tries.",
        "Ask the agent to write it again in a few minutes.",
    ),
    Trouble.OUTPUT_UNSURE: Words(
        "The agent made {files}, and Slack does not say whether it was shared.",
        "Look for it above; if it is not there, ask the agent to write it again.",
    ),
    Trouble.POST_REFUSED: Words(
        "The agent wanted to post “{what}”. Slack has refused that now ({reason}), and the agent only "
        "knows that it was to be posted later.",
        "Ask the agent to post it again, or elsewhere.",
    ),
}

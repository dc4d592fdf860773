"""Examples for the documentation; a test reads each with the model that it is an example of."""

from typing import Any

_AT = "2026-01-05T09:30:00Z"
LATER = "2026-01-05T09:31:00Z"
_AGENT = "0198c0de-0000-7000-8000-000000000001"
_WORKSPACE = "0198c0de-0000-7000-8000-000000000002"
_SESSION = "0198c0de-0000-7000-8000-000000000003"
_TURN = "0198c0de-0000-7000-8000-000000000004"
_PERSON = "3f0e3c1e-9f0a-4a58-9d3e-4a1f6b0f5a11"
_BY = {"origin": "rest", "user": f"member:{_PERSON}", "name": "ada@example.com", "team": None}
_OF = {"deployed_agent_id": _AGENT, "workspace_id": _WORKSPACE}
_ASKED = _OF | {
    "session_id": _SESSION,
    "turn_id": _TURN,
    "runtime_event_id": "sevt_01",
    "revision": 0,
    "policy": {"who": ["requester"], "quorum": 1},
    "requesters": [f"member:{_PERSON}"],
    "state": "pending",
    "decided_by": None,
    "decided_at": None,
    "asked_at": _AT,
}

CREATE_SESSION = {"title": "Launch notes", "message": "Draft the launch notes for version 2."}
SEND_MESSAGE = {"text": "Make them shorter."}
SESSION: dict[str, Any] = _OF | {
    "id": _SESSION,
    "anthropic_session_id": "sesn_01",
    "status": "idle",
    "source": "dashboard",
    "title": "Launch notes",
    "created_by": _PERSON,
    "slack_team_id": None,
    "slack_channel_id": None,
    "slack_thread_ts": None,
    "slack_conversation_key": None,
    "usage_snapshot": None,
    "archive_requested_at": None,
    "archived_at": None,
    "created_at": _AT,
    "updated_at": _AT,
}
INPUT: dict[str, Any] = {
    "id": "0198c0de-0000-7000-8000-000000000005",
    "session_id": _SESSION,
    "kind": "message",
    "state": "queued",
    "accepted_at": _AT,
}
EVENTS: dict[str, Any] = {
    "data": [
        {
            "event": {
                "id": "sevt_02",
                "type": "agent.message",
                "content": [{"type": "text", "text": "Here they are."}],
                "processed_at": LATER,
            }
        }
    ],
    "next_cursor": None,
}
CREATE_AGENT: dict[str, Any] = {
    "name": "notes",
    "anthropic_agent_id": "agent_01",
    "anthropic_environment_id": "env_01",
    "settings": {"approvals": {"default": {"who": ["requester", "admins"]}}},
}
AGENT: dict[str, Any] = CREATE_AGENT | {
    "id": _AGENT,
    "workspace_id": _WORKSPACE,
    "status": "active",
    "created_at": _AT,
}
KEY: dict[str, Any] = _OF | {
    "id": "0198c0de-0000-7000-8000-000000000006",
    "name": "nightly report",
    "prefix": "tl_abcdefgh",
    "role": "member",
    "created_by": _PERSON,
    "created_at": _AT,
    "last_used_at": None,
    "revoked_at": None,
}
APPROVAL: dict[str, Any] = _ASKED | {
    "id": "0198c0de-0000-7000-8000-000000000007",
    "card_no": 1,
    "tool": "bash",
    "server": None,
    "arguments": {"command": "make release"},
    "verdict": None,
    "reason": None,
    "remind_at": None,
    "expires_at": None,
}
DENIED: dict[str, Any] = {
    "state": "denied",
    "verdict": "deny",
    "reason": "Not on a Friday.",
    "revision": 1,
    "decided_by": _BY,
    "decided_at": LATER,
}
ESCALATION: dict[str, Any] = _ASKED | {
    "id": "0198c0de-0000-7000-8000-000000000008",
    "question": "Which of the two headlines?",
    "context": "",
    "choices": [],
    "answer": None,
    "channel_id": None,
}
ANSWERED: dict[str, Any] = {
    "state": "answered",
    "answer": "The second one.",
    "revision": 1,
    "decided_by": _BY,
    "decided_at": LATER,
}
MEMBER: dict[str, Any] = {
    "workspace_id": _WORKSPACE,
    "user_id": _PERSON,
    "role": "member",
    "created_at": _AT,
}
ME: dict[str, Any] = {
    "kind": "member",
    "user_id": _PERSON,
    "email": "ada@example.com",
    "key_id": None,
    "deployed_agent_id": None,
    "workspaces": [{"workspace_id": _WORKSPACE, "name": "default", "role": "member"}],
}


def page(row: dict[str, Any]) -> dict[str, Any]:
    """A last page with one row."""
    return {"data": [row], "next_cursor": None}

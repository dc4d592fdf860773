"""assistant.threads.setSuggestedPrompts: what a direct message suggests to say.

docs.slack.dev/reference/methods/assistant.threads.setSuggestedPrompts. Apps with the agent feature
give no `thread_ts`: with one the call answers ok and does nothing. All others have to give one.
"""

import json
from dataclasses import replace
from typing import Any

from bot.local.arguments import Arguments
from bot.local.model import Json, SlackError, invalid_arguments
from bot.local.surfaces import Prompts
from bot.local.workspace import Workspace

MAX_PROMPTS = 4


class AssistantThreads:
    """The method under `assistant.threads.` that agents still have."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def set_suggested_prompts(self, args: Arguments) -> Json:
        """Replaces the suggestions of a direct message, or of a thread in one."""
        prompts = _prompts(args.raw("prompts"))
        channel_id, thread_ts = args.need("channel_id"), args.text("thread_ts") or None
        agent = self._workspace.agent_features
        if not agent and thread_ts is None:
            raise SlackError("not_agent_app")
        channel = self._workspace.state.channels.get(channel_id)
        ours = self._workspace.who.bot_user_id
        if channel is None or channel.kind != "im" or ours not in channel.members:
            raise SlackError("channel_not_found")
        if agent and thread_ts is not None:
            return {}
        if thread_ts is not None:
            self._check_root(channel.id, thread_ts)
        made = Prompts(channel.id, channel.id, args.text("title") or None, prompts)
        if thread_ts is not None:
            made = replace(made, id=f"{channel.id}/{thread_ts}", thread_ts=thread_ts)
        self._workspace.surfaces.prompts.put(made)
        return {}

    def _check_root(self, channel_id: str, thread_ts: str) -> None:
        root = self._workspace.state.message(channel_id, thread_ts)
        if root is None or root.thread_ts is not None:
            raise SlackError("invalid_thread_ts", detail="Thread not found")


def _prompts(given: Any) -> list[Json]:
    """One to four of a title and a message each, as a list or as its JSON."""
    listed = _read(given)
    if not isinstance(listed, list) or not listed:
        raise invalid_arguments("missing required field: prompts")
    if len(listed) > MAX_PROMPTS:
        raise invalid_arguments(f"no more than {MAX_PROMPTS} items allowed: prompts")
    faults = [fault for place, one in enumerate(listed) for fault in _faults(one, place)]
    if faults:
        raise invalid_arguments(*faults)
    return listed


def _read(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    try:
        return json.loads(given)
    except ValueError as broken:
        raise invalid_arguments("must be a JSON list: prompts") from broken


def _faults(one: Any, place: int) -> list[str]:
    where = f"[json-pointer:/prompts/{place}]"
    if not isinstance(one, dict):
        return [f"must provide an object {where}"]
    unknown = [
        f"invalid additional property: {name} {where}" for name in one.keys() - {"title", "message"}
    ]
    needed = ("title", "message")
    missing = [
        f"missing required field: {name} {where}"
        for name in needed
        if not isinstance(one.get(name), str) or not one[name].strip()
    ]
    return [*unknown, *missing]

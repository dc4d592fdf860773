"""The tools of an agent: what the platform takes of them, and the 400s for what it does not.

SDK/types/beta/agent_update_params.py and …/beta_managed_agents_custom_tool_params.py.
"""

import re

from router.runtime.local.wire import Json, bad_request

_MOST = 256
_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_KINDS = {"agent_toolset_20260401", "mcp_toolset", "custom"}


def check_toolbox(agent: Json) -> None:
    """A 400 where an agent's tools, or its servers that no tool uses, would not be taken."""
    tools = agent["tools"]
    if not isinstance(tools, list) or len(tools) > _MOST:
        raise bad_request(f"tools: must be a list of at most {_MOST}")
    names = [_checked(tool, f"tools[{index}]") for index, tool in enumerate(tools)]
    custom = [name for name in names if name is not None]
    if twice := [name for name in custom if custom.count(name) > 1]:
        raise bad_request(f"tools: tool names must be unique: {twice[0]}")
    used = {tool.get("mcp_server_name") for tool in tools}
    for server in agent["mcp_servers"]:
        if server.get("name") not in used:
            raise bad_request(f"mcp_servers: {server.get('name')} is used by no mcp_toolset")


def _checked(tool: object, where: str) -> str | None:
    """The name of a custom tool; None for a toolset."""
    if not isinstance(tool, dict) or tool.get("type") not in _KINDS:
        raise bad_request(f"{where}.type: must be one of {', '.join(sorted(_KINDS))}")
    if tool["type"] != "custom":
        return None
    name, schema = tool.get("name"), tool.get("input_schema")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise bad_request(f"{where}.name: must be 1-128 letters, digits, underscores and hyphens")
    if not isinstance(tool.get("description"), str) or not tool["description"]:
        raise bad_request(f"{where}.description: field required")
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise bad_request(f"{where}.input_schema: must be a schema of type object")
    return name

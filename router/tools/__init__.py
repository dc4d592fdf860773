"""The custom tools that Threadline serves, as the runtime is told of them."""

from typing import Final

from router.tools.escalating import ESCALATE, ESCALATE_TO_HUMAN
from router.tools.slack import SLACK_TOOLS, is_slack

__all__ = ["ESCALATE", "ESCALATE_TO_HUMAN", "SLACK_TOOLS", "TOOLS", "is_slack"]

# What every agent that Threadline makes carries from the start.
TOOLS: Final = (ESCALATE_TO_HUMAN, *SLACK_TOOLS)

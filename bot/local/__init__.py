"""A local Slack workspace over HTTP, for tests and the demo.

It stands alone: nothing of Threadline is imported, so that it can be the judge of what Threadline
does. It follows Slack's reference down to error names, limits and retries, and where the reference
is silent it takes the reading that is harder on the app.
"""

from bot.local.faults import FaultKind
from bot.local.interactions import Pressed
from bot.local.model import Message, SlackError
from bot.local.page import Behind
from bot.local.server import LocalSlack

__all__ = ["Behind", "FaultKind", "LocalSlack", "Message", "Pressed", "SlackError"]

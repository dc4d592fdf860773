"""The browser page of the local Slack: everything a person sees there, live."""

from bot.local.page.behind import Behind
from bot.local.page.server import Page

__all__ = ["Behind", "Page"]

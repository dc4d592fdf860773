"""The last way to be heard by whoever pressed something, where nothing can be written down.

docs.slack.dev/interactivity/handling-user-interaction: an answer to `response_url`, which needs no
token and no row, and which only that person sees. Best effort, unlike what goes through the outbox.
"""

import asyncio
import html

import aiohttp
import structlog
from slack_sdk.webhook.async_client import AsyncWebhookClient

_log = structlog.get_logger(__name__)

_SECONDS = 5
_TAKEN = 200


async def tell(url: str, text: str) -> bool:
    """Says something to one person; False if Slack did not take it in time."""
    client = AsyncWebhookClient(url, timeout=_SECONDS, retry_handlers=[])
    escaped = html.escape(text, quote=False)
    body = {"text": escaped, "response_type": "ephemeral", "replace_original": False}
    try:
        async with asyncio.timeout(_SECONDS):
            response = await client.send_dict(body)
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        _log.warning("response.not_sent", error=type(error).__name__)
        return False
    if response.status_code != _TAKEN:
        _log.warning("response.refused", status=response.status_code)
    return response.status_code == _TAKEN

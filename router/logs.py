"""Logging: one event per line, `noun.verb`, to stderr; secrets removed in this one place."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

# Slack tokens, Anthropic keys, webhook secrets, our API keys, Supabase's tokens and the cookies that
# hold them, bearer headers, passwords in URLs.
_SECRETS = re.compile(
    r"xox[a-z]-[\w-]+|xapp-[\w-]+|sk-ant-[\w-]+|whsec_[\w+/=]+"
    r"|tl_[a-z2-7]{8}_[\w-]{16,}|eyJ[\w-]+\.[\w.-]+|base64-[\w+/=-]{16,}"
    r"|(?<=[Bb]earer )[\w.~+/=-]+|(?<=://)([^/\s:@]+):[^/\s@]+(?=@)"
)
_MASK = "[redacted]"


def redact(text: str) -> str:
    """The text without anything that looks like a secret."""
    return _SECRETS.sub(_MASK, text)


def configure(*, level: str, style: str) -> None:
    """Sends structlog and the standard library's logging to stderr in one form, json or console."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        # What is below the level costs a call of nothing.
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _redact_event,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Bolt logs bodies and signatures of requests that fail verification at INFO.
    for chatty in (
        "slack_bolt",
        "slack_sdk",
        "anthropic",
        "aiohttp.access",
        "httpx2",
        "httpcore2",
        "asyncio",
    ):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def _redact_event(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = redact(value)
        elif not isinstance(value, (int, float, bool, type(None))):
            event[key] = redact(str(value))
    return event

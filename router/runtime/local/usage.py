"""Tokens and their list price."""

import math
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from router.runtime.local.wire import Json

# What a request carries besides the talk: system prompt, tool definitions.
_SYSTEM_TOKENS = 3_500
_CENTS_PER_SECOND = Decimal(8) / 3600

# US dollars per million tokens: input, output, cache read, five-minute cache write.
_PRICES: dict[str, tuple[str, str, str, str]] = {
    "claude-opus-5-5": ("4", "20", "0.20", "5"),
    "claude-opus": ("5", "25", "0.50", "6.25"),
    "claude-fable-5-2": ("8", "40", "0.20", "10"),
    "claude-fable-5-1": ("10", "50", "0.25", "12.50"),
    "claude-fable": ("10", "50", "1", "12.50"),
    "claude-sonnet-4": ("3", "15", "0.30", "3.75"),
    "claude-sonnet-5-5": ("2", "10", "0.10", "2.50"),
    "claude-sonnet": ("2", "10", "0.20", "2.50"),
    "claude-haiku-5-5": ("0.10", "0.50", "0.01", "0.125"),
    "claude-haiku": ("1", "5", "0.10", "1.25"),
}
_UNKNOWN_MODEL = _PRICES["claude-sonnet-5-5"]


@dataclass(slots=True)
class Usage:
    """What one session has used so far; it only grows."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read: int = 0
    cache_write: int = 0
    active_seconds: float = 0.0
    web_searches: int = 0
    web_fetches: int = 0
    microcents: int = 0

    def request(self, model: str, heard: int, said: int) -> Json:
        """Adds one model request of so many characters; answers its span's `model_usage`."""
        first = self.cache_write == 0
        fresh, spoken = 12 + math.ceil(heard / 4), 8 + math.ceil(said / 4)
        read, write = (0, _SYSTEM_TOKENS) if first else (_SYSTEM_TOKENS, fresh)
        self.input_tokens += fresh
        self.output_tokens += spoken
        self.cache_read += read
        self.cache_write += write
        self.microcents += _microcents(model, (fresh, spoken, read, write))
        return {
            "input_tokens": fresh,
            "output_tokens": spoken,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": write,
        }

    def snapshot(self) -> Json:
        """The cumulative figures as sessions and `session.usage` events show them."""
        cents = Decimal(self.microcents) / 1_000_000
        cents += Decimal(str(self.active_seconds)) * _CENTS_PER_SECOND
        return {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cache_read_input_tokens": self.cache_read,
            "cache_creation": {
                "ephemeral_5m_input_tokens": self.cache_write,
                "ephemeral_1h_input_tokens": 0,
            },
            "list_cost": {
                "amount": str(cents.quantize(Decimal(1), ROUND_HALF_UP)),
                "currency": "USD",
            },
            "active_seconds": round(self.active_seconds, 3),
            "server_tool_use": {
                "web_search_requests": self.web_searches,
                "web_fetch_requests": self.web_fetches,
            },
        }


def _microcents(model: str, tokens: tuple[int, int, int, int]) -> int:
    name = next((known for known in _PRICES if model.startswith(known)), None)
    prices = _UNKNOWN_MODEL if name is None else _PRICES[name]
    # A dollar per million tokens is a hundred microcents per token.
    return sum(int(Decimal(price) * 100 * n) for price, n in zip(prices, tokens, strict=True))

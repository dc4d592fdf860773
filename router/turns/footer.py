"""Pure: the line under a finished answer, what it cost and how long it took."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from store.outbox import Effect
from store.usage import Usage

_MINUTE = 60
_CENT = Decimal("0.01")


def line(took: timedelta, used: Usage | None) -> str:
    """The time and, where it is known yet, the cost."""
    seconds = max(1, round(took.total_seconds()))
    minutes, rest = divmod(seconds, _MINUTE)
    time = f"{minutes} min {rest} s" if minutes else f"{seconds} s"
    return f"{time} · {_dollars(used.cost_cents)}" if used is not None else time


def _dollars(cents: Decimal) -> str:
    amount = cents / 100
    return f"${amount:.2f}" if amount >= _CENT or not amount else f"${amount:.4f}"


def under(effects: list[Effect], text: str) -> list[Effect]:
    """The effects with the line under the last part of the answer, if there are words in it."""
    last = next((e for e in reversed(effects) if e.kind == "reply"), None)
    if last is None or not last.body.get("markdown"):
        return effects
    return [replace(e, body=e.body | {"footer": text}) if e is last else e for e in effects]

"""The arguments of a Web API call, however they came in."""

import json
from typing import Any

from aiohttp import web

from bot.local.model import Json, SlackError, invalid_arguments

_TRUE = {"1", "true"}
_TS_SECONDS_DIGITS = 10


class Arguments:
    """Query, form and JSON arguments in one place; readers raise SlackError for bad values."""

    def __init__(self, values: Json) -> None:
        self.values = values

    def __contains__(self, name: str) -> bool:
        return self.values.get(name) not in (None, "")

    def raw(self, name: str) -> Any:
        """The value as it came, or None."""
        return self.values.get(name)

    def text(self, name: str) -> str:
        """A string; empty when not given."""
        value = self.values.get(name)
        return "" if value is None else str(value)

    def need(self, name: str) -> str:
        """A string that must be there, else `invalid_arguments`."""
        if name not in self:
            raise invalid_arguments(f"missing required field: {name}")
        return self.text(name)

    def flag(self, name: str) -> bool:
        """A boolean in any of the ways clients write one."""
        return self.text(name).lower() in _TRUE

    def number(self, name: str, default: int, most: int) -> int:
        """A whole number between 1 and `most`, else `invalid_arguments`."""
        if name not in self:
            return default
        try:
            value = int(self.text(name))
        except ValueError as broken:
            raise invalid_arguments(f"must be a number: {name}") from broken
        if value < 1:
            raise invalid_arguments(f"must be greater than 0: {name}")
        return min(value, most)

    def stamp(self, name: str, default: str) -> str:
        """A Slack ts in the form in which two of them compare as strings."""
        if name not in self:
            return default
        seconds, _, micros = self.text(name).partition(".")
        if not seconds.isdigit() or not (micros == "" or micros.isdigit()):
            raise SlackError(f"invalid_ts_{name}")
        return f"{seconds.zfill(_TS_SECONDS_DIGITS)}.{micros[:6].ljust(6, '0')}"


async def read_arguments(request: web.Request) -> Arguments:
    """The arguments of a request (docs.slack.dev/apis/web-api); SlackError for broken JSON."""
    values: Json = dict(request.query)
    if request.content_type == "application/json":
        values |= _json_object(await request.text())
    else:
        form = await request.post()
        values |= {name: value for name, value in form.items() if isinstance(value, str)}
    return Arguments(values)


def _json_object(body: str) -> Json:
    if not body.strip():
        return {}
    try:
        value = json.loads(body)
    except ValueError as broken:
        raise SlackError("invalid_json") from broken
    if not isinstance(value, dict):
        raise SlackError("json_not_object")
    return value

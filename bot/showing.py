"""Pure: records and events as people may look at them: cut, plain JSON, without what looks secret."""

import json
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from router import redaction

Json = dict[str, Any]

MOST_CHARACTERS = 2_000
# Cut a little later before secrets are looked for: half of one would not be known.
_LOOKED_AT = MOST_CHARACTERS + 500
_BODIES = ("body", "arguments")


def row(columns: Json) -> Json:
    """A row of the database; a body is no longer than `MOST_CHARACTERS`, else it is its beginning."""
    shown = {name: seen(value) for name, value in columns.items()}
    for name in _BODIES:
        if name in shown:
            shown[name] = _bounded(shown[name], shown.pop(f"{name}_characters"))
    return shown


def event(said: Json) -> Json:
    """An event of the runtime, every text of it cut."""
    return {name: seen(value) for name, value in said.items()}


def seen(value: Any) -> Any:
    """A value as plain JSON, its texts cut, what looks like a secret hidden."""
    hidden = redaction.shown({"value": _plain(value, _LOOKED_AT)})
    return _plain(hidden["value"], MOST_CHARACTERS)


def _plain(value: Any, most: int) -> Any:
    match value:
        case str():
            return _cut(value, most)
        case dict():
            return {name: _plain(one, most) for name, one in value.items()}
        case list() | tuple():
            return [_plain(one, most) for one in value]
        case UUID() | Decimal():
            return str(value)
        case datetime():
            return value.isoformat()
        case _:
            return value


def _bounded(body: Any, characters: int | None) -> Any:
    """A body as it is, the beginning of its JSON, or how long it would be."""
    if body is None:
        return None if characters is None else f"({characters:,} characters)"
    text = json.dumps(body, ensure_ascii=False)
    return body if len(text) <= MOST_CHARACTERS else _cut(text, MOST_CHARACTERS)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"

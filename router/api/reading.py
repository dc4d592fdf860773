"""What a request says, as the models of its route read it; whatever they refuse is Problem invalid."""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import NoneType, UnionType
from typing import Any, Literal, Protocol, TypeVar, Union, get_args, get_origin
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ValidationError

from router.api.problems import TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, Problem, invalid, not_found
from router.api.schemas import Nothing

M = TypeVar("M", bound=BaseModel)

MOST_BYTES = 512 * 1024
MOST_KEY = 255

_HEX = "[0-9A-Fa-f]"
_UUID = re.compile(rf"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}")
_INTEGER = re.compile(r"-?[0-9]{1,18}", re.ASCII)
_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?\d*([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_KEY = re.compile(rf"[\x21-\x7e]{{1,{MOST_KEY}}}")
_NOTHING = Nothing()
_BOOLEANS = {"true": True, "false": False}


def path_of(matched: Mapping[str, str]) -> dict[str, UUID]:
    """The ids of a path; Problem not-found where one could not be anybody's."""
    found = {}
    for name, text in matched.items():
        if not _UUID.fullmatch(text):
            raise not_found("address")
        found[name] = UUID(text)
    return found


class Given(Protocol):
    """A query, of which any name may stand more than once."""

    def __iter__(self) -> Iterator[str]: ...

    def __len__(self) -> int: ...

    def getall(self, key: str, /) -> list[str]:
        """Every value of that name."""
        ...


def query_of(model: type[M], given: Given) -> M:
    """The query, where what is no list stands once."""
    if model is Nothing and not given:
        return _NOTHING  # type: ignore[return-value]  # M is Nothing
    wrong, values = [], {}
    for name in dict.fromkeys(given):
        field = model.model_fields.get(name)
        kind = _plain(field.annotation) if field else str
        try:
            values[name] = _values(kind, given.getall(name))
        except ValueError as error:
            wrong.append({"loc": ["query", name], "msg": str(error)})
    try:
        read = model.model_validate(values, strict=True)
    except ValidationError as refused:
        raise invalid(
            [*wrong, *_errors(refused, "query", {each["loc"][1] for each in wrong})]
        ) from None
    if wrong:
        raise invalid(wrong)
    return read


def is_needed(model: type[BaseModel]) -> bool:
    """Whether a body has to be there: where something in it has."""
    return any(field.is_required() for field in model.model_fields.values())


async def body_of(model: type[M], request: web.Request) -> M:
    """The JSON in the body; an empty one where nothing has to be said."""
    raw = await _raw(request)
    if raw and request.content_type != "application/json":
        raise Problem(UNSUPPORTED_MEDIA_TYPE, "The body has to be application/json.")
    try:
        read = model.model_validate_json(raw or (b"" if is_needed(model) else b"{}"), strict=True)
    except ValidationError as refused:
        raise invalid(_errors(refused, "body", set())) from None
    if any("\x00" in text for text in _texts(read.model_dump())):
        raise invalid([{"loc": ["body"], "msg": "no text may hold U+0000"}])
    return read


def key_of(request: web.Request) -> str | None:
    """The Idempotency-Key, None without one; Problem invalid for what is none."""
    given = request.headers.getall("Idempotency-Key", [])
    if not given:
        return None
    if len(given) > 1 or not _KEY.fullmatch(given[0]):
        says = f"one key of 1 to {MOST_KEY} printable ASCII characters without spaces"
        raise invalid([{"loc": ["header", "Idempotency-Key"], "msg": says}])
    return given[0]


async def _raw(request: web.Request) -> bytes:
    """The body, no longer than allowed: not even read further."""
    raw = bytearray()
    if (request.content_length or 0) > MOST_BYTES:
        raise _too_large()
    async for chunk in request.content.iter_any():
        raw += chunk
        if len(raw) > MOST_BYTES:
            raise _too_large()
    return bytes(raw)


def _too_large() -> Problem:
    return Problem(TOO_LARGE, f"A request may have {MOST_BYTES} bytes.")


def _plain(annotation: Any) -> Any:
    """The type of a field without what stands around it: None, Annotated."""
    if get_origin(annotation) in (Union, UnionType):
        (annotation,) = (each for each in get_args(annotation) if each is not NoneType)
    while hasattr(annotation, "__metadata__"):
        annotation = get_args(annotation)[0]
    return annotation


def _values(kind: Any, texts: list[str]) -> Any:
    if get_origin(kind) is list:
        (each,) = get_args(kind)
        return [_value(_plain(each), text) for text in texts]
    if len(texts) > 1:
        raise ValueError("it may be given once")
    return _value(kind, texts[0])


def _value(kind: Any, text: str) -> Any:
    """A text as what it stands for, in the one spelling that the documentation names."""
    if "\x00" in text:
        raise ValueError("no text may hold U+0000")
    if kind is int:
        if not _INTEGER.fullmatch(text):
            raise ValueError("expected a whole number")
        return int(text)
    if kind is bool:
        if text not in _BOOLEANS:
            raise ValueError("expected true or false")
        return _BOOLEANS[text]
    if kind is UUID:
        if not _UUID.fullmatch(text):
            raise ValueError("expected a UUID")
        return UUID(text)
    return _moment(text) if kind is datetime else text


def _moment(text: str) -> datetime:
    """RFC 3339, section 5.6."""
    found = _MOMENT.fullmatch(text)
    if not found:
        raise ValueError("expected a time such as 2026-01-05T09:30:00Z")
    written = f"{text[:10]}T{text[11:19]}{found[1] or ''}{found[2].upper()}"
    try:
        return datetime.fromisoformat(written).astimezone(UTC)
    except OverflowError:
        raise ValueError("a time before or behind all that we count") from None


def _errors(
    refused: ValidationError, where: Literal["query", "body"], known: set[Any]
) -> list[dict[str, Any]]:
    found = refused.errors(include_url=False, include_context=False, include_input=False)
    return [
        {"loc": [where, *error["loc"]], "msg": error["msg"]}
        for error in found
        if error["loc"][:1] == () or error["loc"][0] not in known
    ]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from _texts(name)
            yield from _texts(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _texts(each)

"""The calls that every turn makes: the SDK's requests, with answers that stay plain JSON.

To build, validate and dump the SDK's models for one turn costs more than all else that a turn does:
2.5 ms for a list of eight events against 0.8 ms, 100 µs for an event of a stream against 8. The SDK
makes a request to any path with any type for its answer ("Making custom/undocumented requests",
github.com/anthropics/anthropic-sdk-python): with `object` its HTTP, headers, errors and frames are
used and its models are not. Each function raises what the SDK raises.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
from anthropic import AsyncAnthropic, AsyncStream

Json = dict[str, Any]

_HEADERS = {"anthropic-beta": "managed-agents-2026-04-01"}
_BETA = {"beta": "true"}


async def get(client: AsyncAnthropic, path: str, **query: Any) -> Json:
    """An object."""
    return _object(await client.get(path, cast_to=object, options=_options(query)))


async def post(client: AsyncAnthropic, path: str, body: Json) -> Json:
    """An object."""
    return _object(await client.post(path, cast_to=object, body=body, options=_options({})))


@asynccontextmanager
async def stream(
    client: AsyncAnthropic, path: str, **query: Any
) -> AsyncIterator[AsyncIterator[Json]]:
    """The events of a stream, which is open when entered; it ends when the other side says so."""
    frames = await client.get(
        path,
        cast_to=object,
        options=_options(query),
        stream=True,
        stream_cls=AsyncStream[object],
    )
    try:
        yield (_object(event) async for event in frames)
    finally:
        await frames.close()


def _options(query: dict[str, Any]) -> Any:
    return {"headers": _HEADERS, "params": _BETA | query}


def _object(answer: object) -> Json:
    if not isinstance(answer, dict):
        raise httpx2.DecodingError("the answer is no JSON object")
    return answer

"""The words of the wire: ids, times, JSON, errors."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from aiohttp import web

Json = dict[str, Any]

REQUEST_ID = web.RequestKey("request_id", str)
# The body, where it was read before the handler came to it.
WHOLE = web.RequestKey("whole", bytes)

_SURROGATE = rb"\ud"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class ApiError(Exception):
    """A refusal that leaves in the platform's error envelope."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        retry_after: float | None = None,
        code: str | None = None,
    ) -> None:
        """`retry_after` in seconds becomes the header of that name; `code` names the cause."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after
        self.code = code

    def response(self, request_id: str) -> web.Response:
        """The refusal as it goes over the wire."""
        kind = _ERROR_TYPES.get(self.status, "api_error")
        error: Json = {"type": kind, "message": self.message}
        if self.code is not None:
            error["details"] = {"error_code": self.code}
        body = {"type": "error", "error": error, "request_id": request_id}
        response = web.json_response(body, status=self.status)
        if self.retry_after is not None:
            response.headers["retry-after"] = f"{self.retry_after:g}"
        return response


def bad_request(message: str) -> ApiError:
    """A 400, for a request that can never succeed as it stands."""
    return ApiError(400, message)


def not_found(what: str) -> ApiError:
    """A 404 for the thing named."""
    return ApiError(404, f"{what} was not found.")


def new_id(prefix: str) -> str:
    """A fresh opaque id; ids do not sort by time, as on the platform."""
    return f"{prefix}_01{uuid4().hex[:24]}"


def now_us() -> int:
    """Microseconds since 1970 on the wall clock."""
    return time.time_ns() // 1000


def stamp(us: int) -> str:
    """RFC 3339 with microseconds, in UTC."""
    moment = _EPOCH + us * _MICROSECOND
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_time(text: str, name: str) -> int:
    """The inverse of `stamp`, for any RFC 3339 text; a 400 naming the parameter otherwise."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise bad_request(f"{name}: not an RFC 3339 time") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND


def dump(value: object) -> str:
    """Compact JSON, text kept as it is."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def frame(kind: str, data: str) -> bytes:
    """One server-sent event; the client drops frames without an event line."""
    return f"event: {kind}\ndata: {data}\n\n".encode()


async def read_object(request: web.Request) -> Json:
    """The JSON object in the body; an empty body counts as {}."""
    raw = await request.read()
    if not raw.strip():
        return {}
    try:
        body = json.loads(raw)
        if _SURROGATE in raw.lower():
            # Half a character parses, but can be stored and sent on by nobody.
            dump(body).encode()
    except ValueError:
        raise bad_request("The request body is not valid JSON.") from None
    if not isinstance(body, dict):
        raise bad_request("The request body must be a JSON object.")
    return body

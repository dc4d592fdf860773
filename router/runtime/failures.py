"""What a failed call to the runtime says of its effect: errors of all layers, sorted into ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import aiohttp
import anthropic
import httpx2

from router.errors import RuntimeAway, RuntimeGone, RuntimeRefused, RuntimeUnclear
from router.notices import Trouble

# what a refusal says of its cause, the surest first: `error.details.error_code`, `error.type`, status
_BY_CODE = {
    "environment_archived": Trouble.ENVIRONMENT_MISSING,
    "environment_not_found": Trouble.ENVIRONMENT_MISSING,
    "organization_on_hold": Trouble.BILLING,
    "contract_spend_limit_reached": Trouble.BILLING,
    "enforced_spend_limit_reached": Trouble.BILLING,
    "linked_organization_spend_limit_reached": Trouble.BILLING,
    "linked_organization_billing_unavailable": Trouble.BILLING,
}
_BY_TYPE = {
    "authentication_error": Trouble.KEY_REFUSED,
    "permission_error": Trouble.KEY_FORBIDDEN,
    "billing_error": Trouble.BILLING,
    "rate_limit_error": Trouble.RUNTIME_LIMITED,
    "overloaded_error": Trouble.RUNTIME_OVERLOADED,
}
_BY_STATUS = {
    401: Trouble.KEY_REFUSED,
    402: Trouble.BILLING,
    403: Trouble.KEY_FORBIDDEN,
    413: Trouble.TOO_LARGE,
    429: Trouble.RUNTIME_LIMITED,
    529: Trouble.RUNTIME_OVERLOADED,
}


@contextmanager
def sorted_errors() -> Iterator[None]:
    """What is raised inside becomes a RuntimeFailure, as long as it is the runtime's or the line's."""
    try:
        yield
    except anthropic.APIStatusError as error:
        raise _by_status(error) from error
    except (anthropic.APIConnectionError, httpx2.HTTPError) as error:
        cause = error.__cause__ if isinstance(error, anthropic.APIConnectionError) else error
        if _never_left(cause):
            raise RuntimeAway(f"the runtime cannot be reached: {type(cause).__name__}") from error
        raise RuntimeUnclear(f"the answer was lost: {type(cause).__name__}") from error


def _never_left(cause: BaseException | None) -> bool:
    """True where no connection was made, so that the request cannot have taken effect.

    The SDK's transport says ConnectError also of a connection that broke after the request went out;
    only aiohttp's own error, which it was made from, tells the two apart.
    """
    if isinstance(cause, httpx2.ConnectError):
        return isinstance(cause.__cause__, aiohttp.ClientConnectorError)
    return isinstance(cause, (httpx2.ConnectTimeout, httpx2.PoolTimeout))


def _by_status(
    error: anthropic.APIStatusError,
) -> RuntimeAway | RuntimeUnclear | RuntimeRefused | RuntimeGone:
    says, trouble = error.api_message or str(error), _trouble(error)
    wait = _retry_after(error.response)
    if error.error_code in _BY_CODE:  # a spending limit is a 429 that no waiting helps
        return RuntimeRefused(says, trouble=trouble)
    match error.status_code:
        case 404:
            return RuntimeGone(says)
        case 429:
            return RuntimeAway(says, retry_after=wait, trouble=trouble)
        case status if status >= 500 or status == 200:  # noqa: PLR2004  # 200: an error frame in a stream
            return RuntimeUnclear(says, retry_after=wait, trouble=trouble or Trouble.RUNTIME_BROKEN)
        case 408 | 409:
            return RuntimeUnclear(says)
        case _:
            return RuntimeRefused(says, trouble=trouble)


def _trouble(error: anthropic.APIStatusError) -> Trouble | None:
    """What a person is told of a refusal, where it is not just that it was one."""
    found = _BY_CODE.get(error.error_code or "") or _BY_TYPE.get(error.type or "")
    if found is None and "budget" in (error.api_message or ""):
        # at its budget's cap a session takes no message (docs/budgets "Events accepted at the cap")
        return Trouble.BUDGET_REACHED if error.status_code == HTTPStatus.BAD_REQUEST else None
    return found or _BY_STATUS.get(error.status_code)


def _retry_after(response: httpx2.Response) -> float | None:
    value = response.headers.get("retry-after", "")
    return float(value) if value.replace(".", "", 1).isdigit() else None


def is_one_too_many(cause: BaseException | None) -> bool:
    """True for a request that was refused because its minute was spent."""
    limited = HTTPStatus.TOO_MANY_REQUESTS
    return isinstance(cause, anthropic.APIStatusError) and cause.status_code == limited

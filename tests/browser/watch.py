"""What a page must not do while somebody uses it: complain, fail, ask, or speak to anybody else."""

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.async_api import (
    BrowserContext,
    ConsoleMessage,
    Dialog,
    Request,
    Response,
    WebError,
)

_LOUD = frozenset({"error", "warning", "assert"})
_OWN = frozenset({"data", "blob"})
_REFUSED = 400


@dataclass
class Watch:
    """All that went wrong in one browser context, in order; `url` is the only server allowed."""

    url: str
    wrong: list[str] = field(default_factory=list)
    _allowed: list[re.Pattern[str]] = field(default_factory=list)

    def over(self, context: BrowserContext) -> None:
        """Begins to listen to every page of it."""
        context.on("console", self._console)
        context.on("weberror", self._error)
        context.on("dialog", self._dialog)
        context.on("request", self._request)
        context.on("requestfailed", self._failed)
        context.on("response", self._response)

    def allow(self, pattern: str) -> None:
        """From now on this may happen: the test makes it happen."""
        self._allowed.append(re.compile(pattern))

    def check(self) -> None:
        """Fails with all that went wrong."""
        assert not self.wrong, "\n".join(["the page did what it must not:", *self.wrong])

    def _note(self, what: str) -> None:
        if not any(pattern.search(what) for pattern in self._allowed):
            self.wrong.append(what)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in _LOUD:
            self._note(f"console {message.type}: {message.text} ({message.location['url']})")

    def _error(self, error: WebError) -> None:
        self._note(f"uncaught: {error.error.stack or error.error}")

    async def _dialog(self, dialog: Dialog) -> None:
        self._note(f"dialog: {dialog.message}")
        await dialog.dismiss()

    def _request(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme not in _OWN and not request.url.startswith(f"{self.url}/"):
            self._note(f"request to elsewhere: {request.url}")

    def _failed(self, request: Request) -> None:
        # Who leaves the page or looks elsewhere breaks off what was on its way.
        if request.failure != "net::ERR_ABORTED":
            self._note(f"failed: {request.method} {request.url} {request.failure}")

    def _response(self, response: Response) -> None:
        if response.status >= _REFUSED:
            self._note(f"refused: {response.request.method} {response.url} {response.status}")

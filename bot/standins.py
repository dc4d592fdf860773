"""`threadline local`: a stand-in for Slack or for the runtime, as a process of its own."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from bot import process
from bot.local import LocalSlack
from bot.local.settings import Options
from bot.manifest import EVENT_SCOPES, REQUIRED_SCOPES
from router.errors import ConfigurationError
from router.runtime.local import LocalRuntime


def as_the_manifest_says() -> Options:
    """A local workspace that grants the app what manifest.yml asks for."""
    return Options(scopes=REQUIRED_SCOPES, subscriptions=frozenset(EVENT_SCOPES))


async def serve(what: str, port: int, data_dir: Path | None, request_url: str | None) -> None:
    """Runs "runtime" or "slack" until SIGTERM; ConfigurationError where the port is taken."""
    stop = process.stop_on_signals()
    data = data_dir / f"{what}.sqlite3" if data_dir else None
    async with AsyncExitStack() as stack:
        try:
            if what == "runtime":
                runtime = await stack.enter_async_context(LocalRuntime(port=port, data=data))
                told: dict[str, Any] = {"url": runtime.url}
            else:
                options = as_the_manifest_says() | Options(request_url=request_url)
                slack = await stack.enter_async_context(LocalSlack(port=port, data=data, **options))
                told = {
                    "url": slack.url,
                    "api_url": slack.api_url,
                    "bot_token": slack.bot_token,
                    "app_token": slack.app_token,
                    "signing_secret": slack.signing_secret,
                }
        except OSError as error:
            raise ConfigurationError(f"cannot listen on port {port} ({error.strerror})") from error
        process.ready(**told)
        await process.until(stop)

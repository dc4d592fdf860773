"""The runtime as the carrying of files sees it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta

from router.errors import RuntimeAway, RuntimeUnclear
from router.runtime.budget import Need
from router.runtime.files import Files, Upload

# Long enough for a message that waits for its agent to be resumed, or its people to answer.
KEPT = timedelta(days=30)


class RuntimeUploads:
    """Implements `router.files.incoming.Uploads`: what is not used expires at the runtime.

    Both may be asked for again: a failure is RuntimeAway, RuntimeRefused or RuntimeGone.
    """

    def __init__(self, files: Files, kept: timedelta = KEPT) -> None:
        self._files = files
        self._kept = kept

    async def upload(self, chunks: AsyncIterator[bytes], name: str, media_type: str) -> str:
        """A file as it comes in; its id. Raises what `chunks` raises, and RuntimeFailure."""
        with _to_be_repeated():
            return await self._files.upload(Need.LIVE, chunks, Upload(name, media_type, self._kept))

    async def mount(self, session_id: str, file_id: str, path: str) -> None:
        """Puts a file where a session sees it; one that is there already is as good."""
        with _to_be_repeated():
            await self._files.add_resource(Need.LIVE, session_id, file_id, path)


@contextmanager
def _to_be_repeated() -> Iterator[None]:
    """A lost answer is none: a copy that nobody knows of expires, a mount is found the next time."""
    try:
        yield
    except RuntimeUnclear as unclear:
        raise RuntimeAway(
            str(unclear), retry_after=unclear.retry_after, trouble=unclear.trouble
        ) from unclear

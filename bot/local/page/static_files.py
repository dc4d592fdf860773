"""The page's own files, and the headers of everything that the page is answered with."""

import hashlib
from pathlib import Path

from aiohttp import web

from bot.local.routes import only_loopback

_FOLDER = Path(__file__).resolve().parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_GUARDS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


async def guard(request: web.Request, response: web.StreamResponse) -> None:
    """Put the page's security headers to an answer that has none of its own."""
    if request.path == "/" or request.path.startswith("/_page/"):
        for name, value in _GUARDS.items():
            response.headers.setdefault(name, value)


async def index(request: web.Request) -> web.Response:
    """`GET /`."""
    return answer(request, "index.html", _FOLDER)


async def static(request: web.Request) -> web.Response:
    """`GET /_page/static/{path}`."""
    return answer(request, request.match_info["path"], _FOLDER)


def answer(request: web.Request, path: str, folder: Path) -> web.Response:
    """A file below a folder, for requests of this machine; 404 for whatever is none of a page's."""
    only_loopback(request)
    content = _read(folder, path)
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if tag in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = _TYPES[Path(path).suffix]
    return web.Response(body=content, headers=headers)


def _read(folder: Path, path: str) -> bytes:
    # What a link leads out of the folder to is not the page's either.
    file = (folder / path).resolve() if "\0" not in path else folder
    served = file.is_relative_to(folder) and file.suffix in _TYPES and file.is_file()
    if not served:
        raise web.HTTPNotFound
    return file.read_bytes()

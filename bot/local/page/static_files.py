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
    return _answer(request, "index.html")


async def static(request: web.Request) -> web.Response:
    """`GET /_page/static/{path}`."""
    return _answer(request, request.match_info["path"])


def _answer(request: web.Request, path: str) -> web.Response:
    only_loopback(request)
    content = _read(path)
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if tag in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = _TYPES[Path(path).suffix]
    return web.Response(body=content, headers=headers)


def _read(path: str) -> bytes:
    # What a link leads out of the folder to is not the page's either.
    file = (_FOLDER / path).resolve() if "\0" not in path else _FOLDER
    served = file.is_relative_to(_FOLDER) and file.suffix in _TYPES and file.is_file()
    if not served:
        raise web.HTTPNotFound
    return file.read_bytes()

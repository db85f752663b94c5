"""The page at `/` and its parts, read once at start. No key: the page asks for it and keeps it in the browser's tab.

The policy lets the browser run and load nothing that is not served here.
"""

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Final

from aiohttp import web

from videofleet_gateway.services import SERVICES

_TYPES: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}


def _policy(stores: Sequence[str] = ()) -> str:
    """Nothing from elsewhere, except pictures and videos from stores that content is redirected to."""
    media = " ".join(["'self'", *stores])
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self'; img-src {media}; media-src {media}; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"
    )


SECURITY: Final = {
    "Content-Security-Policy": _policy(),
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-cache",  # asked again each time, answered 304: page and gateway are of one version
}
_PARTS: Final = {
    part.name: part.read_bytes() for part in files("videofleet_gateway").joinpath("page").iterdir() if part.is_file()
}


async def page(request: web.Request) -> web.Response:
    """GET of `/` or one part of it."""
    name = request.match_info.get("name", "index.html")
    if name not in _PARTS:
        raise web.HTTPNotFound
    body = _PARTS[name]
    etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    if request.headers.get("If-None-Match") == etag:
        return web.Response(status=304, headers=SECURITY | {"ETag": etag})
    content_type = _TYPES[name.rpartition(".")[2]]
    headers = SECURITY | {"ETag": etag}
    if stores := await request.app[SERVICES].redirect_origins():
        headers["Content-Security-Policy"] = _policy(stores)
    return web.Response(body=body, content_type=content_type, charset="utf-8", headers=headers)

"""The Idempotency-Key header."""

import re
from typing import Final

from aiohttp import web

from videofleet_gateway.problems import Fault, Unprocessable

_KEY: Final = re.compile(r"[!-~]{1,255}")


def idempotency_key(request: web.Request) -> str | None:
    """The key, or None without one. Raises: Unprocessable."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _KEY.fullmatch(key):
        raise Unprocessable.from_faults([Fault("Idempotency-Key", "must be 1 to 255 visible ASCII characters")])
    return key

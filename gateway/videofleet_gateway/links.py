"""Signed links: a query parameter that opens one video for some minutes, where no header can be sent.

A link names the API key that made it and dies with it; the tenant comes from that key, as always. One that was made in
a session names tenant and person instead, and dies when nobody is let into that tenant any more. It opens `content` and
`events` of one video to GET and HEAD, nothing else. The text is `<day of the signing key>.<expiry>.<key
id>.<signature>`; the video is signed and not repeated.
"""

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Callable
from typing import Final

from aiohttp import web

from videofleet.queue.signing import SigningKeys
from videofleet_gateway.auth import Caller
from videofleet_gateway.problems import Problem

OPENED: Final = ("/v1/videos/{id}/content", "/v1/videos/{id}/events")
PARAMETER: Final = "token"
MAX_LIFE_S: Final = 86_400  # as long as every signing key is good
DEFAULT_LIFE_S: Final = 900
_TOKEN: Final = re.compile(
    r"([0-9]{1,6})\.([0-9]{1,12})\.([A-Za-z0-9]{1,32}|oidc:[a-z0-9-]{1,63}:[0-9a-f]{16})\.([A-Za-z0-9_-]{43})"
)


class LinkExpired(Problem):
    """A link of ours whose time is over."""

    status, kind, default_code = 401, "authentication_error", "link_expired"


async def token(signing: SigningKeys, caller: Caller, video: str, expires_at_s: int) -> str:
    """The text that opens this video. Raises: QueueUnavailable."""
    day, key = await signing.today()
    return f"{day}.{expires_at_s}.{caller.key_id}.{_signature(key, day, expires_at_s, caller.key_id, video)}"


async def link_caller(
    request: web.Request, signing: SigningKeys, caller_of: Callable[[str], Caller | None]
) -> Caller | None:
    """On whose behalf the request's link opens; None when it has none, or one that is not ours. Raises: LinkExpired."""
    resource = request.match_info.route.resource
    match = _TOKEN.fullmatch(request.query.get(PARAMETER, ""))
    if match is None or resource is None or resource.canonical not in OPENED or request.method not in ("GET", "HEAD"):
        return None
    day, expires_at_s, key_id = int(match[1]), int(match[2]), match[3]
    key = await signing.of(day)
    if key is None:
        return None
    right = _signature(key, day, expires_at_s, key_id, request.match_info["id"])
    if not hmac.compare_digest(right, match[4]):
        return None
    if expires_at_s <= time.time():
        raise LinkExpired("this link has expired; ask for a new one: POST /v1/videos/{id}/links")
    return caller_of(key_id)


def _signature(key: bytes, day: int, expires_at_s: int, key_id: str, video: str) -> str:
    said = f"videofleet link\n{day}\n{expires_at_s}\n{key_id}\n{video}".encode()
    return base64.urlsafe_b64encode(hmac.digest(key, said, hashlib.sha256)).decode().rstrip("=")

"""Cookies that only this installation can have made: what they say, signed with the key of the day.

The text is `<day>.<payload>.<signature>`. A purpose is signed with it, so that no cookie passes for another, nor for a
link. They are signed, not encrypted: nothing stands in them that their owner may not read.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
import time
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from videofleet.queue.signing import SigningKeys
from videofleet_gateway.directory import answered_in_time

_TEXT: Final = re.compile(r"([0-9]{1,6})\.([A-Za-z0-9_-]{1,2000})\.([A-Za-z0-9_-]{43})")
_EXPIRY: Final = "exp"


class Purpose(StrEnum):
    """What a cookie is for, and its name."""

    ATTEMPT = "vf-login"
    SESSION = "vf-session"


def cookie_name(purpose: Purpose, *, is_public: bool) -> str:
    """Behind TLS a name that browsers take from this very host only, and only over TLS."""
    return f"__Host-{purpose}" if is_public else str(purpose)


async def seal(signing: SigningKeys, purpose: Purpose, said: Mapping[str, Any], life_s: int) -> str:
    """The cookie's text, good for so many seconds. Raises: QueueUnavailable."""
    async with answered_in_time():
        day, key = await signing.today()
    payload = _encoded(json.dumps({**said, _EXPIRY: int(time.time()) + life_s}, separators=(",", ":")).encode())
    return f"{day}.{payload}.{_signature(key, purpose, day, payload)}"


async def unseal(signing: SigningKeys, purpose: Purpose, text: str) -> dict[str, Any] | None:
    """What it says; None when it is over, or not ours. Raises: QueueUnavailable."""
    match = _TEXT.fullmatch(text)
    if match is None:
        return None
    async with answered_in_time():
        key = await signing.of(int(match[1]))
    if key is None:
        return None
    if not hmac.compare_digest(_signature(key, purpose, int(match[1]), match[2]), match[3]):
        return None
    try:
        said = json.loads(base64.urlsafe_b64decode(match[2] + "=" * (-len(match[2]) % 4)))
    except (binascii.Error, ValueError):
        return None
    return said if isinstance(said, dict) and said[_EXPIRY] > time.time() else None


def _signature(key: bytes, purpose: Purpose, day: int, payload: str) -> str:
    said = f"videofleet cookie {purpose}\n{day}\n{payload}".encode()
    return _encoded(hmac.digest(key, said, hashlib.sha256))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")

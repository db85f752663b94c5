"""How many requests a tenant may make: a token bucket each, in this replica's memory.

Replicas count apart, so behind N of them a tenant may reach N times its limit. A bucket holds a minute's worth and
fills evenly; a limit that changed acts on the next request.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_WINDOW_S: Final = 60.0


@dataclass(frozen=True)
class Verdict:
    """Whether a request may pass, and what the headers say."""

    allowed: bool
    limit: int
    remaining: int
    full_in_s: int
    retry_after_s: int

    @property
    def headers(self) -> dict[str, str]:
        """RateLimit headers (draft-ietf-httpapi-ratelimit-headers)."""
        return {
            "RateLimit-Policy": f'"requests";q={self.limit};w={_WINDOW_S:g}',
            "RateLimit": f'"requests";r={self.remaining};t={self.full_in_s}',
        }


@dataclass(frozen=True)
class Bucket:
    """Tokens at a moment."""

    tokens: float
    at_s: float


def take(bucket: Bucket | None, per_minute: int, now_s: float) -> tuple[Bucket, Verdict]:
    """One request: the bucket after it, and the verdict. Example: 60 a minute, empty → again in 1 s."""
    rate = per_minute / _WINDOW_S
    filled = per_minute if bucket is None else min(per_minute, bucket.tokens + (now_s - bucket.at_s) * rate)
    allowed = filled >= 1
    left = filled - 1 if allowed else filled
    verdict = Verdict(
        allowed=allowed,
        limit=per_minute,
        remaining=int(left),
        full_in_s=math.ceil((per_minute - left) / rate),
        retry_after_s=max(1, math.ceil((1 - left) / rate)),
    )
    return Bucket(left, now_s), verdict


class RateLimits:
    """The buckets of all tenants that have a limit."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, Bucket] = {}

    def request(self, tenant: str, per_minute: int) -> Verdict:
        """Counts one request."""
        self._buckets[tenant], verdict = take(self._buckets.get(tenant), per_minute, self._clock())
        return verdict

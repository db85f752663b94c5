"""How long ago the API server was last heard, by source. A blind operator must fail its health check, not look well."""

import time
from collections.abc import Callable
from typing import Final

STALE_AFTER_S: Final = 180.0


class Freshness:
    """Each loop that listens touches its source; the oldest one counts."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._heard: dict[str, float] = {}
        self._ready: set[str] = set()

    def expect(self, source: str) -> None:
        """From now on this source counts."""
        self._heard.setdefault(source, self._clock())

    def touch(self, source: str) -> None:
        """A list, an event or a bookmark came from it."""
        self._heard[source] = self._clock()
        self._ready.add(source)

    def stale(self) -> list[str]:
        """Sources that were not heard for too long."""
        now = self._clock()
        return sorted(source for source, at in self._heard.items() if now - at > STALE_AFTER_S)

    def is_ready(self) -> bool:
        """Whether every source was heard at least once."""
        return bool(self._heard) and self._ready == set(self._heard)

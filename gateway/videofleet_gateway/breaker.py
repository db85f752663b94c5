"""A circuit breaker: while something behind the gateway is away, requests are refused at once instead of piling up.

Closed until `THRESHOLD` failures in a row, then open: for `OPEN_S` nobody passes, after that one request at a time
tries (half-open), and the first that succeeds closes it.
"""

import time
from collections.abc import Callable
from typing import Final

THRESHOLD: Final = 3
OPEN_S: Final = 1.0  # short, because a restarted Redis is back within seconds
PROBE_S: Final = 2.0  # what a trial may take before the next is let through


class Breaker:
    """Of one dependency."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._shut_until = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the dependency counts as away."""
        return self._failures >= THRESHOLD

    def admits(self) -> bool:
        """Whether a request may try. While it is open, asking is taking the place of the one trial."""
        if not self.is_open:
            return True
        now = self._clock()
        if now < self._shut_until:
            return False
        self._shut_until = now + PROBE_S
        return True

    def succeeded(self) -> None:
        """It answered."""
        self._failures = 0

    def failed(self) -> None:
        """It did not."""
        self._failures += 1
        if self.is_open:
            self._shut_until = self._clock() + OPEN_S

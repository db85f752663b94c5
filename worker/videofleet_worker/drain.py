"""Leaving in good order: from SIGTERM until the grace period has run out.

Pure but for the clock: it says whether work in hand still fits, and the supervisor acts on it.
"""

import asyncio
import time
from typing import Final

from videofleet.beacons import TierTiming
from videofleet.jobs import Progress

RESERVE_S: Final = 10.0  # before SIGKILL, to give jobs back and to close; a fifth of a short grace period
CAUTION: Final = 1.5  # times the estimate, since uploads and neighbours vary


class Drain:
    """Whether the worker is to leave, and how long it has."""

    def __init__(self, grace_period_s: float) -> None:
        self.reserve_s = min(RESERVE_S, grace_period_s / 5)
        self._usable_s = grace_period_s - self.reserve_s
        self._deadline: float | None = None
        self.requested = asyncio.Event()

    def begin(self) -> None:
        """SIGTERM came; a second one changes nothing."""
        if self._deadline is None:
            self._deadline = time.monotonic() + self._usable_s
            self.requested.set()

    @property
    def left_s(self) -> float:
        """Seconds that work may still take; infinite before SIGTERM."""
        return float("inf") if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def has_time_for(self, progress: Progress, timing: TierTiming | None, jobs: int = 1) -> bool:
        """Whether so many jobs of one batch would be done in time; without figures of their tier, they are tried."""
        return timing is None or CAUTION * jobs * remaining_s(progress, timing) <= self.left_s


def remaining_s(progress: Progress, timing: TierTiming) -> float:
    """Seconds from here to the video of a job alone: 30 of 40 steps done at 6 s, decode 20, encode 3 → 83."""
    steps_left = max(0, progress.steps - progress.step)
    return steps_left * timing.seconds_per_step + timing.decode_s + timing.encode_s

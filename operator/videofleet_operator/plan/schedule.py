"""Scheduled windows of `spec.scaling`: other bounds at certain hours of certain days, in UTC.

Of several windows that are open the last one in the list counts. A window whose end is not after its beginning runs
over midnight and belongs to the day it begins on. Example: Mon 22:00–06:00 is open on Tuesday at 05:59.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from videofleet_operator.crd.sections.scaling import Scaling, Window

DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY_MIN: Final = 24 * 60


def bounds_at(spec: Scaling, now: datetime) -> tuple[int, int]:
    """minReplicas and maxReplicas of the moment."""
    window = open_window(spec.schedule, now)
    low, high = spec.min_replicas, spec.max_replicas
    if window is not None:
        low = window.min_replicas if window.min_replicas is not None else low
        high = window.max_replicas if window.max_replicas is not None else high
    return low, max(low, high if high is not None else 1)


def open_window(windows: Sequence[Window], now: datetime) -> Window | None:
    """The last window that is open."""
    return next((window for window in reversed(windows) if _is_open(window, now.astimezone(UTC))), None)


def _is_open(window: Window, now: datetime) -> bool:
    start, length = _minutes(window.start), (_minutes(window.end) - _minutes(window.start)) % _DAY_MIN or _DAY_MIN
    minute = now.hour * 60 + now.minute
    for back in (0, 1):  # begun today, or yesterday over midnight
        day = DAYS[(now - timedelta(days=back)).weekday()]
        if (not window.days or day in window.days) and start <= minute + back * _DAY_MIN < start + length:
            return True
    return False


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)

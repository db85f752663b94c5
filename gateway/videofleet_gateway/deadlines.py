"""`deadline`: when a video must have begun, as a moment or as seconds from now. Pure."""

import re
from datetime import datetime, timedelta
from typing import Final

from videofleet_gateway.problems import Fault, Unprocessable

LONGEST: Final = timedelta(days=30)

_SECONDS: Final = re.compile(r"[0-9]{1,7}")
_EXAMPLE: Final = "2030-01-31T18:00:00Z, or as whole seconds from now, e.g. 600"

Deadline = datetime | timedelta


def deadline(given: object) -> Deadline:
    """What was asked for. Raises: ValueError."""
    text = str(given) if isinstance(given, str | int) and not isinstance(given, bool) else ""
    if _SECONDS.fullmatch(text):
        return timedelta(seconds=int(text))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise ValueError(f"must be a moment with its time zone, e.g. {_EXAMPLE}")
    return moment


def deadline_ms(asked: Deadline | None, now_ms: int) -> int | None:
    """The moment in milliseconds since the epoch. Raises: Unprocessable when it has passed or is too far away."""
    if asked is None:
        return None
    left_ms = asked.total_seconds() * 1000 if isinstance(asked, timedelta) else asked.timestamp() * 1000 - now_ms
    if left_ms <= 0:
        raise Unprocessable.from_faults([Fault("deadline", "has passed; choose a later one or leave it out")])
    if left_ms > LONGEST.total_seconds() * 1000:
        raise Unprocessable.from_faults([Fault("deadline", f"must be within {LONGEST.days} days; or leave it out")])
    return now_ms + int(left_ms)

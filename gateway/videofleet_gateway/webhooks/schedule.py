"""When a delivery that failed is tried again: the schedule that Standard Webhooks recommends. Pure.

Ten attempts in about 75 hours. Jitter keeps a receiver that comes back from being met by everybody at once.
"""

from typing import Final

DELAYS_S: Final = (0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Before attempt 1, 2, …: 0 s, 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h."""

_JITTER: Final = 0.1


def delay_s(attempts: int, chance: float, asked_s: float = 0.0) -> float | None:
    """Seconds until the next attempt after so many, or None when that was the last.

    Args:
        attempts: made so far, from 1.
        chance: uniform in [0, 1).
        asked_s: what the receiver's Retry-After says; obeyed up to the longest delay.

    Example: 1, 0.5 → 5.0 s; 3, 0.0 → 1620 s; 10 → None.
    """
    if attempts >= len(DELAYS_S):
        return None
    jittered = DELAYS_S[attempts] * (1 - _JITTER + 2 * _JITTER * chance)
    return max(jittered, min(asked_s, DELAYS_S[-1]))

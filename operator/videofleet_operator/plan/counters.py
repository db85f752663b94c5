"""A revision's counters over all tiers, as Redis keeps them, and what follows from stable's for the data plane."""

from collections.abc import Iterable
from math import ceil, log
from typing import Final

from videofleet.jobs import Outcomes
from videofleet_operator.crd.rollout_status import Seen

_LEAST_IN_ROW: Final = 3
_MOST_IN_ROW: Final = 20
_JOBS: Final = 1000  # of a canary, over which a false alarm is to be as rare as any


def seen_of(outcomes: Iterable[Outcomes], revision: str) -> Seen:
    """The sums of one revision."""
    rows = [row for row in outcomes if row.revision == revision]
    return Seen(
        attempts=sum(row.attempts for row in rows),
        failures=sum(row.attempt_failures for row in rows),
        rejected=sum(row.rejected for row in rows),
        timed=sum(row.paced for row in rows),
        slow=sum(row.slow for row in rows),
        measured=sum(row.measured for row in rows),
        weighed=sum(row.weighed for row in rows),
        hungry=sum(row.hungry for row in rows),
        recoveries=sum(row.timed_recoveries for row in rows),
        slow_recoveries=sum(row.slow_recoveries for row in rows),
    )


def slow_above_s(
    outcomes: Iterable[Outcomes], stable: str, tolerated: float, known: dict[str, float]
) -> dict[str, float]:
    """Seconds per step above which a job that had its worker alone is slow, by tier: stable's mean and a tolerance.

    Where stable is so busy that none of its jobs was alone, the mean of its whole batches: a small canary's jobs are
    all alone, and one alone takes no longer than a batch.

    Args:
        outcomes: of all revisions.
        stable: whose mean it is.
        tolerated: ratio above the mean, 0.25 = a quarter more.
        known: thresholds of this trial so far; they stay, so that both tracks are measured by the same ones.
    """
    rows = [row for row in outcomes if row.revision == stable]
    batches = _limits(((row.tier, row.pass_s, row.steps - row.alone) for row in rows), tolerated)
    return batches | _alone(rows, tolerated) | known


def slow_together_above_s(
    outcomes: Iterable[Outcomes], stable: str, tolerated: float, known: dict[str, float]
) -> dict[str, float]:
    """The same for a job's share of its batch's time.

    Where no job of stable's shared a batch, the mean of those alone: nobody's share is longer than that.
    """
    rows = [row for row in outcomes if row.revision == stable]
    shares = _limits(((row.tier, row.step_s - row.alone_s, row.steps - row.alone) for row in rows), tolerated)
    return _alone(rows, tolerated) | shares | known


def _alone(rows: Iterable[Outcomes], tolerated: float) -> dict[str, float]:
    return _limits(((row.tier, row.alone_s, row.alone) for row in rows), tolerated)


def _limits(sums: Iterable[tuple[str, float, int]], tolerated: float) -> dict[str, float]:
    """By tier, from sums and counts; none where nothing was measured."""
    return {tier: round(total / count * (1 + tolerated), 6) for tier, total, count in sums if count > 0 and total > 0}


def memory_above_bytes(
    outcomes: Iterable[Outcomes], stable: str, tolerated: float, known: dict[str, float]
) -> dict[str, float]:
    """Bytes of GPU memory above which a job counts as too big, by tier; arguments as for `slow_above_s`."""
    rows = [row for row in outcomes if row.revision == stable and row.measured]
    return {row.tier: round(row.memory_bytes / row.measured * (1 + tolerated)) for row in rows} | known


def recovery_above_s(outcomes: Iterable[Outcomes], stable: str, tolerated_s: float, known: float | None) -> float:
    """Seconds above which a recovery counts as slow: at most one in three of stable's, by Markov's inequality."""
    if known is not None:
        return known
    rows = [row for row in outcomes if row.revision == stable and row.recoveries]
    return max(tolerated_s, *(round(3 * row.recovery_s / row.recoveries, 3) for row in rows), 0.0)


def failures_in_row(outcomes: Iterable[Outcomes], stable: str, false_alarm_rate: float) -> int:
    """Failures in a row at which the data plane gives a canary up by itself.

    So many that a canary as good as stable hardly ever has them: stable's 1 % gives 3, its 5 % gives 4.
    """
    seen = seen_of(outcomes, stable)
    share = min(0.5, (seen.failures + 0.2) / (seen.attempts + 10))
    return max(_LEAST_IN_ROW, min(_MOST_IN_ROW, ceil(log(false_alarm_rate / _JOBS) / log(share))))

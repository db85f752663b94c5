"""How workers and jobs are divided between stable and canary.

Invariants: the canary has a worker while it is on trial, stable has one until the canary takes over; together they
are as many as are wanted, and what still warms up; no job goes to a canary that has no warm worker for it.
"""

from dataclasses import dataclass

WHOLE = 1000  # thousandths of the jobs


@dataclass(frozen=True)
class Workers:
    """Workers wanted of each track."""

    stable: int
    canary: int


def workers_on_trial(wanted: int, weight: int, ready: int) -> Workers:
    """Workers while a canary is on trial.

    The canary gets what its weight needs, one at least; stable gives up a worker for each that is warm, and keeps
    what its own share of the jobs needs. Examples, for a warm canary: wanted 1, 5 % → 1 and 1; 8, 5 % → 8 and 1; 8,
    50 % → 4 and 4.

    Args:
        wanted: workers that the load needs, of both tracks together.
        weight: thousandths of the jobs that the canary is to have.
        ready: warm workers of the canary.
    """
    canary = max(1, _ceil(wanted * weight, WHOLE))
    stable = max(1, wanted - min(ready, canary), _ceil(wanted * (WHOLE - weight), WHOLE))
    return Workers(min(stable, max(1, wanted)), canary)


def workers_promoting(wanted: int, ready: int) -> Workers:
    """Workers while a good canary takes over: as it gains a warm one, stable loses one, the last one last."""
    canary = max(1, wanted)
    return Workers(max(1, canary - min(ready, canary)), canary)


def weight_within(weight: int, wanted: int, ready: int, stable_ready: int) -> int:
    """The weight, or what the canary's warm workers can stand of it.

    Measured against the workers that the load needs, so that one canary worker of a hundred can have its 1 %.
    """
    if ready == 0:
        return 0
    needed = min(ready + stable_ready, max(1, wanted, ready))
    return max(1, min(weight, WHOLE * ready // needed))


def _ceil(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)

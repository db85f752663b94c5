"""How workers and jobs are divided between stable and canary.

Invariants: no job goes to a canary that has no warm worker for it; in place, both tracks together are as many as are
wanted, at most one of them not warm on account of the rollout, and stable keeps one unless an outage is allowed.
"""

from dataclasses import dataclass
from typing import Final

WHOLE: Final = 1000  # thousandths of the jobs


@dataclass(frozen=True)
class Workers:
    """Workers wanted of each track."""

    stable: int
    canary: int


@dataclass(frozen=True)
class Seats:
    """What there is to divide."""

    wanted: int  # workers that the load needs, of both tracks together
    surge: int  # workers beyond those for the time of the rollout; 0: in place
    ready: int  # warm workers of the canary
    stable_ready: int  # those that drain to make room included: they go by the rollout's own will
    canary_wanted: int = 0  # replicas of the canary's Deployment now
    stable_pods: int = 0  # those on their way out included: they still hold a GPU
    may_have_outage: bool = False

    @property
    def is_alone(self) -> bool:
        """Whether the only worker would have to go before the canary can start."""
        return self.surge == 0 and self.wanted == 1 and not self.may_have_outage


def workers_on_trial(seats: Seats, weight: int) -> Workers:
    """Workers while a canary is on trial: it has what its weight needs, one at least.

    Stable gives up a worker for each that is warm, and keeps what its own share of the jobs needs as far as the surge
    allows. Examples, one of surge, a warm canary: wanted 1, 5 % → 1 and 1; 8, 5 % → 8 and 1; 8, 50 % → 4 and 4.
    """
    share = max(1, _ceil(seats.wanted * weight, WHOLE))
    if seats.surge == 0:
        return _in_place(seats, share)
    canary = min(share, seats.ready + seats.surge)
    beside = max(seats.wanted - min(seats.ready, canary), _ceil(seats.wanted * (WHOLE - weight), WHOLE))
    most = max(1, seats.wanted + seats.surge - canary)
    return Workers(min(seats.wanted, most, max(1, beside)), canary)


def workers_taking_over(seats: Seats) -> Workers:
    """Workers while a canary takes over: as it gains a warm one, stable loses one."""
    whole = max(1, seats.wanted)
    if seats.surge == 0:
        return _in_place(seats, whole)
    canary = min(whole, seats.ready + seats.surge)
    return Workers(min(seats.wanted, max(1, whole - min(seats.ready, canary))), canary)


def has_taken_over(seats: Seats) -> bool:
    """Whether the canary can do without stable; in place the last one of stable makes room for its last one."""
    return seats.ready >= max(1, seats.wanted - (1 if seats.surge == 0 else 0))


def weight_within(weight: int, seats: Seats) -> int:
    """The weight, or what the canary's warm workers can stand of it.

    Measured against the workers that the load needs, so that one canary worker of a hundred can have its 1 %.
    """
    if seats.ready == 0:
        return 0
    needed = min(seats.ready + seats.stable_ready, max(1, seats.wanted, seats.ready))
    return max(1, min(weight, WHOLE * seats.ready // needed))


def _in_place(seats: Seats, share: int) -> Workers:
    """One swap at a time, in two steps: a worker of stable leaves, then one of the canary comes in its place.

    A worker of the canary that already waits for a GPU goes on waiting, if it is the next: one that is freed is its.
    """
    if seats.is_alone:
        return Workers(1, min(1, seats.canary_wanted))
    if seats.wanted == 0:
        return Workers(0, 1)
    is_calm = seats.ready + seats.stable_ready >= seats.wanted
    is_swapping = seats.stable_pods + seats.ready < seats.wanted or seats.canary_wanted > seats.ready
    floor = 0 if seats.may_have_outage else 1
    most = min(share, max(1, seats.wanted - floor))
    canary = min(most, seats.ready + 1 if is_calm or is_swapping else max(1, seats.ready))
    stable = max(floor, seats.wanted - canary)
    has_room = seats.stable_pods <= stable
    return Workers(stable, canary if has_room else min(seats.canary_wanted, canary))


def _ceil(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)

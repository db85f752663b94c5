"""What scaling remembers of a fleet: how fast work arrives, when each worker was last needed, how long starts take.

It lives in the operator's memory only. After a restart it begins anew, and nothing shrinks until it covers the time
that the rule asks for. A frozen value: each look makes the next one. Times are seconds since the epoch, work is service
seconds.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from videofleet_operator.plan.forecast import Season

RATE_OVER_S: Final = 60.0  # time constant of the arrival rate; tuned, see docs/reference/performance.md
COLD_START_S: Final = 180.0  # until one was measured
COLD_STARTS_KEPT: Final = 20


@dataclass(frozen=True)
class Memory:
    """Of one fleet."""

    since_s: float
    at_s: float
    arrived_s: float | None = None  # the queue's counter at `at_s`
    rate: float = 0.0  # service seconds a second
    needed_s: tuple[float, ...] = ()  # when a first, a second, a third … worker was last needed
    starting: frozenset[str] = frozenset()  # pods that were never seen warm
    warm: frozenset[str] = frozenset()  # pods that were
    cold_starts_s: tuple[float, ...] = ()
    season: Season = field(default_factory=Season)

    @property
    def cold_start_s(self) -> float:
        """What nine of ten starts stayed under."""
        if not self.cold_starts_s:
            return COLD_START_S
        ordered = sorted(self.cold_starts_s)
        return ordered[math.ceil(0.9 * len(ordered)) - 1]

    @property
    def watched_s(self) -> float:
        """For how long the fleet was watched."""
        return self.at_s - self.since_s

    def unneeded_s(self, worker: int) -> float:
        """For how long so many workers (1, 2, …) were more than needed; at most as long as the fleet was watched."""
        return self.at_s - (self.needed_s[worker - 1] if worker <= len(self.needed_s) else self.since_s)


def fresh_memory(now_s: float) -> Memory:
    """Of an operator that has just begun to look."""
    return Memory(since_s=now_s, at_s=now_s)


def with_arrivals(memory: Memory, arrived_s: float, now_s: float) -> Memory:
    """One more look at the queue's counter of work.

    A gap counts as its mean; a counter that fell (a restored Redis) is a new beginning of the counter alone.
    """
    elapsed_s = now_s - memory.at_s
    if memory.arrived_s is None or arrived_s < memory.arrived_s or elapsed_s <= 0:
        return replace(memory, at_s=max(now_s, memory.at_s), arrived_s=arrived_s)
    added_s = arrived_s - memory.arrived_s
    rate = memory.rate + (1 - math.exp(-elapsed_s / RATE_OVER_S)) * (added_s / elapsed_s - memory.rate)
    season = memory.season.with_work(memory.at_s, now_s, added_s)
    return replace(memory, at_s=now_s, arrived_s=arrived_s, rate=rate, season=season)


def with_need(memory: Memory, workers: int) -> Memory:
    """So many workers are needed now."""
    return replace(memory, needed_s=(memory.at_s,) * workers + memory.needed_s[workers:])


def with_starts(memory: Memory, cold: Iterable[str], warm: Iterable[tuple[str, float]]) -> Memory:
    """Pods that are not ready, and ready ones with the seconds since each was made.

    Only a pod that was seen cold and is warm now tells how long a start takes: of one that was warm before the operator
    came nobody knows when it became so.
    """
    names, ages_s = frozenset(cold), dict(warm)
    took_s = tuple(age_s for name, age_s in ages_s.items() if name in memory.starting)
    starts = (*memory.cold_starts_s, *took_s)[-COLD_STARTS_KEPT:]
    seen = memory.warm & names | frozenset(ages_s)  # one that is not ready just now was warm all the same
    return replace(memory, starting=names - seen, warm=seen, cold_starts_s=starts)

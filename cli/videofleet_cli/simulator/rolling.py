"""A new revision on paper: by the operator's division of workers between tracks, or by a Deployment's rolling update.

Refuses: judging. Every canary is good and passes a step after so many jobs; how verdicts do is bench_rollout's subject.
"""

import math
from dataclasses import dataclass
from typing import Final

from videofleet_cli.simulator.orders import Tracks, View
from videofleet_operator.plan.shares import (
    WHOLE,
    Seats,
    has_taken_over,
    weight_within,
    workers_on_trial,
    workers_taking_over,
)

STEPS: Final = (10, 50, 250, 500)  # thousandths of the jobs: 1, 5, 25, 50 %
STEP_JOBS: Final = 20  # spec.rollout.analysis.minJobs
SURGE_TIMEOUT_S: Final = 600.0  # spec.rollout.surgeTimeout
SPARE: Final = 0.25  # maxSurge and maxUnavailable of a Deployment, Kubernetes' defaults


@dataclass
class Trial:
    """One canary of VideoFleet, from its first worker to its promotion."""

    most: int  # spec.scaling.maxReplicas
    began_s: float
    step: int = 0  # 0: no warm worker yet; beyond the last one: it takes over
    done: int = 0  # its jobs when the step began
    canary: int = 0  # workers asked for
    is_in_place: bool = False

    def divide(self, view: View, wanted: int, now_s: float) -> tuple[int, Tracks]:
        """Workers of the revision that serves, and what the canary gets, of `wanted` that the load needs."""
        self.is_in_place |= view.trial_is_short and now_s - self.began_s >= SURGE_TIMEOUT_S
        seats = self._seats(view, wanted)
        if (self.step == 0 and seats.ready) or (self.step and view.trial_done - self.done >= STEP_JOBS):
            self.step, self.done = self.step + 1, view.trial_done
        if self.step > len(STEPS):
            if has_taken_over(seats):
                return wanted, Tracks(wanted, WHOLE, is_promoted=True)
            workers, weight = workers_taking_over(seats), weight_within(WHOLE, seats)
        else:
            asked = STEPS[max(1, self.step) - 1]
            workers, weight = workers_on_trial(seats, asked), weight_within(asked, seats) if self.step else 0
        self.canary = workers.canary
        return workers.stable, Tracks(workers.canary, weight)

    def _seats(self, view: View, wanted: int) -> Seats:
        old = [worker for worker in view.workers if not worker.is_new]
        return Seats(
            wanted=wanted,
            surge=0 if self.is_in_place else max(1 if wanted <= 1 else 0, self.most - wanted),
            ready=sum(worker.is_ready for worker in view.workers if worker.is_new),
            stable_ready=sum(worker.is_ready or worker.is_marked for worker in old),
            canary_wanted=self.canary,
            stable_pods=len(old) + view.leaving,
        )


def rolling_update(wanted: int, old: int, new: int, ready: int) -> tuple[int, int]:
    """Pods of the old and of the new revision that a Deployment asks for next.

    Examples, wanted 4 (one may be more, one may be missing): 4 old, 0 new, 4 ready → 3 and 1; 3, 2 and 4 → 2 and 2.
    """
    surge, missing = math.ceil(SPARE * wanted), math.floor(SPARE * wanted)
    room = max(0, wanted + surge - old)
    goes = max(0, ready - (wanted - missing))
    return max(0, old - goes), max(new, min(wanted, room))

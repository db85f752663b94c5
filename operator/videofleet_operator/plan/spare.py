"""Room for a canary: beside stable while there is a GPU to spare, in place of one of its workers when there is none.

Once a rollout goes in place it stays so: GPUs that come and go would make it swing.
"""

from datetime import datetime, timedelta
from typing import Final

from videofleet_operator.crd.quantities import duration_s
from videofleet_operator.crd.rollout_status import RolloutStatus
from videofleet_operator.crd.sections.rollout import Rollout as Rules
from videofleet_operator.crd.spec import VideoGeneratorSpec
from videofleet_operator.observed import Observed
from videofleet_operator.plan.faults import Fault, revision_fault
from videofleet_operator.plan.shares import Seats
from videofleet_operator.plan.times import moment
from videofleet_operator.reasons import MEANINGS, Reason

NO_ROOM: Final = frozenset({Reason.UNSCHEDULABLE, Reason.PODS_REFUSED})


def with_spare(observed: Observed, status: RolloutStatus, rules: Rules, now: datetime) -> RolloutStatus:
    """The state, in place from now on when no GPU was free for too long."""
    if rules.surge == "Never":
        return status.model_copy(update={"is_in_place": True})
    fault = revision_fault(observed, status.canary_revision)
    if rules.surge == "Always" or fault is None or fault.reason not in NO_ROOM:
        return status
    if now - moment(status.since, now) < timedelta(seconds=duration_s(rules.surge_timeout)):
        return status
    return status.model_copy(update={"is_in_place": True})


def seats_of(observed: Observed, status: RolloutStatus, spec: VideoGeneratorSpec, wanted: int) -> Seats:
    """What there is to divide between the tracks."""
    canary = observed.deployment(status.canary_revision)
    stable = [pod for pod in observed.pods if pod.revision == status.stable_revision]
    marks = observed.queue.policy.marks if observed.queue and observed.queue.policy else {}
    return Seats(
        wanted=wanted,
        surge=0 if status.is_in_place else _surge(spec, wanted),
        ready=observed.ready(status.canary_revision),
        stable_ready=sum(not pod.is_terminating and (pod.is_ready or pod.name in marks) for pod in stable),
        canary_wanted=canary.wanted if canary else 0,
        stable_pods=len(stable),
        may_have_outage=spec.rollout.allow_outage,
    )


def _surge(spec: VideoGeneratorSpec, wanted: int) -> int:
    """Workers that may come beside those wanted: what maxReplicas leaves; without one, as many again."""
    most, always = spec.scaling.max_replicas, spec.rollout.surge == "Always"
    if most is None:
        return max(1, wanted)
    at_least = 1 if always or wanted <= 1 else 0
    return max(at_least, most - wanted)


def in_place_fault(fault: Fault | None, rollout: RolloutStatus, wanted: int, canary: int) -> Fault | None:
    """The canary's fault as people should read it: in place a worker that waits for its room is no fault.

    Args:
        fault: as its pods and beacons tell it.
        rollout: the state.
        wanted: workers of the revision that serves.
        canary: workers wanted of the canary; 0 beside the only worker: it is never going to have one.
    """
    if fault is None and rollout.is_in_place and rollout.canary_revision and (wanted, canary) == (1, 0):
        return Fault(Reason.NO_SPARE_GPU, MEANINGS[Reason.NO_SPARE_GPU])
    if fault is None or not rollout.is_in_place or fault.reason not in NO_ROOM:
        return fault
    if wanted > 1:
        return None
    return Fault(Reason.NO_SPARE_GPU, f"{MEANINGS[Reason.NO_SPARE_GPU]} ({fault.message})")

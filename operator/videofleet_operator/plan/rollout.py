"""Which revision serves, which is on trial with what share of the jobs, and what is remembered of it.

stable    proven; remembered by the track label of its Deployment
target    what the spec asks for, or what `undo` went back to
canary    a target beside a proven stable one, until it is promoted or rejected

Level-triggered: everything is planned anew from what is seen and from `status.rollout`. A canary whose pods are
faulty or that the data plane has given up is rejected; otherwise `trial` takes it from step to step.
"""

from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from videofleet_operator.crd.quantities import share_text
from videofleet_operator.crd.rollout_status import Phase, RolloutStatus
from videofleet_operator.crd.spec import VideoGeneratorSpec
from videofleet_operator.manifests.revision import resolved_from
from videofleet_operator.observed import Observed
from videofleet_operator.plan import verbs
from videofleet_operator.plan.faults import HOPELESS, revision_fault
from videofleet_operator.plan.rejections import is_rejected, of_this_spec, rejected
from videofleet_operator.plan.shares import (
    WHOLE,
    has_taken_over,
    weight_within,
    workers_on_trial,
    workers_taking_over,
)
from videofleet_operator.plan.spare import seats_of, with_spare
from videofleet_operator.plan.standby import switched, with_standby
from videofleet_operator.plan.times import timestamp
from videofleet_operator.plan.trial import Trial, next_state


@dataclass(frozen=True)
class Rollout:
    """The part of each revision, and what to remember."""

    target: str
    stable: str | None  # None: nothing was ever proven
    rising: str | None  # the target while it is not stable yet and not rejected
    weight: int  # thousandths of the jobs that go to the canary
    workers: dict[str, int]  # wanted, of stable and rising
    status: RolloutStatus


def remembered(observed: Observed) -> RolloutStatus:
    """What status keeps; a status that cannot be read is that of a fleet without a rollout."""
    try:
        return RolloutStatus.model_validate(observed.fleet.status.get("rollout") or {"phase": "Settled"}, strict=False)
    except ValidationError:
        return RolloutStatus(phase=Phase.SETTLED)


def plan_rollout(observed: Observed, spec: VideoGeneratorSpec, asked: str, wanted: int, now: datetime) -> Rollout:
    """The rollout now.

    Args:
        observed: what is there.
        spec: what the user wants.
        asked: the revision that the spec makes.
        wanted: workers that the load needs, of both tracks together.
        now: the time.
    """
    status = of_this_spec(remembered(observed), asked)
    proven = proven_revision(observed, status.undo.revision if status.undo else asked)
    is_stepped = _is_stepped(observed, spec, proven)
    kept = frozenset(seen.revision for seen in observed.revisions if resolved_from(seen.data) is not None)
    status = verbs.obey(status, observed.fleet.command, verbs.Scene(asked, proven, kept, is_stepped), now)
    status = switched(observed, status, spec.rollout.standby, asked, kept, now)
    target = status.undo.revision if status.undo else asked
    proven = proven_revision(observed, target)
    if proven is None:
        return _first(observed, target, wanted, status)
    if proven == target:
        return _settled(target, wanted, status)
    if is_rejected(status, target):
        return _without_canary(target, proven, wanted, status)
    status = _begun(status, proven, target, now).model_copy(update={"workers": wanted})
    cause = _hopeless(observed, target) if is_stepped else None
    if cause is not None:
        return _without_canary(target, proven, wanted, rejected(status, target, cause, now))
    if status.undo is not None or not is_stepped or _is_lost(observed, proven):
        return _replacing(observed, spec, proven, wanted, status, now)
    return _on_trial(observed, spec, proven, wanted, status, now)


def proven_revision(observed: Observed, target: str | None) -> str | None:
    """The newest revision with the label; the target, when a promotion was cut off between two labels."""
    numbers = {seen.revision: seen.number for seen in observed.revisions}
    labelled = [seen.revision for seen in observed.deployments if seen.is_stable]
    if target in labelled:
        return target
    return max(labelled, key=lambda revision: numbers.get(revision, 0), default=None)


def _is_stepped(observed: Observed, spec: VideoGeneratorSpec, proven: str | None) -> bool:
    """Whether the spec's revision goes by steps: without the same tiers on both sides there is no comparison."""
    if not spec.rollout.steps or proven is None:
        return False
    record = next((resolved_from(seen.data) for seen in observed.revisions if seen.revision == proven), None)
    if record is None:
        return False
    worker = record.worker
    return worker.architecture == spec.model.architecture and worker.tiers == spec.resolved_tiers()


def _hopeless(observed: Observed, canary: str) -> str | None:
    """Why the canary cannot be good; None: it may be."""
    fault = revision_fault(observed, canary)
    if fault is not None and fault.reason in HOPELESS:
        return f"Its workers cannot serve ({fault.reason}): {fault.message}"
    if observed.queue is not None and observed.queue.stats.canary_given_up == canary:
        return "Too many of its attempts failed in a row, and the data plane gave it up"
    return None


def _is_lost(observed: Observed, stable: str) -> bool:
    """Whether stable has no warm worker and a person would have to mend it: there is nothing to protect any more."""
    fault = revision_fault(observed, stable)
    return not observed.ready(stable) and fault is not None and fault.needs_person


def _begun(status: RolloutStatus, proven: str, target: str, now: datetime) -> RolloutStatus:
    """The state of this canary; a new one begins without any of what another one has shown."""
    if status.canary_revision == target and status.stable_revision == proven:
        return status
    return RolloutStatus(
        phase=Phase.WARMING_UP,
        stable_revision=proven,
        canary_revision=target,
        standby_revision=status.standby_revision,
        comparison=status.comparison,
        since=timestamp(now),
        rejected=status.rejected,
        undo=status.undo,
        last_command=status.last_command,
    )


def _first(observed: Observed, target: str, wanted: int, status: RolloutStatus) -> Rollout:
    """With nothing proven there is nothing to protect: the target serves from its first warm worker on."""
    stable = target if observed.ready(target) >= wanted else None
    if stable is not None:
        return _settled(target, wanted, status)
    return Rollout(target, None, target, 0, {target: wanted}, _ended(status, Phase.WARMING_UP, None))


def _settled(target: str, wanted: int, status: RolloutStatus) -> Rollout:
    phase = Phase.UNDONE if status.undo else Phase.SETTLED
    return Rollout(target, target, None, 0, {target: wanted}, _ended(with_standby(status, target), phase, target))


def _without_canary(target: str, proven: str, wanted: int, status: RolloutStatus) -> Rollout:
    kept = status.model_copy(update={"phase": Phase.REJECTED, "stable_revision": proven})
    return Rollout(target, proven, None, 0, {proven: wanted}, kept)


def _replacing(
    observed: Observed, spec: VideoGeneratorSpec, proven: str, wanted: int, status: RolloutStatus, now: datetime
) -> Rollout:
    """Without steps: all at once when all workers are warm, or one while stable has none; in place one by one."""
    target = str(status.canary_revision)
    status = with_spare(observed, status, spec.rollout, now)
    seats = seats_of(observed, status, spec, wanted)
    if seats.ready and (not seats.stable_ready or has_taken_over(seats)):
        return _settled(target, wanted, status)
    whole = max(1, wanted)
    if seats.surge >= whole:
        return Rollout(target, proven, target, 0, {proven: wanted, target: whole}, status)
    workers, weight = workers_taking_over(seats), weight_within(WHOLE, seats)
    told = status.model_copy(update={"weight": share_text(weight)})
    return Rollout(target, proven, target, weight, {proven: workers.stable, target: workers.canary}, told)


def _on_trial(
    observed: Observed, spec: VideoGeneratorSpec, proven: str, wanted: int, status: RolloutStatus, now: datetime
) -> Rollout:
    target = str(status.canary_revision)
    trial = Trial(spec.rollout, observed.queue, target, proven, observed.ready(target), now, observed.measures)
    status = next_state(status, trial)
    if status.phase == Phase.REJECTED:
        return _without_canary(target, proven, wanted, status)
    status = with_spare(observed, status, spec.rollout, now)
    seats = seats_of(observed, status, spec, wanted)
    if status.phase == Phase.PROMOTING:
        if has_taken_over(seats):
            return _settled(target, wanted, status)
        weight, workers = weight_within(WHOLE, seats), workers_taking_over(seats)
    else:
        steps = spec.rollout.steps or []
        step = steps[min(max(status.step, 1), len(steps)) - 1].weight_permille
        weight = weight_within(step, seats) if status.step else 0
        workers = workers_on_trial(seats, step)
    told = status.model_copy(update={"weight": share_text(weight)})
    return Rollout(target, proven, target, weight, {proven: workers.stable, target: workers.canary}, told)


def _ended(status: RolloutStatus, phase: Phase, stable: str | None) -> RolloutStatus:
    """Nothing is on trial."""
    return RolloutStatus(
        phase=phase,
        stable_revision=stable,
        standby_revision=status.standby_revision,
        comparison=status.comparison,
        rejected=status.rejected,
        undo=status.undo,
        last_command=status.last_command,
    )

"""Ready, Progressing, Degraded and Stalled, as kstatus reads them.

| situation                               | Ready            | Progressing     | Degraded | Stalled |
|-----------------------------------------|------------------|-----------------|----------|---------|
| first worker starting                   | False WarmingUp  | True WarmingUp  | False    | False   |
| … and cannot                            | False, the cause | the cause       | True     | by kind |
| stable has a warm worker                | True             | False           | False    | False   |
| a new revision warms up beside it       | True             | True RollingOut | False    | False   |
| … and cannot                            | True             | the cause       | True     | by kind |
| a canary has jobs                       | True             | True            | False    | False   |
| … is paused, or lacks evidence          | True             | False           | False    | False   |
| … was rejected, and stable is healthy   | True             | False           | True     | True    |
| stable has no warm worker though wanted | False, the cause | True            | True     | by kind |
| … because it comes back from zero       | False WarmingUp  | True WarmingUp  | False    | False   |
| scaled to zero                          | True ScaledToZero| False           | False    | False   |
| the spec breaks a rule                  | False            | False           | True     | True    |
| Redis does not answer                   | as above         | as above        | True     | –       |
| paused by annotation                    | as above         | False Paused    | as above | as above |

"by kind": a fault that needs a person stalls, and nothing progresses; one that may pass by itself does not.
"""

from dataclasses import dataclass

from videofleet.beacons import WorkerFault
from videofleet_operator.crd.rollout_status import Phase, RolloutStatus
from videofleet_operator.observed import Observed
from videofleet_operator.plan.faults import Fault, revision_fault
from videofleet_operator.plan.revisions import Roles
from videofleet_operator.plan.spare import in_place_fault
from videofleet_operator.plan.story import rollout_progress, rollout_setback
from videofleet_operator.reasons import MEANINGS, Reason


@dataclass(frozen=True)
class Verdict:
    """One condition without its times."""

    type: str
    holds: bool
    reason: Reason | WorkerFault
    message: str


def judge(
    observed: Observed, roles: Roles, workers: dict[str, int], rollout: RolloutStatus, spec_fault: Fault | None
) -> list[Verdict]:
    """The four conditions.

    Args:
        observed: what is there.
        roles: who plays which part.
        workers: wanted of each active revision; empty while nothing is planned.
        rollout: what is told of the rollout.
        spec_fault: why nothing can be planned.
    """
    situation = _situation(observed, roles, workers, rollout, spec_fault)
    return [_ready(situation), _progressing(situation), _degraded(situation), _stalled(situation)]


@dataclass(frozen=True)
class _Situation:
    """What the conditions are computed from."""

    roles: Roles
    rollout: RolloutStatus
    wanted: int
    ready: int  # warm workers of the revision that serves
    progress: str  # of those that start, in words
    note: str  # of those that serve, in words
    spec_fault: Fault | None
    fault: Fault | None  # of the revision that is to become warm
    queue_is_known: bool
    is_paused: bool
    had_workers: bool  # it did not come from zero just now

    @property
    def is_rolling_out(self) -> bool:
        """Whether a new revision warms up beside a proven one."""
        return self.roles.stable is not None and self.roles.rising is not None

    @property
    def is_at_zero(self) -> bool:
        """Whether no worker is wanted: only a proven revision gets there."""
        return self.wanted == 0

    @property
    def cause(self) -> Fault | None:
        """What is wrong, the spec first."""
        return self.spec_fault or self.fault

    @property
    def keeps_serving(self) -> str:
        """The reassuring half of a message."""
        return f" Revision {self.roles.stable} keeps serving." if self.ready and self.roles.stable else ""


def _situation(
    observed: Observed, roles: Roles, workers: dict[str, int], rollout: RolloutStatus, spec_fault: Fault | None
) -> _Situation:
    ready = observed.ready(roles.serving)
    deployment = observed.deployment(roles.serving)
    wanted = workers.get(roles.serving or "", deployment.wanted if deployment else 1)
    canary = workers.get(roles.rising or "", 1)
    fault = in_place_fault(revision_fault(observed, roles.rising), rollout, wanted, canary)
    if fault is None and ready < wanted:
        fault = revision_fault(observed, roles.stable)
    return _Situation(
        roles=roles,
        rollout=rollout,
        wanted=wanted,
        ready=ready,
        progress=_progress(observed, roles.rising or roles.stable),
        note=_note(observed, roles.serving),
        spec_fault=spec_fault,
        fault=fault,
        queue_is_known=observed.queue is not None,
        is_paused=observed.fleet.is_paused,
        had_workers=_had_workers(observed),
    )


def _had_workers(observed: Observed) -> bool:
    """Whether workers were lost rather than not yet there: one that comes from zero warms up and is not degraded."""
    before: dict[str, dict[str, str]] = {c["type"]: c for c in observed.fleet.status.get("conditions", [])}
    ready, degraded = before.get("Ready", {}), before.get("Degraded", {})
    is_on_its_way = ready.get("reason") == Reason.WARMING_UP and degraded.get("status") == "False"
    return not (is_on_its_way or ready.get("reason") == Reason.SCALED_TO_ZERO)


def _progress(observed: Observed, revision: str | None) -> str:
    beacons = observed.queue.beacons if observed.queue else ()
    starting = {pod.name for pod in observed.pods if pod.revision == revision and not pod.is_ready}
    said = sorted(f"{beacon.worker}: {beacon.detail}" for beacon in beacons if beacon.worker in starting)
    more = f" and {len(said) - 1} more" if len(said) > 1 else ""
    return f" ({said[0]}{more})" if said else ""


def _note(observed: Observed, revision: str | None) -> str:
    """What the workers that serve want people to know."""
    beacons = observed.queue.beacons if observed.queue else ()
    notes = sorted({beacon.note for beacon in beacons if beacon.revision == revision and beacon.note})
    return f" {notes[0]}." if notes else ""


def _ready(now: _Situation) -> Verdict:
    if now.spec_fault:
        message = now.spec_fault.message + now.keeps_serving
        return Verdict("Ready", False, now.spec_fault.reason, message)
    if now.is_paused and now.roles.serving is None:
        return Verdict("Ready", False, Reason.PAUSED, MEANINGS[Reason.PAUSED])
    if now.ready:
        message = f"{now.ready} of {now.wanted} workers are warm and serve revision {now.roles.serving}.{now.note}"
        return Verdict("Ready", True, Reason.WORKERS_READY, message)
    if now.is_at_zero:
        return Verdict("Ready", True, Reason.SCALED_TO_ZERO, MEANINGS[Reason.SCALED_TO_ZERO])
    if now.fault:
        return Verdict("Ready", False, now.fault.reason, now.fault.message)
    return Verdict("Ready", False, Reason.WARMING_UP, f"{MEANINGS[Reason.WARMING_UP]}{now.progress}")


def _progressing(now: _Situation) -> Verdict:
    if now.is_paused:
        return Verdict("Progressing", False, Reason.PAUSED, MEANINGS[Reason.PAUSED])
    if now.cause is not None:
        return Verdict("Progressing", not now.cause.needs_person, now.cause.reason, now.cause.message)
    if told := rollout_progress(now.rollout):
        return Verdict("Progressing", *told)
    if now.is_rolling_out:
        message = f"Revision {now.roles.rising} warms up beside {now.roles.stable}.{now.progress}"
        return Verdict("Progressing", True, Reason.ROLLING_OUT, message)
    if now.ready < now.wanted:
        message = f"{now.ready} of {now.wanted} workers are warm.{now.progress}"
        return Verdict("Progressing", True, Reason.WARMING_UP, message)
    return Verdict("Progressing", False, Reason.SETTLED, MEANINGS[Reason.SETTLED])


def _degraded(now: _Situation) -> Verdict:
    if now.cause is not None:
        return Verdict("Degraded", True, now.cause.reason, now.cause.message + now.keeps_serving)
    if told := rollout_setback(now.rollout, now.roles.target):
        return Verdict("Degraded", True, told[0], told[1] + now.keeps_serving)
    if not now.queue_is_known:
        return Verdict("Degraded", True, Reason.QUEUE_UNREACHABLE, MEANINGS[Reason.QUEUE_UNREACHABLE])
    if now.roles.stable is not None and not now.ready and now.wanted and now.had_workers:
        message = f"Revision {now.roles.stable} has lost its warm workers; they start again.{now.progress}"
        return Verdict("Degraded", True, Reason.WARMING_UP, message)
    return Verdict("Degraded", False, Reason.HEALTHY, MEANINGS[Reason.HEALTHY])


def _stalled(now: _Situation) -> Verdict:
    if now.cause is not None and now.cause.needs_person:
        return Verdict("Stalled", True, now.cause.reason, now.cause.message + now.keeps_serving)
    if now.rollout.phase == Phase.REJECTED and (told := rollout_setback(now.rollout, now.roles.target)):
        return Verdict("Stalled", True, told[0], told[1] + now.keeps_serving)
    return Verdict("Stalled", False, Reason.HEALTHY, "Nothing waits for a person.")

"""Ready, Progressing, Degraded and Stalled, as kstatus reads them.

| situation                               | Ready            | Progressing     | Degraded | Stalled |
|-----------------------------------------|------------------|-----------------|----------|---------|
| first worker starting                   | False WarmingUp  | True WarmingUp  | False    | False   |
| … and cannot                            | False, the cause | the cause       | True     | by kind |
| stable has a warm worker                | True             | False           | False    | False   |
| a new revision warms up beside it       | True             | True RollingOut | False    | False   |
| … and cannot                            | True             | the cause       | True     | by kind |
| stable has no warm worker though wanted | False, the cause | True            | True     | by kind |
| the spec breaks a rule                  | False            | False           | True     | True    |
| Redis does not answer                   | as above         | as above        | True     | –       |
| paused by annotation                    | as above         | False Paused    | as above | as above |

"by kind": a fault that needs a person stalls, and nothing progresses; one that may pass by itself does not.
"""

from dataclasses import dataclass

from videofleet.beacons import WorkerFault
from videofleet_operator.observed import Observed
from videofleet_operator.plan.faults import Fault, revision_fault
from videofleet_operator.plan.revisions import Roles
from videofleet_operator.reasons import MEANINGS, Reason


@dataclass(frozen=True)
class Verdict:
    """One condition without its times."""

    type: str
    holds: bool
    reason: Reason | WorkerFault
    message: str


def judge(observed: Observed, roles: Roles, wanted: int, spec_fault: Fault | None) -> list[Verdict]:
    """The four conditions."""
    situation = _situation(observed, roles, wanted, spec_fault)
    return [_ready(situation), _progressing(situation), _degraded(situation), _stalled(situation)]


@dataclass(frozen=True)
class _Situation:
    """What the conditions are computed from."""

    roles: Roles
    wanted: int
    ready: int  # warm workers of the revision that serves
    progress: str  # of those that start, in words
    note: str  # of those that serve, in words
    spec_fault: Fault | None
    fault: Fault | None  # of the revision that is to become warm
    queue_is_known: bool
    is_paused: bool

    @property
    def is_rolling_out(self) -> bool:
        """Whether a new revision warms up beside a proven one."""
        return self.roles.stable is not None and self.roles.target not in (None, self.roles.stable)

    @property
    def cause(self) -> Fault | None:
        """What is wrong, the spec first."""
        return self.spec_fault or self.fault

    @property
    def keeps_serving(self) -> str:
        """The reassuring half of a message."""
        return f" Revision {self.roles.stable} keeps serving." if self.ready and self.roles.stable else ""


def _situation(observed: Observed, roles: Roles, wanted: int, spec_fault: Fault | None) -> _Situation:
    ready = observed.ready(roles.serving)
    fault = revision_fault(observed, roles.target)
    if fault is None and ready < wanted:
        fault = revision_fault(observed, roles.stable)
    return _Situation(
        roles=roles,
        wanted=wanted,
        ready=ready,
        progress=_progress(observed, roles.target),
        note=_note(observed, roles.serving),
        spec_fault=spec_fault,
        fault=fault,
        queue_is_known=observed.queue is not None,
        is_paused=observed.fleet.is_paused,
    )


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
    if now.fault:
        return Verdict("Ready", False, now.fault.reason, now.fault.message)
    return Verdict("Ready", False, Reason.WARMING_UP, f"{MEANINGS[Reason.WARMING_UP]}{now.progress}")


def _progressing(now: _Situation) -> Verdict:
    if now.is_paused:
        return Verdict("Progressing", False, Reason.PAUSED, MEANINGS[Reason.PAUSED])
    if now.cause is not None:
        return Verdict("Progressing", not now.cause.needs_person, now.cause.reason, now.cause.message)
    if now.is_rolling_out:
        message = f"Revision {now.roles.target} warms up beside {now.roles.stable}.{now.progress}"
        return Verdict("Progressing", True, Reason.ROLLING_OUT, message)
    if now.ready < now.wanted:
        message = f"{now.ready} of {now.wanted} workers are warm.{now.progress}"
        return Verdict("Progressing", True, Reason.WARMING_UP, message)
    return Verdict("Progressing", False, Reason.SETTLED, MEANINGS[Reason.SETTLED])


def _degraded(now: _Situation) -> Verdict:
    if now.cause is not None:
        return Verdict("Degraded", True, now.cause.reason, now.cause.message + now.keeps_serving)
    if not now.queue_is_known:
        return Verdict("Degraded", True, Reason.QUEUE_UNREACHABLE, MEANINGS[Reason.QUEUE_UNREACHABLE])
    if now.roles.stable is not None and not now.ready:
        message = f"Revision {now.roles.stable} has lost its warm workers; they start again.{now.progress}"
        return Verdict("Degraded", True, Reason.WARMING_UP, message)
    return Verdict("Degraded", False, Reason.HEALTHY, MEANINGS[Reason.HEALTHY])


def _stalled(now: _Situation) -> Verdict:
    if now.cause is not None and now.cause.needs_person:
        return Verdict("Stalled", True, now.cause.reason, now.cause.message + now.keeps_serving)
    return Verdict("Stalled", False, Reason.HEALTHY, "Nothing waits for a person.")

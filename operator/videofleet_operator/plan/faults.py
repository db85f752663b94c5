"""What keeps a revision's workers from being warm: one reason of the closed list and a message with the
remedy.

What a worker says of itself (its beacon, then its termination message) goes before what Kubernetes sees
from outside.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from videofleet.beacons import WorkerFault
from videofleet_operator.observed import DeploymentSeen, Observed, PodSeen
from videofleet_operator.reasons import FAULT_REMEDIES, MEANINGS, Reason

_TEXT_MAX: Final = 500
_IMAGE_REASONS: Final = {"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull"}
_CONFIG_REASONS: Final = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
_MISSING_SECRET: Final = re.compile(r'secrets? "([^"]+)" not found')
_MISSING_CLAIM: Final = re.compile(r'persistentvolumeclaims? "([^"]+)" not found')

PASSING: Final = frozenset(
    {
        Reason.UNSCHEDULABLE,
        Reason.PODS_REFUSED,
        Reason.NO_SPARE_GPU,
        Reason.VOLUME_MOUNT_FAILED,
        Reason.QUEUE_UNREACHABLE,
        WorkerFault.STORE_UNREACHABLE,
        WorkerFault.COMPUTE_CRASHED,
    }
)
"""Faults that may pass by themselves; any other needs a person, and the fleet is Stalled."""


HOPELESS: Final = frozenset(
    {
        WorkerFault.MODEL_UNSAFE,
        WorkerFault.MODEL_CORRUPT,
        WorkerFault.MODEL_MISMATCH,
        WorkerFault.NOT_FINITE,
        WorkerFault.OUT_OF_MEMORY,
        WorkerFault.WARMUP_TIMEOUT,
    }
)
"""What a worker finds wrong with the revision itself: waiting or mending the cluster cannot help."""


@dataclass(frozen=True)
class Fault:
    """Why workers are not warm."""

    reason: Reason | WorkerFault
    message: str

    @property
    def needs_person(self) -> bool:
        """Whether waiting will not help."""
        return self.reason not in PASSING


def revision_fault(observed: Observed, revision: str | None) -> Fault | None:
    """The first fault of a revision's workers; None when nothing is known to be wrong."""
    deployment = observed.deployment(revision)
    if revision is None:
        return None
    pods = (pod for pod in observed.pods if pod.revision == revision)
    return next(_faults(observed, pods, deployment), None)


def decoder_fault(observed: Observed) -> Fault | None:
    """The first fault of any revision's decoders; workers decode while it lasts."""
    each = (
        _faults(observed, (pod for pod in observed.decoder_pods if pod.revision == seen.revision), seen)
        for seen in observed.decoders
    )
    return next((fault for faults in each for fault in faults), None)


def _faults(observed: Observed, of: Iterable[PodSeen], deployment: DeploymentSeen | None) -> Iterator[Fault]:
    pods = [pod for pod in sorted(of, key=lambda pod: pod.name) if not pod.is_ready and not pod.is_terminating]
    yield from _beacon_faults(observed, {pod.name for pod in pods})
    for look in _LOOKS:
        yield from (fault for pod in pods if (fault := look(pod, observed.fleet.namespace)) is not None)
    if deployment is not None and deployment.refusal:
        yield _fault(Reason.PODS_REFUSED, deployment.refusal)
    if deployment is not None and deployment.late and deployment.ready < deployment.wanted:
        yield _fault(Reason.PROGRESS_DEADLINE, deployment.late)


def _beacon_faults(observed: Observed, pods: set[str]) -> Iterator[Fault]:
    beacons = observed.queue.beacons if observed.queue else ()
    for beacon in sorted(beacons, key=lambda beacon: beacon.worker):
        if beacon.worker in pods and beacon.reason:
            yield _fault(beacon.reason, beacon.message)


def _said_at_exit(pod: PodSeen, _: str) -> Fault | None:
    """The worker's own words, which the kubelet keeps while it restarts."""
    try:
        said = json.loads(pod.termination_message)
        return _fault(WorkerFault(said["reason"]), str(said.get("message", "")))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _image(pod: PodSeen, _: str) -> Fault | None:
    if pod.waiting_reason not in _IMAGE_REASONS:
        return None
    return _fault(Reason.IMAGE_PULL_FAILED, pod.waiting_message)


def _mount(pod: PodSeen, namespace: str) -> Fault | None:
    return _mount_fault(pod.mount_failure, namespace) if pod.mount_failure else None


def _mount_fault(text: str, namespace: str) -> Fault:
    if secret := _MISSING_SECRET.search(text):
        name = secret.group(1)
        message = f"Secret {name} is missing in namespace {namespace}: create it there, or copy the installation's."
        return Fault(Reason.SECRET_MISSING, message)
    if claim := _MISSING_CLAIM.search(text):
        return _claim_missing(claim.group(1), namespace)
    return _fault(Reason.VOLUME_MOUNT_FAILED, text)


def _claim_missing(name: str, namespace: str) -> Fault:
    message = f"PersistentVolumeClaim {name} is missing in namespace {namespace}: create it there."
    return Fault(Reason.VOLUME_CLAIM_MISSING, message)


def _container(pod: PodSeen, _: str) -> Fault | None:
    if pod.waiting_reason in _CONFIG_REASONS:
        return _fault(Reason.CONTAINER_CONFIG_ERROR, pod.waiting_message)
    if pod.exit_reason == "OOMKilled":
        return _fault(Reason.OOM_KILLED, f"worker {pod.name} was killed for its memory")
    if pod.waiting_reason == "CrashLoopBackOff":
        return _fault(Reason.CRASH_LOOP, f"worker {pod.name} exited with code {pod.exit_code}")
    return None


def _placement(pod: PodSeen, namespace: str) -> Fault | None:
    if not pod.unschedulable:
        return None
    if claim := _MISSING_CLAIM.search(pod.unschedulable):
        return _claim_missing(claim.group(1), namespace)
    return _fault(Reason.UNSCHEDULABLE, pod.unschedulable)


_LOOKS: Final[tuple[Callable[[PodSeen, str], Fault | None], ...]] = (
    _said_at_exit,
    _image,
    _mount,
    _container,
    _placement,
)


def _fault(reason: Reason | WorkerFault, detail: str) -> Fault:
    """What was seen, then what to do; a worker that says anything says both."""
    remedy = FAULT_REMEDIES[reason] if isinstance(reason, WorkerFault) else MEANINGS[reason]
    detail = detail.strip().rstrip(".")[:_TEXT_MAX]
    if detail and isinstance(reason, WorkerFault):
        return Fault(reason, f"{detail}.")
    return Fault(reason, f"{detail}. {remedy}" if detail else remedy)

"""How many pods a ReplicaSet creates, which ones it removes, and its status. Pure.

The order of victims is Kubernetes': unassigned, Pending, NotReady, cheaper `pod-deletion-cost`, more siblings on the
same node, ready for a shorter time, more restarts, younger. Ages count by powers of two, and among equals chance
decides (their uids), so that the youngest generation is not wiped out whole.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from videofleet_devcluster.objects import (
    Object,
    age_s,
    annotations_of,
    condition_of,
    controller_reference,
    is_active,
    is_deleting,
    is_true,
    labels_of,
    phase_of,
    selects,
    status_of,
    transitioned,
    uid_of,
    without_zeros,
)

DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"
REPLICA_FAILURE: Final = "ReplicaFailure"


@dataclass(frozen=True)
class ReplicaSetPlan:
    create: int
    delete: tuple[Object, ...]
    status: Object
    requeue_after_s: float | None
    adopt: tuple[Object, ...] = ()
    release: tuple[Object, ...] = ()


def plan_replica_set(
    replica_set: Object,
    pods: list[Object],
    now: datetime,
    orphans: Sequence[Object] = (),
    related: Sequence[Object] = (),
) -> ReplicaSetPlan:
    """The next step, from the pods that it controls and the namespace's orphans, which nobody controls.

    `related` are the pods of its sisters: they count when a node is relieved of its most crowded pods.
    """
    selector = replica_set["spec"]["selector"]
    adopt = tuple(pod for pod in orphans if is_active(pod) and selects(selector, labels_of(pod)))
    release = tuple(pod for pod in pods if not selects(selector, labels_of(pod)))
    active = [pod for pod in (*pods, *adopt) if pod not in release and is_active(pod)]
    difference = 0 if is_deleting(replica_set) else int(replica_set["spec"]["replicas"]) - len(active)
    delete = tuple(victims(active, now, related)[:-difference]) if difference < 0 else ()
    return ReplicaSetPlan(max(0, difference), delete, *_status(replica_set, active, now), adopt, release)


def failed_create(replica_set: Object, message: str, now: datetime) -> Object:
    """What the status says besides while pods are refused."""
    said = {"type": REPLICA_FAILURE, "status": "True", "reason": "FailedCreate", "message": message}
    return {"conditions": [transitioned(condition_of(replica_set, REPLICA_FAILURE), said, now)]}


def pod_from_template(replica_set: Object) -> Object:
    """A pod of this ReplicaSet, without a name of its own yet."""
    template, meta = replica_set["spec"]["template"], replica_set["metadata"]
    metadata = {
        "generateName": f"{meta['name']}-",
        "namespace": meta["namespace"],
        "labels": labels_of(template),
        "annotations": annotations_of(template),
        "ownerReferences": [owned_by(replica_set)],
    }
    return {"metadata": metadata, "spec": template["spec"]}


def owned_by(replica_set: Object) -> Object:
    return controller_reference(replica_set, "apps/v1", "ReplicaSet")


def victims(active: list[Object], now: datetime, related: Sequence[Object] = ()) -> list[Object]:
    """All active pods, the first to be removed first."""
    crowd = Counter(pod["spec"].get("nodeName") for pod in (*active, *filter(is_active, related)))

    def order(pod: Object) -> tuple[Any, ...]:
        node, ready = pod["spec"].get("nodeName"), is_true(pod, "Ready")
        since = (condition_of(pod, "Ready") or {}).get("lastTransitionTime") if ready else None
        statuses: list[Object] = status_of(pod).get("containerStatuses") or []
        return (
            bool(node),
            {"Pending": 0, "Unknown": 1}.get(phase_of(pod), 2),
            ready,
            int(annotations_of(pod).get(DELETION_COST, "0")),
            -crowd[node],
            _generation(since, now) if since else 0,
            -max((int(status.get("restartCount", 0)) for status in statuses), default=0),
            _generation(pod["metadata"]["creationTimestamp"], now),
            uid_of(pod),
        )

    return sorted(active, key=order)


def _generation(since: str, now: datetime) -> int:
    """The age as a power of two, of nanoseconds as Kubernetes counts."""
    return max(0, int(age_s(since, now) * 10**9)).bit_length()


def _status(replica_set: Object, active: list[Object], now: datetime) -> tuple[Object, float | None]:
    """The counts, and when the next pod becomes available by minReadySeconds."""
    wait_s = float(replica_set["spec"].get("minReadySeconds", 0))
    ready = [condition_of(pod, "Ready") or {} for pod in active if is_true(pod, "Ready")]
    ages_s = [age_s(condition["lastTransitionTime"], now) for condition in ready] if wait_s else []
    waiting = [wait_s - age for age in ages_s if age < wait_s]
    labels = labels_of(replica_set["spec"]["template"])
    counts = {
        "fullyLabeledReplicas": sum(labels.items() <= labels_of(pod).items() for pod in active),
        "readyReplicas": len(ready),
        "availableReplicas": len(ready) - len(waiting),
        "observedGeneration": replica_set["metadata"].get("generation", 1),
    }
    status = without_zeros(counts) | {"replicas": len(active)}  # Kubernetes writes this zero
    return status, (min(waiting) + 0.1 if waiting else None)

"""How many pods a ReplicaSet creates, which ones it removes, and its status. Pure.

The order of victims is Kubernetes': unassigned, Pending, NotReady, cheaper `pod-deletion-cost`, more
siblings on the same node, ready for a shorter time, more restarts, younger.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from videofleet_devcluster.objects import (
    Object,
    age_s,
    annotations_of,
    condition_of,
    controller_reference,
    is_deleting,
    is_true,
    labels_of,
    time_of,
    without_zeros,
)

DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"


@dataclass(frozen=True)
class ReplicaSetPlan:
    """What to write."""

    create: int
    template: Object
    delete: tuple[Object, ...]
    status: Object
    requeue_after_s: float | None


def plan_replica_set(replica_set: Object, pods: list[Object], now: datetime) -> ReplicaSetPlan:
    """The next step, from all pods that the ReplicaSet controls."""
    active = [pod for pod in pods if is_active(pod)]
    difference = 0 if is_deleting(replica_set) else int(replica_set["spec"]["replicas"]) - len(active)
    status, requeue_after_s = _status(replica_set, active, now)
    return ReplicaSetPlan(
        create=max(0, difference),
        template=pod_from_template(replica_set),
        delete=tuple(victims(active)[: max(0, -difference)]),
        status=status,
        requeue_after_s=requeue_after_s,
    )


def is_active(pod: Object) -> bool:
    """Whether the pod still counts: it has not ended and nobody asked it to."""
    return not is_deleting(pod) and phase_of(pod) not in ("Succeeded", "Failed")


def phase_of(pod: Object) -> str:
    """status.phase; a pod without a status is Pending."""
    return str((pod.get("status") or {}).get("phase", "Pending"))


def pod_from_template(replica_set: Object) -> Object:
    """A pod of this ReplicaSet, without a name of its own yet."""
    template, meta = replica_set["spec"]["template"], replica_set["metadata"]
    return {
        "metadata": {
            "generateName": f"{meta['name']}-",
            "namespace": meta["namespace"],
            "labels": labels_of(template),
            "annotations": annotations_of(template),
            "ownerReferences": [controller_reference(replica_set, "apps/v1", "ReplicaSet")],
        },
        "spec": template["spec"],
    }


def victims(active: list[Object]) -> list[Object]:
    """All active pods, the first to be removed first."""
    siblings = Counter(pod["spec"].get("nodeName") for pod in active)

    def order(pod: Object) -> tuple[Any, ...]:
        ready = condition_of(pod, "Ready") if is_true(pod, "Ready") else None
        since = ready.get("lastTransitionTime") if ready else None
        return (
            bool(pod["spec"].get("nodeName")),
            {"Pending": 0, "Unknown": 1}.get(phase_of(pod), 2),
            ready is not None,
            int(annotations_of(pod).get(DELETION_COST, "0")),
            -siblings[pod["spec"].get("nodeName")],
            -time_of(since).timestamp() if since else 0.0,
            -_restarts(pod),
            -time_of(pod["metadata"]["creationTimestamp"]).timestamp(),
        )

    return sorted(active, key=order)


def _restarts(pod: Object) -> int:
    statuses: list[Object] = (pod.get("status") or {}).get("containerStatuses") or []
    return max((int(status.get("restartCount", 0)) for status in statuses), default=0)


def _status(replica_set: Object, active: list[Object], now: datetime) -> tuple[Object, float | None]:
    """The counts, and when the next pod becomes available by minReadySeconds."""
    wait_s = float(replica_set["spec"].get("minReadySeconds", 0))
    ready = [pod for pod in active if is_true(pod, "Ready")]
    ages_s = [age_s((condition_of(pod, "Ready") or {})["lastTransitionTime"], now) for pod in ready]
    waiting = [wait_s - age for age in ages_s if age < wait_s]
    labels = labels_of(replica_set["spec"]["template"])
    counts = {
        "replicas": len(active),
        "fullyLabeledReplicas": sum(labels.items() <= labels_of(pod).items() for pod in active),
        "readyReplicas": len(ready),
        "availableReplicas": len(ready) - len(waiting) if wait_s else len(ready),
        "observedGeneration": replica_set["metadata"].get("generation", 1),
    }
    status = without_zeros(counts) | {"replicas": len(active)}  # Kubernetes writes this zero
    return status, (min(waiting) + 0.1 if waiting else None)
